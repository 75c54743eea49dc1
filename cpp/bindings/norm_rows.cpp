// Layer and root-mean-square normalisation: NumPy arrays in, NumPy arrays out. Bad arguments
// decline: the twins say what is wrong.
#include "bindings/contiguous.h"
#include "bindings/norm_arguments.h"
#include "bindings/window.h"
#include "nn/norm.h"

namespace tilegrad::bindings {
namespace {

// The last `ndim` axes of x normalised together: rows x size, and the statistics' shape.
struct Trailing {
  int64_t rows, size;
  int ndim;
  const int64_t* shape;     // of the weights
  int64_t saved[kMaxDims];  // of the statistics

  bool read(PyObject* object, const ArrayRef& x) {
    int64_t count;
    if (!read_int(object, count) || count < 1 || count > x.ndim) return false;
    ndim = static_cast<int>(count);
    const int split = x.ndim - ndim;
    shape = x.shape + split;
    rows = size = 1;
    for (int i = 0; i < x.ndim; ++i) {
      (i < split ? rows : size) *= x.shape[i];
      saved[i] = i < split ? x.shape[i] : 1;
    }
    return size > 0;  // a mean of nothing is the twin's business
  }
};

struct LayerNormCall {
  ArrayRef x, weight, bias, y, mean, rstd;
  int64_t rows, size;
  double eps;
  static constexpr int kInputs = 3, kOutputs = 3;
  template <class T>
  static void run_as(const LayerNormCall& c) {
    const Contiguous<T> x(c.x), weight(c.weight), bias(c.bias);
    nn::layer_norm<T>(c.rows, c.size, x.get(), weight.get(), bias.get(), c.eps, c.y.as<T>(),
                      c.mean.as<T>(), c.rstd.as<T>());
  }
  static void run(const LayerNormCall& c) { run_floating(c); }
};

Signature layer_norm_signature{"layer_norm", {"x", "ndim", "weight", "bias", "eps"}, 5, 2};

PyObject* layer_norm(const Arguments& args) {
  LayerNormCall call{};
  Trailing t;
  if (!as_array(args[0], call.x) || !is_float(call.x) || !t.read(args[1], call.x) ||
      !optional_vector(args, 2, call.x, t.ndim, t.shape, call.weight) ||
      !optional_vector(args, 3, call.x, t.ndim, t.shape, call.bias) ||
      !read_eps(args, 4, call.eps)) {
    return kDeclined;
  }
  call.rows = t.rows;
  call.size = t.size;
  PyRef y = new_array(call.x.dtype, call.x.ndim, call.x.shape, call.y);
  PyRef mean = new_array(call.x.dtype, call.x.ndim, t.saved, call.mean);
  PyRef rstd = new_array(call.x.dtype, call.x.ndim, t.saved, call.rstd);
  execute(call, 4 * static_cast<double>(call.x.size()));
  return PyTuple_Pack(3, y.get(), mean.get(), rstd.get());
}

struct LayerNormGradCall {
  ArrayRef g, x, mean, rstd, weight, dx, dw, db;
  int64_t rows, size;
  static constexpr int kInputs = 5, kOutputs = 3;
  template <class T>
  static void run_as(const LayerNormGradCall& c) {
    const Contiguous<T> g(c.g), x(c.x), mean(c.mean), rstd(c.rstd), weight(c.weight);
    nn::layer_norm_grad<T>(c.rows, c.size, g.get(), x.get(), mean.get(), rstd.get(), weight.get(),
                           c.dx.as<T>(), c.dw.as<T>(), c.db.as<T>());
  }
  static void run(const LayerNormGradCall& c) { run_floating(c); }
};

Signature layer_norm_grad_signature{
    "layer_norm_grad", {"g", "x", "mean", "rstd", "weight", "ndim"}, 6, 6};

PyObject* layer_norm_grad(const Arguments& args) {
  LayerNormGradCall call{};
  Trailing t;
  if (!as_array(args[1], call.x) || !is_float(call.x) || !t.read(args[5], call.x) ||
      !like(args[0], call.x, call.x.ndim, call.x.shape, call.g) ||
      !like(args[2], call.x, call.x.ndim, t.saved, call.mean) ||
      !like(args[3], call.x, call.x.ndim, t.saved, call.rstd) ||
      !optional_vector(args, 4, call.x, t.ndim, t.shape, call.weight)) {
    return kDeclined;
  }
  call.rows = t.rows;
  call.size = t.size;
  PyRef dx = new_array(call.x.dtype, call.x.ndim, call.x.shape, call.dx);
  PyRef dw = new_array(call.x.dtype, t.ndim, t.shape, call.dw);
  PyRef db = new_array(call.x.dtype, t.ndim, t.shape, call.db);
  execute(call, 6 * static_cast<double>(call.x.size()));
  return PyTuple_Pack(3, dx.get(), dw.get(), db.get());
}

struct RmsNormCall {
  ArrayRef x, weight, y, rrms;
  int64_t rows, size;
  double eps;
  static constexpr int kInputs = 2, kOutputs = 2;
  template <class T>
  static void run_as(const RmsNormCall& c) {
    const Contiguous<T> x(c.x), weight(c.weight);
    nn::rms_norm<T>(c.rows, c.size, x.get(), weight.get(), c.eps, c.y.as<T>(), c.rrms.as<T>());
  }
  static void run(const RmsNormCall& c) { run_floating(c); }
};

Signature rms_norm_signature{"rms_norm", {"x", "ndim", "weight", "eps"}, 4, 2};

PyObject* rms_norm(const Arguments& args) {
  RmsNormCall call{};
  Trailing t;
  if (!as_array(args[0], call.x) || !is_float(call.x) || !t.read(args[1], call.x) ||
      !optional_vector(args, 2, call.x, t.ndim, t.shape, call.weight) ||
      !read_eps(args, 3, call.eps)) {
    return kDeclined;
  }
  call.rows = t.rows;
  call.size = t.size;
  PyRef y = new_array(call.x.dtype, call.x.ndim, call.x.shape, call.y);
  PyRef rrms = new_array(call.x.dtype, call.x.ndim, t.saved, call.rrms);
  execute(call, 4 * static_cast<double>(call.x.size()));
  return PyTuple_Pack(2, y.get(), rrms.get());
}

struct RmsNormGradCall {
  ArrayRef g, x, rrms, weight, dx, dw;
  int64_t rows, size;
  static constexpr int kInputs = 4, kOutputs = 2;
  template <class T>
  static void run_as(const RmsNormGradCall& c) {
    const Contiguous<T> g(c.g), x(c.x), rrms(c.rrms), weight(c.weight);
    nn::rms_norm_grad<T>(c.rows, c.size, g.get(), x.get(), rrms.get(), weight.get(), c.dx.as<T>(),
                         c.dw.as<T>());
  }
  static void run(const RmsNormGradCall& c) { run_floating(c); }
};

Signature rms_norm_grad_signature{"rms_norm_grad", {"g", "x", "rrms", "weight", "ndim"}, 5, 5};

PyObject* rms_norm_grad(const Arguments& args) {
  RmsNormGradCall call{};
  Trailing t;
  if (!as_array(args[1], call.x) || !is_float(call.x) || !t.read(args[4], call.x) ||
      !like(args[0], call.x, call.x.ndim, call.x.shape, call.g) ||
      !like(args[2], call.x, call.x.ndim, t.saved, call.rrms) ||
      !optional_vector(args, 3, call.x, t.ndim, t.shape, call.weight)) {
    return kDeclined;
  }
  call.rows = t.rows;
  call.size = t.size;
  PyRef dx = new_array(call.x.dtype, call.x.ndim, call.x.shape, call.dx);
  PyRef dw = new_array(call.x.dtype, t.ndim, t.shape, call.dw);
  execute(call, 6 * static_cast<double>(call.x.size()));
  return PyTuple_Pack(2, dx.get(), dw.get());
}

const Kernels kernels{
    {"layer_norm", native<layer_norm, layer_norm_signature>},
    {"layer_norm_grad", native<layer_norm_grad, layer_norm_grad_signature>},
    {"rms_norm", native<rms_norm, rms_norm_signature>},
    {"rms_norm_grad", native<rms_norm_grad, rms_norm_grad_signature>},
};

}  // namespace
}  // namespace tilegrad::bindings
