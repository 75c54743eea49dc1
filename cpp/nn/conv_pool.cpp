// Blocks of the convolution's output, pooled while they are in the second-level cache. A block is
// some images, or where one image is too large, some output channels of it.
#include "nn/conv_pool.h"

#include <algorithm>

#include "runtime/cpu.h"
#include "runtime/threads.h"
#include "runtime/workspace.h"

namespace tilegrad::nn {
namespace {

constexpr double kGrain = 5e5;  // multiply-adds worth a thread: some 10 us

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// How the output is cut: units are groups of channels, or the output channels of a single group.
struct Blocks {
  int64_t images, units;         // of a block
  int64_t unit, units_of_image;  // output channels of a unit

  Blocks(const ConvShape& s, int64_t elements, int threads) {
    unit = s.groups > 1 ? s.out_channels / s.groups : 1;
    units_of_image = s.out_channels / unit;
    const int64_t plane = std::max<int64_t>(1, s.output_pixels());
    units = std::clamp<int64_t>(elements / (plane * unit), 1, units_of_image);
    images = units < units_of_image ? 1 : elements / (plane * s.out_channels);
    images = std::clamp<int64_t>(images, 1, std::max<int64_t>(1, ceil_div(s.batch, threads)));
  }
};

}  // namespace

template <class T>
void conv_max_pool(const ConvShape& conv, const PoolShape& pool, const Images<T>& x, const T* w,
                   const T* bias, bool relu, T* y, int64_t* indices) {
  if (pool.planes == 0) return;
  const int threads = runtime::threads_for(conv.products(), kGrain);
  const int64_t room = runtime::cpu_info().l2_bytes / 2 / static_cast<int64_t>(sizeof(T));
  const Blocks blocks(conv, room, threads);
  const int64_t across = ceil_div(blocks.units_of_image, blocks.units);
  const int64_t pixels = conv.output_pixels(), pooled = pool.output_pixels();
  const int64_t weights = conv.channels / conv.groups * conv.taps();  // of one output channel
  const auto block = [&](int64_t task) {
    if (runtime::interrupted()) return;
    ConvShape part = conv;
    const int64_t image = task / across * blocks.images, unit = task % across * blocks.units;
    const int64_t units = std::min(blocks.units, blocks.units_of_image - unit);
    const int64_t channel = unit * blocks.unit;
    part.batch = std::min(blocks.images, conv.batch - image);
    part.out_channels = units * blocks.unit;
    Images<T> from = x;
    from.data += image * x.batch;
    if (conv.groups > 1) {
      part.groups = units;
      part.channels = conv.channels / conv.groups * units;
      from.data += conv.channels / conv.groups * unit * x.channel;
    }
    const runtime::Scratch output(sizeof(T) *
                                  static_cast<size_t>(part.batch * part.out_channels * pixels));
    conv_forward(part, from, w + channel * weights, bias != nullptr ? bias + channel : nullptr,
                 relu, output.as<T>());
    PoolShape planes = pool;
    planes.planes = part.batch * part.out_channels;
    const int64_t at = (image * conv.out_channels + channel) * pooled;
    max_pool(planes, output.as<T>(), y + at, indices + at);
  };
  runtime::parallel_for(ceil_div(conv.batch, blocks.images) * across, threads, block);
}

template void conv_max_pool<float>(const ConvShape&, const PoolShape&, const Images<float>&,
                                   const float*, const float*, bool, float*, int64_t*);
template void conv_max_pool<double>(const ConvShape&, const PoolShape&, const Images<double>&,
                                    const double*, const double*, bool, double*, int64_t*);

}  // namespace tilegrad::nn
