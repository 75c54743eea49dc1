// The five loops around the register tile, numbered as in Goto and van de Geijn and in BLIS:
//
//   5  jc   n in blocks of nc        B's block fits L3           blocked()
//   3  ic   m in blocks of mc        C's and A's blocks fit L2   tasks of the thread pool
//   4  pc   k in blocks of kc        a panel of B fits L1        inside each task
//   2  jr   nc in panels of nr       one panel of B, in L1       compute()
//   1  ir   mc in panels of mr       one register tile           compute()
//   0  p    kc, one at a time        multiply-adds               simd/gemm.inl.h
#include <algorithm>

#include "gemm/tiles.h"
#include "gemm/ways.h"
#include "runtime/threads.h"
#include "runtime/workspace.h"

namespace tilegrad::gemm {
namespace {

// Loops 2 and 1: row panels [first, last) times columns [j0, j1) on one k block. B's panel for
// column j is at b + (j - b_begin) * b_panel_step, rows b_step apart.
template <class T>
struct Block {
  const Product<T>* g;
  Panels rows;
  int64_t pc, k, nr;
  const T* b;
  int64_t b_begin, b_column, b_step;
  // Where a task's sums wait between its blocks of k: nr columns wide, one below the other, and
  // from there to C in the last block. Null with a single block.
  T* sums = nullptr;
  bool first = true, last = true;  // of the task's blocks
};

template <class T>
void compute(const Block<T>& block, const BlockA<T>& a, int64_t a_begin, int64_t first,
             int64_t last, int64_t j0, int64_t j1) {
  const Product<T>& g = *block.g;
  const auto& kernel = kernels<T>();
  const simd::Tile<T> start = tile_for_block(g, block.pc, block.k);
  int widest = simd::kVectorChoices - 1;  // the choice of tiles that are nr wide
  while (kernel.widths[widest] * kernel.width != block.nr) --widest;
  const int64_t top = block.rows.start(first), height = block.rows.start(last) - top;
  for (int64_t jr = j0; jr < j1; jr += block.nr) {
    const int64_t columns = std::min(block.nr, j1 - jr);
    simd::Tile<T> tile = start;
    tile.b = block.b + (jr - block.b_begin) * block.b_column;
    tile.b_step = block.b_step;
    tile.a_row = a.row();
    if (tile.column_bias != nullptr) tile.column_bias += jr;
    int64_t i = block.rows.start(first);
    for (int64_t panel = first; panel < last; ++panel) {
      const int rows = block.rows.rows(panel);
      tile.a = a.panel(i - a_begin);
      tile.a_step = a.step(rows);
      tile.c = g.c.data + i * g.c.rs + jr;
      tile.d = tile.c;
      if (block.sums != nullptr) {
        T* sums = block.sums + (jr - j0) * height + (i - top) * block.nr;
        if (!block.last) tile.c = sums, tile.c_row = block.nr;
        if (!block.first) tile.d = sums, tile.d_row = block.nr;
      }
      if (start.row_bias != nullptr) tile.row_bias = start.row_bias + i;
      i += rows;
      if (columns == block.nr) {
        kernel.tile[rows][widest][0](tile);
      } else {
        simd::Tile<T> edge = tile;
        tile_row(kernel, edge, rows, columns);
      }
    }
  }
}

// Fills the panels of B for one k block and columns [jc, jc + nc): panel j at out + j * k * nr.
template <class T>
void pack_panels(const Product<T>& g, int64_t pc, int64_t k, int64_t jc, int64_t nc, int64_t nr,
                 int threads, T* out) {
  const int64_t panels = divide_up(nc, nr),
                tasks = threads == 1 ? 1 : std::min(panels, threads * kTasksPerThread);
  runtime::parallel_for(tasks, threads, [&](int64_t task) {
    // Several panels together where B's rows are contiguous: its lines are read in order.
    constexpr int64_t kTogether = 4;
    const int64_t end = panels * (task + 1) / tasks,
                  together = g.b_source == nullptr && g.b.cs == 1 ? kTogether : 1;
    for (int64_t q = panels * task / tasks; q < end; q += together) {
      const int64_t j = jc + q * nr,
                    count = std::min(std::min(together, end - q) * nr, jc + nc - j);
      T* to = out + q * k * nr;
      if (g.b_source != nullptr) {
        g.b_source->fill(g.b_source->context, pc, k, j, static_cast<int>(count),
                         static_cast<int>(nr), to);
      } else {
        pack_panels_b<T>({g.b.data + pc * g.b.rs + j * g.b.cs, g.b.rs, g.b.cs}, k, count,
                         static_cast<int>(nr), to);
      }
    }
  });
}

}  // namespace

// Loops 5, 4 and 3. Loop 4 runs inside loop 3: a block of C, mc x nc, stays in L2 while all of k
// passes, so that C travels to memory once, not once for every block of k. B is packed before, for
// all of k or as much of it as L3 takes.
template <class T>
void blocked(const Product<T>& g, const Blocking& plan, Panels rows, int64_t nr, int threads) {
  const bool packs_b = (plan.pack_b || g.b_source != nullptr) && g.b_packed == nullptr;
  const int64_t nc = std::min(plan.nc, divide_up(g.n, nr) * nr), depth = std::min(plan.depth, g.k);
  const runtime::Scratch b_scratch(packs_b ? sizeof(T) * static_cast<size_t>(depth * nc) : 0);

  // Loop 3's tasks: blocks of rows, and where those are fewer than the threads want, of columns
  // too.
  const int64_t most_panels = std::max<int64_t>(1, plan.mc / kernels<T>().mr);
  const int64_t wanted = threads == 1 ? 1 : threads * kTasksPerThread;
  const int64_t row_tasks =
      std::max(divide_up(rows.parts, most_panels), std::min(rows.parts, wanted));

  for (int64_t jc = 0; jc < g.n; jc += nc) {
    const int64_t columns = std::min(nc, g.n - jc), column_panels = divide_up(columns, nr);
    const int64_t padded = column_panels * nr;
    const int64_t column_tasks = std::min(column_panels, divide_up(wanted, row_tasks));
    for (int64_t begin = 0; begin < g.k; begin += depth) {
      const int64_t end = std::min(begin + depth, g.k);
      if (packs_b) {
        for (int64_t pc = begin; pc < end; pc += plan.kc) {
          pack_panels(g, pc, std::min(plan.kc, end - pc), jc, columns, nr, threads,
                      b_scratch.as<T>() + (pc - begin) * padded);
        }
      }
      runtime::parallel_for(row_tasks * column_tasks, threads, [&](int64_t task) {
        const int64_t row_task = task / column_tasks, column_task = task % column_tasks;
        const int64_t first = rows.parts * row_task / row_tasks;
        const int64_t last = rows.parts * (row_task + 1) / row_tasks;
        const int64_t j0 = jc + column_panels * column_task / column_tasks * nr;
        const int64_t j1 =
            std::min(jc + column_panels * (column_task + 1) / column_tasks * nr, jc + columns);
        const int64_t top = rows.start(first), m = rows.start(last) - top;
        const runtime::Scratch a_scratch(plan.pack_a ? sizeof(T) * static_cast<size_t>(m * plan.kc)
                                                     : 0);
        // C's own rows, some pages apart, would share cache sets (2048 columns: 89 % of the peak
        // with C itself).
        const bool single = end - begin <= plan.kc;
        const runtime::Scratch sums(
            single ? 0 : sizeof(T) * static_cast<size_t>(m * divide_up(j1 - j0, nr) * nr));
        for (int64_t pc = begin; pc < end; pc += plan.kc) {  // loop 4
          if (runtime::interrupted()) return;
          const int64_t k = std::min(plan.kc, end - pc);
          Block<T> block{&g, rows, pc, k, nr, g.b.data + pc * g.b.rs, 0, 1, g.b.rs};
          if (g.b_packed != nullptr) {
            const T* panels = g.b_packed->data + pc * divide_up(g.n, nr) * nr;
            block = {&g, rows, pc, k, nr, panels, 0, k, nr};
          } else if (packs_b) {
            block = {&g, rows, pc, k, nr, b_scratch.as<T>() + (pc - begin) * padded, jc, k, nr};
          }
          block.sums = single ? nullptr : sums.as<T>();
          block.first = pc == begin;
          block.last = pc + k == end;
          const Matrix<const T> a{g.a.data + pc * g.a.cs, g.a.rs, g.a.cs};
          if (plan.pack_a) {
            const BlockA<T> packed = pack_block_a<T>(a, k, rows, first, last, a_scratch.as<T>());
            compute<T>(block, packed, top, first, last, j0, j1);
          } else {
            compute<T>(block, {a.data, a.rs, a.cs, k, false}, 0, first, last, j0, j1);
          }
        }
        if (end == g.k) activate(g, top, top + m, j0, j1);  // while the block is in L2
      });
      if (runtime::interrupted()) return;
    }
  }
}

template <class T>
int64_t packed_size(int64_t k, int64_t n) {
  const auto& kernel = kernels<T>();
  const int64_t nr = int64_t{kernel.width} * kernel.vectors[kernel.mr];
  return k * divide_up(n, nr) * nr;
}

template <class T>
void pack_b(int64_t k, int64_t n, Matrix<const T> b, T* out) {
  const auto& kernel = kernels<T>();
  const int64_t nr = int64_t{kernel.width} * kernel.vectors[kernel.mr];
  const int64_t kc = k == 0 ? 1 : k_block(k);
  Product<T> g{};
  g.n = n;
  g.k = k;
  g.b = b;
  for (int64_t pc = 0; pc < k; pc += kc) {
    const int threads =
        runtime::threads_for(static_cast<double>(n) * static_cast<double>(kc), kThreadGrain);
    pack_panels(g, pc, std::min(kc, k - pc), 0, n, nr, threads, out + pc * divide_up(n, nr) * nr);
  }
}

template void blocked<float>(const Product<float>&, const Blocking&, Panels, int64_t, int);
template void blocked<double>(const Product<double>&, const Blocking&, Panels, int64_t, int);
template int64_t packed_size<float>(int64_t, int64_t);
template int64_t packed_size<double>(int64_t, int64_t);
template void pack_b<float>(int64_t, int64_t, Matrix<const float>, float*);
template void pack_b<double>(int64_t, int64_t, Matrix<const double>, double*);

}  // namespace tilegrad::gemm
