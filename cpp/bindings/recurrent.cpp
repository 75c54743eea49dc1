// Recurrent layers: arrays of one floating dtype and fitting shapes run natively; the twins take
// the others and say what is wrong.
#include "nn/recurrent.h"

#include <initializer_list>

#include "bindings/contiguous.h"
#include "bindings/kernel.h"

namespace tilegrad::bindings {
namespace {

bool fits(const ArrayRef& a, DType dtype, std::initializer_list<int64_t> shape) {
  if (a.dtype != dtype || a.ndim != static_cast<int>(shape.size())) return false;
  int i = 0;
  for (const int64_t size : shape) {
    if (a.shape[i++] != size) return false;
  }
  return true;
}

// Reads an array that may be None, which leaves `out` without data.
bool as_optional_array(PyObject* object, const ArrayRef& like, ArrayRef& out) {
  if (object == nullptr || object == Py_None) {
    out = like;
    out.data = nullptr;
    return true;
  }
  return as_array(object, out);
}

struct LstmCall {
  ArrayRef x, h0, c0, w, y, cells, gates;
  static constexpr int kInputs = 4, kOutputs = 3;
  static void run(const LstmCall& call) {
    call.x.dtype == DType::kFloat32 ? run_as<float>(call) : run_as<double>(call);
  }

 private:
  template <class T>
  static void run_as(const LstmCall& call) {
    const Contiguous<T> x(call.x), h0(call.h0), c0(call.c0), w(call.w);
    nn::lstm<T>({call.x.shape[0], call.x.shape[1], call.h0.shape[1]}, x.get(), h0.get(), c0.get(),
                w.get(), call.y.as<T>(), call.cells.as<T>(), call.gates.as<T>());
  }
};

Signature lstm_signature{"lstm", {"x", "h0", "c0", "w"}, 4, 4};
PyObject* lstm(const Arguments& args) {
  LstmCall call;
  if (!as_array(args[0], call.x) || !as_array(args[1], call.h0) || !as_array(args[2], call.c0) ||
      !as_array(args[3], call.w) || !is_float(call.x) || call.x.ndim != 3 || call.h0.ndim != 2) {
    return kDeclined;
  }
  const DType dtype = call.x.dtype;
  const int64_t steps = call.x.shape[0], batch = call.x.shape[1], hidden = call.h0.shape[1];
  if (!fits(call.x, dtype, {steps, batch, 4 * hidden}) || !fits(call.h0, dtype, {batch, hidden}) ||
      !fits(call.c0, dtype, {batch, hidden}) || !fits(call.w, dtype, {4 * hidden, hidden})) {
    return kDeclined;
  }
  const int64_t shape[] = {steps, batch, hidden};
  PyRef y = new_array(dtype, 3, shape, call.y);
  PyRef cells = new_array(dtype, 3, shape, call.cells);
  PyRef gates = new_array(dtype, 3, call.x.shape, call.gates);
  execute(call, static_cast<double>(call.x.size()) * static_cast<double>(hidden));
  return PyTuple_Pack(3, y.get(), cells.get(), gates.get());
}

struct LstmGradCall {
  ArrayRef gy, gc, y, cells, gates, h0, c0, w, dx, dh0, dc0, dw;  // gy and gc may be absent
  static constexpr int kInputs = 8, kOutputs = 4;
  static void run(const LstmGradCall& call) {
    call.y.dtype == DType::kFloat32 ? run_as<float>(call) : run_as<double>(call);
  }

 private:
  template <class T>
  static void run_as(const LstmGradCall& call) {
    const Contiguous<T> gy(call.gy), gc(call.gc), y(call.y), cells(call.cells), gates(call.gates),
        h0(call.h0), c0(call.c0), w(call.w);
    nn::lstm_grad<T>({call.y.shape[0], call.y.shape[1], call.y.shape[2]}, gy.get(), gc.get(),
                     y.get(), cells.get(), gates.get(), h0.get(), c0.get(), w.get(),
                     call.dx.as<T>(), call.dh0.as<T>(), call.dc0.as<T>(), call.dw.as<T>());
  }
};

Signature lstm_grad_signature{
    "lstm_grad", {"gy", "gc", "y", "cells", "gates", "h0", "c0", "w"}, 8, 8};
PyObject* lstm_grad(const Arguments& args) {
  LstmGradCall call;
  if (!as_array(args[2], call.y) || !is_float(call.y) || call.y.ndim != 3) return kDeclined;
  if (!as_optional_array(args[0], call.y, call.gy) ||
      !as_optional_array(args[1], call.y, call.gc) || !as_array(args[3], call.cells) ||
      !as_array(args[4], call.gates) || !as_array(args[5], call.h0) ||
      !as_array(args[6], call.c0) || !as_array(args[7], call.w)) {
    return kDeclined;
  }
  const DType dtype = call.y.dtype;
  const int64_t steps = call.y.shape[0], batch = call.y.shape[1], hidden = call.y.shape[2];
  for (const ArrayRef* a : {&call.gy, &call.gc, &call.y, &call.cells}) {
    if (!fits(*a, dtype, {steps, batch, hidden})) return kDeclined;
  }
  if (!fits(call.gates, dtype, {steps, batch, 4 * hidden}) ||
      !fits(call.h0, dtype, {batch, hidden}) || !fits(call.c0, dtype, {batch, hidden}) ||
      !fits(call.w, dtype, {4 * hidden, hidden})) {
    return kDeclined;
  }
  PyRef dx = new_array(dtype, 3, call.gates.shape, call.dx);
  PyRef dh0 = new_array(dtype, 2, call.h0.shape, call.dh0);
  PyRef dc0 = new_array(dtype, 2, call.c0.shape, call.dc0);
  PyRef dw = new_array(dtype, 2, call.w.shape, call.dw);
  execute(call, 2.0 * static_cast<double>(call.gates.size()) * static_cast<double>(hidden));
  return PyTuple_Pack(4, dx.get(), dh0.get(), dc0.get(), dw.get());
}

const Kernels kernels{{"lstm", native<lstm, lstm_signature>},
                      {"lstm_grad", native<lstm_grad, lstm_grad_signature>}};

}  // namespace
}  // namespace tilegrad::bindings
