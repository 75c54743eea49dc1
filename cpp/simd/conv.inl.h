// Convolution's register tiles and copies over any vector; see simd/conv.h for the contracts.

#define TILEGRAD_ALWAYS __attribute__((always_inline))

// Registers hold rows x vectors sums, one row of vectors and one weight.
template <class T>
constexpr int conv_vectors(int rows) {
  const int registers = sizeof(Vec<T>) == 64 ? 32 : 16;
  const int vectors = (registers - 1) / (rows + 1);
  return vectors < kConvMaxVectors ? vectors : kConvMaxVectors;
}

// The tallest tile that is still two vectors wide: below that, loads outnumber the products.
template <class T>
constexpr int conv_rows() {
  int rows = 1;
  while (rows < kConvMaxRows && conv_vectors<T>(rows + 1) >= 2) ++rows;
  return rows;
}

// f(0), f(1), ..., f(N - 1) with constant arguments: a local array that is indexed only by these
// stays in registers from the first to the last line (an unrolled loop leaves it on the stack
// outside the inner loop, which cost a sixth of the time at 72 products).
template <int I>
struct Constant {
  constexpr operator int() const { return I; }
};
template <int N, class F>
TILEGRAD_INLINE void each(const F& f) {
  if constexpr (N > 0) {
    each<N - 1>(f);
    f(Constant<N - 1>());
  }
}
template <int M, int N, class F>
TILEGRAD_INLINE void each_of(const F& f) {
  each<M>([&](auto i) TILEGRAD_ALWAYS { each<N>([&](auto j) TILEGRAD_ALWAYS { f(i, j); }); });
}

// How many rows' weights the multiply-adds read from memory themselves, instead of a splat for all
// vectors of a row: fewer instructions, but a load for each vector. Loads must stay below two for
// each pair of multiply-adds, which leaves two rows with splats. A core whose other hyperthread is
// busy is bound by instructions: there it won a sixth, at tiles of 14 x 2; at 4 or more vectors it
// lost.
template <class T, int MR, int NV>
constexpr int conv_read_rows() {
  return Vec<T>::reads_factor && (NV == 2 || NV == 3) && MR > 2 ? MR - 2 : 0;
}

template <class T, int MR, int NV>
void conv_tile(const ConvTile<T>& t) {
  using V = Vec<T>;
  constexpr int W = V::width;
  V sum[MR][NV];
  T closed[MR * NV * W];  // finished chains
  const T* w = t.weights;
  const int64_t* offset = t.offsets;
  const int64_t chains = (t.k + kConvChain - 1) / kConvChain;
  const int64_t longest = chains > 1 ? (t.k + chains - 1) / chains : t.k;
  for (int64_t done = 0;;) {
    each_of<MR, NV>([&](auto i, auto j) TILEGRAD_ALWAYS { sum[i][j] = V::zero(); });
    const int64_t chain = t.k - done < longest ? t.k - done : longest;
    for (const int64_t* end = offset + chain; offset != end; ++offset, w += MR) {
      const T* x = t.x + *offset;
      V row[NV];
      each<NV>([&](auto j) TILEGRAD_ALWAYS { row[j] = V::load(x + j * W); });
      each<MR>([&](auto i) TILEGRAD_ALWAYS {
        if constexpr (i < conv_read_rows<T, MR, NV>()) {
          each<NV>([&](auto j) TILEGRAD_ALWAYS { sum[i][j] = V::fma(w + i, row[j], sum[i][j]); });
        } else {
          const V weight = V::splat(w[i]);
          each<NV>([&](auto j) TILEGRAD_ALWAYS { sum[i][j] = V::fma(weight, row[j], sum[i][j]); });
        }
      });
    }
    if (done > 0) {
      each_of<MR, NV>([&](auto i, auto j) TILEGRAD_ALWAYS {
        sum[i][j] = sum[i][j] + V::load(closed + (i * NV + j) * W);
      });
    }
    done += chain;
    if (done == t.k) break;
    each_of<MR, NV>([&](auto i, auto j)
                        TILEGRAD_ALWAYS { sum[i][j].store(closed + (i * NV + j) * W); });
  }
  if (t.bias != nullptr) {
    each<MR>([&](auto i) TILEGRAD_ALWAYS {
      const V bias = V::splat(t.bias[i]);
      each<NV>([&](auto j) TILEGRAD_ALWAYS { sum[i][j] = sum[i][j] + bias; });
    });
  }
  if (t.relu) {  // zero comes first: then a NaN stays one
    each_of<MR, NV>([&](auto i, auto j)
                        TILEGRAD_ALWAYS { sum[i][j] = V::max(V::zero(), sum[i][j]); });
  }
  const StoreSpan* span = t.spans;
  const StoreSpan* const last = span + t.span_count;
  each<NV>([&](auto j) TILEGRAD_ALWAYS {
    for (; span != last && span->vector == j; ++span) {
      T* y = t.y + span->at;
      const int from = span->from, to = span->to;
      if (t.accumulate) {
        each<MR>([&](auto i) TILEGRAD_ALWAYS {
          (sum[i][j] + V::load(y, to)).store(y, from, to);
          y += t.y_stride;
        });
      } else if (to - from == W) {
        each<MR>([&](auto i) TILEGRAD_ALWAYS {
          sum[i][j].store(y);
          y += t.y_stride;
        });
      } else {
        each<MR>([&](auto i) TILEGRAD_ALWAYS {
          sum[i][j].store(y, from, to);
          y += t.y_stride;
        });
      }
    }
  });
}

template <class T, int MR, int NR>
void conv_dot(const ConvDot<T>& d) {
  using V = Vec<T>;
  constexpr int W = V::width;
  V sum[MR][NR];
#pragma GCC unroll 16
  for (int i = 0; i < MR; ++i)
#pragma GCC unroll 16
    for (int j = 0; j < NR; ++j) sum[i][j] = V::zero();
  const int tail = static_cast<int>(d.width % W);
  for (int64_t image = 0; image < d.images; ++image) {
    for (int64_t y = 0; y < d.rows; ++y) {
      const T* g = d.g + image * d.g_image + y * d.g_row;
      const T* x = d.x + image * d.x_image + y * d.x_row;
      for (const T* end = g + (d.width - tail); g != end; g += W, x += W) {
        V left[MR];
#pragma GCC unroll 16
        for (int i = 0; i < MR; ++i) left[i] = V::load(g + i * d.g_channel);
#pragma GCC unroll 16
        for (int j = 0; j < NR; ++j) {
          const V right = V::load(x + d.offsets[j]);
#pragma GCC unroll 16
          for (int i = 0; i < MR; ++i) sum[i][j] = V::fma(left[i], right, sum[i][j]);
        }
      }
      if (tail > 0) {  // masked on both sides: what lies beyond the row may be infinite
        V left[MR];
#pragma GCC unroll 16
        for (int i = 0; i < MR; ++i) left[i] = V::load(g + i * d.g_channel, tail);
#pragma GCC unroll 16
        for (int j = 0; j < NR; ++j) {
          const V right = V::load(x + d.offsets[j], tail);
#pragma GCC unroll 16
          for (int i = 0; i < MR; ++i) sum[i][j] = V::fma(left[i], right, sum[i][j]);
        }
      }
    }
  }
#pragma GCC unroll 16
  for (int i = 0; i < MR; ++i)
#pragma GCC unroll 16
    for (int j = 0; j < NR; ++j) d.out[i * d.out_stride + j] += V::sum(sum[i][j]);
}

template <class T>
void conv_panel(int64_t k, const int64_t* offsets, const T* x, const PanelRun* runs,
                int64_t run_count, int64_t lanes, T* panel) {
  using V = Vec<T>;
  constexpr int W = V::width;
  for (const PanelRun* run = runs; run != runs + run_count; ++run) {
    for (int i = 0; i < run->count; i += W) {
      const T* from = x + run->from + i;
      T* to = panel + run->lane + i;
      const int count = run->count - i < W ? run->count - i : W;
      if (run->lane + i + W <= lanes) {
        for (int64_t p = 0; p < k; ++p, to += lanes) V::load(from + offsets[p]).store(to);
      } else {
        for (int64_t p = 0; p < k; ++p, to += lanes) V::load(from + offsets[p]).store(to, count);
      }
    }
  }
}

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

template <class T>
void conv_add(int64_t n, const T* x, T* sum) {
  using V = Vec<T>;
  constexpr int W = V::width;
  int64_t i = 0;
  for (; i + W <= n; i += W) (V::load(sum + i) + V::load(x + i)).store(sum + i);
  for (; i < n; ++i) sum[i] += x[i];
}

// Lane numbers for __builtin_shuffle, as wide as the elements they move.
template <int bytes>
struct TransposeIndex;
template <>
struct TransposeIndex<4> {
  typedef int32_t Type __attribute__((vector_size(16)));
};
template <>
struct TransposeIndex<8> {
  typedef int64_t Type __attribute__((vector_size(32)));
};

// Four by four elements at a time, in registers of 16 bytes or their pairs.
template <class T>
void conv_transpose(int64_t m, int64_t n, const T* in, int64_t in_stride, T* out,
                    int64_t out_stride) {
  typedef T Four __attribute__((vector_size(4 * sizeof(T)), aligned(sizeof(T))));
  using Index = typename TransposeIndex<sizeof(T)>::Type;
  int64_t i = 0;
  for (; i + 4 <= m; i += 4) {
    const T* from = in + i * in_stride;
    T* to = out + i;
    int64_t j = 0;
    for (; j + 4 <= n; j += 4, from += 4, to += 4 * out_stride) {
      const Four a = *reinterpret_cast<const Four*>(from);
      const Four b = *reinterpret_cast<const Four*>(from + in_stride);
      const Four c = *reinterpret_cast<const Four*>(from + 2 * in_stride);
      const Four d = *reinterpret_cast<const Four*>(from + 3 * in_stride);
      const Four ab = __builtin_shuffle(a, b, Index{0, 4, 1, 5});
      const Four cd = __builtin_shuffle(c, d, Index{0, 4, 1, 5});
      const Four ab_high = __builtin_shuffle(a, b, Index{2, 6, 3, 7});
      const Four cd_high = __builtin_shuffle(c, d, Index{2, 6, 3, 7});
      *reinterpret_cast<Four*>(to) = __builtin_shuffle(ab, cd, Index{0, 1, 4, 5});
      *reinterpret_cast<Four*>(to + out_stride) = __builtin_shuffle(ab, cd, Index{2, 3, 6, 7});
      *reinterpret_cast<Four*>(to + 2 * out_stride) =
          __builtin_shuffle(ab_high, cd_high, Index{0, 1, 4, 5});
      *reinterpret_cast<Four*>(to + 3 * out_stride) =
          __builtin_shuffle(ab_high, cd_high, Index{2, 3, 6, 7});
    }
    for (; j < n; ++j, ++from, to += out_stride) {
      for (int r = 0; r < 4; ++r) to[r] = from[r * in_stride];
    }
  }
  for (; i < m; ++i) {
    for (int64_t j = 0; j < n; ++j) out[j * out_stride + i] = in[i * in_stride + j];
  }
}

// p[0], p[stride], ... for `count` lanes; the others are not read, and zero.
template <class T>
TILEGRAD_INLINE Vec<T> load_every(const T* p, int64_t stride, int count) {
  using V = Vec<T>;
  constexpr int W = V::width;
  if (stride == 1) return V::load(p, count);
  if (stride == 2) return V::even(V::load(p, 2 * count - 1), V::load(p + W, 2 * count - 1 - W));
  T lanes[W];
  for (int i = 0; i < W; ++i) lanes[i] = i < count ? p[i * stride] : T(0);
  return V::load(lanes);
}

template <class T>
void conv_rows_to_window(int64_t rows, int64_t count, const T* from, int64_t from_row,
                         int64_t stride, T* to, int64_t pitch, int64_t last) {
  using V = Vec<T>;
  constexpr int W = V::width;
  for (int64_t r = 0; r < rows; ++r, from += from_row, to += pitch) {
    const int64_t length = r + 1 < rows ? pitch : last;
    int64_t i = 0;
    for (; i < count; i += W) {
      const int lanes = count - i < W ? static_cast<int>(count - i) : W;
      load_every(from + i * stride, stride, lanes).store(to + i);
    }
    for (; i < length; i += W) V::zero().store(to + i);
  }
}

template <class T, int MR, int NV>
constexpr void add_conv_tiles(ConvKernels<T>& kernels) {
  if constexpr (MR <= conv_rows<T>()) {
    kernels.tile[MR][NV] = conv_tile<T, MR, NV>;
    if constexpr (NV < conv_vectors<T>(MR)) {
      add_conv_tiles<T, MR, NV + 1>(kernels);
    } else {
      kernels.vectors[MR] = NV;
      add_conv_tiles<T, MR + 1, 1>(kernels);
    }
  }
}

template <class T, int MR, int NR>
constexpr void add_conv_dots(ConvKernels<T>& kernels) {
  kernels.dot[MR][NR] = conv_dot<T, MR, NR>;
  if constexpr (NR < kDotMaxColumns) {
    add_conv_dots<T, MR, NR + 1>(kernels);
  } else if constexpr (MR < kDotMaxRows) {
    add_conv_dots<T, MR + 1, 1>(kernels);
  }
}

template <class T>
constexpr ConvKernels<T> conv_kernels() {
  ConvKernels<T> kernels{};
  kernels.width = Vec<T>::width;
  kernels.rows = conv_rows<T>();
  add_conv_tiles<T, 1, 1>(kernels);
  add_conv_dots<T, 1, 1>(kernels);
  kernels.plane = conv_plane<T>;
  kernels.dot_square = conv_dot_square<T>;
  kernels.panel = conv_panel<T>;
  kernels.add = conv_add<T>;
  kernels.transpose = conv_transpose<T>;
  kernels.rows_to_window = conv_rows_to_window<T>;
  return kernels;
}
