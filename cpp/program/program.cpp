#include "program/program.h"

#include <cstring>

namespace tilegrad::program {

void Program::append(RunFunction runner, const void* call, size_t bytes) {
  constexpr size_t kAlign = alignof(std::max_align_t);
  const size_t offset = (data_.size() + kAlign - 1) / kAlign * kAlign;
  data_.resize(offset + bytes);
  std::memcpy(data_.data() + offset, call, bytes);
  steps_.push_back({runner, offset});
}

void Program::truncate(size_t size) {
  if (size >= steps_.size()) return;
  data_.resize(steps_[size].offset);
  steps_.resize(size);
}

void Program::set_pointer(size_t step, size_t offset, void* pointer) {
  std::memcpy(data_.data() + steps_[step].offset + offset, &pointer, sizeof pointer);
}

}  // namespace tilegrad::program
