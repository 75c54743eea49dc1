// What every way through the product calls: tiles, and what they do for one block of k.
#pragma once

#include <cstdint>

#include "gemm/gemm.h"
#include "gemm/pack.h"
#include "simd/table.h"

namespace tilegrad::gemm {

// The columns of one row of tiles: calls tiles of the widths there are, widest first.
template <class T>
inline void tile_row(const simd::GemmKernels<T>& kernel, simd::Tile<T>& tile, int rows, int64_t n) {
  const int width = kernel.width;
  const auto& choices = kernel.tile[rows];
  int choice = simd::kVectorChoices - 1;
  for (;;) {
    while (choices[choice][0] == nullptr ||
           (choice > 0 && (kernel.widths[choice] - 1) * width >= n)) {
      --choice;
    }
    const int64_t columns = kernel.widths[choice] * width;
    if (n < columns) {
      tile.last = static_cast<int>(n - (columns - width));
      choices[choice][1](tile);
      return;
    }
    choices[choice][0](tile);
    n -= columns;
    if (n == 0) return;
    tile.b += columns;
    tile.c += columns;
    tile.d += columns;
    if (tile.acc != nullptr) tile.acc += columns;
    if (tile.column_bias != nullptr) tile.column_bias += columns;
  }
}

// One k block's part of the product: what alpha, beta, bias and activation are on it.
template <class T>
inline simd::Tile<T> tile_for_block(const Product<T>& g, int64_t pc, int64_t k) {
  const bool first = pc == 0, last = pc + k == g.k;
  simd::Tile<T> tile{};
  tile.k = k;
  tile.alpha = g.alpha;
  tile.beta = first ? g.beta : T(1);
  tile.row_bias = last ? g.row_bias : nullptr;
  tile.column_bias = last ? g.column_bias : nullptr;
  tile.relu = last && g.relu;
  tile.c = g.c.data;
  tile.d = g.c.data;
  tile.c_row = tile.d_row = g.c.rs;
  return tile;
}

}  // namespace tilegrad::gemm
