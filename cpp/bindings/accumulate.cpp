// Gradients arriving at their leaves: what tilegrad.autograd.engine._accumulate does, for plain
// arrays that nobody watches.
#include "bindings/graph.h"
#include "bindings/module.h"
#include "bindings/numpy.h"

namespace tilegrad::bindings {
namespace {

// Whether nothing else holds the array of `entry`, so that a tensor may take it over.
bool is_sole_owner(PyObject* entry) {
  PyObject* g = PyTuple_GET_ITEM(entry, 1);
  if (PyTuple_GET_ITEM(entry, 2) == Py_True) return true;
  auto* array = reinterpret_cast<PyArrayObject*>(g);
  return Py_REFCNT(g) == 1 && PyArray_BASE(array) == nullptr && PyArray_ISWRITEABLE(array);
}

// Adds the gradient of an entry of Pass::leaves to its leaf; false for what is not plain.
bool accumulate(PyObject* entry) {
  TensorObject* leaf = as_tensor(PyTuple_GET_ITEM(entry, 0));
  PyObject* g = PyTuple_GET_ITEM(entry, 1);
  if (is_set(leaf->hooks) || !PyArray_CheckExact(g)) return false;
  if (is_set(leaf->grad)) {
    TensorObject* before = as_tensor(leaf->grad);
    if (!is_tensor(leaf->grad) || before->requires_grad) return false;
    checked(PyNumber_InPlaceAdd(before->array, g));
    return true;
  }
  PyRef array = is_sole_owner(entry)
                    ? PyRef::borrow(g)
                    : checked(PyArray_NewCopy(reinterpret_cast<PyArrayObject*>(g), NPY_CORDER));
  PyObject* tensor = reinterpret_cast<PyObject*>(new_tensor(array.get()));
  if (tensor == nullptr) fail();
  Py_XSETREF(leaf->grad, tensor);
  return true;
}

// Adds up [(leaf, gradient, owned)] where that is plain; the rest of the list is left.
void accumulate_gradients(const pybind11::list& arrived) {
  try {
    for (Py_ssize_t i = PyList_GET_SIZE(arrived.ptr()); i-- > 0;) {
      if (accumulate(PyList_GET_ITEM(arrived.ptr(), i)) &&
          PyList_SetSlice(arrived.ptr(), i, i + 1, nullptr) < 0) {
        fail();
      }
    }
  } catch (const PythonError&) {
    throw pybind11::error_already_set();
  }
}

const ModuleInit init([](pybind11::module_& module) {
  module.def("accumulate_gradients", accumulate_gradients);
});

}  // namespace
}  // namespace tilegrad::bindings
