// The five loops around the register tile, numbered as in Goto and van de Geijn and in BLIS:
//
//   5  jc   n in blocks of nc        B's block fits L3           here, in blocked()
//   3  ic   m in blocks of mc        C's and A's blocks fit L2   tasks of the thread pool
//   4  pc   k in blocks of kc        a panel of B fits L1        inside each task
//   2  jr   nc in panels of nr       one panel of B, in L1       compute()
//   1  ir   mc in panels of mr       one register tile           compute()
//   0  p    kc, one at a time        multiply-adds               simd/gemm.inl.h
//
// Ways around them, for shapes on which packing or tiles do not pay: a single tile, dot products
// (both operands contiguous along k), rows streamed past a large unpacked B.
#include "gemm/gemm.h"

#include <algorithm>

#include "gemm/blocking.h"
#include "gemm/pack.h"
#include "runtime/cpu.h"
#include "runtime/threads.h"
#include "runtime/workspace.h"

namespace tilegrad::gemm {
namespace {

// Multiply-adds that are worth a thread of their own, some 25 us of one core: below, two threads
// lose to one (128: 0.97 times as fast, 192: 1.14 times).
constexpr double kThreadGrain = 3e6;
// Tasks per thread: enough to even out a disturbed processor, few enough to keep blocks large.
constexpr int64_t kTasksPerThread = 4;

thread_local bool invariant = false;

int64_t divide_up(int64_t x, int64_t unit) { return (x + unit - 1) / unit; }

double multiply_adds(int64_t m, int64_t n, int64_t k) {
  return static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k);
}

const Caches& caches() {
  static const Caches sizes{runtime::cpu_info().l1d_bytes, runtime::cpu_info().l2_bytes,
                            runtime::cpu_info().l3_bytes};
  return sizes;
}

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
simd::Tile<T> tile_for_block(const Product<T>& g, int64_t pc, int64_t k) {
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

// An activation other than relu, on rows [i0, i1) and columns [j0, j1) of C.
template <class T>
void activate(const Product<T>& g, int64_t i0, int64_t i1, int64_t j0, int64_t j1) {
  if (g.activation == nullptr) return;
  const int64_t step = 1;
  for (int64_t i = i0; i < i1; ++i) {
    T* row = g.c.data + i * g.c.rs + j0;
    const T* in = row;
    g.activation(j1 - j0, &in, &step, row, nullptr);
  }
}

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

// Next to nothing to add up, a large C to write: whole rows of C, a few at a time, in the order of
// memory.
constexpr int64_t kThinDepth = 4;

// Operands that share L1 with ease need no plan at all: rows of tiles, one after the other.
constexpr int64_t kSmallBytes = 16 << 10;

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

// Dot products pay while there are too few rows or columns to earn back a transposed copy of B.
// Their chains are not the tiles', and a single row of A does not say whether A's rows or columns
// are contiguous: inside batch_invariant() there are none.
constexpr int64_t kDotRows = 12, kDotColumns = 4;

// How far ahead of the rows in use the next ones are asked for, in elements, at most.
constexpr int64_t kDotAhead = 4096;

// Both operands contiguous along k. The longer side of C gives the rows of the tiles.
template <class T>
void dots(const Product<T>& g, int threads) {
  const auto& kernel = kernels<T>();
  const bool flip = g.n > g.m;
  const int64_t m = flip ? g.n : g.m, n = flip ? g.m : g.n;
  simd::DotTile<T> start{};
  start.a = flip ? g.b.data : g.a.data;
  start.a_row = flip ? g.b.cs : g.a.rs;
  start.b = flip ? g.a.data : g.b.data;
  start.b_row = flip ? g.a.rs : g.b.cs;
  start.c = g.c.data;
  start.c_row = flip ? g.c.cs : g.c.rs;
  start.c_column = flip ? g.c.rs : g.c.cs;
  start.alpha = g.alpha;
  start.row_bias = flip ? g.column_bias : g.row_bias;
  start.column_bias = flip ? g.row_bias : g.column_bias;
  // Each lane of the two chains adds at most as many terms as a tile's chain does.
  const int64_t kc = 2 * kernel.width * longest_k_block();
  const Panels rows{m, divide_up(m, kernel.dot_rows)}, columns{n, divide_up(n, kernel.dot_columns)};
  const int64_t tasks = std::min(rows.parts, threads == 1 ? 1 : threads * kTasksPerThread);
  runtime::parallel_for(tasks, threads, [&](int64_t task) {
    for (int64_t r = rows.parts * task / tasks; r < rows.parts * (task + 1) / tasks; ++r) {
      const int64_t i = rows.start(r);
      if (r % 64 == 0 && runtime::interrupted()) return;
      for (int64_t q = 0; q < columns.parts; ++q) {
        const int64_t j = columns.start(q);
        for (int64_t pc = 0; pc < g.k; pc += kc) {
          const bool last = pc + kc >= g.k;
          simd::DotTile<T> tile = start;
          tile.k = std::min(kc, g.k - pc);
          tile.a += i * start.a_row + pc;
          tile.b += j * start.b_row + pc;
          tile.c += i * start.c_row + j * start.c_column;
          tile.beta = pc == 0 ? g.beta : T(1);
          tile.row_bias = last && start.row_bias != nullptr ? start.row_bias + i : nullptr;
          tile.column_bias = last && start.column_bias != nullptr ? start.column_bias + j : nullptr;
          tile.relu = last && g.relu;
          tile.ahead = std::min(rows.rows(r) * start.a_row, kDotAhead);
          kernel.dot[rows.rows(r)][columns.rows(q)](tile);
        }
      }
    }
  });
}

template <class T>
bool wants_dots(const Product<T>& g) {
  if (g.b_packed != nullptr || g.b_source != nullptr || g.k == 1) return false;
  if (g.a.cs != 1 || g.b.rs != 1) return false;
  return !invariant && (g.n <= kDotColumns || (g.m <= kDotRows && g.b.cs != 1));
}

// C with contiguous rows, and k > 0.
template <class T>
void multiply(const Product<T>& g) {
  const auto& kernel = kernels<T>();
  const bool plain_b = g.b.cs == 1 && g.b_packed == nullptr && g.b_source == nullptr;
  const int64_t kc = k_block(g.k);
  const int64_t operand_bytes = (g.m + g.n) * g.k * static_cast<int64_t>(sizeof(T));
  if (plain_b && kc == g.k && operand_bytes <= kSmallBytes) {
    small(g);
    return activate(g, 0, g.m, 0, g.n);
  }
  const int threads = runtime::threads_for(multiply_adds(g.m, g.n, g.k), kThreadGrain);
  if (wants_dots(g)) {
    dots(g, threads);
    return activate(g, 0, g.m, 0, g.n);
  }
  if (g.k <= kThinDepth && plain_b && kc == g.k) {
    thin(g, threads);
    return activate(g, 0, g.m, 0, g.n);
  }
  const Panels rows{g.m, divide_up(g.m, kernel.mr)};
  // A packed operand has the widest tile's panels of the tallest tile, whatever m is.
  const bool small_m = plain_b;
  const int tallest = static_cast<int>(divide_up(g.m, rows.parts));
  const int vectors = kernel.vectors[small_m ? tallest : kernel.mr];
  const bool a_rows = g.a.cs == 1, b_rows = g.b.cs == 1;
  const Blocking plan = choose_blocking(
      {g.m, g.n, g.k, sizeof(T), kernel.mr, kernel.width, vectors, a_rows, b_rows}, caches());
  if (plan.sliced && plain_b) {
    sliced(g, plan.kc, threads);
    return activate(g, 0, g.m, 0, g.n);
  }
  blocked(g, plan, rows, int64_t{kernel.width} * vectors, threads);
}

template <class T>
Product<T> transposed(const Product<T>& g) {
  Product<T> t = g;
  t.m = g.n;
  t.n = g.m;
  t.a = {g.b.data, g.b.cs, g.b.rs};
  t.b = {g.a.data, g.a.cs, g.a.rs};
  t.c = {g.c.data, g.c.cs, g.c.rs};
  t.row_bias = g.column_bias;
  t.column_bias = g.row_bias;
  return t;
}

// C with neither rows nor columns contiguous: the product goes to a copy.
template <class T>
void through_copy(const Product<T>& g) {
  const runtime::Scratch scratch(sizeof(T) * static_cast<size_t>(g.m * g.n));
  Product<T> copy = g;
  copy.c = {scratch.as<T>(), g.n, 1};
  if (g.beta != T(0)) {
    for (int64_t i = 0; i < g.m; ++i) {
      for (int64_t j = 0; j < g.n; ++j)
        copy.c.data[i * g.n + j] = g.c.data[i * g.c.rs + j * g.c.cs];
    }
  }
  multiply(copy);
  for (int64_t i = 0; i < g.m; ++i) {
    for (int64_t j = 0; j < g.n; ++j) g.c.data[i * g.c.rs + j * g.c.cs] = copy.c.data[i * g.n + j];
  }
}

// Nothing to multiply: C = relu(beta C + bias), with a k of zero rows.
template <class T>
void without_product(Product<T> g) {
  for (int64_t i = 0; i < g.m; ++i) {
    for (int64_t j = 0; j < g.n; ++j) {
      T& c = g.c.data[i * g.c.rs + j * g.c.cs];
      T value = g.beta == T(0) ? T(0) : g.beta * c;
      if (g.row_bias != nullptr) value += g.row_bias[i];
      if (g.column_bias != nullptr) value += g.column_bias[j];
      c = g.relu && value < T(0) ? T(0) : value;
      const T* in = &c;
      const int64_t step = 1;
      if (g.activation != nullptr) g.activation(1, &in, &step, &c, nullptr);
    }
  }
}

}  // namespace

bool batch_invariant() { return invariant; }
void set_batch_invariant(bool on) { invariant = on; }

template <class T>
void gemm(const Product<T>& g) {
  if (g.m == 0 || g.n == 0) return;
  if (g.k == 0 || g.alpha == T(0)) return without_product(g);
  const bool plain_b = g.b_packed == nullptr && g.b_source == nullptr;
  const bool rows = g.c.cs == 1 || g.n == 1, columns = (g.c.rs == 1 || g.m == 1) && plain_b;
  // A single column is a row of the transposed product: tiles run along m then.
  if (columns && (!rows || (g.n == 1 && !wants_dots(g)))) return multiply(transposed(g));
  if (!rows) return through_copy(g);
  if (g.n == 1 && g.b.cs != 1) {  // one column: its stride is free to choose
    Product<T> column = g;
    if (!wants_dots(g)) column.b.cs = 1;
    return multiply(column);
  }
  multiply(g);
}

template <class T>
void gemm_in_cache(const Product<T>& g) {
  small(g);
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

template <class T>
void gemm_batched(const Product<T>& first, const Batch<T>& batch) {
  int64_t count = 1;
  for (int i = 0; i < batch.ndim; ++i) count *= batch.shape[i];
  const auto one = [&](int64_t index) {
    Product<T> g = first;
    for (int axis = batch.ndim - 1; axis >= 0; --axis) {
      const int64_t at = index % batch.shape[axis];
      index /= batch.shape[axis];
      g.a.data += at * batch.a_steps[axis];
      g.b.data += at * batch.b_steps[axis];
      g.c.data += at * batch.c_steps[axis];
    }
    gemm(g);
  };
  const double each = multiply_adds(first.m, first.n, first.k);
  const int threads = runtime::threads_for(each * static_cast<double>(count), kThreadGrain);
  // Products large enough to share among the threads are better shared, one after the other.
  if (threads == 1 || (count < threads * kTasksPerThread && each > 4 * kThreadGrain)) {
    for (int64_t i = 0; i < count; ++i) {
      if (i % 64 == 0 && runtime::interrupted()) return;
      one(i);
    }
    return;
  }
  const int64_t tasks = std::min(count, threads * kTasksPerThread * 4);
  runtime::parallel_for(tasks, threads, [&](int64_t task) {
    for (int64_t i = count * task / tasks; i < count * (task + 1) / tasks; ++i) {
      if (i % 64 == 0 && runtime::interrupted()) return;
      one(i);
    }
  });
}

template void gemm<float>(const Product<float>&);
template void gemm<double>(const Product<double>&);
template void gemm_in_cache<float>(const Product<float>&);
template void gemm_in_cache<double>(const Product<double>&);
template void gemm_batched<float>(const Product<float>&, const Batch<float>&);
template void gemm_batched<double>(const Product<double>&, const Batch<double>&);
template int64_t packed_size<float>(int64_t, int64_t);
template int64_t packed_size<double>(int64_t, int64_t);
template void pack_b<float>(int64_t, int64_t, Matrix<const float>, float*);
template void pack_b<double>(int64_t, int64_t, Matrix<const double>, double*);

}  // namespace tilegrad::gemm
