// Elementwise loops as data: one function pointer for every operation.
#pragma once

#include <cstdint>

namespace tilegrad::simd {

// X(name, inputs, cost): cost is the time of an element beside that of an addition in cache.
#define TILEGRAD_ELEMENTWISE(X) \
  X(add, 2, 1)                  \
  X(subtract, 2, 1)             \
  X(multiply, 2, 1)             \
  X(absorb, 2, 1)               \
  X(divide, 2, 2)               \
  X(maximum, 2, 1)              \
  X(minimum, 2, 1)              \
  X(negative, 1, 1)             \
  X(positive, 1, 1)             \
  X(absolute, 1, 1)             \
  X(sign, 1, 1)                 \
  X(floor, 1, 1)                \
  X(ceil, 1, 1)                 \
  X(trunc, 1, 1)                \
  X(round, 1, 1)                \
  X(square, 1, 1)               \
  X(sqrt, 1, 4)                 \
  X(rsqrt, 1, 5)                \
  X(reciprocal, 1, 2)           \
  X(exp, 1, 5)                  \
  X(expm1, 1, 6)                \
  X(log, 1, 8)                  \
  X(log1p, 1, 10)               \
  X(tanh, 1, 8)                 \
  X(erf, 1, 14)                 \
  X(erfc, 1, 14)                \
  X(sigmoid, 1, 8)              \
  X(log_sigmoid, 1, 16)         \
  X(relu, 1, 1)                 \
  X(leaky_relu, 1, 1)           \
  X(elu, 1, 6)                  \
  X(gelu, 1, 14)                \
  X(gelu_tanh, 1, 10)           \
  X(silu, 1, 8)                 \
  X(softplus, 1, 16)            \
  X(tanh_grad, 2, 1)            \
  X(sigmoid_grad, 2, 1)         \
  X(log_sigmoid_grad, 2, 8)     \
  X(relu_grad, 2, 1)            \
  X(leaky_relu_grad, 2, 1)      \
  X(elu_grad, 2, 6)             \
  X(gelu_grad, 2, 16)           \
  X(gelu_tanh_grad, 2, 12)      \
  X(silu_grad, 2, 8)            \
  X(softplus_grad, 2, 8)        \
  X(where, 3, 1)                \
  X(clip, 3, 1)

enum class ElementwiseOp : int32_t {
#define TILEGRAD_ENUM(name, inputs, cost) name,
  TILEGRAD_ELEMENTWISE(TILEGRAD_ENUM)
#undef TILEGRAD_ENUM
      count_
};
constexpr int kElementwiseOps = static_cast<int>(ElementwiseOp::count_);
constexpr int kMaxInputs = 3, kMaxParameters = 2;

template <class T>
struct ElementwiseKernels {
  // out[i] = op(in[0][i], in[1][i], ...; parameters) for i < n. steps[k] is 1, or 0 where the k-th
  // input is one number for all i. `out` may be one of the inputs; it overlaps them in no other
  // way.
  using Loop = void (*)(int64_t n, const T* const* in, const int64_t* steps, T* out,
                        const T* parameters);
  Loop loops[kElementwiseOps];
};

}  // namespace tilegrad::simd
