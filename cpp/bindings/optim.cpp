// Optimizer steps in place, and the norms that clip gradients. Arrays must be writable, contiguous
// and of one float dtype; anything else is the twin's business.
#include "bindings/optim.h"

#include <cmath>

#include "bindings/module.h"
#include "nn/elementwise.h"
#include "nn/reduce.h"

namespace tilegrad::bindings {

bool fits_parameter(const ArrayRef& a, const ArrayRef& p) {
  if (a.dtype != p.dtype || a.ndim != p.ndim || !a.contiguous()) return false;
  for (int d = 0; d < p.ndim; ++d) {
    if (a.shape[d] != p.shape[d]) return false;
  }
  return true;
}

namespace {

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

// Steps the arrays that the first arguments name.
template <class Numbers>
PyObject* run_step(const Arguments& args, int states, const Numbers& numbers) {
  PyObject* objects[2 + kMaxStates];
  for (int k = 0; k < 2 + states; ++k) objects[k] = args[k];
  StepCall<Numbers> call;
  if (!read_step_arrays(objects, states, call)) return kDeclined;
  call.numbers = numbers;
  execute(call, step_work(call));
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
  if (!(n.step >= 1)) return kDeclined;
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
  if (!(n.step >= 1)) return kDeclined;
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

// x *= factor.
struct ScaleCall {
  ArrayRef x;
  double factor;
  static constexpr int kInputs = 0, kOutputs = 1;
  static void run(const ScaleCall& call) {
    call.x.dtype == DType::kFloat32 ? run_as<float>(call) : run_as<double>(call);
  }

 private:
  template <class T>
  static void run_as(const ScaleCall& call) {
    const T factor = static_cast<T>(call.factor), unused[simd::kMaxParameters] = {};
    const int64_t size = call.x.size(), once = 1, never = 0;
    const nn::MapInput in[] = {{call.x.data, &once, false}, {&factor, &never, false}};
    nn::map<T>(simd::ElementwiseOp::multiply, 1, &size, in, call.x.template as<T>(), &once, unused);
  }
};

Signature multi_scale_signature{"multi_scale", {"arrays", "factor"}, 2, 2};
PyObject* multi_scale(const Arguments& args) {
  ScaleCall call;
  call.factor = to_double(args[1], "multi_scale: factor");
  const bool taken = for_each_array(args[0], true, [&](const ArrayRef& a) {
    call.x = a;
    execute(call, static_cast<double>(a.size()));
  });
  if (!taken) return kDeclined;
  Py_RETURN_NONE;
}

const Kernels kernels{{"sgd_step", native<sgd_step, sgd_step_signature>},
                      {"adam_step", native<adam_step, adam_step_signature>},
                      {"rmsprop_step", native<rmsprop_step, rmsprop_step_signature>},
                      {"adagrad_step", native<adagrad_step, adagrad_step_signature>},
                      {"multi_norm", native<multi_norm, multi_norm_signature>},
                      {"multi_scale", native<multi_scale, multi_scale_signature>}};

}  // namespace
}  // namespace tilegrad::bindings
