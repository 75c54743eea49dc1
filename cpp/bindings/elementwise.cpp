// Elementwise kernels: broadcasting, weak Python numbers, out= with overlap.
#include "bindings/elementwise.h"

#include <algorithm>
#include <cstring>

#include "bindings/kernel.h"

namespace tilegrad::bindings {
namespace {

using simd::ElementwiseOp;
using simd::kMaxParameters;

// The inputs are broadcast to the result's shape; one without data is the number beside it.
template <int inputs>
struct MapCall {
  ArrayRef in[inputs], out;
  double numbers[inputs];
  double parameters[kMaxParameters];
  ElementwiseOp op;
  static constexpr int kInputs = inputs, kOutputs = 1;
  static void run(const MapCall& call) {
    call.out.dtype == DType::kFloat32 ? run_as<float>(call) : run_as<double>(call);
  }

 private:
  template <class T>
  static void run_as(const MapCall& call) {
    nn::MapInput in[inputs];
    T numbers[inputs];
    for (int k = 0; k < inputs; ++k) {
      numbers[k] = static_cast<T>(call.numbers[k]);
      const bool number = call.in[k].data == nullptr;
      in[k] = {number ? &numbers[k] : call.in[k].data, call.in[k].strides,
               !number && call.in[k].dtype == DType::kBool};
    }
    const T parameters[] = {static_cast<T>(call.parameters[0]), static_cast<T>(call.parameters[1])};
    nn::map<T>(call.op, call.out.ndim, call.out.shape, in, call.out.template as<T>(),
               call.out.strides, parameters);
  }
};

// A Python number, which takes the dtype of the arrays beside it.
bool as_number(PyObject* object, double& value) {
  if (PyFloat_CheckExact(object)) {
    value = PyFloat_AS_DOUBLE(object);
    return true;
  }
  if (!PyLong_CheckExact(object)) return false;
  value = PyLong_AsDouble(object);
  if (value == -1.0 && PyErr_Occurred() != nullptr) {
    PyErr_Clear();
    return false;  // too large for a double: NumPy's business
  }
  return true;
}

bool same_shape(const ArrayRef& a, const ArrayRef& b) {
  return a.ndim == b.ndim && std::equal(a.shape, a.shape + a.ndim, b.shape);
}

// The shape that a and the shape so far broadcast to.
void broadcast_shape(const char* kernel, const ArrayRef& a, ArrayRef& shape) {
  if (same_shape(a, shape)) return;
  const int ndim = std::max(a.ndim, shape.ndim);
  int64_t result[kMaxDims];
  for (int d = 1; d <= ndim; ++d) {
    const int64_t mine = d <= a.ndim ? a.shape[a.ndim - d] : 1;
    const int64_t other = d <= shape.ndim ? shape.shape[shape.ndim - d] : 1;
    if (mine != other && mine != 1 && other != 1) {
      throw std::invalid_argument(
          std::string(kernel) + ": shapes " + shape_text(shape.shape, shape.ndim) + " and " +
          shape_text(a.shape, a.ndim) + " do not broadcast: " + std::to_string(other) +
          " against " + std::to_string(mine) + " in axis -" + std::to_string(d));
    }
    result[ndim - d] = mine == 1 ? other : mine;
  }
  shape.ndim = static_cast<int8_t>(ndim);
  std::copy_n(result, ndim, shape.shape);
}

void expand(ArrayRef& a, const ArrayRef& shape) {
  if (same_shape(a, shape)) return;
  int64_t strides[kMaxDims];
  const int added = shape.ndim - a.ndim;
  for (int d = 0; d < shape.ndim; ++d) {
    const bool here = d >= added && a.shape[d - added] == shape.shape[d];
    strides[d] = here ? a.strides[d - added] : 0;
  }
  a.ndim = shape.ndim;
  std::copy_n(shape.shape, shape.ndim, a.shape);
  std::copy_n(strides, shape.ndim, a.strides);
}

// Whether writing `out` while `in` is read element by element is harmless.
bool safe_together(const ArrayRef& in, const ArrayRef& out) {
  if (!may_overlap(in, out)) return true;
  return in.data == out.data && in.dtype == out.dtype &&
         std::equal(in.strides, in.strides + in.ndim, out.strides);
}

// All strides of one run of `size` elements.
void flatten(ArrayRef& a, int64_t size) {
  a.strides[0] = a.data == nullptr ? 0 : 1;
  a.shape[0] = size;
  a.ndim = 1;
}

template <int inputs>
PyObject* finish(MapCall<inputs>& call, PyObject* given_out, DType dtype, const ArrayRef& shape) {
  PyRef result;
  PyObject* returned = nullptr;
  bool overlap = false;
  if (given_out != nullptr && given_out != Py_None) {
    if (!as_writable_array(given_out, call.out) || call.out.dtype != dtype) return kDeclined;
    if (!same_shape(call.out, shape)) return kDeclined;  // the twin knows whether that can work
    returned = given_out;
  } else {
    result = new_array(dtype, shape.ndim, shape.shape, call.out);
  }
  bool flat = call.out.contiguous();
  for (int k = 0; k < inputs; ++k) {
    ArrayRef& in = call.in[k];
    if (in.data == nullptr) {
      in.ndim = shape.ndim;
      std::copy_n(shape.shape, shape.ndim, in.shape);
      std::fill_n(in.strides, shape.ndim, 0);
      continue;
    }
    flat = flat && same_shape(in, shape) && in.contiguous();
    expand(in, shape);
    overlap = overlap || (returned != nullptr && !safe_together(in, call.out));
  }
  const int64_t size = call.out.size();
  if (flat && size > 0) {
    for (int k = 0; k < inputs; ++k) flatten(call.in[k], size);
    flatten(call.out, size);
  }
  const double work = static_cast<double>(size) * nn::map_cost(call.op);
  if (!overlap) {
    execute(call, work);
    if (returned == nullptr) return result.release();
    return Py_NewRef(returned);
  }
  MapCall<1> copy{};
  copy.op = ElementwiseOp::positive;
  copy.out = call.out;
  const PyRef temporary = new_array(dtype, call.out.ndim, copy.out.shape, call.out);
  copy.in[0] = call.out;
  execute(call, work);
  execute(copy, static_cast<double>(size));
  return Py_NewRef(returned);
}

// Reads the first `inputs` arguments; false if the kernel must decline.
template <int inputs>
bool read_inputs(const char* kernel, const Arguments& args, MapCall<inputs>& call,
                 bool first_is_condition, DType& dtype, ArrayRef& shape) {
  bool any = false, typed = false;
  for (int k = 0; k < inputs; ++k) {
    ArrayRef& in = call.in[k];
    call.numbers[k] = 0.0;
    if (!as_array(args[k], in)) {
      in.data = nullptr;
      in.dtype = DType::kFloat64;
      if (!as_number(args[k], call.numbers[k])) return false;
      continue;
    }
    if (k == 0 && first_is_condition) {
      if (in.dtype != DType::kBool) return false;
    } else {
      if (!is_float(in) || (typed && in.dtype != dtype)) return false;
      dtype = in.dtype;
      typed = true;
    }
    if (!any) {
      shape.ndim = in.ndim;
      std::copy_n(in.shape, in.ndim, shape.shape);
    } else {
      broadcast_shape(kernel, in, shape);
    }
    any = true;
  }
  return typed;
}

template <int inputs>
PyObject* map(const char* kernel, ElementwiseOp op, const Arguments& args, PyObject* out,
              double first = 0.0, double second = 0.0) {
  MapCall<inputs> call;
  call.op = op;
  call.parameters[0] = first;
  call.parameters[1] = second;
  DType dtype{};
  ArrayRef shape;
  if (!read_inputs(kernel, args, call, op == ElementwiseOp::where, dtype, shape)) return kDeclined;
  return finish(call, out, dtype, shape);
}

// ---- kernels without parameters
// ------------------------------------------------------------------

// The parameters' names are those of the twins.
#define TILEGRAD_PLAIN(kernel, inputs, ...)                                        \
  Signature kernel##_signature{#kernel, {__VA_ARGS__, "out"}, inputs + 1, inputs}; \
  PyObject* kernel(const Arguments& args) {                                        \
    return map<inputs>(#kernel, ElementwiseOp::kernel, args, args[inputs]);        \
  }

#define TILEGRAD_BINARY_KERNELS(X) \
  X(add) X(subtract) X(multiply) X(absorb) X(divide) X(maximum) X(minimum)
// clang-format off: it moves one entry at each pass
#define TILEGRAD_UNARY_KERNELS(X)                                                  \
  X(negative) X(positive) X(absolute) X(sign) X(floor) X(ceil) X(trunc) X(round)   \
  X(square) X(sqrt) X(rsqrt) X(reciprocal) X(exp) X(expm1) X(log) X(log1p) X(tanh) \
  X(erf) X(erfc) X(sigmoid) X(log_sigmoid) X(relu) X(silu)
// clang-format on
#define TILEGRAD_RESULT_GRADIENTS(X) X(tanh_grad) X(sigmoid_grad) X(relu_grad)
#define TILEGRAD_INPUT_GRADIENTS(X) X(log_sigmoid_grad) X(silu_grad)

#define TILEGRAD_DEFINE_BINARY(name) TILEGRAD_PLAIN(name, 2, "a", "b")
#define TILEGRAD_DEFINE_UNARY(name) TILEGRAD_PLAIN(name, 1, "x")
#define TILEGRAD_DEFINE_RESULT(name) TILEGRAD_PLAIN(name, 2, "g", "y")
#define TILEGRAD_DEFINE_INPUT(name) TILEGRAD_PLAIN(name, 2, "g", "x")
TILEGRAD_BINARY_KERNELS(TILEGRAD_DEFINE_BINARY)
TILEGRAD_UNARY_KERNELS(TILEGRAD_DEFINE_UNARY)
TILEGRAD_RESULT_GRADIENTS(TILEGRAD_DEFINE_RESULT)
TILEGRAD_INPUT_GRADIENTS(TILEGRAD_DEFINE_INPUT)
TILEGRAD_PLAIN(where, 3, "c", "x", "y")

// ---- kernels with parameters
// ---------------------------------------------------------------------

// The argument at `index`, a number, or its default.
double number_or(const Arguments& args, int index, const char* what, double otherwise) {
  return args[index] != nullptr ? to_double(args[index], what) : otherwise;
}

Signature leaky_relu_signature{"leaky_relu", {"x", "slope", "out"}, 3, 1};
PyObject* leaky_relu(const Arguments& args) {
  const double slope = number_or(args, 1, "leaky_relu: slope", 0.01);
  return map<1>("leaky_relu", ElementwiseOp::leaky_relu, args, args[2], slope);
}

Signature leaky_relu_grad_signature{"leaky_relu_grad", {"g", "x", "slope", "out"}, 4, 2};
PyObject* leaky_relu_grad(const Arguments& args) {
  const double slope = number_or(args, 2, "leaky_relu_grad: slope", 0.01);
  return map<2>("leaky_relu_grad", ElementwiseOp::leaky_relu_grad, args, args[3], slope);
}

Signature elu_signature{"elu", {"x", "alpha", "out"}, 3, 1};
PyObject* elu(const Arguments& args) {
  return map<1>("elu", ElementwiseOp::elu, args, args[2], number_or(args, 1, "elu: alpha", 1.0));
}

Signature elu_grad_signature{"elu_grad", {"g", "x", "alpha", "out"}, 4, 2};
PyObject* elu_grad(const Arguments& args) {
  const double alpha = number_or(args, 2, "elu_grad: alpha", 1.0);
  return map<2>("elu_grad", ElementwiseOp::elu_grad, args, args[3], alpha);
}

// Whether gelu's tanh form is asked for.
bool wants_tanh(PyObject* approximate) {
  if (approximate == nullptr) return false;
  const char* text = PyUnicode_Check(approximate) ? PyUnicode_AsUTF8(approximate) : nullptr;
  if (text != nullptr && std::strcmp(text, "none") == 0) return false;
  if (text != nullptr && std::strcmp(text, "tanh") == 0) return true;
  PyErr_Clear();
  throw std::invalid_argument("gelu: approximate must be 'none' or 'tanh'");
}

Signature gelu_signature{"gelu", {"x", "approximate", "out"}, 3, 1};
PyObject* gelu(const Arguments& args) {
  const bool tanh_form = wants_tanh(args[1]);
  return map<1>("gelu", tanh_form ? ElementwiseOp::gelu_tanh : ElementwiseOp::gelu, args, args[2]);
}

Signature gelu_grad_signature{"gelu_grad", {"g", "x", "approximate", "out"}, 4, 2};
PyObject* gelu_grad(const Arguments& args) {
  const auto op = wants_tanh(args[2]) ? ElementwiseOp::gelu_tanh_grad : ElementwiseOp::gelu_grad;
  return map<2>("gelu_grad", op, args, args[3]);
}

Signature softplus_signature{"softplus", {"x", "beta", "threshold", "out"}, 4, 1};
PyObject* softplus(const Arguments& args) {
  return map<1>("softplus", ElementwiseOp::softplus, args, args[3],
                number_or(args, 1, "softplus: beta", 1.0),
                number_or(args, 2, "softplus: threshold", 20.0));
}

Signature softplus_grad_signature{"softplus_grad", {"g", "x", "beta", "threshold", "out"}, 5, 2};
PyObject* softplus_grad(const Arguments& args) {
  return map<2>("softplus_grad", ElementwiseOp::softplus_grad, args, args[4],
                number_or(args, 2, "softplus_grad: beta", 1.0),
                number_or(args, 3, "softplus_grad: threshold", 20.0));
}

Signature clip_signature{"clip", {"x", "low", "high", "out"}, 4, 1};
PyObject* clip(const Arguments& args) {
  // a bound that does not bind is the infinity on its side
  double infinity = __builtin_inf();
  const PyRef low_bound(args.given(1) ? nullptr : PyFloat_FromDouble(-infinity));
  const PyRef high_bound(args.given(2) ? nullptr : PyFloat_FromDouble(infinity));
  PyObject* const all[] = {args[0], args.given(1) ? args[1] : low_bound.get(),
                           args.given(2) ? args[2] : high_bound.get(), args[3]};
  const Arguments bounded(clip_signature, all, args[3] != nullptr ? 4 : 3, nullptr);
  return map<3>("clip", ElementwiseOp::clip, bounded, args[3]);
}

// Powers that are one or two multiplications or a root; the others are NumPy's.
Signature power_signature{"power", {"a", "b", "out"}, 3, 2};
PyObject* power(const Arguments& args) {
  double exponent;
  if (!as_number(args[1], exponent)) return kDeclined;
  if (exponent == 1.0) return map<1>("power", ElementwiseOp::positive, args, args[2]);
  if (exponent == 2.0) return map<1>("power", ElementwiseOp::square, args, args[2]);
  if (exponent == -1.0) return map<1>("power", ElementwiseOp::reciprocal, args, args[2]);
  return kDeclined;
}

#define TILEGRAD_ENTRY(name) {#name, native<name, name##_signature>},
const Kernels kernels{
    TILEGRAD_BINARY_KERNELS(TILEGRAD_ENTRY) TILEGRAD_UNARY_KERNELS(TILEGRAD_ENTRY)
        TILEGRAD_RESULT_GRADIENTS(TILEGRAD_ENTRY) TILEGRAD_INPUT_GRADIENTS(TILEGRAD_ENTRY)
            TILEGRAD_ENTRY(where) TILEGRAD_ENTRY(leaky_relu) TILEGRAD_ENTRY(leaky_relu_grad)
                TILEGRAD_ENTRY(elu) TILEGRAD_ENTRY(elu_grad) TILEGRAD_ENTRY(gelu)
                    TILEGRAD_ENTRY(gelu_grad) TILEGRAD_ENTRY(softplus) TILEGRAD_ENTRY(softplus_grad)
                        TILEGRAD_ENTRY(clip) TILEGRAD_ENTRY(power)};

// ---- recorded calls
// ------------------------------------------------------------------------------

template <int inputs>
bool read_back(void (*run)(const void*), const void* data, FlatMap& map) {
  if (run != detail::run_erased<MapCall<inputs>>) return false;
  const auto& call = *static_cast<const MapCall<inputs>*>(data);
  if (!call.out.contiguous() || call.out.size() == 0) return false;
  map.dtype = call.out.dtype;
  map.size = call.out.size();
  map.step.op = call.op;
  map.step.out = {};
  map.step.out.data = call.out.data;
  std::copy_n(call.parameters, kMaxParameters, map.step.parameters);
  for (int k = 0; k < inputs; ++k) {
    const ArrayRef& in = call.in[k];
    const bool single =
        std::all_of(in.strides, in.strides + in.ndim, [](int64_t s) { return s == 0; });
    if (in.data != nullptr && (in.dtype != map.dtype || !(single || in.contiguous()))) return false;
    map.step.in[k] = {in.data, call.numbers[k], single || in.data == nullptr};
  }
  return true;
}

}  // namespace

bool as_flat_map(void (*run)(const void*), const void* call, FlatMap& map) {
  return read_back<1>(run, call, map) || read_back<2>(run, call, map) ||
         read_back<3>(run, call, map);
}

}  // namespace tilegrad::bindings
