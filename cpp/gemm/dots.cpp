// Both operands contiguous along k: nothing to transpose, see ways.h.
#include <algorithm>

#include "gemm/tiles.h"
#include "gemm/ways.h"
#include "runtime/threads.h"

namespace tilegrad::gemm {
namespace {

// Dot products pay while there are too few rows or columns to earn back a transposed copy of B, and
// k is long enough to earn back the sums over lanes: 16 x 512 x 512 runs 1.4 times as fast as on a
// copy, 32 x 64 x 64 a third as fast. Their chains are not the tiles', and a single row of A does
// not say whether A's rows or columns are contiguous: inside batch_invariant() there are none.
constexpr int64_t kDotRows = 16, kDotColumns = 4, kStepsPerRow = 16;

int64_t most_rows(int64_t k) { return std::min(kDotRows, std::max(kDotColumns, k / kStepsPerRow)); }

// How far ahead of the rows in use the next ones are asked for, in elements, at most.
constexpr int64_t kDotAhead = 4096;

}  // namespace

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
  return !batch_invariant() && (g.n <= kDotColumns || (g.m <= most_rows(g.k) && g.b.cs != 1));
}

template bool wants_dots<float>(const Product<float>&);
template bool wants_dots<double>(const Product<double>&);
template void dots<float>(const Product<float>&, int);
template void dots<double>(const Product<double>&, int);

}  // namespace tilegrad::gemm
