// Recording native calls of a thread into a program, and replaying it.
#include "program/program.h"

#include <cstddef>

#include "bindings/array.h"
#include "bindings/kernel.h"
#include "bindings/module.h"
#include "runtime/threads.h"

namespace tilegrad::bindings {
namespace {

namespace py = pybind11;

// A program and how many arrays its calls begin with.
class Recording {
 public:
  Recording() : observer_{see, this} {}
  Recording(const Recording&) = delete;
  Recording& operator=(const Recording&) = delete;
  ~Recording() {
    if (call_observer == &observer_) call_observer = nullptr;
  }

  // Records the native calls of this thread, or stops to.
  bool listen(bool on) {
    const bool before = call_observer == &observer_;
    call_observer = on ? &observer_ : nullptr;
    return before;
  }
  size_t size() const { return program_.size(); }
  void truncate(size_t size) {
    program_.truncate(size);
    arrays_.resize(program_.size());
  }

  // [(address, lowest byte, one past the highest byte, is output)] of the arrays of a call.
  py::list arrays(size_t step) const {
    py::list all;
    for (int i = 0; i < arrays_.at(step).total; ++i) {
      const ArrayRef& array = array_at(step, i);
      if (array.data == nullptr) continue;
      const auto address = reinterpret_cast<intptr_t>(array.data);
      intptr_t low = address, high = address + item_size(array.dtype);
      bool empty = false;
      for (int axis = 0; axis < array.ndim; ++axis) {
        const intptr_t reach =
            (array.shape[axis] - 1) * array.strides[axis] * item_size(array.dtype);
        empty |= array.shape[axis] == 0;
        (reach < 0 ? low : high) += reach;
      }
      if (empty) high = low = address;
      all.append(py::make_tuple(i, address, low, high, i >= arrays_[step].inputs));
    }
    return all;
  }

  void relocate(size_t step, int array, intptr_t address) {
    if (step >= size() || array < 0 || array >= arrays_[step].total) {
      throw py::index_error("relocate: no such array");
    }
    program_.set_pointer(step,
                         static_cast<size_t>(array) * sizeof(ArrayRef) + offsetof(ArrayRef, data),
                         reinterpret_cast<void*>(address));
  }

  // Runs the calls first ... last - 1 without the GIL.
  void run(size_t first, size_t last) const {
    if (last > size()) throw py::index_error("run: no such call");
    bool fired;
    {
      const py::gil_scoped_release unlocked;
      const runtime::Interruptible scope(poll_signals);
      program_.run(first, last, [] { return runtime::interrupted(); });
      fired = scope.fired();
    }
    if (fired) throw py::error_already_set();
  }

 private:
  struct Arrays {
    int inputs, total;
  };

  const ArrayRef& array_at(size_t step, int i) const {
    return reinterpret_cast<const ArrayRef*>(program_.call(step))[i];
  }

  static void see(void* self, void (*run)(const void*), const void* call, size_t bytes, int inputs,
                  int outputs) {
    auto* recording = static_cast<Recording*>(self);
    recording->program_.append(run, call, bytes);
    recording->arrays_.push_back({inputs, inputs + outputs});
  }

  CallObserver observer_;
  program::Program program_;
  std::vector<Arrays> arrays_;
};

const ModuleInit init([](py::module_& module) {
  py::class_<Recording>(module, "Recording")
      .def(py::init<>())
      .def("listen", &Recording::listen)
      .def("truncate", &Recording::truncate)
      .def("arrays", &Recording::arrays)
      .def("relocate", &Recording::relocate)
      .def("run", &Recording::run)
      .def("__len__", &Recording::size);
});

}  // namespace
}  // namespace tilegrad::bindings
