// Pooling's row loops as data.
#pragma once

#include <cstdint>

namespace tilegrad::simd {

// A row of n windows that all have the same taps: window i's tap t is from[t][i * stride].
template <class T>
struct PoolRow {
  int64_t n, taps;
  const T* const* from;
  int64_t stride;
};

template <class T>
struct PoolKernels {
  // y[i] = the largest tap of window i, indices[i] = flat[its number] + i * stride. Of equal taps
  // the first wins, of NaNs the last.
  void (*largest)(const PoolRow<T>& row, const int64_t* flat, T* y, int64_t* indices);
  // y[i] = the sum of window i's taps / divisor.
  void (*mean)(const PoolRow<T>& row, T divisor, T* y);
  // sum[i] += g[i] / divisor.
  void (*share)(int64_t n, const T* g, T divisor, T* sum);
  // out[2 i] = out[2 i + 1] = x[i].
  void (*twice)(int64_t n, const T* x, T* out);
};

}  // namespace tilegrad::simd
