// The graph that operations leave behind, as the backward pass sees it.
#pragma once

#include <utility>
#include <vector>

#include "bindings/autograd.h"

namespace tilegrad::bindings {

inline bool is_node(PyObject* edge) { return Py_TYPE(edge) == node_class; }
inline bool is_output(PyObject* edge) { return Py_TYPE(edge) == output_class; }
inline NodeObject* as_node(PyObject* object) { return reinterpret_cast<NodeObject*>(object); }

[[noreturn]] inline void fail() { throw PythonError(); }

// The result of a call of Python's, which must not have failed.
inline PyRef checked(PyObject* result) {
  if (result == nullptr) fail();
  return PyRef(result);
}

// The node or leaf behind an edge, borrowed from it, and which of its results the edge is.
std::pair<PyObject*, size_t> resolve(PyObject* edge);

// Every node that `edges` lead to, earliest first.
std::vector<PyObject*> nodes_behind(const std::vector<PyObject*>& edges);

}  // namespace tilegrad::bindings
