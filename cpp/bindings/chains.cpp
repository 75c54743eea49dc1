// Elementwise calls of a recording that run as one pass over blocks: which they are, and running
// them. They stay in the recording as they are, so that moving an array reaches them, too.
#include <algorithm>

#include "bindings/elementwise.h"
#include "bindings/recording.h"

namespace tilegrad::bindings {
namespace {

namespace py = pybind11;

// A stretch of memory that a chain's call touches.
struct Touched {
  intptr_t low, high;
  bool written;
};

// What `map` touches; how much of `touched` was filled.
int touched_by(const FlatMap& map, Touched (&touched)[simd::kMaxInputs + 1]) {
  const int64_t item = item_size(map.dtype);
  int count = 0;
  const auto add = [&](const nn::ChainOperand& operand, bool written) {
    if (operand.data == nullptr) return;
    const auto low = reinterpret_cast<intptr_t>(operand.data);
    touched[count++] = {low, low + (operand.single ? 1 : map.size) * item, written};
  };
  for (int k = 0; k < nn::map_inputs(map.step.op); ++k) add(map.step.in[k], false);
  add(map.step.out, true);
  return count;
}

// Whether block after block is as good as call after call: what one writes and the other touches is
// the very same array, or memory apart.
bool independent(const Touched& a, const Touched& b) {
  if (!a.written && !b.written) return true;
  return (a.low == b.low && a.high == b.high) || a.high <= b.low || b.high <= a.low;
}

class ChainFinder {
 public:
  // Takes the call up; false if it does not belong to the chain so far.
  bool add(const FlatMap& map) {
    if (length_ == nn::kMaxChain) return false;
    if (length_ > 0 && (map.dtype != dtype_ || map.size != size_)) return false;
    Touched own[simd::kMaxInputs + 1];
    const int count = touched_by(map, own);
    for (const Touched& before : touched_) {
      for (int i = 0; i < count; ++i) {
        if (!independent(before, own[i])) return false;
      }
    }
    touched_.insert(touched_.end(), own, own + count);
    dtype_ = map.dtype;
    size_ = map.size;
    ++length_;
    return true;
  }
  size_t length() const { return static_cast<size_t>(length_); }
  int64_t bytes() const { return size_ * item_size(dtype_); }

 private:
  std::vector<Touched> touched_;
  DType dtype_{};
  int64_t size_ = 0;
  int length_ = 0;
};

// The slot of an operand that lies in a block buffer.
void localise(nn::ChainOperand& operand, const std::vector<intptr_t>& locals) {
  const auto found =
      std::find(locals.begin(), locals.end(), reinterpret_cast<intptr_t>(operand.data));
  if (found != locals.end()) operand.local = static_cast<int>(found - locals.begin());
}

}  // namespace

py::list Recording::chains(size_t first, size_t last) const {
  py::list all;
  ChainFinder chain;
  const auto finish = [&](size_t end) {
    if (chain.length() > 1) all.append(py::make_tuple(end - chain.length(), end, chain.bytes()));
    chain = {};
  };
  for (size_t i = first; i < last; ++i) {
    FlatMap map;
    if (!as_flat_map(program_.function(i), program_.call(i), map)) {
      finish(i);
    } else if (!chain.add(map)) {
      finish(i);
      chain.add(map);
    }
  }
  finish(last);
  return all;
}

void Recording::run_chain(size_t first, size_t last, const std::vector<intptr_t>& locals) const {
  nn::ChainStep steps[nn::kMaxChain];
  FlatMap map{};
  int count = 0;
  for (size_t i = first; i < last; ++i) {
    as_flat_map(program_.function(i), program_.call(i), map);
    for (nn::ChainOperand& in : map.step.in) localise(in, locals);
    localise(map.step.out, locals);
    steps[count++] = map.step;
  }
  const bool interrupted = run_unlocked(work(first, last), [&] {
    map.dtype == DType::kFloat32 ? nn::run_chain<float>(map.size, steps, count)
                                 : nn::run_chain<double>(map.size, steps, count);
  });
  if (interrupted) throw py::error_already_set();
}

}  // namespace tilegrad::bindings
