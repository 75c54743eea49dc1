// A recorded sequence of kernel calls: plain data, replayed without asking anybody.
//
// A call is a block of bytes and the function that runs it; where in the block its data pointers
// lie is known to whoever recorded it. Blocks are stored one after another, aligned, in one buffer
// that grows while recording; replay reads it from front to back.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace tilegrad::program {

using RunFunction = void (*)(const void* call);

class Program {
 public:
  // Appends a copy of the `bytes` bytes at `call`.
  void append(RunFunction runner, const void* call, size_t bytes);
  // Forgets the calls from `size` on.
  void truncate(size_t size);
  size_t size() const { return steps_.size(); }

  RunFunction function(size_t step) const { return steps_[step].run; }
  const std::byte* call(size_t step) const { return data_.data() + steps_[step].offset; }
  // Writes a pointer `offset` bytes into the call of `step`.
  void set_pointer(size_t step, size_t offset, void* pointer);

  // Runs the calls first ... last - 1, unless `stop` says so between two of them.
  template <class Stop>
  void run(size_t first, size_t last, Stop stop) const {
    for (size_t i = first; i < last && !stop(); ++i) {
      steps_[i].run(data_.data() + steps_[i].offset);
    }
  }

 private:
  struct Step {
    RunFunction run;
    size_t offset;
  };
  std::vector<Step> steps_;
  std::vector<std::byte> data_;  // new[] aligns it for every scalar type
};

}  // namespace tilegrad::program
