// A convolution and the maxima of its output's windows, without the output.
#pragma once

#include "nn/conv.h"
#include "nn/pool.h"

namespace tilegrad::nn {

// y and indices as max_pool gives them of conv_forward's result, bit for bit; `pool` is shaped for
// all of it.
template <class T>
void conv_max_pool(const ConvShape& conv, const PoolShape& pool, const Images<T>& x, const T* w,
                   const T* bias, bool relu, T* y, int64_t* indices);

}  // namespace tilegrad::nn
