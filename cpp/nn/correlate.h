// The convolution's driver: outputs as tiles of channels x pixels, read through offsets.
//
//   to[n, o, p] = act(bias[o] + sum over c, t of weight(o, c, t) * from[n, c, p * stride +
//   shift[t]])
//
// Both the forward direction and the input gradient are of this form. One group of channels after
// the other; within it a product of the weights (o x (c, t)) with the image seen as a matrix
// ((c, t) x pixels) that is never stored: row (c, t) is the window's copy from offsets[(c, t)] on.
#pragma once

#include <cstdint>

#include "nn/conv_window.h"

namespace tilegrad::nn {

template <class T>
struct Correlation {
  Axis axes[kSpatial];  // sorted by residue
  int64_t batch, groups;
  int64_t channels, rows;  // input and output channels of one group
  Images<T> from;          // group g begins at channel g * channels
  const T* bias;           // (groups * rows) or null
  bool relu;
  T* to;
  int64_t to_batch, to_channel, to_pixel[kSpatial];  // strides; group g begins at g * rows

  // Writes the packed weights of output channels [row, row + count) of a group: out[(c, t), i].
  void (*pack)(const void* context, int64_t group, int64_t row, int64_t count, T* out);
  const void* context;

  int64_t depth() const {  // the inner size of the product
    return channels * axes[0].taps() * axes[1].taps() * axes[2].taps();
  }
};

template <class T>
void correlate(const Correlation<T>& c);

}  // namespace tilegrad::nn
