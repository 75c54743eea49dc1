// Triangular systems small enough for the first cache, as data.
#pragma once

#include <cstdint>

namespace tilegrad::simd {

template <class T>
struct TriangularKernels {
  // X = T^-1 X in place, by forward substitution. T is lower triangular, its n rows lie one after
  // another (what is right of the diagonal is not read); X has n rows of k contiguous elements,
  // `step` elements apart, of either sign. With `unit` the diagonal is not read and counts as 1.
  void (*substitute)(int64_t n, bool unit, const T* t, int64_t k, T* x, int64_t step);
  // One row of n elements of a matrix loses its multiples of the p rows of a unit upper triangle
  // above, which are `step` elements apart: for j < p, row[j + 1 ...] -= row[j] above_j[j + 1 ...].
  void (*eliminate)(int64_t p, int64_t n, const T* above, int64_t step, T* row);
  // The first place of the element of largest size among n >= 1.
  int64_t (*largest)(int64_t n, const T* x);
  // x / divisor in place.
  void (*divide)(int64_t n, T divisor, T* x);
};

}  // namespace tilegrad::simd
