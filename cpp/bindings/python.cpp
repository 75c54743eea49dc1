#include "bindings/python.h"

#include <new>

namespace tilegrad::bindings {

void set_error_from_exception() noexcept {
  try {
    throw;
  } catch (const PythonError&) {
  } catch (const TypeError& error) {
    PyErr_SetString(PyExc_TypeError, error.what());
  } catch (const std::bad_alloc&) {
    PyErr_NoMemory();
  } catch (const std::overflow_error& error) {
    PyErr_SetString(PyExc_OverflowError, error.what());
  } catch (const std::out_of_range& error) {
    PyErr_SetString(PyExc_IndexError, error.what());
  } catch (const std::invalid_argument& error) {
    PyErr_SetString(PyExc_ValueError, error.what());
  } catch (const std::exception& error) {
    PyErr_SetString(PyExc_RuntimeError, error.what());
  }
}

PyObject* call_packed(PyObject* function, PyObject* self, PyObject* const* args, Py_ssize_t nargs,
                      PyObject* kwnames) {
  const PyRef positional(PyTuple_New(nargs));
  const PyRef named(PyDict_New());
  if (!positional || !named) return nullptr;
  for (Py_ssize_t i = 0; i < nargs; ++i) {
    PyTuple_SET_ITEM(positional.get(), i, Py_NewRef(args[i]));
  }
  const Py_ssize_t names = kwnames != nullptr ? PyTuple_GET_SIZE(kwnames) : 0;
  for (Py_ssize_t i = 0; i < names; ++i) {
    PyObject* name = PyTuple_GET_ITEM(kwnames, i);
    if (PyDict_SetItem(named.get(), name, args[nargs + i]) < 0) return nullptr;
  }
  const PyRef held = PyRef::borrow(function);  // it may take itself out of its place
  return PyObject_CallFunctionObjArgs(held.get(), self, positional.get(), named.get(), nullptr);
}

std::string shape_text(const int64_t* shape, int ndim) {
  std::string text = "(";
  for (int i = 0; i < ndim; ++i) {
    text += std::to_string(shape[i]);
    if (i + 1 < ndim || ndim == 1) text += i + 1 < ndim ? ", " : ",";
  }
  return text + ")";
}

}  // namespace tilegrad::bindings
