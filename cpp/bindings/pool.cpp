// Pooling: NumPy arrays in, NumPy arrays out. Bad arguments decline: the twins say what is wrong.
#include "nn/pool.h"

#include <algorithm>

#include "bindings/contiguous.h"
#include "bindings/kernel.h"
#include "bindings/window.h"

namespace tilegrad::bindings {
namespace {

double work(const nn::PoolShape& shape) {
  return 2 * static_cast<double>(shape.planes) *
         static_cast<double>(shape.image_pixels() + shape.output_pixels());
}

struct MaxPoolCall {
  ArrayRef x, y, indices;
  nn::PoolShape shape;
  bool adaptive;
  static constexpr int kInputs = 1, kOutputs = 2;
  template <class T>
  static void run_as(const MaxPoolCall& c) {
    const Contiguous<T> x(c.x);
    (c.adaptive ? nn::adaptive_max_pool<T> : nn::max_pool<T>)(c.shape, x.get(), c.y.as<T>(),
                                                              c.indices.as<int64_t>());
  }
  static void run(const MaxPoolCall& c) { run_floating(c); }
};

PyObject* finish_max(MaxPoolCall& call) {
  const Dims out = result_dims(dims(call.x), call.shape);
  PyRef y = new_array(call.x.dtype, out.count, out.size, call.y);
  PyRef indices = new_array(DType::kInt64, out.count, out.size, call.indices);
  execute(call, work(call.shape));
  return PyTuple_Pack(2, y.get(), indices.get());
}

Signature max_pool_signature{
    "max_pool", {"x", "kernel_size", "stride", "padding", "dilation", "ceil_mode"}, 6, 2};

PyObject* max_pool(const Arguments& args) {
  MaxPoolCall call{};
  if (!as_array(args[0], call.x) || !is_float(call.x) ||
      !pool_shape(dims(call.x), args[1], args[2], args[3], args[4], args[5], call.shape)) {
    return kDeclined;
  }
  return finish_max(call);
}

// output_size: one integer or one per axis, None keeping the image's.
bool adaptive_shape(const Dims& input, PyObject* output_size, nn::PoolShape& shape) {
  if (!plane_sizes(input, shape)) return false;
  const int axes = input.count - 2;
  const bool many = PyTuple_Check(output_size) || PyList_Check(output_size);
  if (many && PySequence_Fast_GET_SIZE(output_size) != axes) return false;
  for (int i = 0; i < 3; ++i) shape.output[i] = 1;
  for (int i = 0; i < axes; ++i) {
    PyObject* wanted = many ? PySequence_Fast_GET_ITEM(output_size, i) : output_size;
    int64_t& size = shape.output[3 - axes + i];
    if (wanted == Py_None) {
      size = input.size[2 + i];
    } else if (!read_int(wanted, size) || size < 0) {
      return false;
    }
  }
  const Dims result = result_dims(input, shape);
  return addressable(result.size, result.count);
}

Signature adaptive_max_pool_signature{"adaptive_max_pool", {"x", "output_size"}, 2, 2};

PyObject* adaptive_max_pool(const Arguments& args) {
  MaxPoolCall call{};
  call.adaptive = true;
  if (!as_array(args[0], call.x) || !is_float(call.x) ||
      !adaptive_shape(dims(call.x), args[1], call.shape)) {
    return kDeclined;
  }
  return finish_max(call);
}

struct PoolIndexCall {
  ArrayRef values, indices, result;
  int64_t planes, count, pixels;
  bool scatter;
  static constexpr int kInputs = 2, kOutputs = 1;
  template <class T>
  static void run_as(const PoolIndexCall& c) {
    const Contiguous<T> values(c.values);
    const Contiguous<int64_t> indices(c.indices);
    (c.scatter ? nn::pool_scatter<T> : nn::pool_gather<T>)(c.planes, c.count, c.pixels,
                                                           values.get(), indices.get(),
                                                           c.result.as<T>());
  }
  static void run(const PoolIndexCall& c) { run_floating(c); }
};

// Whether all indices are in [-1, pixels): one pass, which warms them too.
bool indices_inside(const ArrayRef& indices, int64_t pixels) {
  const Contiguous<int64_t> copy(indices);
  const int64_t* const at = copy.get();
  const int64_t count = indices.size();
  uint64_t most = 0;  // of index + 1: what lies below -1 becomes huge
  for (int64_t i = 0; i < count; ++i) most = std::max(most, static_cast<uint64_t>(at[i]) + 1);
  return most <= static_cast<uint64_t>(pixels);
}

bool index_call(const Dims& image, const ArrayRef& indices, PoolIndexCall& call) {
  nn::PoolShape shape{};
  if (!plane_sizes(image, shape) || indices.ndim != image.count) return false;
  if (indices.shape[0] != image.size[0] || indices.shape[1] != image.size[1]) return false;
  call.planes = shape.planes;
  call.pixels = shape.image_pixels();
  call.count = 1;
  for (int i = 2; i < indices.ndim; ++i) call.count *= indices.shape[i];
  return indices_inside(indices, call.pixels);
}

Signature pool_scatter_signature{"pool_scatter", {"g", "indices", "input_shape"}, 3, 3};

PyObject* pool_scatter(const Arguments& args) {
  PoolIndexCall call{};
  Dims image;
  call.scatter = true;
  if (!as_array(args[0], call.values) || !is_float(call.values) ||
      !as_array(args[1], call.indices) || call.indices.dtype != DType::kInt64 ||
      !has_shape(call.values, dims(call.indices)) || !read_dims(args[2], image) ||
      !index_call(image, call.indices, call)) {
    return kDeclined;
  }
  PyRef result = new_array(call.values.dtype, image.count, image.size, call.result);
  execute(call, static_cast<double>(call.planes * (call.pixels + 3 * call.count)));
  return result.release();
}

Signature pool_gather_signature{"pool_gather", {"t", "indices"}, 2, 2};

PyObject* pool_gather(const Arguments& args) {
  PoolIndexCall call{};
  if (!as_array(args[0], call.values) || !is_float(call.values) ||
      !as_array(args[1], call.indices) || call.indices.dtype != DType::kInt64 ||
      !index_call(dims(call.values), call.indices, call)) {
    return kDeclined;
  }
  PyRef result = new_array(call.values.dtype, call.indices.ndim, call.indices.shape, call.result);
  execute(call, static_cast<double>(4 * call.planes * call.count));
  return result.release();
}

struct AvgPoolCall {
  ArrayRef in, out;
  nn::PoolShape shape;
  nn::MeanRule rule;
  bool adaptive, backward;
  static constexpr int kInputs = 1, kOutputs = 1;
  template <class T>
  static void run_as(const AvgPoolCall& c) {
    const Contiguous<T> in(c.in);
    if (c.adaptive) {
      (c.backward ? nn::adaptive_avg_pool_grad<T> : nn::adaptive_avg_pool<T>)(c.shape, in.get(),
                                                                              c.out.as<T>());
    } else {
      (c.backward ? nn::avg_pool_grad<T> : nn::avg_pool<T>)(c.shape, c.rule, in.get(),
                                                            c.out.as<T>());
    }
  }
  static void run(const AvgPoolCall& c) { run_floating(c); }
};

bool mean_rule(const Arguments& args, int i, nn::MeanRule& rule) {
  rule = {true, 0};
  if (args[i] != nullptr) {
    const int counts = PyObject_IsTrue(args[i]);
    if (counts < 0) {
      PyErr_Clear();
      return false;
    }
    rule.count_padding = counts != 0;
  }
  return !args.given(i + 1) || (read_int(args[i + 1], rule.divisor) && rule.divisor != 0);
}

Signature avg_pool_signature{
    "avg_pool",
    {"x", "kernel_size", "stride", "padding", "ceil_mode", "count_include_pad", "divisor_override"},
    7,
    2};

PyObject* avg_pool(const Arguments& args) {
  AvgPoolCall call{};
  if (!as_array(args[0], call.in) || !is_float(call.in) || !mean_rule(args, 5, call.rule) ||
      !pool_shape(dims(call.in), args[1], args[2], args[3], nullptr, args[4], call.shape)) {
    return kDeclined;
  }
  const Dims out = result_dims(dims(call.in), call.shape);
  PyRef y = new_array(call.in.dtype, out.count, out.size, call.out);
  execute(call, work(call.shape));
  return y.release();
}

Signature avg_pool_grad_signature{"avg_pool_grad",
                                  {"g", "input_shape", "kernel_size", "stride", "padding",
                                   "ceil_mode", "count_include_pad", "divisor_override"},
                                  8,
                                  3};

PyObject* avg_pool_grad(const Arguments& args) {
  AvgPoolCall call{};
  Dims image;
  call.backward = true;
  if (!as_array(args[0], call.in) || !is_float(call.in) || !read_dims(args[1], image) ||
      !mean_rule(args, 6, call.rule) ||
      !pool_shape(image, args[2], args[3], args[4], nullptr, args[5], call.shape) ||
      !has_shape(call.in, result_dims(image, call.shape))) {
    return kDeclined;
  }
  PyRef dx = new_array(call.in.dtype, image.count, image.size, call.out);
  execute(call, work(call.shape));
  return dx.release();
}

Signature adaptive_avg_pool_signature{"adaptive_avg_pool", {"x", "output_size"}, 2, 2};

PyObject* adaptive_avg_pool(const Arguments& args) {
  AvgPoolCall call{};
  call.adaptive = true;
  if (!as_array(args[0], call.in) || !is_float(call.in) ||
      !adaptive_shape(dims(call.in), args[1], call.shape)) {
    return kDeclined;
  }
  const Dims out = result_dims(dims(call.in), call.shape);
  PyRef y = new_array(call.in.dtype, out.count, out.size, call.out);
  execute(call, work(call.shape));
  return y.release();
}

Signature adaptive_avg_pool_grad_signature{"adaptive_avg_pool_grad", {"g", "input_shape"}, 2, 2};

PyObject* adaptive_avg_pool_grad(const Arguments& args) {
  AvgPoolCall call{};
  Dims image;
  call.adaptive = call.backward = true;
  if (!as_array(args[0], call.in) || !is_float(call.in) || !read_dims(args[1], image) ||
      !plane_sizes(image, call.shape) || call.in.ndim != image.count ||
      call.in.shape[0] != image.size[0] || call.in.shape[1] != image.size[1]) {
    return kDeclined;
  }
  for (int i = 0; i < 3; ++i) call.shape.output[i] = 1;
  for (int i = 2; i < image.count; ++i) call.shape.output[3 - image.count + i] = call.in.shape[i];
  PyRef dx = new_array(call.in.dtype, image.count, image.size, call.out);
  execute(call, work(call.shape));
  return dx.release();
}

const Kernels kernels{
    {"max_pool", native<max_pool, max_pool_signature>},
    {"pool_scatter", native<pool_scatter, pool_scatter_signature>},
    {"pool_gather", native<pool_gather, pool_gather_signature>},
    {"avg_pool", native<avg_pool, avg_pool_signature>},
    {"avg_pool_grad", native<avg_pool_grad, avg_pool_grad_signature>},
    {"adaptive_avg_pool", native<adaptive_avg_pool, adaptive_avg_pool_signature>},
    {"adaptive_avg_pool_grad", native<adaptive_avg_pool_grad, adaptive_avg_pool_grad_signature>},
    {"adaptive_max_pool", native<adaptive_max_pool, adaptive_max_pool_signature>},
};

}  // namespace
}  // namespace tilegrad::bindings
