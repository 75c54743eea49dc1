#include "gemm/pack.h"

#include <algorithm>

namespace tilegrad::gemm {

template <class T>
BlockA<T> pack_block_a(Matrix<const T> a, int64_t k, Panels panels, int64_t first, int64_t last,
                       T* out) {
  const auto& kernel = kernels<T>();
  const T* from = a.data + panels.start(first) * a.rs;
  T* to = out;
  for (int64_t i = first; i < last; ++i) {
    const int rows = panels.rows(i);
    if (a.rs == 1) {
      kernel.pack_copy(k, rows, rows, from, a.cs, to, rows);
    } else if (a.cs == 1) {
      kernel.pack_transpose(k, rows, rows, from, a.rs, to, rows);
    } else {
      for (int64_t p = 0; p < k; ++p) {
        for (int r = 0; r < rows; ++r) to[p * rows + r] = from[r * a.rs + p * a.cs];
      }
    }
    from += rows * a.rs;
    to += rows * k;
  }
  return {out, 0, 0, k, true};
}

template <class T>
void pack_panels_b(Matrix<const T> b, int64_t k, int64_t count, int width, T* out) {
  const auto& kernel = kernels<T>();
  if (b.cs == 1) {
    kernel.pack_panels(k, count, width, b.data, b.rs, out);
  } else if (b.rs == 1) {
    kernel.pack_transpose(k, static_cast<int>(count), width, b.data, b.cs, out, width);
  } else {
    for (int64_t p = 0; p < k; ++p, out += width) {
      for (int j = 0; j < count; ++j) out[j] = b.data[p * b.rs + j * b.cs];
      std::fill(out + count, out + width, T(0));
    }
  }
}

#define TILEGRAD_INSTANTIATE(T)                                                               \
  template BlockA<T> pack_block_a<T>(Matrix<const T>, int64_t, Panels, int64_t, int64_t, T*); \
  template void pack_panels_b<T>(Matrix<const T>, int64_t, int64_t, int, T*);
TILEGRAD_INSTANTIATE(float)
TILEGRAD_INSTANTIATE(double)
#undef TILEGRAD_INSTANTIATE

}  // namespace tilegrad::gemm
