#include "bindings/window.h"

#include <algorithm>

namespace tilegrad::bindings {
namespace {

constexpr int64_t kMostElements = int64_t{1} << 59;  // as in kernels/geometry.py
constexpr int64_t kLargestSize = int64_t{1} << 40;   // beyond it sums of sizes are left to Python

bool is_sequence(PyObject* object) { return PyTuple_Check(object) || PyList_Check(object); }

bool read_padding(PyObject* object, int axes, int64_t* low, int64_t* high) {
  if (object == nullptr) {
    std::fill(low, low + axes, 0);
    std::fill(high, high + axes, 0);
    return true;
  }
  const bool pairs = is_sequence(object) && PySequence_Fast_GET_SIZE(object) == axes && axes > 0 &&
                     is_sequence(PySequence_Fast_GET_ITEM(object, 0));
  if (!pairs) {
    if (!read_sizes(object, axes, -kLargestSize, low)) return false;
    std::copy(low, low + axes, high);
    return true;
  }
  for (int i = 0; i < axes; ++i) {
    PyObject* pair = PySequence_Fast_GET_ITEM(object, i);
    if (!is_sequence(pair) || PySequence_Fast_GET_SIZE(pair) != 2 ||
        !read_int(PySequence_Fast_GET_ITEM(pair, 0), low[i]) ||
        !read_int(PySequence_Fast_GET_ITEM(pair, 1), high[i])) {
      return false;
    }
  }
  return true;
}

}  // namespace

Dims dims(const ArrayRef& a) {
  Dims result{a.ndim, {}};
  std::copy(a.shape, a.shape + a.ndim, result.size);
  return result;
}

bool has_shape(const ArrayRef& a, const Dims& wanted) {
  return a.ndim == wanted.count && std::equal(a.shape, a.shape + a.ndim, wanted.size);
}

bool read_int(PyObject* object, int64_t& out) {
  const PyRef index(PyNumber_Index(object));
  if (!index) {
    PyErr_Clear();
    return false;
  }
  out = PyLong_AsLongLong(index.get());
  if (out == -1 && PyErr_Occurred()) {
    PyErr_Clear();
    return false;
  }
  return -kLargestSize <= out && out <= kLargestSize;
}

bool read_dims(PyObject* object, Dims& out) {
  if (!is_sequence(object)) return false;
  const Py_ssize_t count = PySequence_Fast_GET_SIZE(object);
  if (count > kMaxDims) return false;
  out.count = static_cast<int>(count);
  return read_sizes(object, out.count, 0, out.size);
}

bool read_sizes(PyObject* object, int axes, int64_t least, int64_t* out) {
  if (!is_sequence(object)) {
    if (!read_int(object, out[0]) || out[0] < least) return false;
    std::fill(out + 1, out + axes, out[0]);
    return true;
  }
  const Py_ssize_t count = PySequence_Fast_GET_SIZE(object);
  if (count != axes) return false;
  for (int i = 0; i < axes; ++i) {
    if (!read_int(PySequence_Fast_GET_ITEM(object, i), out[i]) || out[i] < least) return false;
  }
  return true;
}

bool read_windows(const int64_t* image, const int64_t* kernel, int axes, PyObject* stride,
                  PyObject* padding, PyObject* dilation, bool ceil_mode, Windows& w) {
  const int first = 3 - axes;
  for (int i = 0; i < 3; ++i) {
    w.image[i] = w.kernel[i] = w.stride[i] = w.dilation[i] = w.padded[i] = w.output[i] = 1;
    w.low[i] = w.high[i] = 0;
  }
  std::copy(image, image + axes, w.image + first);
  std::copy(kernel, kernel + axes, w.kernel + first);
  if (stride != nullptr && !read_sizes(stride, axes, 1, w.stride + first)) return false;
  if (dilation != nullptr && !read_sizes(dilation, axes, 1, w.dilation + first)) return false;
  if (!read_padding(padding, axes, w.low + first, w.high + first)) return false;
  for (int i = first; i < 3; ++i) {
    const int64_t size = w.image[i], low = w.low[i], high = w.high[i], step = w.stride[i];
    if (w.kernel[i] < 1 || w.kernel[i] > kLargestSize / w.dilation[i]) return false;
    if (low + size < 0 || high + size < 0 || low + size + high < 0) return false;
    w.padded[i] = size + low + high;
    const int64_t slack = w.padded[i] - (w.dilation[i] * (w.kernel[i] - 1) + 1);
    const int64_t room = slack + (ceil_mode ? step - 1 : 0);
    if (room < 0) return false;
    w.output[i] = room / step + 1;
    if (ceil_mode && (w.output[i] - 1) * step >= size + low) --w.output[i];
    if (w.output[i] < 1) return false;
  }
  return true;
}

bool read_conv_windows(const int64_t* image, const int64_t* kernel, int axes, PyObject* stride,
                       PyObject* padding, PyObject* dilation, nn::ConvShape& shape, Windows& w) {
  if (!read_windows(image, kernel, axes, stride, padding, dilation, false, w)) return false;
  std::copy(w.image, w.image + nn::kSpatial, shape.image);
  std::copy(w.kernel, w.kernel + nn::kSpatial, shape.kernel);
  std::copy(w.output, w.output + nn::kSpatial, shape.output);
  std::copy(w.stride, w.stride + nn::kSpatial, shape.stride);
  std::copy(w.low, w.low + nn::kSpatial, shape.low);
  std::copy(w.dilation, w.dilation + nn::kSpatial, shape.dilation);
  return true;
}

bool addressable(const int64_t* sizes, int count) {
  int64_t product = 1;
  for (int i = 0; i < count; ++i) {
    const int64_t size = std::max<int64_t>(1, sizes[i]);
    if (product > kMostElements / size) return false;
    product *= size;
  }
  return product < kMostElements;
}

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

Dims planes(int count, int64_t batch, int64_t channels, const int64_t (&spatial)[nn::kSpatial]) {
  Dims result{count, {batch, channels}};
  for (int i = 2; i < count; ++i) result.size[i] = spatial[nn::kSpatial - count + i];
  return result;
}

bool plane_sizes(const Dims& input, nn::PoolShape& shape) {
  if (input.count < 3 || input.count > 5 || !addressable(input.size, input.count)) return false;
  shape.planes = input.size[0] * input.size[1];
  for (int i = 0; i < 3; ++i) shape.image[i] = 1;
  for (int i = 2; i < input.count; ++i) {
    if (input.size[i] < 1) return false;
    shape.image[3 - input.count + i] = input.size[i];
  }
  return true;
}

Dims result_dims(const Dims& input, const nn::PoolShape& shape) {
  Dims result = input;
  for (int i = 2; i < input.count; ++i) result.size[i] = shape.output[3 - input.count + i];
  return result;
}

bool pool_shape(const Dims& input, PyObject* kernel_size, PyObject* stride, PyObject* padding,
                PyObject* dilation, PyObject* ceil_mode, nn::PoolShape& shape) {
  if (!plane_sizes(input, shape)) return false;
  const int axes = input.count - 2;
  int64_t kernel[3];
  Windows w;
  if (!read_sizes(kernel_size, axes, 1, kernel)) return false;
  const int ceil = ceil_mode == nullptr ? 0 : PyObject_IsTrue(ceil_mode);
  if (ceil < 0) {
    PyErr_Clear();
    return false;
  }
  const bool own_stride = stride != nullptr && stride != Py_None &&
                          !(PyTuple_Check(stride) && PyTuple_GET_SIZE(stride) == 0);
  const PyRef same(own_stride ? nullptr : PyTuple_New(axes));
  if (!own_stride) {
    if (!same) throw PythonError();
    for (int i = 0; i < axes; ++i) {
      PyObject* size = PyLong_FromLongLong(kernel[i]);
      if (size == nullptr) throw PythonError();
      PyTuple_SET_ITEM(same.get(), i, size);
    }
  }
  if (!read_windows(input.size + 2, kernel, axes, own_stride ? stride : same.get(), padding,
                    dilation, ceil != 0, w)) {
    return false;
  }
  for (int i = 0; i < 3; ++i) {
    const int64_t half = (w.dilation[i] * (w.kernel[i] - 1) + 1) / 2;
    if (w.low[i] < 0 || w.low[i] > half || w.high[i] < 0 || w.high[i] > half) return false;
    shape.kernel[i] = w.kernel[i];
    shape.output[i] = w.output[i];
    shape.stride[i] = w.stride[i];
    shape.low[i] = w.low[i];
    shape.high[i] = w.high[i];
    shape.dilation[i] = w.dilation[i];
  }
  const Dims result = result_dims(input, shape);
  const int64_t padded[] = {shape.planes, w.padded[0], w.padded[1], w.padded[2]};
  return addressable(padded, 4) && addressable(result.size, result.count);
}

}  // namespace tilegrad::bindings
