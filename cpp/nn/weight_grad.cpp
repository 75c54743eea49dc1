#include "nn/weight_grad.h"

#include <algorithm>

#include "runtime/cpu.h"
#include "runtime/threads.h"

namespace tilegrad::nn {
namespace {

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

constexpr double kGrain = 5e5;          // multiply-adds worth a thread: some 10 us
constexpr int64_t kMostChunks = 16;     // shares for the threads of a small machine
constexpr int64_t kChunkPixels = 256;   // fewer do not pay for a sum of their own
constexpr int64_t kSumBytes = 8 << 20;  // of all chunks' sums together

}  // namespace

template <class T>
WeightGrad<T>::WeightGrad(const ConvShape& s, const Images<T>& g_images, const Images<T>& x_images,
                          T* result)
    : shape(s),
      g(g_images),
      x(x_images),
      dw(result),
      rows(s.out_channels / s.groups),
      channels(s.channels / s.groups),
      taps(s.taps()),
      columns(channels * taps),
      pixels(s.output_pixels()),
      threads(runtime::threads_for(s.products(), kGrain)) {
  for (int i = 0; i < kSpatial; ++i) axes[i] = forward_axis(s, i);
}

template <class T>
bool WeightGrad<T>::pointwise() const {
  int64_t dense = 1;
  for (int i = kSpatial - 1; i >= 0; --i) {
    if (!axes[i].identity()) return false;
    if (axes[i].output > 1 && (x.pixel[i] != dense || g.pixel[i] != dense)) return false;
    dense *= axes[i].output;
  }
  return true;
}

// Costs relative to the products themselves. Dots: their loads (a third; in a window nearly all of
// them cross cache lines, which takes one and a half times the products), adding up lanes (some 100
// cycles for 24 of them, which take 12 cycles for a vector of pixels) and empty lanes at the ends
// of rows. Channels: the transposes of g and x (a quarter of a cycle an element, and as much for
// the window) and empty lanes in the last block of channels.
template <class T>
bool WeightGrad<T>::dots_are_cheaper() const {
  const int64_t width = kernels.width;
  if (4 * channels <= width) return true;  // most lanes would be empty
  const int64_t row = pointwise() ? pixels : shape.output[2];
  const double filled =
      static_cast<double>(row) / static_cast<double>(ceil_div(row, width) * width);
  const double vectors = static_cast<double>(std::min(box_pixels(columns), shape.batch * pixels)) /
                         static_cast<double>(width);
  const double dots = ((pointwise() ? 1.3 : 2.6) + 8 / vectors) / filled;
  const double used =
      static_cast<double>(channels) / static_cast<double>(ceil_div(channels, width) * width);
  const double copies = 8 / static_cast<double>(columns) + 12 / static_cast<double>(rows);
  return dots < (1 + copies) / used;
}

template <class T>
int64_t WeightGrad<T>::box_pixels(int64_t width) const {
  const int64_t half = runtime::cpu_info().l2_bytes / 2 / static_cast<int64_t>(sizeof(T));
  return std::clamp<int64_t>(half / std::max<int64_t>(1, std::min(width, rows)), 64, 4096);
}

template <class T>
void WeightGrad<T>::choose_boxes(int64_t wanted) {
  largest.images = 1;
  for (int i = 0; i < kSpatial; ++i) largest.size[i] = shape.output[i];
  if (pixels <= wanted) {
    const int64_t chunks_wanted = std::min(kMostChunks, shape.batch * pixels / kChunkPixels);
    const int64_t most = ceil_div(shape.batch, std::max<int64_t>(1, chunks_wanted));
    largest.images = std::min(most, wanted / pixels);
  }
  for (int i = 0; i < kSpatial && volume(largest) > wanted; ++i) {
    const int64_t slice = volume(largest) / largest.size[i];
    largest.size[i] = std::max<int64_t>(1, wanted / slice);
  }
  boxes[0] = ceil_div(shape.batch, largest.images);
  for (int i = 0; i < kSpatial; ++i) boxes[1 + i] = ceil_div(shape.output[i], largest.size[i]);
}

template <class T>
Box WeightGrad<T>::box(int64_t index) const {
  Box result{};
  for (int i = kSpatial - 1; i >= 0; --i) {
    result.begin[i] = index % boxes[1 + i] * largest.size[i];
    result.size[i] = std::min(largest.size[i], shape.output[i] - result.begin[i]);
    index /= boxes[1 + i];
  }
  result.image = index * largest.images;
  result.images = std::min(largest.images, shape.batch - result.image);
  return result;
}

// Powers of two: even shares for two, four, ... threads.
template <class T>
void WeightGrad<T>::choose_chunks(int64_t sum_elements) {
  const int64_t bytes = std::max<int64_t>(1, sum_elements * static_cast<int64_t>(sizeof(T)));
  const int64_t most =
      std::min({kMostChunks, kSumBytes / bytes, box_count(), shape.batch * pixels / kChunkPixels});
  chunks = 1;
  while (2 * chunks <= most) chunks *= 2;
}

template <class T>
typename WeightGrad<T>::Rows WeightGrad<T>::rows_of(const Box& box, int64_t group, T* copy) const {
  const T* from = g.data + box.image * g.batch + group * rows * g.channel;
  for (int i = 0; i < kSpatial; ++i) from += box.begin[i] * g.pixel[i];
  if (g.pixel[2] == 1) return {from, g.channel, g.batch, g.pixel[0], g.pixel[1]};
  const int64_t row = box.size[2], slice = row * box.size[1], image = slice * box.size[0];
  const Rows result{copy, image * box.images, image, slice, row};
  for (int64_t o = 0; o < rows; ++o) {
    for (int64_t n = 0; n < box.images; ++n) {
      for (int64_t z = 0; z < box.size[0]; ++z) {
        for (int64_t y = 0; y < box.size[1]; ++y) {
          const T* at = from + o * g.channel + n * g.batch + z * g.pixel[0] + y * g.pixel[1];
          for (int64_t u = 0; u < row; ++u) *copy++ = at[u * g.pixel[2]];
        }
      }
    }
  }
  return result;
}

template <class T>
void conv_weight_grad(const ConvShape& shape, const Images<T>& g, const Images<T>& x, T* dw) {
  WeightGrad<T> plan(shape, g, x, dw);
  const int64_t size = shape.out_channels * plan.columns;
  if (shape.batch * plan.pixels == 0 || size == 0) {
    set_zero(dw, size);
  } else if (plan.dots_are_cheaper()) {
    add_up_dots(plan);
  } else {
    add_up_channels(plan);
  }
}

template struct WeightGrad<float>;
template struct WeightGrad<double>;
template void conv_weight_grad<float>(const ConvShape&, const Images<float>&, const Images<float>&,
                                      float*);
template void conv_weight_grad<double>(const ConvShape&, const Images<double>&,
                                       const Images<double>&, double*);

}  // namespace tilegrad::nn
