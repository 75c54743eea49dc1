// Every family's body, instantiated with the Vec of the ISA unit that includes this file inside its
// anonymous namespace, and the table's members in order.
//
// Bodies include nothing and call nothing outside this namespace: an inline function shared with
// the rest of the library could be kept by the linker in this unit's instruction set.

// In the order of need.
// clang-format off
#include "simd/gemm.inl.h"
#include "simd/math.inl.h"
#include "simd/elementwise.inl.h"
#include "simd/reduce.inl.h"
#include "simd/softmax.inl.h"
#include "simd/optim.inl.h"
#include "simd/conv_tile.inl.h"
#include "simd/conv_plane.inl.h"
#include "simd/conv_copy.inl.h"
#include "simd/conv.inl.h"
#include "simd/pool.inl.h"
#include "simd/norm.inl.h"
#include "simd/recurrent.inl.h"
#include "simd/attention.inl.h"
#include "simd/triangular.inl.h"
// clang-format on

#define TILEGRAD_SIMD_FAMILIES                                                              \
  gemm_kernels<float>(), gemm_kernels<double>(), elementwise_kernels<float>(),              \
      elementwise_kernels<double>(), reduce_kernels<float>(), reduce_kernels<double>(),     \
      softmax_kernels<float>(), softmax_kernels<double>(), optim_kernels<float>(),          \
      optim_kernels<double>(), conv_kernels<float>(), conv_kernels<double>(),               \
      pool_kernels<float>(), pool_kernels<double>(), norm_kernels<float>(),                 \
      norm_kernels<double>(), recurrent_kernels<float>(), recurrent_kernels<double>(),      \
      attention_kernels<float>(), attention_kernels<double>(), triangular_kernels<float>(), \
      triangular_kernels<double>()
