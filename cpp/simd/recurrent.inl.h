// One pass per row: every gate is read, activated and used while it is in registers.

template <class T>
void lstm_row(int64_t n, const T* before, T* gates, T* cell, T* h) {
  using M = Math<T>;
  for_vectors<T>(n, [=](int64_t i, auto count) TILEGRAD_LAMBDA {
    const auto input = M::sigmoid(load_lanes(gates + i, count));
    const auto forget = M::sigmoid(load_lanes(gates + n + i, count));
    const auto fresh = M::tanh(load_lanes(gates + 2 * n + i, count));
    const auto output = M::sigmoid(load_lanes(gates + 3 * n + i, count));
    const auto c = forget * load_lanes(before + i, count) + input * fresh;
    store_lanes(input, gates + i, count);
    store_lanes(forget, gates + n + i, count);
    store_lanes(fresh, gates + 2 * n + i, count);
    store_lanes(output, gates + 3 * n + i, count);
    store_lanes(c, cell + i, count);
    store_lanes(output * M::tanh(c), h + i, count);
  });
}

template <class T>
void lstm_grad_row(int64_t n, const T* gates, const T* before, const T* cell, const T* dh, T* dc,
                   T* dz) {
  using V = Vec<T>;
  using M = Math<T>;
  for_vectors<T>(n, [=](int64_t i, auto count) TILEGRAD_LAMBDA {
    const V one = V::splat(T(1));
    const V input = load_lanes(gates + i, count), forget = load_lanes(gates + n + i, count);
    const V fresh = load_lanes(gates + 2 * n + i, count);
    const V output = load_lanes(gates + 3 * n + i, count);
    const V tanh_c = M::tanh(load_lanes(cell + i, count)), g = load_lanes(dh + i, count);
    const V gc = load_lanes(dc + i, count) + g * output * (one - tanh_c * tanh_c);
    store_lanes(gc * fresh * (input * (one - input)), dz + i, count);
    store_lanes(gc * load_lanes(before + i, count) * (forget * (one - forget)), dz + n + i, count);
    store_lanes(gc * input * (one - fresh * fresh), dz + 2 * n + i, count);
    store_lanes(g * tanh_c * (output * (one - output)), dz + 3 * n + i, count);
    store_lanes(gc * forget, dc + i, count);
  });
}

template <class T>
constexpr RecurrentKernels<T> recurrent_kernels() {
  return {lstm_row<T>, lstm_grad_row<T>};
}
