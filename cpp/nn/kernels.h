// The tables of the type at hand.
#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>

#include "simd/table.h"

namespace tilegrad::nn {

template <class T>
void set_zero(T* to, int64_t count) {
  if (count > 0) std::memset(to, 0, sizeof(T) * static_cast<size_t>(count));
}

template <class T>
const simd::ConvKernels<T>& conv_kernels() {
  if constexpr (std::is_same_v<T, float>) {
    return simd::table().conv_f32;
  } else {
    return simd::table().conv_f64;
  }
}

template <class T>
const simd::NormKernels<T>& norm_kernels() {
  if constexpr (std::is_same_v<T, float>) {
    return simd::table().norm_f32;
  } else {
    return simd::table().norm_f64;
  }
}

template <class T>
const simd::PoolKernels<T>& pool_kernels() {
  if constexpr (std::is_same_v<T, float>) {
    return simd::table().pool_f32;
  } else {
    return simd::table().pool_f64;
  }
}

}  // namespace tilegrad::nn
