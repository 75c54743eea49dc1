// The elementwise part of a recurrent step, as data. Formulas:
// python/tilegrad/kernels/recurrent.py.
#pragma once

#include <cstdint>

namespace tilegrad::simd {

template <class T>
struct RecurrentKernels {
  // One row of an LSTM step. gates: 4n sums in, activated gates out (input, forget, cell, output).
  void (*lstm)(int64_t n, const T* before, T* gates, T* cell, T* h);
  // Its gradient: dh that of h, dc that of the cell (in: from later steps, out: to earlier ones);
  // dz: 4n gradients of the sums.
  void (*lstm_grad)(int64_t n, const T* gates, const T* before, const T* cell, const T* dh, T* dc,
                    T* dz);
};

}  // namespace tilegrad::simd
