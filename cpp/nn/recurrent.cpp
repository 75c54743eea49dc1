#include "nn/recurrent.h"

#include <algorithm>
#include <type_traits>

#include "gemm/gemm.h"
#include "runtime/threads.h"
#include "runtime/workspace.h"
#include "simd/table.h"

namespace tilegrad::nn {
namespace {

using gemm::Matrix;
using runtime::Scratch;

template <class T>
const simd::RecurrentKernels<T>& kernels() {
  if constexpr (std::is_same_v<T, float>) {
    return simd::table().recurrent_f32;
  } else {
    return simd::table().recurrent_f64;
  }
}

// The step's matrix, laid out once for all steps: c += a b, for contiguous a (m, k) and c (m, n).
template <class T>
class Weights {
 public:
  Weights(int64_t k, int64_t n, Matrix<const T> b)
      : k_(k), n_(n), scratch_(sizeof(T) * static_cast<size_t>(gemm::packed_size<T>(k, n))) {
    gemm::pack_b<T>(k, n, b, scratch_.template as<T>());
  }

  void multiply(int64_t m, const T* a, T beta, T* c) {
    const gemm::PackedB<T> packed{scratch_.template as<T>(), k_, n_};
    gemm::Product<T> product{m, n_, k_, T(1), beta, {a, k_, 1}, {nullptr, 0, 0}, {c, n_, 1}};
    product.b_packed = &packed;
    gemm::gemm(product);
  }

 private:
  int64_t k_, n_;
  Scratch scratch_;
};

// dw (wide, hidden) = beta dw + dx^T h, for contiguous dx (rows, wide) and h (rows, hidden).
template <class T>
void add_outer(int64_t rows, int64_t wide, int64_t hidden, const T* dx, const T* h, T beta, T* dw) {
  gemm::gemm(gemm::Product<T>{
      wide, hidden, rows, T(1), beta, {dx, 1, wide}, {h, hidden, 1}, {dw, hidden, 1}});
}

}  // namespace

template <class T>
void lstm(const Recurrence& size, const T* x, const T* h0, const T* c0, const T* w, T* y, T* cells,
          T* gates) {
  const auto [steps, batch, hidden] = size;
  const int64_t wide = 4 * hidden, state = batch * hidden;
  if (steps == 0 || state == 0) return;
  Weights<T> weights(hidden, wide, {w, 1, hidden});  // W^T
  for (int64_t t = 0; t < steps; ++t, x += batch * wide, gates += batch * wide) {
    const T* h = t == 0 ? h0 : y + (t - 1) * state;
    const T* c = t == 0 ? c0 : cells + (t - 1) * state;
    std::copy_n(x, batch * wide, gates);
    weights.multiply(batch, h, T(1), gates);
    for (int64_t r = 0; r < batch; ++r) {
      const int64_t at = t * state + r * hidden;
      kernels<T>().lstm(hidden, c + r * hidden, gates + r * wide, cells + at, y + at);
    }
    if (runtime::interrupted()) return;
  }
}

template <class T>
void lstm_grad(const Recurrence& size, const T* gy, const T* gc, const T* y, const T* cells,
               const T* gates, const T* h0, const T* c0, const T* w, T* dx, T* dh0, T* dc0, T* dw) {
  const auto [steps, batch, hidden] = size;
  const int64_t wide = 4 * hidden, state = batch * hidden;
  std::fill_n(dh0, state, T(0));  // dh0 and dc0 carry the gradients from step to step
  std::fill_n(dc0, state, T(0));
  std::fill_n(dw, wide * hidden, T(0));
  if (steps == 0 || state == 0) return;
  Weights<T> weights(wide, hidden, {w, hidden, 1});
  for (int64_t t = steps - 1; t >= 0; --t) {
    const T* before = t == 0 ? c0 : cells + (t - 1) * state;
    T* dz = dx + t * batch * wide;
    for (int64_t i = 0; gy != nullptr && i < state; ++i) dh0[i] += gy[t * state + i];
    for (int64_t i = 0; gc != nullptr && i < state; ++i) dc0[i] += gc[t * state + i];
    for (int64_t r = 0; r < batch; ++r) {
      const int64_t row = r * hidden;
      kernels<T>().lstm_grad(hidden, gates + (t * batch + r) * wide, before + row,
                             cells + t * state + row, dh0 + row, dc0 + row, dz + r * wide);
    }
    weights.multiply(batch, dz, T(0), dh0);
    if (runtime::interrupted()) return;
  }
  add_outer(batch, wide, hidden, dx, h0, T(0), dw);
  if (steps > 1) add_outer((steps - 1) * batch, wide, hidden, dx + batch * wide, y, T(1), dw);
}

#define TILEGRAD_INSTANTIATE(T)                                                                   \
  template void lstm<T>(const Recurrence&, const T*, const T*, const T*, const T*, T*, T*, T*);   \
  template void lstm_grad<T>(const Recurrence&, const T*, const T*, const T*, const T*, const T*, \
                             const T*, const T*, const T*, T*, T*, T*, T*);
TILEGRAD_INSTANTIATE(float)
TILEGRAD_INSTANTIATE(double)
#undef TILEGRAD_INSTANTIATE

}  // namespace tilegrad::nn
