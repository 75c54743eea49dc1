// Convolution's register tile and its dot products; see simd/conv.h for the contracts.

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
