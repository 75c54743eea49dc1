// Convolution's inner loops as data: one register tile that serves all three directions, and the
// copies that bring images into the form it reads.
#pragma once

#include <cstdint>

namespace tilegrad::simd {

// Lanes [from, to) of the tile's vector number `vector` go to y[row * y_stride + at + lane].
struct StoreSpan {
  int32_t vector, from, to;
  int64_t at;
};

// One tile: y[i, lane] = act(bias[i] + sum over p < k of weights[p, i] * x[offsets[p] + lane]), for
// all rows i of the tile and all lanes of its vectors. Only lanes named by spans are written, but
// all are read.
template <class T>
struct ConvTile {
  int64_t k;
  const T* weights;  // (k, rows), packed
  const T* x;
  const int64_t* offsets;  // (k), in elements
  T* y;
  int64_t y_stride;
  const StoreSpan* spans;  // in the order of their vectors
  int64_t span_count;
  const T* bias;    // (rows) or null
  bool relu;        // after the bias
  bool accumulate;  // add to y instead of replacing it (neither bias nor relu then)
};

// Dot products along pixels: out[i, j] += sum of g[i][...] * x[j][...] over images, rows and
// columns.
template <class T>
struct ConvDot {
  int64_t images, rows, width;
  const T* g;
  int64_t g_channel, g_row, g_image;  // strides; columns are contiguous
  const T* x;
  const int64_t* offsets;  // where each j starts
  int64_t x_row, x_image;
  T* out;
  int64_t out_stride;  // between rows i
};

// A plane with one output channel: y[v, u] = act(bias + sum over p < k of
// weights[p] * x[offsets[p] + v * x_row + u]) for v < rows, u < width. One chain of k products.
template <class T>
struct ConvPlane {
  int64_t rows, width, k;
  const T* weights;
  const int64_t* offsets;
  const T* x;
  int64_t x_row;
  T* y;
  int64_t y_row;
  T bias;
  bool relu;
  int square;  // K if the taps are K x K, one element and one x_row apart; else 0
};

// A run of `count` lanes of a panel, read at x + from + offsets[p] and written at lane `lane`.
struct PanelRun {
  int64_t from;
  int32_t lane, count;
};

// Sums of more products are made of chains of equal length: the rounding error of a chain grows
// with its length, and 192 keeps the worst of it below 16 units of |w||x|.
constexpr int64_t kConvChain = 192;

constexpr int kConvMaxRows = 14, kConvMaxVectors = 6;
constexpr int kDotMaxRows = 4, kDotMaxColumns = 6;

template <class T>
struct ConvKernels {
  int width;                      // lanes of a vector
  int rows;                       // the tallest tile
  int vectors[kConvMaxRows + 1];  // the widest tile of that many rows
  void (*tile[kConvMaxRows + 1][kConvMaxVectors + 1])(const ConvTile<T>&);
  void (*dot[kDotMaxRows + 1][kDotMaxColumns + 1])(const ConvDot<T>&);

  void (*plane)(const ConvPlane<T>&);
  // dot for one row i and 3 x 3 columns, one element and one x_row apart from offsets[0] on.
  void (*dot_square)(const ConvDot<T>&);

  // panel[p, lane] for p < k: rows of `lanes` elements gathered by runs in the order of their
  // lanes; lanes behind a run are overwritten by the next.
  void (*panel)(int64_t k, const int64_t* offsets, const T* x, const PanelRun* runs,
                int64_t run_count, int64_t lanes, T* panel);

  void (*add)(int64_t n, const T* x, T* sum);  // sum[i] += x[i]

  // out[j, i] = in[i, j] for i < m, j < n.
  void (*transpose)(int64_t m, int64_t n, const T* in, int64_t in_stride, T* out,
                    int64_t out_stride);

  // to[r * pitch + i] = from[r * from_row + i * stride] for i < count, then zeros for i < pitch,
  // but for i < last in the last row; every row may write up to one vector past its end.
  void (*rows_to_window)(int64_t rows, int64_t count, const T* from, int64_t from_row,
                         int64_t stride, T* to, int64_t pitch, int64_t last);
};

}  // namespace tilegrad::simd
