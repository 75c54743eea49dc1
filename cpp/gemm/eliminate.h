// Gaussian elimination with exchanges of columns: A P = D E, the LU factors of A^T.
#pragma once

#include <cstdint>

namespace tilegrad::gemm {

// In place on A, m rows of n contiguous elements one after another: D lower triangular, E above it
// unit upper triangular. Step i exchanged columns i and pivots[i] >= i, the one whose element in
// row i is largest; there are min(m, n) steps. A row of zeros leaves a zero on the diagonal.
// The promises of gemm() on bits and threads hold.
template <class T>
void eliminate(int64_t m, int64_t n, T* a, int64_t* pivots);

}  // namespace tilegrad::gemm
