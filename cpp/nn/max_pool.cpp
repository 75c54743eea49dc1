// Max pooling: rows of whole windows in vectors, the windows at the edges one by one.
#include <cmath>
#include <limits>
#include <vector>

#include "nn/kernels.h"
#include "nn/pool.h"
#include "nn/pool_planes.h"

namespace tilegrad::nn {
namespace {

template <class T>
struct Best {
  T value = -std::numeric_limits<T>::infinity();
  int64_t index = -1;

  void see(T other, int64_t at) {
    if (index < 0 || other > value || std::isnan(other)) {
      value = other;
      index = at;
    }
  }
};

template <class T>
struct MaxPool {
  const PoolShape& s;
  const Range columns = whole_windows(s, 2), rows = whole_windows(s, 1);
  std::vector<const T*> from;  // per tap; workspace
  std::vector<int64_t> flat;

  explicit MaxPool(const PoolShape& shape) : s(shape) {}

  // Whether T holds the index of every pixel.
  bool exact() const { return s.image_pixels() <= int64_t{1} << std::numeric_limits<T>::digits; }

  // The pixel that tap (a, b, 0) of window (z, v, u) meets, flat in the plane.
  int64_t pixel(int64_t z, int64_t v, int64_t u, int64_t a, int64_t b) const {
    const int64_t iz = z * s.stride[0] + a * s.dilation[0] - s.low[0];
    const int64_t iy = v * s.stride[1] + b * s.dilation[1] - s.low[1];
    return (iz * s.image[1] + iy) * s.image[2] + u * s.stride[2] - s.low[2];
  }

  // Output rows [v, v + count) of slice z, which see the same taps of the axes z and y.
  void block(int64_t z, int64_t v, int64_t count, const T* x, T* y, int64_t* indices) {
    const Range tz = taps_inside(s, 0, z), ty = taps_inside(s, 1, v);
    const bool vectors = tz.size() > 0 && ty.size() > 0 && columns.size() > 0 && exact();
    if (vectors) {
      from.clear();
      flat.clear();
      for (int64_t a = tz.begin; a < tz.end; ++a) {
        for (int64_t b = ty.begin; b < ty.end; ++b) {
          const int64_t at = pixel(z, v, columns.begin, a, b);
          for (int64_t t = 0; t < s.kernel[2]; ++t) {
            flat.push_back(at + t * s.dilation[2]);
            from.push_back(x + flat.back());
          }
        }
      }
      pool_kernels<T>().largest({count, columns.size(), static_cast<int64_t>(from.size()),
                                 from.data(), s.stride[1] * s.image[2], s.stride[2]},
                                flat.data(), y + columns.begin, indices + columns.begin,
                                s.output[2]);
    }
    for (int64_t r = 0; r < count; ++r, y += s.output[2], indices += s.output[2]) {
      for (int64_t u = 0; u < s.output[2]; ++u) {
        if (vectors && u == columns.begin) u = columns.end;
        if (u >= s.output[2]) break;
        const Range tx = taps_inside(s, 2, u);
        Best<T> best;
        for (int64_t a = tz.begin; a < tz.end; ++a) {
          for (int64_t b = ty.begin; b < ty.end; ++b) {
            const int64_t at = pixel(z, v + r, u, a, b);
            for (int64_t t = tx.begin; t < tx.end; ++t) {
              best.see(x[at + t * s.dilation[2]], at + t * s.dilation[2]);
            }
          }
        }
        y[u] = best.value;
        indices[u] = best.index;
      }
    }
  }

  void plane(const T* x, T* y, int64_t* indices) {
    for (int64_t z = 0; z < s.output[0]; ++z) {
      for (int64_t v = 0, count; v < s.output[1]; v += count) {
        count = v == rows.begin ? std::max<int64_t>(1, rows.size()) : 1;
        const int64_t at = (z * s.output[1] + v) * s.output[2];
        block(z, v, count, x, y + at, indices + at);
      }
    }
  }
};

}  // namespace

template <class T>
void max_pool(const PoolShape& s, const T* x, T* y, int64_t* indices) {
  const int64_t in = s.image_pixels(), out = s.output_pixels();
  for_planes(s.planes, in + 3 * out, [&](int64_t first, int64_t last) {
    MaxPool<T> pool(s);
    for (int64_t p = first; p < last; ++p) pool.plane(x + p * in, y + p * out, indices + p * out);
  });
}

template <class T>
void pool_scatter(int64_t planes, int64_t count, int64_t pixels, const T* g, const int64_t* indices,
                  T* result) {
  for_planes(planes, pixels + 3 * count, [&](int64_t first, int64_t last) {
    set_zero(result + first * pixels, (last - first) * pixels);
    for (int64_t plane = first; plane < last; ++plane) {
      T* const to = result + plane * pixels;
      const T* const from = g + plane * count;
      const int64_t* const at = indices + plane * count;
      for (int64_t i = 0; i < count; ++i) {
        if (static_cast<uint64_t>(at[i]) < static_cast<uint64_t>(pixels)) to[at[i]] += from[i];
      }
    }
  });
}

template <class T>
void pool_gather(int64_t planes, int64_t count, int64_t pixels, const T* t, const int64_t* indices,
                 T* result) {
  for_planes(planes, 4 * count, [&](int64_t first, int64_t last) {
    for (int64_t plane = first; plane < last; ++plane) {
      const T* const from = t + plane * pixels;
      const int64_t* const at = indices + plane * count;
      T* const to = result + plane * count;
      for (int64_t i = 0; i < count; ++i) {
        to[i] = static_cast<uint64_t>(at[i]) < static_cast<uint64_t>(pixels) ? from[at[i]] : T(0);
      }
    }
  });
}

template <class T>
void adaptive_max_pool(const PoolShape& s, const T* x, T* y, int64_t* indices) {
  const int64_t in = s.image_pixels(), out = s.output_pixels();
  const auto bounds = [&](int i, int64_t p) {
    return Range{p * s.image[i] / s.output[i],
                 ((p + 1) * s.image[i] + s.output[i] - 1) / s.output[i]};
  };
  for_planes(s.planes, in + 3 * out, [&](int64_t first, int64_t last) {
    for (int64_t plane = first; plane < last; ++plane) {
      const T* const from = x + plane * in;
      int64_t to = plane * out;
      for (int64_t z = 0; z < s.output[0]; ++z) {
        const Range bz = bounds(0, z);
        for (int64_t v = 0; v < s.output[1]; ++v) {
          const Range by = bounds(1, v);
          for (int64_t u = 0; u < s.output[2]; ++u, ++to) {
            const Range bx = bounds(2, u);
            Best<T> best;
            for (int64_t a = bz.begin; a < bz.end; ++a) {
              for (int64_t b = by.begin; b < by.end; ++b) {
                const int64_t row = (a * s.image[1] + b) * s.image[2];
                for (int64_t c = bx.begin; c < bx.end; ++c) best.see(from[row + c], row + c);
              }
            }
            y[to] = best.value;
            indices[to] = best.index;
          }
        }
      }
    }
  });
}

#define TILEGRAD_POOL(T)                                                                  \
  template void max_pool<T>(const PoolShape&, const T*, T*, int64_t*);                    \
  template void pool_scatter<T>(int64_t, int64_t, int64_t, const T*, const int64_t*, T*); \
  template void pool_gather<T>(int64_t, int64_t, int64_t, const T*, const int64_t*, T*);  \
  template void adaptive_max_pool<T>(const PoolShape&, const T*, T*, int64_t*);
TILEGRAD_POOL(float)
TILEGRAD_POOL(double)
#undef TILEGRAD_POOL

}  // namespace tilegrad::nn
