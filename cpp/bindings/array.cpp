#include "bindings/array.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "bindings/module.h"
#include "runtime/recycle.h"

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

// NumPy's allocator for our large results: an array made with it frees and resizes through it,
// wherever that happens.
PyDataMem_Handler recycling = {
    "tilegrad recycling",
    1,
    {nullptr, [](void*, size_t bytes) { return runtime::recycle_allocate(bytes); },
     [](void*, size_t count, size_t item) {
       void* data = runtime::recycle_allocate(count * item);
       return data != nullptr ? std::memset(data, 0, count * item) : nullptr;
     },
     [](void*, void* data, size_t bytes) { return runtime::recycle_reallocate(data, bytes); },
     [](void*, void* data, size_t) { runtime::recycle_free(data); }}};

// Results below this come from the heap, whose pages stay: glibc maps fresh ones from here on.
constexpr int64_t kRecycledBytes = 128 << 10;

PyObject* make_recycled(int ndim, npy_intp* dims, int type_number) {
  static PyObject* const handler = PyCapsule_New(&recycling, "mem_handler", nullptr);
  if (handler == nullptr) return nullptr;
  const PyRef previous(PyDataMem_SetHandler(handler));
  if (!previous) return nullptr;
  PyRef array(PyArray_SimpleNew(ndim, dims, type_number));
  const PyRef ours(PyDataMem_SetHandler(previous.get()));
  return ours ? array.release() : nullptr;
}

// An array of float32 or float64 that begins on a cache line.
pybind11::object aligned_empty(const pybind11::tuple& shape, bool wide) {
  if (shape.size() > NPY_MAXDIMS) throw pybind11::value_error("aligned_empty: too many axes");
  npy_intp dims[NPY_MAXDIMS];
  int ndim = 0;
  for (const pybind11::handle size : shape) dims[ndim++] = size.cast<npy_intp>();
  PyObject* array = make_recycled(ndim, dims, wide ? NPY_DOUBLE : NPY_FLOAT);
  if (array == nullptr) throw pybind11::error_already_set();
  return pybind11::reinterpret_steal<pybind11::object>(array);
}

const ModuleInit init([](pybind11::module_& module) {
  module.def("aligned_empty", aligned_empty);
});

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
  double bytes = static_cast<double>(item_size(dtype));
  for (int i = 0; i < ndim; ++i) {
    dims[i] = shape[i];
    bytes *= static_cast<double>(shape[i]);
  }
  const int type_number = kTypeNumbers[static_cast<int>(dtype)];
  PyRef array(bytes < kRecycledBytes ? PyArray_SimpleNew(ndim, dims, type_number)
                                     : make_recycled(ndim, dims, type_number));
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

bool overlaps_itself(const ArrayRef& a) {
  // Sorted by stride, every axis has to step over all that the smaller ones reach.
  int order[kMaxDims];
  int count = 0;
  const auto stride_of = [&a](int axis) { return std::abs(a.strides[axis]); };
  for (int i = 0; i < a.ndim; ++i) {
    if (a.shape[i] <= 1) continue;
    int at = count++;
    for (; at > 0 && stride_of(order[at - 1]) > stride_of(i); --at) order[at] = order[at - 1];
    order[at] = i;
  }
  int64_t reach = 0;
  for (int i = 0; i < count; ++i) {
    const int64_t stride = stride_of(order[i]);
    if (stride <= reach) return true;
    reach += stride * (a.shape[order[i]] - 1);
  }
  return false;
}

bool may_overlap(const ArrayRef& a, const ArrayRef& b) {
  if (a.size() == 0 || b.size() == 0) return false;
  intptr_t a_low, a_high, b_low, b_high;
  byte_range(a, a_low, a_high);
  byte_range(b, b_low, b_high);
  return a_low < b_high && b_low < a_high;
}

}  // namespace tilegrad::bindings
