// The explicit column matrix of a convolution, and its adjoint.
#pragma once

#include "nn/conv.h"

namespace tilegrad::nn {

// columns (N, C, taps, pixels): tap t of channel c as every output pixel sees it. Of the shape,
// output channels and groups do not count.
template <class T>
void unfold(const ConvShape& shape, const Images<T>& x, T* columns);

// image (N, C, *image): columns added to the pixels they were taken from, tap by tap in order.
template <class T>
void fold(const ConvShape& shape, const T* columns, T* image);

}  // namespace tilegrad::nn
