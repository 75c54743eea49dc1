// Softmax and cross-entropy: axes, labels and weights are checked here.
#include "nn/softmax.h"

#include <algorithm>
#include <cstring>

#include "bindings/kernel.h"

namespace tilegrad::bindings {
namespace {

using nn::LossReduction;
using nn::SoftmaxForm;

// x is contiguous (outer, n, inner) and so are the others; g is absent (no data) in forward forms.
struct SoftmaxCall {
  ArrayRef g, x, out;
  int64_t outer, n, inner;
  SoftmaxForm form;
  static constexpr int kInputs = 2, kOutputs = 1;
  static void run(const SoftmaxCall& call) {
    call.x.dtype == DType::kFloat32 ? run_as<float>(call) : run_as<double>(call);
  }

 private:
  template <class T>
  static void run_as(const SoftmaxCall& call) {
    nn::softmax<T>(call.form, call.outer, call.n, call.inner, call.g.as<const T>(),
                   call.x.as<const T>(), call.out.as<T>());
  }
};

// An axis in [0, ndim), or -1 where NumPy would complain.
int read_axis(PyObject* object, int ndim) {
  if (object == nullptr) return ndim - 1;
  if (!PyLong_CheckExact(object)) return -1;
  int overflow;
  const long value = PyLong_AsLongAndOverflow(object, &overflow);
  if (overflow != 0 || value < -ndim || value >= ndim) return -1;
  return static_cast<int>(value < 0 ? value + ndim : value);
}

template <class Call>
bool split_at(int axis, Call& call) {
  call.outer = call.inner = 1;
  for (int d = 0; d < axis; ++d) call.outer *= call.x.shape[d];
  for (int d = axis + 1; d < call.x.ndim; ++d) call.inner *= call.x.shape[d];
  call.n = call.x.shape[axis];
  return call.n > 0;
}

PyObject* run_softmax(SoftmaxCall& call, PyObject* axis_object) {
  const int axis = read_axis(axis_object, call.x.ndim);
  if (axis < 0 || !call.x.contiguous() || !split_at(axis, call)) return kDeclined;
  PyRef out = new_array(call.x.dtype, call.x.ndim, call.x.shape, call.out);
  execute(call, 10.0 * static_cast<double>(call.x.size()));
  return out.release();
}

PyObject* forward(SoftmaxForm form, const Arguments& args) {
  SoftmaxCall call;
  if (!as_array(args[0], call.x) || !is_float(call.x)) return kDeclined;
  call.form = form;
  call.g = call.x;
  call.g.data = nullptr;
  return run_softmax(call, args[1]);
}

PyObject* backward(SoftmaxForm form, const Arguments& args) {
  SoftmaxCall call;
  if (!as_array(args[0], call.g) || !as_array(args[1], call.x) || !is_float(call.x)) {
    return kDeclined;
  }
  const ArrayRef &g = call.g, &y = call.x;
  if (g.dtype != y.dtype || g.ndim != y.ndim || !g.contiguous()) return kDeclined;
  if (!std::equal(g.shape, g.shape + g.ndim, y.shape)) return kDeclined;
  call.form = form;
  return run_softmax(call, args[2]);
}

Signature softmax_signature{"softmax", {"x", "axis"}, 2, 1};
PyObject* softmax(const Arguments& args) { return forward(SoftmaxForm::softmax, args); }

Signature log_softmax_signature{"log_softmax", {"x", "axis"}, 2, 1};
PyObject* log_softmax(const Arguments& args) { return forward(SoftmaxForm::log_softmax, args); }

Signature softmax_grad_signature{"softmax_grad", {"g", "y", "axis"}, 3, 2};
PyObject* softmax_grad(const Arguments& args) { return backward(SoftmaxForm::softmax_grad, args); }

Signature log_softmax_grad_signature{"log_softmax_grad", {"g", "y", "axis"}, 3, 2};
PyObject* log_softmax_grad(const Arguments& args) {
  return backward(SoftmaxForm::log_softmax_grad, args);
}

struct LogsumexpCall {
  ArrayRef x, out;
  int64_t outer, n, inner;
  static constexpr int kInputs = 1, kOutputs = 1;
  static void run(const LogsumexpCall& call) {
    if (call.x.dtype == DType::kFloat32) {
      nn::logsumexp(call.outer, call.n, call.x.as<const float>(), call.out.as<float>());
    } else {
      nn::logsumexp(call.outer, call.n, call.x.as<const double>(), call.out.as<double>());
    }
  }
};

Signature logsumexp_signature{"logsumexp", {"x", "axis", "keepdims"}, 3, 1};
PyObject* logsumexp(const Arguments& args) {
  LogsumexpCall call;
  if (!as_array(args[0], call.x) || !is_float(call.x) || !call.x.contiguous()) return kDeclined;
  const int axis = read_axis(args[1], call.x.ndim);
  if (axis < 0 || axis != call.x.ndim - 1 || !split_at(axis, call)) return kDeclined;
  const bool keepdims = args[2] != nullptr && to_bool(args[2], "logsumexp: keepdims");
  int64_t shape[kMaxDims];
  std::copy_n(call.x.shape, axis, shape);
  shape[axis] = 1;
  PyRef out = new_array(call.x.dtype, keepdims ? axis + 1 : axis, shape, call.out);
  execute(call, 10.0 * static_cast<double>(call.x.size()));
  return out.release();
}

// ---- cross-entropy
// -------------------------------------------------------------------------------

struct LossOptions {
  int64_t ignore_index;
  double smoothing;
  LossReduction reduction;
};

// Reads labels as int64, checked; anything odd is left to the twin's messages.
void check_labels(const ArrayRef& target, int64_t classes, int64_t ignore_index) {
  const int64_t* labels = target.as<const int64_t>();
  for (int64_t r = 0; r < target.shape[0]; ++r) {
    const bool inside = labels[r] >= 0 && labels[r] < classes;
    if (inside || labels[r] == ignore_index) continue;
    throw std::invalid_argument(
        "cross_entropy: label " + std::to_string(labels[r]) + " in row " + std::to_string(r) +
        " is outside 0.." + std::to_string(classes - 1) + " (" + std::to_string(classes) +
        " classes) and is not ignore_index " + std::to_string(ignore_index));
  }
}

nn::CrossEntropy describe(const ArrayRef& matrix, const ArrayRef& target,
                          const LossOptions& options) {
  // a replay may bring other labels: each run checks them
  check_labels(target, matrix.shape[1], options.ignore_index);
  return {matrix.shape[0],      matrix.shape[1],   target.as<const int64_t>(),
          options.ignore_index, options.smoothing, options.reduction};
}

struct CrossEntropyCall {
  ArrayRef logits, target, weight, loss, p;  // weight may be absent
  LossOptions options;
  static constexpr int kInputs = 3, kOutputs = 2;
  static void run(const CrossEntropyCall& call) {
    call.logits.dtype == DType::kFloat32 ? run_as<float>(call) : run_as<double>(call);
  }

 private:
  template <class T>
  static void run_as(const CrossEntropyCall& call) {
    nn::cross_entropy<T>(describe(call.logits, call.target, call.options),
                         call.logits.as<const T>(), call.weight.as<const T>(), call.loss.as<T>(),
                         call.p.as<T>());
  }
};

struct CrossEntropyGradCall {
  ArrayRef g, p, target, weight, dlogits;  // weight may be absent
  LossOptions options;
  static constexpr int kInputs = 4, kOutputs = 1;
  static void run(const CrossEntropyGradCall& call) {
    call.p.dtype == DType::kFloat32 ? run_as<float>(call) : run_as<double>(call);
  }

 private:
  template <class T>
  static void run_as(const CrossEntropyGradCall& call) {
    nn::cross_entropy_grad<T>(describe(call.p, call.target, call.options), call.g.as<const T>(),
                              call.p.as<const T>(), call.weight.as<const T>(),
                              call.dlogits.as<T>());
  }
};

bool read_options(const Arguments& args, int first, LossOptions& options) {
  options.ignore_index =
      args[first] != nullptr ? to_int(args[first], "cross_entropy: ignore_index") : -100;
  options.smoothing = args[first + 1] != nullptr
                          ? to_double(args[first + 1], "cross_entropy: label_smoothing")
                          : 0.0;
  options.reduction = LossReduction::none;
  if (args[first + 2] == nullptr) return true;
  if (!PyUnicode_Check(args[first + 2])) return false;
  const char* text = PyUnicode_AsUTF8(args[first + 2]);
  if (text == nullptr) throw PythonError();
  if (std::strcmp(text, "sum") == 0) options.reduction = LossReduction::sum;
  if (std::strcmp(text, "mean") == 0) options.reduction = LossReduction::mean;
  return options.reduction != LossReduction::none || std::strcmp(text, "none") == 0;
}

// matrix (N, C), target (N,), weight (C,) or absent: all contiguous, of the expected dtypes.
bool read_loss_arrays(PyObject* target_object, PyObject* weight_object, const ArrayRef& matrix,
                      ArrayRef& target, ArrayRef& weight) {
  if (!is_float(matrix) || matrix.ndim != 2 || !matrix.contiguous()) return false;
  if (matrix.shape[1] == 0) return false;
  if (!as_array(target_object, target) || target.dtype != DType::kInt64) return false;
  if (target.ndim != 1 || target.shape[0] != matrix.shape[0] || !target.contiguous()) return false;
  weight = matrix;
  weight.data = nullptr;
  if (weight_object == nullptr || weight_object == Py_None) return true;
  return as_array(weight_object, weight) && weight.dtype == matrix.dtype && weight.ndim == 1 &&
         weight.shape[0] == matrix.shape[1] && weight.contiguous();
}

Signature cross_entropy_signature{
    "cross_entropy",
    {"logits", "target", "weight", "ignore_index", "label_smoothing", "reduction"},
    6,
    2};
PyObject* cross_entropy(const Arguments& args) {
  CrossEntropyCall call;
  if (!as_array(args[0], call.logits)) return kDeclined;
  if (!read_loss_arrays(args[1], args[2], call.logits, call.target, call.weight)) return kDeclined;
  if (!read_options(args, 3, call.options)) return kDeclined;
  check_labels(call.target, call.logits.shape[1], call.options.ignore_index);
  const bool each = call.options.reduction == LossReduction::none;
  PyRef loss = new_array(call.logits.dtype, each ? 1 : 0, call.logits.shape, call.loss);
  PyRef p = new_array(call.logits.dtype, 2, call.logits.shape, call.p);
  execute(call, 10.0 * static_cast<double>(call.logits.size()));
  return PyTuple_Pack(2, loss.get(), p.get());
}

Signature cross_entropy_grad_signature{
    "cross_entropy_grad",
    {"g", "p", "target", "weight", "ignore_index", "label_smoothing", "reduction"},
    7,
    3};
PyObject* cross_entropy_grad(const Arguments& args) {
  CrossEntropyGradCall call;
  if (!as_array(args[0], call.g) || !as_array(args[1], call.p)) return kDeclined;
  if (!read_loss_arrays(args[2], args[3], call.p, call.target, call.weight)) return kDeclined;
  if (!read_options(args, 4, call.options)) return kDeclined;
  const bool each = call.options.reduction == LossReduction::none;
  if (call.g.dtype != call.p.dtype || call.g.ndim != (each ? 1 : 0)) return kDeclined;
  if (!call.g.contiguous() || (each && call.g.shape[0] != call.p.shape[0])) return kDeclined;
  PyRef dlogits = new_array(call.p.dtype, 2, call.p.shape, call.dlogits);
  execute(call, 2.0 * static_cast<double>(call.p.size()));
  return dlogits.release();
}

const Kernels kernels{
    {"softmax", native<softmax, softmax_signature>},
    {"log_softmax", native<log_softmax, log_softmax_signature>},
    {"softmax_grad", native<softmax_grad, softmax_grad_signature>},
    {"log_softmax_grad", native<log_softmax_grad, log_softmax_grad_signature>},
    {"logsumexp", native<logsumexp, logsumexp_signature>},
    {"cross_entropy", native<cross_entropy, cross_entropy_signature>},
    {"cross_entropy_grad", native<cross_entropy_grad, cross_entropy_grad_signature>}};

}  // namespace
}  // namespace tilegrad::bindings
