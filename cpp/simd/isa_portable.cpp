// Portable scalar code: a vector of one lane, and on purpose an odd tile of 3 x 5, so that every
// machine's tests walk through the edges of the drivers.
#include <stdint.h>

#include "simd/table.h"

namespace tilegrad::simd {
namespace {

#define TILEGRAD_INLINE inline __attribute__((always_inline))
#define TILEGRAD_LAMBDA __attribute__((always_inline))

template <class T>
struct Bits;
template <>
struct Bits<float> {
  using Int = int32_t;
  static constexpr int kMantissa = 23, kBias = 127;
  static TILEGRAD_INLINE float sqrt(float x) { return __builtin_sqrtf(x); }
  static TILEGRAD_INLINE float rint(float x) { return __builtin_rintf(x); }
};
template <>
struct Bits<double> {
  using Int = int64_t;
  static constexpr int kMantissa = 52, kBias = 1023;
  static TILEGRAD_INLINE double sqrt(double x) { return __builtin_sqrt(x); }
  static TILEGRAD_INLINE double rint(double x) { return __builtin_rint(x); }
};

template <class T>
struct Vec {
  static constexpr int width = 1;
  using Mask = bool;
  static constexpr bool fused = false;  // fma rounds twice
  T v;

  static TILEGRAD_INLINE Vec load(const T* p) { return {*p}; }
  static TILEGRAD_INLINE Vec load(const T* p, int count) { return {count > 0 ? *p : T(0)}; }
  static TILEGRAD_INLINE Vec load(const T* p, int count, Vec rest) {
    return {count > 0 ? *p : rest.v};
  }
  TILEGRAD_INLINE void store(T* p) const { *p = v; }
  TILEGRAD_INLINE void store_whole(int64_t* p, int count) const {
    if (count > 0) *p = static_cast<int64_t>(v);
  }
  TILEGRAD_INLINE void store(T* p, int count) const {
    if (count > 0) *p = v;
  }
  // Lanes in [from, to); the others' memory is not touched.
  TILEGRAD_INLINE void store(T* p, int from, int to) const {
    if (from <= 0 && to > 0) *p = v;
  }
  static TILEGRAD_INLINE void keep(Vec&) {}
  static TILEGRAD_INLINE Vec splat(T x) { return {x}; }
  static TILEGRAD_INLINE Vec zero() { return {T(0)}; }

  friend TILEGRAD_INLINE Vec operator+(Vec a, Vec b) { return {a.v + b.v}; }
  friend TILEGRAD_INLINE Vec operator-(Vec a, Vec b) { return {a.v - b.v}; }
  friend TILEGRAD_INLINE Vec operator*(Vec a, Vec b) { return {a.v * b.v}; }
  friend TILEGRAD_INLINE Vec operator/(Vec a, Vec b) { return {a.v / b.v}; }
  friend TILEGRAD_INLINE Vec operator-(Vec a) { return {-a.v}; }
  static TILEGRAD_INLINE Vec fma(Vec a, Vec b, Vec c) { return {a.v * b.v + c.v}; }
  static constexpr bool reads_factor = false;
  static TILEGRAD_INLINE Vec fma(const T* p, Vec b, Vec c) { return {*p * b.v + c.v}; }
  static TILEGRAD_INLINE Vec fnma(Vec a, Vec b, Vec c) { return {c.v - a.v * b.v}; }
  static TILEGRAD_INLINE Vec min(Vec a, Vec b) { return {a.v < b.v ? a.v : b.v}; }
  static TILEGRAD_INLINE Vec max(Vec a, Vec b) { return {a.v > b.v ? a.v : b.v}; }
  static TILEGRAD_INLINE Vec sqrt(Vec a) { return {Bits<T>::sqrt(a.v)}; }
  static TILEGRAD_INLINE Vec abs(Vec a) { return {a.v <= 0 ? T(0) - a.v : a.v}; }
  static TILEGRAD_INLINE Vec copysign(Vec a, Vec sign) {
    return {sizeof(T) == 4 ? static_cast<T>(__builtin_copysignf(static_cast<float>(a.v),
                                                                static_cast<float>(sign.v)))
                           : static_cast<T>(__builtin_copysign(a.v, sign.v))};
  }
  static TILEGRAD_INLINE Vec round(Vec a) { return {Bits<T>::rint(a.v)}; }
  static TILEGRAD_INLINE Vec pow2(Vec n) {
    using Int = typename Bits<T>::Int;
    const Int whole = n.v == n.v ? static_cast<Int>(n.v) : Int(0);  // what NaN gives is not used
    const Int bits = (whole + Bits<T>::kBias) << Bits<T>::kMantissa;
    T result;
    __builtin_memcpy(&result, &bits, sizeof result);
    return {result};
  }
  // v 2^n for |n| up to twice the exponent range, in two steps, of which one rounds.
  static TILEGRAD_INLINE Vec scale(Vec v, Vec n) {
    const Vec half = round(n * splat(T(0.5)));
    return v * pow2(half) * pow2(n - half);
  }
  // Of x = 2^exponent mantissa, mantissa in [1, 2), for normal positive x.
  static TILEGRAD_INLINE Vec exponent(Vec a) {
    typename Bits<T>::Int bits;
    __builtin_memcpy(&bits, &a.v, sizeof bits);
    return {static_cast<T>((bits >> Bits<T>::kMantissa) - Bits<T>::kBias)};
  }
  static TILEGRAD_INLINE Vec mantissa(Vec a) {
    using Int = typename Bits<T>::Int;
    constexpr Int kFraction = (Int(1) << Bits<T>::kMantissa) - 1;
    Int bits;
    __builtin_memcpy(&bits, &a.v, sizeof bits);
    bits = (bits & kFraction) | (Int(Bits<T>::kBias) << Bits<T>::kMantissa);
    T result;
    __builtin_memcpy(&result, &bits, sizeof result);
    return {result};
  }
  static TILEGRAD_INLINE Mask less(Vec a, Vec b) { return a.v < b.v; }
  static TILEGRAD_INLINE Mask less_equal(Vec a, Vec b) { return a.v <= b.v; }
  static TILEGRAD_INLINE Mask equal(Vec a, Vec b) { return a.v == b.v; }
  static TILEGRAD_INLINE Vec select(Mask m, Vec yes, Vec no) { return m ? yes : no; }
  // Elements 0, 2, 4, ... of a and then of b.
  static TILEGRAD_INLINE Vec even(Vec a, Vec) { return a; }
  // a0 b0 a1 b1 ...: the first half, and the second.
  static TILEGRAD_INLINE Vec zip_low(Vec a, Vec) { return a; }
  static TILEGRAD_INLINE Vec zip_high(Vec, Vec b) { return b; }
  static TILEGRAD_INLINE T sum(Vec a) { return a.v; }
  static TILEGRAD_INLINE void transpose(Vec (&)[width]) {}
};

constexpr int kGemmRows = 3;
constexpr int kGemmWidths[] = {1, 2, 4, 5};  // tile widths in vectors of one lane
constexpr int gemm_vectors(int) { return 5; }
constexpr int kGemmDotRows = 2, kGemmDotColumns = 3;

#include "simd/families.inl.h"

}  // namespace

extern const SimdTable kPortableTable;
const SimdTable kPortableTable = {"portable", 0, TILEGRAD_SIMD_FAMILIES};

}  // namespace tilegrad::simd
