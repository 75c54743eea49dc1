// Batch and group normalisation: NumPy arrays in, NumPy arrays out. Bad arguments decline: the
// twins say what is wrong.
#include "bindings/contiguous.h"
#include "bindings/norm_arguments.h"
#include "bindings/window.h"
#include "nn/norm.h"

namespace tilegrad::bindings {
namespace {

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
    {"batch_norm_train", native<batch_norm_train, batch_norm_train_signature>},
    {"batch_norm_apply", native<batch_norm_apply, batch_norm_apply_signature>},
    {"batch_norm_grad", native<batch_norm_grad, batch_norm_grad_signature>},
    {"group_norm", native<group_norm, group_norm_signature>},
    {"group_norm_grad", native<group_norm_grad, group_norm_grad_signature>},
};

}  // namespace
}  // namespace tilegrad::bindings
