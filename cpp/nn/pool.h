// Pooling, forward and backward. Planes (batch times channels) are contiguous, one after the other,
// with one to three axes given as three: missing leading ones have size 1.
#pragma once

#include <cstdint>

namespace tilegrad::nn {

// Along an axis window p and tap t meet in pixel p * stride + t * dilation - low.
struct PoolShape {
  int64_t planes;
  int64_t image[3], kernel[3], output[3], stride[3], low[3], high[3], dilation[3];

  int64_t image_pixels() const { return image[0] * image[1] * image[2]; }
  int64_t output_pixels() const { return output[0] * output[1] * output[2]; }
};

// y and the flat index in its plane of each winner, both (planes, *output). NaN wins, the last one;
// of equals the first wins; a window without pixels gives -inf and -1.
template <class T>
void max_pool(const PoolShape& shape, const T* x, T* y, int64_t* indices);

// result (planes, pixels) = sums of g (planes, count) at indices, and the adjoint. Indices outside
// [0, pixels) name no pixel.
template <class T>
void pool_scatter(int64_t planes, int64_t count, int64_t pixels, const T* g, const int64_t* indices,
                  T* result);
template <class T>
void pool_gather(int64_t planes, int64_t count, int64_t pixels, const T* t, const int64_t* indices,
                 T* result);

// What the sum of a window is divided by.
struct MeanRule {
  bool count_padding;
  int64_t divisor;  // 0: the number of pixels
};

template <class T>
void avg_pool(const PoolShape& shape, const MeanRule& rule, const T* x, T* y);
template <class T>
void avg_pool_grad(const PoolShape& shape, const MeanRule& rule, const T* g, T* dx);

// Window i of `count` over `size` pixels is [i * size / count, ceil((i + 1) * size / count)); of
// the shape only planes, image and output count.
template <class T>
void adaptive_avg_pool(const PoolShape& shape, const T* x, T* y);
template <class T>
void adaptive_avg_pool_grad(const PoolShape& shape, const T* g, T* dx);
template <class T>
void adaptive_max_pool(const PoolShape& shape, const T* x, T* y, int64_t* indices);

}  // namespace tilegrad::nn
