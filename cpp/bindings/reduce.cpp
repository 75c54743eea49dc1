// Reductions: axes in, arrays out. Axes that are wrong are left to NumPy, which says so best.
#include "nn/reduce.h"

#include <algorithm>

#include "bindings/kernel.h"
#include "nn/elementwise.h"

namespace tilegrad::bindings {
namespace {

using simd::Reduction;

struct ReduceCall {
  ArrayRef x, out;
  bool reduced[kMaxDims];
  Reduction kind;
  double divisor;  // of the result; 1 for none
  static constexpr int kInputs = 1, kOutputs = 1;
  static void run(const ReduceCall& call) {
    call.x.dtype == DType::kFloat32 ? run_as<float>(call) : run_as<double>(call);
  }

 private:
  template <class T>
  static void run_as(const ReduceCall& call) {
    T* out = call.out.as<T>();
    nn::reduce<T>(call.kind, call.x.ndim, call.x.shape, call.x.strides, call.reduced,
                  call.x.as<const T>(), out);
    if (call.divisor == 1.0) return;
    const T divisor = static_cast<T>(call.divisor), unused[simd::kMaxParameters] = {};
    const int64_t size = call.out.size(), one = 1, none = 0;
    const nn::MapInput inputs[] = {{out, &one, false}, {&divisor, &none, false}};
    nn::map<T>(simd::ElementwiseOp::divide, 1, &size, inputs, out, &one, unused);
  }
};

bool mark_axis(PyObject* axis, int ndim, bool* reduced) {
  if (!PyLong_CheckExact(axis)) return false;
  int overflow;
  const long value = PyLong_AsLongAndOverflow(axis, &overflow);
  if (overflow != 0 || value < -ndim || value >= ndim) return false;
  bool& flag = reduced[value < 0 ? value + ndim : value];
  if (flag) return false;
  flag = true;
  return true;
}

// False where NumPy would complain.
bool mark_axes(PyObject* axis, int ndim, bool* reduced) {
  std::fill_n(reduced, ndim, axis == nullptr || axis == Py_None);
  if (axis == nullptr || axis == Py_None) return true;
  if (!PyTuple_CheckExact(axis)) return mark_axis(axis, ndim, reduced);
  for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(axis); ++i) {
    if (!mark_axis(PyTuple_GET_ITEM(axis, i), ndim, reduced)) return false;
  }
  return true;
}

// The result's shape; returns its number of axes.
int result_shape(const ArrayRef& x, const bool* reduced, bool keepdims, int64_t* shape) {
  int ndim = 0;
  for (int d = 0; d < x.ndim; ++d) {
    if (!reduced[d]) shape[ndim++] = x.shape[d];
    if (reduced[d] && keepdims) shape[ndim++] = 1;
  }
  return ndim;
}

int64_t reduced_count(const ReduceCall& call) {
  int64_t count = 1;
  for (int d = 0; d < call.x.ndim; ++d) {
    if (call.reduced[d]) count *= call.x.shape[d];
  }
  return count;
}

PyObject* run_reduction(ReduceCall& call, int ndim, const int64_t* shape) {
  PyRef out = new_array(call.x.dtype, ndim, shape, call.out);
  execute(call, static_cast<double>(call.x.size()));
  return out.release();
}

PyObject* reduce(const char* keepdims_name, Reduction kind, bool mean, const Arguments& args) {
  ReduceCall call;
  if (!as_array(args[0], call.x) || !is_float(call.x)) return kDeclined;
  if (!mark_axes(args[1], call.x.ndim, call.reduced)) return kDeclined;
  const int64_t count = reduced_count(call);
  const bool extreme = kind == Reduction::max || kind == Reduction::min;
  if (count == 0 && extreme) return kDeclined;  // NumPy raises
  call.kind = kind;
  call.divisor = mean ? static_cast<double>(count) : 1.0;
  int64_t shape[kMaxDims];
  const bool keepdims = args[2] != nullptr && to_bool(args[2], keepdims_name);
  const int ndim = result_shape(call.x, call.reduced, keepdims, shape);
  return run_reduction(call, ndim, shape);
}

#define TILEGRAD_REDUCTION(kernel, kind, mean)                            \
  Signature kernel##_signature{#kernel, {"x", "axis", "keepdims"}, 3, 1}; \
  PyObject* kernel(const Arguments& args) {                               \
    return reduce(#kernel ": keepdims", Reduction::kind, mean, args);     \
  }

TILEGRAD_REDUCTION(sum, sum, false)
TILEGRAD_REDUCTION(mean, sum, true)
TILEGRAD_REDUCTION(prod, prod, false)
TILEGRAD_REDUCTION(amax, max, false)
TILEGRAD_REDUCTION(amin, min, false)

Signature sum_to_signature{"sum_to", {"x", "shape"}, 2, 2};
PyObject* sum_to(const Arguments& args) {
  ReduceCall call;
  if (!as_array(args[0], call.x) || !is_float(call.x)) return kDeclined;
  if (!PyTuple_Check(args[1])) return kDeclined;
  const ArrayRef& x = call.x;
  int64_t shape[kMaxDims];
  const int ndim = to_ints(args[1], -1, "sum_to: shape", shape);
  const int extra = x.ndim - ndim;
  bool matches = extra >= 0;
  for (int d = 0; matches && d < x.ndim; ++d) {
    const int64_t have = x.shape[d], want = d < extra ? 1 : shape[d - extra];
    call.reduced[d] = d < extra || (want == 1 && have != 1);
    matches = call.reduced[d] || want == have;
  }
  if (!matches) {
    throw std::invalid_argument("sum_to: shape " + shape_text(shape, ndim) +
                                " does not broadcast to " + shape_text(x.shape, x.ndim));
  }
  call.kind = Reduction::sum;
  call.divisor = 1.0;
  return run_reduction(call, ndim, shape);
}

struct PlaceCall {
  ArrayRef x, out;
  int64_t rows, n;
  bool largest;
  static constexpr int kInputs = 1, kOutputs = 1;
  static void run(const PlaceCall& call) {
    auto* out = call.out.as<int64_t>();
    if (call.x.dtype == DType::kFloat32) {
      nn::reduce_places(call.largest, call.rows, call.n, call.x.as<const float>(), out);
    } else {
      nn::reduce_places(call.largest, call.rows, call.n, call.x.as<const double>(), out);
    }
  }
};

// Along the last axis of contiguous arrays, or all of them; NumPy does the rest as well.
PyObject* place(const char* keepdims_name, bool largest, const Arguments& args) {
  PlaceCall call;
  if (!as_array(args[0], call.x) || !is_float(call.x) || !call.x.contiguous()) return kDeclined;
  const ArrayRef& x = call.x;
  bool reduced[kMaxDims];
  if (args.given(1) && !PyLong_CheckExact(args[1])) return kDeclined;
  if (!mark_axes(args[1], x.ndim, reduced)) return kDeclined;
  if (x.ndim > 0 && !reduced[x.ndim - 1]) return kDeclined;
  int64_t shape[kMaxDims];
  const bool keepdims = args[2] != nullptr && to_bool(args[2], keepdims_name);
  const int ndim = result_shape(x, reduced, keepdims, shape);
  if (x.size() == 0) return kDeclined;
  PyRef out = new_array(DType::kInt64, ndim, shape, call.out);
  call.rows = call.out.size();
  call.n = x.size() / call.rows;
  call.largest = largest;
  execute(call, static_cast<double>(x.size()));
  return out.release();
}

Signature argmax_signature{"argmax", {"x", "axis", "keepdims"}, 3, 1};
PyObject* argmax(const Arguments& args) { return place("argmax: keepdims", true, args); }

Signature argmin_signature{"argmin", {"x", "axis", "keepdims"}, 3, 1};
PyObject* argmin(const Arguments& args) { return place("argmin: keepdims", false, args); }

const Kernels kernels{
    {"sum", native<sum, sum_signature>},          {"mean", native<mean, mean_signature>},
    {"prod", native<prod, prod_signature>},       {"amax", native<amax, amax_signature>},
    {"amin", native<amin, amin_signature>},       {"sum_to", native<sum_to, sum_to_signature>},
    {"argmax", native<argmax, argmax_signature>}, {"argmin", native<argmin, argmin_signature>}};

}  // namespace
}  // namespace tilegrad::bindings
