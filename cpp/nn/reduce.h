// Reductions over any axes. The order of summation depends on shapes alone, never on threads.
#pragma once

#include <cstdint>

#include "simd/reduce.h"

namespace tilegrad::nn {

// out = the reduction of x over the axes flagged in `reduced`; x has any strides, out is contiguous
// in the order of the axes that are left.
template <class T>
void reduce(simd::Reduction kind, int ndim, const int64_t* shape, const int64_t* strides,
            const bool* reduced, const T* x, T* out);

// out[r] = the place of the first largest (or smallest) element of each of `rows` contiguous rows.
template <class T>
void reduce_places(bool largest, int64_t rows, int64_t n, const T* x, int64_t* out);

// The sum of the squares of n contiguous elements, in float64.
template <class T>
double square_sum(int64_t n, const T* x);

}  // namespace tilegrad::nn
