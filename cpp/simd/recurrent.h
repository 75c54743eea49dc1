// The elementwise part of a recurrent step, as data. Formulas:
// python/tilegrad/kernels/recurrent.py.
#pragma once

#include <cstdint>

namespace tilegrad::simd {

// Each works on `rows` rows of n units: contiguous (rows, n), and (rows, 4n) for gates; rows of dz
// and dh are dz_row and dh_row apart.
template <class T>
struct RecurrentKernels {
  // gates: sums in, activated gates out (input, forget, cell, output).
  void (*lstm)(int64_t rows, int64_t n, const T* before, T* gates, T* cell, T* h);
  // Gradients dz of the sums. gy and gc are what arrives at h and at the cell from outside, and may
  // be null; dh and dc what arrives from later steps; dc becomes that of `before`.
  void (*lstm_grad)(int64_t rows, int64_t n, const T* gates, const T* before, const T* cell,
                    const T* gy, const T* gc, const T* dh, int64_t dh_row, T* dc, T* dz,
                    int64_t dz_row);
  // gates: sums of r and z, both shares of n (the input's, the hidden) in; r, z, n and the hidden
  // share out.
  void (*gru)(int64_t rows, int64_t n, const T* before, T* gates, T* h);
  // dz: gradients of the four; dh becomes the part of the gradient of `before` that passes by z.
  void (*gru_grad)(int64_t rows, int64_t n, const T* gates, const T* before, const T* gy, T* dh,
                   int64_t dh_row, T* dz, int64_t dz_row);
  // h: sums in, tanh(sums) or max(sums, 0) out.
  void (*plain)(int64_t rows, int64_t n, bool relu, T* h);
  void (*plain_grad)(int64_t rows, int64_t n, bool relu, const T* h, const T* gy, const T* dh,
                     int64_t dh_row, T* dz, int64_t dz_row);
};

}  // namespace tilegrad::simd
