// A line: the elements that share one mean, as runs of contiguous elements.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "nn/kernels.h"

namespace tilegrad::nn {

// Sums of T run over at most so many elements, and are added up in float64.
constexpr int64_t kNormBlock = 1024;

struct Line {
  int64_t runs, length, pitch;

  int64_t size() const { return runs * length; }

  // visit(offset, count) for blocks of at most kNormBlock elements, in order.
  template <class Visit>
  void for_blocks(Visit&& visit) const {
    for (int64_t run = 0; run < runs; ++run) {
      for (int64_t i = 0; i < length; i += kNormBlock) {
        visit(run * pitch + i, std::min(kNormBlock, length - i));
      }
    }
  }
};

// Mean as shift + rest (see simd/norm.h) and biased variance.
template <class T>
struct Moments {
  T shift, rest;
  double var;

  double mean() const { return static_cast<double>(shift) + static_cast<double>(rest); }
};

// The sums of d and of d^2, d = x - shift.
struct Spread {
  double sum, squares;
};

template <class T>
Spread spread(const Line& line, const T* x, T shift, T scale) {
  Spread result{0, 0};
  line.for_blocks([&](int64_t at, int64_t n) {
    T sum, squares;
    norm_kernels<T>().spread(n, x + at, shift, scale, sum, squares);
    result.sum += static_cast<double>(sum);
    result.squares += static_cast<double>(squares);
  });
  const double unscale = 1 / static_cast<double>(scale);
  result.squares *= unscale * unscale;
  return result;
}

// The same, where squares of d may overflow or vanish in T: then again with d brought near one by a
// power of two.
template <class T>
Spread safe_spread(const Line& line, const T* x, T shift) {
  const Spread plain = spread(line, x, shift, T(1));
  const double tiny = static_cast<double>(line.size()) * 1e-30;
  if (std::isfinite(plain.squares) && plain.squares > tiny) return plain;
  T largest = 0;
  line.for_blocks([&](int64_t at, int64_t n) {
    for (int64_t i = 0; i < n; ++i) largest = std::max(largest, std::abs(x[at + i] - shift));
  });
  if (!std::isfinite(largest) || largest == 0) return plain;
  return spread(line, x, shift, std::ldexp(T(1), -std::clamp(std::ilogb(largest), -120, 120)));
}

template <class T>
Moments<T> moments(const Line& line, const T* x) {
  const auto count = static_cast<double>(line.size());
  double sum = 0;
  line.for_blocks(
      [&](int64_t at, int64_t n) { sum += static_cast<double>(norm_kernels<T>().sum(n, x + at)); });
  const T shift = static_cast<T>(sum / count);
  const Spread around = safe_spread(line, x, shift);
  const double rest = around.sum / count, var = around.squares / count - rest * rest;
  return {shift, static_cast<T>(rest), var < 0 ? 0 : var};  // keeps a NaN
}

template <class T>
double mean_square(const Line& line, const T* x) {
  return safe_spread(line, x, T(0)).squares / static_cast<double>(line.size());
}

}  // namespace tilegrad::nn
