// A step of a whole parameter group in one call: options and state are read from the optimizer's
// own dicts, so that what the user changes counts at once.
//
// Parameters keep arrays of their own, and all of them are stepped in one native call. One flat
// buffer with the parameters as its views was measured against that: 26.4 us for 28.9 at six arrays
// of 109,386 numbers; but gradients would have to be gathered into it, which costs more, and views
// end where a user assigns, loads or converts a parameter. What counts more is that arrays begin on
// cache lines (tilegrad.kernels.memory). Stepping each row of a weight gradient right after the row
// is made was measured, too: no gain while the three arrays fit the second-level cache (37 us
// either way at 784 x 128), as the gradient has to be written anyway. Huge pages
// under parameters and momenta moved nothing: 56, 180 and 630 us a step at batch 1, 32 and 128.
#include <vector>

#include "bindings/autograd.h"
#include "bindings/module.h"
#include "bindings/optim.h"

namespace tilegrad::bindings {
namespace {

// ---- what a group says
// ---------------------------------------------------------------------------

PyObject* interned(const char* text) { return PyUnicode_InternFromString(text); }

// Reads options by name. Once one is missing or no plain number, `ok` is false.
struct Options {
  PyObject* group;
  bool ok = true;

  PyObject* find(PyObject* name) {
    PyObject* value = PyDict_GetItemWithError(group, name);
    ok = ok && value != nullptr;
    return value;
  }
  double number(PyObject* value) {
    if (value != nullptr && PyFloat_CheckExact(value)) return PyFloat_AS_DOUBLE(value);
    if (value != nullptr && PyLong_CheckExact(value)) return PyLong_AsDouble(value);
    ok = false;  // a tensor, say
    return 0;
  }
  double number_of(PyObject* name) { return number(find(name)); }
  bool flag_of(PyObject* name) {
    PyObject* value = find(name);
    ok = ok && (value == Py_True || value == Py_False);
    return value == Py_True;
  }
};

struct OptionNames {
  PyObject* params = interned("params");
  PyObject* lr = interned("lr");
  PyObject* momentum = interned("momentum");
  PyObject* dampening = interned("dampening");
  PyObject* weight_decay = interned("weight_decay");
  PyObject* nesterov = interned("nesterov");
  PyObject* maximize = interned("maximize");
  PyObject* betas = interned("betas");
  PyObject* eps = interned("eps");
  PyObject* amsgrad = interned("amsgrad");
  PyObject* decoupled = interned("decoupled_weight_decay");
  PyObject* alpha = interned("alpha");
  PyObject* centered = interned("centered");
  PyObject* lr_decay = interned("lr_decay");
};

struct StateNames {
  PyObject* step = interned("step");
  PyObject* momentum_buffer = interned("momentum_buffer");
  PyObject* exp_avg = interned("exp_avg");
  PyObject* exp_avg_sq = interned("exp_avg_sq");
  PyObject* max_exp_avg_sq = interned("max_exp_avg_sq");
  PyObject* square_avg = interned("square_avg");
  PyObject* grad_avg = interned("grad_avg");
  PyObject* sum = interned("sum");
};

const OptionNames& option_names() {
  static const OptionNames* const names = new OptionNames;
  return *names;
}

const StateNames& state_names() {
  static const StateNames* const names = new StateNames;
  return *names;
}

// ---- what each optimizer reads
// -------------------------------------------------------------------

// The state arrays that a group's parameters have, in the order of nn::optimizer_step; null: none.
struct States {
  PyObject* names[kMaxStates] = {};
  bool counts = true;  // there is a step count
};

States read_options(Options& options, nn::SgdNumbers& n) {
  const OptionNames& name = option_names();
  n.lr = options.number_of(name.lr);
  n.momentum = options.number_of(name.momentum);
  n.dampening = options.number_of(name.dampening);
  n.weight_decay = options.number_of(name.weight_decay);
  n.nesterov = options.flag_of(name.nesterov);
  n.maximize = options.flag_of(name.maximize);
  n.first = false;
  return {{n.momentum != 0 ? state_names().momentum_buffer : nullptr}, false};
}

States read_options(Options& options, nn::AdamNumbers& n) {
  const OptionNames& name = option_names();
  PyObject* betas = options.find(name.betas);
  options.ok = options.ok && PyTuple_CheckExact(betas) && PyTuple_GET_SIZE(betas) == 2;
  if (!options.ok) return {};
  n.lr = options.number_of(name.lr);
  n.beta1 = options.number(PyTuple_GET_ITEM(betas, 0));
  n.beta2 = options.number(PyTuple_GET_ITEM(betas, 1));
  n.eps = options.number_of(name.eps);
  n.weight_decay = options.number_of(name.weight_decay);
  n.decoupled = options.flag_of(name.decoupled);
  n.maximize = options.flag_of(name.maximize);
  const StateNames& state = state_names();
  const bool amsgrad = options.flag_of(name.amsgrad);
  return {{state.exp_avg, state.exp_avg_sq, amsgrad ? state.max_exp_avg_sq : nullptr}};
}

States read_options(Options& options, nn::RmspropNumbers& n) {
  const OptionNames& name = option_names();
  n.lr = options.number_of(name.lr);
  n.alpha = options.number_of(name.alpha);
  n.eps = options.number_of(name.eps);
  n.weight_decay = options.number_of(name.weight_decay);
  n.momentum = options.number_of(name.momentum);
  n.maximize = options.flag_of(name.maximize);
  const StateNames& state = state_names();
  const bool centered = options.flag_of(name.centered);
  return {{state.square_avg, n.momentum > 0 ? state.momentum_buffer : nullptr,
           centered ? state.grad_avg : nullptr}};
}

States read_options(Options& options, nn::AdagradNumbers& n) {
  const OptionNames& name = option_names();
  n.lr = options.number_of(name.lr);
  n.lr_decay = options.number_of(name.lr_decay);
  n.eps = options.number_of(name.eps);
  n.weight_decay = options.number_of(name.weight_decay);
  n.maximize = options.flag_of(name.maximize);
  return {{state_names().sum}};
}

void set_step(nn::SgdNumbers&, double) {}
void set_step(nn::RmspropNumbers&, double) {}
void set_step(nn::AdamNumbers& n, double step) { n.step = step; }
void set_step(nn::AdagradNumbers& n, double step) { n.step = step; }

// ---- the step
// ------------------------------------------------------------------------------------

PyObject* array_in(PyObject* entries, PyObject* name) {
  PyObject* value = PyDict_GetItemWithError(entries, name);
  return value != nullptr && is_tensor(value) ? as_tensor(value)->array : nullptr;
}

// A count as torch keeps it, a 0-d float32 tensor; null for anything else.
float* count_in(PyObject* entries) {
  ArrayRef count;
  PyObject* array = array_in(entries, state_names().step);
  if (array == nullptr || !as_writable_array(array, count)) return nullptr;
  return count.dtype == DType::kFloat32 && count.ndim == 0 ? count.as<float>() : nullptr;
}

template <class Numbers>
struct GroupStep {
  std::vector<TensorObject*> tensors;  // borrowed from the group
  std::vector<StepCall<Numbers>> calls;
  std::vector<float*> counts;

  // Adds a parameter that has a gradient; false if Python has to see to it.
  bool add(PyObject* parameter, PyObject* state, const States& states, const Numbers& numbers) {
    TensorObject* tensor = as_tensor(parameter);
    if (!is_set(tensor->grad)) return true;
    if (!is_tensor(tensor->grad)) return false;
    PyObject* objects[2 + kMaxStates] = {tensor->array, as_tensor(tensor->grad)->array};
    PyObject* entries = PyDict_GetItemWithError(state, parameter);
    for (int k = 0; k < kMaxStates; ++k) {
      if (states.names[k] == nullptr) continue;
      objects[2 + k] = entries != nullptr ? array_in(entries, states.names[k]) : nullptr;
      if (objects[2 + k] == nullptr) return false;  // the first step makes it
    }
    StepCall<Numbers>& call = calls.emplace_back();
    if (!read_step_arrays(objects, kMaxStates, call)) return false;
    call.numbers = numbers;
    if (states.counts) {
      float* count = count_in(entries);
      if (count == nullptr) return false;
      counts.push_back(count);
      set_step(call.numbers, static_cast<double>(*count + 1.0f));
    }
    tensors.push_back(tensor);
    return true;
  }

  void run() {
    for (float* count : counts) *count += 1.0f;
    for (size_t i = 0; i < calls.size(); ++i) {
      execute(calls[i], step_work(calls[i]));
      note_change(tensors[i]);
    }
  }

 private:
  // Tensor._bump_version.
  static void note_change(TensorObject* tensor) {
    if (!is_set(tensor->version)) {
      VersionObject* version = new_version();
      if (version == nullptr) throw PythonError();
      version->value = 0;
      Py_XSETREF(tensor->version, reinterpret_cast<PyObject*>(version));
    }
    tensor->seen = ++reinterpret_cast<VersionObject*>(tensor->version)->value;
  }
};

// Steps a group; false with nothing changed where something is not plain, or kernels are watched.
template <class Numbers>
bool step_group(const pybind11::dict& group, const pybind11::dict& state) {
  if (kernels_are_watched()) return false;
  Options options{group.ptr()};
  Numbers numbers{};
  const States states = read_options(options, numbers);
  PyObject* parameters = options.find(option_names().params);
  if (PyErr_Occurred() != nullptr) throw pybind11::error_already_set();
  if (!options.ok || !PyList_CheckExact(parameters)) return false;
  GroupStep<Numbers> step;
  const Py_ssize_t count = PyList_GET_SIZE(parameters);
  step.calls.reserve(static_cast<size_t>(count));
  for (Py_ssize_t i = 0; i < count; ++i) {
    PyObject* parameter = PyList_GET_ITEM(parameters, i);
    if (!is_tensor(parameter) || !step.add(parameter, state.ptr(), states, numbers)) return false;
  }
  try {
    step.run();
  } catch (const PythonError&) {
    throw pybind11::error_already_set();
  }
  return true;
}

void drop_gradients(const pybind11::list& parameters) {
  for (const pybind11::handle parameter : parameters) {
    if (is_tensor(parameter.ptr())) Py_CLEAR(as_tensor(parameter.ptr())->grad);
  }
}

const ModuleInit init([](pybind11::module_& module) {
  module.def("step_sgd", step_group<nn::SgdNumbers>);
  module.def("step_adam", step_group<nn::AdamNumbers>);
  module.def("step_rmsprop", step_group<nn::RmspropNumbers>);
  module.def("step_adagrad", step_group<nn::AdagradNumbers>);
  module.def("drop_gradients", drop_gradients);
});

}  // namespace
}  // namespace tilegrad::bindings
