// C-contiguous views of arguments, made inside a call's run so that a replayed call makes them
// anew.
#pragma once

#include <optional>

#include "bindings/array.h"
#include "runtime/workspace.h"

namespace tilegrad::bindings {

// out (C order) = a.
template <class T>
void copy_elements(const ArrayRef& a, T* out) {
  int64_t index[kMaxDims] = {};
  const int64_t total = a.size();
  if (total == 0) return;
  const int last = a.ndim - 1;
  const int64_t run = a.ndim > 0 ? a.shape[last] : 1, step = a.ndim > 0 ? a.strides[last] : 1;
  const T* from = a.as<const T>();
  for (int64_t done = 0; done < total; done += run) {
    for (int64_t i = 0; i < run; ++i) *out++ = from[i * step];
    for (int axis = last - 1; axis >= 0; --axis) {
      from += a.strides[axis];
      if (++index[axis] < a.shape[axis]) break;
      from -= a.strides[axis] * a.shape[axis];
      index[axis] = 0;
    }
  }
}

// The array's own data where it is contiguous, or else a copy that lives as long as this object.
template <class T>
class Contiguous {
 public:
  explicit Contiguous(const ArrayRef& a) : data_(a.as<const T>()) {
    if (data_ == nullptr || a.contiguous()) return;
    copy_.emplace(sizeof(T) * static_cast<size_t>(a.size() + 1));
    copy_elements(a, copy_->template as<T>());
    data_ = copy_->template as<T>();
  }
  const T* get() const { return data_; }

 private:
  std::optional<runtime::Scratch> copy_;
  const T* data_;
};

}  // namespace tilegrad::bindings
