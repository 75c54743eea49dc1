// C = activation(alpha op(A) op(B) + beta C + bias), any strides.
#pragma once

#include <cstdint>

namespace tilegrad::gemm {

template <class T>
struct Matrix {
  T* data;
  int64_t rs, cs;  // strides between rows and between columns, in elements
};

// One product: C (m x n) = alpha A (m x k) B (k x n) + beta C.
template <class T>
struct Product {
  int64_t m, n, k;
  T alpha, beta;
  Matrix<const T> a, b;
  Matrix<T> c;
};

template <class T>
void gemm(const Product<T>& product);

extern template void gemm<float>(const Product<float>&);
extern template void gemm<double>(const Product<double>&);

}  // namespace tilegrad::gemm
