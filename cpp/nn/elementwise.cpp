#include "nn/elementwise.h"

#include <algorithm>

#include "nn/elementwise_loops.h"
#include "runtime/threads.h"

namespace tilegrad::nn {
namespace {

using simd::ElementwiseOp;
using simd::kMaxInputs;

struct OpRow {
  int inputs;
  double cost;
};

constexpr OpRow kOps[] = {
#define TILEGRAD_ROW(name, inputs, cost) {inputs, cost},
    TILEGRAD_ELEMENTWISE(TILEGRAD_ROW)
#undef TILEGRAD_ROW
};

// A thread is worth waking (some 5 us) for this many additions' time (0.1 ns each in cache).
constexpr double kGrain = 1.5e5;
// Cheap operations wait for memory, and what one core wrote the other has to fetch: measured, two
// threads took twice as long at 400,000 elements, and 1.1 times as long at 4 million.
constexpr double kStreamGrain = 4e6, kStreamCost = 2;
// Elements of a task: a few microseconds of work, so that two threads finish together.
constexpr int64_t kTask = 1 << 15;
// Elements staged at a time: three inputs and a result of doubles stay within 16 KiB.
constexpr int64_t kBlock = 512;
// Rows at least this long are worked on in place; shorter ones are gathered into blocks.
constexpr int64_t kLongRow = 64;

// One operation after axes of length 1 are dropped and neighbours that are one run are merged.
template <class T>
struct Plan {
  typename simd::ElementwiseKernels<T>::Loop loop;
  const T* parameters;
  int inputs, ndim;
  int64_t shape[kMaxDims];
  const void* data[kMaxInputs];
  bool truth[kMaxInputs];
  int64_t strides[kMaxInputs + 1][kMaxDims];  // the last row is the result's
  T* out;

  int64_t size() const {
    int64_t product = 1;
    for (int d = 0; d < ndim; ++d) product *= shape[d];
    return product;
  }

  // Whether operand k is one contiguous run in C order, although others keep the axes apart.
  bool is_run(int k) const {
    int64_t expected = 1;
    for (int d = ndim - 1; d >= 0; --d) {
      if (strides[k][d] != expected) return false;
      expected *= shape[d];
    }
    return true;
  }

  bool mergeable(int d, const int64_t* const* given, int64_t length) const {
    for (int k = 0; k <= inputs; ++k) {
      if (strides[k][ndim - 1] != given[k][d] * length) return false;
    }
    return true;
  }

  void build(int dims, const int64_t* lengths, const int64_t* const* given) {
    ndim = 0;
    for (int d = 0; d < dims; ++d) {
      if (lengths[d] == 1) continue;
      const bool merge = ndim > 0 && mergeable(d, given, lengths[d]);
      if (!merge) ++ndim;
      shape[ndim - 1] = merge ? shape[ndim - 1] * lengths[d] : lengths[d];
      for (int k = 0; k <= inputs; ++k) strides[k][ndim - 1] = given[k][d];
    }
    if (ndim == 0) {
      ndim = 1;
      shape[0] = 1;
      for (int k = 0; k <= inputs; ++k) strides[k][0] = 1;
    }
  }
};

// Walks elements of a plan in C order from a flat position, one operand at a time.
struct Odometer {
  int64_t index[kMaxDims];
  int64_t offset = 0;

  template <class T>
  Odometer(const Plan<T>& plan, const int64_t* strides, int64_t position) {
    for (int d = plan.ndim - 1; d >= 0; --d) {
      index[d] = position % plan.shape[d];
      position /= plan.shape[d];
      offset += index[d] * strides[d];
    }
  }

  // To the start of the next row.
  template <class T>
  void next_row(const Plan<T>& plan, const int64_t* strides) {
    int d = plan.ndim - 1;
    offset -= index[d] * strides[d];
    index[d] = 0;
    while (--d >= 0) {
      offset += strides[d];
      if (++index[d] < plan.shape[d]) return;
      offset -= index[d] * strides[d];
      index[d] = 0;
    }
  }
};

template <class From, class T>
void gather(const From* from, int64_t stride, int64_t count, T* to) {
  if (stride == 1) {
    std::copy_n(from, count, to);
    return;
  }
  for (int64_t i = 0; i < count; ++i) to[i] = static_cast<T>(from[i * stride]);
}

// Elements [begin, begin + count) of an input, in C order, into `to`.
template <class T>
void stage(const Plan<T>& plan, int k, int64_t begin, int64_t count, T* to) {
  const int64_t* strides = plan.strides[k];
  const int last = plan.ndim - 1;
  Odometer at(plan, strides, begin);
  while (count > 0) {
    const int64_t run = std::min(count, plan.shape[last] - at.index[last]);
    if (plan.truth[k]) {
      const auto* bytes = static_cast<const unsigned char*>(plan.data[k]) + at.offset;
      for (int64_t i = 0; i < run; ++i) to[i] = static_cast<T>(bytes[i * strides[last]] != 0);
    } else {
      gather(static_cast<const T*>(plan.data[k]) + at.offset, strides[last], run, to);
    }
    to += run;
    count -= run;
    at.index[last] += run;
    at.offset += run * strides[last];
    if (at.index[last] == plan.shape[last]) at.next_row(plan, strides);
  }
}

template <class T>
void scatter(const Plan<T>& plan, int64_t begin, int64_t count, const T* from) {
  const int64_t* strides = plan.strides[plan.inputs];
  const int last = plan.ndim - 1;
  Odometer at(plan, strides, begin);
  while (count > 0) {
    const int64_t run = std::min(count, plan.shape[last] - at.index[last]);
    if (strides[last] == 1) {
      std::copy_n(from, run, plan.out + at.offset);
    } else {
      for (int64_t i = 0; i < run; ++i) plan.out[at.offset + i * strides[last]] = from[i];
    }
    from += run;
    count -= run;
    at.index[last] += run;
    at.offset += run * strides[last];
    if (at.index[last] == plan.shape[last]) at.next_row(plan, strides);
  }
}

// Elements [begin, end) in C order, by blocks; what is not contiguous goes through a buffer.
template <class T>
void run_blocks(const Plan<T>& plan, int64_t begin, int64_t end) {
  T buffers[kMaxInputs + 1][kBlock];
  const bool one_axis = plan.ndim == 1;
  const bool direct_out = plan.is_run(plan.inputs);
  bool run[kMaxInputs];
  for (int k = 0; k < plan.inputs; ++k) run[k] = plan.is_run(k) && !plan.truth[k];
  for (int64_t i = begin; i < end; i += kBlock) {
    const int64_t count = std::min(kBlock, end - i);
    const T* in[kMaxInputs];
    int64_t steps[kMaxInputs];
    for (int k = 0; k < plan.inputs; ++k) {
      const int64_t stride = plan.strides[k][0];
      const bool number = one_axis && stride == 0 && !plan.truth[k];
      const bool direct = number || run[k];
      steps[k] = number ? 0 : 1;
      in[k] = direct ? static_cast<const T*>(plan.data[k]) + i * steps[k] : buffers[k];
      if (!direct) stage(plan, k, i, count, buffers[k]);
    }
    T* out = direct_out ? plan.out + i : buffers[plan.inputs];
    plan.loop(count, in, steps, out, plan.parameters);
    if (!direct_out) scatter(plan, i, count, out);
  }
}

// Elements [begin, end) of a plan that is one run of contiguous inputs and single numbers.
template <class T>
void run_flat(const Plan<T>& plan, int64_t begin, int64_t end) {
  const T* in[kMaxInputs];
  int64_t steps[kMaxInputs];
  for (int k = 0; k < plan.inputs; ++k) {
    steps[k] = plan.strides[k][0];
    in[k] = static_cast<const T*>(plan.data[k]) + begin * steps[k];
  }
  plan.loop(end - begin, in, steps, plan.out + begin, plan.parameters);
}

// Whole rows [begin, end), each of them in place.
template <class T>
void run_rows(const Plan<T>& plan, int64_t begin, int64_t end) {
  const int last = plan.ndim - 1;
  const int64_t length = plan.shape[last];
  for (int64_t r = begin; r < end; ++r) {
    const T* in[kMaxInputs];
    int64_t steps[kMaxInputs];
    for (int k = 0; k < plan.inputs; ++k) {
      const Odometer at(plan, plan.strides[k], r * length);
      in[k] = static_cast<const T*>(plan.data[k]) + at.offset;
      steps[k] = plan.strides[k][last];
    }
    const Odometer at(plan, plan.strides[plan.inputs], r * length);
    plan.loop(length, in, steps, plan.out + at.offset, plan.parameters);
  }
}

template <class T>
bool rows_are_direct(const Plan<T>& plan) {
  const int last = plan.ndim - 1;
  bool direct = plan.strides[plan.inputs][last] == 1;
  for (int k = 0; k < plan.inputs; ++k) {
    const int64_t stride = plan.strides[k][last];
    direct = direct && !plan.truth[k] && stride >= 0 && stride <= 1;
  }
  return direct;
}

}  // namespace

int map_inputs(ElementwiseOp op) { return kOps[static_cast<size_t>(op)].inputs; }
double map_cost(ElementwiseOp op) { return kOps[static_cast<size_t>(op)].cost; }

int map_threads(int64_t n, double cost) {
  const double work = static_cast<double>(n) * cost;
  const double grain = cost <= kStreamCost ? kStreamGrain * cost : kGrain;
  return work < 2 * grain ? 1 : runtime::threads_for(work, grain);
}

int64_t map_task(int64_t n, double cost) {
  return map_threads(n, cost) == 1 ? std::max<int64_t>(n, 1) : kTask;
}

template <class T>
void map(ElementwiseOp op, int ndim, const int64_t* shape, const MapInput* inputs, T* out,
         const int64_t* out_strides, const T* parameters) {
  Plan<T> plan;
  plan.loop = loop_of<T>(op);
  plan.parameters = parameters;
  plan.inputs = map_inputs(op);
  plan.out = out;
  const int64_t* given[kMaxInputs + 1];
  for (int k = 0; k < plan.inputs; ++k) {
    plan.data[k] = inputs[k].data;
    plan.truth[k] = inputs[k].truth;
    given[k] = inputs[k].strides;
  }
  given[plan.inputs] = out_strides;
  plan.build(ndim, shape, given);

  const int64_t size = plan.size();
  if (size == 0) return;
  const bool direct = rows_are_direct(plan);
  const int threads = map_threads(size, map_cost(op));
  const int64_t length = plan.shape[plan.ndim - 1];
  if (plan.ndim > 1 && direct && length >= kLongRow) {
    const int64_t rows = size / length, per_task = std::max<int64_t>(1, kTask / length);
    runtime::parallel_for((rows + per_task - 1) / per_task, threads, [&](int64_t task) {
      run_rows(plan, task * per_task, std::min(rows, (task + 1) * per_task));
    });
    return;
  }
  const int64_t task_size = map_task(size, map_cost(op));
  const int64_t tasks = (size + task_size - 1) / task_size;
  if (plan.ndim == 1 && direct) {
    runtime::parallel_for(tasks, threads, [&](int64_t task) {
      run_flat(plan, task * task_size, std::min(size, (task + 1) * task_size));
    });
    return;
  }
  runtime::parallel_for(tasks, threads, [&](int64_t task) {
    run_blocks(plan, task * task_size, std::min(size, (task + 1) * task_size));
  });
}

template void map<float>(ElementwiseOp, int, const int64_t*, const MapInput*, float*,
                         const int64_t*, const float*);
template void map<double>(ElementwiseOp, int, const int64_t*, const MapInput*, double*,
                          const int64_t*, const double*);

}  // namespace tilegrad::nn
