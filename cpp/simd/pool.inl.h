// Pooling's row loops over any vector; see simd/pool.h for the contracts. Loads and stores are
// masked at row ends: nothing is read or written beyond them.

template <class T>
void pool_largest(const PoolRows<T>& f, const int64_t* flat, T* y, int64_t* indices,
                  int64_t y_row) {
  using V = Vec<T>;
  constexpr int W = V::width;
  for (int64_t r = 0; r < f.rows; ++r, y += y_row, indices += y_row) {
    for (int64_t i = 0; i < f.n; i += W) {
      const int count = f.n - i < W ? static_cast<int>(f.n - i) : W;
      const int64_t at = r * f.from_row + i * f.stride;
      V best = load_every(f.from[0] + at, f.stride, count), winner = V::zero();
      for (int64_t t = 1; t < f.taps; ++t) {
        const V value = load_every(f.from[t] + at, f.stride, count);
        const V number = V::splat(static_cast<T>(t));
        const auto larger = V::less(best, value), real = V::equal(value, value);
        best = V::select(real, V::select(larger, value, best), value);
        winner = V::select(real, V::select(larger, number, winner), number);
      }
      best.store(y + i, count);
      T lanes[W];
      winner.store(lanes);
      for (int j = 0; j < count; ++j) {
        indices[i + j] = flat[static_cast<int64_t>(lanes[j])] + at + j * f.stride;
      }
    }
  }
}

template <class T>
void pool_mean(const PoolRows<T>& f, T divisor, T* y, int64_t y_row) {
  using V = Vec<T>;
  constexpr int W = V::width;
  const V all = V::splat(divisor);
  for (int64_t r = 0; r < f.rows; ++r, y += y_row) {
    for (int64_t i = 0; i < f.n; i += W) {
      const int count = f.n - i < W ? static_cast<int>(f.n - i) : W;
      const int64_t at = r * f.from_row + i * f.stride;
      V sum = V::zero();
      for (int64_t t = 0; t < f.taps; ++t) {
        sum = sum + load_every(f.from[t] + at, f.stride, count);
      }
      (sum / all).store(y + i, count);
    }
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
void pool_zip(int64_t n, const T* a, const T* b, T* out) {
  using V = Vec<T>;
  constexpr int W = V::width;
  for (int64_t i = 0; i < n; i += W) {
    const int count = n - i < W ? static_cast<int>(n - i) : W;
    const V even = V::load(a + i, count), odd = V::load(b + i, count);
    V::zip_low(even, odd).store(out + 2 * i, 2 * count);
    if (2 * count > W) V::zip_high(even, odd).store(out + 2 * i + W, 2 * count - W);
  }
}

template <class T>
constexpr PoolKernels<T> pool_kernels() {
  return {pool_largest<T>, pool_mean<T>, pool_share<T>, pool_zip<T>};
}
