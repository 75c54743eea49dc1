// Checking what a recorded step took for granted; python/tilegrad/program/guards.py says what.
//
// Some hundred references stand before every replay of a small network: in Python their check costs
// as much as the replay.
#include "bindings/autograd.h"
#include "bindings/module.h"

namespace tilegrad::bindings {
namespace {

namespace py = pybind11;

// How the first part of a reference (kind, container, key, value) is to be read.
enum Kind : long { kDict, kCell, kLength };

PyObject* item(const PyObject* tuple, Py_ssize_t i) {
  return PyTuple_GET_ITEM(const_cast<PyObject*>(tuple), i);
}

// What a reference leads to now, borrowed; null where there is nothing any more.
PyObject* look_up(long kind, PyObject* container, PyObject* key) {
  if (kind == kCell) return PyCell_GET(container);
  return PyDict_GetItemWithError(container, key);
}

bool is_same(PyObject* now, PyObject* then) {
  if (now == then) return true;
  if (now == nullptr || Py_TYPE(now) != Py_TYPE(then)) return false;
  const PyRef held = PyRef::borrow(now);
  return PyObject_RichCompareBool(now, then, Py_EQ) == 1;
}

bool reference_holds(PyObject* reference, bool by_value) {
  const long kind = PyLong_AsLong(item(reference, 0));
  PyObject *container = item(reference, 1), *value = item(reference, 3);
  if (kind == kLength) return PyObject_Size(container) == PyLong_AsSsize_t(value);
  PyObject* now = look_up(kind, container, item(reference, 2));
  return by_value ? is_same(now, value) : now == value;
}

bool references_hold(const py::tuple& references, bool by_value) {
  for (const py::handle reference : references) {
    if (!reference_holds(reference.ptr(), by_value)) {
      PyErr_Clear();  // a comparison that raised says that things have changed
      return false;
    }
  }
  return true;
}

// Triples of a tensor, its array, and whether it requires a gradient.
bool tensors_hold(const py::tuple& captured) {
  for (const py::handle entry : captured) {
    const TensorObject* tensor = as_tensor(item(entry.ptr(), 0));
    if (tensor->array != item(entry.ptr(), 1)) return false;
    if ((tensor->requires_grad != 0) != (item(entry.ptr(), 2) == Py_True)) return false;
  }
  return true;
}

bool without_gradients(const py::tuple& leaves) {
  for (const py::handle leaf : leaves) {
    if (is_set(as_tensor(leaf.ptr())->grad)) return false;
  }
  return true;
}

// ---- gradients that replays hand out
// -------------------------------------------------------------- Entries are (leaf, the tensor that
// becomes its grad, that tensor's array), kept in a tuple.

// Whether nobody but the program and the leaves holds the tensors and arrays.
bool gradients_unshared(const py::tuple& entries) {
  constexpr Py_ssize_t kTensorHolders = 2;  // the step and the entry; perhaps the leaf as well
  constexpr Py_ssize_t kArrayHolders = 3;   // these two and the tensor
  for (const py::handle entry : entries) {
    const TensorObject* leaf = as_tensor(item(entry.ptr(), 0));
    PyObject *shared = item(entry.ptr(), 1), *array = item(entry.ptr(), 2);
    const Py_ssize_t held = leaf->grad == shared ? 1 : 0;
    if (Py_REFCNT(shared) > kTensorHolders + held || Py_REFCNT(array) > kArrayHolders ||
        as_tensor(shared)->array != array) {
      return false;
    }
  }
  return true;
}

void hand_gradients(const py::tuple& entries) {
  for (const py::handle entry : entries) {
    TensorObject* leaf = as_tensor(item(entry.ptr(), 0));
    Py_XSETREF(leaf->grad, Py_NewRef(item(entry.ptr(), 1)));
  }
}

const ModuleInit init([](py::module_& module) {
  module.def("gradients_unshared", gradients_unshared);
  module.def("hand_gradients", hand_gradients);
  module.def("references_hold", references_hold, py::arg("references"), py::arg("by_value"),
             "Whether (kind, container, key, value) tuples still say the truth.");
  module.def("tensors_hold", tensors_hold);
  module.def("without_gradients", without_gradients);
});

}  // namespace
}  // namespace tilegrad::bindings
