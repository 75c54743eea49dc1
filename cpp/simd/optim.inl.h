// One pass over the parameters and their state. The formulas and the order of rounding are those of
// python/tilegrad/kernels/optim.py, and through it torch's.

// The gradient to descend: sign and L2 decay.
template <class T, class Step>
TILEGRAD_INLINE Vec<T> descent(const Step& step, const T* p, const T* g, int count) {
  using V = Vec<T>;
  V d = V::load(g, count);
  if (step.maximize) d = -d;
  if (step.decay) d = d + V::splat(step.weight_decay) * V::load(p, count);
  return d;
}

template <class T>
void sgd_loop(const SgdStep<T>& given, int64_t n, T* p, const T* g, T* buf) {
  using V = Vec<T>;
  const SgdStep<T> step = given;
  for_vectors<T>(n, [=](int64_t i, int count) TILEGRAD_LAMBDA {
    V d = descent(step, p + i, g + i, count);
    if (step.has_momentum) {
      V velocity = d;
      if (!step.first) {
        velocity = V::load(buf + i, count) * V::splat(step.momentum) +
                   V::splat(step.one_minus_dampening) * d;
      }
      velocity.store(buf + i, count);
      d = step.nesterov ? d + V::splat(step.momentum) * velocity : velocity;
    }
    (V::load(p + i, count) - V::splat(step.lr) * d).store(p + i, count);
  });
}

template <class T>
void adam_loop(const AdamStep<T>& given, int64_t n, T* p, const T* g, T* m, T* v, T* v_max) {
  using V = Vec<T>;
  const AdamStep<T> step = given;
  for_vectors<T>(n, [=](int64_t i, int count) TILEGRAD_LAMBDA {
    const V d = descent(step, p + i, g + i, count);
    V value = V::load(p + i, count);
    if (step.decoupled) value = value * V::splat(step.keep);
    V first = V::load(m + i, count);
    first = first + V::splat(step.one_minus_beta1) * (d - first);
    first.store(m + i, count);
    V second = V::load(v + i, count) * V::splat(step.beta2);
    second = second + V::splat(step.one_minus_beta2) * (d * d);
    second.store(v + i, count);
    if (step.amsgrad) {
      second = MaxReduction<T>::combine(V::load(v_max + i, count), second);
      second.store(v_max + i, count);
    }
    const V denominator = V::sqrt(second) / V::splat(step.correction) + V::splat(step.eps);
    (value - V::splat(step.rate) * (first / denominator)).store(p + i, count);
  });
}

template <class T>
void rmsprop_loop(const RmspropStep<T>& given, int64_t n, T* p, const T* g, T* square, T* buf,
                  T* average) {
  using V = Vec<T>;
  const RmspropStep<T> step = given;
  for_vectors<T>(n, [=](int64_t i, int count) TILEGRAD_LAMBDA {
    V d = descent(step, p + i, g + i, count);
    V second = V::load(square + i, count) * V::splat(step.alpha);
    second = second + V::splat(step.one_minus_alpha) * (d * d);
    second.store(square + i, count);
    if (step.centered) {
      V mean = V::load(average + i, count);
      mean = mean + V::splat(step.one_minus_alpha) * (d - mean);
      mean.store(average + i, count);
      second = second - mean * mean;
    }
    d = d / (V::sqrt(second) + V::splat(step.eps));
    if (step.has_momentum) {
      d = V::load(buf + i, count) * V::splat(step.momentum) + d;
      d.store(buf + i, count);
    }
    (V::load(p + i, count) - V::splat(step.lr) * d).store(p + i, count);
  });
}

template <class T>
void adagrad_loop(const AdagradStep<T>& given, int64_t n, T* p, const T* g, T* total) {
  using V = Vec<T>;
  const AdagradStep<T> step = given;
  for_vectors<T>(n, [=](int64_t i, int count) TILEGRAD_LAMBDA {
    const V d = descent(step, p + i, g + i, count);
    const V sum = V::load(total + i, count) + d * d;
    sum.store(total + i, count);
    const V scaled = d / (V::sqrt(sum) + V::splat(step.eps));
    (V::load(p + i, count) - V::splat(step.rate) * scaled).store(p + i, count);
  });
}

template <class T>
constexpr OptimKernels<T> optim_kernels() {
  return {sgd_loop<T>, adam_loop<T>, rmsprop_loop<T>, adagrad_loop<T>};
}
