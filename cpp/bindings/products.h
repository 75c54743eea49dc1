// What the bindings of matrix products share: operands as matrices, results, errors.
#pragma once

#include <algorithm>
#include <initializer_list>
#include <stdexcept>
#include <string>
#include <type_traits>

#include "bindings/kernel.h"
#include "gemm/gemm.h"

namespace tilegrad::bindings {

inline std::string shape_of(const ArrayRef& a) { return shape_text(a.shape, a.ndim); }

[[noreturn]] inline void fail_inner(const char* op, const ArrayRef& a, int64_t a_inner,
                                    const ArrayRef& b, int64_t b_inner) {
  throw std::invalid_argument(std::string(op) + ": a of shape " + shape_of(a) + " and b of shape " +
                              shape_of(b) + " do not multiply: the inner sizes are " +
                              std::to_string(a_inner) + " and " + std::to_string(b_inner) +
                              "; transpose one of them?");
}

template <class T>
inline gemm::Matrix<T> matrix(const ArrayRef& a, bool transpose = false) {
  using Plain = std::remove_const_t<T>;
  const int row = a.ndim - 2 + (transpose ? 1 : 0), column = a.ndim - 1 - (transpose ? 1 : 0);
  return {a.as<Plain>(), a.strides[row], a.strides[column]};
}

inline double work_of(int64_t m, int64_t n, int64_t k) {
  return static_cast<double>(m) * static_cast<double>(n) *
         static_cast<double>(std::max<int64_t>(k, 1));
}

// Where a result goes: into `out` if that is fit for it, or else into a fresh array, copied to
// `out` in the end where `out` shares memory with an operand.
class Result {
 public:
  // False: `out` is something only the twin can handle.
  bool prepare(PyObject* out, DType dtype, int ndim, const int64_t* shape, ArrayRef& result,
               std::initializer_list<const ArrayRef*> operands) {
    if (out == nullptr || out == Py_None) {
      array_ = new_array(dtype, ndim, shape, result);
      fresh_ = true;
      return true;
    }
    if (!as_writable_array(out, result) || result.dtype != dtype || result.ndim != ndim ||
        !std::equal(shape, shape + ndim, result.shape) || overlaps_itself(result)) {
      return false;
    }
    for (const ArrayRef* operand : operands) overlap_ = overlap_ || may_overlap(result, *operand);
    if (overlap_) {
      out_ = PyRef::borrow(out);
      array_ = new_array(dtype, ndim, shape, result);
    } else {
      array_ = PyRef::borrow(out);
    }
    return true;
  }

  PyObject* array() const { return array_.get(); }

  // A fresh result without axes is a scalar, as NumPy's products are.
  PyObject* finish() {
    if (!overlap_) {
      auto* array = reinterpret_cast<PyArrayObject*>(array_.release());
      return fresh_ ? PyArray_Return(array) : reinterpret_cast<PyObject*>(array);
    }
    if (PyArray_CopyInto(reinterpret_cast<PyArrayObject*>(out_.get()),
                         reinterpret_cast<PyArrayObject*>(array_.get())) < 0) {
      return nullptr;
    }
    ArrayRef written;
    if (packed_handles != 0 && as_array(out_.get(), written)) note_written(written);
    return out_.release();
  }

 private:
  PyRef array_, out_;
  bool fresh_ = false, overlap_ = false;
};

// Puts axes of size 1 in front until the array has `ndim` of them.
inline void add_leading_axes(ArrayRef& a, int ndim) {
  const int added = ndim - a.ndim;
  if (added <= 0) return;
  std::copy_backward(a.shape, a.shape + a.ndim, a.shape + ndim);
  std::copy_backward(a.strides, a.strides + a.ndim, a.strides + ndim);
  std::fill_n(a.shape, added, 1);
  std::fill_n(a.strides, added, 0);
  a.ndim = static_cast<int8_t>(ndim);
}

}  // namespace tilegrad::bindings
