template <class T>
void pool_largest(const PoolRow<T>& row, const int64_t* flat, T* y, int64_t* indices) {
  using V = Vec<T>;
  constexpr int W = V::width;
  for (int64_t i = 0; i < row.n; i += W) {
    const int count = row.n - i < W ? static_cast<int>(row.n - i) : W;
    const int64_t at = i * row.stride;
    V best = load_every(row.from[0] + at, row.stride, count), winner = V::zero();
    for (int64_t t = 1; t < row.taps; ++t) {
      const V value = load_every(row.from[t] + at, row.stride, count);
      const V number = V::splat(static_cast<T>(t));
      const auto larger = V::less(best, value), real = V::equal(value, value);
      best = V::select(real, V::select(larger, value, best), value);
      winner = V::select(real, V::select(larger, number, winner), number);
    }
    best.store(y + i, count);
    T lanes[W];
    winner.store(lanes);
    for (int j = 0; j < count; ++j) {
      indices[i + j] = flat[static_cast<int64_t>(lanes[j])] + (i + j) * row.stride;
    }
  }
}

template <class T>
void pool_mean(const PoolRow<T>& row, T divisor, T* y) {
  using V = Vec<T>;
  constexpr int W = V::width;
  const V all = V::splat(divisor);
  for (int64_t i = 0; i < row.n; i += W) {
    const int count = row.n - i < W ? static_cast<int>(row.n - i) : W;
    V sum = V::zero();
    for (int64_t t = 0; t < row.taps; ++t) {
      sum = sum + load_every(row.from[t] + i * row.stride, row.stride, count);
    }
    (sum / all).store(y + i, count);
  }
}

template <class T>
void pool_share(int64_t n, const T* g, T divisor, T* sum) {
  using V = Vec<T>;
  constexpr int W = V::width;
  const V all = V::splat(divisor);
  for (int64_t i = 0; i < n; i += W) {
    const int count = n - i < W ? static_cast<int>(n - i) : W;
    (V::load(sum + i, count) + V::load(g + i, count) / all).store(sum + i, count);
  }
}

template <class T>
void pool_twice(int64_t n, const T* x, T* out) {
  using V = Vec<T>;
  constexpr int W = V::width;
  for (int64_t i = 0; i < n; i += W) {
    const int count = n - i < W ? static_cast<int>(n - i) : W;
    const V value = V::load(x + i, count);
    V::zip_low(value, value).store(out + 2 * i, 2 * count);
    if (2 * count > W) V::zip_high(value, value).store(out + 2 * i + W, 2 * count - W);
  }
}

template <class T>
constexpr PoolKernels<T> pool_kernels() {
  return {pool_largest<T>, pool_mean<T>, pool_share<T>, pool_twice<T>};
}
