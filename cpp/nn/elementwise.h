// Elementwise operations on strided, broadcast arrays.
#pragma once

#include <cstdint>

#include "simd/elementwise.h"

namespace tilegrad::nn {

constexpr int kMaxDims = 8;

// An input, broadcast to the result's shape: strides in elements, 0 along broadcast axes.
struct MapInput {
  const void* data;
  const int64_t* strides;
  bool truth;  // elements are bytes (booleans): read as 0 or 1
};

// out = op(inputs...) over `shape`. `out` has strides of its own; it may be one of the inputs with
// the same strides, and overlaps them in no other way. `parameters` holds kMaxParameters numbers.
template <class T>
void map(simd::ElementwiseOp op, int ndim, const int64_t* shape, const MapInput* inputs, T* out,
         const int64_t* out_strides, const T* parameters);

int map_inputs(simd::ElementwiseOp op);
double map_cost(simd::ElementwiseOp op);  // of one element, beside an addition

}  // namespace tilegrad::nn
