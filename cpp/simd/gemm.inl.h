// The bodies of the inner kernels: see simd/gemm.h for their contracts.

// Between the k loops of two tiles the multipliers live on what the reorder buffer still holds,
// some 100 cycles: whatever is not arithmetic has to stay within a few hundred instructions.

// C = relu(alpha tile + beta D + bias), skipping what does not apply.
template <class T, int ROWS, int VECTORS, bool MASKED>
TILEGRAD_INLINE void gemm_finish(const Tile<T>& t, Vec<T> (&tile)[ROWS][VECTORS]) {
  using V = Vec<T>;
  constexpr int W = V::width;
  const bool scaled = t.alpha != T(1), biased = t.row_bias != nullptr || t.column_bias != nullptr;
  const int last = t.last;
  const auto each = [&](auto value_of) {
    T* row = t.c;
    const T* from = t.d;
    const int64_t c_row = t.c_row, d_row = t.d_row;
#pragma GCC unroll 16
    for (int i = 0; i < ROWS; ++i, row += c_row, from += d_row) {
#pragma GCC unroll 8
      for (int j = 0; j < VECTORS; ++j) {
        const bool masked = MASKED && j == VECTORS - 1;
        const auto load = [masked, last](const T* p) {
          return masked ? V::load(p, last) : V::load(p);
        };
        const V value = value_of(tile[i][j], from + j * W, i, j, load);
        masked ? value.store(row + j * W, last) : value.store(row + j * W);
      }
    }
  };
  if (!scaled && !biased && !t.relu && t.beta == T(0)) {
    each([](V x, const T*, int, int, auto) { return x; });
  } else if (!scaled && !biased && !t.relu && t.beta == T(1)) {
    each([](V x, const T* d, int, int, auto load) { return load(d) + x; });
  } else {
    each([&](V x, const T* d, int i, int j, auto load) {
      if (scaled) x = V::splat(t.alpha) * x;
      if (t.beta != T(0)) x = V::fma(V::splat(t.beta), load(d), x);
      if (t.row_bias != nullptr) x = x + V::splat(t.row_bias[i]);
      if (t.column_bias != nullptr) x = x + load(t.column_bias + j * W);
      return t.relu ? V::max(V::zero(), x) : x;  // zero first: a NaN stays
    });
  }
}

// One register tile. The rows of A are reached from every third row's pointer with the scaled
// strides 0, 1 and 2, which x86 addressing does for free: one kernel serves packed and unpacked
// operands of any strides. Lost attempts: unrolling k by 2 or 4 (no gain), k-major panels of A
// where a plain copy of its rows will do (no gain, and a transposition to pay).
template <class T, int ROWS, int VECTORS, bool MASKED>
void gemm_tile(const Tile<T>& t) {
  using V = Vec<T>;
  constexpr int W = V::width, ANCHORS = (ROWS + 2) / 3;
  const int last = t.last;
  V tile[ROWS][VECTORS];
  if (t.acc == nullptr) {
#pragma GCC unroll 16
    for (int i = 0; i < ROWS; ++i) {
#pragma GCC unroll 8
      for (int j = 0; j < VECTORS; ++j) tile[i][j] = V::zero();
    }
  } else {
    const T* row = t.acc;
#pragma GCC unroll 16
    for (int i = 0; i < ROWS; ++i, row += t.acc_row) {
#pragma GCC unroll 8
      for (int j = 0; j < VECTORS; ++j) {
        tile[i][j] = MASKED && j == VECTORS - 1 ? V::load(row + j * W, last) : V::load(row + j * W);
      }
    }
  }
  // C's lines are far away when a block of k is long: ask for them now, write them after the loop.
  // The second line of a pair comes along by itself.
  if (t.k >= 64) {
    const T* row = t.c;
#pragma GCC unroll 16
    for (int i = 0; i < ROWS; ++i, row += t.c_row) __builtin_prefetch(row, 1);
  }
  const T* a[ANCHORS];
#pragma GCC unroll 16
  for (int i = 0; i < ANCHORS; ++i) a[i] = t.a + 3 * i * t.a_row;
  // The next panel of A comes from L2 meanwhile, as many lines per step as a step reads elements.
  constexpr int AHEAD = ROWS * VECTORS >= 16 ? (ROWS * static_cast<int>(sizeof(T)) + 63) / 64 : 0;
  const char* ahead = reinterpret_cast<const char*>(t.ahead);
  const int64_t ahead_step = t.ahead_step, b_ahead = t.b_ahead;
  const T* b = t.b;
  const int64_t a_row = t.a_row, a_step = t.a_step, b_step = t.b_step;
  for (int64_t p = t.k; p > 0; --p) {
#pragma GCC unroll 2
    for (int i = 0; i < AHEAD; ++i) __builtin_prefetch(ahead + 64 * i);
    if (AHEAD > 0) ahead += ahead_step;
    if (ROWS <= 6 && b_ahead != 0) {
#pragma GCC unroll 8
      for (int j = 0; j < VECTORS; ++j) __builtin_prefetch(b + b_ahead + j * W);
    }
    V row[VECTORS];
#pragma GCC unroll 8
    for (int j = 0; j < VECTORS; ++j) {
      row[j] = MASKED && j == VECTORS - 1 ? V::load(b + j * W, last) : V::load(b + j * W);
    }
    b += b_step;
#pragma GCC unroll 16
    for (int i = 0; i < ROWS; ++i) {
      const V x = V::splat(a[i / 3][(i % 3) * a_row]);
#pragma GCC unroll 8
      for (int j = 0; j < VECTORS; ++j) tile[i][j] = V::fma(x, row[j], tile[i][j]);
    }
#pragma GCC unroll 16
    for (int i = 0; i < ANCHORS; ++i) a[i] += a_step;
  }
  gemm_finish<T, ROWS, VECTORS, MASKED>(t, tile);
}

template <class T, int ROWS, int COLUMNS>
void gemm_dot(const DotTile<T>& t) {
  using V = Vec<T>;
  constexpr int W = V::width;
  V even[ROWS][COLUMNS], odd[ROWS][COLUMNS];
#pragma GCC unroll 4
  for (int i = 0; i < ROWS; ++i) {
#pragma GCC unroll 4
    for (int j = 0; j < COLUMNS; ++j) even[i][j] = odd[i][j] = V::zero();
  }
  const auto step = [&t](V(&sum)[ROWS][COLUMNS], int64_t p, int count) {
    V x[ROWS];
#pragma GCC unroll 4
    for (int i = 0; i < ROWS; ++i) {
      const T* at = t.a + i * t.a_row + p;
      __builtin_prefetch(at + t.ahead);
      x[i] = count < W ? V::load(at, count) : V::load(at);
    }
#pragma GCC unroll 4
    for (int j = 0; j < COLUMNS; ++j) {
      const T* at = t.b + j * t.b_row + p;
      const V y = count < W ? V::load(at, count) : V::load(at);
#pragma GCC unroll 4
      for (int i = 0; i < ROWS; ++i) sum[i][j] = V::fma(x[i], y, sum[i][j]);
    }
  };
  int64_t p = 0;
  for (; p + 2 * W <= t.k; p += 2 * W) {
    step(even, p, W);
    step(odd, p + W, W);
  }
  if (p + W <= t.k) {
    step(even, p, W);
    p += W;
  }
  if (p < t.k) step(odd, p, static_cast<int>(t.k - p));
#pragma GCC unroll 4
  for (int i = 0; i < ROWS; ++i) {
#pragma GCC unroll 4
    for (int j = 0; j < COLUMNS; ++j) {
      T value = t.alpha * V::sum(even[i][j] + odd[i][j]);
      T& c = t.c[i * t.c_row + j * t.c_column];
      if (t.beta != T(0)) value += t.beta * c;
      if (t.row_bias != nullptr) value += t.row_bias[i];
      if (t.column_bias != nullptr) value += t.column_bias[j];
      c = t.relu && value < T(0) ? T(0) : value;
    }
  }
}

template <class T>
void gemm_pack_copy(int64_t k, int count, int width, const T* in, int64_t in_step, T* out,
                    int64_t out_step) {
  using V = Vec<T>;
  constexpr int W = V::width;
  const int full = count / W * W, rest = count - full;
  for (int64_t p = 0; p < k; ++p, in += in_step, out += out_step) {
    int x = 0;
    for (; x < full; x += W) {
      __builtin_prefetch(in + 2 * in_step + x);  // rows are short: no stream for the hardware
      V::load(in + x).store(out + x);
    }
    for (; x < width; x += W) V::load(in + x, rest + full - x).store(out + x, width - x);
  }
}

template <class T>
void gemm_pack_panels(int64_t k, int64_t n, int width, const T* in, int64_t in_step, T* out) {
  using V = Vec<T>;
  constexpr int W = V::width;
  for (int64_t p = 0; p < k; ++p) {
    const T* from = in + p * in_step;
    T* to = out + p * width;
    int64_t left = n;
    for (; left >= width; left -= width, to += k * width) {
      for (int x = 0; x < width; x += W) {
        __builtin_prefetch(from + 2 * in_step + x);
        V::load(from + x).store(to + x);
      }
      from += width;
    }
    if (left == 0) continue;
    for (int x = 0; x < width; x += W) V::load(from + x, static_cast<int>(left) - x).store(to + x);
  }
}

template <class T>
void gemm_pack_transpose(int64_t k, int count, int width, const T* in, int64_t in_step, T* out,
                         int64_t out_step) {
  using V = Vec<T>;
  constexpr int W = V::width;
  for (int64_t p = 0; p < k; p += W) {
    const int steps = k - p < W ? static_cast<int>(k - p) : W;
    for (int x = 0; x < width; x += W) {
      V block[W];
#pragma GCC unroll 16
      for (int i = 0; i < W; ++i) {
        const T* at = in + (x + i) * in_step + p;
        __builtin_prefetch(at +
                           4 * W);  // four lines on: too many streams for the hardware to follow
        block[i] = x + i >= count ? V::zero() : steps == W ? V::load(at) : V::load(at, steps);
      }
      V::transpose(block);
      T* to = out + p * out_step + x;
#pragma GCC unroll 16
      for (int i = 0; i < W; ++i) {
        if (i < steps) block[i].store(to + i * out_step, width - x);
      }
    }
  }
}

template <class T>
double gemm_fma_burst(int64_t rounds, T* sink) {
  using V = Vec<T>;
  constexpr int CHAINS = 12;  // latency of 4 to 5 cycles x 2 pipes, and registers left in every ISA
  const V scale = V::splat(T(0.999)), shift = V::splat(T(0.001));
  V x[CHAINS];
#pragma GCC unroll 16
  for (int i = 0; i < CHAINS; ++i) x[i] = V::splat(T(i));
  for (int64_t round = 0; round < rounds; ++round) {
#pragma GCC unroll 16
    for (int i = 0; i < CHAINS; ++i) x[i] = V::fma(x[i], scale, shift);
  }
  T total = T(0);
#pragma GCC unroll 16
  for (int i = 0; i < CHAINS; ++i) total += V::sum(x[i]);
  *sink = total;
  return static_cast<double>(rounds) * CHAINS * V::width;
}

// The table: tiles of every height up to kGemmRows, as wide as gemm_vectors(height) allows.
template <class T, int ROWS, int CHOICE>
constexpr void gemm_add_tile(GemmKernels<T>& kernels) {
  constexpr int VECTORS = kGemmWidths[CHOICE];
  if constexpr (VECTORS <= gemm_vectors(ROWS)) {
    kernels.tile[ROWS][CHOICE][0] = gemm_tile<T, ROWS, VECTORS, false>;
    kernels.tile[ROWS][CHOICE][1] = gemm_tile<T, ROWS, VECTORS, true>;
  }
}

template <class T, int ROWS>
constexpr void gemm_add_rows(GemmKernels<T>& kernels) {
  if constexpr (ROWS > 0) {
    kernels.vectors[ROWS] = gemm_vectors(ROWS);
    gemm_add_tile<T, ROWS, 0>(kernels);
    gemm_add_tile<T, ROWS, 1>(kernels);
    gemm_add_tile<T, ROWS, 2>(kernels);
    gemm_add_tile<T, ROWS, 3>(kernels);
    gemm_add_rows<T, ROWS - 1>(kernels);
  }
}

template <class T, int ROWS, int COLUMNS>
constexpr void gemm_add_dots(GemmKernels<T>& kernels) {
  kernels.dot[ROWS][COLUMNS] = gemm_dot<T, ROWS, COLUMNS>;
  if constexpr (COLUMNS > 1) {
    gemm_add_dots<T, ROWS, COLUMNS - 1>(kernels);
  } else if constexpr (ROWS > 1) {
    gemm_add_dots<T, ROWS - 1, kGemmDotColumns>(kernels);
  }
}

template <class T>
constexpr GemmKernels<T> gemm_kernels() {
  GemmKernels<T> kernels{};
  kernels.width = Vec<T>::width;
  kernels.mr = kGemmRows;
  for (int i = 0; i < kVectorChoices; ++i) kernels.widths[i] = kGemmWidths[i];
  gemm_add_rows<T, kGemmRows>(kernels);
  kernels.dot_rows = kGemmDotRows;
  kernels.dot_columns = kGemmDotColumns;
  gemm_add_dots<T, kGemmDotRows, kGemmDotColumns>(kernels);
  kernels.pack_copy = gemm_pack_copy<T>;
  kernels.pack_panels = gemm_pack_panels<T>;
  kernels.pack_transpose = gemm_pack_transpose<T>;
  kernels.fma_burst = gemm_fma_burst<T>;
  return kernels;
}
