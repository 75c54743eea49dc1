// Reductions of contiguous rows and of columns as data.
#pragma once

#include <cstdint>

namespace tilegrad::simd {

enum class Reduction : int32_t { sum, prod, max, min, count_ };
constexpr int kReductions = static_cast<int>(Reduction::count_);

template <class T>
struct ReduceKernels {
  // out[r] = the reduction of x[r * n : (r + 1) * n], for r < rows.
  using Rows = void (*)(int64_t rows, int64_t n, const T* x, T* out);
  // out[j] = the reduction of x[i * stride + j] over i < n, for j < columns.
  using Columns = void (*)(int64_t n, int64_t columns, const T* x, int64_t stride, T* out);
  // The first place of the largest (smallest) of n >= 1 elements, or of the first NaN.
  using Place = int64_t (*)(int64_t n, const T* x);

  Rows rows[kReductions];
  Columns columns[kReductions];
  Place argmax, argmin;
  double (*square_sum)(int64_t n, const T* x);  // in float64, by blocks of 512
};

}  // namespace tilegrad::simd
