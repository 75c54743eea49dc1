// AVX2 and FMA: 16 registers of 32 bytes.
#ifdef TILEGRAD_X86
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
  static constexpr int width = 8;
  using Mask = __m256;
  static constexpr bool fused = true;  // fma rounds once
  __m256 v;

  // Lanes below count, which may be anything; the others read as zero and are not written.
  static TILEGRAD_INLINE __m256i first(int count) {
    const __m256i lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(count), lanes);
  }
  static TILEGRAD_INLINE Vec load(const float* p) { return {_mm256_loadu_ps(p)}; }
  static TILEGRAD_INLINE Vec load(const float* p, int count) {
    return {_mm256_maskload_ps(p, first(count))};
  }
  // The others are those of `rest`.
  static TILEGRAD_INLINE Vec load(const float* p, int count, Vec rest) {
    const __m256i lanes = first(count);
    return {_mm256_blendv_ps(rest.v, _mm256_maskload_ps(p, lanes), _mm256_castsi256_ps(lanes))};
  }
  TILEGRAD_INLINE void store(float* p) const { _mm256_storeu_ps(p, v); }
  // The first `count` lanes, which hold whole numbers.
  TILEGRAD_INLINE void store_whole(int64_t* p, int count) const {
    float lanes[width];
    store(lanes);
    for (int i = 0; i < count; ++i) p[i] = static_cast<int64_t>(lanes[i]);
  }
  TILEGRAD_INLINE void store(float* p, int count) const { _mm256_maskstore_ps(p, first(count), v); }
  // Lanes in [from, to); the others' memory is not touched.
  TILEGRAD_INLINE void store(float* p, int from, int to) const {
    _mm256_maskstore_ps(p, _mm256_andnot_si256(first(from), first(to)), v);
  }
  // Loaded once: the compiler would rather read memory again with every use.
  static TILEGRAD_INLINE void keep(Vec& a) { asm("" : "+x"(a.v)); }
  static TILEGRAD_INLINE Vec splat(float x) { return {_mm256_set1_ps(x)}; }
  static TILEGRAD_INLINE Vec zero() { return {_mm256_setzero_ps()}; }

  friend TILEGRAD_INLINE Vec operator+(Vec a, Vec b) { return {_mm256_add_ps(a.v, b.v)}; }
  friend TILEGRAD_INLINE Vec operator-(Vec a, Vec b) { return {_mm256_sub_ps(a.v, b.v)}; }
  friend TILEGRAD_INLINE Vec operator*(Vec a, Vec b) { return {_mm256_mul_ps(a.v, b.v)}; }
  friend TILEGRAD_INLINE Vec operator/(Vec a, Vec b) { return {_mm256_div_ps(a.v, b.v)}; }
  friend TILEGRAD_INLINE Vec operator-(Vec a) {
    return {_mm256_xor_ps(a.v, _mm256_set1_ps(-0.0f))};
  }
  static TILEGRAD_INLINE Vec fma(Vec a, Vec b, Vec c) { return {_mm256_fmadd_ps(a.v, b.v, c.v)}; }
  // *p b + c; true where the multiply-add itself can read and spread *p.
  static constexpr bool reads_factor = false;
  static TILEGRAD_INLINE Vec fma(const float* p, Vec b, Vec c) { return fma(splat(*p), b, c); }
  static TILEGRAD_INLINE Vec fnma(Vec a, Vec b, Vec c) { return {_mm256_fnmadd_ps(a.v, b.v, c.v)}; }
  static TILEGRAD_INLINE Vec min(Vec a, Vec b) { return {_mm256_min_ps(a.v, b.v)}; }
  static TILEGRAD_INLINE Vec max(Vec a, Vec b) { return {_mm256_max_ps(a.v, b.v)}; }
  static TILEGRAD_INLINE Vec sqrt(Vec a) { return {_mm256_sqrt_ps(a.v)}; }
  static TILEGRAD_INLINE Vec abs(Vec a) { return {_mm256_andnot_ps(_mm256_set1_ps(-0.0f), a.v)}; }
  static TILEGRAD_INLINE Vec copysign(Vec a, Vec sign) {
    const __m256 bit = _mm256_set1_ps(-0.0f);
    return {_mm256_or_ps(_mm256_andnot_ps(bit, a.v), _mm256_and_ps(bit, sign.v))};
  }
  static TILEGRAD_INLINE Vec round(Vec a) {
    return {_mm256_round_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
  }
  static TILEGRAD_INLINE Vec pow2(Vec n) {
    const __m256i bits = _mm256_add_epi32(_mm256_cvtps_epi32(n.v), _mm256_set1_epi32(127));
    return {_mm256_castsi256_ps(_mm256_slli_epi32(bits, 23))};
  }
  // v 2^n for |n| up to twice the exponent range, in two steps, of which one rounds.
  static TILEGRAD_INLINE Vec scale(Vec v, Vec n) {
    const Vec half = round(n * splat(0.5f));
    return v * pow2(half) * pow2(n - half);
  }
  // Of x = 2^exponent mantissa, mantissa in [1, 2), for normal positive x.
  static TILEGRAD_INLINE Vec exponent(Vec a) {
    const __m256i biased = _mm256_srli_epi32(_mm256_castps_si256(a.v), 23);
    return {_mm256_cvtepi32_ps(_mm256_sub_epi32(biased, _mm256_set1_epi32(127)))};
  }
  static TILEGRAD_INLINE Vec mantissa(Vec a) {
    const __m256 fraction = _mm256_castsi256_ps(_mm256_set1_epi32(0x007fffff));
    return {_mm256_or_ps(_mm256_and_ps(a.v, fraction), _mm256_set1_ps(1.0f))};
  }
  static TILEGRAD_INLINE Mask less(Vec a, Vec b) { return _mm256_cmp_ps(a.v, b.v, _CMP_LT_OQ); }
  static TILEGRAD_INLINE Mask less_equal(Vec a, Vec b) {
    return _mm256_cmp_ps(a.v, b.v, _CMP_LE_OQ);
  }
  static TILEGRAD_INLINE Mask equal(Vec a, Vec b) { return _mm256_cmp_ps(a.v, b.v, _CMP_EQ_OQ); }
  static TILEGRAD_INLINE Vec select(Mask m, Vec yes, Vec no) {
    return {_mm256_blendv_ps(no.v, yes.v, m)};
  }
  // Elements 0, 2, 4, ... of a and then of b.
  static TILEGRAD_INLINE Vec even(Vec a, Vec b) {
    const __m256d mixed = _mm256_castps_pd(_mm256_shuffle_ps(a.v, b.v, 0x88));
    return {_mm256_castpd_ps(_mm256_permute4x64_pd(mixed, 0xd8))};
  }
  // a0 b0 a1 b1 ...: the first half, and the second.
  static TILEGRAD_INLINE Vec zip_low(Vec a, Vec b) {
    const __m256 low = _mm256_unpacklo_ps(a.v, b.v), high = _mm256_unpackhi_ps(a.v, b.v);
    return {_mm256_permute2f128_ps(low, high, 0x20)};
  }
  static TILEGRAD_INLINE Vec zip_high(Vec a, Vec b) {
    const __m256 low = _mm256_unpacklo_ps(a.v, b.v), high = _mm256_unpackhi_ps(a.v, b.v);
    return {_mm256_permute2f128_ps(low, high, 0x31)};
  }
  static TILEGRAD_INLINE float sum(Vec a) {
    const __m128 half = _mm_add_ps(_mm256_castps256_ps128(a.v), _mm256_extractf128_ps(a.v, 1));
    const __m128 quarter = _mm_add_ps(half, _mm_movehl_ps(half, half));
    return _mm_cvtss_f32(_mm_add_ss(quarter, _mm_movehdup_ps(quarter)));
  }
  // Turns 8 rows into 8 columns.
  static TILEGRAD_INLINE void transpose(Vec (&x)[width]) {
    __m256 t[8], u[8];
#pragma GCC unroll 8
    for (int i = 0; i < 8; i += 2) {
      t[i] = _mm256_unpacklo_ps(x[i].v, x[i + 1].v);
      t[i + 1] = _mm256_unpackhi_ps(x[i].v, x[i + 1].v);
    }
#pragma GCC unroll 8
    for (int i = 0; i < 8; i += 4) {
#pragma GCC unroll 2
      for (int j = 0; j < 2; ++j) {
        const __m256d low = _mm256_castps_pd(t[i + j]), high = _mm256_castps_pd(t[i + j + 2]);
        u[i + 2 * j] = _mm256_castpd_ps(_mm256_unpacklo_pd(low, high));
        u[i + 2 * j + 1] = _mm256_castpd_ps(_mm256_unpackhi_pd(low, high));
      }
    }
#pragma GCC unroll 8
    for (int j = 0; j < 4; ++j) {  // u[4 i + j]: rows 4 i ... 4 i + 3 of columns j and j + 4
      x[j].v = _mm256_permute2f128_ps(u[j], u[4 + j], 0x20);
      x[4 + j].v = _mm256_permute2f128_ps(u[j], u[4 + j], 0x31);
    }
  }
};

template <>
struct Vec<double> {
  static constexpr int width = 4;
  using Mask = __m256d;
  static constexpr bool fused = true;  // fma rounds once
  __m256d v;

  // Lanes below count, which may be anything; the others read as zero and are not written.
  static TILEGRAD_INLINE __m256i first(int count) {
    const __m256i lanes = _mm256_setr_epi64x(0, 1, 2, 3);
    return _mm256_cmpgt_epi64(_mm256_set1_epi64x(count), lanes);
  }
  static TILEGRAD_INLINE Vec load(const double* p) { return {_mm256_loadu_pd(p)}; }
  static TILEGRAD_INLINE Vec load(const double* p, int count) {
    return {_mm256_maskload_pd(p, first(count))};
  }
  // The others are those of `rest`.
  static TILEGRAD_INLINE Vec load(const double* p, int count, Vec rest) {
    const __m256i lanes = first(count);
    return {_mm256_blendv_pd(rest.v, _mm256_maskload_pd(p, lanes), _mm256_castsi256_pd(lanes))};
  }
  TILEGRAD_INLINE void store(double* p) const { _mm256_storeu_pd(p, v); }
  TILEGRAD_INLINE void store_whole(int64_t* p, int count) const {
    double lanes[width];
    store(lanes);
    for (int i = 0; i < count; ++i) p[i] = static_cast<int64_t>(lanes[i]);
  }
  TILEGRAD_INLINE void store(double* p, int count) const {
    _mm256_maskstore_pd(p, first(count), v);
  }
  // Lanes in [from, to); the others' memory is not touched.
  TILEGRAD_INLINE void store(double* p, int from, int to) const {
    _mm256_maskstore_pd(p, _mm256_andnot_si256(first(from), first(to)), v);
  }
  // Loaded once: the compiler would rather read memory again with every use.
  static TILEGRAD_INLINE void keep(Vec& a) { asm("" : "+x"(a.v)); }
  static TILEGRAD_INLINE Vec splat(double x) { return {_mm256_set1_pd(x)}; }
  static TILEGRAD_INLINE Vec zero() { return {_mm256_setzero_pd()}; }

  friend TILEGRAD_INLINE Vec operator+(Vec a, Vec b) { return {_mm256_add_pd(a.v, b.v)}; }
  friend TILEGRAD_INLINE Vec operator-(Vec a, Vec b) { return {_mm256_sub_pd(a.v, b.v)}; }
  friend TILEGRAD_INLINE Vec operator*(Vec a, Vec b) { return {_mm256_mul_pd(a.v, b.v)}; }
  friend TILEGRAD_INLINE Vec operator/(Vec a, Vec b) { return {_mm256_div_pd(a.v, b.v)}; }
  friend TILEGRAD_INLINE Vec operator-(Vec a) { return {_mm256_xor_pd(a.v, _mm256_set1_pd(-0.0))}; }
  static TILEGRAD_INLINE Vec fma(Vec a, Vec b, Vec c) { return {_mm256_fmadd_pd(a.v, b.v, c.v)}; }
  static constexpr bool reads_factor = false;
  static TILEGRAD_INLINE Vec fma(const double* p, Vec b, Vec c) { return fma(splat(*p), b, c); }
  static TILEGRAD_INLINE Vec fnma(Vec a, Vec b, Vec c) { return {_mm256_fnmadd_pd(a.v, b.v, c.v)}; }
  static TILEGRAD_INLINE Vec min(Vec a, Vec b) { return {_mm256_min_pd(a.v, b.v)}; }
  static TILEGRAD_INLINE Vec max(Vec a, Vec b) { return {_mm256_max_pd(a.v, b.v)}; }
  static TILEGRAD_INLINE Vec sqrt(Vec a) { return {_mm256_sqrt_pd(a.v)}; }
  static TILEGRAD_INLINE Vec abs(Vec a) { return {_mm256_andnot_pd(_mm256_set1_pd(-0.0), a.v)}; }
  static TILEGRAD_INLINE Vec copysign(Vec a, Vec sign) {
    const __m256d bit = _mm256_set1_pd(-0.0);
    return {_mm256_or_pd(_mm256_andnot_pd(bit, a.v), _mm256_and_pd(bit, sign.v))};
  }
  static TILEGRAD_INLINE Vec round(Vec a) {
    return {_mm256_round_pd(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
  }
  static TILEGRAD_INLINE Vec pow2(Vec n) {
    const __m256i wide = _mm256_cvtepi32_epi64(_mm256_cvtpd_epi32(n.v));
    const __m256i bits = _mm256_add_epi64(wide, _mm256_set1_epi64x(1023));
    return {_mm256_castsi256_pd(_mm256_slli_epi64(bits, 52))};
  }
  // v 2^n for |n| up to twice the exponent range, in two steps, of which one rounds.
  static TILEGRAD_INLINE Vec scale(Vec v, Vec n) {
    const Vec half = round(n * splat(0.5));
    return v * pow2(half) * pow2(n - half);
  }
  // Of x = 2^exponent mantissa, mantissa in [1, 2), for normal positive x.
  static TILEGRAD_INLINE Vec exponent(Vec a) {
    // The biased exponent as the low bits of 2^52 + biased: AVX2 converts no 64-bit integers.
    const __m256d magic = _mm256_set1_pd(4503599627370496.0);
    const __m256i biased = _mm256_srli_epi64(_mm256_castpd_si256(a.v), 52);
    const __m256d shifted = _mm256_or_pd(_mm256_castsi256_pd(biased), magic);
    return {_mm256_sub_pd(shifted, _mm256_set1_pd(4503599627370496.0 + 1023.0))};
  }
  static TILEGRAD_INLINE Vec mantissa(Vec a) {
    const __m256d fraction = _mm256_castsi256_pd(_mm256_set1_epi64x(0x000fffffffffffff));
    return {_mm256_or_pd(_mm256_and_pd(a.v, fraction), _mm256_set1_pd(1.0))};
  }
  static TILEGRAD_INLINE Mask less(Vec a, Vec b) { return _mm256_cmp_pd(a.v, b.v, _CMP_LT_OQ); }
  static TILEGRAD_INLINE Mask less_equal(Vec a, Vec b) {
    return _mm256_cmp_pd(a.v, b.v, _CMP_LE_OQ);
  }
  static TILEGRAD_INLINE Mask equal(Vec a, Vec b) { return _mm256_cmp_pd(a.v, b.v, _CMP_EQ_OQ); }
  static TILEGRAD_INLINE Vec select(Mask m, Vec yes, Vec no) {
    return {_mm256_blendv_pd(no.v, yes.v, m)};
  }
  // Elements 0, 2, 4, ... of a and then of b.
  static TILEGRAD_INLINE Vec even(Vec a, Vec b) {
    return {_mm256_permute4x64_pd(_mm256_unpacklo_pd(a.v, b.v), 0xd8)};
  }
  // a0 b0 a1 b1 ...: the first half, and the second.
  static TILEGRAD_INLINE Vec zip_low(Vec a, Vec b) {
    const __m256d low = _mm256_unpacklo_pd(a.v, b.v), high = _mm256_unpackhi_pd(a.v, b.v);
    return {_mm256_permute2f128_pd(low, high, 0x20)};
  }
  static TILEGRAD_INLINE Vec zip_high(Vec a, Vec b) {
    const __m256d low = _mm256_unpacklo_pd(a.v, b.v), high = _mm256_unpackhi_pd(a.v, b.v);
    return {_mm256_permute2f128_pd(low, high, 0x31)};
  }
  static TILEGRAD_INLINE double sum(Vec a) {
    const __m128d half = _mm_add_pd(_mm256_castpd256_pd128(a.v), _mm256_extractf128_pd(a.v, 1));
    return _mm_cvtsd_f64(_mm_add_sd(half, _mm_unpackhi_pd(half, half)));
  }
  // Turns 4 rows into 4 columns.
  static TILEGRAD_INLINE void transpose(Vec (&x)[width]) {
    __m256d t[4];
#pragma GCC unroll 4
    for (int i = 0; i < 4; i += 2) {
      t[i] = _mm256_unpacklo_pd(x[i].v, x[i + 1].v);
      t[i + 1] = _mm256_unpackhi_pd(x[i].v, x[i + 1].v);
    }
#pragma GCC unroll 4
    for (int j = 0; j < 2; ++j) {  // t[2 i + j]: rows 2 i, 2 i + 1 of columns j and j + 2
      x[j].v = _mm256_permute2f128_pd(t[j], t[2 + j], 0x20);
      x[2 + j].v = _mm256_permute2f128_pd(t[j], t[2 + j], 0x31);
    }
  }
};

// Rows of the largest register tile: 6 x 2 accumulators, two registers of B and one of A leave one
// free.
constexpr int kGemmRows = 6;
constexpr int kGemmWidths[] = {1, 2, 4, 8};  // tile widths in vectors
// The widest tile of each height; below three rows more vectors make up for the missing chains.
constexpr int gemm_vectors(int rows) { return rows == 1 ? 8 : rows == 2 ? 4 : 2; }
constexpr int kGemmDotRows = 2, kGemmDotColumns = 3;  // two chains each: 12 accumulators

#include "simd/families.inl.h"

}  // namespace

extern const SimdTable kAvx2Table;
const SimdTable kAvx2Table = {"avx2", 32, TILEGRAD_SIMD_FAMILIES};

}  // namespace tilegrad::simd
#endif  // TILEGRAD_X86
