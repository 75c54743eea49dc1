#include "bindings/recording.h"

#include <memory>

#include "nn/elementwise.h"
#include "runtime/threads.h"

namespace tilegrad::bindings {

namespace py = pybind11;

Recording::~Recording() {
  if (call_observer == &observer_) call_observer = nullptr;
}

bool Recording::listen(bool on) {
  const bool before = call_observer == &observer_;
  call_observer = on ? &observer_ : nullptr;
  return before;
}

void Recording::truncate(size_t size) {
  program_.truncate(size);
  traits_.resize(program_.size());
}

py::list Recording::arrays(size_t step) const {
  py::list all;
  for (int i = 0; i < traits_.at(step).arrays; ++i) {
    const ArrayRef& array = array_at(step, i);
    if (array.data == nullptr) continue;
    const auto address = reinterpret_cast<intptr_t>(array.data);
    intptr_t low = address, high = address + item_size(array.dtype);
    bool empty = false;
    for (int axis = 0; axis < array.ndim; ++axis) {
      const intptr_t reach = (array.shape[axis] - 1) * array.strides[axis] * item_size(array.dtype);
      empty |= array.shape[axis] == 0;
      (reach < 0 ? low : high) += reach;
    }
    if (empty) high = low = address;
    all.append(py::make_tuple(i, address, low, high, i >= traits_[step].inputs));
  }
  return all;
}

void Recording::relocate(size_t step, int array, intptr_t address) {
  if (step >= size() || array < 0 || array >= traits_[step].arrays) {
    throw py::index_error("relocate: no such array");
  }
  const size_t offset = static_cast<size_t>(array) * sizeof(ArrayRef) + offsetof(ArrayRef, data);
  program_.set_pointer(step, offset, reinterpret_cast<void*>(address));
}

double Recording::work(size_t first, size_t last) const {
  if (last > size()) throw py::index_error("run: no such call");
  double total = 0;
  for (size_t i = first; i < last; ++i) total += traits_[i].work;
  return total;
}

void Recording::run(size_t first, size_t last) const {
  const bool interrupted = run_unlocked(
      work(first, last), [&] { program_.run(first, last, [] { return runtime::interrupted(); }); });
  if (interrupted) throw py::error_already_set();
}

const ArrayRef& Recording::array_at(size_t step, int i) const {
  return reinterpret_cast<const ArrayRef*>(program_.call(step))[i];
}

void Recording::see(void* self, void (*run)(const void*), const void* call, size_t bytes,
                    int inputs, int outputs, double work) {
  auto* recording = static_cast<Recording*>(self);
  recording->program_.append(run, call, bytes);
  recording->traits_.push_back({inputs, inputs + outputs, work});
}

namespace {

const ModuleInit init([](py::module_& module) {
  module.attr("CHAIN_BLOCK_BYTES") = nn::kChainBlockBytes;
  module.attr("MAX_CHAIN_LOCALS") = nn::kMaxLocals;
  py::class_<Recording, std::shared_ptr<Recording>>(module, "Recording")
      .def(py::init<>())
      .def("listen", &Recording::listen)
      .def("truncate", &Recording::truncate)
      .def("arrays", &Recording::arrays)
      .def("relocate", &Recording::relocate)
      .def("run", &Recording::run)
      .def("chains", &Recording::chains)
      .def("__len__", &Recording::size);
});

}  // namespace
}  // namespace tilegrad::bindings
