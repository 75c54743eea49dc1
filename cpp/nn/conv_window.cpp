#include "nn/conv_window.h"

#include <algorithm>

#include "nn/kernels.h"

namespace tilegrad::nn {
namespace {

int64_t floor_div(int64_t a, int64_t b) { return a >= 0 ? a / b : -((b - 1 - a) / b); }
int64_t ceil_div(int64_t a, int64_t b) { return -floor_div(-a, b); }

// Positions u of a class that lie inside the input, of `count` from output `begin` on.
struct Inside {
  int64_t begin, end;
};

Inside inside(const Axis& axis, int cls, int64_t begin, int64_t count) {
  const int64_t at_zero =
      (begin + axis.first) * axis.stride + axis.residue[static_cast<size_t>(cls)];
  const int64_t low = std::clamp<int64_t>(ceil_div(-at_zero, axis.stride), 0, count);
  const int64_t high = std::clamp<int64_t>(ceil_div(axis.input - at_zero, axis.stride), low, count);
  return {low, high};
}

}  // namespace

void Axis::sort_by_residue() {
  of.clear();
  lead.clear();
  residue.clear();
  int64_t low = 0, high = 0;
  for (int t = 0; t < taps(); ++t) {
    const int64_t at = shift[static_cast<size_t>(t)];
    const int64_t quotient = floor_div(at, stride), rest = at - quotient * stride;
    const auto found = std::find(residue.begin(), residue.end(), rest);
    of.push_back(static_cast<int>(found - residue.begin()));
    if (found == residue.end()) residue.push_back(rest);
    lead.push_back(quotient);
    low = t == 0 ? quotient : std::min(low, quotient);
    high = t == 0 ? quotient : std::max(high, quotient);
  }
  for (int64_t& at : lead) at -= low;
  first = low;
  span = high - low;
}

Axis forward_axis(const ConvShape& shape, int i) {
  Axis axis;
  axis.input = shape.image[i];
  axis.output = shape.output[i];
  axis.stride = shape.stride[i];
  for (int64_t t = 0; t < shape.kernel[i]; ++t) {
    axis.shift.push_back(t * shape.dilation[i] - shape.low[i]);
  }
  axis.sort_by_residue();
  return axis;
}

WindowLayout window_layout(const Axis (&axes)[kSpatial], const Box& largest, int64_t channels,
                           int64_t lanes) {
  const Axis &z = axes[0], &y = axes[1], &x = axes[2];
  const int64_t width = largest.size[2] + x.span;
  WindowLayout layout{};
  if (largest.size[2] == x.output) {  // rows are whole, so their ends are padding
    layout.shared = x.span;
    for (int cls = 0; cls < x.classes(); ++cls) {
      const Inside real = inside(x, cls, 0, width);
      layout.shared = std::min({layout.shared, real.begin, width - real.end});
    }
  }
  layout.row = width - layout.shared;
  layout.plane = (largest.size[1] + y.span) * layout.row + layout.shared;
  layout.slice = layout.plane * y.classes() * x.classes();
  layout.depth = largest.size[0] + z.span;
  layout.channel = layout.slice * z.classes() * layout.depth;
  // Channels a multiple of 1024 elements apart would fall into the same few cache sets.
  if (layout.channel % 1024 < 16) layout.channel += 16;
  layout.image = layout.channel * channels;
  layout.elements = layout.image * largest.images + x.span + lanes;
  return layout;
}

std::vector<int64_t> window_offsets(const Axis (&axes)[kSpatial], const WindowLayout& layout,
                                    int64_t channels) {
  const Axis &z = axes[0], &y = axes[1], &x = axes[2];
  std::vector<int64_t> offsets;
  offsets.reserve(static_cast<size_t>(channels * z.taps() * y.taps() * x.taps()));
  for (int64_t c = 0; c < channels; ++c) {
    for (size_t tz = 0; tz < z.shift.size(); ++tz) {
      for (size_t ty = 0; ty < y.shift.size(); ++ty) {
        for (size_t tx = 0; tx < x.shift.size(); ++tx) {
          offsets.push_back(c * layout.channel +
                            (z.of[tz] * layout.depth + z.lead[tz]) * layout.slice +
                            (y.of[ty] * x.classes() + x.of[tx]) * layout.plane +
                            y.lead[ty] * layout.row + x.lead[tx]);
        }
      }
    }
  }
  return offsets;
}

int square_taps(const std::vector<int64_t>& offsets, const WindowLayout& layout) {
  int64_t size = 1;
  while (size * size < static_cast<int64_t>(offsets.size())) ++size;
  if (size * size != static_cast<int64_t>(offsets.size())) return 0;
  for (int64_t i = 0; i < size * size; ++i) {
    const int64_t expected = offsets[0] + i / size * layout.row + i % size;
    if (offsets[static_cast<size_t>(i)] != expected) return 0;
  }
  return static_cast<int>(size);
}

template <class T>
std::vector<WindowPiece> window_pieces(const Axis (&axes)[kSpatial], const WindowLayout& layout,
                                       const Box& box, const Images<T>& from) {
  const Axis &z = axes[0], &y = axes[1], &x = axes[2];
  const int64_t depth = box.size[0] + z.span, height = box.size[1] + y.span;
  const int64_t width = box.size[2] + x.span;
  const auto first_pixel = [&](int i, int cls, int64_t at) {  // position `at` of a class
    const Axis& axis = axes[i];
    return (box.begin[i] + axis.first + at) * axis.stride + axis.residue[static_cast<size_t>(cls)];
  };
  std::vector<WindowPiece> pieces;
  for (int z_of = 0; z_of < z.classes(); ++z_of) {
    const Inside slices = inside(z, z_of, box.begin[0], depth);
    for (int64_t u = 0; u < depth; ++u) {
      const int64_t slice = (z_of * layout.depth + u) * layout.slice;
      for (int y_of = 0; y_of < y.classes(); ++y_of) {
        const Inside rows = inside(y, y_of, box.begin[1], height);
        for (int x_of = 0; x_of < x.classes(); ++x_of) {
          const Inside columns = inside(x, x_of, box.begin[2], width);
          WindowPiece piece{};
          piece.to = slice + (y_of * x.classes() + x_of) * layout.plane;
          piece.count = columns.end - columns.begin;
          if (u < slices.begin || u >= slices.end || rows.begin == rows.end || piece.count == 0) {
            piece.zeros_before = height * layout.row + layout.shared;
          } else {
            piece.rows = rows.end - rows.begin;
            piece.zeros_before = rows.begin * layout.row + columns.begin;
            piece.zeros_behind = (height - rows.end) * layout.row + layout.shared;
            piece.from_row = y.stride * from.pixel[1];
            piece.from_pixel = x.stride * from.pixel[2];
            piece.from = first_pixel(0, z_of, u) * from.pixel[0] +
                         first_pixel(1, y_of, rows.begin) * from.pixel[1] +
                         first_pixel(2, x_of, columns.begin) * from.pixel[2];
            piece.last = layout.row - columns.begin;
          }
          pieces.push_back(piece);
        }
      }
    }
  }
  return pieces;
}

template <class T>
void copy_channels(const std::vector<WindowPiece>& pieces, const WindowLayout& layout,
                   int64_t channels, const T* from, int64_t from_channel, T* copy) {
  const auto& kernels = conv_kernels<T>();
  for (int64_t c = 0; c < channels; ++c, from += from_channel, copy += layout.channel) {
    for (const WindowPiece& piece : pieces) {
      T* const to = copy + piece.to;
      set_zero(to, piece.zeros_before);
      if (piece.rows == 0) continue;
      T* const pixels = to + piece.zeros_before;
      kernels.rows_to_window(piece.rows, piece.count, from + piece.from, piece.from_row,
                             piece.from_pixel, pixels, layout.row, piece.last);
      set_zero(pixels + (piece.rows - 1) * layout.row + piece.last, piece.zeros_behind);
    }
  }
}

template <class T>
void copy_window(const std::vector<WindowPiece>& pieces, const WindowLayout& layout, const Box& box,
                 int64_t channels, const Images<T>& from, T* copy) {
  for (int64_t n = 0; n < box.images; ++n) {
    copy_channels(pieces, layout, channels, from.data + (box.image + n) * from.batch, from.channel,
                  copy + n * layout.image);
  }
}

#define TILEGRAD_WINDOW(T)                                                                         \
  template std::vector<WindowPiece> window_pieces<T>(const Axis(&)[kSpatial], const WindowLayout&, \
                                                     const Box&, const Images<T>&);                \
  template void copy_channels<T>(const std::vector<WindowPiece>&, const WindowLayout&, int64_t,    \
                                 const T*, int64_t, T*);                                           \
  template void copy_window<T>(const std::vector<WindowPiece>&, const WindowLayout&, const Box&,   \
                               int64_t, const Images<T>&, T*);
TILEGRAD_WINDOW(float)
TILEGRAD_WINDOW(double)
#undef TILEGRAD_WINDOW

}  // namespace tilegrad::nn
