// One struct for every operation of elementwise.h: its value for a vector of each input.

#define TILEGRAD_OPERATION(name, expression)                                                     \
  template <class T>                                                                             \
  struct name##_operation {                                                                      \
    using V = Vec<T>;                                                                            \
    using M = Math<T>;                                                                           \
    static TILEGRAD_INLINE V k(double x) { return V::splat(static_cast<T>(x)); }                 \
    static TILEGRAD_INLINE V apply([[maybe_unused]] V a, [[maybe_unused]] V b,                   \
                                   [[maybe_unused]] V c, [[maybe_unused]] const T* parameters) { \
      expression                                                                                 \
    }                                                                                            \
  };

TILEGRAD_OPERATION(add, return a + b;)
TILEGRAD_OPERATION(subtract, return a - b;)
TILEGRAD_OPERATION(multiply, return a * b;)
TILEGRAD_OPERATION(absorb, const V product = V::select(V::equal(a, k(0)), k(0), a* b);
                   return V::select(V::equal(b, k(0)), k(0), product);)
TILEGRAD_OPERATION(divide, return a / b;)
// Vec::max(a, b) is b where either is NaN.
TILEGRAD_OPERATION(maximum, return V::select(V::equal(a, a), V::max(a, b), a);)
TILEGRAD_OPERATION(minimum, return V::select(V::equal(a, a), V::min(a, b), a);)
TILEGRAD_OPERATION(negative, return -a;)
TILEGRAD_OPERATION(positive, return a;)
TILEGRAD_OPERATION(absolute, return V::abs(a);)
TILEGRAD_OPERATION(sign, const V nonzero = V::select(V::less(a, k(0)), k(-1), k(1));
                   const V result = V::select(V::equal(a, k(0)), k(0), nonzero);
                   return V::select(V::equal(a, a), result, a);)
TILEGRAD_OPERATION(floor, const V r = V::round(a);
                   return V::copysign(V::select(V::less(a, r), r - k(1), r), a);)
TILEGRAD_OPERATION(ceil, const V r = V::round(a);
                   return V::copysign(V::select(V::less(r, a), r + k(1), r), a);)
TILEGRAD_OPERATION(trunc, const V size = V::abs(a); const V r = V::round(size);
                   return V::copysign(V::select(V::less(size, r), r - k(1), r), a);)
TILEGRAD_OPERATION(round, return V::copysign(V::round(a), a);)
TILEGRAD_OPERATION(square, return a * a;)
TILEGRAD_OPERATION(sqrt, return V::sqrt(a);)
TILEGRAD_OPERATION(rsqrt, return k(1) / V::sqrt(a);)
TILEGRAD_OPERATION(reciprocal, return k(1) / a;)
TILEGRAD_OPERATION(exp, return M::exp(a);)
TILEGRAD_OPERATION(expm1, return M::expm1(a);)
TILEGRAD_OPERATION(log, return M::log(a);)
TILEGRAD_OPERATION(log1p, return M::log1p(a);)
TILEGRAD_OPERATION(tanh, return M::tanh(a);)
TILEGRAD_OPERATION(erf, return M::erf(a);)
TILEGRAD_OPERATION(erfc, return M::erfc(a);)
TILEGRAD_OPERATION(sigmoid, return M::sigmoid(a);)
TILEGRAD_OPERATION(log_sigmoid, return -M::softplus(-a);)
TILEGRAD_OPERATION(relu, return V::max(k(0), a);)
TILEGRAD_OPERATION(leaky_relu, return V::select(V::less(k(0), a), a, V::splat(parameters[0]) * a);)
TILEGRAD_OPERATION(elu, return V::select(V::less(k(0), a), a,
                                         V::splat(parameters[0]) * M::expm1(V::min(k(0), a)));)
TILEGRAD_OPERATION(gelu, V density; return a * M::normal_cdf(a, density);)
TILEGRAD_OPERATION(silu, return a * M::sigmoid(a);)
TILEGRAD_OPERATION(softplus, const V beta = V::splat(parameters[0]); const V z = beta * a;
                   return V::select(V::less(V::splat(parameters[1]), z), a, M::softplus(z) / beta);)

// sqrt(2 / pi) (x + 0.044715 x^3) and its derivative: the argument of gelu's tanh form.
template <class T>
struct GeluArgument {
  using V = Vec<T>;
  static constexpr double kScale = 0.7978845608028654, kCubic = 0.044715;
  static TILEGRAD_INLINE V k(double x) { return V::splat(static_cast<T>(x)); }
  static TILEGRAD_INLINE V value(V x) { return k(kScale) * (x + k(kCubic) * x * x * x); }
  static TILEGRAD_INLINE V slope(V x) { return k(kScale) * (k(1) + k(3 * kCubic) * x * x); }
};

// (1 + tanh u) / 2 = sigmoid(2 u), which keeps the left tail's relative accuracy.
TILEGRAD_OPERATION(gelu_tanh, return a * M::sigmoid(k(2) * GeluArgument<T>::value(a));)
// With s = sigmoid(2 u): s + x s' = s + 2 x s (1 - s) u'.
TILEGRAD_OPERATION(gelu_tanh_grad, const V s = M::sigmoid(k(2) * GeluArgument<T>::value(b));
                   const V bend = s * (k(1) - s) * GeluArgument<T>::slope(b);
                   return a * (s + k(2) * b * bend);)

// Gradients: a is the gradient of the result, b the result or the input as in the twin.
TILEGRAD_OPERATION(tanh_grad, return a * (k(1) - b * b);)
TILEGRAD_OPERATION(sigmoid_grad, return a * (b * (k(1) - b));)
TILEGRAD_OPERATION(log_sigmoid_grad, return a * M::sigmoid(-b);)
TILEGRAD_OPERATION(relu_grad, return V::select(V::less_equal(b, k(0)), k(0), a);)
TILEGRAD_OPERATION(leaky_relu_grad,
                   return V::select(V::less(k(0), b), a, V::splat(parameters[0]) * a);)
TILEGRAD_OPERATION(elu_grad, const V slope = V::splat(parameters[0]) * M::exp(V::min(k(0), b));
                   return V::select(V::less(k(0), b), a, a* slope);)
TILEGRAD_OPERATION(gelu_grad, V density; const V cdf = M::normal_cdf(b, density);
                   return a * (cdf + b * (density * k(0.3989422804014327)));)
TILEGRAD_OPERATION(silu_grad, const V s = M::sigmoid(b); return a * (s * (k(1) + b * (k(1) - s)));)
TILEGRAD_OPERATION(softplus_grad, const V z = V::splat(parameters[0]) * b;
                   return V::select(V::less(V::splat(parameters[1]), z), a, a* M::sigmoid(z));)

TILEGRAD_OPERATION(where, return V::select(V::equal(a, k(0)), c, b);)
TILEGRAD_OPERATION(clip, const V low = maximum_operation<T>::apply(a, b, b, parameters);
                   return minimum_operation<T>::apply(low, c, c, parameters);)

#undef TILEGRAD_OPERATION

template <class T, template <class> class Operation, int inputs>
void elementwise_loop(int64_t n, const T* const* in, const int64_t* steps, T* out,
                      const T* parameters) {
  using V = Vec<T>;
  constexpr int W = V::width;
  const T own[kMaxParameters] = {parameters[0], parameters[1]};  // cannot be changed through out
  // A single number is read as a vector of copies again and again.
  T copies[kMaxInputs][W];
  const T* at[kMaxInputs] = {copies[0], copies[0], copies[0]};
  int64_t step[kMaxInputs] = {};
  for (int k = 0; k < inputs; ++k) {
    at[k] = steps[k] != 0 ? in[k] : copies[k];
    step[k] = steps[k] != 0 ? 1 : 0;
    if (steps[k] == 0) V::splat(*in[k]).store(copies[k]);
  }
  const T *a = at[0], *b = at[1], *c = at[2];
  const int64_t da = step[0], db = step[1], dc = step[2];
  int64_t i = 0;
#pragma GCC unroll 4
  for (; i + W <= n; i += W) {
    const V x = V::load(a + i * da);
    const V y = inputs > 1 ? V::load(b + i * db) : x;
    const V z = inputs > 2 ? V::load(c + i * dc) : x;
    Operation<T>::apply(x, y, z, own).store(out + i);
  }
  if (i < n) {
    const int rest = static_cast<int>(n - i);
    const V x = V::load(a + i * da, rest);
    const V y = inputs > 1 ? V::load(b + i * db, rest) : x;
    const V z = inputs > 2 ? V::load(c + i * dc, rest) : x;
    Operation<T>::apply(x, y, z, own).store(out + i, rest);
  }
}

template <class T>
constexpr ElementwiseKernels<T> elementwise_kernels() {
  return {{
#define TILEGRAD_LOOP(name, inputs, cost) elementwise_loop<T, name##_operation, inputs>,
      TILEGRAD_ELEMENTWISE(TILEGRAD_LOOP)
#undef TILEGRAD_LOOP
  }};
}
