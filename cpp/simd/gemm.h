// The micro-kernels of the matrix product as data: tile sizes and function pointers for one type.
#pragma once

#include <cstdint>

namespace tilegrad::simd {

template <class T>
struct GemmKernels {
  int mr, nr;  // the register tile

  // C[0:m, 0:n] (+)= A B for one tile, m <= mr, n <= nr. A is packed k-major in columns of mr, B in
  // rows of nr; both are padded with zeros to the full tile. C has row stride ldc and unit column
  // stride.
  void (*micro)(int64_t k, const T* a, const T* b, T* c, int64_t ldc, int m, int n,
                bool accumulate);
};

}  // namespace tilegrad::simd
