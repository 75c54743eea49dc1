// The Python type behind every kernel: calls the native implementation, or else the NumPy twin.
#include "bindings/kernel.h"

#include <structmember.h>

#include <cstddef>
#include <cstring>
#include <vector>

#include "bindings/module.h"

namespace tilegrad::bindings {

thread_local const CallObserver* call_observer = nullptr;

namespace {

PyObject declined_object{};  // never counted, never seen by Python

std::vector<KernelRow>& rows() {
  static std::vector<KernelRow> table;
  return table;
}

NativeFunction find_native(const char* name) {
  for (const KernelRow& row : rows()) {
    if (std::strcmp(row.name, name) == 0) return row.function;
  }
  return nullptr;
}

struct KernelObject {
  PyObject_HEAD vectorcallfunc vectorcall;
  NativeFunction native;
  PyObject* twin;
  PyObject* attributes;  // __name__, __doc__, ...: the instance's __dict__
  PyObject* weak_references;
};

PyObject* dispatch_hook = nullptr;  // called instead of every kernel while set

PyObject* failure_namer = nullptr;  // (error, callee, arguments) -> the error to raise

// Native where there is one that takes these arguments, or else the twin.
PyObject* call_direct(KernelObject* self, PyObject* const* args, size_t nargsf, PyObject* kwnames) {
  PyObject* result = kDeclined;
  const Py_ssize_t nargs = PyVectorcall_NARGS(nargsf);
  if (self->native != nullptr) result = self->native(args, nargs, kwnames);
  if (result == kDeclined) result = PyObject_Vectorcall(self->twin, args, nargsf, kwnames);
  if (result != nullptr) return result;
  const Py_ssize_t names = kwnames != nullptr ? PyTuple_GET_SIZE(kwnames) : 0;
  return name_failure(reinterpret_cast<PyObject*>(self), args, nargs + names);
}

PyObject* kernel_call(PyObject* object, PyObject* const* args, size_t nargsf, PyObject* kwnames) {
  auto* self = reinterpret_cast<KernelObject*>(object);
  if (dispatch_hook != nullptr) {
    return call_packed(dispatch_hook, object, args, PyVectorcall_NARGS(nargsf), kwnames);
  }
  return call_direct(self, args, nargsf, kwnames);
}

PyObject* kernel_new(PyTypeObject* type, PyObject* args, PyObject* kwargs) {
  PyObject* twin;
  static const char* names[] = {"twin", nullptr};
  if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O:Kernel", const_cast<char**>(names), &twin)) {
    return nullptr;
  }
  const PyRef name(PyObject_GetAttrString(twin, "__name__"));
  const char* text = name ? PyUnicode_AsUTF8(name.get()) : nullptr;
  if (text == nullptr) return nullptr;
  PyRef attributes(PyDict_New());
  if (!attributes || PyDict_SetItemString(attributes.get(), "__wrapped__", twin) < 0) {
    return nullptr;
  }
  for (const char* key : {"__name__", "__qualname__", "__doc__", "__module__", "__annotations__"}) {
    const PyRef value(PyObject_GetAttrString(twin, key));
    if (!value || PyDict_SetItemString(attributes.get(), key, value.get()) < 0) return nullptr;
  }
  auto* self = reinterpret_cast<KernelObject*>(type->tp_alloc(type, 0));
  if (self == nullptr) return nullptr;
  self->vectorcall = kernel_call;
  self->native = find_native(text);
  self->twin = Py_NewRef(twin);
  self->attributes = attributes.release();
  return reinterpret_cast<PyObject*>(self);
}

int kernel_traverse(PyObject* object, visitproc visit, void* arg) {
  auto* self = reinterpret_cast<KernelObject*>(object);
  Py_VISIT(self->twin);
  Py_VISIT(self->attributes);
  Py_VISIT(Py_TYPE(object));
  return 0;
}

int kernel_clear(PyObject* object) {
  auto* self = reinterpret_cast<KernelObject*>(object);
  Py_CLEAR(self->attributes);
  Py_CLEAR(self->twin);
  return 0;
}

void kernel_dealloc(PyObject* object) {
  PyTypeObject* type = Py_TYPE(object);
  PyObject_GC_UnTrack(object);
  if (reinterpret_cast<KernelObject*>(object)->weak_references != nullptr) {
    PyObject_ClearWeakRefs(object);
  }
  kernel_clear(object);
  type->tp_free(object);
  Py_DECREF(type);
}

PyObject* kernel_repr(PyObject* object) {
  auto* self = reinterpret_cast<KernelObject*>(object);
  const PyRef name(PyObject_GetAttrString(object, "__name__"));
  if (!name) return nullptr;
  return PyUnicode_FromFormat("<%s kernel %U>", self->native != nullptr ? "native" : "NumPy",
                              name.get());
}

// Kernels are module globals: pickled and copied by name.
PyObject* kernel_reduce(PyObject* object, PyObject*) {
  return PyObject_GetAttrString(object, "__qualname__");
}

PyObject* kernel_native(PyObject* object, void*) {
  return PyBool_FromLong(reinterpret_cast<KernelObject*>(object)->native != nullptr);
}

PyObject* kernel_call_native(PyObject* object, PyObject* const* args, Py_ssize_t nargs,
                             PyObject* kwnames) {
  return call_direct(reinterpret_cast<KernelObject*>(object), args, static_cast<size_t>(nargs),
                     kwnames);
}

// As call_native, but NotImplemented where native code leaves the arguments to the twin.
PyObject* kernel_try_native(PyObject* object, PyObject* const* args, Py_ssize_t nargs,
                            PyObject* kwnames) {
  auto* self = reinterpret_cast<KernelObject*>(object);
  PyObject* result = self->native != nullptr ? self->native(args, nargs, kwnames) : kDeclined;
  return result == kDeclined ? Py_NewRef(Py_NotImplemented) : result;
}

PyObject* set_dispatch_hook(PyObject*, PyObject* hook) {
  PyObject* previous = dispatch_hook;
  dispatch_hook = hook == Py_None ? nullptr : Py_NewRef(hook);
  return previous != nullptr ? previous : Py_NewRef(Py_None);
}

PyObject* set_failure_namer(PyObject*, PyObject* namer) {
  Py_XSETREF(failure_namer, Py_NewRef(namer));
  Py_RETURN_NONE;
}

template <class Function>
void* slot(Function* function) {
  return reinterpret_cast<void*>(function);
}

PyMemberDef kernel_members[] = {
    {"twin", T_OBJECT_EX, offsetof(KernelObject, twin), READONLY, "the NumPy twin"},
    {"__dictoffset__", T_PYSSIZET, offsetof(KernelObject, attributes), READONLY, nullptr},
    {"__weaklistoffset__", T_PYSSIZET, offsetof(KernelObject, weak_references), READONLY, nullptr},
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(KernelObject, vectorcall), READONLY, nullptr},
    {nullptr, 0, 0, 0, nullptr}};

PyGetSetDef kernel_getset[] = {
    {"native", kernel_native, nullptr, "whether a native implementation exists", nullptr},
    {"__dict__", PyObject_GenericGetDict, PyObject_GenericSetDict, nullptr, nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr}};

PyMethodDef kernel_methods[] = {
    {"call_native", reinterpret_cast<PyCFunction>(slot(kernel_call_native)),
     METH_FASTCALL | METH_KEYWORDS, "Call past the dispatch hook."},
    {"try_native", reinterpret_cast<PyCFunction>(slot(kernel_try_native)),
     METH_FASTCALL | METH_KEYWORDS,
     "The native result, or NotImplemented where the arguments are left to the twin."},
    {"__reduce__", kernel_reduce, METH_NOARGS, nullptr},
    {nullptr, nullptr, 0, nullptr}};

PyType_Slot kernel_slots[] = {
    {Py_tp_new, slot(kernel_new)},           {Py_tp_dealloc, slot(kernel_dealloc)},
    {Py_tp_traverse, slot(kernel_traverse)}, {Py_tp_clear, slot(kernel_clear)},
    {Py_tp_repr, slot(kernel_repr)},         {Py_tp_call, slot(PyVectorcall_Call)},
    {Py_tp_members, kernel_members},         {Py_tp_getset, kernel_getset},
    {Py_tp_methods, kernel_methods},         {0, nullptr}};

PyType_Spec kernel_spec = {"tilegrad._native.Kernel", sizeof(KernelObject), 0,
                           Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_HAVE_VECTORCALL,
                           kernel_slots};

PyMethodDef hook_method = {"set_dispatch_hook", set_dispatch_hook, METH_O,
                           "Call hook(kernel, args, kwargs) in place of every kernel, or stop with "
                           "None; the previous hook."};

PyMethodDef namer_method = {"set_failure_namer", set_failure_namer, METH_O,
                            "Raise namer(error, callee, arguments) in place of every error that "
                            "leaves a kernel or an operation."};

const ModuleInit init([](pybind11::module_& module) {
  const PyRef type(PyType_FromSpec(&kernel_spec));
  const PyRef function(PyCFunction_New(&hook_method, nullptr));
  const PyRef namer(PyCFunction_New(&namer_method, nullptr));
  if (!type || !function || !namer ||
      PyModule_AddObjectRef(module.ptr(), "Kernel", type.get()) < 0 ||
      PyModule_AddObjectRef(module.ptr(), "set_dispatch_hook", function.get()) < 0 ||
      PyModule_AddObjectRef(module.ptr(), "set_failure_namer", namer.get()) < 0) {
    throw pybind11::error_already_set();
  }
});

}  // namespace

PyObject* const kDeclined = &declined_object;

Kernels::Kernels(std::initializer_list<KernelRow> added) {
  rows().insert(rows().end(), added.begin(), added.end());
}

PyObject* name_failure(PyObject* callee, PyObject* const* args, Py_ssize_t count) {
  if (failure_namer == nullptr) return nullptr;
  PyObject *type, *error, *trace;
  PyErr_Fetch(&type, &error, &trace);
  PyErr_NormalizeException(&type, &error, &trace);
  if (trace != nullptr) PyException_SetTraceback(error, trace);
  const PyRef values(PyTuple_New(count));
  if (values) {
    for (Py_ssize_t i = 0; i < count; ++i) PyTuple_SET_ITEM(values.get(), i, Py_NewRef(args[i]));
    PyRef told(PyObject_CallFunctionObjArgs(failure_namer, error, callee, values.get(), nullptr));
    if (told) {
      Py_SETREF(type, Py_NewRef(reinterpret_cast<PyObject*>(Py_TYPE(told.get()))));
      Py_SETREF(error, told.release());
    }
  }
  PyErr_Restore(type, error, trace);
  return nullptr;
}

bool kernels_are_watched() { return dispatch_hook != nullptr; }

bool poll_signals() {
  const PyGILState_STATE state = PyGILState_Ensure();
  const bool raised = PyErr_CheckSignals() != 0;
  PyGILState_Release(state);
  return raised;
}

}  // namespace tilegrad::bindings
