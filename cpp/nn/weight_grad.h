// The weight gradient: dw[o, (c, t)] = sum over images and pixels p of g[n, o, p] * x[n, c, p at
// t].
//
// A product whose inner size is the number of pixels. There are two ways to put it into registers:
//
//   dots      vectors along pixels on both sides, 4 output channels by 6 columns (c, t) at a time,
//             added up across their lanes at the end: few copies; for few channels and 1x1 kernels.
//   channels  vectors along input channels, pixels as the inner loop: the register tile of the
//             forward direction, with g transposed for its weights and a transposed window for its
//             image; for many channels.
//
// The batch is cut into boxes of pixels, and these into chunks, both functions of the sizes only.
// Each chunk has its own sum and the sums are added in order, so that the bits do not depend on the
// number of threads.
#pragma once

#include <cstdint>
#include <vector>

#include "nn/conv_window.h"
#include "nn/kernels.h"

namespace tilegrad::nn {

template <class T>
struct WeightGrad {
  const ConvShape& shape;
  Images<T> g, x;
  T* dw;

  const simd::ConvKernels<T>& kernels = conv_kernels<T>();
  int64_t rows, channels;  // output and input channels of a group
  int64_t taps, columns;   // columns: channels * taps
  int64_t pixels;          // of one output plane
  int threads;
  Axis axes[kSpatial];
  Box largest{};
  int64_t boxes[1 + kSpatial] = {};  // along images, z, y, x
  int64_t chunks = 1;

  WeightGrad(const ConvShape& s, const Images<T>& g_images, const Images<T>& x_images, T* result);

  // A 1x1 kernel over whole contiguous planes: x is its own window.
  bool pointwise() const;
  bool dots_are_cheaper() const;

  // How many pixels a box should have so that `width` rows of them stay in the second-level cache.
  int64_t box_pixels(int64_t width) const;
  void choose_boxes(int64_t wanted);
  int64_t box_count() const { return boxes[0] * boxes[1] * boxes[2] * boxes[3]; }
  bool whole_planes() const { return boxes[1] * boxes[2] * boxes[3] == 1; }  // as boxes
  Box box(int64_t index) const;
  static int64_t volume(const Box& box) {
    return box.images * box.size[0] * box.size[1] * box.size[2];
  }

  void choose_chunks(int64_t sum_elements);
  int64_t chunk_begin(int64_t chunk) const { return box_count() * chunk / chunks; }

  // g of one group in a box as rows of contiguous pixels: in place, or copied where its own pixels
  // are not contiguous.
  struct Rows {
    const T* data;
    int64_t channel, image, slice, row;  // strides
  };
  Rows rows_of(const Box& box, int64_t group, T* copy) const;
  int64_t rows_copy_elements() const { return g.pixel[2] == 1 ? 1 : rows * volume(largest); }
};

template <class T>
void add_up_dots(WeightGrad<T>& plan);
template <class T>
void add_up_channels(WeightGrad<T>& plan);

}  // namespace tilegrad::nn
