#include "nn/attention.h"

#include <limits>

#include "nn/attention_blocks.h"
#include "runtime/threads.h"
#include "runtime/workspace.h"

namespace tilegrad::nn {
namespace {

// Queries of a task: enough of them to earn back the transposed copy of the keys.
constexpr int64_t kTaskQueries = 8 * kQueryBlock;

// Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014: the i-th number.
uint64_t random_bits(uint64_t seed, uint64_t i) {
  uint64_t z = seed + (i + 1) * 0x9e3779b97f4a7c15u;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

template <class T>
void multiply_row(int64_t n, const T* factors, T* x) {
  for (int64_t i = 0; i < n; ++i) x[i] *= factors[i];
}

// Some queries of one head against all keys they see.
template <class T>
void forward_queries(const Attention<T>& what, int64_t b, int64_t h, int64_t begin, int64_t end,
                     const HeadRows<T>& y, T* log_sum) {
  const auto& [samples, heads, key_heads, queries, keys, features, value_features] = what.shape;
  const int64_t key_head = h / (heads / key_heads), count = end - begin;
  const T *q = what.q.at(b, h), *k = what.k.at(b, key_head), *v = what.v.at(b, key_head);
  T* const out = y.at(b, h);
  const int64_t block = kQueryBlock * kKeyBlock;
  const runtime::Scratch scratch(
      sizeof(T) * static_cast<size_t>(features * kKeyBlock + 3 * block + 2 * count + kQueryBlock));
  T* const keys_across = scratch.as<T>();
  T *const scores = keys_across + features * kKeyBlock, *const room = scores + block,
           *const kept = room + block;
  T *const top = kept + block, *const sum = top + count, *const shrink = sum + count;
  std::fill_n(top, count, -std::numeric_limits<T>::infinity());
  std::fill_n(sum, count, T(0));
  for (int64_t i = begin; i < end; ++i) std::fill_n(out + i * y.row, value_features, T(0));

  const int64_t last_key = what.causal ? std::min(keys, end) : keys;
  for (int64_t key = 0; key < last_key; key += kKeyBlock) {
    const int64_t columns = std::min(kKeyBlock, last_key - key);
    transpose_rows(columns, features, k + key * what.k.row, what.k.row, keys_across);
    for (int64_t query = begin; query < end; query += kQueryBlock) {
      const int64_t rows = std::min(kQueryBlock, end - query), at = query - begin;
      if (what.causal && query + rows <= key) continue;
      multiply_block<T>(rows, columns, features, static_cast<T>(what.scale),
                        {q + query * what.q.row, what.q.row, 1}, keys_across, kKeyBlock, T(0),
                        scores, kKeyBlock);
      const MaskRows<T> mask = mask_rows(what.mask, b, h, query, rows, key, columns, room);
      attention_kernels<T>().weigh(
          {rows, columns, first_seen(what, query, key), mask.data, mask.row, scores, kKeyBlock},
          top + at, sum + at, shrink);
      if (what.dropout > 0) {
        kept_weights(what, b, h, query, rows, key, columns, kept);
        for (int64_t i = 0; i < rows; ++i) {
          multiply_row(columns, kept + i * kKeyBlock, scores + i * kKeyBlock);
        }
      }
      T* const own = out + query * y.row;
      attention_kernels<T>().scale(rows, value_features, shrink, own, y.row);
      multiply_block<T>(rows, value_features, columns, T(1), {scores, kKeyBlock, 1},
                        v + key * what.v.row, what.v.row, T(1), own, y.row);
    }
    if (runtime::interrupted()) return;
  }
  attention_kernels<T>().finish(count, value_features, top, sum, out + begin * y.row, y.row,
                                log_sum + (b * heads + h) * queries + begin);
}

}  // namespace

template <class T>
MaskRows<T> mask_rows(const ScoreMask<T>& mask, int64_t b, int64_t h, int64_t query, int64_t rows,
                      int64_t key, int64_t columns, T* room) {
  if (mask.added == nullptr && mask.seen == nullptr) return {nullptr, 0};
  const int64_t at = b * mask.sample + h * mask.head + query * mask.row + key * mask.column;
  if (mask.added != nullptr && (mask.column == 1 || columns == 1))
    return {mask.added + at, mask.row};
  const int64_t distinct = mask.row == 0 ? 1 : rows;
  for (int64_t r = 0; r < distinct; ++r) {
    for (int64_t c = 0; c < columns; ++c) {
      const int64_t place = at + r * mask.row + c * mask.column;
      room[r * kKeyBlock + c] = mask.added != nullptr   ? mask.added[place]
                                : mask.seen[place] != 0 ? T(0)
                                                        : -std::numeric_limits<T>::infinity();
    }
  }
  return {room, mask.row == 0 ? 0 : kKeyBlock};
}

template <class T>
void kept_weights(const Attention<T>& what, int64_t b, int64_t h, int64_t query, int64_t rows,
                  int64_t key, int64_t columns, T* kept) {
  constexpr int kBits = 24;
  const auto threshold = static_cast<uint64_t>(what.dropout * (uint64_t{1} << kBits));
  const T scale = what.dropout < 1 ? static_cast<T>(1 / (1 - what.dropout)) : T(0);
  const AttentionShape& shape = what.shape;
  for (int64_t r = 0; r < rows; ++r) {
    const int64_t row = (b * shape.heads + h) * shape.queries + query + r;
    const auto first = static_cast<uint64_t>(row * shape.keys + key);
    for (int64_t c = 0; c < columns; ++c) {
      const uint64_t bits = random_bits(what.seed, first + static_cast<uint64_t>(c));
      kept[r * kKeyBlock + c] = bits >> (64 - kBits) >= threshold ? scale : T(0);
    }
  }
}

template <class T>
void attention(const Attention<T>& what, const HeadRows<T>& y, T* log_sum) {
  const AttentionShape& shape = what.shape;
  const int64_t chunks = (shape.queries + kTaskQueries - 1) / kTaskQueries;
  const int64_t tasks = shape.samples * shape.heads * chunks;
  const double work = static_cast<double>(shape.samples * shape.heads * shape.queries) *
                      static_cast<double>(shape.keys * (shape.features + shape.value_features));
  runtime::parallel_for(tasks, runtime::threads_for(work, kAttentionGrain), [&](int64_t task) {
    const int64_t head = task / chunks, begin = task % chunks * kTaskQueries;
    if (runtime::interrupted()) return;
    forward_queries(what, head / shape.heads, head % shape.heads, begin,
                    std::min(shape.queries, begin + kTaskQueries), y, log_sum);
  });
}

#define TILEGRAD_INSTANTIATE(T)                                                                   \
  template void attention<T>(const Attention<T>&, const HeadRows<T>&, T*);                        \
  template MaskRows<T> mask_rows<T>(const ScoreMask<T>&, int64_t, int64_t, int64_t, int64_t,      \
                                    int64_t, int64_t, T*);                                        \
  template void kept_weights<T>(const Attention<T>&, int64_t, int64_t, int64_t, int64_t, int64_t, \
                                int64_t, T*);
TILEGRAD_INSTANTIATE(float)
TILEGRAD_INSTANTIATE(double)
#undef TILEGRAD_INSTANTIATE

}  // namespace tilegrad::nn
