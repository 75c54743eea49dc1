#include "runtime/cpu.h"

#include <sched.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <thread>

#ifdef TILEGRAD_X86
#include <cpuid.h>
#endif

namespace tilegrad::runtime {
namespace {

#ifdef TILEGRAD_X86
struct Registers {
  uint32_t a, b, c, d;
};

Registers cpuid(uint32_t leaf, uint32_t subleaf = 0) {
  Registers r{};
  __cpuid_count(leaf, subleaf, r.a, r.b, r.c, r.d);
  return r;
}

uint64_t enabled_state() {  // XCR0: the register files the operating system saves
  uint32_t low, high;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (uint64_t{high} << 32) | low;
}

void detect_features(CpuInfo& info) {
  const uint32_t highest = cpuid(0).a;
  const Registers basic = cpuid(1);
  constexpr uint32_t kFma = 1u << 12, kOsxsave = 1u << 27, kAvx = 1u << 28;
  if (highest < 7 || !(basic.c & kOsxsave) || !(basic.c & kAvx)) return;
  const uint64_t state = enabled_state();
  constexpr uint64_t kYmm = 0x6, kZmm = 0xe6;  // SSE and AVX; and opmask, ZMM low, ZMM high
  const Registers extended = cpuid(7);
  constexpr uint32_t kAvx2 = (1u << 5) | (1u << 8);                                // and BMI2
  constexpr uint32_t kAvx512 = (1u << 16) | (1u << 17) | (1u << 30) | (1u << 31);  // F DQ BW VL
  info.avx2_fma = (state & kYmm) == kYmm && (extended.b & kAvx2) == kAvx2 && (basic.c & kFma);
  info.avx512 = info.avx2_fma && (state & kZmm) == kZmm && (extended.b & kAvx512) == kAvx512;
}

void detect_caches(CpuInfo& info) {
  // Deterministic cache parameters: leaf 4 (Intel) and 0x8000001d (AMD) share one layout.
  const bool amd = cpuid(0).c == 0x444d4163;  // "cAMD"
  if (amd && cpuid(0x80000000).a < 0x8000001d) return;
  if (!amd && cpuid(0).a < 4) return;
  const uint32_t leaf = amd ? 0x8000001d : 4;
  for (uint32_t i = 0; i < 16; ++i) {
    const Registers r = cpuid(leaf, i);
    const uint32_t type = r.a & 31, level = (r.a >> 5) & 7;
    if (type == 0) break;
    if (type == 2) continue;  // instructions
    const int ways = static_cast<int>(r.b >> 22) + 1;
    const int64_t bytes =
        int64_t{ways} * (((r.b >> 12) & 1023) + 1) * ((r.b & 4095) + 1) * (int64_t{r.c} + 1);
    if (level == 1) info.l1d_bytes = bytes, info.l1d_ways = ways;
    if (level == 2) info.l2_bytes = bytes, info.l2_ways = ways;
    if (level == 3) info.l3_bytes = bytes;
  }
}

void detect_brand(CpuInfo& info) {
  if (cpuid(0x80000000).a < 0x80000004) return;
  for (uint32_t i = 0; i < 3; ++i) {
    const Registers r = cpuid(0x80000002 + i);
    std::memcpy(info.brand + 16 * i, &r, 16);
  }
}
#endif

CpuInfo detect() {
  // Sizes of a small core of the last decade, where the processor does not say.
  CpuInfo info{false, false, 32 << 10, 256 << 10, 2 << 20, 8, 8, "unknown"};
#ifdef TILEGRAD_X86
  detect_features(info);
  detect_caches(info);
  detect_brand(info);
#endif
  return info;
}

// Processors granted by the cgroup's time quota, or a large number without one.
double cgroup_cpus() {
  double quota = -1, period = 0;
  if (std::FILE* file = std::fopen("/sys/fs/cgroup/cpu.max", "r")) {  // version 2: "max 100000"
    if (std::fscanf(file, "%lf %lf", &quota, &period) != 2) quota = -1;
    std::fclose(file);
  } else {  // version 1
    const char* names[] = {"/sys/fs/cgroup/cpu/cpu.cfs_quota_us",
                           "/sys/fs/cgroup/cpu/cpu.cfs_period_us"};
    double* values[] = {&quota, &period};
    for (int i = 0; i < 2; ++i) {
      if (std::FILE* part = std::fopen(names[i], "r")) {
        if (std::fscanf(part, "%lf", values[i]) != 1) quota = -1;
        std::fclose(part);
      }
    }
  }
  return quota > 0 && period > 0 ? quota / period : 1e9;
}

}  // namespace

const CpuInfo& cpu_info() {
  static const CpuInfo info = detect();
  return info;
}

int usable_cpus() {
  int count = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) count = std::min(count, CPU_COUNT(&set));
  const double granted = std::max(1.0, std::ceil(cgroup_cpus()));
  return std::max(1, static_cast<int>(std::min<double>(count, granted)));
}

}  // namespace tilegrad::runtime
