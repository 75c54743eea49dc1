// The ways a product may take, each in a file of its own, and the numbers they share. All take C
// with contiguous rows and k > 0.
#pragma once

#include <cstdint>

#include "gemm/blocking.h"
#include "gemm/gemm.h"
#include "gemm/pack.h"

namespace tilegrad::gemm {

// Multiply-adds that are worth a thread of their own, some 25 us of one core: below, two threads
// lose to one (128: 0.97 times as fast, 192: 1.14 times).
constexpr double kThreadGrain = 3e6;
// Tasks per thread: enough to even out a disturbed processor, few enough to keep blocks large.
constexpr int64_t kTasksPerThread = 4;

inline int64_t divide_up(int64_t x, int64_t unit) { return (x + unit - 1) / unit; }

inline double multiply_adds(int64_t m, int64_t n, int64_t k) {
  return static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k);
}

const Caches& caches();

// An activation other than relu, on rows [i0, i1) and columns [j0, j1) of C. The five loops call it
// themselves; after the other ways it is the caller's to call.
template <class T>
void activate(const Product<T>& g, int64_t i0, int64_t i1, int64_t j0, int64_t j1);

// The five loops, on row panels as given and panels of B nr wide.
template <class T>
void blocked(const Product<T>& g, const Blocking& plan, Panels rows, int64_t nr, int threads);

// One row of tiles against a B that does not fit the cache. B's rows are contiguous.
template <class T>
void sliced(const Product<T>& g, int64_t kc, int threads);

// Operands and result in L1: rows of tiles, one after the other, without a plan.
template <class T>
bool wants_small(const Product<T>& g);
template <class T>
void small(const Product<T>& g);

// Next to nothing to add up, a large C to write: whole rows of C, a few at a time, in the order of
// memory. One block of k, and B's rows are contiguous.
constexpr int64_t kThinDepth = 4;
template <class T>
void thin(const Product<T>& g, int threads);

// Dot products, where both operands are contiguous along k and there is little to earn back a
// transposition with.
template <class T>
bool wants_dots(const Product<T>& g);
template <class T>
void dots(const Product<T>& g, int threads);

}  // namespace tilegrad::gemm
