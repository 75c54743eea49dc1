#include "gemm/pack.h"

#include <algorithm>

namespace tilegrad::gemm {
namespace {

// Row length of a packed block of A: whole cache lines, and one more, so that the rows of a panel
// do not fall into the same cache sets when k is a power of two.
template <class T>
int64_t row_length(int64_t k) {
  constexpr int64_t kLine = 64 / sizeof(T);
  return (k + kLine - 1) / kLine * kLine + kLine;
}

}  // namespace

template <class T>
int64_t block_a_size(int64_t m, int64_t k) {
  return m * row_length<T>(k);
}

template <class T>
BlockA<T> pack_block_a(Matrix<const T> a, int64_t k, Panels panels, int64_t first, int64_t last,
                       T* out) {
  const auto& kernel = kernels<T>();
  const int64_t top = panels.start(first), m = panels.start(last) - top;
  if (a.rs == 1 && a.cs != 1) {
    for (int64_t i = first; i < last; ++i) {
      const int64_t begin = panels.start(i);
      const int rows = panels.rows(i);
      kernel.pack_copy(k, rows, rows, a.data + begin, a.cs, out + (begin - top) * k, rows);
    }
    return {out, 1, 0, k, true};
  }
  const int64_t stride = row_length<T>(k);
  const T* rows = a.data + top * a.rs;
  if (a.cs == 1) {
    kernel.pack_copy(m, static_cast<int>(k), static_cast<int>(k), rows, a.rs, out, stride);
  } else {
    for (int64_t i = 0; i < m; ++i) {
      for (int64_t p = 0; p < k; ++p) out[i * stride + p] = rows[i * a.rs + p * a.cs];
    }
  }
  return {out, stride, 1, k, true};
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
  template int64_t block_a_size<T>(int64_t, int64_t);                                         \
  template BlockA<T> pack_block_a<T>(Matrix<const T>, int64_t, Panels, int64_t, int64_t, T*); \
  template void pack_panels_b<T>(Matrix<const T>, int64_t, int64_t, int, T*);
TILEGRAD_INSTANTIATE(float)
TILEGRAD_INSTANTIATE(double)
#undef TILEGRAD_INSTANTIATE

}  // namespace tilegrad::gemm
