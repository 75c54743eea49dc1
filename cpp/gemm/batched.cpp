// Many products of one shape: threads share the batch, or each product where there are few.
#include <algorithm>

#include "gemm/ways.h"
#include "runtime/threads.h"

namespace tilegrad::gemm {
namespace {

// The products of a batch, in order: next() goes on to the following one's operands.
template <class T>
class Members {
 public:
  Members(const Product<T>& first, const Batch<T>& batch, int64_t begin)
      : product(first), batch_(batch) {
    for (int axis = batch.ndim - 1; axis >= 0; --axis) {
      at_[axis] = begin % batch.shape[axis];
      begin /= batch.shape[axis];
      move(axis, at_[axis]);
    }
  }

  void next() {
    for (int axis = batch_.ndim - 1; axis >= 0; --axis) {
      move(axis, 1);
      if (++at_[axis] < batch_.shape[axis]) return;
      move(axis, -at_[axis]);
      at_[axis] = 0;
    }
  }

  Product<T> product;

 private:
  void move(int axis, int64_t steps) {
    product.a.data += steps * batch_.a_steps[axis];
    product.b.data += steps * batch_.b_steps[axis];
    product.c.data += steps * batch_.c_steps[axis];
  }

  const Batch<T>& batch_;
  int64_t at_[kMostBatchAxes];
};

}  // namespace

template <class T>
void gemm_batched(const Product<T>& first, const Batch<T>& batch) {
  int64_t count = 1;
  for (int i = 0; i < batch.ndim; ++i) count *= batch.shape[i];
  // All members take the same way; what is small is found to be so once.
  const bool direct = first.m > 0 && first.n > 0 && first.k > 0 && first.alpha != T(0) &&
                      first.c.cs == 1 && first.activation == nullptr && wants_small(first) &&
                      first.n > 1;
  const auto run = [&](int64_t begin, int64_t end) {
    Members<T> members(first, batch, begin);
    for (int64_t i = begin; i < end; ++i, members.next()) {
      if (i % 64 == 0 && runtime::interrupted()) return;
      direct ? small(members.product) : gemm(members.product);
    }
  };
  const double each = multiply_adds(first.m, first.n, first.k);
  const int threads = runtime::threads_for(each * static_cast<double>(count), kThreadGrain);
  // Products large enough to share among the threads are better shared, one after the other.
  if (threads == 1 || (count < threads * kTasksPerThread && each > 4 * kThreadGrain)) {
    return run(0, count);
  }
  const int64_t tasks = std::min(count, threads * kTasksPerThread * 4);
  runtime::parallel_for(
      tasks, threads, [&](int64_t task) { run(count * task / tasks, count * (task + 1) / tasks); });
}

template void gemm_batched<float>(const Product<float>&, const Batch<float>&);
template void gemm_batched<double>(const Product<double>&, const Batch<double>&);

}  // namespace tilegrad::gemm
