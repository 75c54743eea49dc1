// Pooling's row loops as data.
#pragma once

#include <cstdint>

namespace tilegrad::simd {

// Rows of n windows that all have the same taps: tap t of window i of row r is
// from[t][r * from_row + i * stride].
template <class T>
struct PoolRows {
  int64_t rows, n, taps;
  const T* const* from;
  int64_t from_row, stride;
};

template <class T>
struct PoolKernels {
  // y[r * y_row + i] = the largest tap of a window, indices likewise its flat[number] +
  // r * from_row + i * stride, which T must hold exactly. Of equal taps the first wins, of NaNs the
  // last.
  void (*largest)(const PoolRows<T>& from, const int64_t* flat, T* y, int64_t* indices,
                  int64_t y_row);
  // y[r * y_row + i] = the sum of a window's taps / divisor.
  void (*mean)(const PoolRows<T>& from, T divisor, T* y, int64_t y_row);
  // out[2 i] = a[i], out[2 i + 1] = b[i].
  void (*zip)(int64_t n, const T* a, const T* b, T* out);
};

}  // namespace tilegrad::simd
