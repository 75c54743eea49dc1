// Layer and root-mean-square normalisation: statistics per row, weights along it.
#include "nn/norm.h"

#include "nn/norm_line.h"
#include "runtime/threads.h"
#include "runtime/workspace.h"

namespace tilegrad::nn {
namespace {

constexpr double kGrain = 1e5;  // elements worth a thread: some 20 us
constexpr int64_t kTaskElements = 1 << 14;
constexpr int64_t kMostSums = 16;  // private sums of dw and db

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

int threads_for(int64_t elements) {
  return runtime::threads_for(static_cast<double>(elements), kGrain);
}

// body(row) for all rows, some rows a task.
template <class Body>
void for_rows(int64_t rows, int64_t size, Body&& body) {
  const int64_t step = std::max<int64_t>(1, kTaskElements / std::max<int64_t>(1, size));
  runtime::parallel_for(ceil_div(rows, step), threads_for(rows * size), [&](int64_t task) {
    if (runtime::interrupted()) return;
    for (int64_t r = task * step; r < std::min(rows, (task + 1) * step); ++r) body(r);
  });
}

// body(row, dw, db) for all rows, in chunks with private sums that are added in order.
template <class T, class Body>
void for_rows_with_sums(int64_t rows, int64_t size, T* dw, T* db, Body&& body) {
  const int64_t step = std::max(ceil_div(rows, kMostSums),
                                std::max<int64_t>(1, kTaskElements / std::max<int64_t>(1, size)));
  const int64_t chunks = std::max<int64_t>(1, ceil_div(rows, step));
  const runtime::Scratch scratch(sizeof(T) * static_cast<size_t>(2 * chunks * size + 1));
  T* const sums = scratch.as<T>();
  set_zero(sums, 2 * chunks * size);
  runtime::parallel_for(chunks, threads_for(rows * size), [&](int64_t chunk) {
    if (runtime::interrupted()) return;
    T* sum = sums + 2 * chunk * size;
    for (int64_t r = chunk * step; r < std::min(rows, (chunk + 1) * step); ++r) {
      body(r, sum, sum + size);
    }
  });
  for (int64_t chunk = 1; chunk < chunks; ++chunk) {
    conv_kernels<T>().add(2 * size, sums + 2 * chunk * size, sums);
  }
  std::memcpy(dw, sums, sizeof(T) * static_cast<size_t>(size));
  if (db != nullptr) std::memcpy(db, sums + size, sizeof(T) * static_cast<size_t>(size));
}

}  // namespace

template <class T>
void layer_norm(int64_t rows, int64_t size, const T* x, const T* weight, const T* bias, double eps,
                T* y, T* mean, T* rstd) {
  for_rows(rows, size, [&](int64_t r) {
    const Moments<T> m = moments(Line{1, size, size}, x + r * size);
    mean[r] = static_cast<T>(m.mean());
    rstd[r] = static_cast<T>(1 / std::sqrt(m.var + eps));
    norm_kernels<T>().normalize(size, x + r * size, m.shift, m.rest, rstd[r], weight, bias,
                                y + r * size);
  });
}

template <class T>
void layer_norm_grad(int64_t rows, int64_t size, const T* g, const T* x, const T* mean,
                     const T* rstd, const T* weight, T* dx, T* dw, T* db) {
  for_rows_with_sums(rows, size, dw, db, [&](int64_t r, T* dw_sum, T* db_sum) {
    const int64_t at = r * size;
    const auto count = static_cast<double>(size), scale = static_cast<double>(rstd[r]);
    double h = 0, hd = 0, d = 0;
    Line{1, size, size}.for_blocks([&](int64_t i, int64_t n) {
      const auto sums = norm_kernels<T>().grad_sums(
          n, g + at + i, x + at + i, weight != nullptr ? weight + i : nullptr, mean[r]);
      h += static_cast<double>(sums.g);
      hd += static_cast<double>(sums.gd);
      d += static_cast<double>(sums.d);
    });
    const double rest = d / count;
    norm_kernels<T>().grad(size, g + at, x + at, weight, T(1), mean[r], static_cast<T>(rest),
                           rstd[r], rstd[r], static_cast<T>(h / count),
                           static_cast<T>(scale * (hd - rest * h) / count), dx + at, dw_sum,
                           db_sum);
  });
}

template <class T>
void rms_norm(int64_t rows, int64_t size, const T* x, const T* weight, double eps, T* y, T* rrms) {
  for_rows(rows, size, [&](int64_t r) {
    const T* row = x + r * size;
    rrms[r] = static_cast<T>(1 / std::sqrt(mean_square(Line{1, size, size}, row) + eps));
    norm_kernels<T>().normalize(size, row, T(0), T(0), rrms[r], weight, nullptr, y + r * size);
  });
}

// As layer norm with nothing taken off: xhat = x * rrms.
template <class T>
void rms_norm_grad(int64_t rows, int64_t size, const T* g, const T* x, const T* rrms,
                   const T* weight, T* dx, T* dw) {
  for_rows_with_sums<T>(rows, size, dw, nullptr, [&](int64_t r, T* dw_sum, T* db_sum) {
    const int64_t at = r * size;
    const auto scale = static_cast<double>(rrms[r]);
    double hx = 0;
    Line{1, size, size}.for_blocks([&](int64_t i, int64_t n) {
      hx += static_cast<double>(
          norm_kernels<T>()
              .grad_sums(n, g + at + i, x + at + i, weight != nullptr ? weight + i : nullptr, T(0))
              .gd);
    });
    norm_kernels<T>().grad(size, g + at, x + at, weight, T(1), T(0), T(0), rrms[r], rrms[r], T(0),
                           static_cast<T>(scale * hx / static_cast<double>(size)), dx + at, dw_sum,
                           db_sum);
  });
}

#define TILEGRAD_NORM(T)                                                                           \
  template void layer_norm<T>(int64_t, int64_t, const T*, const T*, const T*, double, T*, T*, T*); \
  template void layer_norm_grad<T>(int64_t, int64_t, const T*, const T*, const T*, const T*,       \
                                   const T*, T*, T*, T*);                                          \
  template void rms_norm<T>(int64_t, int64_t, const T*, const T*, double, T*, T*);                 \
  template void rms_norm_grad<T>(int64_t, int64_t, const T*, const T*, const T*, const T*, T*, T*);
TILEGRAD_NORM(float)
TILEGRAD_NORM(double)
#undef TILEGRAD_NORM

}  // namespace tilegrad::nn
