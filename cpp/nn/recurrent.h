// Recurrent layers over whole sequences; arrays are contiguous but for x, time is the first axis.
#pragma once

#include <cstdint>

namespace tilegrad::nn {

enum class Cell : int32_t { tanh, relu, gru, lstm };

// Numbers a unit's step saves: its gates, or its output alone.
constexpr int64_t saved_gates(Cell cell) { return cell == Cell::gru || cell == Cell::lstm ? 4 : 1; }
// Blocks of weights: rows of w_ih and w_hh in units of the hidden size.
constexpr int64_t weight_blocks(Cell cell) {
  return cell == Cell::lstm ? 4 : cell == Cell::gru ? 3 : 1;
}

struct Recurrence {
  Cell cell;
  int64_t steps, batch, inputs, hidden;  // T, N, I, H
};

// With G = weight_blocks: w_ih (G H, I), w_hh (G H, H) and biases (G H), which may be null.
template <class T>
struct RecurrentWeights {
  const T *w_ih, *w_hh, *b_ih, *b_hh;
};

// c0 and cells: of the LSTM; gates: of LSTM and GRU. Null elsewhere.
template <class T>
struct RecurrentStates {
  const T* x;             // (T, N, I), its rows contiguous
  int64_t x_step, x_row;  // between its steps and its rows
  const T *h0, *c0;       // (N, H)
  T *y, *cells, *gates;   // (T, N, H), (T, N, H), (T, N, 4H)
};

template <class T>
void recurrent(const Recurrence& size, const RecurrentWeights<T>& weights,
               const RecurrentStates<T>& states);

// gy and gc (T, N, H) may be null, and so may dx (T, N, I), which is then not computed. db_hh is
// asked for by the GRU alone: elsewhere it is db_ih.
template <class T>
struct RecurrentGradients {
  const T *gy, *gc;
  T *dx, *dh0, *dc0, *dw_ih, *dw_hh, *db_ih, *db_hh;
};

template <class T>
void recurrent_grad(const Recurrence& size, const RecurrentWeights<T>& weights,
                    const RecurrentStates<T>& states, const RecurrentGradients<T>& gradients);

}  // namespace tilegrad::nn
