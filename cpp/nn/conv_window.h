// A window onto padded images: the copy of a box of pixels that the convolution's tiles read.
//
// With a stride s, the taps of an output row read every s-th pixel. The copy sorts pixels by their
// residue modulo the stride, so that neighbouring outputs always read neighbouring elements:
//
//   image row    a b c d e f g        stride 2, kernel 3:   out[0] = w0 a + w1 b + w2 c
//   copy         a c e g | b d f                            out[1] = w0 c + w1 d + w2 e
//
// Tap t of every output pixel is then one shifted view of the copy: out[p] reads copy[offset[t] +
// p], and a vector of outputs is one load per tap. Padding is zeros in the copy.
#pragma once

#include <cstdint>
#include <vector>

#include "nn/conv.h"

namespace tilegrad::nn {

// What the taps of one axis read: output p and tap t meet in input p * stride + shift[t].
struct Axis {
  int64_t input, output, stride;
  std::vector<int64_t> shift;

  // Derived by sort_by_residue: tap t reads class `of[t]` at p + lead[t]; class a holds the inputs
  // congruent to residue[a], the first of them that is read being first * stride + residue[a].
  std::vector<int> of;
  std::vector<int64_t> lead, residue;
  int64_t first = 0, span = 0;  // span: how far leads differ at most

  int taps() const { return static_cast<int>(shift.size()); }
  int classes() const { return static_cast<int>(residue.size()); }
  bool identity() const {  // one tap that reads every pixel in order
    return taps() == 1 && stride == 1 && shift[0] == 0 && input == output;
  }
  void sort_by_residue();
};

// Axis i of the forward direction.
Axis forward_axis(const ConvShape& shape, int i);

// A box of output pixels of some images.
struct Box {
  int64_t image, images;
  int64_t begin[kSpatial], size[kSpatial];
};

// The layout of a window's copy, [image][channel][z class][z][y class][x class][y][x]; strides in
// elements. Rows may overlap in zeros that both need, so that one pixel of padding costs one
// column.
struct WindowLayout {
  int64_t row, plane, slice, channel, image;  // pitch of y, (y, x) classes, z, channel, image
  int64_t depth;                              // slices per z class
  int64_t shared;                             // zeros at the end of a row that begin the next
  int64_t elements;                           // of all images, with room to read past the end
};

WindowLayout window_layout(const Axis (&axes)[kSpatial], const Box& largest, int64_t channels,
                           int64_t lanes);

// offsets[(c, tz, ty, tx)]: where output pixel 0 of the box finds each tap of each channel.
std::vector<int64_t> window_offsets(const Axis (&axes)[kSpatial], const WindowLayout& layout,
                                    int64_t channels);

// K if the taps of one channel are K x K and their offsets one element and one row apart; else 0.
int square_taps(const std::vector<int64_t>& offsets, const WindowLayout& layout);

// What fills a part of one channel's copy, in elements: zeros, then rows of pixels, each with zeros
// up to the next one's first pixel, then zeros.
struct WindowPiece {
  int64_t to, zeros_before, zeros_behind;  // the part's beginning in the channel's copy
  int64_t from;                            // the first pixel, from the channel's first one
  int64_t rows, count;                     // of pixels; all else is zeros where rows is 0
  int64_t from_row, from_pixel;            // strides of the image
  int64_t last;                            // elements of the last row
};

// The pieces of every channel of one box; of the box's place in the batch they know nothing.
template <class T>
std::vector<WindowPiece> window_pieces(const Axis (&axes)[kSpatial], const WindowLayout& layout,
                                       const Box& box, const Images<T>& from);

// Fills `channels` channels of one image's copy; `from` is the first one's first pixel.
template <class T>
void copy_channels(const std::vector<WindowPiece>& pieces, const WindowLayout& layout,
                   int64_t channels, const T* from, int64_t from_channel, T* copy);

// Fills the copy of a box's images.
template <class T>
void copy_window(const std::vector<WindowPiece>& pieces, const WindowLayout& layout, const Box& box,
                 int64_t channels, const Images<T>& from, T* copy);

}  // namespace tilegrad::nn
