// Calling an operation: arrays out of tensors, the forward kernel, and a graph node around the
// result. What is rare (forward mode, mixed dtypes, several results, missing rules) is left to the
// Python methods of tilegrad.autograd.op.Op, which derives from OpBase:
//
//   _call(*args, **kwargs)               the whole call, in Python
//   _record(args, attrs, out, needs)     wrap and record the result of the forward function
// clang-format off
#include <Python.h>
#include <structmember.h>
// clang-format on

#include "bindings/op.h"

#include <cstddef>

#include "bindings/array.h"
#include "bindings/autograd.h"
#include "bindings/kernel.h"
#include "bindings/module.h"
#include "bindings/numpy.h"

namespace tilegrad::bindings {
namespace {

constexpr int kMaxCall = 2 * kMaxInputs;  // inputs and attributes of one call

struct OpObject {
  PyObject_HEAD vectorcallfunc vectorcall;
  PyObject* forward;
  PyObject* defaults;    // {attribute: default}
  PyObject* attributes;  // names, in order
  PyObject* rules;       // see native_rules
  PyObject* dict;
  PyObject* weak_references;
  int arity;  // -1: any number of inputs
  char promotes, discrete, view, saves_out, saves_inputs, several;
  uint32_t saved_inputs;  // bit i: input i is saved
  uint32_t saved_outs;    // bit i: of several results, the i-th is saved
  uint32_t with_rule;     // bit i: input i has a vjp rule
};

OpObject* as_op(PyObject* object) { return reinterpret_cast<OpObject*>(object); }

PyObject* call_text;
PyObject* record_text;
thread_local PyObject* observer = nullptr;  // sees every call of this thread while set

// The same call, in Python.
PyObject* call_slow(PyObject* self, PyObject* const* args, Py_ssize_t nargs, PyObject* kwnames) {
  PyObject* all[kMaxCall + 2];
  const Py_ssize_t names = kwnames != nullptr ? PyTuple_GET_SIZE(kwnames) : 0;
  if (nargs + names > kMaxCall) {
    const PyRef method(PyObject_GetAttr(self, call_text));
    return method ? PyObject_Vectorcall(method.get(), args, static_cast<size_t>(nargs), kwnames)
                  : nullptr;
  }
  all[0] = self;
  for (Py_ssize_t i = 0; i < nargs + names; ++i) all[i + 1] = args[i];
  return PyObject_VectorcallMethod(call_text, all, static_cast<size_t>(nargs + 1), kwnames);
}

// {**defaults, given attributes}, or null without an error if a name is no attribute: the Python
// path then sorts it out or says what is wrong.
PyObject* bind_attributes(OpObject* op, PyObject* const* args, Py_ssize_t nargs,
                          PyObject* kwnames) {
  const Py_ssize_t extra = nargs - op->arity;
  if (extra > PyTuple_GET_SIZE(op->attributes)) return nullptr;
  PyRef attrs(PyDict_Copy(op->defaults));
  if (!attrs) return nullptr;
  for (Py_ssize_t i = 0; i < extra; ++i) {
    if (PyDict_SetItem(attrs.get(), PyTuple_GET_ITEM(op->attributes, i), args[op->arity + i]) < 0) {
      return nullptr;
    }
  }
  const Py_ssize_t names = kwnames != nullptr ? PyTuple_GET_SIZE(kwnames) : 0;
  for (Py_ssize_t i = 0; i < names; ++i) {
    PyObject* name = PyTuple_GET_ITEM(kwnames, i);
    const int known = PySequence_Contains(op->attributes, name);
    if (known <= 0 || PyDict_SetItem(attrs.get(), name, args[nargs + i]) < 0) return nullptr;
  }
  return attrs.release();
}

struct Scan {
  bool tensors = false;   // at least one input is a tensor
  bool gradient = false;  // and one of them requires a gradient
  bool slow = false;      // something that the Python path has to see
};

// Looks at the inputs and puts their arrays into `arrays`.
Scan scan_inputs(const OpObject* op, PyObject* const* args, PyObject** arrays) {
  Scan scan;
  bool mixed = false;
  PyArray_Descr* dtype = nullptr;
  for (int i = 0; i < op->arity; ++i) {
    if (!is_tensor(args[i])) {
      arrays[i] = args[i];
      mixed |= !PyFloat_CheckExact(args[i]) && !PyLong_CheckExact(args[i]);
      continue;
    }
    TensorObject* tensor = as_tensor(args[i]);
    scan.tensors = true;
    scan.gradient |= tensor->requires_grad != 0;
    scan.slow |= is_set(tensor->tangents);
    arrays[i] = tensor->array;
    PyArray_Descr* own = PyArray_DESCR(reinterpret_cast<PyArrayObject*>(tensor->array));
    mixed |= dtype != nullptr && dtype != own;
    dtype = own;
  }
  if (scan.tensors && op->promotes) scan.slow |= mixed || dtype->kind != 'f';
  return scan;
}

// Tuple of counters of the saved inputs, or null for "all zero". Sets `stale` for an input whose
// memory was changed in place through another tensor.
PyObject* saved_versions(const OpObject* op, PyObject* const* args, bool& stale) {
  PyRef versions;
  for (int i = 0; i < op->arity; ++i) {
    if (!is_tensor(args[i]) || !is_set(as_tensor(args[i])->version)) continue;
    TensorObject* tensor = as_tensor(args[i]);
    const int64_t value = reinterpret_cast<VersionObject*>(tensor->version)->value;
    if (value != tensor->seen && is_set(tensor->node)) {
      stale = true;
      return nullptr;
    }
    if (value == 0 || !op->saves_inputs) continue;
    if (!versions) {
      versions = PyRef(PyTuple_New(op->arity));
      if (!versions) return nullptr;
      for (int k = 0; k < op->arity; ++k) {
        PyTuple_SET_ITEM(versions.get(), k, PyLong_FromLong(0));
      }
    }
    PyTuple_SetItem(versions.get(), i, PyLong_FromLongLong(value));
  }
  return versions.release();
}

// Whether every input that requires a gradient has a rule for it.
bool has_rules(const OpObject* op, PyObject* const* args) {
  for (int i = 0; i < op->arity; ++i) {
    if (is_tensor(args[i]) && as_tensor(args[i])->requires_grad && !(op->with_rule >> i & 1)) {
      return false;
    }
  }
  return true;
}

PyObject* edges_of(const OpObject* op, PyObject* const* args) {
  PyObject* edges = PyTuple_New(op->arity);
  if (edges == nullptr) return nullptr;
  for (int i = 0; i < op->arity; ++i) {
    PyObject* edge = Py_None;
    if (is_tensor(args[i]) && as_tensor(args[i])->requires_grad) {
      PyObject* node = as_tensor(args[i])->node;
      edge = is_set(node) ? node : args[i];
    }
    PyTuple_SET_ITEM(edges, i, Py_NewRef(edge));
  }
  return edges;
}

PyObject* saved_inputs(const OpObject* op, PyObject* const* args) {
  if (!op->saves_inputs) return Py_NewRef(Py_None);
  PyObject* saved = PyTuple_New(op->arity);
  if (saved == nullptr) return nullptr;
  for (int i = 0; i < op->arity; ++i) {
    PyTuple_SET_ITEM(saved, i, Py_NewRef(op->saved_inputs >> i & 1 ? args[i] : Py_None));
  }
  return saved;
}

// A node of this call, which has still to learn of its result. Null without an error set: the
// Python path has to raise or decide.
PyRef make_node(OpObject* op, PyObject* const* args, PyObject* attrs) {
  bool stale = false;
  PyRef versions(saved_versions(op, args, stale));
  if (stale || PyErr_Occurred() || !has_rules(op, args)) return PyRef();
  PyRef holder(reinterpret_cast<PyObject*>(new_node()));
  if (!holder) return PyRef();
  auto* node = reinterpret_cast<NodeObject*>(holder.get());
  node->op = Py_NewRef(reinterpret_cast<PyObject*>(op));
  node->edges = edges_of(op, args);
  node->inputs = saved_inputs(op, args);
  node->attrs = Py_NewRef(attrs);
  node->versions = versions.release();
  if (op->saves_out) {
    VersionObject* version = new_version();
    if (version == nullptr) return PyRef();
    version->value = 0;
    node->out_version = reinterpret_cast<PyObject*>(version);
  }
  return node->edges != nullptr && node->inputs != nullptr ? std::move(holder) : PyRef();
}

PyObject* shape_of(PyObject* array) {
  auto* a = reinterpret_cast<PyArrayObject*>(array);
  return PyArray_IntTupleFromIntp(PyArray_NDIM(a), PyArray_DIMS(a));
}
PyObject* dtype_of(PyObject* array) {
  return reinterpret_cast<PyObject*>(PyArray_DESCR(reinterpret_cast<PyArrayObject*>(array)));
}
bool is_floating(PyObject* array) {
  return PyArray_DESCR(reinterpret_cast<PyArrayObject*>(array))->kind == 'f';
}

// The tensor around `out` with its graph node; null as make_node says.
PyObject* record(OpObject* op, PyObject* const* args, PyObject* attrs, PyObject* out) {
  PyRef holder = make_node(op, args, attrs);
  if (!holder) return nullptr;
  PyRef tensor(reinterpret_cast<PyObject*>(new_tensor(out)));
  if (!tensor) return nullptr;
  auto* node = reinterpret_cast<NodeObject*>(holder.get());
  node->shape = shape_of(out);
  node->dtype = Py_NewRef(dtype_of(out));
  if (node->shape == nullptr) return nullptr;
  TensorObject* result = as_tensor(tensor.get());
  if (op->saves_out) {
    node->out = Py_NewRef(out);
    result->version = Py_NewRef(node->out_version);
  }
  result->requires_grad = 1;
  result->node = holder.release();
  return tensor.release();
}

// Result `i` of a node with several.
PyRef wrap_result(const OpObject* op, PyObject* holder, Py_ssize_t i, PyObject* array) {
  PyRef tensor(reinterpret_cast<PyObject*>(new_tensor(array)));
  if (!tensor || holder == nullptr || !is_floating(array)) return tensor;
  auto* node = reinterpret_cast<NodeObject*>(holder);
  const PyRef index(PyLong_FromSsize_t(i));
  PyRef edge(PyObject_CallFunctionObjArgs(reinterpret_cast<PyObject*>(output_class), holder,
                                          index.get(), PyTuple_GET_ITEM(node->shape, i),
                                          PyTuple_GET_ITEM(node->dtype, i), nullptr));
  if (!edge) return edge;
  TensorObject* result = as_tensor(tensor.get());
  if (op->saves_out && (op->saved_outs >> i & 1)) result->version = Py_NewRef(node->out_version);
  result->requires_grad = 1;
  result->node = edge.release();
  return tensor;
}

// Tells `node` of its results: shapes, dtypes, and those that rules ask for.
bool describe_results(const OpObject* op, NodeObject* node, PyObject* out) {
  const Py_ssize_t count = PyTuple_GET_SIZE(out);
  node->shape = PyTuple_New(count);
  node->dtype = PyTuple_New(count);
  PyRef saved(PyTuple_New(count));
  if (node->shape == nullptr || node->dtype == nullptr || !saved) return false;
  for (Py_ssize_t i = 0; i < count; ++i) {
    PyObject* array = PyTuple_GET_ITEM(out, i);
    PyObject* shape = shape_of(array);
    if (shape == nullptr) return false;
    PyTuple_SET_ITEM(node->shape, i, shape);
    PyTuple_SET_ITEM(node->dtype, i, Py_NewRef(dtype_of(array)));
    PyTuple_SET_ITEM(saved.get(), i, Py_NewRef(op->saved_outs >> i & 1 ? array : Py_None));
  }
  if (op->saves_out) node->out = saved.release();
  return true;
}

// The tensors around several results, with one graph node where `needs`; null as make_node says.
PyObject* record_several(OpObject* op, PyObject* const* args, PyObject* attrs, PyObject* out,
                         bool needs) {
  PyRef holder;
  if (needs) {
    holder = make_node(op, args, attrs);
    if (!holder) return nullptr;
    if (!describe_results(op, reinterpret_cast<NodeObject*>(holder.get()), out)) return nullptr;
  }
  const Py_ssize_t count = PyTuple_GET_SIZE(out);
  PyRef tensors(PyTuple_New(count));
  if (!tensors) return nullptr;
  for (Py_ssize_t i = 0; i < count; ++i) {
    PyRef tensor = wrap_result(op, holder.get(), i, PyTuple_GET_ITEM(out, i));
    if (!tensor) return nullptr;
    PyTuple_SET_ITEM(tensors.get(), i, tensor.release());
  }
  return tensors.release();
}

bool holds_arrays(PyObject* out) {
  if (!PyTuple_CheckExact(out) || PyTuple_GET_SIZE(out) > 32) return false;
  for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(out); ++i) {
    if (!PyArray_CheckExact(PyTuple_GET_ITEM(out, i))) return false;
  }
  return true;
}

// Lets a view and its source count in-place changes together, where they share memory; false with
// an error set. As tilegrad.autograd.op._share_memory.
bool share_memory(TensorObject* source, TensorObject* view, const ArrayRef& from,
                  const ArrayRef& to) {
  if (!may_overlap(from, to)) return true;
  if (!is_set(source->version)) {
    VersionObject* version = new_version();
    if (version == nullptr) return false;
    version->value = 0;
    Py_XSETREF(source->version, reinterpret_cast<PyObject*>(version));
  }
  Py_XSETREF(view->version, Py_NewRef(source->version));
  view->seen = reinterpret_cast<VersionObject*>(view->version)->value;
  PyObject* base = is_set(source->base) ? source->base : reinterpret_cast<PyObject*>(source);
  Py_XSETREF(view->base, Py_NewRef(base));
  return true;
}

// The tensor around a view of the first input. Null without an error set: the Python path has to
// raise or decide.
PyObject* record_view(OpObject* op, PyObject* const* args, PyObject* attrs, PyObject* out,
                      bool needs) {
  ArrayRef from, to;
  if (op->saves_out || !is_tensor(args[0]) || !PyArray_CheckExact(out)) return nullptr;
  if (!as_array(as_tensor(args[0])->array, from) || !as_array(out, to)) return nullptr;
  PyRef view(needs && is_floating(out) ? record(op, args, attrs, out)
                                       : reinterpret_cast<PyObject*>(new_tensor(out)));
  if (!view || !share_memory(as_tensor(args[0]), as_tensor(view.get()), from, to)) return nullptr;
  return view.release();
}

PyObject* record_slow(OpObject* op, PyObject* const* args, PyObject* attrs, PyObject* out,
                      bool needs) {
  const PyRef inputs(PyTuple_New(op->arity));
  if (!inputs) return nullptr;
  for (int i = 0; i < op->arity; ++i) PyTuple_SET_ITEM(inputs.get(), i, Py_NewRef(args[i]));
  return PyObject_CallMethodObjArgs(reinterpret_cast<PyObject*>(op), record_text, inputs.get(),
                                    attrs, out, needs ? Py_True : Py_False, nullptr);
}

PyObject* op_call(PyObject* self, PyObject* const* args, size_t nargsf, PyObject* kwnames) {
  OpObject* op = as_op(self);
  const Py_ssize_t nargs = PyVectorcall_NARGS(nargsf);
  const Py_ssize_t names = kwnames != nullptr ? PyTuple_GET_SIZE(kwnames) : 0;
  if (observer != nullptr) return call_packed(observer, self, args, nargs, kwnames);
  if (op->arity < 0 || nargs < op->arity || nargs + names > kMaxCall) {
    return call_slow(self, args, nargs, kwnames);
  }
  PyObject* values[kMaxCall + 1];  // one place before the arguments, as vectorcall offers
  PyObject** arrays = values + 1;
  const Scan scan = scan_inputs(op, args, arrays);
  if (scan.slow) return call_slow(self, args, nargs, kwnames);
  for (Py_ssize_t i = op->arity; i < nargs + names; ++i) arrays[i] = args[i];
  const size_t flags = static_cast<size_t>(nargs) | PY_VECTORCALL_ARGUMENTS_OFFSET;
  if (!scan.tensors) {
    if (names > 0) return call_slow(self, args, nargs, kwnames);
    PyObject* out = PyObject_Vectorcall(op->forward, arrays, flags, kwnames);
    return out != nullptr ? out : name_failure(self, arrays, nargs);
  }
  PyRef attrs;
  if (nargs == op->arity && names == 0) {
    attrs = PyRef::borrow(op->defaults);
  } else {
    attrs = PyRef(bind_attributes(op, args, nargs, kwnames));
    if (!attrs) {
      if (PyErr_Occurred()) return nullptr;
      return call_slow(self, args, nargs, kwnames);
    }
  }
  PyRef out(PyObject_Vectorcall(op->forward, arrays, flags, kwnames));
  if (!out) return name_failure(self, arrays, nargs + names);
  const bool needs = scan.gradient && grad_enabled && !op->discrete;
  PyObject* result = nullptr;
  if (op->view) {
    result = record_view(op, args, attrs.get(), out.get(), needs);
  } else if (holds_arrays(out.get())) {
    result = record_several(op, args, attrs.get(), out.get(), needs);
  } else if (PyArray_CheckExact(out.get())) {
    if (!needs || !is_floating(out.get())) {
      return reinterpret_cast<PyObject*>(new_tensor(out.get()));
    }
    result = record(op, args, attrs.get(), out.get());
  }
  if (result != nullptr || PyErr_Occurred()) return result;
  return record_slow(op, args, attrs.get(), out.get(), scan.gradient);
}

// ---- the type -----------------------------------------------------------------------------------
PyObject* op_new(PyTypeObject* type, PyObject*, PyObject*) {
  // Python 3.11 does not pass the vectorcall flag on to classes written in Python.
  if (!(type->tp_flags & Py_TPFLAGS_HAVE_VECTORCALL)) type->tp_flags |= Py_TPFLAGS_HAVE_VECTORCALL;
  PyObject* self = type->tp_alloc(type, 0);
  if (self != nullptr) as_op(self)->vectorcall = op_call;
  return self;
}

int op_traverse(PyObject* object, visitproc visit, void* arg) {
  OpObject* self = as_op(object);
  Py_VISIT(self->forward);
  Py_VISIT(self->defaults);
  Py_VISIT(self->attributes);
  Py_VISIT(self->rules);
  Py_VISIT(self->dict);
  return 0;
}

int op_clear(PyObject* object) {
  OpObject* self = as_op(object);
  Py_CLEAR(self->forward);
  Py_CLEAR(self->defaults);
  Py_CLEAR(self->attributes);
  Py_CLEAR(self->rules);
  Py_CLEAR(self->dict);
  return 0;
}

void op_dealloc(PyObject* object) {
  PyObject_GC_UnTrack(object);
  if (as_op(object)->weak_references != nullptr) PyObject_ClearWeakRefs(object);
  op_clear(object);
  Py_TYPE(object)->tp_free(object);
}

// As a class attribute an operation is a method: Tensor.exp = exp.
PyObject* op_get(PyObject* self, PyObject* instance, PyObject*) {
  return is_set(instance) ? PyMethod_New(self, instance) : Py_NewRef(self);
}

PyMemberDef op_members[] = {
    {"forward", T_OBJECT_EX, offsetof(OpObject, forward), 0, "the function on arrays"},
    {"defaults", T_OBJECT_EX, offsetof(OpObject, defaults), 0, "defaults of the attributes"},
    {"attributes", T_OBJECT_EX, offsetof(OpObject, attributes), 0, "names of the attributes"},
    {"_native_rules", T_OBJECT, offsetof(OpObject, rules), 0, nullptr},
    {"arity", T_INT, offsetof(OpObject, arity), 0, "number of inputs, -1 for any"},
    {"_promotes", T_BOOL, offsetof(OpObject, promotes), 0, nullptr},
    {"discrete", T_BOOL, offsetof(OpObject, discrete), 0, "no gradient, by nature"},
    {"view", T_BOOL, offsetof(OpObject, view), 0, "the result may share memory"},
    {"saves_out", T_BOOL, offsetof(OpObject, saves_out), 0, "a rule uses the result"},
    {"saves_inputs", T_BOOL, offsetof(OpObject, saves_inputs), 0, "a rule uses an input"},
    {"_saved_bits", T_UINT, offsetof(OpObject, saved_inputs), 0, nullptr},
    {"_saved_out_bits", T_UINT, offsetof(OpObject, saved_outs), 0, nullptr},
    {"_rule_bits", T_UINT, offsetof(OpObject, with_rule), 0, nullptr},
    {"__dictoffset__", T_PYSSIZET, offsetof(OpObject, dict), READONLY, nullptr},
    {nullptr, 0, 0, 0, nullptr}};

PyGetSetDef op_getset[] = {
    {"__dict__", PyObject_GenericGetDict, PyObject_GenericSetDict, nullptr, nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr}};

PyTypeObject op_base_type =
    make_type("tilegrad._native.OpBase", sizeof(OpObject),
              Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_HAVE_VECTORCALL |
                  Py_TPFLAGS_METHOD_DESCRIPTOR);

void finish_types() {
  op_base_type.tp_new = op_new;
  op_base_type.tp_call = PyVectorcall_Call;
  op_base_type.tp_vectorcall_offset = offsetof(OpObject, vectorcall);
  op_base_type.tp_descr_get = op_get;
  op_base_type.tp_members = op_members;
  op_base_type.tp_getset = op_getset;
  op_base_type.tp_dictoffset = offsetof(OpObject, dict);
  op_base_type.tp_weaklistoffset = offsetof(OpObject, weak_references);
  op_base_type.tp_traverse = op_traverse;
  op_base_type.tp_clear = op_clear;
  op_base_type.tp_dealloc = op_dealloc;
}

const ModuleInit init([](pybind11::module_& module) {
  finish_types();
  call_text = PyUnicode_InternFromString("_call");
  record_text = PyUnicode_InternFromString("_record");
  if (PyType_Ready(&op_base_type) < 0 ||
      PyModule_AddObjectRef(module.ptr(), "OpBase", reinterpret_cast<PyObject*>(&op_base_type)) <
          0) {
    throw pybind11::error_already_set();
  }
  module.def(
      "set_op_observer",
      [](const pybind11::object& function) {
        PyObject* before = observer;
        observer = function.is_none() ? nullptr : Py_NewRef(function.ptr());
        return before != nullptr ? pybind11::reinterpret_steal<pybind11::object>(before)
                                 : pybind11::object(pybind11::none());
      },
      "Call function(op, args, kwargs) in place of every operation of this thread, or stop with "
      "None; the previous one.");
});

}  // namespace

bool operations_are_watched() { return observer != nullptr; }

PyObject* native_rules(PyObject* op) {
  if (!PyObject_TypeCheck(op, &op_base_type)) return nullptr;
  PyObject* rules = as_op(op)->rules;
  return rules == Py_None ? nullptr : rules;
}

}  // namespace tilegrad::bindings
