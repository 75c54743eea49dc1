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

// ---- chains: operations on the same n elements, one after the other
// ------------------------------

constexpr int kMaxChain = 32;               // operations of one chain
constexpr int kMaxLocals = 6;               // intermediates that live in a block buffer alone
constexpr int64_t kChainBlockBytes = 4096;  // of an operand at a time: a dozen of them fit L1

// An operand of n contiguous elements; or of one for all (`single`), a number where `data` is null.
// With a local slot it lies in that block buffer instead.
struct ChainOperand {
  void* data = nullptr;
  double number = 0;
  bool single = false;
  int local = -1;
};

struct ChainStep {
  simd::ElementwiseOp op;
  ChainOperand in[simd::kMaxInputs], out;
  double parameters[simd::kMaxParameters];
};

// Runs `steps` in order on every block of elements before the next block: what one writes the next
// reads from the first-level cache. The same loops on the same numbers as map() calls, so the same
// bits. Operands are equal or share no memory.
template <class T>
void run_chain(int64_t n, const ChainStep* steps, int count);

int map_inputs(simd::ElementwiseOp op);
double map_cost(simd::ElementwiseOp op);  // of one element, beside an addition

}  // namespace tilegrad::nn
