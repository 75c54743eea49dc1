// AVX-512 (F, BW, DQ, VL): 32 registers of 64 bytes.
#ifdef TILEGRAD_X86
#include <immintrin.h>
#include <stdint.h>

#include "simd/table.h"

namespace tilegrad::simd {
namespace {

#define TILEGRAD_INLINE inline __attribute__((always_inline))

template <class T>
struct Vec;

template <>
struct Vec<float> {
  static constexpr int width = 16;
  using Mask = __mmask16;
  __m512 v;

  // Lanes below count, which may be anything; the others read as zero and are not written.
  static TILEGRAD_INLINE Mask first(int count) {
    return static_cast<Mask>(_bzhi_u32(0xffffu, static_cast<unsigned>(count > 0 ? count : 0)));
  }
  static TILEGRAD_INLINE Vec load(const float* p) { return {_mm512_loadu_ps(p)}; }
  static TILEGRAD_INLINE Vec load(const float* p, int count) {
    return {_mm512_maskz_loadu_ps(first(count), p)};
  }
  TILEGRAD_INLINE void store(float* p) const { _mm512_storeu_ps(p, v); }
  TILEGRAD_INLINE void store(float* p, int count) const {
    _mm512_mask_storeu_ps(p, first(count), v);
  }
  static TILEGRAD_INLINE Vec splat(float x) { return {_mm512_set1_ps(x)}; }
  static TILEGRAD_INLINE Vec zero() { return {_mm512_setzero_ps()}; }

  friend TILEGRAD_INLINE Vec operator+(Vec a, Vec b) { return {_mm512_add_ps(a.v, b.v)}; }
  friend TILEGRAD_INLINE Vec operator-(Vec a, Vec b) { return {_mm512_sub_ps(a.v, b.v)}; }
  friend TILEGRAD_INLINE Vec operator*(Vec a, Vec b) { return {_mm512_mul_ps(a.v, b.v)}; }
  friend TILEGRAD_INLINE Vec operator/(Vec a, Vec b) { return {_mm512_div_ps(a.v, b.v)}; }
  friend TILEGRAD_INLINE Vec operator-(Vec a) {
    return {_mm512_xor_ps(a.v, _mm512_set1_ps(-0.0f))};
  }
  static TILEGRAD_INLINE Vec fma(Vec a, Vec b, Vec c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
  static TILEGRAD_INLINE Vec fnma(Vec a, Vec b, Vec c) { return {_mm512_fnmadd_ps(a.v, b.v, c.v)}; }
  static TILEGRAD_INLINE Vec min(Vec a, Vec b) { return {_mm512_min_ps(a.v, b.v)}; }
  static TILEGRAD_INLINE Vec max(Vec a, Vec b) { return {_mm512_max_ps(a.v, b.v)}; }
  static TILEGRAD_INLINE Vec sqrt(Vec a) { return {_mm512_sqrt_ps(a.v)}; }
  static TILEGRAD_INLINE Vec abs(Vec a) { return {_mm512_andnot_ps(_mm512_set1_ps(-0.0f), a.v)}; }
  static TILEGRAD_INLINE Vec copysign(Vec a, Vec sign) {
    const __m512 bit = _mm512_set1_ps(-0.0f);
    return {_mm512_or_ps(_mm512_andnot_ps(bit, a.v), _mm512_and_ps(bit, sign.v))};
  }
  static TILEGRAD_INLINE Vec round(Vec a) { return {_mm512_roundscale_ps(a.v, 0)}; }
  static TILEGRAD_INLINE Vec pow2(Vec n) {
    const __m512i bits = _mm512_add_epi32(_mm512_cvtps_epi32(n.v), _mm512_set1_epi32(127));
    return {_mm512_castsi512_ps(_mm512_slli_epi32(bits, 23))};
  }
  static TILEGRAD_INLINE Mask less(Vec a, Vec b) {
    return _mm512_cmp_ps_mask(a.v, b.v, _CMP_LT_OQ);
  }
  static TILEGRAD_INLINE Mask less_equal(Vec a, Vec b) {
    return _mm512_cmp_ps_mask(a.v, b.v, _CMP_LE_OQ);
  }
  static TILEGRAD_INLINE Mask equal(Vec a, Vec b) {
    return _mm512_cmp_ps_mask(a.v, b.v, _CMP_EQ_OQ);
  }
  static TILEGRAD_INLINE Vec select(Mask m, Vec yes, Vec no) {
    return {_mm512_mask_blend_ps(m, no.v, yes.v)};
  }
  static TILEGRAD_INLINE float sum(Vec a) { return _mm512_reduce_add_ps(a.v); }
};

template <>
struct Vec<double> {
  static constexpr int width = 8;
  using Mask = __mmask8;
  __m512d v;

  // Lanes below count, which may be anything; the others read as zero and are not written.
  static TILEGRAD_INLINE Mask first(int count) {
    return static_cast<Mask>(_bzhi_u32(0xffu, static_cast<unsigned>(count > 0 ? count : 0)));
  }
  static TILEGRAD_INLINE Vec load(const double* p) { return {_mm512_loadu_pd(p)}; }
  static TILEGRAD_INLINE Vec load(const double* p, int count) {
    return {_mm512_maskz_loadu_pd(first(count), p)};
  }
  TILEGRAD_INLINE void store(double* p) const { _mm512_storeu_pd(p, v); }
  TILEGRAD_INLINE void store(double* p, int count) const {
    _mm512_mask_storeu_pd(p, first(count), v);
  }
  static TILEGRAD_INLINE Vec splat(double x) { return {_mm512_set1_pd(x)}; }
  static TILEGRAD_INLINE Vec zero() { return {_mm512_setzero_pd()}; }

  friend TILEGRAD_INLINE Vec operator+(Vec a, Vec b) { return {_mm512_add_pd(a.v, b.v)}; }
  friend TILEGRAD_INLINE Vec operator-(Vec a, Vec b) { return {_mm512_sub_pd(a.v, b.v)}; }
  friend TILEGRAD_INLINE Vec operator*(Vec a, Vec b) { return {_mm512_mul_pd(a.v, b.v)}; }
  friend TILEGRAD_INLINE Vec operator/(Vec a, Vec b) { return {_mm512_div_pd(a.v, b.v)}; }
  friend TILEGRAD_INLINE Vec operator-(Vec a) { return {_mm512_xor_pd(a.v, _mm512_set1_pd(-0.0))}; }
  static TILEGRAD_INLINE Vec fma(Vec a, Vec b, Vec c) { return {_mm512_fmadd_pd(a.v, b.v, c.v)}; }
  static TILEGRAD_INLINE Vec fnma(Vec a, Vec b, Vec c) { return {_mm512_fnmadd_pd(a.v, b.v, c.v)}; }
  static TILEGRAD_INLINE Vec min(Vec a, Vec b) { return {_mm512_min_pd(a.v, b.v)}; }
  static TILEGRAD_INLINE Vec max(Vec a, Vec b) { return {_mm512_max_pd(a.v, b.v)}; }
  static TILEGRAD_INLINE Vec sqrt(Vec a) { return {_mm512_sqrt_pd(a.v)}; }
  static TILEGRAD_INLINE Vec abs(Vec a) { return {_mm512_andnot_pd(_mm512_set1_pd(-0.0), a.v)}; }
  static TILEGRAD_INLINE Vec copysign(Vec a, Vec sign) {
    const __m512d bit = _mm512_set1_pd(-0.0);
    return {_mm512_or_pd(_mm512_andnot_pd(bit, a.v), _mm512_and_pd(bit, sign.v))};
  }
  static TILEGRAD_INLINE Vec round(Vec a) { return {_mm512_roundscale_pd(a.v, 0)}; }
  static TILEGRAD_INLINE Vec pow2(Vec n) {
    const __m512i bits = _mm512_add_epi64(_mm512_cvtpd_epi64(n.v), _mm512_set1_epi64(1023));
    return {_mm512_castsi512_pd(_mm512_slli_epi64(bits, 52))};
  }
  static TILEGRAD_INLINE Mask less(Vec a, Vec b) {
    return _mm512_cmp_pd_mask(a.v, b.v, _CMP_LT_OQ);
  }
  static TILEGRAD_INLINE Mask less_equal(Vec a, Vec b) {
    return _mm512_cmp_pd_mask(a.v, b.v, _CMP_LE_OQ);
  }
  static TILEGRAD_INLINE Mask equal(Vec a, Vec b) {
    return _mm512_cmp_pd_mask(a.v, b.v, _CMP_EQ_OQ);
  }
  static TILEGRAD_INLINE Vec select(Mask m, Vec yes, Vec no) {
    return {_mm512_mask_blend_pd(m, no.v, yes.v)};
  }
  static TILEGRAD_INLINE double sum(Vec a) { return _mm512_reduce_add_pd(a.v); }
};

// The register tile of the packed product, in rows and in vectors of columns.
template <class T>
constexpr int gemm_rows() {
  return 12;
}
template <class T>
constexpr int gemm_vectors() {
  return 2;
}

#include "simd/families.inl.h"

}  // namespace

extern const SimdTable kAvx512Table;
const SimdTable kAvx512Table = {"avx512", 64, TILEGRAD_SIMD_FAMILIES};

}  // namespace tilegrad::simd
#endif  // TILEGRAD_X86
