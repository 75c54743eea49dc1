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

// Where the tiles find A: in place, or in panels of as many rows as a tile takes, in each of which
// step p of k is `rows` neighbouring elements.
template <class T>
struct BlockA {
  const T* data;
  int64_t rs, cs;  // in place: between rows, along k
  int64_t k;
  bool packed;

  // Of the panel that begins at row `begin` of the block and has `rows` rows.
  const T* panel(int64_t begin) const { return data + begin * (packed ? k : rs); }
  int64_t row() const { return packed ? 1 : rs; }
  int64_t step(int64_t rows) const { return packed ? rows : cs; }
};

// Packs panels [first, last) of the m rows of `a`; k columns from a.data on. The result's rows
// count from panels.start(first); it takes as many elements as it has.
template <class T>
BlockA<T> pack_block_a(Matrix<const T> a, int64_t k, Panels panels, int64_t first, int64_t last,
                       T* out);

// Packs `count` columns of B into panels of `width`, one after the other: within a panel, row p's
// columns are at p * width. More than one panel only where B's rows are contiguous.
template <class T>
void pack_panels_b(Matrix<const T> b, int64_t k, int64_t count, int width, T* out);

}  // namespace tilegrad::gemm
