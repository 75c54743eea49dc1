// Convolution in its three directions, and explicit columns. Channels first; one to three spatial
// axes, always given as three: missing leading ones have size 1. Arguments are checked by the
// caller.
#pragma once

#include <cstdint>

namespace tilegrad::nn {

constexpr int kSpatial = 3;

// Along an axis output pixel p and tap t meet in image pixel p * stride + t * dilation - low;
// pixels outside the image are zero.
struct ConvShape {
  int64_t batch, channels, out_channels, groups;
  int64_t image[kSpatial], kernel[kSpatial], output[kSpatial];
  int64_t stride[kSpatial], low[kSpatial], dilation[kSpatial];

  int64_t taps() const { return kernel[0] * kernel[1] * kernel[2]; }
  int64_t image_pixels() const { return image[0] * image[1] * image[2]; }
  int64_t output_pixels() const { return output[0] * output[1] * output[2]; }
  double products() const {
    return static_cast<double>(batch * out_channels * output_pixels()) *
           static_cast<double>(channels / groups * taps());
  }
};

// Images that are read, with any strides (in elements): batch, channels and three spatial axes.
template <class T>
struct Images {
  const T* data;
  int64_t batch, channel, pixel[kSpatial];
};

// y (N, O, *output) = act(conv(x, w) + bias); w (O, C / groups, *kernel) is contiguous, bias (O) or
// null.
template <class T>
void conv_forward(const ConvShape& shape, const Images<T>& x, const T* w, const T* bias, bool relu,
                  T* y);

// dx (N, C, *image), the adjoint in x: g is shaped like y.
template <class T>
void conv_input_grad(const ConvShape& shape, const Images<T>& g, const T* w, T* dx);

// dw (O, C / groups, *kernel), the adjoint in w.
template <class T>
void conv_weight_grad(const ConvShape& shape, const Images<T>& g, const Images<T>& x, T* dw);

}  // namespace tilegrad::nn
