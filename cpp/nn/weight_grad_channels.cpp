// The weight gradient with input channels as lanes and pixels as the inner loop. Channels come in
// blocks of `lanes`; a chunk's sum is laid out as (block, tap, row, lane).
#include <algorithm>

#include "nn/weight_grad.h"
#include "runtime/threads.h"
#include "runtime/workspace.h"

namespace tilegrad::nn {
namespace {

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

template <class T>
struct Channels {
  const WeightGrad<T>& plan;
  int64_t row_tiles, vectors, lanes, blocks;
  WindowLayout layout;                // of one block's channels
  std::vector<int64_t> tap_offsets;   // in the transposed window
  std::vector<simd::StoreSpan> full;  // all lanes of a block

  explicit Channels(const WeightGrad<T>& p) : plan(p) {
    row_tiles = ceil_div(plan.rows, plan.kernels.rows);
    const int64_t widest = plan.kernels.vectors[ceil_div(plan.rows, row_tiles)];
    const int64_t needed = ceil_div(plan.channels, plan.kernels.width);
    blocks = ceil_div(needed, widest);
    vectors = ceil_div(needed, blocks);
    lanes = vectors * plan.kernels.width;
  }

  void lay_out() {
    layout = window_layout(plan.axes, plan.largest, lanes, 0);
    tap_offsets = window_offsets(plan.axes, layout, 1);
    for (int64_t& at : tap_offsets) at *= lanes;
    full = spans(lanes);
  }

  int64_t sum_elements() const { return blocks * plan.taps * plan.rows * lanes; }
  int64_t row_begin(int64_t tile) const { return plan.rows * tile / row_tiles; }
  int64_t block_channels(int64_t block) const {
    return std::min(lanes, plan.channels - block * lanes);
  }

  std::vector<simd::StoreSpan> spans(int64_t count) const {
    std::vector<simd::StoreSpan> result;
    const int width = plan.kernels.width;
    for (int32_t j = 0; j * width < count; ++j) {
      const auto to = static_cast<int32_t>(std::min<int64_t>(width, count - j * width));
      result.push_back({j, 0, to, j * width});
    }
    return result;
  }

  // Where the box's pixels begin in the transposed window.
  std::vector<int64_t> pixel_offsets(const Box& box) const {
    std::vector<int64_t> at;
    at.reserve(static_cast<size_t>(plan.volume(box)));
    for (int64_t n = 0; n < box.images; ++n) {
      for (int64_t z = 0; z < box.size[0]; ++z) {
        for (int64_t y = 0; y < box.size[1]; ++y) {
          const int64_t row = n * layout.channel + z * layout.slice + y * layout.row;
          for (int64_t u = 0; u < box.size[2]; ++u) at.push_back((row + u) * lanes);
        }
      }
    }
    return at;
  }

  // g as packed weights: (row tile, pixel, row).
  void pack(const Box& box, int64_t group, T* packed) const {
    const runtime::Scratch copy(sizeof(T) * static_cast<size_t>(plan.rows_copy_elements()));
    const auto left = plan.rows_of(box, group, copy.as<T>());
    const bool joined = left.row == box.size[2];
    const int64_t bands = joined ? 1 : box.size[1],
                  run = plan.volume(box) / box.images / box.size[0] / bands;
    for (int64_t tile = 0; tile < row_tiles; ++tile) {
      const int64_t row = row_begin(tile), height = row_begin(tile + 1) - row;
      for (int64_t n = 0; n < box.images; ++n) {
        for (int64_t z = 0; z < box.size[0]; ++z) {
          for (int64_t y = 0; y < bands; ++y, packed += height * run) {
            const T* from = left.data + row * left.channel + n * left.image + z * left.slice;
            plan.kernels.transpose(height, run, from + y * left.row, left.channel, packed, height);
          }
        }
      }
    }
  }

  // sum += one box's products, for blocks [first, last) of one group.
  void add(const Box& box, int64_t group, int64_t first, int64_t last, T* sum) const {
    const std::vector<int64_t> at = pixel_offsets(box);
    const auto count = static_cast<int64_t>(at.size());
    const runtime::Scratch packed(sizeof(T) * static_cast<size_t>(count * plan.rows));
    pack(box, group, packed.as<T>());
    const runtime::Scratch window(sizeof(T) * static_cast<size_t>(layout.elements));
    const runtime::Scratch turned(sizeof(T) *
                                  static_cast<size_t>(box.images * layout.channel * lanes));
    simd::ConvTile<T> t{};
    t.k = count;
    t.offsets = at.data();
    t.y_stride = lanes;
    t.accumulate = true;
    const std::vector<WindowPiece> pieces = window_pieces(plan.axes, layout, box, plan.x);
    for (int64_t block = first; block < last; ++block) {
      const int64_t channels = block_channels(block);
      Images<T> from = plan.x;
      from.data += (group * plan.channels + block * lanes) * from.channel;
      copy_window(pieces, layout, box, channels, from, window.as<T>());
      for (int64_t n = 0; n < box.images; ++n) {
        plan.kernels.transpose(channels, layout.channel, window.as<T>() + n * layout.image,
                               layout.channel, turned.as<T>() + n * layout.channel * lanes, lanes);
      }
      const std::vector<simd::StoreSpan> short_block =
          channels < lanes ? spans(channels) : std::vector<simd::StoreSpan>();
      const auto& stored = channels < lanes ? short_block : full;
      t.spans = stored.data();
      t.span_count = static_cast<int64_t>(stored.size());
      for (int64_t tap = 0; tap < plan.taps; ++tap) {
        t.x = turned.as<T>() + tap_offsets[static_cast<size_t>(tap)];
        for (int64_t tile = 0; tile < row_tiles; ++tile) {
          const int64_t row = row_begin(tile);
          t.weights = packed.as<T>() + row * count;
          t.y = sum + ((block * plan.taps + tap) * plan.rows + row) * lanes;
          plan.kernels.tile[row_begin(tile + 1) - row][stored.size()](t);
        }
      }
    }
  }

  // dw of one group and block from the chunks' sums.
  void finish(T* sums, int64_t pitch, int64_t group, int64_t block) const {
    const int64_t size = plan.taps * plan.rows * lanes;
    T* total = sums + block * size;
    for (int64_t chunk = 1; chunk < plan.chunks; ++chunk) {
      plan.kernels.add(size, total + chunk * pitch, total);
    }
    for (int64_t row = 0; row < plan.rows; ++row) {
      T* to = plan.dw + ((group * plan.rows + row) * plan.channels + block * lanes) * plan.taps;
      plan.kernels.transpose(plan.taps, block_channels(block), total + row * lanes,
                             plan.rows * lanes, to, plan.taps);
    }
  }
};

}  // namespace

template <class T>
void add_up_channels(WeightGrad<T>& plan) {
  Channels<T> channels(plan);
  // A box's packed g shares the cache with one block of the window.
  plan.choose_boxes(plan.box_pixels(2 * plan.rows));
  channels.lay_out();
  const int64_t size = channels.sum_elements();
  plan.choose_chunks(size);
  // Where chunks are too few for the threads, blocks of channels are shared out as well.
  const int64_t parts = std::min(channels.blocks, ceil_div(plan.threads, plan.chunks));
  const runtime::Scratch scratch(sizeof(T) * static_cast<size_t>(plan.chunks * size));
  T* const sums = scratch.as<T>();
  for (int64_t group = 0; group < plan.shape.groups; ++group) {
    runtime::parallel_for(plan.chunks * parts, plan.threads, [&](int64_t task) {
      const int64_t chunk = task / parts, part = task % parts;
      const int64_t first = channels.blocks * part / parts;
      const int64_t last = channels.blocks * (part + 1) / parts;
      const int64_t block_size = size / channels.blocks;
      T* sum = sums + chunk * size;
      set_zero(sum + first * block_size, (last - first) * block_size);
      for (int64_t i = plan.chunk_begin(chunk); i < plan.chunk_begin(chunk + 1); ++i) {
        if (runtime::interrupted()) return;
        channels.add(plan.box(i), group, first, last, sum);
      }
    });
    runtime::parallel_for(channels.blocks, plan.threads,
                          [&](int64_t block) { channels.finish(sums, size, group, block); });
  }
}

template void add_up_channels<float>(WeightGrad<float>&);
template void add_up_channels<double>(WeightGrad<double>&);

}  // namespace tilegrad::nn
