// Optimizer steps over contiguous arrays, in place; the formulas are those of the twins.
#pragma once

#include <cstdint>

namespace tilegrad::nn {

struct SgdNumbers {
  double lr, momentum, dampening, weight_decay;
  bool nesterov, maximize, first;
};
struct AdamNumbers {
  double step, lr, beta1, beta2, eps, weight_decay;
  bool decoupled, maximize;
};
struct RmspropNumbers {
  double lr, alpha, eps, weight_decay, momentum;
  bool maximize;
};
struct AdagradNumbers {
  double step, lr, lr_decay, eps, weight_decay;
  bool maximize;
};

// state: sgd {momentum buffer or null}; adam {m, v, v_max or null}; rmsprop {square, buffer or
// null, average or null}; adagrad {total}.
template <class T>
void optimizer_step(const SgdNumbers& numbers, int64_t n, T* p, const T* g, T* const* state);
template <class T>
void optimizer_step(const AdamNumbers& numbers, int64_t n, T* p, const T* g, T* const* state);
template <class T>
void optimizer_step(const RmspropNumbers& numbers, int64_t n, T* p, const T* g, T* const* state);
template <class T>
void optimizer_step(const AdagradNumbers& numbers, int64_t n, T* p, const T* g, T* const* state);

}  // namespace tilegrad::nn
