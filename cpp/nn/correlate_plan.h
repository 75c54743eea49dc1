// How a correlation is cut: rows into tiles of nearly equal height, pixels into boxes of tiles.
#pragma once

#include <algorithm>
#include <vector>

#include "nn/correlate.h"
#include "nn/kernels.h"
#include "nn/pixel_tiles.h"
#include "runtime/cpu.h"
#include "runtime/threads.h"

namespace tilegrad::nn {

inline int64_t ceil_quotient(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Multiply-adds that are worth a thread: some 10 us.
constexpr double kCorrelationGrain = 5e5;

template <class T>
struct CorrelationPlan {
  const Correlation<T>& c;
  const simd::ConvKernels<T>& kernels = conv_kernels<T>();
  int64_t depth = c.depth();
  int64_t row_tiles = ceil_quotient(c.rows, kernels.rows);
  TileWidth width{kernels.width, kernels.vectors[ceil_quotient(c.rows, row_tiles)]};
  int threads = runtime::threads_for(
      static_cast<double>(c.batch * c.groups * c.rows * pixels()) * static_cast<double>(depth),
      kCorrelationGrain);

  enum Mode { kDirect, kFlat, kDense } mode = kFlat;
  Box largest{};
  int64_t boxes[1 + kSpatial] = {};  // along images, z, y, x
  WindowLayout layout{};
  std::vector<int64_t> offsets, panel_offsets;
  PixelTiles tiles;                 // of a box of the largest size
  std::vector<WindowPiece> pieces;  // of every box, where boxes are whole planes
  int square = 0;                   // see ConvPlane

  explicit CorrelationPlan(const Correlation<T>& correlation) : c(correlation) {
    mode = direct() ? kDirect : kFlat;
    choose_box();
    if (mode == kFlat && !by_planes() && dense_is_cheaper()) {
      mode = kDense;
      join_images();
    }
    count_boxes();
    lay_out();
  }

  int64_t pixels() const { return c.axes[0].output * c.axes[1].output * c.axes[2].output; }
  int64_t lanes() const { return static_cast<int64_t>(width.lanes) * width.vectors; }
  int64_t row_begin(int64_t tile) const { return c.rows * tile / row_tiles; }
  bool through_scratch() const { return c.to_pixel[2] != 1; }
  bool by_planes() const { return mode == kFlat && c.rows == 1 && depth <= simd::kConvChain; }
  bool whole_boxes() const { return boxes[1] * boxes[2] * boxes[3] == 1; }  // as to pixels
  bool whole_planes() const { return by_planes() && whole_boxes(); }
  int64_t tasks() const { return boxes[0] * boxes[1] * boxes[2] * boxes[3]; }

  // A 1x1 kernel that reads every pixel in order needs no copy.
  bool direct() const {
    int64_t dense = 1;
    for (int i = kSpatial - 1; i >= 0; --i) {
      const Axis& axis = c.axes[i];
      if (!axis.identity() ||
          (axis.output > 1 && (c.from.pixel[i] != dense || c.to_pixel[i] != dense))) {
        return false;
      }
      dense *= axis.output;
    }
    return dense >= lanes();  // the last tile is moved back to end with the image
  }

  // Half of the second-level cache for the window's copy; the weights stream through the rest.
  int64_t window_elements() const {
    return runtime::cpu_info().l2_bytes / 2 / static_cast<int64_t>(sizeof(T));
  }

  int64_t elements(const Box& box) const {
    return window_layout(c.axes, box, c.channels, lanes()).elements;
  }

  void choose_box() {
    largest.images = 1;
    for (int i = 0; i < kSpatial; ++i) largest.size[i] = c.axes[i].output;
    if (mode == kDirect) {  // the plane is one row
      largest.size[2] = pixels();
      largest.size[0] = largest.size[1] = 1;
    }
    while ((mode != kDirect && elements(largest) > window_elements()) || too_few_boxes()) {
      if (!halve(largest)) break;
    }
  }

  bool too_few_boxes() const {
    const double work = static_cast<double>(largest.size[0] * largest.size[1] * largest.size[2]) *
                        static_cast<double>(c.rows * depth);
    int64_t count = c.batch * c.groups;
    for (int i = 0; i < kSpatial; ++i) count *= ceil_quotient(c.axes[i].output, largest.size[i]);
    if (mode == kDirect) count = c.batch * c.groups * ceil_quotient(pixels(), largest.size[2]);
    return threads > 1 && count < 2 * threads && work > 2 * kCorrelationGrain;
  }

  // Halves the slowest axis that can still be halved; x in whole tiles.
  bool halve(Box& box) const {
    for (int i = 0; i < kSpatial - 1; ++i) {
      if (box.size[i] > 1) {
        box.size[i] = ceil_quotient(box.size[i], 2);
        return true;
      }
    }
    if (box.size[2] <= lanes()) return false;
    box.size[2] = ceil_quotient(ceil_quotient(box.size[2], 2), lanes()) * lanes();
    return true;
  }

  // Per row (c, t) of the product a vector costs rows / 2 cycles; gathering one costs a load and a
  // store for every run of pixels in it, some 1.5 cycles.
  bool dense_is_cheaper() const {
    const WindowLayout flat = window_layout(c.axes, largest, c.channels, lanes());
    const int64_t length = (largest.size[1] - 1) * flat.row + largest.size[2];
    const double flat_vectors = static_cast<double>(ceil_quotient(length, width.lanes));
    const double dense_vectors =
        static_cast<double>(largest.size[1] * largest.size[2]) / width.lanes;
    const double runs = 1 + static_cast<double>(width.lanes) / static_cast<double>(largest.size[2]);
    const double product = static_cast<double>(c.rows) / 2;
    return dense_vectors * (product + 1.5 * runs) < flat_vectors * product;
  }

  // Small images share tiles: as many as fill some tiles, fit the cache and leave boxes for all
  // threads.
  void join_images() {
    while (largest.images < c.batch) {
      Box more = largest;
      more.images = std::min(c.batch, 2 * largest.images);
      const int64_t pixels_now =
          largest.images * largest.size[0] * largest.size[1] * largest.size[2];
      if (pixels_now >= 8 * lanes() || elements(more) > window_elements()) break;
      if (threads > 1 && ceil_quotient(c.batch, more.images) * c.groups < 2 * threads) break;
      largest = more;
    }
  }

  void count_boxes() {
    boxes[0] = ceil_quotient(c.batch, largest.images);
    for (int i = 0; i < kSpatial; ++i)
      boxes[1 + i] = ceil_quotient(c.axes[i].output, largest.size[i]);
    if (mode == kDirect) {
      boxes[1] = boxes[2] = 1;
      boxes[3] = std::max<int64_t>(1, pixels() / largest.size[2]);
    }
  }

  Box box(int64_t task) const {
    Box result{};
    const int64_t size[kSpatial] = {mode == kDirect ? 1 : c.axes[0].output,
                                    mode == kDirect ? 1 : c.axes[1].output,
                                    mode == kDirect ? pixels() : c.axes[2].output};
    for (int i = kSpatial - 1; i >= 0; --i) {
      const int64_t at = task % boxes[1 + i];
      result.begin[i] = at * largest.size[i];
      result.size[i] = std::min(largest.size[i], size[i] - result.begin[i]);
      // Direct boxes must hold a tile: the last one takes the rest.
      if (mode == kDirect && at + 1 == boxes[1 + i]) result.size[i] = size[i] - result.begin[i];
      task /= boxes[1 + i];
    }
    result.image = task * largest.images;
    result.images = std::min(largest.images, c.batch - result.image);
    return result;
  }

  void lay_out() {
    if (mode == kDirect) {
      for (int64_t p = 0; p < depth; ++p) offsets.push_back(p * c.from.channel);
    } else {
      layout = window_layout(c.axes, largest, c.channels, lanes());
      offsets = window_offsets(c.axes, layout, c.channels);
      if (whole_boxes()) pieces = window_pieces(c.axes, layout, largest, c.from);
    }
    if (mode == kDense) {
      for (int64_t p = 0; p < depth; ++p) panel_offsets.push_back(p * lanes());
    }
    if (by_planes()) {
      square = square_taps(offsets, layout);
    } else {
      tiles = cut(largest);
    }
  }

  PixelTiles cut(const Box& box) const {
    const int64_t rows = box.size[2], planes = rows * box.size[1];
    const int64_t packed[kSpatial] = {planes * box.size[0], planes, rows};
    const int64_t strided[kSpatial] = {c.to_batch, c.to_pixel[0], c.to_pixel[1]};
    const auto& to = through_scratch() ? packed : strided;
    if (mode == kDense) return dense_tiles(box, layout, width, to);
    if (mode == kFlat) return flat_tiles(box, layout, width, to);
    WindowLayout row{};
    row.row = box.size[2];
    PixelTiles cut = flat_tiles(box, row, width, to);
    move_last_back(cut, box.size[2]);
    return cut;
  }

  // Direct tiles may not read past the image: a short last tile becomes a full one that ends with
  // it, and writes some pixels a second time (the same numbers). A box is never shorter than a
  // tile.
  void move_last_back(PixelTiles& cut, int64_t length) const {
    PixelTile& last = cut.tiles.back();
    if (last.base + lanes() <= length) return;
    last.base = length - lanes();
    last.vectors = width.vectors;
    cut.spans.resize(last.span);
    for (int32_t j = 0; j < width.vectors; ++j) {
      cut.spans.push_back({j, 0, width.lanes, last.base + j * width.lanes});
    }
    last.span_end = cut.spans.size();
  }
};

}  // namespace tilegrad::nn
