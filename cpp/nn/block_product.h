// Products of blocks that are in cache, with sums of any length.
#pragma once

#include <algorithm>

#include "gemm/blocking.h"
#include "gemm/gemm.h"

namespace tilegrad::nn {

// c (m x n, rows c_row apart) = alpha a b + beta c, for a of any strides and b with contiguous rows
template <class T>
void multiply_block(int64_t m, int64_t n, int64_t k, T alpha, gemm::Matrix<const T> a, const T* b,
                    int64_t b_row, T beta, T* c, int64_t c_row) {
  const int64_t step = gemm::longest_k_block();
  for (int64_t p = 0; p == 0 || p < k; p += step) {
    gemm::gemm_in_cache(gemm::Product<T>{m,
                                         n,
                                         std::min(step, k - p),
                                         alpha,
                                         p == 0 ? beta : T(1),
                                         {a.data + p * a.cs, a.rs, a.cs},
                                         {b + p * b_row, b_row, 1},
                                         {c, c_row, 1}});
  }
}

}  // namespace tilegrad::nn
