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
struct AvgPool {
  const PoolShape& s;
  const MeanRule& rule;
  const Range columns = whole_windows(s, 2), rows = whole_windows(s, 1);
  std::vector<const T*> from;  // per tap; workspace

  AvgPool(const PoolShape& shape, const MeanRule& mean) : s(shape), rule(mean) {}

  // The pixel that tap (a, b, 0) of window (z, v, u) meets, flat in the plane.
  int64_t pixel(int64_t z, int64_t v, int64_t u, int64_t a, int64_t b) const {
    const int64_t iz = z * s.stride[0] + a - s.low[0], iy = v * s.stride[1] + b - s.low[1];
    return (iz * s.image[1] + iy) * s.image[2] + u * s.stride[2] - s.low[2];
  }

  // Output rows [v, v + count) of slice z, which see the same taps of the axes z and y.
  void block(int64_t z, int64_t v, int64_t count, const T* x, T* y) {
    const Range tz = taps_inside(s, 0, z), ty = taps_inside(s, 1, v);
    const int64_t counted_zy = counted(s, rule, 0, z) * counted(s, rule, 1, v);
    from.clear();
    for (int64_t a = tz.begin; a < tz.end; ++a) {
      for (int64_t b = ty.begin; b < ty.end; ++b) {
        const T* row = x + pixel(z, v, columns.begin, a, b);
        for (int64_t t = 0; t < s.kernel[2]; ++t) from.push_back(row + t);
      }
    }
    if (columns.size() > 0) {
      pool_kernels<T>().mean({count, columns.size(), static_cast<int64_t>(from.size()), from.data(),
                              s.stride[1] * s.image[2], s.stride[2]},
                             divisor<T>(rule, counted_zy * s.kernel[2]), y + columns.begin,
                             s.output[2]);
    }
    for (int64_t r = 0; r < count; ++r, y += s.output[2]) {
      for (int64_t u = 0; u < s.output[2]; ++u) {
        if (u == columns.begin) u = columns.end;
        if (u >= s.output[2]) break;
        const Range tx = taps_inside(s, 2, u);
        T sum = 0;
        for (int64_t a = tz.begin; a < tz.end; ++a) {
          for (int64_t b = ty.begin; b < ty.end; ++b) {
            const T* row = x + pixel(z, v + r, u, a, b);
            for (int64_t t = tx.begin; t < tx.end; ++t) sum += row[t];
          }
        }
        y[u] = sum / divisor<T>(rule, counted_zy * counted(s, rule, 2, u));
      }
    }
  }

  void plane(const T* x, T* y) {
    for (int64_t z = 0; z < s.output[0]; ++z) {
      for (int64_t v = 0, count; v < s.output[1]; v += count) {
        count = v == rows.begin ? std::max<int64_t>(1, rows.size()) : 1;
        block(z, v, count, x, y + (z * s.output[1] + v) * s.output[2]);
      }
    }
  }
};

// Windows of axis i that cover pixel q.
Range windows_over(const PoolShape& s, int i, int64_t q) {
  const int64_t at = q + s.low[i], before = at - s.kernel[i] + 1;
  const int64_t begin = before <= 0 ? 0 : (before + s.stride[i] - 1) / s.stride[i];
  const int64_t end = std::min(at / s.stride[i] + 1, s.output[i]);
  return {begin, std::max(begin, end)};
}

// Every window gives the same share to all its pixels, so the shares of the windows above a row of
// pixels are first added up per column of windows, and then spread along the row. Neighbouring rows
// below the same windows are equal.
template <class T>
struct AvgPoolGrad {
  const PoolShape& s;
  const MeanRule& rule;
  const Range columns = whole_windows(s, 2);
  std::vector<Range> over[3];        // windows above each pixel, per axis
  std::vector<int64_t> per_axis[3];  // pixels that each window counts, per axis
  std::vector<T> shares;             // workspace
  std::vector<T> sums;               // workspace, with zeros around
  std::vector<T> phases[2];          // workspace: even and odd pixels of a row
  std::vector<const T*> from;        // workspace

  AvgPoolGrad(const PoolShape& shape, const MeanRule& mean) : s(shape), rule(mean) {
    for (int i = 0; i < 3; ++i) {
      for (int64_t q = 0; q < s.image[i]; ++q) over[i].push_back(windows_over(s, i, q));
      for (int64_t p = 0; p < s.output[i]; ++p) per_axis[i].push_back(counted(s, rule, i, p));
    }
    shares.resize(static_cast<size_t>(s.output_pixels()));
    sums.resize(static_cast<size_t>(s.output[2] + 2 * margin()));
    for (std::vector<T>& phase : phases) phase.resize(static_cast<size_t>(s.image[2] / 2 + 1));
  }

  int64_t margin() const { return s.kernel[2] + s.low[2] + s.high[2]; }

  // shares (*output) = g over what each window's sum is divided by.
  void divide(const T* g) {
    T* share = shares.data();
    for (const int64_t a : per_axis[0]) {
      for (const int64_t b : per_axis[1]) {
        if (columns.size() > 0) {
          const T* const row = g + columns.begin;
          pool_kernels<T>().mean({1, columns.size(), 1, &row, 0, 1},
                                 divisor<T>(rule, a * b * s.kernel[2]), share + columns.begin, 0);
        }
        for (int64_t u = 0; u < s.output[2]; ++u) {
          if (u == columns.begin) u = columns.end;
          if (u >= s.output[2]) break;
          share[u] = g[u] / divisor<T>(rule, a * b * per_axis[2][static_cast<size_t>(u)]);
        }
        g += s.output[2];
        share += s.output[2];
      }
    }
  }

  // sums = the shares of all windows above a row of pixels, per column of windows.
  void add_shares(const Range& wz, const Range& wy) {
    from.clear();
    for (int64_t a = wz.begin; a < wz.end; ++a) {
      for (int64_t b = wy.begin; b < wy.end; ++b) {
        from.push_back(shares.data() + (a * s.output[1] + b) * s.output[2]);
      }
    }
    pool_kernels<T>().mean({1, s.output[2], static_cast<int64_t>(from.size()), from.data(), 0, 1},
                           T(1), sums.data() + margin(), 0);
  }

  // The sums of windows first + i, ..., first + i + count - 1, for i < n; `to` is workspace for
  // them. The zeros around the sums stand for windows that are not there.
  const T* add_windows(int64_t first, int64_t count, int64_t n, T* to) {
    const T* const begin = sums.data() + margin() + first;
    if (count == 1) return begin;
    from.clear();
    for (int64_t t = 0; t < count; ++t) from.push_back(begin + t);
    pool_kernels<T>().mean({1, n, count, from.data(), 0, 1}, T(1), to, 0);
    return to;
  }

  // Pixel q is seen by the windows w with w * stride <= q + low < w * stride + kernel.
  void spread(T* dx) {
    const int64_t n = s.image[2], k = s.kernel[2], low = s.low[2];
    if (s.stride[2] == 1) {
      const T* row = add_windows(low - k + 1, k, n, dx);
      if (row != dx) std::memcpy(dx, row, sizeof(T) * static_cast<size_t>(n));
    } else if (s.stride[2] == 2) {
      const T* rows[2];
      for (int64_t odd = 0; odd < 2; ++odd) {
        const int64_t last = (odd + low) / 2, count = (odd + low) % 2 == 0 ? (k + 1) / 2 : k / 2;
        rows[odd] = add_windows(last - count + 1, count, (n + 1 - odd) / 2, phases[odd].data());
      }
      pool_kernels<T>().zip(n / 2, rows[0], rows[1], dx);
      if (n % 2 != 0) dx[n - 1] = rows[0][n / 2];
    } else {
      const T* const sum = sums.data() + margin();
      for (int64_t q = 0; q < n; ++q) {
        const Range& windows = over[2][static_cast<size_t>(q)];
        T total = 0;
        for (int64_t w = windows.begin; w < windows.end; ++w) total += sum[w];
        dx[q] = total;
      }
    }
  }

  void plane(const T* g, T* dx) {
    divide(g);
    for (const Range& wz : over[0]) {
      const Range* before = nullptr;
      for (const Range& wy : over[1]) {
        if (before != nullptr && before->begin == wy.begin && before->end == wy.end) {
          std::memcpy(dx, dx - s.image[2], sizeof(T) * static_cast<size_t>(s.image[2]));
        } else {
          add_shares(wz, wy);
          spread(dx);
        }
        before = &wy;
        dx += s.image[2];
      }
    }
  }
};

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
  const int64_t in = s.image_pixels(), out = s.output_pixels();
  for_planes(s.planes, in + out, [&](int64_t first, int64_t last) {
    AvgPool<T> pool(s, rule);
    for (int64_t p = first; p < last; ++p) pool.plane(x + p * in, y + p * out);
  });
}

template <class T>
void avg_pool_grad(const PoolShape& s, const MeanRule& rule, const T* g, T* dx) {
  const int64_t in = s.image_pixels(), out = s.output_pixels();
  for_planes(s.planes, in + out, [&](int64_t first, int64_t last) {
    AvgPoolGrad<T> pool(s, rule);
    for (int64_t p = first; p < last; ++p) pool.plane(g + p * out, dx + p * in);
  });
}

template <class T>
void adaptive_avg_pool(const PoolShape& s, const T* x, T* y) {
  const int64_t in = s.image_pixels(), out = s.output_pixels();
  for_planes(s.planes, in + out, [&](int64_t first, int64_t last) {
    for (int64_t plane = first; plane < last; ++plane) {
      const T* const from = x + plane * in;
      T* const to = y + plane * out;
      set_zero(to, out);
      adaptive_windows(s, [&](int64_t pixel, int64_t at, int64_t run, int64_t count) {
        to[pixel] += norm_kernels<T>().sum(run, from + at) / static_cast<T>(count);
      });
    }
  });
}

template <class T>
void adaptive_avg_pool_grad(const PoolShape& s, const T* g, T* dx) {
  const int64_t in = s.image_pixels(), out = s.output_pixels();
  for_planes(s.planes, in + out, [&](int64_t first, int64_t last) {
    for (int64_t plane = first; plane < last; ++plane) {
      const T* const from = g + plane * out;
      T* const to = dx + plane * in;
      set_zero(to, in);
      adaptive_windows(s, [&](int64_t pixel, int64_t at, int64_t run, int64_t count) {
        const T share = from[pixel] / static_cast<T>(count);
        for (int64_t i = 0; i < run; ++i) to[at + i] += share;
      });
    }
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
