// Rows in at most four passes, each over cache where a row fits: largest element, exponentials,
// sum, quotient. Exact shapes of the sums: reduce.inl.h.

// How many lanes count: all of them, which masks would slow down, or an int.
struct AllLanes {};

template <class T>
TILEGRAD_INLINE Vec<T> load_lanes(const T* p, AllLanes) {
  return Vec<T>::load(p);
}
template <class T>
TILEGRAD_INLINE Vec<T> load_lanes(const T* p, int count) {
  return Vec<T>::load(p, count);
}
template <class T>
TILEGRAD_INLINE void store_lanes(Vec<T> v, T* p, AllLanes) {
  v.store(p);
}
template <class T>
TILEGRAD_INLINE void store_lanes(Vec<T> v, T* p, int count) {
  v.store(p, count);
}

// function(i, lanes) for every vector of n elements.
template <class T, class Function>
TILEGRAD_INLINE void for_vectors(int64_t n, Function function) {
  constexpr int W = Vec<T>::width;
  int64_t i = 0;
#pragma GCC unroll 2
  for (; i + W <= n; i += W) function(i, AllLanes{});
  if (i < n) function(i, static_cast<int>(n - i));
}

template <class T>
TILEGRAD_INLINE T softmax_top(int64_t n, const T* x) {
  return reduce_lanes<T, MaxReduction>(reduce_row<T, MaxReduction>(n, x));
}

template <class T>
TILEGRAD_INLINE T softmax_sum(int64_t n, const T* x) {
  return Vec<T>::sum(reduce_row<T, SumReduction>(n, x));
}

// y = exp(x - shift); their sum.
template <class T>
TILEGRAD_INLINE T shifted_exponentials(int64_t n, const T* x, T shift, T* y) {
  using V = Vec<T>;
  for_vectors<T>(n, [=](int64_t i, auto count) TILEGRAD_LAMBDA {
    store_lanes(Math<T>::exp(load_lanes(x + i, count) - V::splat(shift)), y + i, count);
  });
  return softmax_sum(n, y);
}

template <class T>
TILEGRAD_INLINE T scalar_log(T x) {
  T lanes[Vec<T>::width];
  Math<T>::log(Vec<T>::splat(x)).store(lanes);
  return lanes[0];
}

template <class T>
TILEGRAD_INLINE void divide_row(int64_t n, T* y, T divisor) {
  using V = Vec<T>;
  for_vectors<T>(n, [=](int64_t i, auto count) TILEGRAD_LAMBDA {
    store_lanes(load_lanes(y + i, count) / V::splat(divisor), y + i, count);
  });
}

template <class T>
void softmax_rows(int64_t rows, int64_t n, const T* x, T* y) {
  for (int64_t r = 0; r < rows; ++r, x += n, y += n) {
    divide_row(n, y, shifted_exponentials(n, x, softmax_top(n, x), y));
  }
}

// log(sum(exp(x - shift))) with a buffer of one block: the sum of the blocks' sums.
template <class T>
T log_sum_of_exponentials(int64_t n, const T* x, T shift) {
  constexpr int64_t kBlock = 512;
  if (n > kBlock) {
    T sums[2 * kBlock];
    int64_t blocks = 0;
    T total = 0;
    for (int64_t i = 0; i < n; i += kBlock) {
      T buffer[kBlock];
      sums[blocks++] = shifted_exponentials(n - i < kBlock ? n - i : kBlock, x + i, shift, buffer);
      if (blocks == 2 * kBlock) {
        total += softmax_sum(blocks, sums);
        blocks = 0;
      }
    }
    return scalar_log<T>(total + softmax_sum(blocks, sums));
  }
  T buffer[kBlock];
  return scalar_log<T>(shifted_exponentials(n, x, shift, buffer));
}

template <class T>
void log_softmax_rows(int64_t rows, int64_t n, const T* x, T* y) {
  using V = Vec<T>;
  for (int64_t r = 0; r < rows; ++r, x += n, y += n) {
    const T top = softmax_top(n, x), log_sum = log_sum_of_exponentials(n, x, top);
    for_vectors<T>(n, [=](int64_t i, auto count) TILEGRAD_LAMBDA {
      store_lanes((load_lanes(x + i, count) - V::splat(top)) - V::splat(log_sum), y + i, count);
    });
  }
}

// sum(g y) of a row, in the order of reduce_row over the products.
template <class T>
T row_dot(int64_t n, const T* g, const T* y) {
  constexpr int64_t kBlock = 512;
  if (n > kBlock) {
    const int64_t half = (n / 2 + kBlock - 1) / kBlock * kBlock;
    return row_dot(half, g, y) + row_dot(n - half, g + half, y + half);
  }
  T products[kBlock];
  for_vectors<T>(n, [=, &products](int64_t i, auto count) TILEGRAD_LAMBDA {
    store_lanes(load_lanes(g + i, count) * load_lanes(y + i, count), products + i, count);
  });
  return softmax_sum(n, products);
}

template <class T>
void softmax_grad_rows(int64_t rows, int64_t n, const T* g, const T* y, T* dx) {
  using V = Vec<T>;
  for (int64_t r = 0; r < rows; ++r, g += n, y += n, dx += n) {
    const T dot = row_dot(n, g, y);
    for_vectors<T>(n, [=](int64_t i, auto count) TILEGRAD_LAMBDA {
      store_lanes(load_lanes(y + i, count) * (load_lanes(g + i, count) - V::splat(dot)), dx + i,
                  count);
    });
  }
}

template <class T>
void log_softmax_grad_rows(int64_t rows, int64_t n, const T* g, const T* y, T* dx) {
  using V = Vec<T>;
  for (int64_t r = 0; r < rows; ++r, g += n, y += n, dx += n) {
    const T sum = softmax_sum(n, g);
    for_vectors<T>(n, [=](int64_t i, auto count) TILEGRAD_LAMBDA {
      store_lanes(load_lanes(g + i, count) - Math<T>::exp(load_lanes(y + i, count)) * V::splat(sum),
                  dx + i, count);
    });
  }
}

template <class T>
void softmax_statistics(int64_t rows, int64_t n, const T* x, T* y, T* top, T* log_sum) {
  for (int64_t r = 0; r < rows; ++r, x += n) {
    top[r] = softmax_top(n, x);
    if (y == nullptr) {
      const T finite = top[r] - top[r] == T(0) ? top[r] : T(0);
      log_sum[r] = log_sum_of_exponentials(n, x, finite);
      continue;
    }
    const T sum = shifted_exponentials(n, x, top[r], y + r * n);
    log_sum[r] = scalar_log<T>(sum);
    divide_row(n, y + r * n, sum);
  }
}

template <class T>
constexpr SoftmaxKernels<T> softmax_kernels() {
  return {softmax_rows<T>, log_softmax_rows<T>, softmax_grad_rows<T>, log_softmax_grad_rows<T>,
          softmax_statistics<T>};
}
