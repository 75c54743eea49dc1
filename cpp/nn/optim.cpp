#include "nn/optim.h"

#include <algorithm>
#include <cmath>

#include "runtime/subnormals.h"
#include "runtime/threads.h"
#include "simd/table.h"

namespace tilegrad::nn {
namespace {

// Elements worth a thread: a step reads and writes 12 to 28 bytes of each.
constexpr double kGrain = 1e5;
constexpr int64_t kTask = 1 << 14;

template <class T>
const simd::OptimKernels<T>& kernels() {
  if constexpr (sizeof(T) == sizeof(float)) {
    return simd::table().optim_f32;
  } else {
    return simd::table().optim_f64;
  }
}

// body(first, count) for pieces of [0, n).
template <class Body>
void for_pieces(int64_t n, Body body) {
  const auto work = static_cast<double>(n);
  const int threads = work < 2 * kGrain ? 1 : runtime::threads_for(work, kGrain);
  const int64_t piece = threads == 1 ? std::max<int64_t>(n, 1) : kTask;
  runtime::parallel_for((n + piece - 1) / piece, threads, [&](int64_t task) {
    const runtime::SubnormalsAreZero scope;
    body(task * piece, std::min(piece, n - task * piece));
  });
}

template <class T>
T* at(T* state, int64_t first) {
  return state != nullptr ? state + first : nullptr;
}

}  // namespace

template <class T>
void optimizer_step(const SgdNumbers& numbers, int64_t n, T* p, const T* g, T* const* state) {
  simd::SgdStep<T> step;
  step.lr = static_cast<T>(numbers.lr);
  step.momentum = static_cast<T>(numbers.momentum);
  step.one_minus_dampening = static_cast<T>(1.0 - numbers.dampening);
  step.weight_decay = static_cast<T>(numbers.weight_decay);
  step.maximize = numbers.maximize;
  step.decay = numbers.weight_decay != 0.0;
  step.has_momentum = state[0] != nullptr && numbers.momentum != 0.0;
  step.first = numbers.first;
  step.nesterov = numbers.nesterov;
  for_pieces(n, [&](int64_t i, int64_t count) {
    kernels<T>().sgd(step, count, p + i, g + i, at(state[0], i));
  });
}

template <class T>
void optimizer_step(const AdamNumbers& numbers, int64_t n, T* p, const T* g, T* const* state) {
  simd::AdamStep<T> step;
  step.rate = static_cast<T>(numbers.lr / (1.0 - std::pow(numbers.beta1, numbers.step)));
  step.keep = static_cast<T>(1.0 - numbers.lr * numbers.weight_decay);
  step.one_minus_beta1 = static_cast<T>(1.0 - numbers.beta1);
  step.beta2 = static_cast<T>(numbers.beta2);
  step.one_minus_beta2 = static_cast<T>(1.0 - numbers.beta2);
  step.eps = static_cast<T>(numbers.eps);
  step.weight_decay = static_cast<T>(numbers.weight_decay);
  step.correction = static_cast<T>(std::sqrt(1.0 - std::pow(numbers.beta2, numbers.step)));
  step.maximize = numbers.maximize;
  step.decoupled = numbers.decoupled && numbers.weight_decay != 0.0;
  step.decay = !numbers.decoupled && numbers.weight_decay != 0.0;
  step.amsgrad = state[2] != nullptr;
  for_pieces(n, [&](int64_t i, int64_t count) {
    kernels<T>().adam(step, count, p + i, g + i, state[0] + i, state[1] + i, at(state[2], i));
  });
}

template <class T>
void optimizer_step(const RmspropNumbers& numbers, int64_t n, T* p, const T* g, T* const* state) {
  simd::RmspropStep<T> step;
  step.lr = static_cast<T>(numbers.lr);
  step.alpha = static_cast<T>(numbers.alpha);
  step.one_minus_alpha = static_cast<T>(1.0 - numbers.alpha);
  step.eps = static_cast<T>(numbers.eps);
  step.weight_decay = static_cast<T>(numbers.weight_decay);
  step.momentum = static_cast<T>(numbers.momentum);
  step.maximize = numbers.maximize;
  step.decay = numbers.weight_decay != 0.0;
  step.has_momentum = state[1] != nullptr && numbers.momentum != 0.0;
  step.centered = state[2] != nullptr;
  for_pieces(n, [&](int64_t i, int64_t count) {
    kernels<T>().rmsprop(step, count, p + i, g + i, state[0] + i, at(state[1], i), at(state[2], i));
  });
}

template <class T>
void optimizer_step(const AdagradNumbers& numbers, int64_t n, T* p, const T* g, T* const* state) {
  simd::AdagradStep<T> step;
  step.rate = static_cast<T>(numbers.lr / (1.0 + (numbers.step - 1.0) * numbers.lr_decay));
  step.eps = static_cast<T>(numbers.eps);
  step.weight_decay = static_cast<T>(numbers.weight_decay);
  step.maximize = numbers.maximize;
  step.decay = numbers.weight_decay != 0.0;
  for_pieces(n, [&](int64_t i, int64_t count) {
    kernels<T>().adagrad(step, count, p + i, g + i, state[0] + i);
  });
}

#define TILEGRAD_INSTANTIATE(T)                                                             \
  template void optimizer_step<T>(const SgdNumbers&, int64_t, T*, const T*, T* const*);     \
  template void optimizer_step<T>(const AdamNumbers&, int64_t, T*, const T*, T* const*);    \
  template void optimizer_step<T>(const RmspropNumbers&, int64_t, T*, const T*, T* const*); \
  template void optimizer_step<T>(const AdagradNumbers&, int64_t, T*, const T*, T* const*);
TILEGRAD_INSTANTIATE(float)
TILEGRAD_INSTANTIATE(double)
#undef TILEGRAD_INSTANTIATE

}  // namespace tilegrad::nn
