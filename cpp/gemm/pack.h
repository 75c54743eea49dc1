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
  int64_t total, parts;
  int64_t start(int64_t i) const { return total * i / parts; }
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
  int64_t rs, cs;  // cs = 0: k-major panels
  int64_t k;

  const T* panel(int64_t begin) const { return data + begin * (cs != 0 ? rs : k); }
  int64_t row() const { return cs != 0 ? rs : 1; }
  int64_t step(int64_t rows) const { return cs != 0 ? cs : rows; }
};

// Elements that a packed block of at most m x k takes.
template <class T>
int64_t block_a_size(int64_t m, int64_t k);

// Packs panels [first, last) of the m rows of `a`; k columns from a.data on. The result's rows
// count from panels.start(first).
template <class T>
BlockA<T> pack_block_a(Matrix<const T> a, int64_t k, Panels panels, int64_t first, int64_t last,
                       T* out);

// Packs one panel of B, `count` columns of `width`, k rows: out[p * width + j].
template <class T>
void pack_panel_b(Matrix<const T> b, int64_t k, int count, int width, T* out);

}  // namespace tilegrad::gemm
