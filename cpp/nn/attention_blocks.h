// Blocks of scores: what forward and backward of attention share.
#pragma once

#include <algorithm>

#include "gemm/pack.h"
#include "nn/attention.h"
#include "nn/block_product.h"
#include "simd/table.h"

namespace tilegrad::nn {

// A block of scores and what it is made of fit L1 or little more: 32 KiB in float32.
constexpr int64_t kQueryBlock = 64, kKeyBlock = 128;
constexpr double kAttentionGrain = 3e6;  // multiply-adds worth a thread

template <class T>
const simd::AttentionKernels<T>& attention_kernels() {
  if constexpr (sizeof(T) == sizeof(float)) {
    return simd::table().attention_f32;
  } else {
    return simd::table().attention_f64;
  }
}

// out (k rows, kKeyBlock apart) = the transpose of `count` rows of k elements.
template <class T>
void transpose_rows(int64_t count, int64_t k, const T* rows, int64_t row, T* out) {
  const simd::GemmKernels<T>& kernels = gemm::kernels<T>();
  const int width = kernels.width, whole = (static_cast<int>(count) + width - 1) / width * width;
  kernels.pack_transpose(k, static_cast<int>(count), whole, rows, row, out, kKeyBlock);
}

// The mask's numbers for a block, laid out in `room` (a block) where they are not numbers side by
// side; null without a mask.
template <class T>
struct MaskRows {
  const T* data;
  int64_t row;
};
template <class T>
MaskRows<T> mask_rows(const ScoreMask<T>& mask, int64_t b, int64_t h, int64_t query, int64_t rows,
                      int64_t key, int64_t columns, T* room);

// What dropout multiplies the weights of a block by, as their places say: 1 / (1 - p) or 0.
template <class T>
void kept_weights(const Attention<T>& what, int64_t b, int64_t h, int64_t query, int64_t rows,
                  int64_t key, int64_t columns, T* kept);

// How many of a block's columns its first row sees.
template <class T>
int64_t first_seen(const Attention<T>& what, int64_t query, int64_t key) {
  return what.causal ? query - key + 1 : what.shape.keys;
}

}  // namespace tilegrad::nn
