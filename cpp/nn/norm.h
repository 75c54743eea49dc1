// Normalisation, forward and backward; x and everything shaped like it is contiguous.
//
// Layer norm sees x as (rows, size) with statistics per row and weights (size); batch and group
// norm see it as (images, channels, pixels) with weights (channels). Weights and biases may be
// null. Statistics stand a mean far larger than the spread (they are taken around the mean, in
// float64 across blocks) and elements whose square overflows (they are scaled by a power of two).
#pragma once

#include <cstdint>

namespace tilegrad::nn {

template <class T>
void layer_norm(int64_t rows, int64_t size, const T* x, const T* weight, const T* bias, double eps,
                T* y, T* mean, T* rstd);
template <class T>
void layer_norm_grad(int64_t rows, int64_t size, const T* g, const T* x, const T* mean,
                     const T* rstd, const T* weight, T* dx, T* dw, T* db);

template <class T>
void rms_norm(int64_t rows, int64_t size, const T* x, const T* weight, double eps, T* y, T* rrms);
template <class T>
void rms_norm_grad(int64_t rows, int64_t size, const T* g, const T* x, const T* rrms,
                   const T* weight, T* dx, T* dw);

struct ChannelShape {
  int64_t images, channels, pixels;
};

template <class T>
void batch_norm_train(const ChannelShape& shape, const T* x, const T* weight, const T* bias,
                      double eps, T* y, T* mean, T* rstd, T* var);
template <class T>
void batch_norm_apply(const ChannelShape& shape, const T* x, const T* mean, const T* rstd,
                      const T* weight, const T* bias, T* y);
template <class T>
void batch_norm_grad(const ChannelShape& shape, const T* g, const T* x, const T* mean,
                     const T* rstd, const T* weight, T* dx, T* dw, T* db);

template <class T>
void group_norm(const ChannelShape& shape, int64_t groups, const T* x, const T* weight,
                const T* bias, double eps, T* y, T* mean, T* rstd);
template <class T>
void group_norm_grad(const ChannelShape& shape, int64_t groups, const T* g, const T* x,
                     const T* mean, const T* rstd, const T* weight, T* dx, T* dw, T* db);

}  // namespace tilegrad::nn
