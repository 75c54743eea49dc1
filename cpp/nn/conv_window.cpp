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
void copy_window(const Axis (&axes)[kSpatial], const WindowLayout& layout, const Box& box,
                 int64_t channels, const Images<T>& from, T* copy) {
  const Axis &z = axes[0], &y = axes[1], &x = axes[2];
  const int64_t depth = box.size[0] + z.span, height = box.size[1] + y.span;
  const int64_t width = box.size[2] + x.span;
  const auto image_row = [&](const T* plane, int y_class, int x_class, T* to) {
    const Inside rows = inside(y, y_class, box.begin[1], height);
    const Inside columns = inside(x, x_class, box.begin[2], width);
    const int64_t y0 =
        (box.begin[1] + y.first) * y.stride + y.residue[static_cast<size_t>(y_class)];
    const int64_t x0 =
        (box.begin[2] + x.first) * x.stride + x.residue[static_cast<size_t>(x_class)];
    const int64_t count = columns.end - columns.begin;
    if (rows.begin == rows.end || count == 0) {
      set_zero(to, height * layout.row + layout.shared);
      return;
    }
    // Zeros before the first pixel; then each row's pixels and the zeros up to the next one's.
    T* const at = to + rows.begin * layout.row + columns.begin;
    set_zero(to, at - to);
    const T* source = plane + (y0 + rows.begin * y.stride) * from.pixel[1] +
                      (x0 + columns.begin * x.stride) * from.pixel[2];
    conv_kernels<T>().rows_to_window(rows.end - rows.begin, count, source, y.stride * from.pixel[1],
                                     x.stride * from.pixel[2], at, layout.row,
                                     layout.row - columns.begin);
    set_zero(to + rows.end * layout.row, (height - rows.end) * layout.row + layout.shared);
  };
  for (int64_t n = 0; n < box.images; ++n) {
    for (int64_t c = 0; c < channels; ++c) {
      const T* source = from.data + (box.image + n) * from.batch + c * from.channel;
      T* const target = copy + n * layout.image + c * layout.channel;
      for (int z_of = 0; z_of < z.classes(); ++z_of) {
        const Inside slices = inside(z, z_of, box.begin[0], depth);
        const int64_t z0 =
            (box.begin[0] + z.first) * z.stride + z.residue[static_cast<size_t>(z_of)];
        for (int64_t u = 0; u < depth; ++u) {
          T* slice = target + (z_of * layout.depth + u) * layout.slice;
          if (u < slices.begin || u >= slices.end) {
            set_zero(slice, layout.slice);
            continue;
          }
          const T* plane = source + (z0 + u * z.stride) * from.pixel[0];
          for (int y_of = 0; y_of < y.classes(); ++y_of) {
            for (int x_of = 0; x_of < x.classes(); ++x_of) {
              image_row(plane, y_of, x_of, slice + (y_of * x.classes() + x_of) * layout.plane);
            }
          }
        }
      }
    }
  }
}

template void copy_window<float>(const Axis (&)[kSpatial], const WindowLayout&, const Box&, int64_t,
                                 const Images<float>&, float*);
template void copy_window<double>(const Axis (&)[kSpatial], const WindowLayout&, const Box&,
                                  int64_t, const Images<double>&, double*);

}  // namespace tilegrad::nn
