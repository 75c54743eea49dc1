#include "gemm/triangular.h"

#include <algorithm>

#include "runtime/threads.h"
#include "runtime/workspace.h"
#include "simd/table.h"

namespace tilegrad::gemm {
namespace {

// Rows that are substituted one by one; all others are products of halves, which pack and write
// each element log2(n / kRows) times. Products of kRows rows with all before them took 1.3 times as
// long.
constexpr int64_t kRows = 32;

template <class T>
const simd::TriangularKernels<T>& kernels() {
  if constexpr (sizeof(T) == 4) {
    return simd::table().triangular_f32;
  } else {
    return simd::table().triangular_f64;
  }
}

// Solves for n rows of X, `step` elements apart, with the lower triangle at `a`.
template <class T>
void solve_lower(int64_t n, bool unit, const Matrix<const T>& a, int64_t k, T* x, int64_t step,
                 T* block) {
  if (runtime::interrupted()) return;
  if (n > kRows) {
    const int64_t half = (n / 2 + kRows - 1) / kRows * kRows;
    T* rest = x + half * step;
    const T *below = a.data + half * a.rs, *corner = below + half * a.cs;
    solve_lower(half, unit, a, k, x, step, block);
    gemm<T>({n - half, k, half, T(-1), T(1), {below, a.rs, a.cs}, {x, step, 1}, {rest, step, 1}});
    solve_lower(n - half, unit, {corner, a.rs, a.cs}, k, rest, step, block);
    return;
  }
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = 0; j <= i; ++j) block[i * n + j] = a.data[i * a.rs + j * a.cs];
  }
  kernels<T>().substitute(n, unit, block, k, x, step);
}

// An upper triangle is a lower one with rows and columns counted from the end.
template <class T>
void solve_with(const Triangle<T>& t, int64_t k, T* x, T* block) {
  if (!t.upper) {
    solve_lower(t.n, t.unit, t.a, k, x, k, block);
  } else if (t.n > 0) {
    const T* last = t.a.data + (t.n - 1) * (t.a.rs + t.a.cs);
    solve_lower(t.n, t.unit, {last, -t.a.rs, -t.a.cs}, k, x + (t.n - 1) * k, -k, block);
  }
}

template <class T>
void exchange_rows(int64_t k, T* x, int64_t i, int64_t j) {
  if (i != j) std::swap_ranges(x + i * k, x + (i + 1) * k, x + j * k);
}

}  // namespace

template <class T>
void solve_triangular(const Triangle<T>& t, int64_t k, T* x) {
  const runtime::Scratch scratch(sizeof(T) * kRows * kRows);
  solve_with(t, k, x, scratch.as<T>());
}

template <class T>
void solve_factored(const Factored<T>& a, bool transposed, int64_t k, T* x) {
  const int64_t n = a.n;
  const runtime::Scratch scratch(sizeof(T) * kRows * kRows);
  T* block = scratch.as<T>();
  if (transposed) {  // D^-T E^-T P^T
    for (int64_t i = 0; i < n; ++i) exchange_rows(k, x, i, a.pivots[i]);
    solve_with<T>({n, {a.factors, 1, n}, false, true}, k, x, block);
    solve_with<T>({n, {a.factors, 1, n}, true, false}, k, x, block);
  } else {  // P E^-1 D^-1
    solve_with<T>({n, {a.factors, n, 1}, false, false}, k, x, block);
    solve_with<T>({n, {a.factors, n, 1}, true, true}, k, x, block);
    for (int64_t i = n - 1; i >= 0; --i) exchange_rows(k, x, i, a.pivots[i]);
  }
}

template <class T>
void invert_factored(const Factored<T>& a, T* x) {
  // Above its ones a column of the identity stays 0 in the first substitution: columns in blocks
  // save up to two thirds of that.
  constexpr int64_t kColumns = 64;
  const int64_t n = a.n;
  const runtime::Scratch scratch(sizeof(T) * kRows * kRows);
  T* block = scratch.as<T>();
  std::fill_n(x, n * n, T(0));
  for (int64_t i = 0; i < n; ++i) x[i * (n + 1)] = T(1);
  for (int64_t j = 0; j < n; j += kColumns) {
    const int64_t corner = j * (n + 1);
    solve_lower(n - j, false, {a.factors + corner, n, 1}, std::min(kColumns, n - j), x + corner, n,
                block);
  }
  solve_with<T>({n, {a.factors, n, 1}, true, true}, n, x, block);
  for (int64_t i = n - 1; i >= 0; --i) exchange_rows(n, x, i, a.pivots[i]);
}

template void solve_triangular<float>(const Triangle<float>&, int64_t, float*);
template void solve_triangular<double>(const Triangle<double>&, int64_t, double*);
template void solve_factored<float>(const Factored<float>&, bool, int64_t, float*);
template void solve_factored<double>(const Factored<double>&, bool, int64_t, double*);
template void invert_factored<float>(const Factored<float>&, float*);
template void invert_factored<double>(const Factored<double>&, double*);

}  // namespace tilegrad::gemm
