// What forward and backward of a recurrent layer share: its weights side by side.
//
// A step multiplies the rows [x | h], I + H wide, by [W_ih | W_hh]^T: one product with long sums
// instead of two with short ones. The GRU needs the input's and the hidden share of its last gate
// apart: its weights are three parts.
#pragma once

#include <algorithm>

#include "gemm/gemm.h"
#include "gemm/pack.h"
#include "nn/recurrent.h"
#include "runtime/threads.h"
#include "runtime/workspace.h"
#include "simd/table.h"

namespace tilegrad::nn {

template <class T>
const simd::RecurrentKernels<T>& recurrent_kernels() {
  if constexpr (sizeof(T) == sizeof(float)) {
    return simd::table().recurrent_f32;
  } else {
    return simd::table().recurrent_f64;
  }
}

// Consecutive gates, in units of H, that add up products with x, with h, or with both.
struct Part {
  int64_t gate, gates;
  bool x, h;
  int64_t block() const { return x ? gate : gate - 1; }  // where its rows of w_hh begin
};

struct Parts {
  int count;
  Part part[3];
};

inline Parts parts_of(Cell cell) {
  if (cell == Cell::gru) return {3, {{0, 2, true, true}, {2, 1, true, false}, {3, 1, false, true}}};
  return {1, {{0, saved_gates(cell), true, true}}};
}

// The columns of [x | h] that a part multiplies.
struct Columns {
  int64_t first, count;
};

inline Columns columns_of(const Part& part, const Recurrence& size) {
  const int64_t first = part.x ? 0 : size.inputs;
  return {first, (part.h ? size.inputs + size.hidden : size.inputs) - first};
}

// rows x width numbers from rows `from_row` apart to rows `to_row` apart.
template <class T>
void copy_rows(int64_t rows, int64_t width, const T* from, int64_t from_row, T* to,
               int64_t to_row) {
  const int count = static_cast<int>(width);
  gemm::kernels<T>().pack_copy(rows, count, count, from, from_row, to, to_row);
}

// Weights (saved gates, I + H) and biases of every saved gate; what a part does not use is unset.
template <class T>
class Stacked {
 public:
  Stacked(const Recurrence& size, const RecurrentWeights<T>& own)
      : width_(size.inputs + size.hidden),
        rows_(saved_gates(size.cell) * size.hidden),
        scratch_(sizeof(T) * static_cast<size_t>(rows_ * (width_ + 1))) {
    const int64_t inputs = size.inputs, hidden = size.hidden;
    const Parts parts = parts_of(size.cell);
    std::fill_n(bias_data(), rows_, T(0));
    for (int i = 0; i < parts.count; ++i) {
      const Part& part = parts.part[i];
      const int64_t to = part.gate * hidden, count = part.gates * hidden;
      const int64_t from = part.block() * hidden;
      T* rows = scratch_.template as<T>() + to * width_;
      if (part.x) copy_rows(count, inputs, own.w_ih + to * inputs, inputs, rows, width_);
      if (part.h) copy_rows(count, hidden, own.w_hh + from * hidden, hidden, rows + inputs, width_);
      if (part.x) add(count, own.b_ih, to, to);
      if (part.h) add(count, own.b_hh, from, to);
    }
  }
  const T* weights() const { return scratch_.template as<T>(); }
  const T* bias() const { return weights() + rows_ * width_; }
  int64_t width() const { return width_; }

 private:
  T* bias_data() { return scratch_.template as<T>() + rows_ * width_; }
  void add(int64_t count, const T* from, int64_t at, int64_t to) {
    for (int64_t i = 0; from != nullptr && i < count; ++i) bias_data()[to + i] += from[at + i];
  }

  int64_t width_, rows_;
  runtime::Scratch scratch_;
};

// A part's weights as a right operand, packed once for all steps.
template <class T>
struct StepOperand {
  int64_t k, n;
  gemm::Matrix<const T> b;
};

template <class T>
class StepOperands {
 public:
  StepOperands(int count, const StepOperand<T>* operands)
      : scratch_(sizeof(T) * static_cast<size_t>(total(count, operands))) {
    T* to = scratch_.template as<T>();
    for (int i = 0; i < count; ++i) {
      const auto& [k, n, b] = operands[i];
      gemm::pack_b<T>(k, n, b, to);
      packed_[i] = {to, k, n};
      to += gemm::packed_size<T>(k, n);
    }
  }

  // c = a operand[i] + beta c + bias, for m rows
  void multiply(int i, int64_t m, const T* a, int64_t a_row, T beta, const T* bias, T* c,
                int64_t c_row) const {
    const gemm::PackedB<T>& b = packed_[i];
    gemm::Product<T> product{
        m, b.n, b.k, T(1), beta, {a, a_row, 1}, {nullptr, 0, 0}, {c, c_row, 1}};
    product.b_packed = &b;
    product.column_bias = bias;
    gemm::gemm(product);
  }

 private:
  static int64_t total(int count, const StepOperand<T>* operands) {
    int64_t sum = 0;
    for (int i = 0; i < count; ++i) sum += gemm::packed_size<T>(operands[i].k, operands[i].n);
    return sum;
  }

  runtime::Scratch scratch_;
  gemm::PackedB<T> packed_[3];
};

// body(first, rows): rows of the batch do not depend on each other, so threads split them for all
// `steps` at once. With one task the products inside may use the threads.
template <class Body>
void for_batch_rows(const Recurrence& size, int64_t steps, Body body) {
  constexpr double kGrain = 3e6;     // multiply-adds worth a thread
  constexpr int64_t kLeastRows = 8;  // fewer keep no tile busy
  const int64_t gates = saved_gates(size.cell) * size.hidden;
  const double work = static_cast<double>(steps * size.batch) * static_cast<double>(gates) *
                      static_cast<double>(size.inputs + size.hidden);
  const int threads = runtime::threads_for(work, kGrain);
  const int64_t tasks = std::min<int64_t>(threads, size.batch / kLeastRows);
  if (tasks <= 1) return body(0, size.batch);
  runtime::parallel_for(tasks, threads, [&](int64_t task) {
    const int64_t first = size.batch * task / tasks;
    body(first, size.batch * (task + 1) / tasks - first);
  });
}

}  // namespace tilegrad::nn
