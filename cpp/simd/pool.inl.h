// Pooling's row loops over any vector; see simd/pool.h for the contracts. Loads and stores are
// masked at row ends: nothing is read or written beyond them.

// Taps of neighbouring windows, STRIDE apart (0: f.stride); all lanes, or the first `count`.
template <class T, int STRIDE, bool ALL>
TILEGRAD_INLINE Vec<T> pool_load(const T* p, int64_t stride, int count) {
  using V = Vec<T>;
  if constexpr (STRIDE == 1) return ALL ? V::load(p) : V::load(p, count);
  if constexpr (STRIDE == 2 && ALL) return V::even(V::load(p), V::load(p + V::width, V::width - 1));
  return load_every(p, STRIDE == 0 ? stride : STRIDE, ALL ? V::width : count);
}

// block(all, count, row, i): for all rows, vector by vector; all is Constant<1> for whole vectors.
template <class T, class Block>
TILEGRAD_INLINE void pool_vectors(const PoolRows<T>& f, const Block& block) {
  constexpr int W = Vec<T>::width;
  for (int64_t r = 0; r < f.rows; ++r) {
    int64_t i = 0;
    for (; i + W <= f.n; i += W) block(Constant<1>(), W, r, i);
    if (i < f.n) block(Constant<0>(), static_cast<int>(f.n - i), r, i);
  }
}

template <class T, int STRIDE>
void pool_largest_rows(const PoolRows<T>& f, const int64_t* flat, T* y, int64_t* indices,
                       int64_t y_row) {
  using V = Vec<T>;
  constexpr int W = V::width;
  const int64_t stride = STRIDE == 0 ? f.stride : STRIDE;
  T lanes[W];
  for (int j = 0; j < W; ++j) lanes[j] = static_cast<T>(j * stride);
  const V steps = V::load(lanes);
  pool_vectors(f, [&](auto all, int count, int64_t r, int64_t i) TILEGRAD_ALWAYS {
    const int64_t at = r * f.from_row + i * stride;
    V best = pool_load<T, STRIDE, all>(f.from[0] + at, stride, count);
    V winner = V::splat(static_cast<T>(flat[0]));
    for (int64_t t = 1; t < f.taps; ++t) {
      const V value = pool_load<T, STRIDE, all>(f.from[t] + at, stride, count);
      const V number = V::splat(static_cast<T>(flat[t]));
      const auto larger = V::less(best, value), real = V::equal(value, value);
      best = V::select(real, V::select(larger, value, best), value);
      winner = V::select(real, V::select(larger, number, winner), number);
    }
    T* const to = y + r * y_row + i;
    all ? best.store(to) : best.store(to, count);
    (winner + (V::splat(static_cast<T>(at)) + steps)).store_whole(indices + r * y_row + i, count);
  });
}

template <class T>
void pool_largest(const PoolRows<T>& f, const int64_t* flat, T* y, int64_t* indices,
                  int64_t y_row) {
  if (f.stride == 1) return pool_largest_rows<T, 1>(f, flat, y, indices, y_row);
  if (f.stride == 2) return pool_largest_rows<T, 2>(f, flat, y, indices, y_row);
  pool_largest_rows<T, 0>(f, flat, y, indices, y_row);
}

// finish(sum) is what a window's sum becomes.
template <class T, int STRIDE, class Finish>
TILEGRAD_INLINE void pool_mean_rows(const PoolRows<T>& f, const Finish& finish, T* y,
                                    int64_t y_row) {
  using V = Vec<T>;
  pool_vectors(f, [&](auto all, int count, int64_t r, int64_t i) TILEGRAD_ALWAYS {
    const int64_t at = r * f.from_row + i * (STRIDE == 0 ? f.stride : STRIDE);
    V sum = V::zero();
    for (int64_t t = 0; t < f.taps; ++t) {
      sum = sum + pool_load<T, STRIDE, all>(f.from[t] + at, f.stride, count);
    }
    T* const to = y + r * y_row + i;
    all ? finish(sum).store(to) : finish(sum).store(to, count);
  });
}

template <class T, class Finish>
TILEGRAD_INLINE void pool_mean_by(const PoolRows<T>& f, const Finish& finish, T* y, int64_t y_row) {
  if (f.stride == 1) return pool_mean_rows<T, 1>(f, finish, y, y_row);
  if (f.stride == 2) return pool_mean_rows<T, 2>(f, finish, y, y_row);
  pool_mean_rows<T, 0>(f, finish, y, y_row);
}

// Whether 1 / d is a number of the format: then x / d and x * (1 / d) are the same.
template <class T>
bool pool_inverts(T d) {
  if (!(d >= T(1) && d <= T(1 << 30))) return false;
  const auto whole = static_cast<int64_t>(d);
  return static_cast<T>(whole) == d && (whole & (whole - 1)) == 0;
}

template <class T>
void pool_mean(const PoolRows<T>& f, T divisor, T* y, int64_t y_row) {
  using V = Vec<T>;
  if (pool_inverts(divisor)) {
    const V factor = V::splat(T(1) / divisor);
    pool_mean_by(f, [&](V sum) TILEGRAD_ALWAYS { return sum * factor; }, y, y_row);
  } else {
    const V all = V::splat(divisor);
    pool_mean_by(f, [&](V sum) TILEGRAD_ALWAYS { return sum / all; }, y, y_row);
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
  return {pool_largest<T>, pool_mean<T>, pool_zip<T>};
}
