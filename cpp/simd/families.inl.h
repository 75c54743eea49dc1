// Every family's body, instantiated with the Vec of the ISA unit that includes this file inside its
// anonymous namespace, and the table's members in order.
//
// Bodies include nothing and call nothing outside this namespace: an inline function shared with
// the rest of the library could be kept by the linker in this unit's instruction set.

#include "simd/gemm.inl.h"

#define TILEGRAD_SIMD_FAMILIES gemm_kernels<float>(), gemm_kernels<double>()
