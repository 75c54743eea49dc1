// Average pooling and its adjoint: rows of whole windows in vectors, the edges one by one.
#include <vector>

#include "nn/kernels.h"
#include "nn/pool.h"
#include "nn/pool_planes.h"

namespace tilegrad::nn {
namespace {

// How many pixels of axis i window p counts: those of the image, or of image and padding. What
// hangs over the padding never counts.
int64_t counted(const PoolShape& s, const MeanRule& rule, int i, int64_t p) {
  const int64_t begin = p * s.stride[i] - s.low[i], size = s.image[i];
  if (!rule.count_padding) return taps_inside(s, i, p).size();
  return std::max<int64_t>(0, std::min(begin + s.kernel[i], size + s.high[i]) - begin);
}

template <class T>
T divisor(const MeanRule& rule, int64_t count) {
  return static_cast<T>(rule.divisor != 0 ? rule.divisor : std::max<int64_t>(1, count));
}

template <class T>
void pool_plane(const PoolShape& s, const MeanRule& rule, const Range& whole, const T* x, T* y,
                std::vector<const T*>& from) {
  for (int64_t z = 0; z < s.output[0]; ++z) {
    const Range tz = taps_inside(s, 0, z);
    for (int64_t v = 0; v < s.output[1]; ++v, y += s.output[2]) {
      const Range ty = taps_inside(s, 1, v);
      const int64_t counted_zy = counted(s, rule, 0, z) * counted(s, rule, 1, v);
      const auto row_of = [&](int64_t a, int64_t b) {
        return x +
               ((z * s.stride[0] + a - s.low[0]) * s.image[1] + v * s.stride[1] + b - s.low[1]) *
                   s.image[2];
      };
      from.clear();
      if (whole.size() > 0) {
        for (int64_t a = tz.begin; a < tz.end; ++a) {
          for (int64_t b = ty.begin; b < ty.end; ++b) {
            const T* row = row_of(a, b) + whole.begin * s.stride[2] - s.low[2];
            for (int64_t t = 0; t < s.kernel[2]; ++t) from.push_back(row + t);
          }
        }
        pool_kernels<T>().mean(
            {whole.size(), static_cast<int64_t>(from.size()), from.data(), s.stride[2]},
            divisor<T>(rule, counted_zy * s.kernel[2]), y + whole.begin);
      }
      for (int64_t u = 0; u < s.output[2]; ++u) {
        if (u == whole.begin) u = whole.end;
        if (u >= s.output[2]) break;
        const Range tx = taps_inside(s, 2, u);
        T sum = 0;
        for (int64_t a = tz.begin; a < tz.end; ++a) {
          for (int64_t b = ty.begin; b < ty.end; ++b) {
            const T* row = row_of(a, b) + u * s.stride[2] - s.low[2];
            for (int64_t t = tx.begin; t < tx.end; ++t) sum += row[t];
          }
        }
        y[u] = sum / divisor<T>(rule, counted_zy * counted(s, rule, 2, u));
      }
    }
  }
}

// Windows of axis i that cover pixel q.
Range windows_over(const PoolShape& s, int i, int64_t q) {
  const int64_t at = q + s.low[i], before = at - s.kernel[i] + 1;
  const int64_t begin = before <= 0 ? 0 : (before + s.stride[i] - 1) / s.stride[i];
  const int64_t end = std::min(at / s.stride[i] + 1, s.output[i]);
  return {begin, std::max(begin, end)};
}

// Every window gives the same share to all its pixels, so the shares of the windows above a row of
// pixels are first added up per column of windows, and then spread along the row.
template <class T>
void spread_plane(const PoolShape& s, const MeanRule& rule, const Range& whole,
                  const std::vector<Range>& over, const T* g, T* dx, std::vector<T>& sums) {
  for (int64_t z = 0; z < s.image[0]; ++z) {
    const Range wz = windows_over(s, 0, z);
    for (int64_t v = 0; v < s.image[1]; ++v, dx += s.image[2]) {
      const Range wy = windows_over(s, 1, v);
      sums.assign(static_cast<size_t>(s.output[2]), T(0));
      for (int64_t a = wz.begin; a < wz.end; ++a) {
        for (int64_t b = wy.begin; b < wy.end; ++b) {
          const T* row = g + (a * s.output[1] + b) * s.output[2];
          const int64_t zy = counted(s, rule, 0, a) * counted(s, rule, 1, b);
          if (whole.size() > 0) {
            pool_kernels<T>().share(whole.size(), row + whole.begin,
                                    divisor<T>(rule, zy * s.kernel[2]), sums.data() + whole.begin);
          }
          for (int64_t u = 0; u < s.output[2]; ++u) {
            if (u == whole.begin) u = whole.end;
            if (u >= s.output[2]) break;
            sums[static_cast<size_t>(u)] += row[u] / divisor<T>(rule, zy * counted(s, rule, 2, u));
          }
        }
      }
      int64_t u = 0;
      if (s.kernel[2] == 2 && s.stride[2] == 2 && s.low[2] == 0) {
        const int64_t pairs = std::min(s.output[2], s.image[2] / 2);
        pool_kernels<T>().twice(pairs, sums.data(), dx);
        u = 2 * pairs;
      }
      for (; u < s.image[2]; ++u) {
        const Range& windows = over[static_cast<size_t>(u)];
        T sum = 0;
        for (int64_t w = windows.begin; w < windows.end; ++w) sum += sums[static_cast<size_t>(w)];
        dx[u] = sum;
      }
    }
  }
}

Range adaptive_bounds(const PoolShape& s, int i, int64_t p) {
  return {p * s.image[i] / s.output[i], ((p + 1) * s.image[i] + s.output[i] - 1) / s.output[i]};
}

// body(window, first pixel, pixels, pixels of the whole window) for every run of contiguous pixels
// of every window of a plane.
template <class Body>
void adaptive_windows(const PoolShape& s, Body&& body) {
  int64_t to = 0;
  for (int64_t z = 0; z < s.output[0]; ++z) {
    const Range bz = adaptive_bounds(s, 0, z);
    for (int64_t v = 0; v < s.output[1]; ++v) {
      const Range by = adaptive_bounds(s, 1, v);
      for (int64_t u = 0; u < s.output[2]; ++u, ++to) {
        const Range bx = adaptive_bounds(s, 2, u);
        const int64_t count = bz.size() * by.size() * bx.size();
        const bool joined = bx.size() == s.image[2];
        const int64_t rows = joined ? 1 : by.size(),
                      run = joined ? by.size() * bx.size() : bx.size();
        for (int64_t a = bz.begin; a < bz.end; ++a) {
          for (int64_t b = 0; b < rows; ++b) {
            body(to, ((a * s.image[1]) + by.begin + b) * s.image[2] + bx.begin, run, count);
          }
        }
      }
    }
  }
}

}  // namespace

template <class T>
void avg_pool(const PoolShape& s, const MeanRule& rule, const T* x, T* y) {
  const Range whole = whole_windows(s, 2);
  const int64_t in = s.image_pixels(), out = s.output_pixels();
  for_planes(s.planes, in + out, [&](int64_t plane) {
    static thread_local std::vector<const T*> from;
    pool_plane(s, rule, whole, x + plane * in, y + plane * out, from);
  });
}

template <class T>
void avg_pool_grad(const PoolShape& s, const MeanRule& rule, const T* g, T* dx) {
  const Range whole = whole_windows(s, 2);
  std::vector<Range> over;
  for (int64_t u = 0; u < s.image[2]; ++u) over.push_back(windows_over(s, 2, u));
  const int64_t in = s.image_pixels(), out = s.output_pixels();
  for_planes(s.planes, in + out, [&](int64_t plane) {
    static thread_local std::vector<T> sums;
    spread_plane(s, rule, whole, over, g + plane * out, dx + plane * in, sums);
  });
}

template <class T>
void adaptive_avg_pool(const PoolShape& s, const T* x, T* y) {
  const int64_t in = s.image_pixels(), out = s.output_pixels();
  for_planes(s.planes, in + out, [&](int64_t plane) {
    const T* const from = x + plane * in;
    T* const to = y + plane * out;
    std::fill(to, to + out, T(0));
    adaptive_windows(s, [&](int64_t pixel, int64_t at, int64_t run, int64_t count) {
      T sum, largest;
      norm_kernels<T>().sum(run, from + at, sum, largest);
      to[pixel] += sum / static_cast<T>(count);
    });
  });
}

template <class T>
void adaptive_avg_pool_grad(const PoolShape& s, const T* g, T* dx) {
  const int64_t in = s.image_pixels(), out = s.output_pixels();
  for_planes(s.planes, in + out, [&](int64_t plane) {
    const T* const from = g + plane * out;
    T* const to = dx + plane * in;
    std::fill(to, to + in, T(0));
    adaptive_windows(s, [&](int64_t pixel, int64_t at, int64_t run, int64_t count) {
      const T share = from[pixel] / static_cast<T>(count);
      for (int64_t i = 0; i < run; ++i) to[at + i] += share;
    });
  });
}

#define TILEGRAD_POOL(T)                                                           \
  template void avg_pool<T>(const PoolShape&, const MeanRule&, const T*, T*);      \
  template void avg_pool_grad<T>(const PoolShape&, const MeanRule&, const T*, T*); \
  template void adaptive_avg_pool<T>(const PoolShape&, const T*, T*);              \
  template void adaptive_avg_pool_grad<T>(const PoolShape&, const T*, T*);
TILEGRAD_POOL(float)
TILEGRAD_POOL(double)
#undef TILEGRAD_POOL

}  // namespace tilegrad::nn
