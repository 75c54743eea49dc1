// Few rows against a large B: see ways.h.
#include <algorithm>

#include "gemm/tiles.h"
#include "gemm/ways.h"
#include "runtime/threads.h"
#include "runtime/workspace.h"

namespace tilegrad::gemm {

// One row of tiles against a B that does not fit the cache: a slice of B's rows at a time, whole
// rows, so that memory is read in order; the chains wait in a scratch of m x columns between the
// slices.
template <class T>
void sliced(const Product<T>& g, int64_t kc, int threads) {
  constexpr int64_t kSlice =
      16;  // the scratch costs a load and a store per slice: 1/8 of B's loads
  const auto& kernel = kernels<T>();
  const int rows = static_cast<int>(g.m);
  const int64_t nr = int64_t{kernel.width} * kernel.vectors[rows];
  // Columns per task: the scratch stays within half of L1.
  const int64_t fitting = caches().l1 / 2 / (g.m * static_cast<int64_t>(sizeof(T)));
  const int64_t panels = divide_up(g.n, nr);
  const int64_t tasks =
      std::max(divide_up(g.n, std::max(nr, fitting)), std::min<int64_t>(threads, panels));
  runtime::parallel_for(tasks, threads, [&](int64_t task) {
    const int64_t j0 = panels * task / tasks * nr,
                  j1 = std::min(g.n, panels * (task + 1) / tasks * nr);
    const int64_t columns = j1 - j0;
    const runtime::Scratch scratch(sizeof(T) * static_cast<size_t>(g.m * columns));
    T* sums = scratch.as<T>();
    for (int64_t pc = 0; pc < g.k; pc += kc) {
      if (runtime::interrupted()) return;
      const int64_t block = std::min(kc, g.k - pc);
      for (int64_t p = 0; p < block; p += kSlice) {
        const int64_t k = std::min(kSlice, block - p);
        simd::Tile<T> start{};
        if (p + k == block) {
          start = tile_for_block(g, pc, block);
          start.c = g.c.data + j0;
          start.d = start.c;
          if (start.column_bias != nullptr) start.column_bias += j0;
        } else {
          start.alpha = T(1);
          start.c = sums;
          start.c_row = columns;
          start.d = sums;
        }
        start.acc = p == 0 ? nullptr : sums;
        start.acc_row = columns;
        start.k = k;
        start.a = g.a.data + (pc + p) * g.a.cs;
        start.a_row = g.a.rs;
        start.a_step = g.a.cs;
        start.b = g.b.data + (pc + p) * g.b.rs + j0;
        start.b_step = g.b.rs;
        start.b_ahead =
            nr;  // the hardware does not follow as many rows in runs as short as a tile's
        tile_row(kernel, start, rows, columns);
      }
    }
  });
}

template void sliced<float>(const Product<float>&, int64_t, int);
template void sliced<double>(const Product<double>&, int64_t, int);

}  // namespace tilegrad::gemm
