// Optimizer steps as recordable calls on arrays.
#pragma once

#include "bindings/kernel.h"
#include "nn/optim.h"

namespace tilegrad::bindings {

constexpr int kMaxStates = 3;  // state arrays of one parameter

// The arrays of a step: p and its state are written. Absent ones have no data.
template <class Numbers>
struct StepCall {
  ArrayRef g, p, state[kMaxStates];
  Numbers numbers;
  static constexpr int kInputs = 1, kOutputs = 1 + kMaxStates;
  static void run(const StepCall& call) {
    call.p.dtype == DType::kFloat32 ? run_as<float>(call) : run_as<double>(call);
  }

 private:
  template <class T>
  static void run_as(const StepCall& call) {
    T* state[kMaxStates];
    for (int i = 0; i < kMaxStates; ++i) state[i] = call.state[i].template as<T>();
    nn::optimizer_step<T>(call.numbers, call.p.size(), call.p.template as<T>(),
                          call.g.template as<const T>(), state);
  }
};

// Some four passes of memory for every element.
template <class Numbers>
double step_work(const StepCall<Numbers>& call) {
  return 4.0 * static_cast<double>(call.p.size());
}

// Whether `a` is contiguous and of p's shape and dtype.
bool fits_parameter(const ArrayRef& a, const ArrayRef& p);

// Reads p, g and `states` state arrays; null and None ones stay without data. False where an array
// is not contiguous, writable (but g) and of one float dtype and shape with the others.
template <class Call>
bool read_step_arrays(PyObject* const* objects, int states, Call& call) {
  if (!as_writable_array(objects[0], call.p) || !is_float(call.p) || !call.p.contiguous()) {
    return false;
  }
  if (!as_array(objects[1], call.g) || !fits_parameter(call.g, call.p)) return false;
  for (int i = 0; i < kMaxStates; ++i) {
    ArrayRef& state = call.state[i];
    state = call.p;
    state.data = nullptr;
    PyObject* object = i < states ? objects[2 + i] : nullptr;
    if (object == nullptr || object == Py_None) continue;
    if (!as_writable_array(object, state) || !fits_parameter(state, call.p)) return false;
  }
  return true;
}

}  // namespace tilegrad::bindings
