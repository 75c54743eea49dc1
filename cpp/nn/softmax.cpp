#include "nn/softmax.h"

#include <algorithm>

#include "nn/elementwise.h"
#include "nn/reduce.h"
#include "runtime/threads.h"
#include "runtime/workspace.h"
#include "simd/table.h"

namespace tilegrad::nn {
namespace {

using runtime::Scratch;

// Elements worth a thread (an exponential and four passes over cache cost some 1 ns each).
constexpr double kGrain = 3e4;
constexpr int64_t kTask = 1 << 13;

template <class T>
const simd::SoftmaxKernels<T>& kernels() {
  if constexpr (sizeof(T) == sizeof(float)) {
    return simd::table().softmax_f32;
  } else {
    return simd::table().softmax_f64;
  }
}

// body(first, count) for groups of rows.
template <class Body>
void for_rows(int64_t rows, int64_t n, Body body) {
  const double work = static_cast<double>(rows) * static_cast<double>(n);
  const int threads = work < 2 * kGrain ? 1 : runtime::threads_for(work, kGrain);
  if (threads == 1) return body(0, rows);
  const int64_t run = std::max<int64_t>(1, kTask / n);
  runtime::parallel_for((rows + run - 1) / run, threads,
                        [&](int64_t task) { body(task * run, std::min(run, rows - task * run)); });
}

template <class T>
void softmax_rows(SoftmaxForm form, int64_t rows, int64_t n, const T* g, const T* x, T* out) {
  const simd::SoftmaxKernels<T>& k = kernels<T>();
  for_rows(rows, n, [&](int64_t first, int64_t count) {
    const int64_t i = first * n;
    switch (form) {
      case SoftmaxForm::softmax:
        return k.softmax(count, n, x + i, out + i);
      case SoftmaxForm::log_softmax:
        return k.log_softmax(count, n, x + i, out + i);
      case SoftmaxForm::softmax_grad:
        return k.softmax_grad(count, n, g + i, x + i, out + i);
      case SoftmaxForm::log_softmax_grad:
        return k.log_softmax_grad(count, n, g + i, x + i, out + i);
    }
  });
}

// out (outer, a, b) as (outer, b, a), given as its strides.
template <class T>
void swap_axes(int64_t outer, int64_t a, int64_t b, const T* from, T* to) {
  const int64_t shape[] = {outer, b, a}, swapped[] = {a * b, 1, b}, packed[] = {a * b, a, 1};
  const MapInput input{from, swapped, false};
  const T unused[simd::kMaxParameters] = {};
  map<T>(simd::ElementwiseOp::positive, 3, shape, &input, to, packed, unused);
}

// The weight of a row's label in the mean; 0 for a row that is ignored.
template <class T>
T label_weight(const CrossEntropy& what, const T* weight, int64_t row) {
  const int64_t label = what.target[row];
  if (label == what.ignore_index) return T(0);
  return weight != nullptr ? weight[label] : T(1);
}

template <class T>
T total_weight(const CrossEntropy& what, const T* weight) {
  const Scratch scratch(static_cast<size_t>(what.rows) * sizeof(T));
  T* weights = scratch.as<T>();
  for (int64_t r = 0; r < what.rows; ++r) weights[r] = label_weight(what, weight, r);
  T total;
  const bool all = true;
  const int64_t one = 1;
  reduce<T>(simd::Reduction::sum, 1, &what.rows, &one, &all, weights, &total);
  return total;
}

template <class T>
T weight_of(const T* weight, int64_t c) {
  return weight != nullptr ? weight[c] : T(1);
}

// sum_c w[c] (top + log_sum - x[c]): the loss of a row against all classes alike.
template <class T>
T uniform_loss(const CrossEntropy& what, const T* weight, const T* x, T top, T log_sum) {
  double total = 0;
  for (int64_t c = 0; c < what.classes; ++c) {
    const T w = weight_of(weight, c);
    if (w != T(0)) total += static_cast<double>(w * (log_sum - (x[c] - top)));
  }
  return static_cast<T>(total);
}

}  // namespace

template <class T>
void softmax(SoftmaxForm form, int64_t outer, int64_t n, int64_t inner, const T* g, const T* x,
             T* out) {
  if (outer * inner == 0) return;
  if (inner == 1) return softmax_rows(form, outer, n, g, x, out);
  const int64_t size = outer * n * inner;
  const bool gradient = g != nullptr;
  const Scratch scratch(static_cast<size_t>(gradient ? 2 * size : size) * sizeof(T));
  T* rows = scratch.as<T>();
  T* grad_rows = gradient ? rows + size : nullptr;
  swap_axes(outer, n, inner, x, rows);
  if (gradient) swap_axes(outer, n, inner, g, grad_rows);
  softmax_rows<T>(form, outer * inner, n, grad_rows, rows, rows);
  swap_axes(outer, inner, n, rows, out);
}

template <class T>
void logsumexp(int64_t rows, int64_t n, const T* x, T* out) {
  const Scratch scratch(static_cast<size_t>(rows) * sizeof(T));
  T* top = scratch.as<T>();
  for_rows(rows, n, [&](int64_t first, int64_t count) {
    kernels<T>().statistics(count, n, x + first * n, nullptr, top + first, out + first);
    for (int64_t r = first; r < first + count; ++r) {
      const bool finite = top[r] - top[r] == T(0);
      out[r] = finite ? out[r] + top[r] : top[r] == top[r] ? out[r] : top[r];
    }
  });
}

template <class T>
void cross_entropy(const CrossEntropy& what, const T* logits, const T* weight, T* loss, T* p) {
  const int64_t rows = what.rows, classes = what.classes;
  const Scratch scratch(3 * static_cast<size_t>(rows) * sizeof(T));
  T *top = scratch.as<T>(), *log_sum = top + rows;
  const bool each = what.reduction == LossReduction::none;
  T* losses = each ? loss : log_sum + rows;
  const T sharp = static_cast<T>(1.0 - what.smoothing);
  const T smooth = static_cast<T>(what.smoothing / static_cast<double>(classes));
  for_rows(rows, classes, [&](int64_t first, int64_t count) {
    kernels<T>().statistics(count, classes, logits + first * classes, p + first * classes,
                            top + first, log_sum + first);
    for (int64_t r = first; r < first + count; ++r) {
      const T* x = logits + r * classes;
      const int64_t label = what.target[r];
      losses[r] = T(0);
      if (label == what.ignore_index) continue;
      const T w = weight_of(weight, label);
      // 0 * inf counts 0
      if (w != T(0)) losses[r] = sharp * w * (log_sum[r] - (x[label] - top[r]));
      if (smooth == T(0)) continue;
      losses[r] += smooth * uniform_loss(what, weight, x, top[r], log_sum[r]);
    }
  });
  if (each) return;
  const bool all = true;
  const int64_t one = 1;
  reduce<T>(simd::Reduction::sum, 1, &rows, &one, &all, losses, loss);
  if (what.reduction == LossReduction::mean) *loss /= total_weight(what, weight);
}

template <class T>
void cross_entropy_grad(const CrossEntropy& what, const T* g, const T* p, const T* weight,
                        T* dlogits) {
  const int64_t classes = what.classes;
  const bool each = what.reduction == LossReduction::none;
  const bool mean = what.reduction == LossReduction::mean;
  const T all = each ? T(0) : mean ? *g / total_weight(what, weight) : *g;
  const T sharp = static_cast<T>(1.0 - what.smoothing);
  const T smooth = static_cast<T>(what.smoothing / static_cast<double>(classes));
  T weights = static_cast<T>(classes);
  if (weight != nullptr && smooth != T(0)) {
    const bool reduced = true;
    const int64_t one = 1;
    reduce<T>(simd::Reduction::sum, 1, &classes, &one, &reduced, weight, &weights);
  }
  for_rows(what.rows, classes, [&](int64_t first, int64_t count) {
    for (int64_t r = first; r < first + count; ++r) {
      const T* row = p + r * classes;
      T* out = dlogits + r * classes;
      const int64_t label = what.target[r];
      const bool ignored = label == what.ignore_index;
      const T w = ignored ? T(0) : sharp * weight_of(weight, label);
      const T mass = ignored ? T(0) : w + smooth * weights, scale = each ? g[r] : all;
      if (mass == T(0)) {
        std::fill_n(out, classes, T(0));
        continue;
      }
      if (smooth == T(0)) {
        for (int64_t c = 0; c < classes; ++c) out[c] = scale * (row[c] * mass);
      } else {
        for (int64_t c = 0; c < classes; ++c) {
          out[c] = scale * (row[c] * mass - smooth * weight_of(weight, c));
        }
      }
      const T wanted = w + smooth * weight_of(weight, label);
      out[label] = scale * (row[label] * mass - wanted);
    }
  });
}

#define TILEGRAD_INSTANTIATE(T)                                                             \
  template void softmax<T>(SoftmaxForm, int64_t, int64_t, int64_t, const T*, const T*, T*); \
  template void logsumexp<T>(int64_t, int64_t, const T*, T*);                               \
  template void cross_entropy<T>(const CrossEntropy&, const T*, const T*, T*, T*);          \
  template void cross_entropy_grad<T>(const CrossEntropy&, const T*, const T*, const T*, T*);
TILEGRAD_INSTANTIATE(float)
TILEGRAD_INSTANTIATE(double)
#undef TILEGRAD_INSTANTIATE

}  // namespace tilegrad::nn
