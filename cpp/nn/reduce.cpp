#include "nn/reduce.h"

#include <algorithm>
#include <cstdlib>
#include <numeric>
#include <utility>

#include "nn/elementwise.h"
#include "runtime/threads.h"
#include "runtime/workspace.h"
#include "simd/table.h"

namespace tilegrad::nn {
namespace {

using runtime::Scratch;
using simd::Reduction;

// Waking a thread (some 5 us) pays from this many elements on (0.05 ns each in cache).
constexpr double kGrain = 2e5;
// A sum longer than two chunks is made of chunks of this size, whatever the number of threads.
constexpr int64_t kChunk = 1 << 16;

template <class T>
const simd::ReduceKernels<T>& kernels() {
  if constexpr (sizeof(T) == sizeof(float)) {
    return simd::table().reduce_f32;
  } else {
    return simd::table().reduce_f64;
  }
}

int threads_for_elements(int64_t count) {
  const auto work = static_cast<double>(count);
  return work < 2 * kGrain ? 1 : runtime::threads_for(work, kGrain);
}

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

template <class T>
Scratch scratch(int64_t count) {
  return Scratch(static_cast<size_t>(count) * sizeof(T));
}

// x (rows, n) -> out (rows)
template <class T>
void reduce_rows(Reduction kind, int64_t rows, int64_t n, const T* x, T* out) {
  const auto kernel = kernels<T>().rows[static_cast<int>(kind)];
  const int threads = threads_for_elements(rows * n);
  if (n <= 2 * kChunk) {
    const int64_t run = std::max<int64_t>(1, kChunk / std::max<int64_t>(n, 1));
    runtime::parallel_for(ceil_div(rows, run), threads, [&](int64_t task) {
      const int64_t first = task * run;
      kernel(std::min(run, rows - first), n, x + first * n, out + first);
    });
    return;
  }
  const int64_t chunks = ceil_div(n, kChunk);
  const Scratch partial = scratch<T>(rows * chunks);
  runtime::parallel_for(rows * chunks, threads, [&](int64_t task) {
    const int64_t row = task / chunks, first = (task % chunks) * kChunk;
    kernel(1, std::min(kChunk, n - first), x + row * n + first, partial.as<T>() + task);
  });
  reduce_rows(kind, rows, chunks, partial.as<T>(), out);
}

// x (outer, n, inner) -> out (outer, inner), inner > 1
template <class T>
void reduce_columns(Reduction kind, int64_t outer, int64_t n, int64_t inner, const T* x, T* out) {
  constexpr int64_t kTile = 256;  // columns of a task: whole cache lines, a few tiles of vectors
  const auto kernel = kernels<T>().columns[static_cast<int>(kind)];
  const int threads = threads_for_elements(outer * n * inner);
  if (n * std::min(inner, kTile) <= 2 * kChunk || n < 128) {
    const int64_t width = threads > 1 ? std::min(inner, kTile) : inner;
    const int64_t tiles = ceil_div(inner, width);
    runtime::parallel_for(outer * tiles, threads, [&](int64_t task) {
      const int64_t block = task / tiles, first = (task % tiles) * width;
      kernel(n, std::min(width, inner - first), x + block * n * inner + first, inner,
             out + block * inner + first);
    });
    return;
  }
  const int64_t run = std::max<int64_t>(64, kChunk / inner), chunks = ceil_div(n, run);
  const Scratch partial = scratch<T>(outer * chunks * inner);
  runtime::parallel_for(outer * chunks, threads, [&](int64_t task) {
    const int64_t block = task / chunks, first = (task % chunks) * run;
    kernel(std::min(run, n - first), inner, x + (block * n + first) * inner, inner,
           partial.as<T>() + task * inner);
  });
  reduce_columns(kind, outer, chunks, inner, partial.as<T>(), out);
}

struct Axis {
  int64_t length, stride;
  bool reduced;
  int place;  // among the given axes
};

bool is_packed(const Axis* axes, int count) {
  int64_t expected = 1;
  for (int d = count - 1; d >= 0; --d) {
    if (axes[d].stride != expected) return false;
    expected *= axes[d].length;
  }
  return true;
}

// Neighbours that are both reduced or both kept become one. Returns how many are left.
int merge(Axis* axes, int count) {
  int left = 0;
  for (int d = 0; d < count; ++d) {
    if (left > 0 && axes[left - 1].reduced == axes[d].reduced) {
      axes[left - 1].length *= axes[d].length;
    } else {
      axes[left++] = axes[d];
    }
  }
  return left;
}

// x is packed in the order of `axes`, and so is out in that of the kept ones. Innermost first.
template <class T>
void reduce_packed(Reduction kind, Axis* axes, int count, const T* x, T* out) {
  count = merge(axes, count);
  int last = count - 1;
  while (last >= 0 && !axes[last].reduced) --last;
  int64_t outer = 1, inner = 1;
  for (int d = 0; d < last; ++d) outer *= axes[d].length;
  for (int d = last + 1; d < count; ++d) inner *= axes[d].length;
  const int64_t n = last >= 0 ? axes[last].length : 1;
  const bool more = last >= 2;
  const Scratch partial = scratch<T>(more ? outer * inner : 0);
  T* target = more ? partial.as<T>() : out;
  if (inner == 1) {
    reduce_rows(kind, outer, n, x, target);
  } else {
    reduce_columns(kind, outer, n, inner, x, target);
  }
  if (!more) return;
  std::copy(axes + last + 1, axes + count, axes + last);
  reduce_packed(kind, axes, count - 1, partial.as<T>(), out);
}

template <class T>
void copy_strided(int ndim, const int64_t* shape, const int64_t* strides, const T* from, T* to) {
  int64_t packed[kMaxDims], stride = 1;
  for (int d = ndim - 1; d >= 0; --d) {
    packed[d] = stride;
    stride *= shape[d];
  }
  const MapInput input{from, strides, false};
  const T unused[simd::kMaxParameters] = {};
  map<T>(simd::ElementwiseOp::positive, ndim, shape, &input, to, packed, unused);
}

// The result, packed in the order of the sorted axes, into `out` in the order of the given ones.
template <class T>
void deliver(const Axis* sorted, int count, const T* from, T* out) {
  int64_t shape[kMaxDims], strides[kMaxDims], stride = 1;
  int place[kMaxDims], left = 0;
  for (int d = count - 1; d >= 0; --d) {
    if (sorted[d].reduced) continue;
    int i = left++;  // insert where its place belongs
    for (; i > 0 && place[i - 1] > sorted[d].place; --i) {
      place[i] = place[i - 1];
      shape[i] = shape[i - 1];
      strides[i] = strides[i - 1];
    }
    place[i] = sorted[d].place;
    shape[i] = sorted[d].length;
    strides[i] = stride;
    stride *= sorted[d].length;
  }
  copy_strided(left, shape, strides, from, out);
}

}  // namespace

template <class T>
void reduce(Reduction kind, int ndim, const int64_t* shape, const int64_t* strides,
            const bool* reduced, const T* x, T* out) {
  Axis axes[kMaxDims];
  int count = 0;
  int64_t size = 1, result = 1;
  for (int d = 0; d < ndim; ++d) {
    size *= shape[d];
    if (!reduced[d]) result *= shape[d];
    if (shape[d] != 1) axes[count++] = {shape[d], strides[d], reduced[d], d};
  }
  if (result == 0) return;
  if (size == 0) {
    kernels<T>().rows[static_cast<int>(kind)](result, 0, x, out);
    return;
  }
  if (is_packed(axes, count)) return reduce_packed(kind, axes, count, x, out);

  // A permutation of a packed array is reduced in the order of memory.
  Axis sorted[kMaxDims];
  std::copy_n(axes, count, sorted);
  std::stable_sort(sorted, sorted + count,
                   [](const Axis& a, const Axis& b) { return a.stride > b.stride; });
  if (is_packed(sorted, count)) {
    const Scratch partial = scratch<T>(result);
    Axis work[kMaxDims];
    std::copy_n(sorted, count, work);
    reduce_packed(kind, work, count, x, partial.as<T>());
    return deliver(sorted, count, partial.as<T>(), out);
  }
  const Scratch packed = scratch<T>(size);
  copy_strided(ndim, shape, strides, x, packed.as<T>());
  reduce_packed(kind, axes, count, packed.as<T>(), out);
}

template <class T>
void reduce_places(bool largest, int64_t rows, int64_t n, const T* x, int64_t* out) {
  const auto kernel = largest ? kernels<T>().argmax : kernels<T>().argmin;
  const int64_t run = std::max<int64_t>(1, kChunk / n);
  runtime::parallel_for(ceil_div(rows, run), threads_for_elements(rows * n), [&](int64_t task) {
    const int64_t end = std::min(rows, (task + 1) * run);
    for (int64_t r = task * run; r < end; ++r) out[r] = kernel(n, x + r * n);
  });
}

template <class T>
double square_sum(int64_t n, const T* x) {
  if (n <= 2 * kChunk) return kernels<T>().square_sum(n, x);
  const int64_t chunks = ceil_div(n, kChunk);
  const Scratch partial = scratch<double>(chunks);
  runtime::parallel_for(chunks, threads_for_elements(n), [&](int64_t task) {
    const int64_t first = task * kChunk;
    partial.as<double>()[task] = kernels<T>().square_sum(std::min(kChunk, n - first), x + first);
  });
  double total;
  reduce_rows<double>(Reduction::sum, 1, chunks, partial.as<double>(), &total);
  return total;
}

template void reduce<float>(Reduction, int, const int64_t*, const int64_t*, const bool*,
                            const float*, float*);
template void reduce<double>(Reduction, int, const int64_t*, const int64_t*, const bool*,
                             const double*, double*);
template void reduce_places<float>(bool, int64_t, int64_t, const float*, int64_t*);
template void reduce_places<double>(bool, int64_t, int64_t, const double*, int64_t*);
template double square_sum<float>(int64_t, const float*);
template double square_sum<double>(int64_t, const double*);

}  // namespace tilegrad::nn
