// softmax(scale Q K^T + mask) V for many heads, block by block: no matrix of queries x keys exists.
// Dao, Fu, Ermon, Rudra and Re, "FlashAttention", 2022.
#pragma once

#include <cstdint>

namespace tilegrad::nn {

// Rows of every head of every sample: row i of head h of sample b is at
// data + b * sample + h * head + i * row, its elements side by side.
template <class T>
struct HeadRows {
  T* data;
  int64_t sample, head, row;
  T* at(int64_t b, int64_t h) const { return data + b * sample + h * head; }
};

struct AttentionShape {
  int64_t samples, heads, key_heads;  // heads is a multiple of key_heads
  int64_t queries, keys, features, value_features;
};

// What hides scores. Numbers are added to them; bytes that are 0 hide. One of the two, or neither.
template <class T>
struct ScoreMask {
  const T* added;
  const uint8_t* seen;
  int64_t sample, head, row, column;  // strides, 0 where it is broadcast
};

template <class T>
struct Attention {
  AttentionShape shape;
  HeadRows<const T> q, k, v;
  ScoreMask<T> mask;
  bool causal;  // query i sees keys 0 ... i
  double scale;
  double dropout;  // of weights, with numbers drawn by `seed` and place; 0: none
  uint64_t seed;
};

// y (queries x value_features of each head) and log_sum (samples, heads, queries), contiguous.
template <class T>
void attention(const Attention<T>& what, const HeadRows<T>& y, T* log_sum);

// dq, dk and dv from g, the gradient of y.
template <class T>
void attention_grad(const Attention<T>& what, const HeadRows<const T>& g,
                    const HeadRows<const T>& y, const T* log_sum, const HeadRows<T>& dq,
                    const HeadRows<T>& dk, const HeadRows<T>& dv);

}  // namespace tilegrad::nn
