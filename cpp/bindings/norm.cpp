// Normalisation: NumPy arrays in, NumPy arrays out. Bad arguments decline: the twins say what is
// wrong.
#include "nn/norm.h"

#include <algorithm>

#include "bindings/contiguous.h"
#include "bindings/kernel.h"
#include "bindings/window.h"

namespace tilegrad::bindings {
namespace {

// An optional weight or bias; data is null where it is None.
bool optional_vector(const Arguments& args, int i, const ArrayRef& x, int ndim,
                     const int64_t* shape, ArrayRef& out) {
  out = ArrayRef{};
  out.dtype = x.dtype;
  if (!args.given(i)) return true;
  return as_array(args[i], out) && out.dtype == x.dtype && out.ndim == ndim &&
         std::equal(shape, shape + ndim, out.shape);
}

bool like(PyObject* object, const ArrayRef& x, int ndim, const int64_t* shape, ArrayRef& out) {
  return as_array(object, out) && out.dtype == x.dtype && out.ndim == ndim &&
         std::equal(shape, shape + ndim, out.shape);
}

bool read_eps(const Arguments& args, int i, double& eps) {
  eps = 1e-5;
  if (args[i] == nullptr) return true;
  eps = PyFloat_AsDouble(args[i]);
  if (eps == -1.0 && PyErr_Occurred()) {
    PyErr_Clear();
    return false;
  }
  return true;
}

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

bool channel_shape(PyObject* object, ArrayRef& x, nn::ChannelShape& shape) {
  if (!as_array(object, x) || !is_float(x) || x.ndim < 2 || x.size() == 0) return false;
  shape = {x.shape[0], x.shape[1], 1};
  for (int i = 2; i < x.ndim; ++i) shape.pixels *= x.shape[i];
  return true;
}

struct BatchNormTrainCall {
  ArrayRef x, weight, bias, y, mean, rstd, var;
  nn::ChannelShape shape;
  double eps;
  static constexpr int kInputs = 3, kOutputs = 4;
  template <class T>
  static void run_as(const BatchNormTrainCall& c) {
    const Contiguous<T> x(c.x), weight(c.weight), bias(c.bias);
    nn::batch_norm_train<T>(c.shape, x.get(), weight.get(), bias.get(), c.eps, c.y.as<T>(),
                            c.mean.as<T>(), c.rstd.as<T>(), c.var.as<T>());
  }
  static void run(const BatchNormTrainCall& c) { run_floating(c); }
};

Signature batch_norm_train_signature{"batch_norm_train", {"x", "weight", "bias", "eps"}, 4, 1};

PyObject* batch_norm_train(const Arguments& args) {
  BatchNormTrainCall call{};
  if (!channel_shape(args[0], call.x, call.shape)) return kDeclined;
  const int64_t* channels = call.x.shape + 1;
  if (!optional_vector(args, 1, call.x, 1, channels, call.weight) ||
      !optional_vector(args, 2, call.x, 1, channels, call.bias) || !read_eps(args, 3, call.eps)) {
    return kDeclined;
  }
  PyRef y = new_array(call.x.dtype, call.x.ndim, call.x.shape, call.y);
  PyRef mean = new_array(call.x.dtype, 1, channels, call.mean);
  PyRef rstd = new_array(call.x.dtype, 1, channels, call.rstd);
  PyRef var = new_array(call.x.dtype, 1, channels, call.var);
  execute(call, 4 * static_cast<double>(call.x.size()));
  return PyTuple_Pack(4, y.get(), mean.get(), rstd.get(), var.get());
}

struct BatchNormApplyCall {
  ArrayRef x, mean, rstd, weight, bias, y;
  nn::ChannelShape shape;
  static constexpr int kInputs = 5, kOutputs = 1;
  template <class T>
  static void run_as(const BatchNormApplyCall& c) {
    const Contiguous<T> x(c.x), mean(c.mean), rstd(c.rstd), weight(c.weight), bias(c.bias);
    nn::batch_norm_apply<T>(c.shape, x.get(), mean.get(), rstd.get(), weight.get(), bias.get(),
                            c.y.as<T>());
  }
  static void run(const BatchNormApplyCall& c) { run_floating(c); }
};

Signature batch_norm_apply_signature{
    "batch_norm_apply", {"x", "mean", "rstd", "weight", "bias"}, 5, 3};

PyObject* batch_norm_apply(const Arguments& args) {
  BatchNormApplyCall call{};
  if (!channel_shape(args[0], call.x, call.shape)) return kDeclined;
  const int64_t* channels = call.x.shape + 1;
  if (!like(args[1], call.x, 1, channels, call.mean) ||
      !like(args[2], call.x, 1, channels, call.rstd) ||
      !optional_vector(args, 3, call.x, 1, channels, call.weight) ||
      !optional_vector(args, 4, call.x, 1, channels, call.bias)) {
    return kDeclined;
  }
  PyRef y = new_array(call.x.dtype, call.x.ndim, call.x.shape, call.y);
  execute(call, 2 * static_cast<double>(call.x.size()));
  return y.release();
}

struct BatchNormGradCall {
  ArrayRef g, x, mean, rstd, weight, dx, dw, db;
  nn::ChannelShape shape;
  static constexpr int kInputs = 5, kOutputs = 3;
  template <class T>
  static void run_as(const BatchNormGradCall& c) {
    const Contiguous<T> g(c.g), x(c.x), mean(c.mean), rstd(c.rstd), weight(c.weight);
    nn::batch_norm_grad<T>(c.shape, g.get(), x.get(), mean.get(), rstd.get(), weight.get(),
                           c.dx.as<T>(), c.dw.as<T>(), c.db.as<T>());
  }
  static void run(const BatchNormGradCall& c) { run_floating(c); }
};

Signature batch_norm_grad_signature{"batch_norm_grad", {"g", "x", "mean", "rstd", "weight"}, 5, 4};

PyObject* batch_norm_grad(const Arguments& args) {
  BatchNormGradCall call{};
  if (!channel_shape(args[1], call.x, call.shape)) return kDeclined;
  const int64_t* channels = call.x.shape + 1;
  if (!like(args[0], call.x, call.x.ndim, call.x.shape, call.g) ||
      !like(args[2], call.x, 1, channels, call.mean) ||
      !like(args[3], call.x, 1, channels, call.rstd) ||
      !optional_vector(args, 4, call.x, 1, channels, call.weight)) {
    return kDeclined;
  }
  PyRef dx = new_array(call.x.dtype, call.x.ndim, call.x.shape, call.dx);
  PyRef dw = new_array(call.x.dtype, 1, channels, call.dw);
  PyRef db = new_array(call.x.dtype, 1, channels, call.db);
  execute(call, 6 * static_cast<double>(call.x.size()));
  return PyTuple_Pack(3, dx.get(), dw.get(), db.get());
}

struct GroupNormCall {
  ArrayRef x, weight, bias, y, mean, rstd;
  nn::ChannelShape shape;
  int64_t groups;
  double eps;
  static constexpr int kInputs = 3, kOutputs = 3;
  template <class T>
  static void run_as(const GroupNormCall& c) {
    const Contiguous<T> x(c.x), weight(c.weight), bias(c.bias);
    nn::group_norm<T>(c.shape, c.groups, x.get(), weight.get(), bias.get(), c.eps, c.y.as<T>(),
                      c.mean.as<T>(), c.rstd.as<T>());
  }
  static void run(const GroupNormCall& c) { run_floating(c); }
};

bool read_groups(PyObject* object, const nn::ChannelShape& shape, int64_t& groups) {
  return read_int(object, groups) && groups >= 1 && shape.channels % groups == 0;
}

Signature group_norm_signature{"group_norm", {"x", "groups", "weight", "bias", "eps"}, 5, 2};

PyObject* group_norm(const Arguments& args) {
  GroupNormCall call{};
  if (!channel_shape(args[0], call.x, call.shape) ||
      !read_groups(args[1], call.shape, call.groups)) {
    return kDeclined;
  }
  const int64_t* channels = call.x.shape + 1;
  if (!optional_vector(args, 2, call.x, 1, channels, call.weight) ||
      !optional_vector(args, 3, call.x, 1, channels, call.bias) || !read_eps(args, 4, call.eps)) {
    return kDeclined;
  }
  const int64_t saved[] = {call.shape.images, call.groups};
  PyRef y = new_array(call.x.dtype, call.x.ndim, call.x.shape, call.y);
  PyRef mean = new_array(call.x.dtype, 2, saved, call.mean);
  PyRef rstd = new_array(call.x.dtype, 2, saved, call.rstd);
  execute(call, 4 * static_cast<double>(call.x.size()));
  return PyTuple_Pack(3, y.get(), mean.get(), rstd.get());
}

struct GroupNormGradCall {
  ArrayRef g, x, mean, rstd, weight, dx, dw, db;
  nn::ChannelShape shape;
  int64_t groups;
  static constexpr int kInputs = 5, kOutputs = 3;
  template <class T>
  static void run_as(const GroupNormGradCall& c) {
    const Contiguous<T> g(c.g), x(c.x), mean(c.mean), rstd(c.rstd), weight(c.weight);
    nn::group_norm_grad<T>(c.shape, c.groups, g.get(), x.get(), mean.get(), rstd.get(),
                           weight.get(), c.dx.as<T>(), c.dw.as<T>(), c.db.as<T>());
  }
  static void run(const GroupNormGradCall& c) { run_floating(c); }
};

Signature group_norm_grad_signature{
    "group_norm_grad", {"g", "x", "mean", "rstd", "weight", "groups"}, 6, 6};

PyObject* group_norm_grad(const Arguments& args) {
  GroupNormGradCall call{};
  if (!channel_shape(args[1], call.x, call.shape) ||
      !read_groups(args[5], call.shape, call.groups)) {
    return kDeclined;
  }
  const int64_t* channels = call.x.shape + 1;
  const int64_t saved[] = {call.shape.images, call.groups};
  if (!like(args[0], call.x, call.x.ndim, call.x.shape, call.g) ||
      !like(args[2], call.x, 2, saved, call.mean) || !like(args[3], call.x, 2, saved, call.rstd) ||
      !optional_vector(args, 4, call.x, 1, channels, call.weight)) {
    return kDeclined;
  }
  PyRef dx = new_array(call.x.dtype, call.x.ndim, call.x.shape, call.dx);
  PyRef dw = new_array(call.x.dtype, 1, channels, call.dw);
  PyRef db = new_array(call.x.dtype, 1, channels, call.db);
  execute(call, 6 * static_cast<double>(call.x.size()));
  return PyTuple_Pack(3, dx.get(), dw.get(), db.get());
}

const Kernels kernels{
    {"layer_norm", native<layer_norm, layer_norm_signature>},
    {"layer_norm_grad", native<layer_norm_grad, layer_norm_grad_signature>},
    {"rms_norm", native<rms_norm, rms_norm_signature>},
    {"rms_norm_grad", native<rms_norm_grad, rms_norm_grad_signature>},
    {"batch_norm_train", native<batch_norm_train, batch_norm_train_signature>},
    {"batch_norm_apply", native<batch_norm_apply, batch_norm_apply_signature>},
    {"batch_norm_grad", native<batch_norm_grad, batch_norm_grad_signature>},
    {"group_norm", native<group_norm, group_norm_signature>},
    {"group_norm_grad", native<group_norm_grad, group_norm_grad_signature>},
};

}  // namespace
}  // namespace tilegrad::bindings
