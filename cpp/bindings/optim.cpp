// Optimizer steps in place. Arrays must be writable, contiguous and of one float dtype; anything
// else is the twin's business.
#include "nn/optim.h"

#include <cmath>
#include <vector>

#include "bindings/autograd.h"
#include "bindings/kernel.h"
#include "bindings/module.h"
#include "nn/reduce.h"

namespace tilegrad::bindings {
namespace {

// The arrays of a step: p and its state are written. Absent ones have no data.
template <class Numbers>
struct StepCall {
  ArrayRef g, p, state[3];
  Numbers numbers;
  static constexpr int kInputs = 1, kOutputs = 4;
  static void run(const StepCall& call) {
    call.p.dtype == DType::kFloat32 ? run_as<float>(call) : run_as<double>(call);
  }

 private:
  template <class T>
  static void run_as(const StepCall& call) {
    T* state[3];
    for (int i = 0; i < 3; ++i) state[i] = call.state[i].template as<T>();
    nn::optimizer_step<T>(call.numbers, call.p.size(), call.p.template as<T>(),
                          call.g.template as<const T>(), state);
  }
};

bool fits(const ArrayRef& a, const ArrayRef& p) {
  if (a.dtype != p.dtype || a.ndim != p.ndim || !a.contiguous()) return false;
  for (int d = 0; d < p.ndim; ++d) {
    if (a.shape[d] != p.shape[d]) return false;
  }
  return true;
}

// Reads p, g and `states` arrays; absent optional ones (null or None) stay without data.
template <class Call>
bool read_arrays(PyObject* const* objects, int states, Call& call) {
  if (!as_writable_array(objects[0], call.p) || !is_float(call.p) || !call.p.contiguous()) {
    return false;
  }
  if (!as_array(objects[1], call.g) || !fits(call.g, call.p)) return false;
  for (int i = 0; i < 3; ++i) {
    ArrayRef& state = call.state[i];
    state = call.p;
    state.data = nullptr;
    PyObject* object = i < states ? objects[2 + i] : nullptr;
    if (object == nullptr || object == Py_None) continue;
    if (!as_writable_array(object, state) || !fits(state, call.p)) return false;
  }
  return true;
}

// Keyword arguments in the order of the signature.
struct Reader {
  const Arguments& args;
  int next;
  double number(const char* what, double otherwise) {
    PyObject* object = args[next++];
    return object != nullptr ? to_double(object, what) : otherwise;
  }
  bool flag(const char* what) {
    PyObject* object = args[next++];
    return object != nullptr && to_bool(object, what);
  }
};

// Steps the arrays that the first arguments name, or every row of them where they are lists.
template <class Numbers>
PyObject* run_step(const Arguments& args, int states, const Numbers& numbers) {
  constexpr int kColumns = 5;
  PyObject* objects[kColumns] = {};
  for (int k = 0; k < 2 + states; ++k) objects[k] = args[k];
  const bool lists = PyList_CheckExact(args[0]);
  const Py_ssize_t rows = lists ? PyList_GET_SIZE(args[0]) : 1;
  std::vector<StepCall<Numbers>> calls(static_cast<size_t>(rows));
  for (Py_ssize_t row = 0; row < rows; ++row) {
    for (int k = 0; lists && k < 2 + states; ++k) {
      if (!args.given(k)) continue;
      if (!PyList_CheckExact(args[k]) || PyList_GET_SIZE(args[k]) != rows) return kDeclined;
      objects[k] = PyList_GET_ITEM(args[k], row);
    }
    StepCall<Numbers>& call = calls[static_cast<size_t>(row)];
    if (!read_arrays(objects, states, call)) return kDeclined;
    call.numbers = numbers;
  }
  for (const StepCall<Numbers>& call : calls) {
    execute(call, 4.0 * static_cast<double>(call.p.size()));  // some four passes of memory
  }
  Py_RETURN_NONE;
}

[[noreturn]] void missing(const char* kernel, const char* name) {
  throw TypeError(std::string(kernel) + "() missing required argument '" + name + "'");
}

Signature sgd_step_signature{"sgd_step",
                             {"p", "g", "buf", "lr", "momentum", "dampening", "weight_decay",
                              "nesterov", "maximize", "first"},
                             3,
                             2};
PyObject* sgd_step(const Arguments& args) {
  nn::SgdNumbers n;
  if (args[3] == nullptr) missing("sgd_step", "lr");
  Reader read{args, 3};
  n.lr = read.number("sgd_step: lr", 0);
  n.momentum = read.number("sgd_step: momentum", 0);
  n.dampening = read.number("sgd_step: dampening", 0);
  n.weight_decay = read.number("sgd_step: weight_decay", 0);
  n.nesterov = read.flag("sgd_step: nesterov");
  n.maximize = read.flag("sgd_step: maximize");
  n.first = read.flag("sgd_step: first");
  return run_step(args, 1, n);
}

Signature adam_step_signature{"adam_step",
                              {"p", "g", "m", "v", "v_max", "step", "lr", "beta1", "beta2", "eps",
                               "weight_decay", "decoupled", "maximize"},
                              5,
                              4};
PyObject* adam_step(const Arguments& args) {
  nn::AdamNumbers n;
  if (args[5] == nullptr) missing("adam_step", "step");
  if (args[6] == nullptr) missing("adam_step", "lr");
  Reader read{args, 5};
  n.step = read.number("adam_step: step", 1);
  n.lr = read.number("adam_step: lr", 0);
  n.beta1 = read.number("adam_step: beta1", 0.9);
  n.beta2 = read.number("adam_step: beta2", 0.999);
  n.eps = read.number("adam_step: eps", 1e-8);
  n.weight_decay = read.number("adam_step: weight_decay", 0);
  n.decoupled = read.flag("adam_step: decoupled");
  n.maximize = read.flag("adam_step: maximize");
  return run_step(args, 3, n);
}

Signature rmsprop_step_signature{"rmsprop_step",
                                 {"p", "g", "square", "buf", "average", "lr", "alpha", "eps",
                                  "weight_decay", "momentum", "maximize"},
                                 5,
                                 3};
PyObject* rmsprop_step(const Arguments& args) {
  nn::RmspropNumbers n;
  if (args[5] == nullptr) missing("rmsprop_step", "lr");
  Reader read{args, 5};
  n.lr = read.number("rmsprop_step: lr", 0);
  n.alpha = read.number("rmsprop_step: alpha", 0.99);
  n.eps = read.number("rmsprop_step: eps", 1e-8);
  n.weight_decay = read.number("rmsprop_step: weight_decay", 0);
  n.momentum = read.number("rmsprop_step: momentum", 0);
  n.maximize = read.flag("rmsprop_step: maximize");
  return run_step(args, 3, n);
}

Signature adagrad_step_signature{
    "adagrad_step",
    {"p", "g", "total", "step", "lr", "lr_decay", "eps", "weight_decay", "maximize"},
    3,
    3};
PyObject* adagrad_step(const Arguments& args) {
  nn::AdagradNumbers n;
  if (args[3] == nullptr) missing("adagrad_step", "step");
  if (args[4] == nullptr) missing("adagrad_step", "lr");
  Reader read{args, 3};
  n.step = read.number("adagrad_step: step", 1);
  n.lr = read.number("adagrad_step: lr", 0);
  n.lr_decay = read.number("adagrad_step: lr_decay", 0);
  n.eps = read.number("adagrad_step: eps", 1e-10);
  n.weight_decay = read.number("adagrad_step: weight_decay", 0);
  n.maximize = read.flag("adagrad_step: maximize");
  return run_step(args, 1, n);
}

// A list or tuple of contiguous float arrays is taken whole, anything else declined.
template <class Function>
bool for_each_array(PyObject* sequence, bool writable, Function function) {
  if (!PyList_CheckExact(sequence) && !PyTuple_CheckExact(sequence)) return false;
  const Py_ssize_t count = PySequence_Fast_GET_SIZE(sequence);
  for (const bool only_check : {true, false}) {
    for (Py_ssize_t i = 0; i < count; ++i) {
      ArrayRef array;
      PyObject* item = PySequence_Fast_GET_ITEM(sequence, i);
      if (writable ? !as_writable_array(item, array) : !as_array(item, array)) return false;
      if (!is_float(array) || !array.contiguous()) return false;
      if (!only_check) function(array);
    }
  }
  return true;
}

Signature multi_norm_signature{"multi_norm", {"arrays"}, 1, 1};
PyObject* multi_norm(const Arguments& args) {
  double total = 0;
  const bool taken = for_each_array(args[0], false, [&](const ArrayRef& a) {
    total += a.dtype == DType::kFloat32 ? nn::square_sum(a.size(), a.as<const float>())
                                        : nn::square_sum(a.size(), a.as<const double>());
  });
  return taken ? PyFloat_FromDouble(std::sqrt(total)) : kDeclined;
}

// ---- what optimizers ask for every step
// ----------------------------------------------------------

bool same_layout(PyObject* a, PyObject* b) {
  auto *x = reinterpret_cast<PyArrayObject*>(a), *y = reinterpret_cast<PyArrayObject*>(b);
  return PyArray_DESCR(x) == PyArray_DESCR(y) && PyArray_SAMESHAPE(x, y);
}

// ([tensors with a gradient], [their arrays], [the gradients' arrays]); None if a gradient does not
// have its tensor's shape and dtype, which Python then says.
pybind11::object gather_gradients(const pybind11::list& parameters) {
  pybind11::list tensors, arrays, gradients;
  for (const pybind11::handle parameter : parameters) {
    if (!is_tensor(parameter.ptr())) return pybind11::none();
    const TensorObject* tensor = as_tensor(parameter.ptr());
    if (!is_set(tensor->grad)) continue;
    if (!is_tensor(tensor->grad)) return pybind11::none();
    PyObject* gradient = as_tensor(tensor->grad)->array;
    if (!same_layout(tensor->array, gradient)) return pybind11::none();
    tensors.append(parameter);
    arrays.append(pybind11::handle(tensor->array));
    gradients.append(pybind11::handle(gradient));
  }
  return pybind11::make_tuple(tensors, arrays, gradients);
}

// Tensor._bump_version of each.
void bump_versions(const pybind11::list& tensors) {
  for (const pybind11::handle handle : tensors) {
    TensorObject* tensor = as_tensor(handle.ptr());
    if (!is_set(tensor->version)) {
      VersionObject* version = new_version();
      if (version == nullptr) throw pybind11::error_already_set();
      version->value = 0;
      Py_XSETREF(tensor->version, reinterpret_cast<PyObject*>(version));
    }
    tensor->seen = ++reinterpret_cast<VersionObject*>(tensor->version)->value;
  }
}

// Adds one to the "step" of every state, a 0-d float32 tensor. The count they then share, or None,
// with nothing changed, where they are something else or differ.
pybind11::object advance_steps(const pybind11::list& states) {
  static PyObject* const name = PyUnicode_InternFromString("step");
  std::vector<float*> counts;
  for (const pybind11::handle state : states) {
    PyObject* step = PyDict_GetItemWithError(state.ptr(), name);
    ArrayRef array;
    if (step == nullptr || !is_tensor(step) || !as_writable_array(as_tensor(step)->array, array) ||
        array.dtype != DType::kFloat32 || array.ndim != 0) {
      PyErr_Clear();
      return pybind11::none();
    }
    counts.push_back(array.as<float>());
    if (*counts.back() != *counts.front()) return pybind11::none();
  }
  if (counts.empty()) return pybind11::none();
  const float next = *counts.front() + 1.0f;
  for (float* count : counts) *count = next;
  return pybind11::int_(static_cast<int64_t>(next));
}

const ModuleInit init([](pybind11::module_& module) {
  module.def("advance_steps", advance_steps);
  module.def("gather_gradients", gather_gradients);
  module.def("bump_versions", bump_versions);
});

const Kernels kernels{{"sgd_step", native<sgd_step, sgd_step_signature>},
                      {"adam_step", native<adam_step, adam_step_signature>},
                      {"rmsprop_step", native<rmsprop_step, rmsprop_step_signature>},
                      {"adagrad_step", native<adagrad_step, adagrad_step_signature>},
                      {"multi_norm", native<multi_norm, multi_norm_signature>}};

}  // namespace
}  // namespace tilegrad::bindings
