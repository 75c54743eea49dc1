// Convolution: NumPy arrays in, NumPy arrays out. Bad arguments decline, and the twin raises with
// the text of kernels/geometry.py: the checks are written once, there.
#include "nn/conv.h"

#include "bindings/contiguous.h"
#include "bindings/kernel.h"
#include "bindings/window.h"

namespace tilegrad::bindings {
namespace {

struct ConvCall {
  ArrayRef x, w, bias, y;  // bias.data null: none
  nn::ConvShape shape;
  bool relu;
  static constexpr int kInputs = 3, kOutputs = 1;
  static void run(const ConvCall& call);
};

template <class T>
void forward(const ConvCall& call) {
  const Contiguous<T> w(call.w), bias(call.bias);
  nn::conv_forward<T>(call.shape, images<T>(call.x), w.get(), bias.get(), call.relu,
                      call.y.as<T>());
}

void ConvCall::run(const ConvCall& call) {
  call.y.dtype == DType::kFloat32 ? forward<float>(call) : forward<double>(call);
}

struct ConvInputGradCall {
  ArrayRef g, w, dx;
  nn::ConvShape shape;
  static constexpr int kInputs = 2, kOutputs = 1;
  static void run(const ConvInputGradCall& call);
};

template <class T>
void input_grad(const ConvInputGradCall& call) {
  const Contiguous<T> w(call.w);
  nn::conv_input_grad<T>(call.shape, images<T>(call.g), w.get(), call.dx.as<T>());
}

void ConvInputGradCall::run(const ConvInputGradCall& call) {
  call.dx.dtype == DType::kFloat32 ? input_grad<float>(call) : input_grad<double>(call);
}

struct ConvWeightGradCall {
  ArrayRef g, x, dw;
  nn::ConvShape shape;
  static constexpr int kInputs = 2, kOutputs = 1;
  static void run(const ConvWeightGradCall& call);
};

template <class T>
void weight_grad(const ConvWeightGradCall& call) {
  nn::conv_weight_grad<T>(call.shape, images<T>(call.g), images<T>(call.x), call.dw.as<T>());
}

void ConvWeightGradCall::run(const ConvWeightGradCall& call) {
  call.dw.dtype == DType::kFloat32 ? weight_grad<float>(call) : weight_grad<double>(call);
}

// The shape of a convolution from its arguments, or false.
bool conv_shape(const Dims& input, const Dims& kernel, PyObject* stride, PyObject* padding,
                PyObject* dilation, PyObject* groups, nn::ConvShape& shape) {
  const int spatial = input.count - 2;
  Windows windows;
  if (spatial < 1 || spatial > nn::kSpatial || kernel.count != input.count) return false;
  if (!read_conv_windows(input.size + 2, kernel.size + 2, spatial, stride, padding, dilation, shape,
                         windows)) {
    return false;
  }
  shape.groups = 1;
  if (groups != nullptr && !read_int(groups, shape.groups)) return false;
  shape.batch = input.size[0];
  shape.channels = input.size[1];
  shape.out_channels = kernel.size[0];
  if (shape.groups < 1 || shape.channels % shape.groups || shape.out_channels % shape.groups ||
      kernel.size[1] * shape.groups != shape.channels) {
    return false;
  }
  const int64_t padded[] = {shape.batch, shape.channels, windows.padded[0], windows.padded[1],
                            windows.padded[2]};
  const int64_t result[] = {shape.batch, shape.out_channels, shape.output[0], shape.output[1],
                            shape.output[2]};
  return addressable(padded, 5) && addressable(result, 5) && addressable(kernel.size, kernel.count);
}

// Batch, channels and the last `count - 2` of three spatial sizes.
Dims planes(int count, int64_t batch, int64_t channels, const int64_t (&spatial)[nn::kSpatial]) {
  Dims result{count, {batch, channels}};
  for (int i = 2; i < count; ++i) result.size[i] = spatial[nn::kSpatial - count + i];
  return result;
}

// Both float arrays of one dtype.
bool float_pair(PyObject* first, PyObject* second, ArrayRef& a, ArrayRef& b) {
  return as_array(first, a) && as_array(second, b) && is_float(a) && a.dtype == b.dtype;
}

Signature conv_signature{
    "conv", {"x", "w", "bias", "stride", "padding", "dilation", "groups", "activation"}, 8, 2};

PyObject* conv(const Arguments& args) {
  ConvCall call{};
  if (!float_pair(args[0], args[1], call.x, call.w)) return kDeclined;
  if (!conv_shape(dims(call.x), dims(call.w), args[3], args[4], args[5], args[6], call.shape)) {
    return kDeclined;
  }
  call.bias.dtype = call.x.dtype;
  if (args.given(2)) {
    const Dims wanted{1, {call.shape.out_channels}};
    if (!as_array(args[2], call.bias) || call.bias.dtype != call.x.dtype ||
        !has_shape(call.bias, wanted)) {
      return kDeclined;
    }
  }
  if (args.given(7)) {
    if (!PyUnicode_Check(args[7]) || PyUnicode_CompareWithASCIIString(args[7], "relu") != 0) {
      return kDeclined;
    }
    call.relu = true;
  }
  const Dims out =
      planes(call.x.ndim, call.shape.batch, call.shape.out_channels, call.shape.output);
  PyRef y = new_array(call.x.dtype, out.count, out.size, call.y);
  execute(call, call.shape.products());
  return y.release();
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
    {"conv_input_grad", native<conv_input_grad, conv_input_grad_signature>},
    {"conv_weight_grad", native<conv_weight_grad, conv_weight_grad_signature>},
};

}  // namespace
}  // namespace tilegrad::bindings
