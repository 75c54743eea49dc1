// Convolution: NumPy arrays in, NumPy arrays out. Bad arguments decline, and the twin raises with
// the text of kernels/geometry.py: the checks are written once, there.
#include "nn/conv.h"

#include "bindings/contiguous.h"
#include "bindings/kernel.h"
#include "bindings/window.h"
#include "nn/conv_pool.h"

namespace tilegrad::bindings {
namespace {

struct ConvCall {
  ArrayRef x, w, bias, y;  // bias.data null: none
  nn::ConvShape conv;
  bool relu;
  static constexpr int kInputs = 3, kOutputs = 1;
  template <class T>
  static void run_as(const ConvCall& c) {
    const Contiguous<T> w(c.w), bias(c.bias);
    nn::conv_forward<T>(c.conv, images<T>(c.x), w.get(), bias.get(), c.relu, c.y.as<T>());
  }
  static void run(const ConvCall& c) { run_floating(c); }
};

struct ConvMaxPoolCall {
  ArrayRef x, w, bias, y, indices;
  nn::ConvShape conv;
  nn::PoolShape pool;
  bool relu;
  static constexpr int kInputs = 3, kOutputs = 2;
  template <class T>
  static void run_as(const ConvMaxPoolCall& c) {
    const Contiguous<T> w(c.w), bias(c.bias);
    nn::conv_max_pool<T>(c.conv, c.pool, images<T>(c.x), w.get(), bias.get(), c.relu, c.y.as<T>(),
                         c.indices.as<int64_t>());
  }
  static void run(const ConvMaxPoolCall& c) { run_floating(c); }
};

struct ConvInputGradCall {
  ArrayRef g, w, dx;
  nn::ConvShape shape;
  static constexpr int kInputs = 2, kOutputs = 1;
  template <class T>
  static void run_as(const ConvInputGradCall& c) {
    const Contiguous<T> w(c.w);
    nn::conv_input_grad<T>(c.shape, images<T>(c.g), w.get(), c.dx.as<T>());
  }
  static void run(const ConvInputGradCall& c) { run_floating(c); }
};

struct ConvWeightGradCall {
  ArrayRef g, x, dw;
  nn::ConvShape shape;
  static constexpr int kInputs = 2, kOutputs = 1;
  template <class T>
  static void run_as(const ConvWeightGradCall& c) {
    nn::conv_weight_grad<T>(c.shape, images<T>(c.g), images<T>(c.x), c.dw.as<T>());
  }
  static void run(const ConvWeightGradCall& c) { run_floating(c); }
};

// Both float arrays of one dtype.
bool float_pair(PyObject* first, PyObject* second, ArrayRef& a, ArrayRef& b) {
  return as_array(first, a) && as_array(second, b) && is_float(a) && a.dtype == b.dtype;
}

Signature conv_signature{
    "conv", {"x", "w", "bias", "stride", "padding", "dilation", "groups", "activation"}, 8, 2};

// The arguments (x, w, bias, stride, padding, dilation, groups, activation) of a convolution.
template <class Call>
bool read_conv(const Arguments& args, Call& call) {
  if (!float_pair(args[0], args[1], call.x, call.w) ||
      !conv_shape(dims(call.x), dims(call.w), args[3], args[4], args[5], args[6], call.conv)) {
    return false;
  }
  call.bias.dtype = call.x.dtype;
  if (args.given(2)) {
    const Dims wanted{1, {call.conv.out_channels}};
    if (!as_array(args[2], call.bias) || call.bias.dtype != call.x.dtype ||
        !has_shape(call.bias, wanted)) {
      return false;
    }
  }
  call.relu = args.given(7);
  return !call.relu ||
         (PyUnicode_Check(args[7]) && PyUnicode_CompareWithASCIIString(args[7], "relu") == 0);
}

template <class Call>
Dims output_dims(const Call& call) {
  return planes(call.x.ndim, call.conv.batch, call.conv.out_channels, call.conv.output);
}

PyObject* conv(const Arguments& args) {
  ConvCall call{};
  if (!read_conv(args, call)) return kDeclined;
  const Dims out = output_dims(call);
  PyRef y = new_array(call.x.dtype, out.count, out.size, call.y);
  execute(call, call.conv.products());
  return y.release();
}

Signature conv_max_pool_signature{
    "conv_max_pool",
    {"x", "w", "bias", "stride", "padding", "dilation", "groups", "activation", "kernel_size",
     "pool_stride", "pool_padding", "pool_dilation", "ceil_mode"},
    13,
    2};

PyObject* conv_max_pool(const Arguments& args) {
  ConvMaxPoolCall call{};
  const PyRef two(PyLong_FromLong(2));
  if (!two) throw PythonError();
  if (!read_conv(args, call) ||
      !pool_shape(output_dims(call), args[8] != nullptr ? args[8] : two.get(), args[9], args[10],
                  args[11], args[12], call.pool)) {
    return kDeclined;
  }
  const Dims out = result_dims(output_dims(call), call.pool);
  PyRef y = new_array(call.x.dtype, out.count, out.size, call.y);
  PyRef indices = new_array(DType::kInt64, out.count, out.size, call.indices);
  execute(call, call.conv.products());
  return PyTuple_Pack(2, y.get(), indices.get());
}

Signature conv_input_grad_signature{
    "conv_input_grad", {"g", "w", "input_shape", "stride", "padding", "dilation", "groups"}, 7, 3};

PyObject* conv_input_grad(const Arguments& args) {
  ConvInputGradCall call{};
  Dims input;
  if (!float_pair(args[0], args[1], call.g, call.w) || !read_dims(args[2], input) ||
      !conv_shape(input, dims(call.w), args[3], args[4], args[5], args[6], call.shape) ||
      !has_shape(call.g, planes(input.count, call.shape.batch, call.shape.out_channels,
                                call.shape.output))) {
    return kDeclined;
  }
  PyRef dx = new_array(call.g.dtype, input.count, input.size, call.dx);
  execute(call, call.shape.products());
  return dx.release();
}

Signature conv_weight_grad_signature{
    "conv_weight_grad",
    {"g", "x", "kernel_shape", "stride", "padding", "dilation", "groups"},
    7,
    3};

PyObject* conv_weight_grad(const Arguments& args) {
  ConvWeightGradCall call{};
  Dims kernel;
  if (!float_pair(args[0], args[1], call.g, call.x) || !read_dims(args[2], kernel) ||
      !conv_shape(dims(call.x), kernel, args[3], args[4], args[5], args[6], call.shape) ||
      !has_shape(call.g, planes(kernel.count, call.shape.batch, call.shape.out_channels,
                                call.shape.output))) {
    return kDeclined;
  }
  PyRef dw = new_array(call.g.dtype, kernel.count, kernel.size, call.dw);
  execute(call, call.shape.products());
  return dw.release();
}

const Kernels kernels{
    {"conv", native<conv, conv_signature>},
    {"conv_max_pool", native<conv_max_pool, conv_max_pool_signature>},
    {"conv_input_grad", native<conv_input_grad, conv_input_grad_signature>},
    {"conv_weight_grad", native<conv_weight_grad, conv_weight_grad_signature>},
};

}  // namespace
}  // namespace tilegrad::bindings
