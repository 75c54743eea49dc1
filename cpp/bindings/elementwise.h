// Recorded elementwise calls, read back so that neighbours can be fused.
#pragma once

#include "bindings/array.h"
#include "nn/elementwise.h"

namespace tilegrad::bindings {

// An elementwise call on `size` contiguous elements of one dtype.
struct FlatMap {
  nn::ChainStep step;
  DType dtype;
  int64_t size;
};

// Whether the recorded call is such a one: results contiguous, inputs of the same shape and
// contiguous or single numbers, no conditions. Fills `map`.
bool as_flat_map(void (*run)(const void*), const void* call, FlatMap& map);

}  // namespace tilegrad::bindings
