// With P = softmax(S), S = scale Q K^T + mask, Y = (P o R) V (R: what dropout keeps) and G = dL/dY:
//
//   dV = (P o R)^T G     D = (G V^T) o R     dS = P o (D - rowsum(G o Y))
//   dQ = scale dS K      dK = scale dS^T Q
//
// P is made again from the scores and the saved log_sum, block by block. A task has the keys of one
// key head and all queries that look at them, so that no two tasks add to the same gradient.
#include "nn/attention.h"
#include "nn/attention_blocks.h"
#include "runtime/threads.h"
#include "runtime/workspace.h"

namespace tilegrad::nn {
namespace {

template <class T>
void clear_rows(int64_t rows, int64_t width, T* out, int64_t row) {
  for (int64_t r = 0; r < rows; ++r) std::fill_n(out + r * row, width, T(0));
}

template <class T>
struct Backward {
  const Attention<T>& what;
  const HeadRows<const T>&g, &y;
  const T* log_sum;
  const HeadRows<T>&dq, &dk, &dv;

  void key_head(int64_t b, int64_t key_head) const;

 private:
  struct Room {
    T *keys_across, *values_across, *scores, *slopes, *mask, *kept, *dots;
  };
  void block(int64_t b, int64_t h, int64_t key, int64_t columns, int64_t query, int64_t rows,
             const Room& room, const T* dots) const;
};

template <class T>
void Backward<T>::key_head(int64_t b, int64_t key_head) const {
  const auto& [samples, heads, key_heads, queries, keys, features, value_features] = what.shape;
  const int64_t group = heads / key_heads, block_size = kQueryBlock * kKeyBlock;
  const runtime::Scratch scratch(sizeof(T) *
                                 static_cast<size_t>((features + value_features) * kKeyBlock +
                                                     4 * block_size + group * queries));
  Room room{};
  room.keys_across = scratch.as<T>();
  room.values_across = room.keys_across + features * kKeyBlock;
  room.scores = room.values_across + value_features * kKeyBlock;
  room.slopes = room.scores + block_size;
  room.mask = room.slopes + block_size;
  room.kept = room.mask + block_size;
  room.dots = room.kept + block_size;

  clear_rows(keys, features, dk.at(b, key_head), dk.row);
  clear_rows(keys, value_features, dv.at(b, key_head), dv.row);
  for (int64_t i = 0; i < group; ++i) {
    const int64_t h = key_head * group + i;
    clear_rows(queries, features, dq.at(b, h), dq.row);
    attention_kernels<T>().dots(queries, value_features, g.at(b, h), g.row, y.at(b, h), y.row,
                                room.dots + i * queries);
  }
  for (int64_t key = 0; key < keys; key += kKeyBlock) {
    const int64_t columns = std::min(kKeyBlock, keys - key);
    transpose_rows(columns, features, what.k.at(b, key_head) + key * what.k.row, what.k.row,
                   room.keys_across);
    transpose_rows(columns, value_features, what.v.at(b, key_head) + key * what.v.row, what.v.row,
                   room.values_across);
    for (int64_t i = 0; i < group; ++i) {
      for (int64_t query = 0; query < queries; query += kQueryBlock) {
        const int64_t rows = std::min(kQueryBlock, queries - query);
        if (what.causal && query + rows <= key) continue;
        block(b, key_head * group + i, key, columns, query, rows, room, room.dots + i * queries);
      }
      if (runtime::interrupted()) return;
    }
  }
}

template <class T>
void Backward<T>::block(int64_t b, int64_t h, int64_t key, int64_t columns, int64_t query,
                        int64_t rows, const Room& room, const T* dots) const {
  const AttentionShape& shape = what.shape;
  const int64_t features = shape.features, value_features = shape.value_features;
  const int64_t key_head = h / (shape.heads / shape.key_heads);
  const T scale = static_cast<T>(what.scale);
  const T* const q = what.q.at(b, h) + query * what.q.row;
  const T* const k = what.k.at(b, key_head) + key * what.k.row;
  const T* const own = g.at(b, h) + query * g.row;
  multiply_block<T>(rows, columns, features, scale, {q, what.q.row, 1}, room.keys_across, kKeyBlock,
                    T(0), room.scores, kKeyBlock);
  multiply_block<T>(rows, columns, value_features, T(1), {own, g.row, 1}, room.values_across,
                    kKeyBlock, T(0), room.slopes, kKeyBlock);
  const MaskRows<T> mask = mask_rows(what.mask, b, h, query, rows, key, columns, room.mask);
  const bool drops = what.dropout > 0;
  if (drops) kept_weights(what, b, h, query, rows, key, columns, room.kept);
  attention_kernels<T>().slopes(
      {rows, columns, first_seen(what, query, key), mask.data, mask.row, room.scores, kKeyBlock},
      log_sum + (b * shape.heads + h) * shape.queries + query, dots + query,
      drops ? room.kept : nullptr, room.slopes);
  multiply_block<T>(columns, value_features, rows, T(1), {room.scores, 1, kKeyBlock}, own, g.row,
                    T(1), dv.at(b, key_head) + key * dv.row, dv.row);
  multiply_block<T>(columns, features, rows, scale, {room.slopes, 1, kKeyBlock}, q, what.q.row,
                    T(1), dk.at(b, key_head) + key * dk.row, dk.row);
  multiply_block<T>(rows, features, columns, scale, {room.slopes, kKeyBlock, 1}, k, what.k.row,
                    T(1), dq.at(b, h) + query * dq.row, dq.row);
}

}  // namespace

template <class T>
void attention_grad(const Attention<T>& what, const HeadRows<const T>& g,
                    const HeadRows<const T>& y, const T* log_sum, const HeadRows<T>& dq,
                    const HeadRows<T>& dk, const HeadRows<T>& dv) {
  const AttentionShape& shape = what.shape;
  const double work =
      static_cast<double>(shape.samples * shape.heads * shape.queries) *
      static_cast<double>(shape.keys * (3 * shape.features + 2 * shape.value_features));
  const Backward<T> backward{what, g, y, log_sum, dq, dk, dv};
  runtime::parallel_for(shape.samples * shape.key_heads,
                        runtime::threads_for(work, kAttentionGrain), [&](int64_t task) {
                          if (runtime::interrupted()) return;
                          backward.key_head(task / shape.key_heads, task % shape.key_heads);
                        });
}

#define TILEGRAD_INSTANTIATE(T)                                                           \
  template void attention_grad<T>(const Attention<T>&, const HeadRows<const T>&,          \
                                  const HeadRows<const T>&, const T*, const HeadRows<T>&, \
                                  const HeadRows<T>&, const HeadRows<T>&);
TILEGRAD_INSTANTIATE(float)
TILEGRAD_INSTANTIATE(double)
#undef TILEGRAD_INSTANTIATE

}  // namespace tilegrad::nn
