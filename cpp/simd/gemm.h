// The inner kernels of the matrix product as data: tile sizes and function pointers for one type.
//
// Letters: C is m x n, A is m x k, B is k x n. A register tile is `rows` x `vectors` registers of
// C.
#pragma once

#include <cstdint>

namespace tilegrad::simd {

// C[0:rows, 0:columns] = f(alpha (acc + A B) + beta D + bias) for one register tile.
//
//   A  rows x k       any strides: its elements are broadcast one by one. Fastest as a panel:
//                     a_row = 1, a_step = rows
//   B  k x columns    unit column stride, any row stride; readable only within `columns`
//   C  rows x columns unit column stride; written only
//   D  rows x columns unit column stride; not read when beta = 0; may be C
// Every element is one chain of fused multiply-adds in the order of k, whatever the tile's shape.
template <class T>
struct Tile {
  int64_t k;
  const T* a;
  int64_t a_row, a_step;  // strides in elements: between rows, along k
  const T* b;
  int64_t b_step;
  T* c;
  int64_t c_row;
  const T* d;
  int64_t d_row;
  T alpha, beta;
  const T* acc;  // where the chain begins: rows x columns, or null for zeros
  int64_t acc_row;
  const T* row_bias;     // one value per row, or null
  const T* column_bias;  // one value per column, or null
  bool relu;
  int last;         // columns in the last vector, 1 ... vector width
  int64_t b_ahead;  // tiles of few rows: prefetch B this many columns on, or 0
};

template <class T>
using TileKernel = void (*)(const Tile<T>&);

// C[0:rows, 0:columns] = alpha A B^T + beta C + bias where both operands run along k (unit k
// stride). Every element is two chains of vectors along k and one fixed reduction, whatever the
// tile's shape.
template <class T>
struct DotTile {
  int64_t k;
  const T* a;
  int64_t a_row;
  const T* b;
  int64_t b_row;  // stride between the columns of C
  T* c;
  int64_t c_row, c_column;
  T alpha, beta;
  const T* row_bias;
  const T* column_bias;
  bool relu;
  int64_t ahead;  // what to prefetch of A: this many elements past those in use
};

template <class T>
using DotKernel = void (*)(const DotTile<T>&);

constexpr int kMostRows = 14;                         // of any tile
constexpr int kVectorChoices = 4;                     // tiles are 1, 2, 4 or 8 vectors wide
constexpr int kMostDotRows = 4, kMostDotColumns = 3;  // of any dot tile

template <class T>
struct GemmKernels {
  int width;  // elements in a vector
  int mr;     // rows of the largest tile
  // The widest tile of each height, in vectors: 1, 2, 4 or 8 (the portable tile: 5).
  int vectors[kMostRows + 1];
  // tile[rows][i] is widths[i] vectors wide; [1] where the last vector is not full. Null where
  // absent.
  int widths[kVectorChoices];
  TileKernel<T> tile[kMostRows + 1][kVectorChoices][2];
  int dot_rows, dot_columns;  // the largest dot tile; every smaller one is there
  DotKernel<T> dot[kMostDotRows + 1][kMostDotColumns + 1];

  // out[p * out_step + x] = in[p * in_step + x] for p < k, x < count, and zeros for count <= x <
  // width.
  void (*pack_copy)(int64_t k, int count, int width, const T* in, int64_t in_step, T* out,
                    int64_t out_step);
  // Panels of `width` columns, whole vectors, from rows of n columns: element (p, x) of panel q is
  // out[q * k * width + p * width + x] = in[p * in_step + q * width + x], zeros past n.
  void (*pack_panels)(int64_t k, int64_t n, int width, const T* in, int64_t in_step, T* out);
  // As pack_copy, from a transposed source: out[p * out_step + x] = in[x * in_step + p].
  void (*pack_transpose)(int64_t k, int count, int width, const T* in, int64_t in_step, T* out,
                         int64_t out_step);

  // Independent chains of multiply-adds, as fast as the processor takes them; how many were done.
  double (*fma_burst)(int64_t rounds, T* sink);
};

}  // namespace tilegrad::simd
