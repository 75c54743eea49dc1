// One pass: every gate is read, activated and used while it is in registers.

// function(i, lanes) for the vectors of each row, with the pointers moved by `next` after it.
template <class T, class Function, class Next>
TILEGRAD_INLINE void for_row_vectors(int64_t rows, int64_t n, Function function, Next next) {
  for (int64_t r = 0; r < rows; ++r, next()) for_vectors<T>(n, function);
}

// sigmoid and tanh as quotients whose divisors are in [1, 2], so that several can share one
// division: it takes as long as a dozen products. A NaN in one of them is one in all, so only
// quotients that meet in one result are put together.
template <class T>
struct Quotient {
  Vec<T> top, bottom;
};

template <class T>
TILEGRAD_INLINE Quotient<T> sigmoid_quotient(Vec<T> x) {
  using V = Vec<T>;
  const V one = V::splat(T(1)), e = Math<T>::exp(-V::abs(x));
  return {V::select(V::less(x, V::zero()), e, one), one + e};
}

template <class T>
TILEGRAD_INLINE Quotient<T> tanh_quotient(Vec<T> x) {
  using V = Vec<T>;
  const V two = V::splat(T(2)), m = Math<T>::expm1(-two * V::abs(x));
  return {V::copysign(m, x), m + two};
}

template <class T>
TILEGRAD_INLINE void divide(const Quotient<T>& a, const Quotient<T>& b, Vec<T>& x, Vec<T>& y) {
  const Vec<T> both = Vec<T>::splat(T(1)) / (a.bottom * b.bottom);
  x = a.top * (b.bottom * both);
  y = b.top * (a.bottom * both);
}

template <class T>
TILEGRAD_INLINE void divide(const Quotient<T>& a, const Quotient<T>& b, const Quotient<T>& c,
                            Vec<T>& x, Vec<T>& y, Vec<T>& z) {
  const Vec<T> ab = a.bottom * b.bottom;
  const Vec<T> all = Vec<T>::splat(T(1)) / (ab * c.bottom);
  const Vec<T> both = c.bottom * all;
  x = a.top * (b.bottom * both);
  y = b.top * (a.bottom * both);
  z = c.top * (ab * all);
}

template <class T, class Count>
TILEGRAD_INLINE Vec<T> load_or_zero(const T* p, int64_t i, Count count) {
  return p == nullptr ? Vec<T>::zero() : load_lanes(p + i, count);
}

template <class T>
void lstm_rows(int64_t rows, int64_t n, const T* before, T* gates, T* cell, T* h) {
  using V = Vec<T>;
  const auto unit = [&](int64_t i, auto count) TILEGRAD_LAMBDA {
    V input, forget, fresh, output, tanh_c;
    divide(sigmoid_quotient(load_lanes(gates + i, count)),
           sigmoid_quotient(load_lanes(gates + n + i, count)),
           tanh_quotient(load_lanes(gates + 2 * n + i, count)), input, forget, fresh);
    const V c = forget * load_lanes(before + i, count) + input * fresh;
    divide(sigmoid_quotient(load_lanes(gates + 3 * n + i, count)), tanh_quotient(c), output,
           tanh_c);
    store_lanes(input, gates + i, count);
    store_lanes(forget, gates + n + i, count);
    store_lanes(fresh, gates + 2 * n + i, count);
    store_lanes(output, gates + 3 * n + i, count);
    store_lanes(c, cell + i, count);
    store_lanes(output * tanh_c, h + i, count);
  };
  for_row_vectors<T>(rows, n, unit, [&]() TILEGRAD_LAMBDA {
    before += n;
    gates += 4 * n;
    cell += n;
    h += n;
  });
}

template <class T>
void lstm_grad_rows(int64_t rows, int64_t n, const T* gates, const T* before, const T* cell,
                    const T* gy, const T* gc, const T* dh, int64_t dh_row, T* dc, T* dz,
                    int64_t dz_row) {
  using V = Vec<T>;
  using M = Math<T>;
  const V one = V::splat(T(1));
  const auto unit = [&](int64_t i, auto count) TILEGRAD_LAMBDA {
    const V input = load_lanes(gates + i, count), forget = load_lanes(gates + n + i, count);
    const V fresh = load_lanes(gates + 2 * n + i, count);
    const V output = load_lanes(gates + 3 * n + i, count);
    const V tanh_c = M::tanh(load_lanes(cell + i, count));
    const V g = load_lanes(dh + i, count) + load_or_zero(gy, i, count);
    const V later = load_lanes(dc + i, count) + load_or_zero(gc, i, count);
    const V slope = later + g * output * (one - tanh_c * tanh_c);
    store_lanes(slope * fresh * (input * (one - input)), dz + i, count);
    store_lanes(slope * load_lanes(before + i, count) * (forget * (one - forget)), dz + n + i,
                count);
    store_lanes(slope * input * (one - fresh * fresh), dz + 2 * n + i, count);
    store_lanes(g * tanh_c * (output * (one - output)), dz + 3 * n + i, count);
    store_lanes(slope * forget, dc + i, count);
  };
  for_row_vectors<T>(rows, n, unit, [&]() TILEGRAD_LAMBDA {
    gates += 4 * n;
    before += n;
    cell += n;
    if (gy != nullptr) gy += n;
    if (gc != nullptr) gc += n;
    dh += dh_row;
    dc += n;
    dz += dz_row;
  });
}

template <class T>
void gru_rows(int64_t rows, int64_t n, const T* before, T* gates, T* h) {
  using V = Vec<T>;
  const auto unit = [&](int64_t i, auto count) TILEGRAD_LAMBDA {
    V reset, update;
    divide(sigmoid_quotient(load_lanes(gates + i, count)),
           sigmoid_quotient(load_lanes(gates + n + i, count)), reset, update);
    const V share = load_lanes(gates + 3 * n + i, count);
    const V fresh = Math<T>::tanh(load_lanes(gates + 2 * n + i, count) + reset * share);
    store_lanes(reset, gates + i, count);
    store_lanes(update, gates + n + i, count);
    store_lanes(fresh, gates + 2 * n + i, count);
    store_lanes(fresh + update * (load_lanes(before + i, count) - fresh), h + i, count);
  };
  for_row_vectors<T>(rows, n, unit, [&]() TILEGRAD_LAMBDA {
    before += n;
    gates += 4 * n;
    h += n;
  });
}

template <class T>
void gru_grad_rows(int64_t rows, int64_t n, const T* gates, const T* before, const T* gy, T* dh,
                   int64_t dh_row, T* dz, int64_t dz_row) {
  using V = Vec<T>;
  const V one = V::splat(T(1));
  const auto unit = [&](int64_t i, auto count) TILEGRAD_LAMBDA {
    const V reset = load_lanes(gates + i, count), update = load_lanes(gates + n + i, count);
    const V fresh = load_lanes(gates + 2 * n + i, count);
    const V share = load_lanes(gates + 3 * n + i, count);
    const V g = load_lanes(dh + i, count) + load_or_zero(gy, i, count);
    const V by_fresh = g * (one - update) * (one - fresh * fresh);
    const V turned = load_lanes(before + i, count) - fresh;
    store_lanes(by_fresh * share * (reset * (one - reset)), dz + i, count);
    store_lanes(g * turned * (update * (one - update)), dz + n + i, count);
    store_lanes(by_fresh, dz + 2 * n + i, count);
    store_lanes(by_fresh * reset, dz + 3 * n + i, count);
    store_lanes(g * update, dh + i, count);
  };
  for_row_vectors<T>(rows, n, unit, [&]() TILEGRAD_LAMBDA {
    gates += 4 * n;
    before += n;
    if (gy != nullptr) gy += n;
    dh += dh_row;
    dz += dz_row;
  });
}

template <class T>
void plain_rows(int64_t rows, int64_t n, bool relu, T* h) {
  using V = Vec<T>;
  for_vectors<T>(rows * n, [=](int64_t i, auto count) TILEGRAD_LAMBDA {
    const V x = load_lanes(h + i, count);  // zero first: a NaN stays
    store_lanes(relu ? V::max(V::zero(), x) : Math<T>::tanh(x), h + i, count);
  });
}

template <class T>
void plain_grad_rows(int64_t rows, int64_t n, bool relu, const T* h, const T* gy, const T* dh,
                     int64_t dh_row, T* dz, int64_t dz_row) {
  using V = Vec<T>;
  const auto unit = [&](int64_t i, auto count) TILEGRAD_LAMBDA {
    const V y = load_lanes(h + i, count);
    const V g = load_lanes(dh + i, count) + load_or_zero(gy, i, count);
    const V passed = V::select(V::less(V::zero(), y), g, V::zero());
    store_lanes(relu ? passed : g * (V::splat(T(1)) - y * y), dz + i, count);
  };
  for_row_vectors<T>(rows, n, unit, [&]() TILEGRAD_LAMBDA {
    h += n;
    if (gy != nullptr) gy += n;
    dh += dh_row;
    dz += dz_row;
  });
}

template <class T>
constexpr RecurrentKernels<T> recurrent_kernels() {
  return {lstm_rows<T>,     lstm_grad_rows<T>, gru_rows<T>,
          gru_grad_rows<T>, plain_rows<T>,     plain_grad_rows<T>};
}
