#include "runtime/recycle.h"

#include <algorithm>
#include <cstring>
#include <mutex>
#include <new>

#include "runtime/workspace.h"

namespace tilegrad::runtime {
namespace {

constexpr size_t kKeptBytes = size_t{256} << 20;  // a few results of the largest usual products
constexpr size_t kMostBlocks = 64;
constexpr size_t kHeader = 64;  // one cache line before the data holds the block's size

struct Kept {
  void* block;
  size_t bytes;
};

struct Store {
  std::mutex mutex;
  Kept kept[kMostBlocks];
  size_t count = 0, bytes = 0;
};

// Never destroyed: arrays may be freed after static destructors ran.
Store& store() {
  static Store* const only = new Store;
  return *only;
}

// Sizes in steps of an eighth of their power of two, so that nearly equal results share blocks.
size_t size_class(size_t bytes) {
  size_t step = 4096;
  while (step * 16 <= bytes) step *= 2;
  return (bytes + step - 1) / step * step;
}

void* take(size_t bytes) {
  Store& s = store();
  // A child forked while another thread held the lock finds it locked for ever: it goes without.
  const std::unique_lock<std::mutex> lock(s.mutex, std::try_to_lock);
  if (!lock.owns_lock()) return nullptr;
  for (size_t i = s.count; i-- > 0;) {  // the latest first: its lines may still be in cache
    if (s.kept[i].bytes != bytes) continue;
    void* block = s.kept[i].block;
    s.bytes -= bytes;
    std::copy(s.kept + i + 1, s.kept + s.count, s.kept + i);
    --s.count;
    return block;
  }
  return nullptr;
}

// Keeps the block, dropping the oldest ones for it.
bool keep(void* block, size_t bytes) {
  Store& s = store();
  const std::unique_lock<std::mutex> lock(s.mutex, std::try_to_lock);
  if (!lock.owns_lock() || bytes > kKeptBytes / 2) return false;
  size_t drop = 0;
  while (s.count - drop == kMostBlocks || s.bytes + bytes > kKeptBytes) {
    s.bytes -= s.kept[drop].bytes;
    free_aligned(s.kept[drop++].block);
  }
  std::copy(s.kept + drop, s.kept + s.count, s.kept);
  s.count -= drop;
  s.kept[s.count++] = {block, bytes};
  s.bytes += bytes;
  return true;
}

}  // namespace

void* recycle_allocate(size_t bytes) {
  const size_t whole = size_class(bytes + kHeader);
  void* block = take(whole);
  if (block == nullptr) {
    try {
      block = allocate_aligned(whole);
    } catch (const std::bad_alloc&) {
      return nullptr;
    }
    *static_cast<size_t*>(block) = whole;
  }
  return static_cast<char*>(block) + kHeader;
}

void recycle_free(void* data) {
  if (data == nullptr) return;
  void* block = static_cast<char*>(data) - kHeader;
  if (!keep(block, *static_cast<size_t*>(block))) free_aligned(block);
}

void* recycle_reallocate(void* data, size_t bytes) {
  void* fresh = recycle_allocate(bytes);
  if (fresh == nullptr || data == nullptr) return fresh;
  const size_t old = *reinterpret_cast<size_t*>(static_cast<char*>(data) - kHeader) - kHeader;
  std::memcpy(fresh, data, std::min(bytes, old));
  recycle_free(data);
  return fresh;
}

}  // namespace tilegrad::runtime
