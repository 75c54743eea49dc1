// Arrays as plain data, and how NumPy arrays become them.
#pragma once

#include <cstdint>

#include "bindings/numpy.h"
#include "bindings/python.h"

namespace tilegrad::bindings {

enum class DType : int8_t { kFloat32, kFloat64, kInt32, kInt64, kUInt8, kBool };

int64_t item_size(DType dtype);

constexpr int kMaxDims = 8;  // arrays of more axes are left to the twins

// What a kernel needs to know of an array. Plain data: a call made of these can be stored, compared
// and replayed with other data pointers.
struct ArrayRef {
  void* data;
  DType dtype;
  int8_t ndim;
  int64_t shape[kMaxDims];
  int64_t strides[kMaxDims];  // in elements; any sign, zero for broadcast axes

  template <class T>
  T* as() const {
    return static_cast<T*>(data);
  }
  int64_t size() const {
    int64_t product = 1;
    for (int i = 0; i < ndim; ++i) product *= shape[i];
    return product;
  }
  bool contiguous() const;  // C order, no gaps; axes of length 1 count for nothing
};

// An argument: true and filled if `object` is exactly an ndarray of a DType with at most kMaxDims
// axes, aligned, native byte order and strides that are whole elements. False for anything else:
// the kernel then declines and the twin, which takes whatever NumPy takes, is called.
bool as_array(PyObject* object, ArrayRef& out);

// The same for an array that is written: false also if it is read-only.
bool as_writable_array(PyObject* object, ArrayRef& out);

// A fresh uninitialised C-contiguous array, described in `out`; large ones reuse the memory of
// earlier ones. Throws PythonError on failure.
PyRef new_array(DType dtype, int ndim, const int64_t* shape, ArrayRef& out);

// Whether two of its elements may share memory (a zero stride, say): such an array cannot be
// written.
bool overlaps_itself(const ArrayRef& a);

// Whether any byte may belong to both.
bool may_overlap(const ArrayRef& a, const ArrayRef& b);

}  // namespace tilegrad::bindings
