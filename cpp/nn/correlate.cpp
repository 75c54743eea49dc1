#include "nn/correlate.h"

#include "nn/correlate_plan.h"
#include "nn/correlate_planes.h"
#include "runtime/workspace.h"

namespace tilegrad::nn {
namespace {

// Packed weights kept at once; more output channels are done in turns.
constexpr int64_t kWeightBytes = 4 << 20;

// Weights per pixel tile from which each tile, not each box, asks for interrupts: some 20 us.
constexpr int64_t kLongTile = 1 << 16;

bool same_size(const Box& a, const Box& b) {
  return a.images == b.images && std::equal(a.size, a.size + kSpatial, b.size);
}

// Row tiles [first, last) for every pixel tile.
template <class T>
void run_tiles(const CorrelationPlan<T>& plan, const PixelTiles& tiles, int64_t group,
               int64_t first, int64_t last, const T* x, T* panel, const T* weights, T* y,
               int64_t y_stride) {
  const Correlation<T>& c = plan.c;
  const bool dense = plan.mode == CorrelationPlan<T>::kDense;
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

// One box of pixels of one group for row tiles [first, last), whose packed weights begin at
// `weights`.
template <class T>
void run_box(const CorrelationPlan<T>& plan, int64_t task, int64_t group, int64_t first,
             int64_t last, const T* weights) {
  const Correlation<T>& c = plan.c;
  if (runtime::interrupted()) return;
  const Box box = plan.box(task);
  PixelTiles partial;
  const bool whole = same_size(box, plan.largest);
  if (!whole && !plan.by_planes()) partial = plan.cut(box);
  const PixelTiles& tiles = whole ? plan.tiles : partial;

  Images<T> from = c.from;
  from.data += group * c.channels * from.channel;
  const bool direct = plan.mode == CorrelationPlan<T>::kDirect,
             dense = plan.mode == CorrelationPlan<T>::kDense;
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

}  // namespace

template <class T>
void correlate(const Correlation<T>& c) {
  if (c.batch == 0 || c.groups == 0 || c.rows == 0) return;
  const CorrelationPlan<T> plan(c);
  if (plan.pixels() == 0) return;
  if (plan.whole_planes()) return correlate_planes(plan);
  const int64_t tile_bytes =
      std::max<int64_t>(1, plan.depth * ceil_quotient(c.rows, plan.row_tiles) * int64_t{sizeof(T)});
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
