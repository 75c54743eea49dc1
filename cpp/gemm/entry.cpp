// C entry points in the argument order of CBLAS, so that the product can be called, and judged by
// the reference BLAS testers, without Python. Return 0, or the position of the first wrong argument
// (counted from 1, `order` being the first), or -1 when out of memory; nothing is written then.
#include <new>

#include "gemm/gemm.h"

#define TILEGRAD_EXPORT extern "C" __attribute__((visibility("default")))

namespace tilegrad::gemm {
namespace {

constexpr int kRowMajor = 101, kColumnMajor = 102;
constexpr int kNoTranspose = 111, kTranspose = 112, kConjugateTranspose = 113;

bool valid(int transpose) { return transpose >= kNoTranspose && transpose <= kConjugateTranspose; }

// op(X) as a matrix, from X of leading dimension ld.
template <class T>
Matrix<T> operand(T* data, int64_t ld, bool row_major, bool transpose) {
  return row_major != transpose ? Matrix<T>{data, ld, 1} : Matrix<T>{data, 1, ld};
}

// Whether ld reaches over a line of a (rows x columns) matrix.
bool reaches(int ld, int rows, int columns, bool row_major) {
  const int line = row_major ? columns : rows;
  return ld >= (line > 1 ? line : 1);
}

template <class T>
int entry(int order, int transpose_a, int transpose_b, int m, int n, int k, T alpha, const T* a,
          int lda, const T* b, int ldb, T beta, T* c, int ldc) {
  if (order != kRowMajor && order != kColumnMajor) return 1;
  if (!valid(transpose_a)) return 2;
  if (!valid(transpose_b)) return 3;
  if (m < 0) return 4;
  if (n < 0) return 5;
  if (k < 0) return 6;
  const bool rows = order == kRowMajor, ta = transpose_a != kNoTranspose,
             tb = transpose_b != kNoTranspose;
  if (!reaches(lda, ta ? k : m, ta ? m : k, rows)) return 9;
  if (!reaches(ldb, tb ? n : k, tb ? k : n, rows)) return 11;
  if (!reaches(ldc, m, n, rows)) return 14;
  try {
    gemm<T>({m, n, k, alpha, beta, operand(a, lda, rows, ta), operand(b, ldb, rows, tb),
             operand(c, ldc, rows, false)});
  } catch (const std::bad_alloc&) {
    return -1;
  }
  return 0;
}

}  // namespace
}  // namespace tilegrad::gemm

TILEGRAD_EXPORT int tilegrad_sgemm(int order, int transpose_a, int transpose_b, int m, int n, int k,
                                   float alpha, const float* a, int lda, const float* b, int ldb,
                                   float beta, float* c, int ldc) {
  return tilegrad::gemm::entry(order, transpose_a, transpose_b, m, n, k, alpha, a, lda, b, ldb,
                               beta, c, ldc);
}

TILEGRAD_EXPORT int tilegrad_dgemm(int order, int transpose_a, int transpose_b, int m, int n, int k,
                                   double alpha, const double* a, int lda, const double* b, int ldb,
                                   double beta, double* c, int ldc) {
  return tilegrad::gemm::entry(order, transpose_a, transpose_b, m, n, k, alpha, a, lda, b, ldb,
                               beta, c, ldc);
}
