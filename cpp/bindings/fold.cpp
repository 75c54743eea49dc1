// The column matrix and its adjoint: NumPy arrays in, NumPy arrays out. Bad arguments decline: the
// twins say what is wrong.
#include "nn/fold.h"

#include <algorithm>

#include "bindings/contiguous.h"
#include "bindings/kernel.h"
#include "bindings/window.h"

namespace tilegrad::bindings {
namespace {

struct UnfoldCall {
  ArrayRef x, columns;
  nn::ConvShape shape;
  static constexpr int kInputs = 1, kOutputs = 1;
  template <class T>
  static void run_as(const UnfoldCall& c) {
    nn::unfold<T>(c.shape, images<T>(c.x), c.columns.as<T>());
  }
  static void run(const UnfoldCall& c) { run_floating(c); }
};

struct FoldCall {
  ArrayRef columns, image;
  nn::ConvShape shape;
  static constexpr int kInputs = 1, kOutputs = 1;
  template <class T>
  static void run_as(const FoldCall& c) {
    const Contiguous<T> columns(c.columns);
    nn::fold<T>(c.shape, columns.get(), c.image.as<T>());
  }
  static void run(const FoldCall& c) { run_floating(c); }
};

// Arguments (kernel_size, dilation, padding, stride) from the given one on; `image` has no empty
// spatial axis. The columns' last two sizes are channels * taps and pixels.
bool columns_shape(const Arguments& args, int first, const Dims& image, nn::ConvShape& shape) {
  const int axes = image.count - 2;
  int64_t kernel[nn::kSpatial];
  Windows windows;
  if (axes < 1 || axes > nn::kSpatial ||
      std::any_of(image.size + 2, image.size + image.count, [](int64_t n) { return n < 1; }) ||
      !read_sizes(args[first], axes, 1, kernel) ||
      !read_conv_windows(image.size + 2, kernel, axes, args[first + 3], args[first + 2],
                         args[first + 1], shape, windows)) {
    return false;
  }
  shape.batch = image.size[0];
  shape.channels = shape.out_channels = image.size[1];
  shape.groups = 1;
  const int64_t sizes[] = {shape.batch,     shape.channels,  shape.kernel[0], shape.kernel[1],
                           shape.kernel[2], shape.output[0], shape.output[1], shape.output[2]};
  const int64_t padded[] = {shape.batch, shape.channels, windows.padded[0], windows.padded[1],
                            windows.padded[2]};
  return addressable(sizes, 8) && addressable(padded, 5);
}

double work(const nn::ConvShape& s) {
  return static_cast<double>(s.batch * s.channels) *
         static_cast<double>(s.taps() * s.output_pixels());
}

Signature unfold_signature{"unfold", {"x", "kernel_size", "dilation", "padding", "stride"}, 5, 2};

PyObject* unfold(const Arguments& args) {
  UnfoldCall call{};
  if (!as_array(args[0], call.x) || !is_float(call.x) ||
      !columns_shape(args, 1, dims(call.x), call.shape)) {
    return kDeclined;
  }
  const nn::ConvShape& s = call.shape;
  const int64_t sizes[] = {s.batch, s.channels * s.taps(), s.output_pixels()};
  PyRef columns = new_array(call.x.dtype, 3, sizes, call.columns);
  execute(call, work(s));
  return columns.release();
}

Signature fold_signature{
    "fold", {"c", "output_size", "kernel_size", "dilation", "padding", "stride"}, 6, 3};

PyObject* fold(const Arguments& args) {
  FoldCall call{};
  Dims size{2, {}};
  if (!as_array(args[0], call.columns) || !is_float(call.columns) || call.columns.ndim != 3) {
    return kDeclined;
  }
  if (!read_dims(args[1], size) && !read_sizes(args[1], 2, 1, size.size)) return kDeclined;
  if (size.count > nn::kSpatial) return kDeclined;
  // The taps tell the channels: the shape is read with one channel first.
  Dims image{2 + size.count, {call.columns.shape[0], 1}};
  std::copy(size.size, size.size + size.count, image.size + 2);
  if (!columns_shape(args, 2, image, call.shape)) return kDeclined;
  const int64_t taps = call.shape.taps();
  image.size[1] = call.columns.shape[1] / taps;
  if (call.columns.shape[1] % taps != 0 || call.columns.shape[2] != call.shape.output_pixels() ||
      !columns_shape(args, 2, image, call.shape)) {
    return kDeclined;
  }
  PyRef result = new_array(call.columns.dtype, image.count, image.size, call.image);
  execute(call, work(call.shape));
  return result.release();
}

const Kernels kernels{
    {"unfold", native<unfold, unfold_signature>},
    {"fold", native<fold, fold_signature>},
};

}  // namespace
}  // namespace tilegrad::bindings
