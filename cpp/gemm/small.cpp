// Products whose operands, or whose depth, are small: see ways.h.
#include <algorithm>

#include "gemm/tiles.h"
#include "gemm/ways.h"
#include "runtime/threads.h"

namespace tilegrad::gemm {

template <class T>
bool wants_small(const Product<T>& g) {
  const int64_t bytes = ((g.m + g.n) * g.k + g.m * g.n) * static_cast<int64_t>(sizeof(T));
  return g.b.cs == 1 && g.b_packed == nullptr && g.b_source == nullptr && bytes <= caches().l1 &&
         k_block(g.k) == g.k;
}

template <class T>
void small(const Product<T>& g) {
  const auto& kernel = kernels<T>();
  const Panels rows(g.m, divide_up(g.m, kernel.mr));
  int64_t i = 0;
  for (int64_t r = 0; r < rows.parts; ++r) {
    const int height = rows.rows(r);
    simd::Tile<T> tile = tile_for_block(g, 0, g.k);
    tile.a = g.a.data + i * g.a.rs;
    tile.a_row = g.a.rs;
    tile.a_step = g.a.cs;
    tile.b = g.b.data;
    tile.b_step = g.b.rs;
    tile.c = g.c.data + i * g.c.rs;
    tile.d = tile.c;
    if (tile.row_bias != nullptr) tile.row_bias += i;
    tile_row(kernel, tile, height, g.n);
    i += height;
  }
}

template <class T>
void thin(const Product<T>& g, int threads) {
  constexpr int64_t kRows = 2;  // the tallest tiles that are widest
  const Panels rows(g.m, divide_up(g.m, kRows));
  const int64_t tasks = threads == 1 ? 1 : std::min(rows.parts, threads * kTasksPerThread);
  runtime::parallel_for(tasks, threads, [&](int64_t task) {
    for (int64_t r = rows.parts * task / tasks; r < rows.parts * (task + 1) / tasks; ++r) {
      const int64_t i = rows.start(r);
      simd::Tile<T> tile = tile_for_block(g, 0, g.k);
      tile.a = g.a.data + i * g.a.rs;
      tile.a_row = g.a.rs;
      tile.a_step = g.a.cs;
      tile.b = g.b.data;
      tile.b_step = g.b.rs;
      tile.c = g.c.data + i * g.c.rs;
      tile.d = tile.c;
      if (tile.row_bias != nullptr) tile.row_bias += i;
      tile_row(kernels<T>(), tile, rows.rows(r), g.n);
    }
  });
}

template bool wants_small<float>(const Product<float>&);
template bool wants_small<double>(const Product<double>&);
template void small<float>(const Product<float>&);
template void small<double>(const Product<double>&);
template void thin<float>(const Product<float>&, int);
template void thin<double>(const Product<double>&, int);

}  // namespace tilegrad::gemm
