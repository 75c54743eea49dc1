// Normalisation's passes over a run of contiguous elements, as data.
//
// A mean is kept as shift + rest: shift is near it, rest is what rounding shift left over. d below
// is (x - shift), xhat is (d - rest) * rstd, h is g * w.
#pragma once

#include <cstdint>

namespace tilegrad::simd {

template <class T>
struct RunSums {
  T g, gd, d;  // sums of h, h * d and d
};

template <class T>
struct NormKernels {
  T (*sum)(int64_t n, const T* x);
  // Sums of d and of (d * scale)^2.
  void (*spread)(int64_t n, const T* x, T shift, T scale, T& sum, T& squares);
  // y = (d - rest) * a * w + b, element by element; w and b may be null.
  void (*normalize)(int64_t n, const T* x, T shift, T rest, T a, const T* w, const T* b, T* y);
  // y = (d - rest) * a + b with one a and b.
  void (*affine)(int64_t n, const T* x, T shift, T rest, T a, T b, T* y);
  // w may be null.
  RunSums<T> (*grad_sums)(int64_t n, const T* g, const T* x, const T* w, T shift);
  // dx = a * (h - along_one - xhat * along_x), where h = g * w, or g * one_w if w is null;
  // dw += g * xhat and db += g where these are given.
  void (*grad)(int64_t n, const T* g, const T* x, const T* w, T one_w, T shift, T rest, T rstd, T a,
               T along_one, T along_x, T* dx, T* dw, T* db);
};

}  // namespace tilegrad::simd
