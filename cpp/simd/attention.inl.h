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

// Lane i of the result: all lanes of x[i] combined. A row's own lanes would take as long to combine
// as some hundred numbers take to exponentiate, so rows are combined together, one in each lane.
template <class T, template <class> class R>
TILEGRAD_INLINE Vec<T> combine_rows(Vec<T> (&x)[Vec<T>::width]) {
  Vec<T>::transpose(x);
#pragma GCC unroll 4
  for (int half = Vec<T>::width / 2; half >= 1; half /= 2) {
#pragma GCC unroll 8
    for (int i = 0; i < half; ++i) x[i] = R<T>::combine(x[i], x[i + half]);
  }
  return x[0];
}

// function(first, lanes) for groups of as many rows as a vector has lanes.
template <class T, class Function>
TILEGRAD_INLINE void for_row_groups(int64_t rows, Function function) {
  constexpr int W = Vec<T>::width;
  for (int64_t first = 0; first < rows; first += W) {
    function(first, rows - first < W ? static_cast<int>(rows - first) : W);
  }
}

template <class T>
TILEGRAD_INLINE Vec<T> load_or(const T* p, AllLanes, Vec<T>) {
  return Vec<T>::load(p);
}
template <class T>
TILEGRAD_INLINE Vec<T> load_or(const T* p, int count, Vec<T> rest) {
  return Vec<T>::load(p, count, rest);
}

// scores += added where there is something to add; the largest score of each lane.
template <class T>
TILEGRAD_INLINE Vec<T> masked_top(int64_t n, const T* added, T* scores) {
  using V = Vec<T>;
  const V none = V::splat(-MathConstants<T>::infinity);
  V top = none;
  for_vectors<T>(n, [=, &top](int64_t i, auto count) TILEGRAD_LAMBDA {
    V x = load_or(scores + i, count, none);
    if (added != nullptr) {
      x = x + load_lanes(added + i, count);
      store_lanes(x, scores + i, count);
    }
    top = MaxReduction<T>::combine(top, x);
  });
  return top;
}

// scores = exp(scores - shift); the sum of each lane.
template <class T>
TILEGRAD_INLINE Vec<T> weights_of(int64_t n, T shift, T* scores) {
  using V = Vec<T>;
  const V none = V::splat(-MathConstants<T>::infinity), by = V::splat(shift);
  V sum = V::zero();
  for_vectors<T>(n, [=, &sum](int64_t i, auto count) TILEGRAD_LAMBDA {
    const V weight = Math<T>::exp(load_or(scores + i, count, none) - by);
    store_lanes(weight, scores + i, count);
    sum = sum + weight;
  });
  return sum;
}

template <class T>
void attention_weigh(const ScoreBlock<T>& block, T* top, T* sum, T* shrink) {
  using V = Vec<T>;
  constexpr int W = V::width;
  const V none = V::splat(-MathConstants<T>::infinity), one = V::splat(T(1));
  for_row_groups<T>(block.rows, [&](int64_t first, int lanes) TILEGRAD_LAMBDA {
    V tops[W], sums[W];
    for (int i = 0; i < W; ++i) {
      tops[i] = none;
      sums[i] = V::zero();
      if (i >= lanes) continue;
      const int64_t r = first + i, n = seen_columns(block, r);
      T* scores = block.scores + r * block.row;
      zero_row(block.columns - n, scores + n);
      const T* added = block.added == nullptr ? nullptr : block.added + r * block.added_row;
      tops[i] = masked_top(n, added, scores);
    }
    const V before = V::load(top + first, lanes);
    const V now = MaxReduction<T>::combine(before, combine_rows<T, MaxReduction>(tops));
    // where all is hidden so far, nothing is subtracted: exp(-inf) is 0
    T shifts[W];
    V::select(V::equal(now, none), V::zero(), now).store(shifts);
    for (int i = 0; i < lanes; ++i) {
      const int64_t r = first + i;
      sums[i] = weights_of(seen_columns(block, r), shifts[i], block.scores + r * block.row);
    }
    const V factor = V::select(V::equal(before, now), one, Math<T>::exp(before - now));
    const V total = V::load(sum + first, lanes) * factor + combine_rows<T, SumReduction>(sums);
    now.store(top + first, lanes);
    factor.store(shrink + first, lanes);
    total.store(sum + first, lanes);
  });
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
  using V = Vec<T>;
  const V one = V::splat(T(1)), none = V::splat(-MathConstants<T>::infinity);
  for_row_groups<T>(rows, [&](int64_t first, int lanes) TILEGRAD_LAMBDA {
    const V total = V::load(sum + first, lanes, one);
    const auto blind = V::equal(total, V::zero());
    const V sums = V::load(top + first, lanes) + Math<T>::log(total);
    V::select(blind, none, sums).store(log_sum + first, lanes);
    T factors[V::width];
    (one / V::select(blind, one, total)).store(factors);
    attention_scale(lanes, n, factors, out + first * row, row);
  });
}

template <class T>
void attention_dots(int64_t rows, int64_t n, const T* a, int64_t a_row, const T* b, int64_t b_row,
                    T* out) {
  using V = Vec<T>;
  for_row_groups<T>(rows, [=](int64_t first, int lanes) TILEGRAD_LAMBDA {
    V sums[V::width];
    for (int i = 0; i < V::width; ++i) {
      V sum = V::zero();
      const T *x = a + (first + i) * a_row, *y = b + (first + i) * b_row;
      if (i < lanes) {
        for_vectors<T>(n, [=, &sum](int64_t j, auto count) TILEGRAD_LAMBDA {
          sum = V::fma(load_lanes(x + j, count), load_lanes(y + j, count), sum);
        });
      }
      sums[i] = sum;
    }
    combine_rows<T, SumReduction>(sums).store(out + first, lanes);
  });
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
