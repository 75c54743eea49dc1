#include "nn/correlate.h"

#include <algorithm>
#include <vector>

#include "nn/kernels.h"
#include "nn/pixel_tiles.h"
#include "runtime/cpu.h"
#include "runtime/threads.h"
#include "runtime/workspace.h"

namespace tilegrad::nn {
namespace {

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Packed weights kept at once; more output channels are done in turns.
constexpr int64_t kWeightBytes = 4 << 20;

// Multiply-adds that are worth a thread: some 10 us.
constexpr double kGrain = 5e5;

// A convolution by planes: elements of windows for each task, some 10 us; and of those that are
// copied at a time, a third of the first-level cache.
constexpr int64_t kPlanesElements = 1 << 15;
constexpr int64_t kRoundElements = 1 << 12, kMostRound = 32;

// Weights per pixel tile from which each tile, not each box, asks for interrupts: some 20 us.
constexpr int64_t kLongTile = 1 << 16;

// How a correlation is cut: rows into tiles of nearly equal height, pixels into boxes of tiles.
template <class T>
struct Plan {
  const Correlation<T>& c;
  const simd::ConvKernels<T>& kernels = conv_kernels<T>();
  int64_t depth = c.depth();
  int64_t row_tiles = ceil_div(c.rows, kernels.rows);
  TileWidth width{kernels.width, kernels.vectors[ceil_div(c.rows, row_tiles)]};
  int threads = runtime::threads_for(
      static_cast<double>(c.batch * c.groups * c.rows * pixels()) * static_cast<double>(depth),
      kGrain);

  enum Mode { kDirect, kFlat, kDense } mode = kFlat;
  Box largest{};
  int64_t boxes[1 + kSpatial] = {};  // along images, z, y, x
  WindowLayout layout{};
  std::vector<int64_t> offsets, panel_offsets;
  PixelTiles tiles;                 // of a box of the largest size
  std::vector<WindowPiece> pieces;  // of every box, where boxes are whole planes
  int square = 0;                   // see ConvPlane

  explicit Plan(const Correlation<T>& correlation) : c(correlation) {
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
    for (int i = 0; i < kSpatial; ++i) count *= ceil_div(c.axes[i].output, largest.size[i]);
    if (mode == kDirect) count = c.batch * c.groups * ceil_div(pixels(), largest.size[2]);
    return threads > 1 && count < 2 * threads && work > 2 * kGrain;
  }

  // Halves the slowest axis that can still be halved; x in whole tiles.
  bool halve(Box& box) const {
    for (int i = 0; i < kSpatial - 1; ++i) {
      if (box.size[i] > 1) {
        box.size[i] = ceil_div(box.size[i], 2);
        return true;
      }
    }
    if (box.size[2] <= lanes()) return false;
    box.size[2] = ceil_div(ceil_div(box.size[2], 2), lanes()) * lanes();
    return true;
  }

  // Per row (c, t) of the product a vector costs rows / 2 cycles; gathering one costs a load and a
  // store for every run of pixels in it, some 1.5 cycles.
  bool dense_is_cheaper() const {
    const WindowLayout flat = window_layout(c.axes, largest, c.channels, lanes());
    const int64_t length = (largest.size[1] - 1) * flat.row + largest.size[2];
    const double flat_vectors = static_cast<double>(ceil_div(length, width.lanes));
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
      if (threads > 1 && ceil_div(c.batch, more.images) * c.groups < 2 * threads) break;
      largest = more;
    }
  }

  void count_boxes() {
    boxes[0] = ceil_div(c.batch, largest.images);
    for (int i = 0; i < kSpatial; ++i) boxes[1 + i] = ceil_div(c.axes[i].output, largest.size[i]);
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

bool same_size(const Box& a, const Box& b) {
  return a.images == b.images && std::equal(a.size, a.size + kSpatial, b.size);
}

// One output channel: rows of the planes of a box.
template <class T>
void run_planes(const Plan<T>& plan, const Box& box, const T* x, const T* weights, T bias, T* y) {
  const Correlation<T>& c = plan.c;
  const bool packed = plan.through_scratch();
  simd::ConvPlane<T> p{};
  p.rows = box.size[1];
  p.width = box.size[2];
  p.k = plan.depth;
  p.weights = weights;
  p.offsets = plan.offsets.data();
  p.x_row = plan.layout.row;
  p.y_row = packed ? box.size[2] : c.to_pixel[1];
  p.bias = bias;
  p.relu = c.relu;
  p.square = plan.square;
  for (int64_t z = 0; z < box.size[0]; ++z) {
    p.x = x + z * plan.layout.slice;
    p.y = y + z * (packed ? box.size[1] * box.size[2] : c.to_pixel[0]);
    plan.kernels.plane(p);
  }
}

// Row tiles [first, last) for every pixel tile.
template <class T>
void run_tiles(const Plan<T>& plan, const PixelTiles& tiles, int64_t group, int64_t first,
               int64_t last, const T* x, T* panel, const T* weights, T* y, int64_t y_stride) {
  const Correlation<T>& c = plan.c;
  const bool dense = plan.mode == Plan<T>::kDense;
  const int64_t row0 = plan.row_begin(first), rows = plan.row_begin(last) - row0;
  const bool long_tiles = plan.depth * rows > kLongTile;
  simd::ConvTile<T> t{};
  t.k = plan.depth;
  t.offsets = dense ? plan.panel_offsets.data() : plan.offsets.data();
  t.y_stride = y_stride;
  t.relu = c.relu;
  for (const PixelTile& tile : tiles.tiles) {
    if (long_tiles && runtime::interrupted()) return;
    if (dense) {
      plan.kernels.panel(plan.depth, plan.offsets.data(), x, tiles.runs.data() + tile.run,
                         static_cast<int64_t>(tile.run_end - tile.run), plan.lanes(), panel);
    }
    t.x = dense ? panel : x + tile.base;
    t.spans = tiles.spans.data() + tile.span;
    t.span_count = static_cast<int64_t>(tile.span_end - tile.span);
    for (int64_t i = first; i < last; ++i) {
      const int64_t row = plan.row_begin(i), height = plan.row_begin(i + 1) - row;
      t.weights = weights + (row - row0) * plan.depth;
      t.bias = c.bias != nullptr ? c.bias + group * c.rows + row : nullptr;
      t.y = y + (row - row0) * y_stride;
      plan.kernels.tile[height][tile.vectors](t);
    }
  }
}

// A box's results, contiguous, to pixels that are not.
template <class T>
void spread_pixels(const Correlation<T>& c, const Box& box, int64_t rows, const T* result, T* to) {
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t n = 0; n < box.images; ++n) {
      for (int64_t z = 0; z < box.size[0]; ++z) {
        for (int64_t v = 0; v < box.size[1]; ++v) {
          T* at = to + i * c.to_channel + n * c.to_batch + z * c.to_pixel[0] + v * c.to_pixel[1];
          for (int64_t u = 0; u < box.size[2]; ++u) at[u * c.to_pixel[2]] = *result++;
        }
      }
    }
  }
}

// One box of pixels of one group for row tiles [first, last), whose packed weights begin at
// `weights`.
template <class T>
void run_box(const Plan<T>& plan, int64_t task, int64_t group, int64_t first, int64_t last,
             const T* weights) {
  const Correlation<T>& c = plan.c;
  if (runtime::interrupted()) return;
  const Box box = plan.box(task);
  PixelTiles partial;
  const bool whole = same_size(box, plan.largest);
  if (!whole && !plan.by_planes()) partial = plan.cut(box);
  const PixelTiles& tiles = whole ? plan.tiles : partial;

  Images<T> from = c.from;
  from.data += group * c.channels * from.channel;
  const bool direct = plan.mode == Plan<T>::kDirect, dense = plan.mode == Plan<T>::kDense;
  const runtime::Scratch window(sizeof(T) * static_cast<size_t>(direct ? 1 : plan.layout.elements));
  const T* x = window.as<T>();
  if (direct) {
    x = from.data + box.image * from.batch + box.begin[2];
  } else {
    const std::vector<WindowPiece> own = plan.pieces.empty()
                                             ? window_pieces(c.axes, plan.layout, box, from)
                                             : std::vector<WindowPiece>();
    copy_window(plan.pieces.empty() ? own : plan.pieces, plan.layout, box, c.channels, from,
                window.as<T>());
  }
  const int64_t lanes = plan.lanes();
  const runtime::Scratch panel_scratch(sizeof(T) *
                                       static_cast<size_t>(dense ? plan.depth * lanes : 1));
  T* panel = panel_scratch.as<T>();

  const int64_t row0 = plan.row_begin(first), rows = plan.row_begin(last) - row0;
  const int64_t volume = box.images * box.size[0] * box.size[1] * box.size[2];
  const bool through_scratch = plan.through_scratch();
  const runtime::Scratch result_scratch(sizeof(T) *
                                        static_cast<size_t>(through_scratch ? rows * volume : 1));
  int64_t begin = box.begin[2] * c.to_pixel[2];
  if (!direct) begin += box.begin[0] * c.to_pixel[0] + box.begin[1] * c.to_pixel[1];
  T* const to = c.to + box.image * c.to_batch + (group * c.rows + row0) * c.to_channel + begin;
  T* const y = through_scratch ? result_scratch.as<T>() : to;
  const int64_t y_stride = through_scratch ? volume : c.to_channel;

  if (plan.by_planes()) {
    run_planes(plan, box, x, weights, c.bias != nullptr ? c.bias[group] : T(0), y);
  } else {
    run_tiles(plan, tiles, group, first, last, x, panel, weights, y, y_stride);
  }
  if (through_scratch) spread_pixels(c, box, rows, y, to);
}

// One output channel for each group, and whole planes fit a window: with so little work for each
// plane, all that planes share is found once for a run of them.
template <class T>
void correlate_planes(const Plan<T>& plan) {
  const Correlation<T>& c = plan.c;
  const Box box = plan.box(0);
  const runtime::Scratch scratch(sizeof(T) * static_cast<size_t>(c.groups * plan.depth + 1));
  T* const weights = scratch.as<T>();
  for (int64_t group = 0; group < c.groups; ++group) {
    c.pack(c.context, group, 0, 1, weights + group * plan.depth);
  }
  // A round of planes is copied before the first one is read: loads that overlap several stores
  // wait until these have left for the cache (four times slower at 8 x 8 pixels).
  const int64_t elements = plan.layout.channel * c.channels;
  const int64_t round = std::clamp<int64_t>(kRoundElements / elements, 1, kMostRound);
  const int64_t planes = c.batch * c.groups;
  const int64_t step = round * std::max<int64_t>(1, kPlanesElements / (round * elements));
  runtime::parallel_for(ceil_div(planes, step), plan.threads, [&](int64_t task) {
    const runtime::Scratch windows(sizeof(T) *
                                   static_cast<size_t>(round * elements + plan.layout.elements));
    const runtime::Scratch result(sizeof(T) *
                                  static_cast<size_t>(plan.through_scratch() ? plan.pixels() : 1));
    const int64_t end = std::min(planes, (task + 1) * step);
    for (int64_t first = task * step; first < end; first += round) {
      if (runtime::interrupted()) return;
      const int64_t last = std::min(end, first + round);
      T* window = windows.as<T>();
      for (int64_t plane = first; plane < last; ++plane, window += elements) {
        const T* from = c.from.data + plane / c.groups * c.from.batch +
                        plane % c.groups * c.channels * c.from.channel;
        copy_channels(plan.pieces, plan.layout, c.channels, from, c.from.channel, window);
      }
      window = windows.as<T>();
      for (int64_t plane = first; plane < last; ++plane, window += elements) {
        const int64_t group = plane % c.groups;
        T* const to = c.to + plane / c.groups * c.to_batch + group * c.to_channel;
        T* const y = plan.through_scratch() ? result.as<T>() : to;
        run_planes(plan, box, window, weights + group * plan.depth,
                   c.bias != nullptr ? c.bias[group] : T(0), y);
        if (plan.through_scratch()) spread_pixels(c, box, 1, y, to);
      }
    }
  });
}

}  // namespace

template <class T>
void correlate(const Correlation<T>& c) {
  if (c.batch == 0 || c.groups == 0 || c.rows == 0) return;
  const Plan<T> plan(c);
  if (plan.pixels() == 0) return;
  if (plan.whole_planes()) return correlate_planes(plan);
  const int64_t tile_bytes =
      std::max<int64_t>(1, plan.depth * ceil_div(c.rows, plan.row_tiles) * int64_t{sizeof(T)});
  const int64_t group_bytes = tile_bytes * plan.row_tiles;
  const int64_t group_step = std::clamp<int64_t>(kWeightBytes / group_bytes, 1, c.groups);
  const int64_t tile_step = std::clamp<int64_t>(kWeightBytes / tile_bytes, 1, plan.row_tiles);
  const int64_t pitch = plan.depth * c.rows;  // of one group's packed weights
  const runtime::Scratch scratch(
      static_cast<size_t>(std::min(group_bytes, tile_step * tile_bytes) * group_step));
  T* weights = scratch.as<T>();
  const int64_t boxes = plan.tasks();
  for (int64_t g0 = 0; g0 < c.groups; g0 += group_step) {
    const int64_t groups = std::min(group_step, c.groups - g0);
    for (int64_t first = 0; first < plan.row_tiles; first += tile_step) {
      const int64_t last = std::min(plan.row_tiles, first + tile_step);
      const int64_t row0 = plan.row_begin(first);
      runtime::parallel_for(groups * (last - first), plan.threads, [&](int64_t task) {
        const int64_t group = task / (last - first), tile = first + task % (last - first);
        const int64_t row = plan.row_begin(tile);
        c.pack(c.context, g0 + group, row, plan.row_begin(tile + 1) - row,
               weights + group * pitch + (row - row0) * plan.depth);
      });
      runtime::parallel_for(groups * boxes, plan.threads, [&](int64_t task) {
        run_box(plan, task % boxes, g0 + task / boxes, first, last, weights + task / boxes * pitch);
      });
    }
  }
}

template void correlate<float>(const Correlation<float>&);
template void correlate<double>(const Correlation<double>&);

}  // namespace tilegrad::nn
