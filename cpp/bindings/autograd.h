// The structs under tilegrad.autograd's Tensor, Node and Version, so that recording an operation
// costs no Python frame. They hold references and flags; what they mean is said in
// python/tilegrad/autograd/{tensor,node,op}.py, whose classes derive from these.
#pragma once

#include <cstdint>

#include "bindings/python.h"

namespace tilegrad::bindings {

// Counts the in-place changes of one memory block.
struct VersionObject {
  PyObject_HEAD int64_t value;
};

// A null reference reads as None from Python.
struct TensorObject {
  PyObject_HEAD PyObject* array;  // always an ndarray
  PyObject* node;                 // the edge gradients take; null for a leaf
  PyObject* grad;
  PyObject* tangents;  // forward mode: {level: tensor}
  PyObject* version;   // a VersionObject once the memory is shared or was changed
  PyObject* hooks;
  PyObject* base;  // the tensor whose memory this one views
  PyObject* weak_references;
  int64_t seen;  // value of `version` that `node` belongs to
  char requires_grad;
};

struct NodeObject {
  PyObject_HEAD PyObject* op;
  PyObject* edges;
  PyObject* inputs;
  PyObject* attrs;
  PyObject* out;
  PyObject* shape;
  PyObject* dtype;
  PyObject* versions;
  PyObject* out_version;
  PyObject* hooks;
  PyObject* weak_references;
  int64_t sequence;
  char tensor_mode;
  char released;  // a backward pass has used the node up
};

extern PyTypeObject version_type;
extern PyTypeObject tensor_base_type;
extern PyTypeObject node_base_type;

// The Python classes that derive from the bases; null until tilegrad.autograd is imported.
extern PyTypeObject* tensor_class;
extern PyTypeObject* node_class;
extern PyTypeObject* output_class;  // result i of a node with several

// Whether operations of this thread record a graph.
extern thread_local bool grad_enabled;

inline bool is_tensor(PyObject* object) {
  return Py_TYPE(object) == tensor_class || PyObject_TypeCheck(object, &tensor_base_type);
}
inline TensorObject* as_tensor(PyObject* object) { return reinterpret_cast<TensorObject*>(object); }
inline bool is_set(PyObject* reference) { return reference != nullptr && reference != Py_None; }

// A static type to be completed before PyType_Ready.
inline PyTypeObject make_type(const char* name, size_t size, unsigned long flags) {
  PyTypeObject type{};
  Py_SET_REFCNT(&type, 1);
  type.tp_name = name;
  type.tp_basicsize = static_cast<Py_ssize_t>(size);
  type.tp_flags = Py_TPFLAGS_DEFAULT | flags;
  return type;
}

// A new tensor of the registered class around `array`, and a new node; null with an error set.
TensorObject* new_tensor(PyObject* array);
NodeObject* new_node();
VersionObject* new_version();

}  // namespace tilegrad::bindings
