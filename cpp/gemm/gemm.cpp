// The product: which of the ways (ways.h) it takes, by size and layout.
#include "gemm/gemm.h"

#include "gemm/ways.h"
#include "runtime/cpu.h"
#include "runtime/threads.h"
#include "runtime/workspace.h"

namespace tilegrad::gemm {
namespace {

thread_local bool invariant = false;

// C with contiguous rows, and k > 0.
template <class T>
void multiply(const Product<T>& g) {
  const auto& kernel = kernels<T>();
  if (wants_small(g)) {
    small(g);
    return activate(g, 0, g.m, 0, g.n);
  }
  const bool plain_b = g.b.cs == 1 && g.b_packed == nullptr && g.b_source == nullptr;
  const int threads = runtime::threads_for(multiply_adds(g.m, g.n, g.k), kThreadGrain);
  if (wants_dots(g)) {
    dots(g, threads);
    return activate(g, 0, g.m, 0, g.n);
  }
  if (g.k <= kThinDepth && plain_b && k_block(g.k) == g.k) {
    thin(g, threads);
    return activate(g, 0, g.m, 0, g.n);
  }
  const Panels rows{g.m, divide_up(g.m, kernel.mr)};
  // A packed operand has the widest tile's panels of the tallest tile, whatever m is.
  const bool small_m = plain_b;
  const int tallest = static_cast<int>(divide_up(g.m, rows.parts));
  const int vectors = kernel.vectors[small_m ? tallest : kernel.mr];
  const bool a_rows = g.a.cs == 1, b_rows = g.b.cs == 1;
  const Blocking plan = choose_blocking(
      {g.m, g.n, g.k, sizeof(T), kernel.mr, kernel.width, vectors, a_rows, b_rows}, caches());
  if (plan.sliced && plain_b) {
    sliced(g, plan.kc, threads);
    return activate(g, 0, g.m, 0, g.n);
  }
  blocked(g, plan, rows, int64_t{kernel.width} * vectors, threads);
}

template <class T>
Product<T> transposed(const Product<T>& g) {
  Product<T> t = g;
  t.m = g.n;
  t.n = g.m;
  t.a = {g.b.data, g.b.cs, g.b.rs};
  t.b = {g.a.data, g.a.cs, g.a.rs};
  t.c = {g.c.data, g.c.cs, g.c.rs};
  t.row_bias = g.column_bias;
  t.column_bias = g.row_bias;
  return t;
}

// C with neither rows nor columns contiguous: the product goes to a copy.
template <class T>
void through_copy(const Product<T>& g) {
  const runtime::Scratch scratch(sizeof(T) * static_cast<size_t>(g.m * g.n));
  Product<T> copy = g;
  copy.c = {scratch.as<T>(), g.n, 1};
  if (g.beta != T(0)) {
    for (int64_t i = 0; i < g.m; ++i) {
      for (int64_t j = 0; j < g.n; ++j)
        copy.c.data[i * g.n + j] = g.c.data[i * g.c.rs + j * g.c.cs];
    }
  }
  multiply(copy);
  for (int64_t i = 0; i < g.m; ++i) {
    for (int64_t j = 0; j < g.n; ++j) g.c.data[i * g.c.rs + j * g.c.cs] = copy.c.data[i * g.n + j];
  }
}

// Nothing to multiply: C = relu(beta C + bias), with a k of zero rows.
template <class T>
void without_product(Product<T> g) {
  for (int64_t i = 0; i < g.m; ++i) {
    for (int64_t j = 0; j < g.n; ++j) {
      T& c = g.c.data[i * g.c.rs + j * g.c.cs];
      T value = g.beta == T(0) ? T(0) : g.beta * c;
      if (g.row_bias != nullptr) value += g.row_bias[i];
      if (g.column_bias != nullptr) value += g.column_bias[j];
      c = g.relu && value < T(0) ? T(0) : value;
      const T* in = &c;
      const int64_t step = 1;
      if (g.activation != nullptr) g.activation(1, &in, &step, &c, nullptr);
    }
  }
}

}  // namespace

const Caches& caches() {
  static const Caches sizes{runtime::cpu_info().l1d_bytes, runtime::cpu_info().l2_bytes,
                            runtime::cpu_info().l3_bytes};
  return sizes;
}

// An activation other than relu, on rows [i0, i1) and columns [j0, j1) of C.
template <class T>
void activate(const Product<T>& g, int64_t i0, int64_t i1, int64_t j0, int64_t j1) {
  if (g.activation == nullptr) return;
  const int64_t step = 1;
  for (int64_t i = i0; i < i1; ++i) {
    T* row = g.c.data + i * g.c.rs + j0;
    const T* in = row;
    g.activation(j1 - j0, &in, &step, row, nullptr);
  }
}

bool batch_invariant() { return invariant; }
void set_batch_invariant(bool on) { invariant = on; }

template <class T>
void gemm(const Product<T>& g) {
  if (g.m == 0 || g.n == 0) return;
  if (g.k == 0 || g.alpha == T(0)) return without_product(g);
  const bool plain_b = g.b_packed == nullptr && g.b_source == nullptr;
  const bool rows = g.c.cs == 1 || g.n == 1, columns = (g.c.rs == 1 || g.m == 1) && plain_b;
  // A single column is a row of the transposed product: tiles run along m then.
  if (columns && (!rows || (g.n == 1 && !wants_dots(g)))) return multiply(transposed(g));
  if (!rows) return through_copy(g);
  if (g.n == 1 && g.b.cs != 1) {  // one column: its stride is free to choose
    Product<T> column = g;
    if (!wants_dots(g)) column.b.cs = 1;
    return multiply(column);
  }
  multiply(g);
}

template <class T>
void gemm_in_cache(const Product<T>& g) {
  small(g);
}

template void activate<float>(const Product<float>&, int64_t, int64_t, int64_t, int64_t);
template void activate<double>(const Product<double>&, int64_t, int64_t, int64_t, int64_t);
template void gemm<float>(const Product<float>&);
template void gemm<double>(const Product<double>&);
template void gemm_in_cache<float>(const Product<float>&);
template void gemm_in_cache<double>(const Product<double>&);

}  // namespace tilegrad::gemm
