// Softmax and its relatives on contiguous rows, as data.
#pragma once

#include <cstdint>

namespace tilegrad::simd {

template <class T>
struct SoftmaxKernels {
  // Each works on `rows` contiguous rows of n >= 1 elements; results may overwrite an input.
  using Forward = void (*)(int64_t rows, int64_t n, const T* x, T* y);
  using Backward = void (*)(int64_t rows, int64_t n, const T* g, const T* y, T* dx);

  Forward softmax, log_softmax;
  Backward softmax_grad, log_softmax_grad;
  // y = softmax(x) where y is not null; top = each row's largest, log_sum = log(sum(exp(x - top)))
  // with infinite tops taken as 0 (so that logsumexp = top + log_sum where top is finite).
  void (*statistics)(int64_t rows, int64_t n, const T* x, T* y, T* top, T* log_sum);
};

}  // namespace tilegrad::simd
