// Replaying a recorded step from Python in one call: are the arguments and everything the recording
// relied on as they were, then new input values in, the steps, gradients handed to their leaves.
#include <cstring>
#include <memory>
#include <vector>

#include "bindings/autograd.h"
#include "bindings/module.h"
#include "bindings/numpy.h"
#include "bindings/op.h"
#include "bindings/recording.h"
#include "nn/elementwise.h"

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpedantic"
#pragma GCC diagnostic ignored "-Wshadow"
#include <pybind11/stl.h>
#pragma GCC diagnostic pop

namespace tilegrad::bindings {
namespace {

namespace py = pybind11;

// A value that the recorded function refers to: container[key], the content of a cell, or the
// length of a collection.
struct Reference {
  enum class Kind { kItem, kCell, kLength } kind;
  py::object container, key, value;
  bool plain;  // compared by value, others by identity

  bool holds() const {
    PyObject* now = nullptr;
    if (kind == Kind::kLength)
      return PyObject_Size(container.ptr()) == PyLong_AsSsize_t(value.ptr());
    now = kind == Kind::kCell ? PyCell_GET(container.ptr())
                              : PyDict_GetItemWithError(container.ptr(), key.ptr());
    if (now == value.ptr()) return true;
    if (now == nullptr || !plain || Py_TYPE(now) != Py_TYPE(value.ptr())) return false;
    return PyObject_RichCompareBool(now, value.ptr(), Py_EQ) == 1;
  }
};

struct Captured {
  py::object tensor;
  PyObject* array;  // kept alive by the recording
  bool requires_grad;
};

// The gradient of a leaf, written into memory that its tensor shares. If somebody else still holds
// it when the next replay begins, that replay writes elsewhere.
struct Gradient {
  py::object leaf, shared;
  std::vector<std::pair<size_t, int>> uses;  // call, array of the call
  std::vector<intptr_t> offsets;
};

// What happens one after the other: native calls first ... last - 1, in a row or as a chain, a
// gradient, a Python call.
struct Segment {
  size_t first = 0, last = 0;
  bool chain = false;
  std::vector<intptr_t> locals;
  int gradient = -1;
  py::object call;
};

PyArrayObject* array_of(const py::object& tensor) {
  return reinterpret_cast<PyArrayObject*>(as_tensor(tensor.ptr())->array);
}

bool same_layout(PyArrayObject* a, PyArrayObject* b) {
  if (PyArray_DESCR(a) != PyArray_DESCR(b) || PyArray_NDIM(a) != PyArray_NDIM(b)) return false;
  for (int i = 0; i < PyArray_NDIM(a); ++i) {
    const npy_intp size = PyArray_DIM(a, i);
    if (size != PyArray_DIM(b, i)) return false;
    if (size > 1 && PyArray_STRIDE(a, i) != PyArray_STRIDE(b, i)) return false;
  }
  return true;
}

class Replay {
 public:
  // `inputs` are the arrays that the steps read new values from: dense, one per argument.
  Replay(std::shared_ptr<Recording> recording, const py::list& inputs, bool grad_mode)
      : recording_(std::move(recording)), grad_mode_(grad_mode) {
    for (const py::handle input : inputs)
      inputs_.push_back(py::reinterpret_borrow<py::object>(input));
  }

  void refer(const std::string& kind, const py::object& container, const py::object& key,
             const py::object& value, bool plain) {
    const auto which = kind == "cell"     ? Reference::Kind::kCell
                       : kind == "length" ? Reference::Kind::kLength
                                          : Reference::Kind::kItem;
    references_.push_back({which, container, key, value, plain});
  }
  void capture(const py::object& tensor) {
    const TensorObject* held = as_tensor(tensor.ptr());
    captured_.push_back({tensor, held->array, held->requires_grad != 0});
  }
  void without_grad(const py::object& leaf) { without_grad_.push_back(leaf); }
  // What a replay returns: a copy of the tensor `result`, or what `make` returns.
  void returns(const py::object& result, const py::object& make) {
    result_ = result;
    make_ = make;
  }

  void add_native(size_t first, size_t last) {
    Segment segment;
    segment.first = first;
    segment.last = last;
    segments_.push_back(segment);
  }
  void add_chain(size_t first, size_t last, const std::vector<intptr_t>& locals) {
    if (first >= last || last - first > nn::kMaxChain || locals.size() > nn::kMaxLocals) {
      throw py::value_error("add_chain: too long");
    }
    Segment segment;
    segment.first = first;
    segment.last = last;
    segment.chain = true;
    segment.locals = locals;
    segments_.push_back(segment);
  }
  void add_call(const py::object& call) {
    Segment segment;
    segment.call = call;
    segments_.push_back(segment);
  }
  // `uses`: (call, array of the call, byte offset) wherever the memory of `shared` is used.
  void add_gradient(const py::object& leaf, const py::object& shared,
                    const std::vector<std::tuple<size_t, int, intptr_t>>& uses) {
    Gradient gradient{leaf, shared, {}, {}};
    for (const auto& [call, array, offset] : uses) {
      gradient.uses.emplace_back(call, array);
      gradient.offsets.push_back(offset);
    }
    Segment segment;
    segment.gradient = static_cast<int>(gradients_.size());
    gradients_.push_back(std::move(gradient));
    segments_.push_back(segment);
  }

  // Whether `arguments` and all that the recording relied on are as they were.
  bool fits(const py::tuple& arguments) const {
    if (arguments.size() != inputs_.size() || grad_enabled != grad_mode_ || busy_) return false;
    if (kernels_are_watched() || operations_are_watched()) return false;
    for (size_t i = 0; i < inputs_.size(); ++i) {
      PyObject* argument = PyTuple_GET_ITEM(arguments.ptr(), static_cast<Py_ssize_t>(i));
      if (!is_tensor(argument)) return false;
      const TensorObject* tensor = as_tensor(argument);
      if (tensor->requires_grad || is_set(tensor->tangents)) return false;
      if (!same_layout(reinterpret_cast<PyArrayObject*>(tensor->array), input(i))) return false;
    }
    return holds();
  }

  bool holds() const {
    for (const Captured& captured : captured_) {
      const TensorObject* tensor = as_tensor(captured.tensor.ptr());
      if (tensor->array != captured.array || tensor->requires_grad != captured.requires_grad) {
        return false;
      }
    }
    for (const py::object& leaf : without_grad_) {
      if (is_set(as_tensor(leaf.ptr())->grad)) return false;
    }
    for (const Reference& reference : references_) {
      if (!reference.holds()) {
        PyErr_Clear();
        return false;
      }
    }
    return true;
  }

  // Replays where all is as it was: what the step returns; NotImplemented, nothing done, elsewhere.
  py::object attempt(const py::tuple& arguments) {
    if (!fits(arguments)) return py::reinterpret_borrow<py::object>(Py_NotImplemented);
    const Busy scope(busy_);  // until the result is copied: others write to the same memory
    ++count_;
    run(arguments);
    if (result_.is_none()) return make_.is_none() ? py::none() : make_();
    PyArrayObject* array = array_of(result_);
    const auto copy = py::reinterpret_steal<py::object>(PyArray_NewCopy(array, NPY_KEEPORDER));
    PyObject* tensor = copy ? reinterpret_cast<PyObject*>(new_tensor(copy.ptr())) : nullptr;
    if (tensor == nullptr) throw py::error_already_set();
    return py::reinterpret_steal<py::object>(tensor);
  }

  int64_t count() const { return count_; }

 private:
  struct Busy {
    explicit Busy(bool& flag) : flag_(flag) { flag_ = true; }
    ~Busy() { flag_ = false; }
    bool& flag_;
  };

  void run(const py::tuple& arguments) {
    for (Gradient& gradient : gradients_) make_room(gradient);
    for (size_t i = 0; i < inputs_.size(); ++i) {
      const auto* tensor = as_tensor(PyTuple_GET_ITEM(arguments.ptr(), static_cast<Py_ssize_t>(i)));
      auto* source = reinterpret_cast<PyArrayObject*>(tensor->array);  // dense, as the input is
      std::memcpy(PyArray_DATA(input(i)), PyArray_DATA(source),
                  static_cast<size_t>(PyArray_NBYTES(source)));
    }
    for (const Segment& segment : segments_) {
      if (segment.call) {
        segment.call();
      } else if (segment.gradient >= 0) {
        const Gradient& gradient = gradients_[static_cast<size_t>(segment.gradient)];
        TensorObject* leaf = as_tensor(gradient.leaf.ptr());
        Py_XSETREF(leaf->grad, Py_NewRef(gradient.shared.ptr()));
      } else if (segment.chain) {
        recording_->run_chain(segment.first, segment.last, segment.locals);
      } else {
        recording_->run(segment.first, segment.last);
      }
    }
  }

  PyArrayObject* input(size_t i) const {
    return reinterpret_cast<PyArrayObject*>(inputs_[i].ptr());
  }

  void make_room(Gradient& gradient) const {
    const bool with_leaf = as_tensor(gradient.leaf.ptr())->grad == gradient.shared.ptr();
    PyArrayObject* old = array_of(gradient.shared);
    if (Py_REFCNT(gradient.shared.ptr()) == 1 + with_leaf && Py_REFCNT(old) == 1) return;
    const auto array =
        py::reinterpret_steal<py::object>(PyArray_NewLikeArray(old, NPY_KEEPORDER, nullptr, 0));
    if (!array) throw py::error_already_set();
    TensorObject* tensor = new_tensor(array.ptr());
    if (tensor == nullptr) throw py::error_already_set();
    gradient.shared = py::reinterpret_steal<py::object>(reinterpret_cast<PyObject*>(tensor));
    const auto base =
        reinterpret_cast<intptr_t>(PyArray_DATA(reinterpret_cast<PyArrayObject*>(array.ptr())));
    for (size_t i = 0; i < gradient.uses.size(); ++i) {
      const auto& [call, which] = gradient.uses[i];
      recording_->relocate(call, which, base + gradient.offsets[i]);
    }
  }

  std::shared_ptr<Recording> recording_;
  bool grad_mode_;
  bool busy_ = false;  // guarded by the GIL
  int64_t count_ = 0;
  py::object result_ = py::none(), make_ = py::none();
  std::vector<py::object> inputs_, without_grad_;
  std::vector<Reference> references_;
  std::vector<Captured> captured_;
  std::vector<Gradient> gradients_;
  std::vector<Segment> segments_;
};

const ModuleInit init([](py::module_& module) {
  py::class_<Replay>(module, "Replay")
      .def(py::init<std::shared_ptr<Recording>, const py::list&, bool>())
      .def("refer", &Replay::refer)
      .def("capture", &Replay::capture)
      .def("without_grad", &Replay::without_grad)
      .def("add_native", &Replay::add_native)
      .def("add_chain", &Replay::add_chain)
      .def("add_call", &Replay::add_call)
      .def("add_gradient", &Replay::add_gradient)
      .def("returns", &Replay::returns)
      .def("holds", &Replay::holds)
      .def("attempt", &Replay::attempt)
      .def_property_readonly("count", &Replay::count);
  module.def("is_watched", [] { return kernels_are_watched() || operations_are_watched(); });
});

}  // namespace
}  // namespace tilegrad::bindings
