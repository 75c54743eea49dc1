#include <atomic>
#include <cstdlib>
#include <cstring>

#include "runtime/cpu.h"
#include "simd/table.h"

namespace tilegrad::simd {

extern const SimdTable kPortableTable;
#ifdef TILEGRAD_X86
extern const SimdTable kAvx2Table, kAvx512Table;
#endif

namespace {

struct Available {
  const SimdTable* tables[3];
  int count = 0;

  Available() {
#ifdef TILEGRAD_X86
    if (runtime::cpu_info().avx512) tables[count++] = &kAvx512Table;
    if (runtime::cpu_info().avx2_fma) tables[count++] = &kAvx2Table;
#endif
    tables[count++] = &kPortableTable;
  }
};

const Available& available() {
  static const Available found;
  return found;
}

const SimdTable* find(const char* name) {
  for (int i = 0; i < available().count; ++i) {
    if (std::strcmp(available().tables[i]->name, name) == 0) return available().tables[i];
  }
  return nullptr;
}

// A name this processor cannot run is not an error: the best it can run is lower anyway.
const SimdTable* initial_table() {
  const char* forced = std::getenv("TILEGRAD_ISA");
  const SimdTable* table = forced != nullptr ? find(forced) : nullptr;
  return table != nullptr ? table : available().tables[0];
}

std::atomic<const SimdTable*>& current() {
  static std::atomic<const SimdTable*> table{initial_table()};
  return table;
}

}  // namespace

const SimdTable& table() { return *current().load(std::memory_order_relaxed); }

int available_tables(const SimdTable* const** tables) {
  *tables = available().tables;
  return available().count;
}

const SimdTable* set_table(const char* name) {
  const SimdTable* found = find(name);
  if (found != nullptr) current().store(found, std::memory_order_relaxed);
  return found;
}

}  // namespace tilegrad::simd
