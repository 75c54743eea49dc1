#include "bindings/packed.h"

#include <structmember.h>

#include <cstdlib>

#include "bindings/kernel.h"
#include "bindings/module.h"
#include "gemm/gemm.h"
#include "runtime/workspace.h"
#include "simd/table.h"

namespace tilegrad::bindings {

int packed_handles = 0;

namespace {

struct PackedObject {
  PyObject_HEAD PyObject* source;
  ArrayRef array;  // the source as it was when packed
  void* data;
  const simd::SimdTable* table;
  bool stale;
  PackedObject *next, *previous;  // all handles, under the GIL
};

PackedObject* all_handles = nullptr;
PyTypeObject* packed_type = nullptr;

void packed_dealloc(PyObject* object) {
  auto* self = reinterpret_cast<PackedObject*>(object);
  PyTypeObject* type = Py_TYPE(object);
  (self->previous != nullptr ? self->previous->next : all_handles) = self->next;
  if (self->next != nullptr) self->next->previous = self->previous;
  --packed_handles;
  runtime::free_aligned(self->data);
  Py_XDECREF(self->source);
  type->tp_free(object);
  Py_DECREF(type);
}

PyObject* packed_repr(PyObject* object) {
  const auto* self = reinterpret_cast<PackedObject*>(object);
  return PyUnicode_FromFormat("<packed %s of shape (%lld, %lld)%s>",
                              self->array.dtype == DType::kFloat32 ? "float32" : "float64",
                              static_cast<long long>(self->array.shape[0]),
                              static_cast<long long>(self->array.shape[1]),
                              self->stale ? ", stale" : "");
}

PyObject* packed_shape(PyObject* object, void*) {
  const auto* self = reinterpret_cast<PackedObject*>(object);
  return Py_BuildValue("(LL)", static_cast<long long>(self->array.shape[0]),
                       static_cast<long long>(self->array.shape[1]));
}

PyObject* packed_stale(PyObject* object, void*) {
  return PyBool_FromLong(reinterpret_cast<PackedObject*>(object)->stale);
}

PyMemberDef packed_members[] = {
    {"source", T_OBJECT_EX, offsetof(PackedObject, source), READONLY, "the array that was packed"},
    {nullptr, 0, 0, 0, nullptr}};
PyGetSetDef packed_getset[] = {
    {"shape", packed_shape, nullptr, "(k, n)", nullptr},
    {"stale", packed_stale, nullptr, "whether the source was changed through the library", nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr}};
PyType_Slot packed_slots[] = {{Py_tp_dealloc, reinterpret_cast<void*>(packed_dealloc)},
                              {Py_tp_repr, reinterpret_cast<void*>(packed_repr)},
                              {Py_tp_members, packed_members},
                              {Py_tp_getset, packed_getset},
                              {0, nullptr}};
PyType_Spec packed_spec = {"tilegrad._native.Packed", sizeof(PackedObject), 0,
                           Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION, packed_slots};

template <class T>
void pack(const ArrayRef& b, PackedObject& self) {
  const int64_t size = gemm::packed_size<T>(b.shape[0], b.shape[1]);
  self.data = runtime::allocate_aligned(sizeof(T) * static_cast<size_t>(size));
  gemm::pack_b<T>(b.shape[0], b.shape[1], {b.as<const T>(), b.strides[0], b.strides[1]},
                  static_cast<T*>(self.data));
}

// Arrays written by NumPy are told of by hand.
PyObject* mark_written(PyObject*, PyObject* object) {
  ArrayRef array;
  if (packed_handles != 0 && as_array(object, array)) note_written(array);
  Py_RETURN_NONE;
}

PyMethodDef mark_method = {"mark_written", mark_written, METH_O,
                           "Say that an array's contents changed: packed copies of it are stale."};

const ModuleInit init([](pybind11::module_& module) {
  packed_type = reinterpret_cast<PyTypeObject*>(PyType_FromSpec(&packed_spec));
  const PyRef function(PyCFunction_New(&mark_method, nullptr));
  if (packed_type == nullptr || !function ||
      PyModule_AddObjectRef(module.ptr(), "Packed", reinterpret_cast<PyObject*>(packed_type)) < 0 ||
      PyModule_AddObjectRef(module.ptr(), "mark_written", function.get()) < 0) {
    throw pybind11::error_already_set();
  }
});

}  // namespace

bool is_packed(PyObject* object) { return Py_TYPE(object) == packed_type; }

PackedOperand packed_operand(PyObject* object) {
  const auto* self = reinterpret_cast<const PackedObject*>(object);
  if (self->stale) {
    throw std::invalid_argument(
        "gemm: b was packed before its source was changed in place; pack(b.source) again");
  }
  if (self->table != &simd::table()) {
    throw std::invalid_argument(std::string("gemm: b was packed for ") + self->table->name +
                                " but " + simd::table().name + " is in use; pack(b.source) again");
  }
  return {self->array.dtype, self->array.shape[0], self->array.shape[1], self->data};
}

PyRef make_packed(PyObject* source, const ArrayRef& b) {
  PyRef object(packed_type->tp_alloc(packed_type, 0));
  if (!object) throw PythonError();
  auto* self = reinterpret_cast<PackedObject*>(object.get());
  self->source = Py_NewRef(source);
  self->array = b;
  self->table = &simd::table();
  self->next = all_handles;
  if (all_handles != nullptr) all_handles->previous = self;
  all_handles = self;
  ++packed_handles;
  b.dtype == DType::kFloat32 ? pack<float>(b, *self) : pack<double>(b, *self);
  return object;
}

void note_written(const ArrayRef& written) {
  for (PackedObject* handle = all_handles; handle != nullptr; handle = handle->next) {
    if (may_overlap(handle->array, written)) handle->stale = true;
  }
}

}  // namespace tilegrad::bindings
