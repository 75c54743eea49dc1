// Elementwise operations fused by blocks; see elementwise.h.
#include <algorithm>

#include "nn/elementwise.h"
#include "nn/elementwise_loops.h"
#include "runtime/threads.h"

namespace tilegrad::nn {
namespace {

// A step with its loop looked up and its numbers in T.
template <class T>
struct Ready {
  typename simd::ElementwiseKernels<T>::Loop loop;
  int inputs;
  const ChainOperand* in;
  const ChainOperand* out;
  T numbers[simd::kMaxInputs], parameters[simd::kMaxParameters];

  void prepare(const ChainStep& step) {
    loop = loop_of<T>(step.op);
    inputs = map_inputs(step.op);
    in = step.in;
    out = &step.out;
    for (int k = 0; k < inputs; ++k) numbers[k] = static_cast<T>(step.in[k].number);
    std::transform(step.parameters, step.parameters + simd::kMaxParameters, parameters,
                   [](double x) { return static_cast<T>(x); });
  }

  // Elements [begin, begin + count).
  template <class Buffers>
  void run(int64_t begin, int64_t count, Buffers& buffers) const {
    const T* from[simd::kMaxInputs];
    int64_t steps[simd::kMaxInputs];
    for (int k = 0; k < inputs; ++k) {
      steps[k] = in[k].single ? 0 : 1;
      from[k] = in[k].local >= 0        ? buffers[in[k].local]
                : in[k].data == nullptr ? &numbers[k]
                                        : static_cast<const T*>(in[k].data) + begin * steps[k];
    }
    T* to = out->local >= 0 ? buffers[out->local] : static_cast<T*>(out->data) + begin;
    loop(count, from, steps, to, parameters);
  }
};

}  // namespace

template <class T>
void run_chain(int64_t n, const ChainStep* steps, int count) {
  constexpr int64_t kBlock = kChainBlockBytes / static_cast<int64_t>(sizeof(T));
  Ready<T> ready[kMaxChain];
  double cost = 0;
  for (int i = 0; i < count; ++i) {
    ready[i].prepare(steps[i]);
    cost += map_cost(steps[i].op);
  }
  const int64_t task_size = map_task(n, cost);
  runtime::parallel_for((n + task_size - 1) / task_size, map_threads(n, cost), [&](int64_t task) {
    T buffers[kMaxLocals][kBlock];
    const int64_t end = std::min(n, (task + 1) * task_size);
    for (int64_t begin = task * task_size; begin < end; begin += kBlock) {
      const int64_t block = std::min(kBlock, end - begin);
      for (int i = 0; i < count; ++i) ready[i].run(begin, block, buffers);
    }
  });
}

template void run_chain<float>(int64_t, const ChainStep*, int);
template void run_chain<double>(int64_t, const ChainStep*, int);

}  // namespace tilegrad::nn
