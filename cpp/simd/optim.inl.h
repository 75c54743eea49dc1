// One pass over the parameters and their state. The formulas and the order of rounding are those of
// python/tilegrad/kernels/optim.py, and through it torch's.

// The gradient to descend: sign and L2 decay.
template <class T, class Step, class Count>
TILEGRAD_INLINE Vec<T> descent(const Step& step, const T* p, const T* g, Count count) {
  using V = Vec<T>;
  V d = load_lanes(g, count);
  if (step.maximize) d = -d;
  if (step.decay) d = d + V::splat(step.weight_decay) * load_lanes(p, count);
  return d;
}

template <class T>
void sgd_loop(const SgdStep<T>& given, int64_t n, T* p, const T* g, T* buf) {
  using V = Vec<T>;
  const SgdStep<T> step = given;
  for_vectors<T>(n, [=](int64_t i, auto count) TILEGRAD_LAMBDA {
    V d = descent(step, p + i, g + i, count);
    if (step.has_momentum) {
      V velocity = d;
      if (!step.first) {
        velocity = load_lanes(buf + i, count) * V::splat(step.momentum) +
                   V::splat(step.one_minus_dampening) * d;
      }
      store_lanes(velocity, buf + i, count);
      d = step.nesterov ? d + V::splat(step.momentum) * velocity : velocity;
    }
    store_lanes(load_lanes(p + i, count) - V::splat(step.lr) * d, p + i, count);
  });
}

template <class T>
void adam_loop(const AdamStep<T>& given, int64_t n, T* p, const T* g, T* m, T* v, T* v_max) {
  using V = Vec<T>;
  const AdamStep<T> step = given;
  for_vectors<T>(n, [=](int64_t i, auto count) TILEGRAD_LAMBDA {
    const V d = descent(step, p + i, g + i, count);
    V value = load_lanes(p + i, count);
    if (step.decoupled) value = value * V::splat(step.keep);
    V first = load_lanes(m + i, count);
    first = first + V::splat(step.one_minus_beta1) * (d - first);
    store_lanes(first, m + i, count);
    V second = load_lanes(v + i, count) * V::splat(step.beta2);
    second = second + V::splat(step.one_minus_beta2) * (d * d);
    store_lanes(second, v + i, count);
    if (step.amsgrad) {
      second = MaxReduction<T>::combine(load_lanes(v_max + i, count), second);
      store_lanes(second, v_max + i, count);
    }
    const V denominator = V::sqrt(second) / V::splat(step.correction) + V::splat(step.eps);
    store_lanes(value - V::splat(step.rate) * (first / denominator), p + i, count);
  });
}

template <class T>
void rmsprop_loop(const RmspropStep<T>& given, int64_t n, T* p, const T* g, T* square, T* buf,
                  T* average) {
  using V = Vec<T>;
  const RmspropStep<T> step = given;
  for_vectors<T>(n, [=](int64_t i, auto count) TILEGRAD_LAMBDA {
    V d = descent(step, p + i, g + i, count);
    V second = load_lanes(square + i, count) * V::splat(step.alpha);
    second = second + V::splat(step.one_minus_alpha) * (d * d);
    store_lanes(second, square + i, count);
    if (step.centered) {
      V mean = load_lanes(average + i, count);
      mean = mean + V::splat(step.one_minus_alpha) * (d - mean);
      store_lanes(mean, average + i, count);
      second = second - mean * mean;
    }
    d = d / (V::sqrt(second) + V::splat(step.eps));
    if (step.has_momentum) {
      d = load_lanes(buf + i, count) * V::splat(step.momentum) + d;
      store_lanes(d, buf + i, count);
    }
    store_lanes(load_lanes(p + i, count) - V::splat(step.lr) * d, p + i, count);
  });
}

template <class T>
void adagrad_loop(const AdagradStep<T>& given, int64_t n, T* p, const T* g, T* total) {
  using V = Vec<T>;
  const AdagradStep<T> step = given;
  for_vectors<T>(n, [=](int64_t i, auto count) TILEGRAD_LAMBDA {
    const V d = descent(step, p + i, g + i, count);
    const V sum = load_lanes(total + i, count) + d * d;
    store_lanes(sum, total + i, count);
    const V scaled = d / (V::sqrt(sum) + V::splat(step.eps));
    store_lanes(load_lanes(p + i, count) - V::splat(step.rate) * scaled, p + i, count);
  });
}

template <class T>
constexpr OptimKernels<T> optim_kernels() {
  return {sgd_loop<T>, adam_loop<T>, rmsprop_loop<T>, adagrad_loop<T>};
}
