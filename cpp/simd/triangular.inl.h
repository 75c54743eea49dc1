// Forward substitution: row i of X loses t(i, j) X_j for every j < i and is divided by t(i, i).
//
// A strip of a few vectors of columns goes through all rows while it lies in the first cache.

// R rows of a strip of V vectors: together they read the rows above once.
template <class T, int R, int V, class Lanes>
TILEGRAD_INLINE void substitute_rows(int64_t i, int64_t n, bool unit, const T* t, T* x,
                                     int64_t step, Lanes lanes) {
  using Vector = Vec<T>;
  constexpr int W = Vector::width;
  Vector rows[R][V];
#pragma GCC unroll 2
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) rows[r][v] = load_lanes(x + (i + r) * step + v * W, lanes);
  }
  for (int64_t j = 0; j < i; ++j) {
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) {
      const Vector above = load_lanes(x + j * step + v * W, lanes);
#pragma GCC unroll 2
      for (int r = 0; r < R; ++r) {
        rows[r][v] = Vector::fnma(Vector::splat(t[(i + r) * n + j]), above, rows[r][v]);
      }
    }
  }
#pragma GCC unroll 2
  for (int r = 0; r < R; ++r) {
    const T* row = t + (i + r) * n + i;
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) {
#pragma GCC unroll 2
      for (int q = 0; q < r; ++q) {
        rows[r][v] = Vector::fnma(Vector::splat(row[q]), rows[q][v], rows[r][v]);
      }
      if (!unit) rows[r][v] = rows[r][v] / Vector::splat(row[r]);
      store_lanes(rows[r][v], x + (i + r) * step + v * W, lanes);
    }
  }
}

template <class T, int V, class Lanes>
TILEGRAD_INLINE void substitute_strip(int64_t n, bool unit, const T* t, T* x, int64_t step,
                                      Lanes lanes) {
  int64_t i = 0;
  for (; i + 2 <= n; i += 2) substitute_rows<T, 2, V>(i, n, unit, t, x, step, lanes);
  if (i < n) substitute_rows<T, 1, V>(i, n, unit, t, x, step, lanes);
}

template <class T>
void substitute(int64_t n, bool unit, const T* t, int64_t k, T* x, int64_t step) {
  constexpr int W = Vec<T>::width, V = 4;
  int64_t j = 0;
  for (; j + V * W <= k; j += V * W) substitute_strip<T, V>(n, unit, t, x + j, step, AllLanes{});
  for (; j + W <= k; j += W) substitute_strip<T, 1>(n, unit, t, x + j, step, AllLanes{});
  if (j < k) substitute_strip<T, 1>(n, unit, t, x + j, step, static_cast<int>(k - j));
}

// Rows of `above` from j on, R at a time: the row is read and written once for all of them.
template <class T, int R>
TILEGRAD_INLINE void eliminate_rows(int64_t j, int64_t n, const T* above, int64_t step, T* row) {
  using V = Vec<T>;
  T factors[R];
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r) {
    T x = row[j + r];
#pragma GCC unroll 4
    for (int q = 0; q < r; ++q) x -= factors[q] * above[(j + q) * step + j + r];
    row[j + r] = factors[r] = x;
  }
  const T* first = above + j * step + j + R;
  row += j + R;
  for_vectors<T>(n - j - R, [=](int64_t i, auto lanes) TILEGRAD_LAMBDA {
    V x = load_lanes(row + i, lanes);
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) {
      x = V::fnma(V::splat(factors[r]), load_lanes(first + r * step + i, lanes), x);
    }
    store_lanes(x, row + i, lanes);
  });
}

template <class T>
void eliminate(int64_t p, int64_t n, const T* above, int64_t step, T* row) {
  int64_t j = 0;
  for (; j + 4 <= p; j += 4) eliminate_rows<T, 4>(j, n, above, step, row);
  for (; j < p; ++j) eliminate_rows<T, 1>(j, n, above, step, row);
}

template <class T>
int64_t largest(int64_t n, const T* x) {
  using V = Vec<T>;
  constexpr int W = V::width;
  V top = V::zero();
  int64_t i = 0;
  for (; i + W <= n; i += W) top = V::max(top, V::abs(V::load(x + i)));
  if (i < n) top = V::max(top, V::abs(V::load(x + i, static_cast<int>(n - i))));
  T lanes[W];
  top.store(lanes);
  T size = lanes[0];
  for (int w = 1; w < W; ++w) size = lanes[w] > size ? lanes[w] : size;
  for (i = 0; i < n; ++i) {
    if (x[i] == size || x[i] == -size) return i;
  }
  return 0;  // NaN
}

template <class T>
void divide_by(int64_t n, T divisor, T* x) {
  divide_row<T>(n, x, divisor);
}

template <class T>
constexpr TriangularKernels<T> triangular_kernels() {
  return {substitute<T>, eliminate<T>, largest<T>, divide_by<T>};
}
