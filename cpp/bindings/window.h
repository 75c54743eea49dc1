// Arguments of sliding windows. Nothing here raises: what cannot be read or does not fit gives
// false, the kernel declines and its twin says what is wrong.
#pragma once

#include <cstdint>

#include "bindings/kernel.h"
#include "nn/conv.h"
#include "nn/pool.h"

namespace tilegrad::bindings {

struct Dims {
  int count;
  int64_t size[kMaxDims];
};

Dims dims(const ArrayRef& a);
bool has_shape(const ArrayRef& a, const Dims& wanted);

bool read_int(PyObject* object, int64_t& out);
bool read_dims(PyObject* object, Dims& out);  // a tuple or list of non-negative integers

// One integer for all axes, or a tuple or list of one for each, all at least `least`.
bool read_sizes(PyObject* object, int axes, int64_t least, int64_t* out);

// Three axes each; missing leading ones have size, kernel, stride and dilation 1.
struct Windows {
  int64_t image[3], kernel[3], stride[3], dilation[3], low[3], high[3], padded[3], output[3];
};

// Null stride and dilation mean 1, null padding 0. With `ceil_mode` a last window may hang over the
// high edge. The rules are those of kernels/geometry.py.
bool read_windows(const int64_t* image, const int64_t* kernel, int axes, PyObject* stride,
                  PyObject* padding, PyObject* dilation, bool ceil_mode, Windows& out);

// The same for a convolution: the spatial part of its shape, or false.
bool read_conv_windows(const int64_t* image, const int64_t* kernel, int axes, PyObject* stride,
                       PyObject* padding, PyObject* dilation, nn::ConvShape& shape, Windows& out);

// The images of an array (N, C, *S), of any strides.
template <class T>
nn::Images<T> images(const ArrayRef& a) {
  nn::Images<T> result{a.as<const T>(), a.strides[0], a.strides[1], {}};
  const int spatial = a.ndim - 2;
  for (int i = 0; i < spatial; ++i) result.pixel[nn::kSpatial - spatial + i] = a.strides[2 + i];
  return result;
}

// Whether an array of these sizes stays within 64-bit offsets.
bool addressable(const int64_t* sizes, int count);

// The shape of a convolution from its arguments (null: their defaults), or false.
bool conv_shape(const Dims& input, const Dims& kernel, PyObject* stride, PyObject* padding,
                PyObject* dilation, PyObject* groups, nn::ConvShape& shape);

// Batch, channels and the last `count - 2` of three spatial sizes.
Dims planes(int count, int64_t batch, int64_t channels, const int64_t (&spatial)[nn::kSpatial]);

// The planes and pixels of an image (N, C, *S) with pixels, or false.
bool plane_sizes(const Dims& input, nn::PoolShape& shape);

// The shape of a pooling from its arguments (null: their defaults), or false.
bool pool_shape(const Dims& input, PyObject* kernel_size, PyObject* stride, PyObject* padding,
                PyObject* dilation, PyObject* ceil_mode, nn::PoolShape& shape);

// (N, C, *output) of a pooling of `input`.
Dims result_dims(const Dims& input, const nn::PoolShape& shape);

}  // namespace tilegrad::bindings
