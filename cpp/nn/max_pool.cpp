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

// One plane; the vectors are workspace, kept from row to row.
template <class T>
void pool_plane(const PoolShape& s, const Range& whole, const T* x, T* y, int64_t* indices,
                std::vector<const T*>& from, std::vector<int64_t>& flat) {
  for (int64_t z = 0; z < s.output[0]; ++z) {
    const Range tz = taps_inside(s, 0, z);
    for (int64_t v = 0; v < s.output[1]; ++v, y += s.output[2], indices += s.output[2]) {
      const Range ty = taps_inside(s, 1, v);
      const int64_t rows = tz.size() * ty.size();
      // The flat index of pixel 0 in the row of the image that taps a of z and b of y see.
      const auto row_of = [&](int64_t a, int64_t b) {
        const int64_t iz = z * s.stride[0] + a * s.dilation[0] - s.low[0];
        const int64_t iy = v * s.stride[1] + b * s.dilation[1] - s.low[1];
        return (iz * s.image[1] + iy) * s.image[2];
      };
      if (rows > 0 && whole.size() > 0) {
        from.clear();
        flat.clear();
        for (int64_t a = tz.begin; a < tz.end; ++a) {
          for (int64_t b = ty.begin; b < ty.end; ++b) {
            for (int64_t t = 0; t < s.kernel[2]; ++t) {
              const int64_t at =
                  row_of(a, b) + whole.begin * s.stride[2] - s.low[2] + t * s.dilation[2];
              flat.push_back(at);
              from.push_back(x + at);
            }
          }
        }
        pool_kernels<T>().largest({whole.size(), rows * s.kernel[2], from.data(), s.stride[2]},
                                  flat.data(), y + whole.begin, indices + whole.begin);
      }
      const bool vectors = rows > 0;
      for (int64_t u = 0; u < s.output[2]; ++u) {
        if (vectors && u == whole.begin) u = whole.end;
        if (u >= s.output[2]) break;
        const Range tx = taps_inside(s, 2, u);
        Best<T> best;
        for (int64_t a = tz.begin; a < tz.end; ++a) {
          for (int64_t b = ty.begin; b < ty.end; ++b) {
            for (int64_t t = tx.begin; t < tx.end; ++t) {
              const int64_t at = row_of(a, b) + u * s.stride[2] - s.low[2] + t * s.dilation[2];
              best.see(x[at], at);
            }
          }
        }
        y[u] = best.value;
        indices[u] = best.index;
      }
    }
  }
}

}  // namespace

template <class T>
void max_pool(const PoolShape& s, const T* x, T* y, int64_t* indices) {
  const Range whole = whole_windows(s, 2);
  const int64_t in = s.image_pixels(), out = s.output_pixels();
  for_planes(s.planes, in + 3 * out, [&](int64_t plane) {
    static thread_local std::vector<const T*> from;
    static thread_local std::vector<int64_t> flat;
    pool_plane(s, whole, x + plane * in, y + plane * out, indices + plane * out, from, flat);
  });
}

template <class T>
void pool_scatter(int64_t planes, int64_t count, int64_t pixels, const T* g, const int64_t* indices,
                  T* result) {
  for_planes(planes, pixels + 3 * count, [&](int64_t plane) {
    T* const to = result + plane * pixels;
    std::fill(to, to + pixels, T(0));
    const T* const from = g + plane * count;
    const int64_t* const at = indices + plane * count;
    for (int64_t i = 0; i < count; ++i) {
      if (static_cast<uint64_t>(at[i]) < static_cast<uint64_t>(pixels)) to[at[i]] += from[i];
    }
  });
}

template <class T>
void pool_gather(int64_t planes, int64_t count, int64_t pixels, const T* t, const int64_t* indices,
                 T* result) {
  for_planes(planes, 4 * count, [&](int64_t plane) {
    const T* const from = t + plane * pixels;
    const int64_t* const at = indices + plane * count;
    T* const to = result + plane * count;
    for (int64_t i = 0; i < count; ++i) {
      to[i] = static_cast<uint64_t>(at[i]) < static_cast<uint64_t>(pixels) ? from[at[i]] : T(0);
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
  for_planes(s.planes, in + 3 * out, [&](int64_t plane) {
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
