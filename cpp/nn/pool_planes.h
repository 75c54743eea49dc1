// What the pooling drivers share: planes over threads, and ranges of windows and taps.
#pragma once

#include <algorithm>
#include <cstdint>

#include "nn/pool.h"
#include "runtime/threads.h"

namespace tilegrad::nn {

constexpr double kPoolGrain = 1e5;               // elements worth a thread: some 20 us
constexpr int64_t kPoolTask = int64_t{1} << 14;  // elements of a task

// body(first, last) for runs of planes; `elements` are read and written for each plane.
template <class Body>
void for_planes(int64_t planes, int64_t elements, Body&& body) {
  const int64_t step = std::max<int64_t>(1, kPoolTask / std::max<int64_t>(1, elements));
  const int threads =
      runtime::threads_for(static_cast<double>(planes) * static_cast<double>(elements), kPoolGrain);
  runtime::parallel_for((planes + step - 1) / step, threads, [&](int64_t task) {
    if (runtime::interrupted()) return;
    body(task * step, std::min(planes, (task + 1) * step));
  });
}

struct Range {
  int64_t begin, end;
  int64_t size() const { return end - begin; }
};

// Taps of window p that lie inside the image, along axis i.
inline Range taps_inside(const PoolShape& s, int i, int64_t p) {
  const int64_t at = p * s.stride[i] - s.low[i], d = s.dilation[i];
  const int64_t begin = at >= 0 ? 0 : (-at + d - 1) / d;
  const int64_t end = at >= s.image[i] ? 0 : (s.image[i] - at + d - 1) / d;
  return {std::min(begin, s.kernel[i]),
          std::max(std::min(begin, s.kernel[i]), std::min(end, s.kernel[i]))};
}

// Windows along axis i that lie inside the image with all their taps.
inline Range whole_windows(const PoolShape& s, int i) {
  const int64_t begin = (s.low[i] + s.stride[i] - 1) / s.stride[i];
  const int64_t room = s.image[i] + s.low[i] - (s.kernel[i] - 1) * s.dilation[i];
  const int64_t end = room <= 0 ? 0 : (room + s.stride[i] - 1) / s.stride[i];
  const int64_t first = std::min(begin, s.output[i]);
  return {first, std::max(first, std::min(end, s.output[i]))};
}

}  // namespace tilegrad::nn
