// Memory of large results, kept for the next one instead of being given back to the system: fresh
// pages cost a fault each, which on a result of some MiB is several percent of a matrix product.
//
// Any thread may free what another allocated. At most kKeptBytes are kept in all. Blocks of a huge
// page or more are huge-page aligned, and huge pages are asked for.
#pragma once

#include <cstddef>

namespace tilegrad::runtime {

void* recycle_allocate(size_t bytes);  // 64-byte aligned, uninitialised; null when out of memory
void* recycle_reallocate(void* data, size_t bytes);
void recycle_free(void* data);

}  // namespace tilegrad::runtime
