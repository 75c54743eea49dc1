#include "nn/correlate_planes.h"

#include "runtime/workspace.h"

namespace tilegrad::nn {
namespace {

// Elements of windows for each task, some 10 us; and of those that are
// copied at a time, a third of the first-level cache.
constexpr int64_t kPlanesElements = 1 << 15;
constexpr int64_t kRoundElements = 1 << 12, kMostRound = 32;

}  // namespace

template <class T>
void run_planes(const CorrelationPlan<T>& plan, const Box& box, const T* x, const T* weights,
                T bias, T* y) {
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

template <class T>
void correlate_planes(const CorrelationPlan<T>& plan) {
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
  runtime::parallel_for(ceil_quotient(planes, step), plan.threads, [&](int64_t task) {
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

#define TILEGRAD_PLANES(T)                                                                       \
  template void run_planes<T>(const CorrelationPlan<T>&, const Box&, const T*, const T*, T, T*); \
  template void spread_pixels<T>(const Correlation<T>&, const Box&, int64_t, const T*, T*);      \
  template void correlate_planes<T>(const CorrelationPlan<T>&);
TILEGRAD_PLANES(float)
TILEGRAD_PLANES(double)
#undef TILEGRAD_PLANES

}  // namespace tilegrad::nn
