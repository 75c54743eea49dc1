// Softmax, log-softmax, log-sum-exp and cross-entropy.
#pragma once

#include <cstdint>

namespace tilegrad::nn {

enum class SoftmaxForm : int32_t { softmax, log_softmax, softmax_grad, log_softmax_grad };

// Along the middle axis of contiguous (outer, n, inner) arrays, n >= 1. Forward forms read x alone;
// gradients read g and the forward result y (passed as x). out is written.
template <class T>
void softmax(SoftmaxForm form, int64_t outer, int64_t n, int64_t inner, const T* g, const T* x,
             T* out);

// out[r] = log(sum(exp(row r))) of contiguous (rows, n).
template <class T>
void logsumexp(int64_t rows, int64_t n, const T* x, T* out);

enum class LossReduction : int32_t { none, sum, mean };

struct CrossEntropy {
  int64_t rows, classes;
  const int64_t* target;  // every one in [0, classes) or ignore_index
  int64_t ignore_index;
  double smoothing;
  LossReduction reduction;
};

// loss (rows, or one number) and p = softmax(logits), both (rows, classes); weight may be null.
template <class T>
void cross_entropy(const CrossEntropy& what, const T* logits, const T* weight, T* loss, T* p);

// dlogits (rows, classes) of sum(g * loss).
template <class T>
void cross_entropy_grad(const CrossEntropy& what, const T* g, const T* p, const T* weight,
                        T* dlogits);

}  // namespace tilegrad::nn
