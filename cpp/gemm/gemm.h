// C = f(alpha A B + beta C + bias) for matrices of any strides, the one product of this library.
//
// Letters, as in Goto and van de Geijn's paper and in BLIS: C is m x n, A is m x k, B is k x n;
// mr x nr is the register tile, mc, nc and kc the blocks of m, n and k; rs and cs are the strides
// of a matrix between its rows and between its columns.
//
//   alpha = 0 or k = 0   neither A nor B is read
//   beta = 0             C is not read
//   otherwise            NaN and Inf propagate as the arithmetic says
//   C                    must not overlap A, B or the biases, nor itself (no zero strides)
//   bits                 do not depend on the number of threads; an element's chain over k is cut
//   into
//                        the same blocks for every m, n and layout, except where operands that both
//                        run along k are multiplied by dot products (see Blocking::dot)
#pragma once

#include <cstdint>

namespace tilegrad::gemm {

template <class T>
struct Matrix {
  T* data;
  int64_t rs, cs;  // in elements, any sign
};

// A right operand laid out for the tiles, kept by its maker: see pack_b.
template <class T>
struct PackedB {
  const T* data;
  int64_t k, n;
};

// A right operand that exists only as panels: fills out[(p - p0) * width + (j - j0)] for the k rows
// from p0 and `count` columns from j0, zeros up to `width`. Called from any thread, for any order
// of panels.
template <class T>
struct PanelSource {
  void (*fill)(const void* context, int64_t p0, int64_t k, int64_t j0, int count, int width,
               T* out);
  const void* context;
};

template <class T>
struct Product {
  int64_t m, n, k;
  T alpha, beta;
  Matrix<const T> a, b;  // b.data is ignored where b_packed or b_source is given
  Matrix<T> c;
  const T* row_bias = nullptr;     // m values, added to every column
  const T* column_bias = nullptr;  // n values, added to every row
  bool relu = false;
  // Another activation: out[i] = f(in[0][i]) for i < n, in place, as in simd::ElementwiseKernels.
  void (*activation)(int64_t n, const T* const* in, const int64_t* steps, T* out,
                     const T* parameters) = nullptr;
  const PackedB<T>* b_packed = nullptr;
  const PanelSource<T>* b_source = nullptr;
};

// May use threads, up to the calling thread's limit; stops early when interrupted, C then is
// undefined. Throws std::bad_alloc.
template <class T>
void gemm(const Product<T>& product);

constexpr int kMostBatchAxes = 64;  // as many as NumPy's arrays have

// The same product for `batch` operands at distances (in elements) a_step, b_step, c_step.
template <class T>
struct Batch {
  int ndim;
  const int64_t* shape;
  const int64_t *a_steps, *b_steps, *c_steps;  // in elements, per batch axis; zero where broadcast
};
template <class T>
void gemm_batched(const Product<T>& first, const Batch<T>& batch);

// The same without threads, packing or a plan, for operands that are in cache: B and C with
// contiguous rows, B plain, and k at most longest_k_block().
template <class T>
void gemm_in_cache(const Product<T>& product);

// Elements that a packed right operand takes, and packing one. It fits the instruction set in use.
template <class T>
int64_t packed_size(int64_t k, int64_t n);
template <class T>
void pack_b(int64_t k, int64_t n, Matrix<const T> b, T* out);

// Inside the scope, an element's bits do not depend on m either: paths are chosen by n, k and
// layout. Per calling thread.
bool batch_invariant();
void set_batch_invariant(bool on);

}  // namespace tilegrad::gemm
