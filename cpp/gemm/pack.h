// Copies of operands in the order the tiles read them.
#pragma once

#include <cstdint>

#include "gemm/gemm.h"
#include "simd/table.h"

namespace tilegrad::gemm {

template <class T>
inline const simd::GemmKernels<T>& kernels() {
  if constexpr (sizeof(T) == 4) {
    return simd::table().gemm_f32;
  } else {
    return simd::table().gemm_f64;
  }
}

// `total` rows in `parts` panels whose heights differ by at most one: 15 rows and tiles of 14 make
// 8 + 7, not 14 + 1.
struct Panels {
  int64_t parts, height, taller;  // the first `taller` panels have one row more

  Panels(int64_t total, int64_t count)
      : parts(count), height(total / count), taller(total % count) {}
  int64_t start(int64_t i) const { return i * height + (i < taller ? i : taller); }
  int rows(int64_t i) const { return static_cast<int>(height + (i < taller ? 1 : 0)); }
};

// Where the tiles find A: element (i, p) of the panel that begins at row `begin` and has `rows`
// rows.
//
// Rows that are contiguous along k are packed side by side as they are (tiles broadcast single
// elements and need no interleaving); rows contiguous along m become k-major panels; both are plain
// copies.
template <class T>
struct BlockA {
  const T* data;
  int64_t rs, cs;  // packed with cs = 0: k-major panels. A itself may have strides of 0
  int64_t k;
  bool packed;

  bool k_major() const { return packed && cs == 0; }
  const T* panel(int64_t begin) const { return data + begin * (k_major() ? k : rs); }
  int64_t row() const { return k_major() ? 1 : rs; }
  int64_t step(int64_t rows) const { return k_major() ? rows : cs; }
};

// Elements that a packed block of at most m x k takes.
template <class T>
int64_t block_a_size(int64_t m, int64_t k);

// Packs panels [first, last) of the m rows of `a`; k columns from a.data on. The result's rows
// count from panels.start(first).
template <class T>
BlockA<T> pack_block_a(Matrix<const T> a, int64_t k, Panels panels, int64_t first, int64_t last,
                       T* out);

// Packs `count` columns of B into panels of `width`, one after the other: within a panel, row p's
// columns are at p * width. More than one panel only where B's rows are contiguous.
template <class T>
void pack_panels_b(Matrix<const T> b, int64_t k, int64_t count, int width, T* out);

}  // namespace tilegrad::gemm
