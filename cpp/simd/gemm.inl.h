template <class T>
void gemm_micro(int64_t k, const T* a, const T* b, T* c, int64_t ldc, int m, int n,
                bool accumulate) {
  constexpr int MR = gemm_rows<T>(), NV = gemm_vectors<T>(), W = Vec<T>::width;
  using V = Vec<T>;
  V tile[MR][NV];
#pragma GCC unroll 16
  for (int i = 0; i < MR; ++i)
#pragma GCC unroll 16
    for (int j = 0; j < NV; ++j) tile[i][j] = V::zero();
  for (int64_t p = 0; p < k; ++p, a += MR, b += NV * W) {
    V row[NV];
#pragma GCC unroll 16
    for (int j = 0; j < NV; ++j) row[j] = V::load(b + j * W);
#pragma GCC unroll 16
    for (int i = 0; i < MR; ++i) {
      const V x = V::splat(a[i]);
#pragma GCC unroll 16
      for (int j = 0; j < NV; ++j) tile[i][j] = V::fma(x, row[j], tile[i][j]);
    }
  }
#pragma GCC unroll 16
  for (int i = 0; i < MR; ++i) {
    if (i >= m) break;
#pragma GCC unroll 16
    for (int j = 0; j < NV; ++j) {
      T* at = c + i * ldc + j * W;
      const int count = n - j * W;
      if (count <= 0) break;
      V value = tile[i][j];
      if (accumulate) value = value + V::load(at, count);
      value.store(at, count);
    }
  }
}

template <class T>
constexpr GemmKernels<T> gemm_kernels() {
  return {gemm_rows<T>(), gemm_vectors<T>() * Vec<T>::width, gemm_micro<T>};
}
