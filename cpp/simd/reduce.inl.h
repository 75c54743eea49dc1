// Sums are trees: blocks of at most 16 additions in each lane, then halves of halves. So the error
// grows as NumPy's pairwise summation does, and the order depends on the length alone.

template <class T>
struct SumReduction {
  using V = Vec<T>;
  static TILEGRAD_INLINE V identity() { return V::zero(); }
  static TILEGRAD_INLINE V combine(V a, V b) { return a + b; }
  static TILEGRAD_INLINE T combine(T a, T b) { return a + b; }
};
template <class T>
struct ProdReduction {
  using V = Vec<T>;
  static TILEGRAD_INLINE V identity() { return V::splat(T(1)); }
  static TILEGRAD_INLINE V combine(V a, V b) { return a * b; }
  static TILEGRAD_INLINE T combine(T a, T b) { return a * b; }
};
template <class T>
struct MaxReduction {
  using V = Vec<T>;
  static TILEGRAD_INLINE V identity() { return V::splat(-MathConstants<T>::infinity); }
  static TILEGRAD_INLINE V combine(V a, V b) {
    return maximum_operation<T>::apply(a, b, b, nullptr);
  }
  static TILEGRAD_INLINE T combine(T a, T b) { return a > b || !(a == a) ? a : b; }
};
template <class T>
struct MinReduction {
  using V = Vec<T>;
  static TILEGRAD_INLINE V identity() { return V::splat(MathConstants<T>::infinity); }
  static TILEGRAD_INLINE V combine(V a, V b) {
    return minimum_operation<T>::apply(a, b, b, nullptr);
  }
  static TILEGRAD_INLINE T combine(T a, T b) { return a < b || !(a == a) ? a : b; }
};

// All lanes of a, combined as a tree of halves. One store and narrow loads out of it: vector loads
// that straddle two stores would wait for both (measured: 70 ns a row).
template <class T, template <class> class R>
TILEGRAD_INLINE T reduce_lanes(Vec<T> a) {
  constexpr int W = Vec<T>::width;
  T lanes[W];
  a.store(lanes);
#pragma GCC unroll 4
  for (int half = W / 2; half >= 1; half /= 2) {
#pragma GCC unroll 8
    for (int i = 0; i < half; ++i) lanes[i] = R<T>::combine(lanes[i], lanes[i + half]);
  }
  return lanes[0];
}

constexpr int kReduceAccumulators = 4;  // hide the latency of an addition
constexpr int kReduceDepth = 16;        // additions one after the other in a lane

template <class T, template <class> class R>
Vec<T> reduce_row(int64_t n, const T* x) {
  using V = Vec<T>;
  constexpr int W = V::width, A = kReduceAccumulators;
  constexpr int64_t kBlock = int64_t(W) * A * kReduceDepth;
  if (n > kBlock) {
    const int64_t half = (n / 2 + kBlock - 1) / kBlock * kBlock;
    const V left = reduce_row<T, R>(half, x);
    return R<T>::combine(left, reduce_row<T, R>(n - half, x + half));
  }
  V sum[A];
#pragma GCC unroll 4
  for (int a = 0; a < A; ++a) sum[a] = R<T>::identity();
  int64_t i = 0;
  for (; i + A * W <= n; i += A * W) {
#pragma GCC unroll 4
    for (int a = 0; a < A; ++a) sum[a] = R<T>::combine(sum[a], V::load(x + i + a * W));
  }
  for (; i + W <= n; i += W) sum[0] = R<T>::combine(sum[0], V::load(x + i));
  if (i < n) {
    sum[1] = R<T>::combine(sum[1], V::load(x + i, static_cast<int>(n - i), R<T>::identity()));
  }
  return R<T>::combine(R<T>::combine(sum[0], sum[1]), R<T>::combine(sum[2], sum[3]));
}

template <class T, template <class> class R>
void reduce_rows(int64_t rows, int64_t n, const T* x, T* out) {
  for (int64_t r = 0; r < rows; ++r) out[r] = reduce_lanes<T, R>(reduce_row<T, R>(n, x + r * n));
}

constexpr int kReduceTile = 4;          // vectors of columns at a time
constexpr int64_t kReduceRunRows = 64;  // rows added one after the other

// acc[v] = the reduction over n rows of the v-th vector of columns; `valid` columns are there.
template <class T, template <class> class R, int tile>
void reduce_column_tile(int64_t n, int64_t valid, const T* x, int64_t stride, Vec<T>* acc) {
  using V = Vec<T>;
  constexpr int W = V::width;
  if (n > kReduceRunRows) {
    const int64_t half = (n / 2 + kReduceRunRows - 1) / kReduceRunRows * kReduceRunRows;
    V rest[tile];
    reduce_column_tile<T, R, tile>(half, valid, x, stride, acc);
    reduce_column_tile<T, R, tile>(n - half, valid, x + half * stride, stride, rest);
    for (int v = 0; v < tile; ++v) acc[v] = R<T>::combine(acc[v], rest[v]);
    return;
  }
  V sum[tile];
#pragma GCC unroll 4
  for (int v = 0; v < tile; ++v) sum[v] = R<T>::identity();
  const int last = static_cast<int>(valid - (tile - 1) * W);
  if (last >= W) {
    for (int64_t i = 0; i < n; ++i) {
#pragma GCC unroll 4
      for (int v = 0; v < tile; ++v) {
        sum[v] = R<T>::combine(sum[v], V::load(x + i * stride + v * W));
      }
    }
  } else {
    for (int64_t i = 0; i < n; ++i) {
#pragma GCC unroll 4
      for (int v = 0; v + 1 < tile; ++v) {
        sum[v] = R<T>::combine(sum[v], V::load(x + i * stride + v * W));
      }
      const V edge = V::load(x + i * stride + (tile - 1) * W, last);
      sum[tile - 1] = R<T>::combine(sum[tile - 1], edge);
    }
  }
#pragma GCC unroll 4
  for (int v = 0; v < tile; ++v) acc[v] = sum[v];
}

template <class T, template <class> class R>
void reduce_columns(int64_t n, int64_t columns, const T* x, int64_t stride, T* out) {
  using V = Vec<T>;
  constexpr int W = V::width, B = kReduceTile;
  V acc[B];
  int64_t j = 0;
  for (; j + B * W <= columns; j += B * W) {
    reduce_column_tile<T, R, B>(n, B * W, x + j, stride, acc);
    for (int v = 0; v < B; ++v) acc[v].store(out + j + v * W);
  }
  for (; j < columns; j += W) {
    const int64_t valid = columns - j < W ? columns - j : W;
    reduce_column_tile<T, R, 1>(n, valid, x + j, stride, acc);
    acc[0].store(out + j, static_cast<int>(valid));
  }
}

template <class T, template <class> class R>
int64_t reduce_place(int64_t n, const T* x) {
  const T best = reduce_lanes<T, R>(reduce_row<T, R>(n, x));
  int64_t i = 0;
  if (best == best) {
    while (i + 1 < n && !(x[i] == best)) ++i;
  } else {
    while (i + 1 < n && x[i] == x[i]) ++i;
  }
  return i;
}

template <class T>
double reduce_square_sum(int64_t n, const T* x) {
  constexpr int kLanes = 8, kBlock = 512;
  if (n > kBlock) {
    const int64_t half = (n / 2 + kBlock - 1) / kBlock * kBlock;
    return reduce_square_sum(half, x) + reduce_square_sum(n - half, x + half);
  }
  double lanes[kLanes] = {};
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
#pragma GCC unroll 8
    for (int k = 0; k < kLanes; ++k) {
      const double value = static_cast<double>(x[i + k]);
      lanes[k] += value * value;
    }
  }
  for (int k = 0; i < n; ++i, ++k) {
    lanes[k] += static_cast<double>(x[i]) * static_cast<double>(x[i]);
  }
  return ((lanes[0] + lanes[4]) + (lanes[1] + lanes[5])) +
         ((lanes[2] + lanes[6]) + (lanes[3] + lanes[7]));
}

template <class T>
constexpr ReduceKernels<T> reduce_kernels() {
  return {{reduce_rows<T, SumReduction>, reduce_rows<T, ProdReduction>,
           reduce_rows<T, MaxReduction>, reduce_rows<T, MinReduction>},
          {reduce_columns<T, SumReduction>, reduce_columns<T, ProdReduction>,
           reduce_columns<T, MaxReduction>, reduce_columns<T, MinReduction>},
          reduce_place<T, MaxReduction>,
          reduce_place<T, MinReduction>,
          reduce_square_sum<T>};
}
