// Recurrent layers over whole sequences; all arrays are contiguous, time is the first axis.
#pragma once

#include <cstdint>

namespace tilegrad::nn {

struct Recurrence {
  int64_t steps, batch, hidden;  // T, N, H
};

// y, cells (T, N, H) and gates (T, N, 4H) from x (T, N, 4H), h0 and c0 (N, H), w (4H, H).
template <class T>
void lstm(const Recurrence& size, const T* x, const T* h0, const T* c0, const T* w, T* y, T* cells,
          T* gates);

// dx (T, N, 4H), dh0 and dc0 (N, H), dw (4H, H) from gy and gc (T, N, H), which may be null.
template <class T>
void lstm_grad(const Recurrence& size, const T* gy, const T* gc, const T* y, const T* cells,
               const T* gates, const T* h0, const T* c0, const T* w, T* dx, T* dh0, T* dc0, T* dw);

}  // namespace tilegrad::nn
