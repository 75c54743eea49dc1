// X = T^-1 X for a triangular matrix T: by products but for small blocks on the diagonal.
#pragma once

#include "gemm/gemm.h"

namespace tilegrad::gemm {

template <class T>
struct Triangle {
  int64_t n;
  Matrix<const T> a;  // only one triangle is read
  bool upper;
  bool unit;  // the diagonal is not read and counts as 1
};

// In place on X, n rows of k contiguous elements one after another. A zero on the diagonal gives
// infinities. X must not overlap T. The promises of gemm() on bits and threads hold.
template <class T>
void solve_triangular(const Triangle<T>& t, int64_t k, T* x);

// The factors A P = D E of eliminate(), n rows of n contiguous elements one after another.
template <class T>
struct Factored {
  int64_t n;
  const T* factors;
  const int64_t* pivots;
};

// X = A^-1 X, or A^-T X, in place as above.
template <class T>
void solve_factored(const Factored<T>& a, bool transposed, int64_t k, T* x);

// X = A^-1, n rows of n elements.
template <class T>
void invert_factored(const Factored<T>& a, T* x);

}  // namespace tilegrad::gemm
