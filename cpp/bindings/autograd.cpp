// Tensor, node and version as Python types: members, garbage collection, deallocation.
#include "bindings/autograd.h"

// clang-format off
#include <Python.h>
#include <structmember.h>
// clang-format on

#include <cstddef>

#include "bindings/module.h"
#include "bindings/numpy.h"

namespace tilegrad::bindings {

PyTypeObject* tensor_class = nullptr;
PyTypeObject* node_class = nullptr;
PyTypeObject* output_class = nullptr;
thread_local bool grad_enabled = true;

namespace {

int64_t next_sequence = 0;  // guarded by the GIL

// ---- version ------------------------------------------------------------------------------------
PyMemberDef version_members[] = {
    {"value", T_LONGLONG, offsetof(VersionObject, value), 0, "changes so far"},
    {nullptr, 0, 0, 0, nullptr}};

// ---- tensor -------------------------------------------------------------------------------------
PyMemberDef tensor_members[] = {
    {"_array", T_OBJECT_EX, offsetof(TensorObject, array), 0, "the entries"},
    {"_node", T_OBJECT, offsetof(TensorObject, node), 0, "where gradients go; None for a leaf"},
    {"_tangents", T_OBJECT, offsetof(TensorObject, tangents), 0, "forward-mode tangents by level"},
    {"_version", T_OBJECT, offsetof(TensorObject, version), 0, "in-place counter of the memory"},
    {"_hooks", T_OBJECT, offsetof(TensorObject, hooks), 0, "hooks of a leaf"},
    {"_base", T_OBJECT, offsetof(TensorObject, base), 0, "the tensor whose memory this one views"},
    {"_seen", T_LONGLONG, offsetof(TensorObject, seen), 0, "counter value that _node belongs to"},
    {"_requires_grad", T_BOOL, offsetof(TensorObject, requires_grad), 0, "gradients are wanted"},
    {nullptr, 0, 0, 0, nullptr}};

PyObject* tensor_get_grad(PyObject* object, void*) {
  PyObject* grad = as_tensor(object)->grad;
  return Py_NewRef(grad != nullptr ? grad : Py_None);
}

// None, or a tensor of the same shape and dtype.
int tensor_set_grad(PyObject* object, PyObject* value, void*) {
  TensorObject* self = as_tensor(object);
  if (is_set(value)) {
    if (!is_tensor(value)) {
      PyErr_Format(PyExc_TypeError, "grad: expected a tensor or None, got %.100s",
                   Py_TYPE(value)->tp_name);
      return -1;
    }
    auto* own = reinterpret_cast<PyArrayObject*>(self->array);
    auto* given = reinterpret_cast<PyArrayObject*>(as_tensor(value)->array);
    if (!PyArray_SAMESHAPE(own, given)) {
      const PyRef shape(PyArray_IntTupleFromIntp(PyArray_NDIM(own), PyArray_DIMS(own)));
      const PyRef other(PyArray_IntTupleFromIntp(PyArray_NDIM(given), PyArray_DIMS(given)));
      if (shape && other) {
        PyErr_Format(PyExc_ValueError, "grad: a tensor of shape %R cannot take a gradient of %R",
                     shape.get(), other.get());
      }
      return -1;
    }
    if (!PyArray_EquivTypes(PyArray_DESCR(own), PyArray_DESCR(given))) {
      PyErr_Format(PyExc_TypeError, "grad: a tensor of dtype %S cannot take a gradient of dtype %S",
                   PyArray_DESCR(own), PyArray_DESCR(given));
      return -1;
    }
  }
  Py_XSETREF(self->grad, Py_XNewRef(value));
  return 0;
}

PyGetSetDef tensor_getset[] = {
    {"grad", tensor_get_grad, tensor_set_grad, "the gradient that backward added up here", nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr}};

PyObject* tensor_new(PyTypeObject* type, PyObject* args, PyObject* kwargs) {
  static const char* names[] = {"array", "requires_grad", "node", nullptr};
  PyObject* array = nullptr;
  int requires_grad = 0;
  PyObject* node = nullptr;
  if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|pO:Tensor", const_cast<char**>(names), &array,
                                   &requires_grad, &node)) {
    return nullptr;
  }
  if (!PyArray_Check(array)) {
    PyErr_Format(PyExc_TypeError, "Tensor: needs an ndarray, got %.100s; use tilegrad.tensor()",
                 Py_TYPE(array)->tp_name);
    return nullptr;
  }
  PyObject* self = type->tp_alloc(type, 0);
  if (self == nullptr) return nullptr;
  TensorObject* tensor = as_tensor(self);
  tensor->array = Py_NewRef(array);
  tensor->requires_grad = static_cast<char>(requires_grad);
  if (is_set(node)) tensor->node = Py_NewRef(node);
  return self;
}

int tensor_init(PyObject*, PyObject*, PyObject*) { return 0; }  // tensor_new did it all

int tensor_traverse(PyObject* object, visitproc visit, void* arg) {
  TensorObject* self = as_tensor(object);
  Py_VISIT(self->array);
  Py_VISIT(self->node);
  Py_VISIT(self->grad);
  Py_VISIT(self->tangents);
  Py_VISIT(self->version);
  Py_VISIT(self->hooks);
  Py_VISIT(self->base);
  return 0;
}

int tensor_clear(PyObject* object) {
  TensorObject* self = as_tensor(object);
  Py_CLEAR(self->node);
  Py_CLEAR(self->grad);
  Py_CLEAR(self->tangents);
  Py_CLEAR(self->version);
  Py_CLEAR(self->hooks);
  Py_CLEAR(self->base);
  Py_CLEAR(self->array);
  return 0;
}

// Chains of a million tensors and nodes are freed link by link: the trashcan bounds the recursion.
void tensor_dealloc(PyObject* object) {
  PyObject_GC_UnTrack(object);
  Py_TRASHCAN_BEGIN(object, tensor_dealloc);
  if (as_tensor(object)->weak_references != nullptr) PyObject_ClearWeakRefs(object);
  tensor_clear(object);
  Py_TYPE(object)->tp_free(object);
  Py_TRASHCAN_END;
}

// ---- node ---------------------------------------------------------------------------------------
NodeObject* as_node(PyObject* object) { return reinterpret_cast<NodeObject*>(object); }

PyMemberDef node_members[] = {
    {"op", T_OBJECT, offsetof(NodeObject, op), 0, nullptr},
    {"edges", T_OBJECT, offsetof(NodeObject, edges), 0, nullptr},
    {"inputs", T_OBJECT, offsetof(NodeObject, inputs), 0, nullptr},
    {"attrs", T_OBJECT, offsetof(NodeObject, attrs), 0, nullptr},
    {"out", T_OBJECT, offsetof(NodeObject, out), 0, nullptr},
    {"shape", T_OBJECT, offsetof(NodeObject, shape), 0, nullptr},
    {"dtype", T_OBJECT, offsetof(NodeObject, dtype), 0, nullptr},
    {"versions", T_OBJECT, offsetof(NodeObject, versions), 0, nullptr},
    {"out_version", T_OBJECT, offsetof(NodeObject, out_version), 0, nullptr},
    {"hooks", T_OBJECT, offsetof(NodeObject, hooks), 0, nullptr},
    {"sequence", T_LONGLONG, offsetof(NodeObject, sequence), READONLY, nullptr},
    {"released", T_BOOL, offsetof(NodeObject, released), 0, nullptr},
    {"tensor_mode", T_BOOL, offsetof(NodeObject, tensor_mode), 0, nullptr},
    {nullptr, 0, 0, 0, nullptr}};

PyObject* node_new(PyTypeObject* type, PyObject* args, PyObject* kwargs) {
  static const char* names[] = {"op", "edges", "inputs", "attrs", "out", "shape", "dtype", nullptr};
  PyObject* given[7];
  if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OOOOOOO:Node", const_cast<char**>(names),
                                   &given[0], &given[1], &given[2], &given[3], &given[4], &given[5],
                                   &given[6])) {
    return nullptr;
  }
  PyObject* self = type->tp_alloc(type, 0);
  if (self == nullptr) return nullptr;
  NodeObject* node = as_node(self);
  node->op = Py_NewRef(given[0]);
  node->edges = Py_NewRef(given[1]);
  node->inputs = Py_NewRef(given[2]);
  node->attrs = Py_NewRef(given[3]);
  node->out = Py_NewRef(given[4]);
  node->shape = Py_NewRef(given[5]);
  node->dtype = Py_NewRef(given[6]);
  node->sequence = ++next_sequence;
  return self;
}

int node_init(PyObject*, PyObject*, PyObject*) { return 0; }

int node_traverse(PyObject* object, visitproc visit, void* arg) {
  NodeObject* self = as_node(object);
  Py_VISIT(self->op);
  Py_VISIT(self->edges);
  Py_VISIT(self->inputs);
  Py_VISIT(self->attrs);
  Py_VISIT(self->out);
  Py_VISIT(self->shape);
  Py_VISIT(self->dtype);
  Py_VISIT(self->versions);
  Py_VISIT(self->out_version);
  Py_VISIT(self->hooks);
  return 0;
}

int node_clear(PyObject* object) {
  NodeObject* self = as_node(object);
  Py_CLEAR(self->op);
  Py_CLEAR(self->edges);
  Py_CLEAR(self->inputs);
  Py_CLEAR(self->attrs);
  Py_CLEAR(self->out);
  Py_CLEAR(self->shape);
  Py_CLEAR(self->dtype);
  Py_CLEAR(self->versions);
  Py_CLEAR(self->out_version);
  Py_CLEAR(self->hooks);
  return 0;
}

void node_dealloc(PyObject* object) {
  PyObject_GC_UnTrack(object);
  Py_TRASHCAN_BEGIN(object, node_dealloc);
  if (as_node(object)->weak_references != nullptr) PyObject_ClearWeakRefs(object);
  node_clear(object);
  Py_TYPE(object)->tp_free(object);
  Py_TRASHCAN_END;
}

// ---- module functions ---------------------------------------------------------------------------
void finish_types() {
  version_type.tp_members = version_members;
  version_type.tp_new = PyType_GenericNew;

  tensor_base_type.tp_members = tensor_members;
  tensor_base_type.tp_getset = tensor_getset;
  tensor_base_type.tp_new = tensor_new;
  tensor_base_type.tp_init = tensor_init;
  tensor_base_type.tp_traverse = tensor_traverse;
  tensor_base_type.tp_clear = tensor_clear;
  tensor_base_type.tp_dealloc = tensor_dealloc;
  tensor_base_type.tp_weaklistoffset = offsetof(TensorObject, weak_references);

  node_base_type.tp_members = node_members;
  node_base_type.tp_new = node_new;
  node_base_type.tp_init = node_init;
  node_base_type.tp_traverse = node_traverse;
  node_base_type.tp_clear = node_clear;
  node_base_type.tp_dealloc = node_dealloc;
  node_base_type.tp_weaklistoffset = offsetof(NodeObject, weak_references);
}

const ModuleInit init([](pybind11::module_& module) {
  finish_types();
  const std::pair<const char*, PyTypeObject*> types[] = {
      {"Version", &version_type}, {"TensorBase", &tensor_base_type}, {"NodeBase", &node_base_type}};
  for (const auto& [name, type] : types) {
    if (PyType_Ready(type) < 0 ||
        PyModule_AddObjectRef(module.ptr(), name, reinterpret_cast<PyObject*>(type)) < 0) {
      throw pybind11::error_already_set();
    }
  }
  module.def("is_grad_enabled", [] { return grad_enabled; });
  module.def("set_grad_enabled", [](bool mode) { return std::exchange(grad_enabled, mode); });
  module.def("next_sequence_number", [] { return ++next_sequence; });
  module.def("set_autograd_classes", [](const pybind11::type& tensor, const pybind11::type& node) {
    tensor_class = reinterpret_cast<PyTypeObject*>(tensor.inc_ref().ptr());
    node_class = reinterpret_cast<PyTypeObject*>(node.inc_ref().ptr());
  });
});

}  // namespace

PyTypeObject version_type = make_type("tilegrad._native.Version", sizeof(VersionObject), 0);
PyTypeObject tensor_base_type = make_type("tilegrad._native.TensorBase", sizeof(TensorObject),
                                          Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC);
PyTypeObject node_base_type = make_type("tilegrad._native.NodeBase", sizeof(NodeObject),
                                        Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC);

TensorObject* new_tensor(PyObject* array) {
  auto* self = as_tensor(tensor_class->tp_alloc(tensor_class, 0));
  if (self != nullptr) self->array = Py_NewRef(array);
  return self;
}

NodeObject* new_node() {
  auto* self = as_node(node_class->tp_alloc(node_class, 0));
  if (self != nullptr) self->sequence = ++next_sequence;
  return self;
}

VersionObject* new_version() { return PyObject_New(VersionObject, &version_type); }

}  // namespace tilegrad::bindings
