#include "runtime/workspace.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <new>

namespace tilegrad::runtime {
namespace {

constexpr size_t kAlignment = 64;                  // a cache line, and an AVX-512 register
constexpr size_t kHugePage = size_t{2} << 20;      // of x86-64
constexpr size_t kFirstBytes = size_t{256} << 10;  // an arena's first block: small kernels fit
constexpr size_t kKeptBytes = size_t{32} << 20;    // what one idle thread keeps at most
constexpr size_t kOwnBlock = ~size_t{0};

size_t rounded(size_t bytes, size_t unit) { return (bytes + unit - 1) / unit * unit; }

// One block with a bump pointer. A request that does not fit gets a block of its own, and when the
// arena is empty again its block grows to what was asked for at the peak.
struct Arena {
  char* block = nullptr;
  size_t size = 0, used = 0, outside = 0, wanted = 0;

  ~Arena() { free_aligned(block); }

  void regrow() {
    const size_t target = std::min(std::max(wanted, kFirstBytes), kKeptBytes);
    if (target <= size) return;
    free_aligned(block);
    block = nullptr;
    size = 0;
    block = static_cast<char*>(allocate_aligned(target));
    size = target;
  }
};

thread_local Arena arena;

}  // namespace

void* allocate_aligned(size_t bytes) {
  const size_t alignment = bytes >= kHugePage ? kHugePage : kAlignment;
  void* data = std::aligned_alloc(alignment, rounded(std::max<size_t>(bytes, 1), alignment));
  if (data == nullptr) throw std::bad_alloc();
#ifdef MADV_HUGEPAGE
  if (bytes >= kHugePage) madvise(data, rounded(bytes, alignment), MADV_HUGEPAGE);
#endif
  return data;
}

void free_aligned(void* data) { std::free(data); }

Scratch::Scratch(size_t bytes) {
  // One register of room behind the end: kernels may store whole vectors across it.
  bytes = rounded(std::max<size_t>(bytes, 1), kAlignment) + kAlignment;
  Arena& own = arena;
  if (own.used == 0 && own.outside == 0 && (own.size < bytes || own.size < own.wanted)) {
    own.wanted = std::max(own.wanted, bytes);
    own.regrow();
  }
  own.wanted = std::max(own.wanted, own.used + own.outside + bytes);
  if (own.size - own.used >= bytes) {
    mark_ = own.used;
    data_ = own.block + own.used;
    own.used += bytes;
  } else {
    data_ = allocate_aligned(bytes + kAlignment);
    *static_cast<size_t*>(data_) = bytes;  // remembered in the line before the caller's
    data_ = static_cast<char*>(data_) + kAlignment;
    own.outside += bytes;
    mark_ = kOwnBlock;
  }
}

Scratch::~Scratch() {
  Arena& own = arena;
  if (mark_ != kOwnBlock) {
    own.used = mark_;
    return;
  }
  char* block = static_cast<char*>(data_) - kAlignment;
  own.outside -= *reinterpret_cast<size_t*>(block);
  free_aligned(block);
}

}  // namespace tilegrad::runtime
