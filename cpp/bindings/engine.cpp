// One backward pass: gradients wait at nodes and leaves, nodes are visited latest first.
//
// What is common runs here without a Python frame but the rule's own: single results, plain arrays,
// gradients that fit their edge. The rest is asked of tilegrad.autograd.engine and of Op.pull:
// recorded passes, forward-mode tangents, several results, un-broadcasting, hooks, freed or changed
// values (which raise there).
#include <unordered_map>
#include <vector>

#include "bindings/graph.h"
#include "bindings/module.h"
#include "bindings/numpy.h"
#include "bindings/op.h"

namespace tilegrad::bindings {
namespace {

struct Names {
  PyObject *fit, *add, *add_into, *pull, *call_hooks;
};
Names names;

// The Python side, tilegrad.autograd.engine, set once.
PyObject* helpers = nullptr;
PyObject* freed = nullptr;  // tilegrad.autograd.node.FREED

bool is_plain(PyObject* g) { return PyArray_CheckExact(g); }

// A gradient that waits; `owned` if this pass allocated it, so that more can be added in place.
struct Waiting {
  PyRef gradient;
  bool owned = false;
};

struct Place {
  PyRef object;                // a node or a leaf tensor
  std::vector<Waiting> parts;  // one per result
  bool wanted = false;         // one of the targets: the gradient is kept
  bool on_path = true;         // leads to a target
};

class Pass {
 public:
  Pass(bool create_graph, bool retain_graph, bool to_targets)
      : create_graph_(create_graph), retain_graph_(retain_graph), to_targets_(to_targets) {}

  void collect(PyObject* roots);
  void want(PyObject* targets);
  void deposit(PyObject* edge, PyObject* g);
  void run();
  PyRef gradients_of(PyObject* targets) const;
  PyRef leaves() const;

 private:
  Place* find(PyObject* object);
  PyRef fit(PyRef g, PyObject* edge) const;
  bool needed(PyObject* edge);
  void visit(Place& place);
  PyRef take(Place& place, size_t index) const;
  PyRef collect_gradient(Place& place) const;
  bool pull_natively(NodeObject* node, PyObject* g);
  PyRef argument(NodeObject* node, Py_ssize_t position, PyObject* source, PyObject* g);
  PyRef apply_rule(NodeObject* node, Py_ssize_t position, PyObject* rule, PyObject* g);
  void pull_in_python(NodeObject* node, PyObject* g);

  bool create_graph_, retain_graph_, to_targets_;
  std::vector<Place> nodes_;   // earliest first
  std::vector<Place> leaves_;  // in the order their first gradient arrived
  std::unordered_map<PyObject*, size_t> node_index_, leaf_index_;
};

Place* Pass::find(PyObject* object) {
  if (is_node(object)) {
    const auto found = node_index_.find(object);
    return found == node_index_.end() ? nullptr : &nodes_[found->second];
  }
  const auto [found, added] = leaf_index_.try_emplace(object, leaves_.size());
  if (added) {
    leaves_.emplace_back();
    leaves_.back().object = PyRef::borrow(object);
    leaves_.back().parts.resize(1);
  }
  return &leaves_[found->second];
}

void Pass::collect(PyObject* roots) {
  std::vector<PyObject*> edges;
  for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(roots); ++i) {
    edges.push_back(PyTuple_GET_ITEM(PyTuple_GET_ITEM(roots, i), 0));
  }
  const std::vector<PyObject*> found = nodes_behind(edges);
  nodes_.resize(found.size());
  node_index_.reserve(found.size());
  for (size_t i = 0; i < found.size(); ++i) {
    Place& place = nodes_[i];
    place.object = PyRef::borrow(found[i]);
    PyObject* dtype = as_node(found[i])->dtype;
    place.parts.resize(PyTuple_Check(dtype) ? static_cast<size_t>(PyTuple_GET_SIZE(dtype)) : 1);
    node_index_.emplace(found[i], i);
  }
}

void Pass::want(PyObject* targets) {
  for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(targets); ++i) {
    Place* place = find(resolve(PyTuple_GET_ITEM(targets, i)).first);
    if (place != nullptr) place->wanted = true;
  }
  for (Place& place : nodes_) {
    PyObject* edges = as_node(place.object.get())->edges;
    place.on_path = false;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(edges) && !place.on_path; ++i) {
      place.on_path = needed(PyTuple_GET_ITEM(edges, i));
    }
  }
}

// Whether gradients along `edge` are asked for.
bool Pass::needed(PyObject* edge) {
  if (edge == Py_None) return false;
  if (!to_targets_) return true;
  PyObject* object = resolve(edge).first;
  if (is_node(object)) {
    const Place* place = find(object);
    return place != nullptr && (place->on_path || place->wanted);
  }
  const auto found = leaf_index_.find(object);
  return found != leaf_index_.end() && leaves_[found->second].wanted;
}

bool same_shape(PyArrayObject* array, PyObject* shape) {
  const int ndim = PyArray_NDIM(array);
  if (PyTuple_GET_SIZE(shape) != ndim) return false;
  for (int i = 0; i < ndim; ++i) {
    if (PyLong_AsSsize_t(PyTuple_GET_ITEM(shape, i)) != PyArray_DIM(array, i)) return false;
  }
  return true;
}

// `g` in the shape and dtype of `edge`.
PyRef Pass::fit(PyRef g, PyObject* edge) const {
  if (is_plain(g.get())) {
    auto* array = reinterpret_cast<PyArrayObject*>(g.get());
    if (is_node(edge)) {
      const auto* descr = reinterpret_cast<PyObject*>(PyArray_DESCR(array));
      if (as_node(edge)->dtype == descr && same_shape(array, as_node(edge)->shape)) return g;
    } else if (is_tensor(edge)) {
      auto* own = reinterpret_cast<PyArrayObject*>(as_tensor(edge)->array);
      if (PyArray_DESCR(own) == PyArray_DESCR(array) && PyArray_SAMESHAPE(own, array)) return g;
    }
  }
  return checked(PyObject_CallMethodObjArgs(helpers, names.fit, g.get(), edge, nullptr));
}

void Pass::deposit(PyObject* edge, PyObject* gradient) {
  PyRef g = fit(PyRef::borrow(gradient), edge);
  const auto [object, index] = resolve(edge);
  Place* place = find(object);
  if (place == nullptr) return;
  Waiting& waiting = place->parts[index];
  if (!waiting.gradient) {
    waiting.gradient = std::move(g);
    return;
  }
  PyRef before = std::move(waiting.gradient);
  if (waiting.owned && is_plain(before.get()) && is_plain(g.get())) {
    checked(PyObject_CallMethodObjArgs(helpers, names.add_into, before.get(), g.get(), nullptr));
    place->parts[index].gradient = std::move(before);
    return;
  }
  PyRef sum =
      checked(PyObject_CallMethodObjArgs(helpers, names.add, before.get(), g.get(), nullptr));
  place->parts[index].owned = is_plain(sum.get());
  place->parts[index].gradient = std::move(sum);
}

PyRef Pass::take(Place& place, size_t index) const {
  Waiting& waiting = place.parts[index];
  if (!waiting.gradient) return PyRef();
  PyRef g = place.wanted ? PyRef::borrow(waiting.gradient.get()) : std::move(waiting.gradient);
  PyObject* hooks = as_node(place.object.get())->hooks;
  if (is_set(hooks)) {
    const PyRef position(PyLong_FromSize_t(index));
    const bool several = PyTuple_Check(as_node(place.object.get())->dtype);
    g = checked(PyObject_CallMethodObjArgs(helpers, names.call_hooks, hooks, g.get(),
                                           several ? position.get() : Py_None, nullptr));
    if (place.wanted) waiting.gradient = PyRef::borrow(g.get());
  }
  return g;
}

// The gradient of a node's result, a tuple for several results; null if none arrived.
PyRef Pass::collect_gradient(Place& place) const {
  if (!PyTuple_Check(as_node(place.object.get())->dtype)) return take(place, 0);
  const auto count = static_cast<Py_ssize_t>(place.parts.size());
  PyRef all = checked(PyTuple_New(count));
  bool arrived = false;
  for (Py_ssize_t i = 0; i < count; ++i) {
    PyRef part = take(place, static_cast<size_t>(i));
    arrived |= static_cast<bool>(part);
    PyTuple_SET_ITEM(all.get(), i, part ? part.release() : Py_NewRef(Py_None));
  }
  return arrived ? std::move(all) : PyRef();
}

// An argument of a rule; null if the Python side has to provide it (or refuse).
PyRef Pass::argument(NodeObject* node, Py_ssize_t position, PyObject* source, PyObject* g) {
  const auto kind = static_cast<RuleSource>(PyLong_AsLong(PyTuple_GET_ITEM(source, 0)));
  PyObject* key = PyTuple_GET_ITEM(source, 1);
  switch (kind) {
    case RuleSource::kGradient:
      return PyRef::borrow(g);
    case RuleSource::kAttribute:
      return PyRef::borrow(PyDict_GetItemWithError(node->attrs, key));
    case RuleSource::kOut: {
      if (node->out == nullptr || !is_plain(node->out)) return PyRef();
      const auto* version = reinterpret_cast<VersionObject*>(node->out_version);
      return version->value == 0 ? PyRef::borrow(node->out) : PyRef();
    }
    case RuleSource::kResult: {
      if (node->out == nullptr || !PyTuple_Check(node->out)) return PyRef();
      const auto* version = reinterpret_cast<VersionObject*>(node->out_version);
      PyObject* result = PyTuple_GET_ITEM(node->out, PyLong_AsSsize_t(key));
      return version->value == 0 && is_plain(result) ? PyRef::borrow(result) : PyRef();
    }
    case RuleSource::kNeeds: {
      const Py_ssize_t count = PyTuple_GET_SIZE(key);
      PyRef needs = checked(PyTuple_New(count));
      for (Py_ssize_t i = 0; i < count; ++i) {
        const Py_ssize_t input = PyLong_AsSsize_t(PyTuple_GET_ITEM(key, i));
        const bool asked = needed(PyTuple_GET_ITEM(node->edges, input));
        PyTuple_SET_ITEM(needs.get(), i, Py_NewRef(asked ? Py_True : Py_False));
      }
      return needs;
    }
    case RuleSource::kOwnShape: {
      PyObject* edge = PyTuple_GET_ITEM(node->edges, position);
      if (is_node(edge)) return PyRef::borrow(as_node(edge)->shape);
      if (!is_tensor(edge)) return PyRef();
      auto* array = reinterpret_cast<PyArrayObject*>(as_tensor(edge)->array);
      return checked(PyArray_IntTupleFromIntp(PyArray_NDIM(array), PyArray_DIMS(array)));
    }
    case RuleSource::kInput: {
      if (!PyTuple_Check(node->inputs)) return PyRef();  // freed, or to be computed again
      const Py_ssize_t i = PyLong_AsSsize_t(key);
      PyObject* value = PyTuple_GET_ITEM(node->inputs, i);
      if (!is_tensor(value)) return PyRef::borrow(value);
      const TensorObject* tensor = as_tensor(value);
      if (is_set(tensor->tangents)) return PyRef();
      if (is_set(tensor->version)) {
        const int64_t expected =
            is_set(node->versions) ? PyLong_AsLongLong(PyTuple_GET_ITEM(node->versions, i)) : 0;
        if (reinterpret_cast<VersionObject*>(tensor->version)->value != expected) return PyRef();
      }
      return PyRef::borrow(tensor->array);
    }
  }
  return PyRef();
}

// What `rule` returns for the input at `position`; null if the Python side has to see to it.
PyRef Pass::apply_rule(NodeObject* node, Py_ssize_t position, PyObject* rule, PyObject* g) {
  PyRef held[kMaxRuleArguments];
  PyObject* arguments[kMaxRuleArguments + 1];
  const Py_ssize_t size = PyTuple_GET_SIZE(rule) - 2;
  for (Py_ssize_t k = 0; k < size; ++k) {
    held[k] = argument(node, position, PyTuple_GET_ITEM(rule, k + 2), g);
    if (!held[k]) {
      if (PyErr_Occurred()) fail();
      return PyRef();
    }
    arguments[k + 1] = held[k].get();
  }
  return checked(PyObject_Vectorcall(PyTuple_GET_ITEM(rule, 0), arguments + 1,
                                     static_cast<size_t>(size) | PY_VECTORCALL_ARGUMENTS_OFFSET,
                                     nullptr));
}

// Whether a cotangent holds arrays alone.
bool is_plain_or_several(PyObject* g) {
  if (is_plain(g)) return true;
  if (!PyTuple_CheckExact(g)) return false;
  for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(g); ++i) {
    PyObject* part = PyTuple_GET_ITEM(g, i);
    if (part != Py_None && !is_plain(part)) return false;
  }
  return true;
}

// Evaluates the rules of `node` here; false, with nothing done, if Python has to.
bool Pass::pull_natively(NodeObject* node, PyObject* g) {
  if (create_graph_ || node->tensor_mode || !is_plain_or_several(g)) return false;
  PyObject* rules = native_rules(node->op);
  if (rules == nullptr) return false;
  const Py_ssize_t count = PyTuple_GET_SIZE(node->edges);
  PyRef parts[kMaxInputs];
  if (count > kMaxInputs || PyTuple_GET_SIZE(rules) != count) return false;
  PyRef joint;                     // the result of a rule for several inputs
  PyObject* joint_rule = nullptr;  // and which one that was
  for (Py_ssize_t i = 0; i < count; ++i) {
    if (!needed(PyTuple_GET_ITEM(node->edges, i))) continue;
    PyObject* rule = PyTuple_GET_ITEM(rules, i);
    if (rule == Py_None) return false;
    PyObject* part = PyTuple_GET_ITEM(rule, 1);
    if (part == Py_None) {
      parts[i] = apply_rule(node, i, rule, g);
      if (!parts[i]) return false;
      continue;
    }
    if (joint_rule != PyTuple_GET_ITEM(rule, 0)) {
      joint = apply_rule(node, i, rule, g);
      joint_rule = PyTuple_GET_ITEM(rule, 0);
      if (!joint) return false;
    }
    parts[i] = checked(PySequence_GetItem(joint.get(), PyLong_AsSsize_t(part)));
  }
  joint = PyRef();  // a part that is handed on has one owner
  for (Py_ssize_t i = 0; i < count; ++i) {
    if (parts[i] && parts[i].get() != Py_None) {
      const PyRef part = std::move(parts[i]);
      deposit(PyTuple_GET_ITEM(node->edges, i), part.get());
    }
  }
  return true;
}

void Pass::pull_in_python(NodeObject* node, PyObject* g) {
  PyRef positions = checked(PyList_New(0));
  const Py_ssize_t count = PyTuple_GET_SIZE(node->edges);
  for (Py_ssize_t i = 0; i < count; ++i) {
    if (!needed(PyTuple_GET_ITEM(node->edges, i))) continue;
    const PyRef position(PyLong_FromSsize_t(i));
    if (!position || PyList_Append(positions.get(), position.get()) < 0) fail();
  }
  const PyRef parts = checked(PyObject_CallMethodObjArgs(
      node->op, names.pull, reinterpret_cast<PyObject*>(node), g, positions.get(),
      create_graph_ || node->tensor_mode ? Py_True : Py_False, nullptr));
  for (Py_ssize_t i = 0; i < PyList_GET_SIZE(parts.get()); ++i) {
    PyObject* pair = PyList_GET_ITEM(parts.get(), i);
    if (PyTuple_GET_ITEM(pair, 1) == Py_None) continue;
    const Py_ssize_t position = PyLong_AsSsize_t(PyTuple_GET_ITEM(pair, 0));
    deposit(PyTuple_GET_ITEM(node->edges, position), PyTuple_GET_ITEM(pair, 1));
  }
}

void Pass::visit(Place& place) {
  PyRef holder = std::move(place.object);
  place.object = PyRef::borrow(holder.get());
  NodeObject* node = as_node(holder.get());
  const PyRef g = collect_gradient(place);
  if (g && (!to_targets_ || place.on_path) && !pull_natively(node, g.get())) {
    pull_in_python(node, g.get());
  }
  if (!retain_graph_) {
    node->released = 1;
    if (is_set(node->inputs)) Py_SETREF(node->inputs, Py_NewRef(freed));
    if (is_set(node->out)) Py_SETREF(node->out, Py_NewRef(freed));
  }
}

void Pass::run() {
  for (size_t i = nodes_.size(); i-- > 0;) {
    visit(nodes_[i]);
    if (!nodes_[i].wanted) nodes_[i] = Place();  // visited nodes are let go one by one
  }
}

PyRef Pass::gradients_of(PyObject* targets) const {
  const Py_ssize_t count = PyTuple_GET_SIZE(targets);
  PyRef all = checked(PyList_New(count));
  for (Py_ssize_t i = 0; i < count; ++i) {
    const auto [object, index] = resolve(PyTuple_GET_ITEM(targets, i));
    const auto& table = is_node(object) ? node_index_ : leaf_index_;
    const auto found = table.find(object);
    PyObject* g = Py_None;
    if (found != table.end()) {
      const Place& place = (is_node(object) ? nodes_ : leaves_)[found->second];
      if (place.parts[index].gradient) g = place.parts[index].gradient.get();
    }
    PyList_SET_ITEM(all.get(), i, Py_NewRef(g));
  }
  return all;
}

// [(leaf, gradient, owned)] of the leaves that a gradient reached.
PyRef Pass::leaves() const {
  PyRef all = checked(PyList_New(0));
  for (const Place& place : leaves_) {
    const Waiting& waiting = place.parts[0];
    if (!waiting.gradient) continue;
    const PyRef entry = checked(PyTuple_Pack(3, place.object.get(), waiting.gradient.get(),
                                             waiting.owned ? Py_True : Py_False));
    if (PyList_Append(all.get(), entry.get()) < 0) fail();
  }
  return all;
}

// Runs a pass: a list of gradients of `targets`, or of (leaf, gradient, owned) where that is None.
pybind11::object backward_pass(const pybind11::tuple& roots, const pybind11::object& targets,
                               bool create_graph, bool retain_graph) {
  try {
    Pass pass(create_graph, retain_graph, !targets.is_none());
    pass.collect(roots.ptr());
    if (!targets.is_none()) pass.want(targets.ptr());
    for (const pybind11::handle root : roots) {
      pass.deposit(PyTuple_GET_ITEM(root.ptr(), 0), PyTuple_GET_ITEM(root.ptr(), 1));
    }
    pass.run();
    PyRef found = targets.is_none() ? pass.leaves() : pass.gradients_of(targets.ptr());
    return pybind11::reinterpret_steal<pybind11::object>(found.release());
  } catch (const PythonError&) {
    throw pybind11::error_already_set();
  }
}

const ModuleInit init([](pybind11::module_& module) {
  names = {PyUnicode_InternFromString("fit"), PyUnicode_InternFromString("add"),
           PyUnicode_InternFromString("add_into"), PyUnicode_InternFromString("pull"),
           PyUnicode_InternFromString("call_hooks")};
  module.def("backward_pass", backward_pass);
  module.def("set_engine_helpers",
             [](const pybind11::object& object, const pybind11::object& output,
                const pybind11::object& gone) {
               helpers = object.inc_ref().ptr();
               output_class = reinterpret_cast<PyTypeObject*>(output.inc_ref().ptr());
               freed = gone.inc_ref().ptr();
             });
});

}  // namespace
}  // namespace tilegrad::bindings
