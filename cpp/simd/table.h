// The one table through which everything above reaches code compiled per instruction set.
//
// Each ISA translation unit (isa_<x>.cpp) defines Vec<float> and Vec<double> in an anonymous
// namespace, instantiates every family's body (<family>.inl.h) with them and exports one SimdTable
// of plain function pointers. The rest of the library never names an instruction set.
//
// A new family adds: its struct of pointers in simd/<family>.h, its body in simd/<family>.inl.h, a
// member here, and its two lines in simd/families.inl.h.
#pragma once

#include "simd/attention.h"
#include "simd/conv.h"
#include "simd/elementwise.h"
#include "simd/gemm.h"
#include "simd/norm.h"
#include "simd/optim.h"
#include "simd/pool.h"
#include "simd/recurrent.h"
#include "simd/reduce.h"
#include "simd/softmax.h"
#include "simd/triangular.h"

namespace tilegrad::simd {

struct SimdTable {
  const char* name;
  int vector_bytes;  // of one register; 0 for portable scalar code
  GemmKernels<float> gemm_f32;
  GemmKernels<double> gemm_f64;
  ElementwiseKernels<float> elementwise_f32;
  ElementwiseKernels<double> elementwise_f64;
  ReduceKernels<float> reduce_f32;
  ReduceKernels<double> reduce_f64;
  SoftmaxKernels<float> softmax_f32;
  SoftmaxKernels<double> softmax_f64;
  OptimKernels<float> optim_f32;
  OptimKernels<double> optim_f64;
  ConvKernels<float> conv_f32;
  ConvKernels<double> conv_f64;
  PoolKernels<float> pool_f32;
  PoolKernels<double> pool_f64;
  NormKernels<float> norm_f32;
  NormKernels<double> norm_f64;
  RecurrentKernels<float> recurrent_f32;
  RecurrentKernels<double> recurrent_f64;
  AttentionKernels<float> attention_f32;
  AttentionKernels<double> attention_f64;
  TriangularKernels<float> triangular_f32;
  TriangularKernels<double> triangular_f64;
};

// The table in use: the best the processor runs, or the one TILEGRAD_ISA names if it is lower.
const SimdTable& table();

// Tables this processor can run, best first; the count is at least 1 (portable).
int available_tables(const SimdTable* const** tables);

// Switches the table for the whole process, for tests; null if `name` is not available here.
const SimdTable* set_table(const char* name);

}  // namespace tilegrad::simd
