// The weight gradient as dot products along pixels; a chunk's sum is laid out as dw itself.
#include <algorithm>

#include "nn/weight_grad.h"
#include "runtime/threads.h"
#include "runtime/workspace.h"

namespace tilegrad::nn {
namespace {

template <class T>
struct Dots {
  const WeightGrad<T>& plan;
  bool in_place;  // no window: pointwise
  WindowLayout layout;
  std::vector<int64_t> offsets;
  bool square = false;              // one row of 3 x 3 columns
  std::vector<WindowPiece> pieces;  // of every box, where boxes are whole planes

  explicit Dots(const WeightGrad<T>& p) : plan(p), in_place(p.pointwise()), layout{} {
    if (in_place) {
      for (int64_t c = 0; c < plan.channels; ++c) offsets.push_back(c * plan.x.channel);
    } else {
      layout = window_layout(plan.axes, plan.largest, plan.channels, plan.kernels.width);
      offsets = window_offsets(plan.axes, layout, plan.channels);
      if (plan.whole_planes()) pieces = window_pieces(plan.axes, layout, plan.largest, plan.x);
      square = plan.rows == 1 && plan.columns == 9 && square_taps(offsets, layout) == 3;
    }
  }

  // sum (rows, columns) += the dot products of one box of one group.
  void add(const Box& box, int64_t group, T* sum) const {
    const runtime::Scratch window(sizeof(T) * static_cast<size_t>(in_place ? 1 : layout.elements));
    const runtime::Scratch copy(sizeof(T) * static_cast<size_t>(plan.rows_copy_elements()));
    const auto left = plan.rows_of(box, group, copy.as<T>());
    Images<T> right = plan.x;
    right.data += group * plan.channels * right.channel;
    if (in_place) {
      right.data += box.image * right.batch;
      for (int i = 0; i < kSpatial; ++i) right.data += box.begin[i] * right.pixel[i];
    } else {
      const std::vector<WindowPiece> own = pieces.empty()
                                               ? window_pieces(plan.axes, layout, box, right)
                                               : std::vector<WindowPiece>();
      copy_window(pieces.empty() ? own : pieces, layout, box, plan.channels, right, window.as<T>());
      right = {window.as<T>(), layout.image, layout.channel, {layout.slice, layout.row, 1}};
    }
    simd::ConvDot<T> dot{};
    dot.images = box.images;
    dot.rows = box.size[1];
    dot.width = box.size[2];
    if (left.row == dot.width && right.pixel[1] == dot.width) {  // rows without gaps are one row
      dot.width *= dot.rows;
      dot.rows = 1;
    }
    dot.g_channel = left.channel;
    dot.g_row = left.row;
    dot.g_image = left.image;
    dot.x_row = right.pixel[1];
    dot.x_image = right.batch;
    dot.out_stride = plan.columns;
    const auto tile = [&](int64_t o, int64_t column) {
      const int64_t height = std::min<int64_t>(simd::kDotMaxRows, plan.rows - o);
      const int64_t width = std::min<int64_t>(simd::kDotMaxColumns, plan.columns - column);
      dot.offsets = offsets.data() + column;
      dot.out = sum + o * plan.columns + column;
      for (int64_t z = 0; z < box.size[0]; ++z) {
        dot.g = left.data + o * left.channel + z * left.slice;
        dot.x = right.data + z * right.pixel[0];
        (square ? plan.kernels.dot_square : plan.kernels.dot[height][width])(dot);
      }
    };
    // The smaller side is walked again and again, out of the second-level cache.
    const int64_t up = simd::kDotMaxRows, across = square ? plan.columns : simd::kDotMaxColumns;
    if (plan.columns <= plan.rows) {
      for (int64_t o = 0; o < plan.rows; o += up) {
        for (int64_t column = 0; column < plan.columns; column += across) tile(o, column);
      }
    } else {
      for (int64_t column = 0; column < plan.columns; column += across) {
        for (int64_t o = 0; o < plan.rows; o += up) tile(o, column);
      }
    }
  }
};

}  // namespace

template <class T>
void add_up_dots(WeightGrad<T>& plan) {
  plan.choose_boxes(plan.box_pixels(plan.columns));
  const int64_t groups = plan.shape.groups;
  const int64_t size = plan.rows * plan.columns, all = groups * size;
  plan.choose_chunks(all);
  const Dots<T> dots(plan);
  const runtime::Scratch scratch(sizeof(T) * static_cast<size_t>((plan.chunks - 1) * all + 1));
  const auto sum_of = [&](int64_t chunk) {  // the first chunk's is the result itself
    return chunk == 0 ? plan.dw : scratch.as<T>() + (chunk - 1) * all;
  };
  runtime::parallel_for(groups * plan.chunks, plan.threads, [&](int64_t task) {
    const int64_t chunk = task / groups, group = task % groups;
    T* sum = sum_of(chunk) + group * size;
    set_zero(sum, size);
    for (int64_t i = plan.chunk_begin(chunk); i < plan.chunk_begin(chunk + 1); ++i) {
      if (runtime::interrupted()) return;
      dots.add(plan.box(i), group, sum);
    }
  });
  for (int64_t chunk = 1; chunk < plan.chunks; ++chunk) {
    plan.kernels.add(all, sum_of(chunk), plan.dw);
  }
}

template void add_up_dots<float>(WeightGrad<float>&);
template void add_up_dots<double>(WeightGrad<double>&);

}  // namespace tilegrad::nn
