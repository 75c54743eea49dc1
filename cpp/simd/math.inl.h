// Elementary functions on Vec<T>, T float or double: no branches, no tables, every lane alike.
//
// Accuracy, tested over the whole range (tests/test_elementwise.py): 1.1 ulp for exp, log and
// log1p, 1.6 for expm1 and erf, 2 for softplus, 3 for tanh and sigmoid, 5 for erfc and gelu.
// Nothing relies on a fused multiply-add being exact: the portable Vec rounds twice.
//
// Reductions and the form of the logarithm follow fdlibm (Sun Microsystems, 1993); the coefficients
// are interpolations at Chebyshev nodes computed with 50 digits, their relative error in brackets.

template <class T>
struct MathConstants;

template <>
struct MathConstants<float> {
  // exp is 0 below low and inf above high
  static constexpr float exp_low = -104.5f, exp_high = 89.0f, expm1_low = -18.0f;
  // ln 2 in two parts; the high one has 9 spare bits, so that n * high is exact
  static constexpr float ln2_high = 0.693145751953125f, ln2_low = 1.42860677e-06f;
  static constexpr float min_normal = 1.17549435e-38f, infinity = __builtin_inff();
  static constexpr float lift = 33554432.0f, lift_exponent = 25.0f;  // denormals to normals
  static constexpr float split = 4097.0f;                            // Veltkamp: 2^12 + 1
  static constexpr float erfcx_centre = 2.0f;
  static constexpr float tail_end = 15.0f;  // exp(-x^2 / 2) is 0 from here on
  static constexpr float tail_lost = 7.0f;  // x exp(-x^2 / 2) / 2 does not change 1 from here on
  // (e^r - 1 - r) / r^2 on |r| <= ln 2 / 2 [2e-10]
  static constexpr float expm1[] = {0.5f,
                                    0.1666666716337204f,
                                    0.04166646674275398f,
                                    0.00833331048488617f,
                                    0.0013933649752289057f,
                                    0.00019890991097781807f};
  // (2 atanh(s) / s - 2) / s^2 in s^2 <= 0.0295 [8e-9]
  static constexpr float log[] = {0.6666668653488159f, 0.3998877704143524f, 0.29580044746398926f};
  // the same in s^2 <= 1/9 [6e-10]
  static constexpr float log1p[] = {0.6666666865348816f, 0.3999970555305481f, 0.28592365980148315f,
                                    0.21706460416316986f, 0.2322492152452469f};
  // erf(x) / x - 1 in x^2 <= 1 [1e-9]
  static constexpr float erf[] = {
      0.12837916612625122f,  -0.3761262595653534f,   0.11283594369888306f,  -0.02685421146452427f,
      0.005189087241888046f, -0.000801686430349946f, 7.875874871388078e-05f};
  // (1 + 2 x) exp(x^2) erfc(x) in t = (x - 2) / (x + 2), x in [0, 11] [1e-8]
  static constexpr float erfcx[] = {
      1.2769783735275269f,      -0.09276390075683594f, -0.16603152453899384f,
      0.16405309736728668f,     -0.05420320853590965f, -0.008042481727898121f,
      0.008631817996501923f,    0.001262663397938013f, -0.0012490766821429133f,
      -0.00035006197867915034f, 3.292978726676665e-05f};
};

template <>
struct MathConstants<double> {
  static constexpr double exp_low = -746.0, exp_high = 710.0, expm1_low = -40.0;
  // the high part has 20 spare bits
  static constexpr double ln2_high = 6.93147180369123816490e-01,
                          ln2_low = 1.90821492927058770002e-10;
  static constexpr double min_normal = 2.2250738585072014e-308, infinity = __builtin_inf();
  static constexpr double lift = 18014398509481984.0, lift_exponent = 54.0;
  static constexpr double split = 134217729.0;  // 2^27 + 1
  static constexpr double erfcx_centre = 4.0;
  static constexpr double tail_end = 39.0, tail_lost = 10.0;
  // [2e-17]
  static constexpr double expm1[] = {0.5,
                                     0.16666666666666669,
                                     0.04166666666662413,
                                     0.008333333333330062,
                                     0.0013888888917213717,
                                     0.00019841269863053618,
                                     2.4801521295954376e-05,
                                     2.7557268459997064e-06,
                                     2.7620088445409746e-07,
                                     2.510038549551032e-08};
  // [1e-17]
  static constexpr double log[] = {0.666666666666667,   0.3999999999989945,  0.28571428626001427,
                                   0.22222211130560726, 0.18182889433757515, 0.15331711346672997,
                                   0.14616576421644387};
  // [4e-18]
  static constexpr double log1p[] = {0.6666666666666666,  0.40000000000014596, 0.2857142856710506,
                                     0.22222222717801782, 0.18181789417326447, 0.15385570592912243,
                                     0.13314135550881162, 0.12001155182857778, 0.08800317650868773,
                                     0.16164938169471338};
  // [1e-19]
  static constexpr double erf[] = {
      0.1283791670955126,      -0.3761263890318375,     0.11283791670954879,
      -0.026866170645076792,   0.0052239776248180145,   -0.000854832698083379,
      0.0001205533111164271,   -1.4925595266831182e-05, 1.6461000484121368e-06,
      -1.6350312701054695e-07, 1.4659775274047436e-08,  -1.1372848856791674e-09,
      5.957176147748911e-11};
  // in t = (x - 4) / (x + 4), x in [0, 28] [1e-17]
  static constexpr double erfcx[] = {
      1.2329951186255526,      -0.1396211168405629,     0.01537965210262074,
      0.06809705425473732,     -0.10103906603635213,    0.09373283499679412,
      -0.06633036581152939,    0.03716751556249286,     -0.016197734059115006,
      0.005031969755895426,    -0.00075777334141333,    -0.00019925550755614952,
      0.000150622243948303,    -2.4403169244974074e-05, -1.1224789135154701e-05,
      5.7178872846321855e-06,  3.0135049944875397e-07,  -8.351619688696847e-07,
      6.270727157198311e-08,   1.1534943745754157e-07,  -7.71541861441783e-09,
      -1.3670989863347383e-08, -1.8206098680308682e-09};
};

template <class T>
struct Math {
  using V = Vec<T>;
  using K = MathConstants<T>;

  static TILEGRAD_INLINE V constant(double x) { return V::splat(static_cast<T>(x)); }

  template <int count>
  static TILEGRAD_INLINE V polynomial(V x, const T (&coefficients)[count]) {
    V sum = V::splat(coefficients[count - 1]);
#pragma GCC unroll 32
    for (int i = count - 2; i >= 0; --i) sum = V::fma(sum, x, V::splat(coefficients[i]));
    return sum;
  }

  // n = round(x / ln 2) and expm1(x - n ln 2), for finite x of moderate size.
  static TILEGRAD_INLINE V reduced_expm1(V x, V& n) {
    n = V::round(x * constant(1.4426950408889634));
    const V r = V::fnma(n, V::splat(K::ln2_low), V::fnma(n, V::splat(K::ln2_high), x));
    return V::fma(r * r, polynomial(r, K::expm1), r);
  }

  // The second operand of min and max survives where one is NaN.
  static TILEGRAD_INLINE V exp(V x) {
    V n;
    const V inside = V::max(V::splat(K::exp_low), V::min(V::splat(K::exp_high), x));
    const V m = reduced_expm1(inside, n);
    return V::scale(m + constant(1), n);
  }

  // 2^n expm1(r) + (2^n - 1), at half scale so that 2^n does not overflow first.
  static TILEGRAD_INLINE V expm1(V x) {
    V n;
    const V inside = V::max(V::splat(K::expm1_low), V::min(V::splat(K::exp_high), x));
    const V m = reduced_expm1(inside, n);
    const V half = V::pow2(n - constant(1));
    const V wide = V::fma(half, m, half - constant(0.5));
    const V direct = V::select(V::equal(n, V::zero()), m, wide + wide);
    return V::copysign(direct, x);  // -0 stays -0
  }

  // log(x) + correction, for x >= 0: fdlibm's form, x = 2^e (1 + f), 1 + f in [1/sqrt 2, sqrt 2).
  static TILEGRAD_INLINE V log_core(V x, V correction) {
    const auto small = V::less(x, V::splat(K::min_normal));
    const V normal = V::select(small, x * V::splat(K::lift), x);
    V e = V::exponent(normal), m = V::mantissa(normal);
    e = V::select(small, e - V::splat(K::lift_exponent), e);
    const auto upper = V::less(constant(1.4142135623730951), m);
    m = V::select(upper, m * constant(0.5), m);
    e = V::select(upper, e + constant(1), e);
    const V f = m - constant(1);
    const V s = f / (constant(2) + f);
    const V z = s * s;
    const V r = z * polynomial(z, K::log);
    const V half_square = constant(0.5) * f * f;
    const V low = V::fma(e, V::splat(K::ln2_low), correction);
    const V tail = V::fma(s, half_square + r, low);
    return V::fma(e, V::splat(K::ln2_high), f - (half_square - tail));
  }

  static TILEGRAD_INLINE V log_specials(V x, V result) {
    const V inf = V::splat(K::infinity);
    result = V::select(V::less(x, inf), result, x);  // inf and NaN
    result = V::select(V::equal(x, V::zero()), -inf, result);
    return V::select(V::less(x, V::zero()), inf - inf, result);
  }

  static TILEGRAD_INLINE V log(V x) { return log_specials(x, log_core(x, V::zero())); }

  // log(u) + (x - (u - 1)) / u with u = 1 + x rounded; x itself where that says nothing.
  static TILEGRAD_INLINE V log1p(V x) {
    const V u = constant(1) + x;
    const V lost = V::select(V::less(x, constant(1)), x - (u - constant(1)), constant(1) - (u - x));
    const V result = log_specials(u, log_core(u, lost / u));
    return V::select(V::equal(u, constant(1)), x, result);
  }

  // tanh |x| = -m / (m + 2) with m = expm1(-2 |x|): relative accuracy at both ends.
  static TILEGRAD_INLINE V tanh(V x) {
    const V m = expm1(constant(-2) * V::abs(x));
    return V::copysign(m / (m + constant(2)), x);
  }

  static TILEGRAD_INLINE V sigmoid(V x) {
    const V e = exp(-V::abs(x));
    return V::select(V::less(x, V::zero()), e, constant(1)) / (constant(1) + e);
  }

  // max(x, 0) + log1p(e), e = exp(-|x|) <= 1: the form of log_core without an exponent to take out.
  static TILEGRAD_INLINE V softplus(V x) {
    const V e = exp(-V::abs(x));
    const V s = e / (constant(2) + e);
    const V z = s * s;
    const V half_square = constant(0.5) * e * e;
    const V tail = s * (half_square + z * polynomial(z, K::log1p));
    return V::max(V::zero(), x) + (e - (half_square - tail));
  }

  // x^2 minus its rounded value, exactly: by a fused multiply-add, or Dekker's product.
  static TILEGRAD_INLINE V square_error(V x, V square) {
    if (V::fused) return V::fma(x, x, -square);
    const V wide = x * V::splat(K::split);
    const V high = wide - (wide - x), low = x - high;
    return ((high * high - square) + constant(2) * high * low) + low * low;
  }

  // exp(-factor x^2) with x^2 to twice the precision: the exponent's error would grow with it.
  static TILEGRAD_INLINE V exp_minus_square(V x, T factor) {
    const V square = x * x, k = V::splat(factor);
    return exp(-(k * square)) * (constant(1) - k * square_error(x, square));
  }

  // exp(x^2) erfc(x) for x >= 0. (One division for both quotients was tried: its products cost
  // more.)
  static TILEGRAD_INLINE V erfcx(V x) {
    const V centre = V::splat(K::erfcx_centre);
    const V t = (x - centre) / (x + centre);
    return polynomial(t, K::erfcx) / V::fma(constant(2), x, constant(1));
  }

  static TILEGRAD_INLINE V clamped_abs(V x) { return V::min(V::splat(K::tail_end), V::abs(x)); }

  static TILEGRAD_INLINE V erf_small(V x) { return V::fma(x, polynomial(x * x, K::erf), x); }

  static TILEGRAD_INLINE V erf(V x) {
    const V a = clamped_abs(x);
    const V tail = constant(1) - exp_minus_square(a, 1) * erfcx(a);
    const auto small = V::less(a, constant(1));
    const V b = V::select(small, x, V::zero());
    return V::select(small, erf_small(b), V::copysign(tail, x));
  }

  static TILEGRAD_INLINE V erfc(V x) {
    const V a = clamped_abs(x);
    const V tail = exp_minus_square(a, 1) * erfcx(a);
    const V large = V::select(V::less(x, V::zero()), constant(2) - tail, tail);
    // near zero 1 - erf(x) loses nothing
    return V::select(V::less(a, constant(0.25)), constant(1) - erf_small(V::copysign(a, x)), large);
  }

  // The normal distribution function, and on the way exp(-x^2 / 2), taken as 0 where it says
  // nothing beside 1: its subnormal numbers would cost a hundred cycles each.
  static TILEGRAD_INLINE V normal_cdf(V x, V& density) {
    const auto below = V::less(x, V::zero());
    const V end = V::select(below, V::splat(K::tail_end), V::splat(K::tail_lost));
    const auto near = V::less(V::abs(x), end);
    const V a = V::select(near, V::abs(x), V::zero());
    density = V::select(near, exp_minus_square(a, T(0.5)), V::zero());
    const V tail = constant(0.5) * density * erfcx(a * constant(0.7071067811865476));
    return V::select(below, tail, constant(1) - tail);
  }
};
