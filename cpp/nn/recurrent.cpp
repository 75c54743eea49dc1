#include "nn/recurrent.h"

#include "nn/recurrent_parts.h"

namespace tilegrad::nn {
namespace {

template <class T>
void activate(Cell cell, int64_t rows, int64_t hidden, const T* h, const T* c, T* sums, T* next_c,
              T* next_h) {
  const simd::RecurrentKernels<T>& kernels = recurrent_kernels<T>();
  switch (cell) {
    case Cell::tanh:
    case Cell::relu:
      return kernels.plain(rows, hidden, cell == Cell::relu, next_h);  // the sums are there
    case Cell::gru:
      return kernels.gru(rows, hidden, h, sums, next_h);
    case Cell::lstm:
      return kernels.lstm(rows, hidden, c, sums, next_c, next_h);
  }
}

}  // namespace

template <class T>
void recurrent(const Recurrence& size, const RecurrentWeights<T>& weights,
               const RecurrentStates<T>& states) {
  const auto [cell, steps, batch, inputs, hidden] = size;
  const int64_t gates = saved_gates(cell) * hidden, state = batch * hidden;
  if (steps == 0 || state == 0) return;
  const Stacked<T> stacked(size, weights);
  const int64_t width = stacked.width();
  const Parts parts = parts_of(cell);
  StepOperand<T> operands[3];
  for (int i = 0; i < parts.count; ++i) {
    const Columns columns = columns_of(parts.part[i], size);
    const T* first = stacked.weights() + parts.part[i].gate * hidden * width + columns.first;
    operands[i] = {columns.count, parts.part[i].gates * hidden, {first, 1, width}};
  }
  const StepOperands<T> packed(parts.count, operands);
  T* const sums = states.gates != nullptr ? states.gates : states.y;

  for_batch_rows(size, steps, [&](int64_t r, int64_t rows) {
    const runtime::Scratch scratch(sizeof(T) * static_cast<size_t>(rows * width));
    T* const xh = scratch.as<T>();
    for (int64_t t = 0; t < steps; ++t) {
      const int64_t now = t * state + r * hidden, before = now - state;
      const T* h = t == 0 ? states.h0 + r * hidden : states.y + before;
      const T* c = cell != Cell::lstm ? nullptr
                   : t == 0           ? states.c0 + r * hidden
                                      : states.cells + before;
      T* z = sums + (t * batch + r) * gates;
      copy_rows(rows, inputs, states.x + t * states.x_step + r * states.x_row, states.x_row, xh,
                width);
      copy_rows(rows, hidden, h, hidden, xh + inputs, width);
      for (int i = 0; i < parts.count; ++i) {
        const int64_t column = parts.part[i].gate * hidden;
        packed.multiply(i, rows, xh + columns_of(parts.part[i], size).first, width, T(0),
                        stacked.bias() + column, z + column, gates);
      }
      activate(cell, rows, hidden, h, c, z, cell == Cell::lstm ? states.cells + now : nullptr,
               states.y + now);
      if (runtime::interrupted()) return;
    }
  });
}

template void recurrent<float>(const Recurrence&, const RecurrentWeights<float>&,
                               const RecurrentStates<float>&);
template void recurrent<double>(const Recurrence&, const RecurrentWeights<double>&,
                                const RecurrentStates<double>&);

}  // namespace tilegrad::nn
