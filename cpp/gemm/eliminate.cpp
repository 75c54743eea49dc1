#include "gemm/eliminate.h"

#include <algorithm>
#include <utility>

#include "gemm/gemm.h"
#include "runtime/threads.h"
#include "simd/table.h"

namespace tilegrad::gemm {
namespace {

// Rows that are eliminated one by one, and columns; larger blocks are products of halves.
constexpr int64_t kRows = 32;

int64_t half_of(int64_t n) { return (n / 2 + kRows - 1) / kRows * kRows; }

template <class T>
const simd::TriangularKernels<T>& kernels() {
  if constexpr (sizeof(T) == 4) {
    return simd::table().triangular_f32;
  } else {
    return simd::table().triangular_f64;
  }
}

template <class T>
void exchange_columns(int64_t rows, int64_t n, T* a, int64_t begin, int64_t end,
                      const int64_t* pivots) {
  for (int64_t r = 0; r < rows; ++r, a += n) {
    for (int64_t i = begin; i < end; ++i) std::swap(a[i], a[pivots[i]]);
  }
}

// `rows` rows at `a` times the inverse of the p x p unit upper triangle at `above`, in place.
template <class T>
void solve_right(int64_t rows, int64_t p, const T* above, int64_t n, T* a) {
  if (p > kRows) {
    const int64_t half = half_of(p);
    solve_right(rows, half, above, n, a);
    gemm<T>({rows, p - half, half, T(-1), T(1), {a, n, 1}, {above + half, n, 1}, {a + half, n, 1}});
    solve_right(rows, p - half, above + half * (n + 1), n, a + half);
    return;
  }
  for (int64_t i = 0; i < rows; ++i) kernels<T>().eliminate(p, p, above, n, a + i * n);
}

// Eliminates rows begin ... end by each other; columns are exchanged within these rows only.
template <class T>
void eliminate_rows(int64_t begin, int64_t end, int64_t n, T* a, int64_t* pivots) {
  if (runtime::interrupted()) return;
  const int64_t rows = end - begin;
  if (rows > kRows) {
    const int64_t half = half_of(rows), middle = begin + half;
    const T* above = a + begin * (n + 1);
    T* below = a + middle * n + begin;
    eliminate_rows(begin, middle, n, a, pivots);
    exchange_columns(end - middle, n, a + middle * n, begin, middle, pivots);
    solve_right(end - middle, half, above, n, below);
    gemm<T>({end - middle,
             n - middle,
             half,
             T(-1),
             T(1),
             {below, n, 1},
             {above + half, n, 1},
             {below + half, n, 1}});
    eliminate_rows(middle, end, n, a, pivots);
    exchange_columns(half, n, a + begin * n, middle, end, pivots);
    return;
  }
  const simd::TriangularKernels<T>& kernel = kernels<T>();
  for (int64_t i = begin; i < end; ++i) {
    T* row = a + i * n;
    kernel.eliminate(i - begin, n - begin, a + begin * (n + 1), n, row + begin);
    pivots[i] = i + kernel.largest(n - i, row + i);
    if (pivots[i] != i) exchange_columns(rows, n, a + begin * n, i, i + 1, pivots);
    if (row[i] != T(0)) kernel.divide(n - i - 1, row[i], row + i + 1);
  }
}

}  // namespace

template <class T>
void eliminate(int64_t m, int64_t n, T* a, int64_t* pivots) {
  const int64_t steps = std::min(m, n);
  eliminate_rows(0, steps, n, a, pivots);
  if (m == steps || runtime::interrupted()) return;
  exchange_columns(m - steps, n, a + steps * n, 0, steps, pivots);
  solve_right(m - steps, steps, a, n, a + steps * n);
}

template void eliminate<float>(int64_t, int64_t, float*, int64_t*);
template void eliminate<double>(int64_t, int64_t, double*, int64_t*);

}  // namespace tilegrad::gemm
