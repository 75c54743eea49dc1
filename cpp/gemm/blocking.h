// How a product is cut: a pure function of sizes, layouts, tile and caches.
#pragma once

#include <cstdint>

namespace tilegrad::gemm {

struct Caches {
  int64_t l1, l2, l3;  // bytes one core sees
};

// What the choice depends on.
struct Shape {
  int64_t m, n, k;
  int item;                // bytes of an element
  int mr, width, vectors;  // largest tile's rows, a vector's elements, vectors of a tile for this m
  bool a_rows;             // A's rows are contiguous
  bool b_rows;             // B's rows are contiguous (else its columns, or neither)
};

struct Blocking {
  int64_t kc;      // length of a k block; the last may be shorter
  int64_t mc, nc;  // at most: multiples of whole tiles
  int64_t depth;   // how much of k B is packed for at a time: whole blocks
  bool pack_a, pack_b;
  bool sliced;  // few rows against a large B: stream B's rows once, accumulators in cache
};

Blocking choose_blocking(const Shape& shape, const Caches& caches);

// The blocks of k alone, all but equal and at most the longest: every path of tiles uses them, so
// that every path gives the same bits.
int64_t longest_k_block();
int64_t k_block(int64_t k);

// For tests and sweeps: nonzero members replace what k_block and choose_blocking say.
struct BlockingOverride {
  int64_t kc, mc, nc;
  int pack_a, pack_b;  // 1: never, 2: always
};
void override_blocking(const BlockingOverride& values);

}  // namespace tilegrad::gemm
