#include "bindings/array.h"

#include <algorithm>

namespace tilegrad::bindings {
namespace {

constexpr int8_t kUnsupported = -1;

// NumPy's type number to DType, or kUnsupported.
int8_t dtype_of(int type_number) {
  switch (type_number) {
    case NPY_FLOAT:
      return static_cast<int8_t>(DType::kFloat32);
    case NPY_DOUBLE:
      return static_cast<int8_t>(DType::kFloat64);
    case NPY_INT:
      return static_cast<int8_t>(DType::kInt32);
    case NPY_LONG:
    case NPY_LONGLONG:
      return sizeof(long) == 8 || type_number == NPY_LONGLONG ? static_cast<int8_t>(DType::kInt64)
                                                              : static_cast<int8_t>(DType::kInt32);
    case NPY_UBYTE:
      return static_cast<int8_t>(DType::kUInt8);
    case NPY_BOOL:
      return static_cast<int8_t>(DType::kBool);
    default:
      return kUnsupported;
  }
}

constexpr int kTypeNumbers[] = {NPY_FLOAT, NPY_DOUBLE, NPY_INT32, NPY_INT64, NPY_UBYTE, NPY_BOOL};
constexpr int64_t kItemSizes[] = {4, 8, 4, 8, 1, 1};

// First and one-past-last byte an array may touch.
void byte_range(const ArrayRef& a, intptr_t& low, intptr_t& high) {
  low = high = reinterpret_cast<intptr_t>(a.data);
  const int64_t item = item_size(a.dtype);
  for (int i = 0; i < a.ndim; ++i) {
    const int64_t span = (a.shape[i] - 1) * a.strides[i] * item;
    (span < 0 ? low : high) += span;
  }
  high += item;
}

}  // namespace

int64_t item_size(DType dtype) { return kItemSizes[static_cast<int>(dtype)]; }

bool ArrayRef::contiguous() const {
  int64_t expected = 1;
  for (int i = ndim - 1; i >= 0; --i) {
    if (shape[i] != 1 && strides[i] != expected) return false;
    expected *= shape[i];
  }
  return true;
}

bool as_array(PyObject* object, ArrayRef& out) {
  if (!PyArray_CheckExact(object)) return false;
  auto* array = reinterpret_cast<PyArrayObject*>(object);
  const int8_t dtype = dtype_of(PyArray_TYPE(array));
  const int ndim = PyArray_NDIM(array);
  if (dtype == kUnsupported || ndim > kMaxDims) return false;
  if (!PyArray_ISALIGNED(array) || !PyArray_ISNOTSWAPPED(array)) return false;
  out.data = PyArray_DATA(array);
  out.dtype = static_cast<DType>(dtype);
  out.ndim = static_cast<int8_t>(ndim);
  const int shift = __builtin_ctzll(static_cast<uint64_t>(kItemSizes[dtype]));
  const npy_intp* shape = PyArray_DIMS(array);
  const npy_intp* strides = PyArray_STRIDES(array);
  for (int i = 0; i < ndim; ++i) {
    out.shape[i] = shape[i];
    if (strides[i] & (kItemSizes[dtype] - 1)) return false;
    out.strides[i] = strides[i] >> shift;
  }
  return true;
}

bool as_writable_array(PyObject* object, ArrayRef& out) {
  return as_array(object, out) && PyArray_ISWRITEABLE(reinterpret_cast<PyArrayObject*>(object));
}

PyRef new_array(DType dtype, int ndim, const int64_t* shape, ArrayRef& out) {
  npy_intp dims[kMaxDims];
  std::copy_n(shape, ndim, dims);
  PyRef array(PyArray_SimpleNew(ndim, dims, kTypeNumbers[static_cast<int>(dtype)]));
  if (!array) throw PythonError();
  out.data = PyArray_DATA(reinterpret_cast<PyArrayObject*>(array.get()));
  out.dtype = dtype;
  out.ndim = static_cast<int8_t>(ndim);
  int64_t stride = 1;
  for (int i = ndim - 1; i >= 0; --i) {
    out.shape[i] = shape[i];
    out.strides[i] = stride;
    stride *= shape[i];
  }
  return array;
}

bool may_overlap(const ArrayRef& a, const ArrayRef& b) {
  if (a.size() == 0 || b.size() == 0) return false;
  intptr_t a_low, a_high, b_low, b_high;
  byte_range(a, a_low, a_high);
  byte_range(b, b_low, b_high);
  return a_low < b_high && b_low < a_high;
}

}  // namespace tilegrad::bindings
