// The processor: which instruction sets it runs and how large its caches are.
#pragma once

#include <cstdint>

namespace tilegrad::runtime {

struct CpuInfo {
  bool avx2_fma;  // AVX2 and FMA, with the operating system saving the registers
  bool avx512;    // F, BW, DQ and VL, likewise
  int64_t l1d_bytes, l2_bytes, l3_bytes;  // seen by one core; never zero
  int l1d_ways, l2_ways;
  char brand[64];
};

// Detected once, at the first call; safe to call from any thread.
const CpuInfo& cpu_info();

// Processors this process may use: hardware, affinity mask and cgroup quota, whichever is least;
// >= 1.
int usable_cpus();

}  // namespace tilegrad::runtime
