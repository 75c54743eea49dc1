#include "gemm/syrk.h"

#include <algorithm>

#include "runtime/threads.h"

namespace tilegrad::gemm {
namespace {

// Rows of C at a time: the block on the diagonal is computed whole, so a fraction kRows / m of the
// arithmetic saved is lost again, and smaller blocks pay more for packing.
constexpr int64_t kRows = 128;
// Multiply-adds below which one general product is faster than its halves.
constexpr double kWhole = 256.0 * 256.0 * 64.0;

template <class T>
void mirror(int64_t begin, int64_t end, Matrix<T> c) {
  // In squares, so that the lines read and the lines written both stay in cache.
  constexpr int64_t kSquare = 32;
  for (int64_t i0 = begin; i0 < end; i0 += kSquare) {
    const int64_t i1 = std::min(i0 + kSquare, end);
    for (int64_t j0 = 0; j0 < i1; j0 += kSquare) {
      for (int64_t i = i0; i < i1; ++i) {
        const int64_t j1 = std::min(j0 + kSquare, i);
        for (int64_t j = j0; j < j1; ++j) {
          c.data[j * c.rs + i * c.cs] = c.data[i * c.rs + j * c.cs];
        }
      }
    }
  }
}

}  // namespace

template <class T>
void syrk(int64_t m, int64_t k, T alpha, Matrix<const T> a, Matrix<T> c) {
  const Matrix<const T> at{a.data, a.cs, a.rs};
  // An element and its mirror image are the same chain of the same products: the whole is symmetric
  // too.
  if (static_cast<double>(m) * static_cast<double>(m) * static_cast<double>(k) < kWhole) {
    gemm<T>({m, m, k, alpha, T(0), a, at, c});
    return;
  }
  for (int64_t begin = 0; begin < m; begin += kRows) {
    if (runtime::interrupted()) return;
    const int64_t end = std::min(begin + kRows, m);
    gemm<T>({end - begin,
             end,
             k,
             alpha,
             T(0),
             {a.data + begin * a.rs, a.rs, a.cs},
             at,
             {c.data + begin * c.rs, c.rs, c.cs}});
    mirror(begin, end, c);
  }
}

template void syrk<float>(int64_t, int64_t, float, Matrix<const float>, Matrix<float>);
template void syrk<double>(int64_t, int64_t, double, Matrix<const double>, Matrix<double>);

}  // namespace tilegrad::gemm
