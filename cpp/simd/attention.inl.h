// Rows of scores that are in cache; sums in the order of reduce.inl.h.

template <class T>
TILEGRAD_INLINE int64_t seen_columns(const ScoreBlock<T>& block, int64_t r) {
  const int64_t seen = block.seen + r;
  return seen < 0 ? 0 : seen < block.columns ? seen : block.columns;
}

template <class T>
TILEGRAD_INLINE void add_row(int64_t n, const T* added, T* scores) {
  for_vectors<T>(n, [=](int64_t i, auto count) TILEGRAD_LAMBDA {
    store_lanes(load_lanes(scores + i, count) + load_lanes(added + i, count), scores + i, count);
  });
}

template <class T>
TILEGRAD_INLINE void zero_row(int64_t n, T* x) {
  for_vectors<T>(
      n, [=](int64_t i, auto count) TILEGRAD_LAMBDA { store_lanes(Vec<T>::zero(), x + i, count); });
}

template <class T>
TILEGRAD_INLINE T scalar_exp(T x) {
  T lanes[Vec<T>::width];
  Math<T>::exp(Vec<T>::splat(x)).store(lanes);
  return lanes[0];
}

template <class T>
void attention_weigh(const ScoreBlock<T>& block, T* top, T* sum, T* shrink) {
  for (int64_t r = 0; r < block.rows; ++r) {
    T* scores = block.scores + r * block.row;
    const int64_t n = seen_columns(block, r);
    zero_row(block.columns - n, scores + n);
    shrink[r] = T(1);
    if (n == 0) continue;
    if (block.added != nullptr) add_row(n, block.added + r * block.added_row, scores);
    const T before = top[r];
    const T now = MaxReduction<T>::combine(before, softmax_top(n, scores));
    // where all is hidden so far, nothing is subtracted: exp(-inf) is 0
    const T shift = now == -MathConstants<T>::infinity ? T(0) : now;
    const T added = shifted_exponentials(n, scores, shift, scores);
    if (before != now) shrink[r] = scalar_exp(before - now);
    sum[r] = sum[r] * shrink[r] + added;
    top[r] = now;
  }
}

template <class T>
void attention_scale(int64_t rows, int64_t n, const T* factor, T* out, int64_t row) {
  using V = Vec<T>;
  for (int64_t r = 0; r < rows; ++r) {
    if (factor[r] == T(1)) continue;
    T* x = out + r * row;
    const V f = V::splat(factor[r]);
    for_vectors<T>(n, [=](int64_t i, auto count) TILEGRAD_LAMBDA {
      store_lanes(load_lanes(x + i, count) * f, x + i, count);
    });
  }
}

template <class T>
void attention_finish(int64_t rows, int64_t n, const T* top, const T* sum, T* out, int64_t row,
                      T* log_sum) {
  for (int64_t r = 0; r < rows; ++r) {
    if (sum[r] == T(0)) {
      log_sum[r] = -MathConstants<T>::infinity;
      continue;
    }
    divide_row(n, out + r * row, sum[r]);
    log_sum[r] = top[r] + scalar_log<T>(sum[r]);
  }
}

template <class T>
void attention_dots(int64_t rows, int64_t n, const T* a, int64_t a_row, const T* b, int64_t b_row,
                    T* out) {
  for (int64_t r = 0; r < rows; ++r) out[r] = row_dot(n, a + r * a_row, b + r * b_row);
}

template <class T>
void attention_slopes(const ScoreBlock<T>& block, const T* log_sum, const T* dot, const T* kept,
                      T* d) {
  using V = Vec<T>;
  for (int64_t r = 0; r < block.rows; ++r, d += block.row) {
    T* scores = block.scores + r * block.row;
    // a row that sees nothing has log_sum -inf
    const int64_t n = log_sum[r] == -MathConstants<T>::infinity ? 0 : seen_columns(block, r);
    zero_row(block.columns - n, scores + n);
    zero_row(block.columns - n, d + n);
    if (block.added != nullptr) add_row(n, block.added + r * block.added_row, scores);
    const V shift = V::splat(log_sum[r]), constant = V::splat(dot[r]);
    const T* keep = kept == nullptr ? nullptr : kept + r * block.row;
    for_vectors<T>(n, [=](int64_t i, auto count) TILEGRAD_LAMBDA {
      const V p = Math<T>::exp(load_lanes(scores + i, count) - shift);
      V slope = load_lanes(d + i, count), weight = p;
      if (keep != nullptr) {
        const V k = load_lanes(keep + i, count);
        slope = slope * k;
        weight = weight * k;
      }
      store_lanes(p * (slope - constant), d + i, count);
      store_lanes(weight, scores + i, count);
    });
  }
}

template <class T>
constexpr AttentionKernels<T> attention_kernels() {
  return {attention_weigh<T>, attention_scale<T>, attention_finish<T>, attention_dots<T>,
          attention_slopes<T>};
}
