// Convolution of planes with one output channel, and its weight gradient; see simd/conv.h for the
// contracts.

// R rows of one vector of columns.
template <class T, int R>
TILEGRAD_INLINE void conv_plane_rows(const ConvPlane<T>& c, const T* x, T* y, int lanes) {
  using V = Vec<T>;
  V sum[R];
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r) sum[r] = V::zero();
  for (int64_t p = 0; p < c.k; ++p) {
    const V weight = V::splat(c.weights[p]);
    const T* from = x + c.offsets[p];
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) sum[r] = V::fma(weight, V::load(from + r * c.x_row), sum[r]);
  }
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r) {
    V value = sum[r] + V::splat(c.bias);
    if (c.relu) value = V::max(V::zero(), value);
    if (lanes == V::width) {
      value.store(y + r * c.y_row);
    } else {
      value.store(y + r * c.y_row, lanes);
    }
  }
}

// The same for K x K taps one row and one column apart: a loaded vector serves the taps of a column
// in all rows that see it. `weight(tap)` is a splat.
template <class T, int K, int R, class Weight>
TILEGRAD_INLINE void conv_plane_square(const ConvPlane<T>& c, const Weight& weight, const T* x,
                                       T* y, int lanes) {
  using V = Vec<T>;
  V sum[R];
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r) sum[r] = V::splat(c.bias);
#pragma GCC unroll 5
  for (int column = 0; column < K; ++column) {
#pragma GCC unroll 8
    for (int row = 0; row < R + K - 1; ++row) {
      const V value = V::load(x + c.offsets[column] + row * c.x_row);
#pragma GCC unroll 4
      for (int r = 0; r < R; ++r) {
        if (row < r || row - r >= K) continue;
        sum[r] = V::fma(weight((row - r) * K + column), value, sum[r]);
      }
    }
  }
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r) {
    const V value = c.relu ? V::max(V::zero(), sum[r]) : sum[r];
    if (lanes == V::width) {
      value.store(y + r * c.y_row);
    } else {
      value.store(y + r * c.y_row, lanes);
    }
  }
}

// block(Constant<R>, x, y, lanes) for all vectors of R rows at a time, from row v on while there
// are as many; returns the first row left.
template <class T, int R, class Block>
TILEGRAD_INLINE int64_t conv_plane_blocks(const ConvPlane<T>& c, int64_t v, const Block& block) {
  constexpr int W = Vec<T>::width;
  for (; v + R <= c.rows; v += R) {
    const T* x = c.x + v * c.x_row;
    T* y = c.y + v * c.y_row;
    for (int64_t u = 0; u < c.width; u += W) {
      block(Constant<R>(), x + u, y + u, c.width - u < W ? static_cast<int>(c.width - u) : W);
    }
  }
  return v;
}

template <class T, class Block>
TILEGRAD_INLINE void conv_plane_walk(const ConvPlane<T>& c, const Block& block) {
  const int64_t fours = conv_plane_blocks<T, 4>(c, 0, block);
  const int64_t pairs = conv_plane_blocks<T, 2>(c, fours, block);
  conv_plane_blocks<T, 1>(c, pairs, block);
}

template <class T>
void conv_plane(const ConvPlane<T>& c) {
  using V = Vec<T>;
  if (c.square == 3) {
    V weights[9];  // y may be w for all the compiler knows: keep them from being read again
    each<9>([&](auto i) TILEGRAD_ALWAYS { weights[i] = V::splat(c.weights[i]); });
    const auto weight = [&](int tap) TILEGRAD_ALWAYS { return weights[tap]; };
    conv_plane_walk(c, [&](auto rows, const T* x, T* y, int lanes) TILEGRAD_ALWAYS {
      conv_plane_square<T, 3, rows>(c, weight, x, y, lanes);
    });
  } else if (c.square == 5) {
    const auto weight = [&](int tap) TILEGRAD_ALWAYS { return V::splat(c.weights[tap]); };
    conv_plane_walk(c, [&](auto rows, const T* x, T* y, int lanes) TILEGRAD_ALWAYS {
      conv_plane_square<T, 5, rows>(c, weight, x, y, lanes);
    });
  } else {
    conv_plane_walk(c, [&](auto rows, const T* x, T* y, int lanes)
                           TILEGRAD_ALWAYS { conv_plane_rows<T, rows>(c, x, y, lanes); });
  }
}

// sum[row][column] += the products of g with x one row and one column apart: three rows of g meet
// each vector of x.
template <class T>
void conv_dot_square(const ConvDot<T>& d) {
  using V = Vec<T>;
  constexpr int W = V::width, K = 3;
  V sum[K][K];
#pragma GCC unroll 3
  for (int i = 0; i < K; ++i)
#pragma GCC unroll 3
    for (int j = 0; j < K; ++j) sum[i][j] = V::zero();
  for (int64_t image = 0; image < d.images; ++image) {
    for (int64_t u = 0; u < d.width; u += W) {
      const int lanes = d.width - u < W ? static_cast<int>(d.width - u) : W;
      const T* g = d.g + image * d.g_image + u;
      const T* x = d.x + image * d.x_image + d.offsets[0] + u;
      V newest = V::zero(), older = V::zero(), oldest = V::zero();
      for (int64_t y = 0; y < d.rows + K - 1; ++y, x += d.x_row) {
        oldest = older;
        older = newest;
        if (y < d.rows) newest = V::load(g + y * d.g_row, lanes);
#pragma GCC unroll 3
        for (int j = 0; j < K; ++j) {
          const V value = V::load(x + j, lanes);
          if (y < d.rows) sum[0][j] = V::fma(newest, value, sum[0][j]);
          if (y >= 1 && y <= d.rows) sum[1][j] = V::fma(older, value, sum[1][j]);
          if (y >= 2) sum[2][j] = V::fma(oldest, value, sum[2][j]);
        }
      }
    }
  }
#pragma GCC unroll 3
  for (int i = 0; i < K; ++i)
#pragma GCC unroll 3
    for (int j = 0; j < K; ++j) d.out[i * K + j] += V::sum(sum[i][j]);
}
