// Tensor.__mul__ and the like: NotImplemented for operands that are no numbers, else the operation.
#include <utility>

#include "bindings/autograd.h"
#include "bindings/module.h"
#include "bindings/numpy.h"

namespace tilegrad::bindings {
namespace {

struct OperatorObject {
  PyObject_HEAD vectorcallfunc vectorcall;
  PyObject* function;
  char reflected;
};

PyTypeObject operator_type = make_type("tilegrad._native.Operator", sizeof(OperatorObject),
                                       Py_TPFLAGS_HAVE_VECTORCALL | Py_TPFLAGS_METHOD_DESCRIPTOR);

bool is_operand(PyObject* value) {
  return is_tensor(value) || PyFloat_Check(value) || PyLong_Check(value) || PyArray_Check(value) ||
         PyArray_CheckScalar(value);
}

PyObject* operator_call(PyObject* object, PyObject* const* args, size_t nargsf, PyObject* kwnames) {
  auto* self = reinterpret_cast<OperatorObject*>(object);
  const Py_ssize_t nargs = PyVectorcall_NARGS(nargsf);
  if (nargs < 2 || kwnames != nullptr) {
    PyErr_SetString(PyExc_TypeError, "an operator takes two operands");
    return nullptr;
  }
  if (!is_operand(args[1])) Py_RETURN_NOTIMPLEMENTED;
  PyObject* operands[3] = {nullptr, args[0], args[1]};
  if (self->reflected) std::swap(operands[1], operands[2]);
  return PyObject_Vectorcall(self->function, operands + 1, 2 | PY_VECTORCALL_ARGUMENTS_OFFSET,
                             nullptr);
}

PyObject* operator_new(PyTypeObject* type, PyObject* args, PyObject* kwargs) {
  static const char* names[] = {"function", "reflected", nullptr};
  PyObject* function;
  int reflected = 0;
  if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|p:Operator", const_cast<char**>(names),
                                   &function, &reflected)) {
    return nullptr;
  }
  auto* self = reinterpret_cast<OperatorObject*>(type->tp_alloc(type, 0));
  if (self == nullptr) return nullptr;
  self->vectorcall = operator_call;
  self->function = Py_NewRef(function);
  self->reflected = static_cast<char>(reflected);
  return reinterpret_cast<PyObject*>(self);
}

void operator_dealloc(PyObject* object) {
  Py_XDECREF(reinterpret_cast<OperatorObject*>(object)->function);
  Py_TYPE(object)->tp_free(object);
}

// As a class attribute an operator is a method.
PyObject* operator_get(PyObject* self, PyObject* instance, PyObject*) {
  return is_set(instance) ? PyMethod_New(self, instance) : Py_NewRef(self);
}

const ModuleInit init([](pybind11::module_& module) {
  operator_type.tp_new = operator_new;
  operator_type.tp_call = PyVectorcall_Call;
  operator_type.tp_vectorcall_offset = offsetof(OperatorObject, vectorcall);
  operator_type.tp_descr_get = operator_get;
  operator_type.tp_dealloc = operator_dealloc;
  auto* type = reinterpret_cast<PyObject*>(&operator_type);
  if (PyType_Ready(&operator_type) < 0 ||
      PyModule_AddObjectRef(module.ptr(), "Operator", type) < 0) {
    throw pybind11::error_already_set();
  }
});

}  // namespace
}  // namespace tilegrad::bindings
