// Backward through a recurrent layer, some steps at a time: their gradients of the sums, dz, stay
// in cache for the weights' gradient,
//
//   [dW_ih | dW_hh]^T = sum over steps of [x | h]^T dz,
//
// which is made transposed because tiles read dz as it lies then, and single numbers of x and h:
// nothing is packed.
#include "nn/block_product.h"
#include "nn/kernels.h"
#include "nn/recurrent.h"
#include "nn/recurrent_parts.h"
#include "nn/reduce.h"

namespace tilegrad::nn {
namespace {

// Bytes of dz that are kept at a time, within L2, and rows: one block of a product's sums.
constexpr int64_t kChunkBytes = 512 << 10, kChunkRows = 384;

// Rows an odd number of cache lines long: a column of tiles then spreads over all sets of L1.
template <class T>
int64_t spread_row(int64_t width) {
  constexpr int64_t kLine = 64 / static_cast<int64_t>(sizeof(T));
  return ((width + kLine - 1) / kLine | 1) * kLine;
}

constexpr double kProductGrain = 3e6;  // multiply-adds worth a thread

template <class T>
class Backward {
 public:
  Backward(const Recurrence& size, const RecurrentWeights<T>& weights,
           const RecurrentStates<T>& states, const RecurrentGradients<T>& grads)
      : size_(size),
        states_(states),
        grads_(grads),
        parts_(parts_of(size.cell)),
        gates_(saved_gates(size.cell) * size.hidden),
        state_(size.batch * size.hidden),
        stacked_(size, weights),
        width_(stacked_.width()),
        dz_row_(spread_row<T>(gates_)),
        passed_(grads.dx != nullptr ? size.inputs : 0),
        chunk_(steps_at_a_time()),
        packed_(parts_.count, operands().data),
        scratch_(sizeof(T) * scratch_size()) {
    dz_ = scratch_.template as<T>();
    x_ = dz_ + chunk_ * size.batch * dz_row_;
    below_ = x_ + (even_rows() ? 0 : chunk_ * size.batch * size.inputs);
    dw_ = below_ + size.batch * below_width();
    db_ = dw_ + gates_ * width_;
    set_zero(below_, size.batch * below_width());
    set_zero(dw_, gates_ * (width_ + 1));  // and db
    if (grads.dc0 != nullptr) set_zero(grads.dc0, state_);
  }

  void run() {
    for (int64_t end = size_.steps; end > 0; end -= std::min(end, chunk_)) {
      const int64_t begin = std::max<int64_t>(0, end - chunk_);
      for_batch_rows(size_, end - begin,
                     [&](int64_t r, int64_t rows) { through(begin, end, r, rows); });
      if (runtime::interrupted()) return;
      add_weights(begin, end);
    }
    copy_rows(size_.batch, size_.hidden, below_ + passed_, below_width(), grads_.dh0, size_.hidden);
    hand_over();
  }

 private:
  struct Operands {
    StepOperand<T> data[3];
  };

  int64_t below_width() const { return passed_ + size_.hidden; }
  int64_t steps_at_a_time() const {
    const int64_t bytes = dz_row_ * static_cast<int64_t>(sizeof(T));
    const int64_t rows = std::min(kChunkRows, kChunkBytes / bytes);
    return std::clamp<int64_t>(rows / size_.batch, 1, size_.steps);
  }
  // Whether the rows of x follow each other at one distance, over steps and batch alike.
  bool even_rows() const { return states_.x_step == size_.batch * states_.x_row; }
  size_t scratch_size() const {
    const int64_t copied = even_rows() ? 0 : size_.inputs;
    return static_cast<size_t>(size_.batch * (chunk_ * (dz_row_ + copied) + below_width()) +
                               gates_ * (width_ + 2));
  }

  // Columns of [dx | dh], or of dh alone, that a part adds to; the count is 0 where there are none.
  Columns targets(const Part& part) const {
    const Columns all = columns_of(part, size_);
    const int64_t skipped = size_.inputs - passed_, end = all.first + all.count - skipped;
    const int64_t first = std::max<int64_t>(0, all.first - skipped);
    return {first, std::max<int64_t>(0, end - first)};
  }

  Operands operands() const {
    Operands found;
    for (int i = 0; i < parts_.count; ++i) {
      const Part& part = parts_.part[i];
      const Columns to = targets(part);
      const T* rows = stacked_.weights() + part.gate * size_.hidden * width_;
      const T* first = rows + size_.inputs - passed_ + to.first;
      found.data[i] = {part.gates * size_.hidden, to.count, {first, width_, 1}};
    }
    return found;
  }

  // Steps [begin, end) backward for some rows of the batch.
  void through(int64_t begin, int64_t end, int64_t r, int64_t rows) {
    const int64_t inputs = size_.inputs, hidden = size_.hidden, batch = size_.batch;
    for (int64_t t = end - 1; t >= begin; --t) {
      const int64_t at = (t - begin) * batch + r;
      T *dz = dz_ + at * dz_row_, *below = below_ + r * below_width();
      const T* h = t == 0 ? states_.h0 + r * hidden : states_.y + (t - 1) * state_ + r * hidden;
      cell_grad(t, r, rows, h, below + passed_, dz);
      const bool adds = parts_.count > 1;
      for (int64_t i = 0; adds && i < rows; ++i) set_zero(below + i * below_width(), passed_);
      for (int i = 0; i < parts_.count; ++i) {
        packed_.multiply(i, rows, dz + parts_.part[i].gate * hidden, dz_row_, T(adds ? 1 : 0),
                         nullptr, below + targets(parts_.part[i]).first, below_width());
      }
      if (passed_ != 0) {
        T* dx = grads_.dx + (t * batch + r) * inputs;
        copy_rows(rows, inputs, below, below_width(), dx, inputs);
      }
      if (!even_rows()) {
        const T* x = states_.x + t * states_.x_step + r * states_.x_row;
        copy_rows(rows, inputs, x, states_.x_row, x_ + at * inputs, inputs);
      }
      if (runtime::interrupted()) return;
    }
  }

  void cell_grad(int64_t t, int64_t r, int64_t rows, const T* h, T* dh, T* dz) {
    const simd::RecurrentKernels<T>& kernels = recurrent_kernels<T>();
    const int64_t hidden = size_.hidden, at = t * state_ + r * hidden;
    const T* gates =
        states_.gates != nullptr ? states_.gates + (t * size_.batch + r) * gates_ : nullptr;
    const T* gy = grads_.gy != nullptr ? grads_.gy + at : nullptr;
    const T* gc = grads_.gc != nullptr ? grads_.gc + at : nullptr;
    switch (size_.cell) {
      case Cell::tanh:
      case Cell::relu:
        return kernels.plain_grad(rows, hidden, size_.cell == Cell::relu, states_.y + at, gy, dh,
                                  below_width(), dz, dz_row_);
      case Cell::gru:
        return kernels.gru_grad(rows, hidden, gates, h, gy, dh, below_width(), dz, dz_row_);
      case Cell::lstm:
        return kernels.lstm_grad(
            rows, hidden, gates, t == 0 ? states_.c0 + r * hidden : states_.cells + at - state_,
            states_.cells + at, gy, gc, dh, below_width(), grads_.dc0 + r * hidden, dz, dz_row_);
    }
  }

  // dw^T += [x | h]^T dz, db += column sums of dz, for the steps at hand.
  void add_weights(int64_t begin, int64_t end) {
    const int64_t batch = size_.batch, inputs = size_.inputs, hidden = size_.hidden;
    const int64_t rows = (end - begin) * batch;
    const int64_t x_row = even_rows() ? states_.x_row : inputs;
    const T* x = even_rows() ? states_.x + begin * states_.x_step : x_;
    const int64_t first = begin == 0 ? batch : 0;  // rows whose h is h0
    for (int i = 0; i < parts_.count; ++i) {
      const Part& part = parts_.part[i];
      if (part.x) add_outer(part, 0, inputs, rows, x, x_row, dz_);
      if (!part.h) continue;
      add_outer(part, inputs, hidden, first, states_.h0, hidden, dz_);
      const T* before = states_.y + (begin * batch + first - batch) * hidden;
      add_outer(part, inputs, hidden, rows - first, before, hidden, dz_ + first * dz_row_);
    }
    const int64_t shape[] = {rows, gates_}, strides[] = {dz_row_, 1};
    const bool reduced[] = {true, false};
    T* const sums = db_ + gates_;
    reduce<T>(simd::Reduction::sum, 2, shape, strides, reduced, dz_, sums);
    conv_kernels<T>().add(gates_, sums, db_);
  }

  // Rows [to, to + width) of dw^T, in the part's columns, += a^T dz.
  void add_outer(const Part& part, int64_t to, int64_t width, int64_t rows, const T* a,
                 int64_t a_row, const T* dz) {
    if (rows == 0 || width == 0) return;
    const int64_t gate = part.gate * size_.hidden, gates = part.gates * size_.hidden;
    const double work = static_cast<double>(rows * width) * static_cast<double>(gates);
    const int threads = runtime::threads_for(work, kProductGrain);
    runtime::parallel_for(threads, threads, [&](int64_t task) {
      const int64_t i = width * task / threads, end = width * (task + 1) / threads;
      multiply_block<T>(end - i, gates, rows, T(1), {a + i, 1, a_row}, dz + gate, dz_row_, T(1),
                        dw_ + (to + i) * gates_ + gate, gates_);
    });
  }

  // The parts of dw and db to where they belong.
  void hand_over() {
    const int64_t inputs = size_.inputs, hidden = size_.hidden;
    for (int i = 0; i < parts_.count; ++i) {
      const Part& part = parts_.part[i];
      const int64_t gate = part.gate * hidden, block = part.block() * hidden;
      const int64_t rows = part.gates * hidden;
      if (part.x) {
        turn(rows, inputs, dw_ + gate, grads_.dw_ih + gate * inputs);
        std::copy_n(db_ + gate, rows, grads_.db_ih + gate);
      }
      if (part.h) {
        turn(rows, hidden, dw_ + inputs * gates_ + gate, grads_.dw_hh + block * hidden);
        if (grads_.db_hh != nullptr) std::copy_n(db_ + gate, rows, grads_.db_hh + block);
      }
    }
  }

  // out (rows x width) = the transpose of `width` rows of dw^T
  void turn(int64_t rows, int64_t width, const T* from, T* out) {
    const int count = static_cast<int>(width);
    gemm::kernels<T>().pack_transpose(rows, count, count, from, gates_, out, width);
  }

  const Recurrence size_;
  const RecurrentStates<T> states_;
  const RecurrentGradients<T> grads_;
  const Parts parts_;
  const int64_t gates_, state_;
  const Stacked<T> stacked_;
  const int64_t width_, dz_row_, passed_, chunk_;
  const StepOperands<T> packed_;
  const runtime::Scratch scratch_;
  T* dz_;        // of the steps at hand: (rows, gates), rows dz_row_ apart
  T* x_;         // their x (rows, I), where it does not lie so already
  T* below_;     // [dx | dh] of the step below, (N, I + H), or dh alone
  T *dw_, *db_;  // dw^T (I + H, gates); db twice, the second for the sums of a chunk
};

}  // namespace

template <class T>
void recurrent_grad(const Recurrence& size, const RecurrentWeights<T>& weights,
                    const RecurrentStates<T>& states, const RecurrentGradients<T>& grads) {
  if (size.steps != 0 && size.batch * size.hidden != 0) {
    return Backward<T>(size, weights, states, grads).run();
  }
  const int64_t rows = weight_blocks(size.cell) * size.hidden, state = size.batch * size.hidden;
  if (grads.dx != nullptr) set_zero(grads.dx, size.steps * size.batch * size.inputs);
  set_zero(grads.dh0, state);
  if (grads.dc0 != nullptr) set_zero(grads.dc0, state);
  set_zero(grads.dw_ih, rows * size.inputs);
  set_zero(grads.dw_hh, rows * size.hidden);
  set_zero(grads.db_ih, rows);
  if (grads.db_hh != nullptr) set_zero(grads.db_hh, rows);
}

template void recurrent_grad<float>(const Recurrence&, const RecurrentWeights<float>&,
                                    const RecurrentStates<float>&,
                                    const RecurrentGradients<float>&);
template void recurrent_grad<double>(const Recurrence&, const RecurrentWeights<double>&,
                                     const RecurrentStates<double>&,
                                     const RecurrentGradients<double>&);

}  // namespace tilegrad::nn
