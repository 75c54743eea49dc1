#include "bindings/graph.h"

#include <algorithm>
#include <unordered_set>

#include "bindings/module.h"

namespace tilegrad::bindings {

std::pair<PyObject*, size_t> resolve(PyObject* edge) {
  static PyObject* const node_text = PyUnicode_InternFromString("node");
  static PyObject* const index_text = PyUnicode_InternFromString("index");
  if (!is_output(edge)) return {edge, 0};
  const PyRef node = checked(PyObject_GetAttr(edge, node_text));
  const PyRef index = checked(PyObject_GetAttr(edge, index_text));
  return {node.get(), PyLong_AsSize_t(index.get())};  // the edge keeps the node alive
}

std::vector<PyObject*> nodes_behind(const std::vector<PyObject*>& edges) {
  std::vector<PyObject*> stack, found;
  std::unordered_set<PyObject*> seen;
  const auto push = [&](PyObject* edge) {
    if (edge == Py_None) return;
    PyObject* object = resolve(edge).first;
    if (is_node(object) && seen.insert(object).second) {
      stack.push_back(object);
      found.push_back(object);
    }
  };
  for (PyObject* edge : edges) push(edge);
  while (!stack.empty()) {
    PyObject* next = as_node(stack.back())->edges;
    stack.pop_back();
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(next); ++i) push(PyTuple_GET_ITEM(next, i));
  }
  std::sort(found.begin(), found.end(),
            [](PyObject* a, PyObject* b) { return as_node(a)->sequence < as_node(b)->sequence; });
  return found;
}

namespace {

// A list of the nodes that a tuple of edges leads to, earliest first.
pybind11::list reachable(const pybind11::tuple& roots) {
  std::vector<PyObject*> edges;
  for (const pybind11::handle edge : roots) edges.push_back(edge.ptr());
  pybind11::list nodes;
  for (PyObject* node : nodes_behind(edges)) nodes.append(pybind11::handle(node));
  return nodes;
}

const ModuleInit init([](pybind11::module_& module) { module.def("reachable", reachable); });

}  // namespace
}  // namespace tilegrad::bindings
