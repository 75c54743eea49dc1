// The copies that bring images into the form convolution reads; see simd/conv.h for the contracts.

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

template <class T>
void conv_add(int64_t n, const T* x, T* sum) {
  using V = Vec<T>;
  constexpr int W = V::width;
  int64_t i = 0;
  for (; i + W <= n; i += W) (V::load(sum + i) + V::load(x + i)).store(sum + i);
  if (i < n) {
    const int rest = static_cast<int>(n - i);
    (V::load(sum + i, rest) + V::load(x + i, rest)).store(sum + i, rest);
  }
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
