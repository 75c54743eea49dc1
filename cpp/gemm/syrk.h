// C = alpha A A^T, both triangles, for A of m x k: half the arithmetic of the general product.
#pragma once

#include "gemm/gemm.h"

namespace tilegrad::gemm {

// C is exactly symmetric. The promises of gemm() hold.
template <class T>
void syrk(int64_t m, int64_t k, T alpha, Matrix<const T> a, Matrix<T> c);

}  // namespace tilegrad::gemm
