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

// Whether row i of a tile takes its element of A by a load of its own, shared by the row's vectors,
// or in the memory operand of every multiply-add: fewer instructions, but a load each. Instructions
// are what binds on Intel (Emerald Rapids: 70 % of the peak with loads of their own, 85 without),
// two loads per cycle on AMD: a tile two vectors wide mixes them, and loads 26 times for 28.
template <int VECTORS>
constexpr bool gemm_splats(int i) {
  return VECTORS > 2 || (VECTORS == 2 && i % 4 == 0);
}

template <class T, int VECTORS>
TILEGRAD_INLINE void gemm_row(const T* a, bool splats, const Vec<T> (&row)[VECTORS],
                              Vec<T> (&sum)[VECTORS]) {
  using V = Vec<T>;
  if (splats || !V::reads_factor) {
    const V x = V::splat(*a);
#pragma GCC unroll 8
    for (int j = 0; j < VECTORS; ++j) sum[j] = V::fma(x, row[j], sum[j]);
  } else {
#pragma GCC unroll 8
    for (int j = 0; j < VECTORS; ++j) sum[j] = V::fma(a, row[j], sum[j]);
  }
}

// The loop over k where A is a panel: ROWS elements for each step of k, one step after the other.
// One pointer, whose offsets are constants. Lost attempts: unrolling by 4 or 8 (as fast as 2),
// prefetching the next panel (the hardware follows a single stream).
template <class T, int ROWS, int VECTORS, bool MASKED>
TILEGRAD_INLINE void gemm_panel_loop(const Tile<T>& t, Vec<T> (&tile)[ROWS][VECTORS]) {
  using V = Vec<T>;
  constexpr int W = V::width;
  const T *a = t.a, *b = t.b;
  const int64_t b_step = t.b_step;
  const int last = t.last;
  const auto step = [&](const T* column, const T* from) TILEGRAD_LAMBDA {
    V row[VECTORS];
#pragma GCC unroll 8
    for (int j = 0; j < VECTORS; ++j) {
      row[j] = MASKED && j == VECTORS - 1 ? V::load(from + j * W, last) : V::load(from + j * W);
    }
#pragma GCC unroll 16
    for (int i = 0; i < ROWS; ++i) {
      gemm_row<T, VECTORS>(column + i, gemm_splats<VECTORS>(i), row, tile[i]);
    }
  };
  int64_t p = t.k;
  for (; p >= 2; p -= 2) {
    step(a, b);
    step(a + ROWS, b + b_step);
    a += 2 * ROWS;
    b += 2 * b_step;
  }
  if (p > 0) step(a, b);
}

// The loop over k where A has any strides. Its rows are reached from every third row's pointer with
// the scaled strides 0, 1 and 2, which x86 addressing does for free, though only the first may be
// the operand of a multiply-add without costing a second instruction.
template <class T, int ROWS, int VECTORS, bool MASKED>
TILEGRAD_INLINE void gemm_strided_loop(const Tile<T>& t, Vec<T> (&tile)[ROWS][VECTORS]) {
  using V = Vec<T>;
  constexpr int W = V::width, ANCHORS = (ROWS + 2) / 3;
  const int last = t.last;
  const T* a[ANCHORS];
#pragma GCC unroll 16
  for (int i = 0; i < ANCHORS; ++i) a[i] = t.a + 3 * i * t.a_row;
  const T* b = t.b;
  const int64_t a_row = t.a_row, a_step = t.a_step, b_step = t.b_step, b_ahead = t.b_ahead;
  for (int64_t p = t.k; p > 0; --p) {
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
      gemm_row<T, VECTORS>(a[i / 3] + (i % 3) * a_row, VECTORS > 2 || i % 3 != 0, row, tile[i]);
    }
#pragma GCC unroll 16
    for (int i = 0; i < ANCHORS; ++i) a[i] += a_step;
  }
}

// One register tile.
template <class T, int ROWS, int VECTORS, bool MASKED>
void gemm_tile(const Tile<T>& t) {
  using V = Vec<T>;
  constexpr int W = V::width;
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
  // Panels have more than half of the largest tile's rows, or just half of them.
  constexpr bool PANELS = VECTORS <= 2 && 2 * ROWS >= kGemmRows;
  if (PANELS && t.a_row == 1 && t.a_step == ROWS) {
    gemm_panel_loop<T, ROWS, VECTORS, MASKED>(t, tile);
  } else {
    gemm_strided_loop<T, ROWS, VECTORS, MASKED>(t, tile);
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
      V::keep(x[i]);
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

// One row of whole panels, VECTORS vectors each and panel_step elements apart.
template <class T, int VECTORS>
TILEGRAD_INLINE void gemm_pack_row(int64_t panels, const T* from, const T* ahead, T* to,
                                   int64_t panel_step) {
  using V = Vec<T>;
  constexpr int W = V::width;
  for (; panels > 0; --panels, to += panel_step) {
#pragma GCC unroll 8
    for (int j = 0; j < VECTORS; ++j, from += W, ahead += W) {
      __builtin_prefetch(ahead);
      V::load(from).store(to + j * W);
    }
  }
}

template <class T>
void gemm_pack_panels(int64_t k, int64_t n, int width, const T* in, int64_t in_step, T* out) {
  using V = Vec<T>;
  constexpr int W = V::width, VECTORS = gemm_vectors(kGemmRows);
  const int64_t panels = n / width, left = n - panels * width;
  for (int64_t p = 0; p < k; ++p, in += in_step, out += width) {
    const T* ahead = in + 2 * in_step;
    if (width == VECTORS * W) {
      gemm_pack_row<T, VECTORS>(panels, in, ahead, out, k * width);
    } else {
      for (int64_t q = 0; q < panels; ++q) {
        for (int x = 0; x < width; x += W) {
          V::load(in + q * width + x).store(out + q * k * width + x);
        }
      }
    }
    if (left == 0) continue;
    for (int x = 0; x < width; x += W) {
      V::load(in + panels * width + x, static_cast<int>(left) - x)
          .store(out + panels * k * width + x);
    }
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
      const int rows = count - x < W ? count - x : W, lanes = width - x < W ? width - x : W;
      const T* at = in + x * in_step + p;
      T* to = out + p * out_step + x;
      V block[W];
      if (steps == W && rows == lanes) {  // nothing to fill up: rows past the last are not stored
#pragma GCC unroll 16
        for (int i = 0; i < W; ++i) {
          __builtin_prefetch(at + 4 * W);  // too many streams for the hardware to follow
          block[i] = V::load(at);
          at += i + 1 < rows ? in_step : 0;
        }
        V::transpose(block);
#pragma GCC unroll 16
        for (int i = 0; i < W; ++i, to += out_step) block[i].store(to, lanes);
      } else {
#pragma GCC unroll 16
        for (int i = 0; i < W; ++i) {
          block[i] = i < rows ? V::load(at + i * in_step, steps) : V::zero();
        }
        V::transpose(block);
#pragma GCC unroll 16
        for (int i = 0; i < W; ++i) {
          if (i < steps) block[i].store(to + i * out_step, lanes);
        }
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
