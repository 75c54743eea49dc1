// What single elementwise operations and chains of them share: the loops, and when threads pay.
#pragma once

#include <cstdint>

#include "simd/elementwise.h"
#include "simd/table.h"

namespace tilegrad::nn {

template <class T>
typename simd::ElementwiseKernels<T>::Loop loop_of(simd::ElementwiseOp op) {
  const auto index = static_cast<size_t>(op);
  if constexpr (sizeof(T) == sizeof(float)) {
    return simd::table().elementwise_f32.loops[index];
  } else {
    return simd::table().elementwise_f64.loops[index];
  }
}

// Threads for n elements of this cost each, beside an addition's in cache, and the elements of a
// task: all of them for one thread.
int map_threads(int64_t n, double cost);
int64_t map_task(int64_t n, double cost);

}  // namespace tilegrad::nn
