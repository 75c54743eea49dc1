// Scratch memory of one thread, taken and given back in last-in-first-out order.
//
// A Scratch is 64-byte aligned, uninitialised and belongs to the thread that made it until its
// scope ends; other threads may read and write it meanwhile. The memory behind it is kept for the
// next call (up to kKeptBytes per thread), backed by huge pages where the system offers them.
#pragma once

#include <cstddef>
#include <cstdint>

namespace tilegrad::runtime {

class Scratch {
 public:
  explicit Scratch(size_t bytes);  // throws std::bad_alloc
  ~Scratch();
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  template <class T>
  T* as() const {
    return static_cast<T*>(data_);
  }

 private:
  void* data_;
  size_t mark_;  // where the arena's bump pointer stood, or kOwnBlock
};

// Pages of at least a huge page's size are asked for as huge pages; throws std::bad_alloc.
void* allocate_aligned(size_t bytes);
void free_aligned(void* data);

}  // namespace tilegrad::runtime
