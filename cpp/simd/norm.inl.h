// Normalisation's passes over any vector; see simd/norm.h for the contracts.

// Four sums at a time: one alone would wait for its own additions.
constexpr int kNormSums = 4;

template <class T>
T norm_sum(int64_t n, const T* x) {
  using V = Vec<T>;
  constexpr int W = V::width;
  V sums[kNormSums];
  for (int j = 0; j < kNormSums; ++j) sums[j] = V::zero();
  int64_t i = 0;
  for (; i + kNormSums * W <= n; i += kNormSums * W) {
#pragma GCC unroll 4
    for (int j = 0; j < kNormSums; ++j) sums[j] = sums[j] + V::load(x + i + j * W);
  }
  for (; i < n; i += W) {
    const int count = n - i < W ? static_cast<int>(n - i) : W;
    sums[0] = sums[0] + V::load(x + i, count);
  }
  return V::sum((sums[0] + sums[1]) + (sums[2] + sums[3]));
}

template <class T>
void norm_spread(int64_t n, const T* x, T shift, T scale, T& sum, T& squares) {
  using V = Vec<T>;
  constexpr int W = V::width;
  const V center = V::splat(shift), factor = V::splat(scale);
  V sums[kNormSums], parts[kNormSums];
  for (int j = 0; j < kNormSums; ++j) sums[j] = parts[j] = V::zero();
  int64_t i = 0;
  for (; i + kNormSums * W <= n; i += kNormSums * W) {
#pragma GCC unroll 4
    for (int j = 0; j < kNormSums; ++j) {
      const V d = V::load(x + i + j * W) - center, e = d * factor;
      sums[j] = sums[j] + d;
      parts[j] = V::fma(e, e, parts[j]);
    }
  }
  for (; i < n; i += W) {
    const int count = n - i < W ? static_cast<int>(n - i) : W;
    const V d = V::load(x + i, count, center) - center, e = d * factor;
    sums[0] = sums[0] + d;
    parts[0] = V::fma(e, e, parts[0]);
  }
  sum = V::sum((sums[0] + sums[1]) + (sums[2] + sums[3]));
  squares = V::sum((parts[0] + parts[1]) + (parts[2] + parts[3]));
}

template <class T>
void norm_normalize(int64_t n, const T* x, T shift, T rest, T a, const T* w, const T* b, T* y) {
  using V = Vec<T>;
  constexpr int W = V::width;
  const V center = V::splat(shift), left = V::splat(rest), factor = V::splat(a);
  int64_t i = 0;
  for (; i + W <= n; i += W) {
    V value = ((V::load(x + i) - center) - left) * factor;
    if (w != nullptr) value = value * V::load(w + i);
    if (b != nullptr) value = value + V::load(b + i);
    value.store(y + i);
  }
  if (i < n) {
    const int count = static_cast<int>(n - i);
    V value = ((V::load(x + i, count) - center) - left) * factor;
    if (w != nullptr) value = value * V::load(w + i, count);
    if (b != nullptr) value = value + V::load(b + i, count);
    value.store(y + i, count);
  }
}

template <class T>
void norm_affine(int64_t n, const T* x, T shift, T rest, T a, T b, T* y) {
  using V = Vec<T>;
  constexpr int W = V::width;
  const V center = V::splat(shift), left = V::splat(rest), factor = V::splat(a);
  const V offset = V::splat(b);
  int64_t i = 0;
  for (; i + W <= n; i += W) {
    V::fma((V::load(x + i) - center) - left, factor, offset).store(y + i);
  }
  if (i < n) {
    const int count = static_cast<int>(n - i);
    V::fma((V::load(x + i, count) - center) - left, factor, offset).store(y + i, count);
  }
}

template <class T>
RunSums<T> norm_grad_sums(int64_t n, const T* g, const T* x, const T* w, T shift) {
  using V = Vec<T>;
  constexpr int W = V::width;
  const V center = V::splat(shift);
  V ones[2], along[2], sums[2];
  for (int j = 0; j < 2; ++j) ones[j] = along[j] = sums[j] = V::zero();
  int64_t i = 0;
  for (; i + 2 * W <= n; i += 2 * W) {
#pragma GCC unroll 2
    for (int j = 0; j < 2; ++j) {
      const V d = V::load(x + i + j * W) - center;
      V h = V::load(g + i + j * W);
      if (w != nullptr) h = h * V::load(w + i + j * W);
      ones[j] = ones[j] + h;
      along[j] = V::fma(h, d, along[j]);
      sums[j] = sums[j] + d;
    }
  }
  for (; i < n; i += W) {
    const int count = n - i < W ? static_cast<int>(n - i) : W;
    const V d = V::load(x + i, count, center) - center;
    V h = V::load(g + i, count);
    if (w != nullptr) h = h * V::load(w + i, count);
    ones[0] = ones[0] + h;
    along[0] = V::fma(h, d, along[0]);
    sums[0] = sums[0] + d;
  }
  return {V::sum(ones[0] + ones[1]), V::sum(along[0] + along[1]), V::sum(sums[0] + sums[1])};
}

template <class T>
void norm_grad(int64_t n, const T* g, const T* x, const T* w, T one_w, T shift, T rest, T rstd, T a,
               T along_one, T along_x, T* dx, T* dw, T* db) {
  using V = Vec<T>;
  constexpr int W = V::width;
  const V center = V::splat(shift), left = V::splat(rest), inverse = V::splat(rstd);
  const V factor = V::splat(a), one = V::splat(along_one), slope = V::splat(along_x);
  const V same = V::splat(one_w);
  const auto step = [&](int64_t i, auto load, auto store) {
    const V up = load(g + i);
    const V xhat = ((load(x + i) - center) - left) * inverse;
    const V h = up * (w != nullptr ? load(w + i) : same);
    store(factor * V::fnma(xhat, slope, h - one), dx + i);
    if (dw != nullptr) {
      store(V::fma(up, xhat, load(dw + i)), dw + i);
      store(load(db + i) + up, db + i);
    }
  };
  int64_t i = 0;
  for (; i + W <= n; i += W) {
    step(i, [](const T* p) { return V::load(p); }, [](V v, T* p) { v.store(p); });
  }
  if (i < n) {
    const int count = static_cast<int>(n - i);
    step(i, [&](const T* p) { return V::load(p, count); }, [&](V v, T* p) { v.store(p, count); });
  }
}

template <class T>
constexpr NormKernels<T> norm_kernels() {
  return {norm_sum<T>,    norm_spread<T>,    norm_normalize<T>,
          norm_affine<T>, norm_grad_sums<T>, norm_grad<T>};
}
