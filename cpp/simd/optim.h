// Optimizer steps over contiguous arrays, as data. Formulas: python/tilegrad/kernels/optim.py.
#pragma once

#include <cstdint>

namespace tilegrad::simd {

template <class T>
struct SgdStep {
  T lr, momentum, one_minus_dampening, weight_decay;
  bool maximize, decay, has_momentum, first, nesterov;
};
template <class T>
struct AdamStep {
  T rate;  // lr / (1 - beta1^step)
  T keep;  // 1 - lr weight_decay, where decoupled
  T one_minus_beta1, beta2, one_minus_beta2, eps, weight_decay;
  T correction;  // sqrt(1 - beta2^step)
  bool maximize, decay, decoupled, amsgrad;
};
template <class T>
struct RmspropStep {
  T lr, alpha, one_minus_alpha, eps, weight_decay, momentum;
  bool maximize, decay, has_momentum, centered;
};
template <class T>
struct AdagradStep {
  T rate, eps, weight_decay;
  bool maximize, decay;
};

template <class T>
struct OptimKernels {
  // State arrays that a flag leaves out may be null.
  void (*sgd)(const SgdStep<T>& step, int64_t n, T* p, const T* g, T* buf);
  void (*adam)(const AdamStep<T>& step, int64_t n, T* p, const T* g, T* m, T* v, T* v_max);
  void (*rmsprop)(const RmspropStep<T>& step, int64_t n, T* p, const T* g, T* square, T* buf,
                  T* average);
  void (*adagrad)(const AdagradStep<T>& step, int64_t n, T* p, const T* g, T* total);
};

}  // namespace tilegrad::simd
