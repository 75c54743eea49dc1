// AVX-512 (F, BW, DQ, VL): 32 registers of 64 bytes.
#ifdef TILEGRAD_X86
// GCC's headers pass an undefined vector where every lane is written (GCC bug 105593).
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#include <immintrin.h>
#include <stdint.h>

#include "simd/table.h"

namespace tilegrad::simd {
namespace {

#define TILEGRAD_INLINE inline __attribute__((always_inline))
#define TILEGRAD_LAMBDA __attribute__((always_inline))

template <class T>
struct Vec;

template <>
struct Vec<float> {
  static constexpr int width = 16;
  using Mask = __mmask16;
  static constexpr bool fused = true;  // fma rounds once
  __m512 v;

  // Lanes below count, which may be anything; the others read as zero and are not written.
  static TILEGRAD_INLINE Mask first(int count) {
    const int lanes = count < 0 ? 0 : count > width ? width : count;
    return static_cast<Mask>(_bzhi_u32(0xffffu, static_cast<unsigned>(lanes)));
  }
  static TILEGRAD_INLINE Vec load(const float* p) { return {_mm512_loadu_ps(p)}; }
  static TILEGRAD_INLINE Vec load(const float* p, int count) {
    return {_mm512_maskz_loadu_ps(first(count), p)};
  }
  // The others are those of `rest`.
  static TILEGRAD_INLINE Vec load(const float* p, int count, Vec rest) {
    return {_mm512_mask_loadu_ps(rest.v, first(count), p)};
  }
  TILEGRAD_INLINE void store(float* p) const { _mm512_storeu_ps(p, v); }
  // The first `count` lanes, which hold whole numbers.
  TILEGRAD_INLINE void store_whole(int64_t* p, int count) const {
    const __m256 low = _mm512_castps512_ps256(v), high = _mm512_extractf32x8_ps(v, 1);
    const Mask lanes = first(count);
    _mm512_mask_storeu_epi64(p, static_cast<__mmask8>(lanes), _mm512_cvtps_epi64(low));
    _mm512_mask_storeu_epi64(p + 8, static_cast<__mmask8>(lanes >> 8), _mm512_cvtps_epi64(high));
  }
  TILEGRAD_INLINE void store(float* p, int count) const {
    _mm512_mask_storeu_ps(p, first(count), v);
  }
  // Lanes in [from, to); the others' memory is not touched.
  TILEGRAD_INLINE void store(float* p, int from, int to) const {
    _mm512_mask_storeu_ps(p, static_cast<Mask>(first(to) ^ first(from)), v);
  }
  // Loaded once: the compiler would rather read memory again with every use.
  static TILEGRAD_INLINE void keep(Vec& a) { asm("" : "+v"(a.v)); }
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
  // *p b + c, where the multiply-add itself reads and spreads *p. Intrinsics cannot ask for it: of
  // several uses the compiler makes one splat, which costs an instruction.
  static constexpr bool reads_factor = true;
  static TILEGRAD_INLINE Vec fma(const float* p, Vec b, Vec c) {
    asm("vfmadd231ps %2%{1to16%}, %1, %0" : "+v"(c.v) : "v"(b.v), "m"(*p));
    return c;
  }
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
  // v 2^n for |n| up to twice the exponent range, rounded once.
  static TILEGRAD_INLINE Vec scale(Vec v, Vec n) { return {_mm512_scalef_ps(v.v, n.v)}; }
  // Of x = 2^exponent mantissa, mantissa in [1, 2), for normal positive x.
  static TILEGRAD_INLINE Vec exponent(Vec a) { return {_mm512_getexp_ps(a.v)}; }
  static TILEGRAD_INLINE Vec mantissa(Vec a) {
    return {_mm512_getmant_ps(a.v, _MM_MANT_NORM_1_2, _MM_MANT_SIGN_src)};
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
  // Elements 0, 2, 4, ... of a and then of b.
  static TILEGRAD_INLINE Vec even(Vec a, Vec b) {
    const __m512i at = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    return {_mm512_permutex2var_ps(a.v, at, b.v)};
  }
  // a0 b0 a1 b1 ...: the first half, and the second.
  static TILEGRAD_INLINE Vec zip_low(Vec a, Vec b) {
    const __m512i at = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    return {_mm512_permutex2var_ps(a.v, at, b.v)};
  }
  static TILEGRAD_INLINE Vec zip_high(Vec a, Vec b) {
    const __m512i at =
        _mm512_setr_epi32(8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
    return {_mm512_permutex2var_ps(a.v, at, b.v)};
  }
  static TILEGRAD_INLINE float sum(Vec a) { return _mm512_reduce_add_ps(a.v); }
  // Turns 16 rows into 16 columns.
  static TILEGRAD_INLINE void transpose(Vec (&x)[width]) {
    __m512 t[16], u[16];
#pragma GCC unroll 16
    for (int i = 0; i < 16; i += 2) {
      t[i] = _mm512_unpacklo_ps(x[i].v, x[i + 1].v);
      t[i + 1] = _mm512_unpackhi_ps(x[i].v, x[i + 1].v);
    }
#pragma GCC unroll 16
    for (int i = 0; i < 16; i += 4) {
#pragma GCC unroll 2
      for (int j = 0; j < 2; ++j) {
        const __m512d low = _mm512_castps_pd(t[i + j]), high = _mm512_castps_pd(t[i + j + 2]);
        u[i + 2 * j] = _mm512_castpd_ps(_mm512_unpacklo_pd(low, high));
        u[i + 2 * j + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(low, high));
      }
    }
#pragma GCC unroll 16
    for (int j = 0; j < 4;
         ++j) {  // u[4 i + j]: rows 4 i ... 4 i + 3 of columns j, j + 4, j + 8, j + 12
      const __m512 a = _mm512_shuffle_f32x4(u[j], u[4 + j], 0x88);
      const __m512 b = _mm512_shuffle_f32x4(u[8 + j], u[12 + j], 0x88);
      const __m512 c = _mm512_shuffle_f32x4(u[j], u[4 + j], 0xdd);
      const __m512 d = _mm512_shuffle_f32x4(u[8 + j], u[12 + j], 0xdd);
      x[j].v = _mm512_shuffle_f32x4(a, b, 0x88);
      x[4 + j].v = _mm512_shuffle_f32x4(c, d, 0x88);
      x[8 + j].v = _mm512_shuffle_f32x4(a, b, 0xdd);
      x[12 + j].v = _mm512_shuffle_f32x4(c, d, 0xdd);
    }
  }
};

template <>
struct Vec<double> {
  static constexpr int width = 8;
  using Mask = __mmask8;
  static constexpr bool fused = true;  // fma rounds once
  __m512d v;

  // Lanes below count, which may be anything; the others read as zero and are not written.
  static TILEGRAD_INLINE Mask first(int count) {
    const int lanes = count < 0 ? 0 : count > width ? width : count;
    return static_cast<Mask>(_bzhi_u32(0xffu, static_cast<unsigned>(lanes)));
  }
  static TILEGRAD_INLINE Vec load(const double* p) { return {_mm512_loadu_pd(p)}; }
  static TILEGRAD_INLINE Vec load(const double* p, int count) {
    return {_mm512_maskz_loadu_pd(first(count), p)};
  }
  // The others are those of `rest`.
  static TILEGRAD_INLINE Vec load(const double* p, int count, Vec rest) {
    return {_mm512_mask_loadu_pd(rest.v, first(count), p)};
  }
  TILEGRAD_INLINE void store(double* p) const { _mm512_storeu_pd(p, v); }
  TILEGRAD_INLINE void store_whole(int64_t* p, int count) const {
    _mm512_mask_storeu_epi64(p, first(count), _mm512_cvtpd_epi64(v));
  }
  TILEGRAD_INLINE void store(double* p, int count) const {
    _mm512_mask_storeu_pd(p, first(count), v);
  }
  // Lanes in [from, to); the others' memory is not touched.
  TILEGRAD_INLINE void store(double* p, int from, int to) const {
    _mm512_mask_storeu_pd(p, static_cast<Mask>(first(to) ^ first(from)), v);
  }
  // Loaded once: the compiler would rather read memory again with every use.
  static TILEGRAD_INLINE void keep(Vec& a) { asm("" : "+v"(a.v)); }
  static TILEGRAD_INLINE Vec splat(double x) { return {_mm512_set1_pd(x)}; }
  static TILEGRAD_INLINE Vec zero() { return {_mm512_setzero_pd()}; }

  friend TILEGRAD_INLINE Vec operator+(Vec a, Vec b) { return {_mm512_add_pd(a.v, b.v)}; }
  friend TILEGRAD_INLINE Vec operator-(Vec a, Vec b) { return {_mm512_sub_pd(a.v, b.v)}; }
  friend TILEGRAD_INLINE Vec operator*(Vec a, Vec b) { return {_mm512_mul_pd(a.v, b.v)}; }
  friend TILEGRAD_INLINE Vec operator/(Vec a, Vec b) { return {_mm512_div_pd(a.v, b.v)}; }
  friend TILEGRAD_INLINE Vec operator-(Vec a) { return {_mm512_xor_pd(a.v, _mm512_set1_pd(-0.0))}; }
  static TILEGRAD_INLINE Vec fma(Vec a, Vec b, Vec c) { return {_mm512_fmadd_pd(a.v, b.v, c.v)}; }
  static constexpr bool reads_factor = true;
  static TILEGRAD_INLINE Vec fma(const double* p, Vec b, Vec c) {
    asm("vfmadd231pd %2%{1to8%}, %1, %0" : "+v"(c.v) : "v"(b.v), "m"(*p));
    return c;
  }
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
  // v 2^n for |n| up to twice the exponent range, rounded once.
  static TILEGRAD_INLINE Vec scale(Vec v, Vec n) { return {_mm512_scalef_pd(v.v, n.v)}; }
  // Of x = 2^exponent mantissa, mantissa in [1, 2), for normal positive x.
  static TILEGRAD_INLINE Vec exponent(Vec a) { return {_mm512_getexp_pd(a.v)}; }
  static TILEGRAD_INLINE Vec mantissa(Vec a) {
    return {_mm512_getmant_pd(a.v, _MM_MANT_NORM_1_2, _MM_MANT_SIGN_src)};
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
  // Elements 0, 2, 4, ... of a and then of b.
  static TILEGRAD_INLINE Vec even(Vec a, Vec b) {
    const __m512i at = _mm512_setr_epi64(0, 2, 4, 6, 8, 10, 12, 14);
    return {_mm512_permutex2var_pd(a.v, at, b.v)};
  }
  // a0 b0 a1 b1 ...: the first half, and the second.
  static TILEGRAD_INLINE Vec zip_low(Vec a, Vec b) {
    const __m512i at = _mm512_setr_epi64(0, 8, 1, 9, 2, 10, 3, 11);
    return {_mm512_permutex2var_pd(a.v, at, b.v)};
  }
  static TILEGRAD_INLINE Vec zip_high(Vec a, Vec b) {
    const __m512i at = _mm512_setr_epi64(4, 12, 5, 13, 6, 14, 7, 15);
    return {_mm512_permutex2var_pd(a.v, at, b.v)};
  }
  static TILEGRAD_INLINE double sum(Vec a) { return _mm512_reduce_add_pd(a.v); }
  // Turns 8 rows into 8 columns.
  static TILEGRAD_INLINE void transpose(Vec (&x)[width]) {
    __m512d t[8];
#pragma GCC unroll 8
    for (int i = 0; i < 8; i += 2) {
      t[i] = _mm512_unpacklo_pd(x[i].v, x[i + 1].v);
      t[i + 1] = _mm512_unpackhi_pd(x[i].v, x[i + 1].v);
    }
#pragma GCC unroll 8
    for (int j = 0; j < 2;
         ++j) {  // t[2 i + j]: rows 2 i, 2 i + 1 of columns j, j + 2, j + 4, j + 6
      const __m512d a = _mm512_shuffle_f64x2(t[j], t[2 + j], 0x88);
      const __m512d b = _mm512_shuffle_f64x2(t[4 + j], t[6 + j], 0x88);
      const __m512d c = _mm512_shuffle_f64x2(t[j], t[2 + j], 0xdd);
      const __m512d d = _mm512_shuffle_f64x2(t[4 + j], t[6 + j], 0xdd);
      x[j].v = _mm512_shuffle_f64x2(a, b, 0x88);
      x[2 + j].v = _mm512_shuffle_f64x2(c, d, 0x88);
      x[4 + j].v = _mm512_shuffle_f64x2(a, b, 0xdd);
      x[6 + j].v = _mm512_shuffle_f64x2(c, d, 0xdd);
    }
  }
};

// Rows of the largest register tile: 14 x 2 accumulators, two registers of B and one of A leave one
// free.
constexpr int kGemmRows = 14;
constexpr int kGemmWidths[] = {1, 2, 4, 8};  // tile widths in vectors
// The widest tile of each height. Above six rows two vectors give the chains that the multipliers'
// latency asks for (4 cycles x 2 pipes); below, more vectors make up for the missing rows.
constexpr int gemm_vectors(int rows) { return rows <= 2 ? 8 : rows <= 6 ? 4 : 2; }
constexpr int kGemmDotRows = 4, kGemmDotColumns = 3;  // two chains each: 24 accumulators

#include "simd/families.inl.h"

}  // namespace

extern const SimdTable kAvx512Table;
const SimdTable kAvx512Table = {"avx512", 64, TILEGRAD_SIMD_FAMILIES};

}  // namespace tilegrad::simd
#endif  // TILEGRAD_X86
