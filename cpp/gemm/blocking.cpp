#include "gemm/blocking.h"

#include <algorithm>

namespace tilegrad::gemm {
namespace {

BlockingOverride override_values{};

int64_t divide_up(int64_t x, int64_t unit) { return (x + unit - 1) / unit; }

// The largest multiple of `unit` that is at most `limit`, but never less than one unit.
int64_t whole_units(int64_t limit, int64_t unit) {
  return std::max<int64_t>(1, limit / unit) * unit;
}

}  // namespace

int64_t longest_k_block() {
  // Accuracy asks kc <= 384: the error of one chain grows with its length, and 384 comes close to
  // the promised 16 u |A||B|. Speed asks for long blocks (C is read and written once for each)
  // whose panel of B, kc x 128 bytes, stays in L1 beside A's rows. In float64 those rows are too
  // long for that, yet shorter blocks (192, 256) lose more on C: 80 % of the peak at 2048, 83 with
  // 352.
  constexpr int64_t kLongest = 352;
  return override_values.kc != 0 ? override_values.kc : kLongest;
}

int64_t k_block(int64_t k) {
  return divide_up(k, std::max<int64_t>(1, divide_up(k, longest_k_block())));
}

// Columns of C in a block: wide enough that A, read again for every block of columns, costs little.
constexpr int64_t kColumns = 1024;

Blocking choose_blocking(const Shape& s, const Caches& caches) {
  Blocking choice{};
  choice.kc = k_block(s.k);
  const int64_t nr = int64_t{s.width} * s.vectors;
  const int64_t a_bytes = s.m * choice.kc * s.item, b_bytes = choice.kc * s.n * s.item;

  // Five eighths of L2 hold a block of C, which stays while k passes, and the block of A at hand;
  // the rest is for the panels of B that pass, out of a quarter of L3.
  choice.nc = whole_units(kColumns, nr);
  const int64_t nc = std::min(divide_up(s.n, nr) * nr, choice.nc);
  choice.mc = whole_units(caches.l2 * 5 / 8 / ((nc + choice.kc) * s.item), s.mr);
  choice.depth = whole_units(std::max(caches.l2, caches.l3 / 4) / (nc * s.item), choice.kc);

  // Packing pays where lines are read again: B for every mr rows of A, A for every nr columns of B.
  // From panels of A the tile needs a fifth fewer instructions than from rows in place, which on
  // Intel is up to a tenth of the time; transposing rows into panels costs some 25 / n of the
  // product (Emerald Rapids, % of the peak with a busy neighbour on the core and without: n = 256
  // 71 and 78 packed, 69 and 87 in place; 512 76 and 89, 66 and 84). Columns are only copied.
  const int64_t row_panels = divide_up(s.m, s.mr), column_panels = divide_up(s.n, nr);
  choice.pack_b = !s.b_rows || (row_panels > 3 && b_bytes > caches.l1 / 2);
  choice.pack_a = column_panels > (s.a_rows ? 8 : 2) && a_bytes > caches.l1 / 2;

  choice.sliced = !choice.pack_b && row_panels == 1 && s.k * s.n * s.item > caches.l2 / 2;

  if (override_values.mc != 0) choice.mc = whole_units(override_values.mc, s.mr);
  if (override_values.nc != 0) choice.nc = whole_units(override_values.nc, nr);
  if (override_values.pack_a != 0) choice.pack_a = override_values.pack_a == 2;
  if (override_values.pack_b != 0) choice.pack_b = !s.b_rows || override_values.pack_b == 2;
  choice.sliced = choice.sliced && !choice.pack_b;
  return choice;
}

void override_blocking(const BlockingOverride& values) { override_values = values; }

}  // namespace tilegrad::gemm
