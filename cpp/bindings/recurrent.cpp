// Recurrent layers: arrays of one floating dtype and fitting shapes run natively; the twins take
// the others and say what is wrong.
#include "nn/recurrent.h"

#include <cstring>
#include <initializer_list>

#include "bindings/contiguous.h"
#include "bindings/kernel.h"

namespace tilegrad::bindings {
namespace {

using nn::Cell;

// An argument that this cell does not have, or that is None.
void set_absent(ArrayRef& a) {
  a = {};
  a.ndim = 1;
}

bool read_array(PyObject* object, DType dtype, std::initializer_list<int64_t> shape, ArrayRef& a) {
  if (!as_array(object, a) || a.dtype != dtype || a.ndim != static_cast<int>(shape.size())) {
    return false;
  }
  const int64_t* size = a.shape;
  for (const int64_t wanted : shape) {
    if (*size++ != wanted) return false;
  }
  return true;
}

bool read_optional(PyObject* object, DType dtype, std::initializer_list<int64_t> shape,
                   ArrayRef& a) {
  if (object != nullptr && object != Py_None) return read_array(object, dtype, shape, a);
  set_absent(a);
  return true;
}

// What the driver wants of the arguments, with contiguous copies where they are needed.
template <class T>
class Layer {
 public:
  template <class Call>
  explicit Layer(const Call& call)
      : h0_(call.h0), c0_(call.c0), w_ih_(call.w_ih), w_hh_(call.w_hh) {
    const ArrayRef& x = call.x;
    const bool rows = x.strides[2] == 1 || x.shape[2] <= 1;
    if (!rows) x_copy_.emplace(x);
    states = {};
    states.x = rows ? x.as<const T>() : x_copy_->get();
    states.x_step = rows ? x.strides[0] : x.shape[1] * x.shape[2];
    states.x_row = rows ? x.strides[1] : x.shape[2];
    states.h0 = h0_.get();
    states.c0 = c0_.get();
    weights = {w_ih_.get(), w_hh_.get(), nullptr, nullptr};
  }
  nn::RecurrentWeights<T> weights;
  nn::RecurrentStates<T> states;

 private:
  std::optional<Contiguous<T>> x_copy_;
  const Contiguous<T> h0_, c0_, w_ih_, w_hh_;
};

// ---- forward -----------------------------------------------------------------------------------

struct RecurrentCall {
  ArrayRef x, h0, c0, w_ih, w_hh, b_ih, b_hh, y, cells, gates;
  nn::Recurrence size;
  static constexpr int kInputs = 7, kOutputs = 3;
  static void run(const RecurrentCall& call) {
    call.x.dtype == DType::kFloat32 ? run_as<float>(call) : run_as<double>(call);
  }

 private:
  template <class T>
  static void run_as(const RecurrentCall& call) {
    const Contiguous<T> b_ih(call.b_ih), b_hh(call.b_hh);
    Layer<T> layer(call);
    layer.weights.b_ih = b_ih.get();
    layer.weights.b_hh = b_hh.get();
    layer.states.y = call.y.as<T>();
    layer.states.cells = call.cells.as<T>();
    layer.states.gates = call.gates.as<T>();
    nn::recurrent<T>(call.size, layer.weights, layer.states);
  }
};

// x, h0 and both weights, from which the sizes follow.
template <class Call>
bool read_layer(Cell cell, PyObject* x, PyObject* h0, PyObject* w_ih, PyObject* w_hh, Call& call) {
  if (!as_array(x, call.x) || !is_float(call.x) || call.x.ndim != 3) return false;
  if (!as_array(h0, call.h0) || call.h0.ndim != 2) return false;
  const int64_t *shape = call.x.shape, hidden = call.h0.shape[1];
  call.size = {cell, shape[0], shape[1], shape[2], hidden};
  const int64_t rows = nn::weight_blocks(cell) * hidden;
  const DType dtype = call.x.dtype;
  return read_array(h0, dtype, {shape[1], hidden}, call.h0) &&
         read_array(w_ih, dtype, {rows, shape[2]}, call.w_ih) &&
         read_array(w_hh, dtype, {rows, hidden}, call.w_hh);
}

double work_of(const nn::Recurrence& size) {
  return static_cast<double>(size.steps * size.batch) *
         static_cast<double>(nn::weight_blocks(size.cell) * size.hidden) *
         static_cast<double>(size.inputs + size.hidden);
}

// (y, cells, gates): those that the cell has.
PyObject* run_layer(RecurrentCall& call) {
  const nn::Recurrence& size = call.size;
  const DType dtype = call.x.dtype;
  const int64_t shape[] = {size.steps, size.batch, size.hidden};
  const int64_t wide[] = {size.steps, size.batch, 4 * size.hidden};
  const bool lstm = size.cell == Cell::lstm, gated = lstm || size.cell == Cell::gru;
  set_absent(call.cells);
  set_absent(call.gates);
  PyRef y = new_array(dtype, 3, shape, call.y);
  PyRef cells = lstm ? new_array(dtype, 3, shape, call.cells) : PyRef();
  PyRef gates = gated ? new_array(dtype, 3, wide, call.gates) : PyRef();
  execute(call, work_of(size));
  if (!gated) return y.release();
  return lstm ? PyTuple_Pack(3, y.get(), cells.get(), gates.get())
              : PyTuple_Pack(2, y.get(), gates.get());
}

bool read_bias(PyObject* object, const RecurrentCall& call, ArrayRef& bias) {
  return read_optional(object, call.x.dtype, {call.w_ih.shape[0]}, bias);
}

Signature lstm_signature{"lstm", {"x", "h0", "c0", "w_ih", "w_hh", "b"}, 6, 5};
PyObject* lstm(const Arguments& args) {
  RecurrentCall call;
  if (!read_layer(Cell::lstm, args[0], args[1], args[3], args[4], call)) return kDeclined;
  if (!read_array(args[2], call.x.dtype, {call.size.batch, call.size.hidden}, call.c0) ||
      !read_bias(args[5], call, call.b_ih)) {
    return kDeclined;
  }
  set_absent(call.b_hh);
  return run_layer(call);
}

Signature gru_signature{"gru", {"x", "h0", "w_ih", "w_hh", "b_ih", "b_hh"}, 6, 4};
PyObject* gru(const Arguments& args) {
  RecurrentCall call;
  if (!read_layer(Cell::gru, args[0], args[1], args[2], args[3], call)) return kDeclined;
  if (!read_bias(args[4], call, call.b_ih) || !read_bias(args[5], call, call.b_hh)) {
    return kDeclined;
  }
  set_absent(call.c0);
  return run_layer(call);
}

// False for what the twin has to complain about.
bool read_activation(PyObject* object, Cell& cell) {
  const char* name = object == nullptr         ? "tanh"
                     : PyUnicode_Check(object) ? PyUnicode_AsUTF8(object)
                                               : "";
  if (name == nullptr) throw PythonError();
  cell = std::strcmp(name, "relu") == 0 ? Cell::relu : Cell::tanh;
  return cell == Cell::relu || std::strcmp(name, "tanh") == 0;
}

Signature rnn_signature{"rnn", {"x", "h0", "w_ih", "w_hh", "b", "activation"}, 6, 4};
PyObject* rnn(const Arguments& args) {
  RecurrentCall call;
  Cell cell;
  if (!read_activation(args[5], cell) ||
      !read_layer(cell, args[0], args[1], args[2], args[3], call) ||
      !read_bias(args[4], call, call.b_ih)) {
    return kDeclined;
  }
  set_absent(call.c0);
  set_absent(call.b_hh);
  return run_layer(call);
}

// ---- backward ----------------------------------------------------------------------------------

struct RecurrentGradCall {
  ArrayRef gy, gc, x, y, cells, gates, h0, c0, w_ih, w_hh;
  ArrayRef dx, dh0, dc0, dw_ih, dw_hh, db_ih, db_hh;
  nn::Recurrence size;
  static constexpr int kInputs = 10, kOutputs = 7;
  static void run(const RecurrentGradCall& call) {
    call.x.dtype == DType::kFloat32 ? run_as<float>(call) : run_as<double>(call);
  }

 private:
  template <class T>
  static void run_as(const RecurrentGradCall& call) {
    const Contiguous<T> gy(call.gy), gc(call.gc), y(call.y), cells(call.cells), gates(call.gates);
    Layer<T> layer(call);
    layer.states.y = const_cast<T*>(y.get());
    layer.states.cells = const_cast<T*>(cells.get());
    layer.states.gates = const_cast<T*>(gates.get());
    nn::recurrent_grad<T>(call.size, layer.weights, layer.states,
                          {gy.get(), gc.get(), call.dx.size() != 0 ? call.dx.as<T>() : nullptr,
                           call.dh0.as<T>(), call.dc0.as<T>(), call.dw_ih.as<T>(),
                           call.dw_hh.as<T>(), call.db_ih.as<T>(), call.db_hh.as<T>()});
  }
};

// The arrays that every cell saves, after read_layer.
bool read_saved(PyObject* gy, PyObject* y, PyObject* gates, RecurrentGradCall& call) {
  const auto& [cell, steps, batch, inputs, hidden] = call.size;
  const DType dtype = call.x.dtype;
  for (ArrayRef* a : {&call.gc, &call.cells, &call.c0}) set_absent(*a);
  return read_optional(gy, dtype, {steps, batch, hidden}, call.gy) &&
         read_array(y, dtype, {steps, batch, hidden}, call.y) &&
         read_optional(gates, dtype, {steps, batch, 4 * hidden}, call.gates);
}

// (dx, dh0, dc0, dw_ih, dw_hh, db_ih, db_hh): those that the cell has; dx empty if not wanted.
PyObject* run_grad(RecurrentGradCall& call, PyObject* input_grad) {
  const nn::Recurrence& size = call.size;
  const DType dtype = call.x.dtype;
  const bool wanted =
      input_grad == nullptr || to_bool(input_grad, "recurrent gradient: input_grad");
  const int64_t nothing[] = {0, 0, 0};
  const bool lstm = size.cell == Cell::lstm, gru = size.cell == Cell::gru;
  set_absent(call.dc0);
  set_absent(call.db_hh);
  PyRef dx = new_array(dtype, 3, wanted ? call.x.shape : nothing, call.dx);
  PyRef dh0 = new_array(dtype, 2, call.h0.shape, call.dh0);
  PyRef dc0 = lstm ? new_array(dtype, 2, call.h0.shape, call.dc0) : PyRef();
  PyRef dw_ih = new_array(dtype, 2, call.w_ih.shape, call.dw_ih);
  PyRef dw_hh = new_array(dtype, 2, call.w_hh.shape, call.dw_hh);
  PyRef db_ih = new_array(dtype, 1, call.w_ih.shape, call.db_ih);
  PyRef db_hh = gru ? new_array(dtype, 1, call.w_ih.shape, call.db_hh) : PyRef();
  execute(call, 2 * work_of(size));
  PyObject *a = dx.get(), *b = dh0.get(), *c = dw_ih.get(), *d = dw_hh.get(), *e = db_ih.get();
  if (lstm) return PyTuple_Pack(6, a, b, dc0.get(), c, d, e);
  return gru ? PyTuple_Pack(6, a, b, c, d, e, db_hh.get()) : PyTuple_Pack(5, a, b, c, d, e);
}

Signature lstm_grad_signature{
    "lstm_grad",
    {"gy", "gc", "x", "y", "cells", "gates", "h0", "c0", "w_ih", "w_hh", "input_grad"},
    11,
    10};
PyObject* lstm_grad(const Arguments& args) {
  RecurrentGradCall call;
  if (!read_layer(Cell::lstm, args[2], args[6], args[8], args[9], call) ||
      !read_saved(args[0], args[3], args[5], call)) {
    return kDeclined;
  }
  const auto& [cell, steps, batch, inputs, hidden] = call.size;
  const DType dtype = call.x.dtype;
  if (call.gates.data == nullptr ||
      !read_optional(args[1], dtype, {steps, batch, hidden}, call.gc) ||
      !read_array(args[4], dtype, {steps, batch, hidden}, call.cells) ||
      !read_array(args[7], dtype, {batch, hidden}, call.c0)) {
    return kDeclined;
  }
  return run_grad(call, args[10]);
}

Signature gru_grad_signature{
    "gru_grad", {"gy", "x", "y", "gates", "h0", "w_ih", "w_hh", "input_grad"}, 8, 7};
PyObject* gru_grad(const Arguments& args) {
  RecurrentGradCall call;
  if (!read_layer(Cell::gru, args[1], args[4], args[5], args[6], call) ||
      !read_saved(args[0], args[2], args[3], call) || call.gates.data == nullptr) {
    return kDeclined;
  }
  return run_grad(call, args[7]);
}

Signature rnn_grad_signature{
    "rnn_grad", {"gy", "x", "y", "h0", "w_ih", "w_hh", "activation", "input_grad"}, 8, 6};
PyObject* rnn_grad(const Arguments& args) {
  RecurrentGradCall call;
  Cell cell;
  if (!read_activation(args[6], cell) ||
      !read_layer(cell, args[1], args[3], args[4], args[5], call) ||
      !read_saved(args[0], args[2], nullptr, call)) {
    return kDeclined;
  }
  return run_grad(call, args[7]);
}

const Kernels kernels{
    {"lstm", native<lstm, lstm_signature>}, {"lstm_grad", native<lstm_grad, lstm_grad_signature>},
    {"gru", native<gru, gru_signature>},    {"gru_grad", native<gru_grad, gru_grad_signature>},
    {"rnn", native<rnn, rnn_signature>},    {"rnn_grad", native<rnn_grad, rnn_grad_signature>}};

}  // namespace
}  // namespace tilegrad::bindings
