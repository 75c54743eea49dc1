// Attention: heads of any strides run natively as they lie, so that splitting and merging heads
// copies nothing; results lie in memory as the query, the key and the value do.
#include "nn/attention.h"

#include <algorithm>

#include "bindings/contiguous.h"
#include "bindings/kernel.h"

namespace tilegrad::bindings {
namespace {

constexpr int kAxes = 4;  // samples, heads, rows, features

// The array with axes of length 1 in front, four in all.
ArrayRef four_axes(const ArrayRef& a) {
  ArrayRef wide = a;
  const int missing = kAxes - a.ndim;
  wide.ndim = kAxes;
  for (int i = kAxes - 1; i >= 0; --i) {
    wide.shape[i] = i < missing ? 1 : a.shape[i - missing];
    wide.strides[i] = i < missing ? 0 : a.strides[i - missing];
  }
  return wide;
}

// Rows of features side by side: the array itself, or a copy as long as this object lives.
template <class T>
class Rows {
 public:
  explicit Rows(const ArrayRef& a) {
    const ArrayRef wide = four_axes(a);
    const bool plain = wide.strides[3] == 1 || wide.shape[3] <= 1;
    if (!plain) copy_.emplace(a);
    const int64_t row = wide.shape[3], head = wide.shape[2] * row, sample = wide.shape[1] * head;
    rows_ = plain ? nn::HeadRows<const T>{a.as<const T>(), wide.strides[0], wide.strides[1],
                                          wide.strides[2]}
                  : nn::HeadRows<const T>{copy_->get(), sample, head, row};
  }
  const nn::HeadRows<const T>& get() const { return rows_; }

 private:
  std::optional<Contiguous<T>> copy_;
  nn::HeadRows<const T> rows_;
};

template <class T>
nn::HeadRows<T> written(const ArrayRef& a) {
  const ArrayRef wide = four_axes(a);
  return {a.as<T>(), wide.strides[0], wide.strides[1], wide.strides[2]};
}

// A fresh array of a's dtype whose axes but the last lie in memory in the order of a's.
PyRef new_like(const ArrayRef& a, const int64_t* shape, ArrayRef& out) {
  npy_intp order[kMaxDims], back[kMaxDims];
  int64_t stored[kMaxDims];
  for (int i = 0; i < a.ndim; ++i) order[i] = i;
  std::stable_sort(order, order + a.ndim - 1, [&a](npy_intp i, npy_intp j) {
    return std::abs(a.strides[i]) > std::abs(a.strides[j]);
  });
  for (int i = 0; i < a.ndim; ++i) {
    stored[i] = shape[order[i]];
    back[order[i]] = i;
  }
  const PyRef whole = new_array(a.dtype, a.ndim, stored, out);
  PyArray_Dims axes{back, a.ndim};
  PyRef view(PyArray_Transpose(reinterpret_cast<PyArrayObject*>(whole.get()), &axes));
  if (!view || !as_array(view.get(), out)) throw PythonError();
  return view;
}

struct AttentionOptions {
  nn::AttentionShape shape;
  bool causal;
  double scale, dropout;
};

template <class T, class Call>
nn::Attention<T> describe(const Call& call, const nn::HeadRows<const T>& q,
                          const nn::HeadRows<const T>& k, const nn::HeadRows<const T>& v) {
  const AttentionOptions& options = call.options;
  // a replay may bring another seed
  const auto seed =
      options.dropout > 0 ? static_cast<uint64_t>(*call.seed.template as<const int64_t>()) : 0;
  nn::Attention<T> what{options.shape,   q,   k, v, {}, options.causal, options.scale,
                        options.dropout, seed};
  if (call.mask.data == nullptr) return what;
  const ArrayRef mask = four_axes(call.mask);
  const auto step = [&mask](int axis) { return mask.shape[axis] == 1 ? 0 : mask.strides[axis]; };
  const bool numbers = mask.dtype != DType::kBool;
  what.mask = {numbers ? mask.as<const T>() : nullptr,
               numbers ? nullptr : mask.as<const uint8_t>(),
               step(0),
               step(1),
               step(2),
               step(3)};
  return what;
}

struct AttentionCall {
  ArrayRef q, k, v, mask, seed, y, log_sum;  // mask and seed may be absent
  AttentionOptions options;
  static constexpr int kInputs = 5, kOutputs = 2;
  static void run(const AttentionCall& call) {
    call.q.dtype == DType::kFloat32 ? run_as<float>(call) : run_as<double>(call);
  }

 private:
  template <class T>
  static void run_as(const AttentionCall& call) {
    const Rows<T> q(call.q), k(call.k), v(call.v);
    nn::attention<T>(describe<T>(call, q.get(), k.get(), v.get()), written<T>(call.y),
                     call.log_sum.as<T>());
  }
};

struct AttentionGradCall {
  ArrayRef g, q, k, v, mask, seed, y, log_sum, dq, dk, dv;
  AttentionOptions options;
  static constexpr int kInputs = 8, kOutputs = 3;
  static void run(const AttentionGradCall& call) {
    call.q.dtype == DType::kFloat32 ? run_as<float>(call) : run_as<double>(call);
  }

 private:
  template <class T>
  static void run_as(const AttentionGradCall& call) {
    const Rows<T> g(call.g), q(call.q), k(call.k), v(call.v), y(call.y);
    const Contiguous<T> log_sum(call.log_sum);
    nn::attention_grad<T>(describe<T>(call, q.get(), k.get(), v.get()), g.get(), y.get(),
                          log_sum.get(), written<T>(call.dq), written<T>(call.dk),
                          written<T>(call.dv));
  }
};

// None, or bools or numbers that broadcast to the scores.
bool read_mask(PyObject* object, const nn::AttentionShape& shape, DType dtype, int axes,
               ArrayRef& mask) {
  if (object == nullptr || object == Py_None) {
    mask = {};
    mask.ndim = 1;
    return true;
  }
  if (!as_array(object, mask) || mask.ndim > axes) return false;
  if (mask.dtype != DType::kBool && mask.dtype != dtype) return false;
  const ArrayRef wide = four_axes(mask);
  const int64_t scores[] = {shape.samples, shape.heads, shape.queries, shape.keys};
  for (int i = 0; i < kAxes; ++i) {
    if (wide.shape[i] != 1 && wide.shape[i] != scores[i]) return false;
  }
  return true;
}

bool read_seed(PyObject* object, double dropout, ArrayRef& seed) {
  if (dropout > 0) {
    return as_array(object, seed) && seed.dtype == DType::kInt64 && seed.size() == 1;
  }
  seed = {};
  seed.ndim = 1;
  return true;
}

// q, k and v and what they say of the sizes; false for what the twin has to take or complain about.
template <class Call>
bool read_operands(PyObject* query, PyObject* key, PyObject* value, Call& call) {
  if (!as_array(query, call.q) || !as_array(key, call.k) || !as_array(value, call.v)) return false;
  const ArrayRef &q = call.q, &k = call.k, &v = call.v;
  if (!is_float(q) || k.dtype != q.dtype || v.dtype != q.dtype) return false;
  if (q.ndim < 2 || q.ndim > kAxes || k.ndim != q.ndim || v.ndim != q.ndim) return false;
  const ArrayRef wide = four_axes(q), keys = four_axes(k), values = four_axes(v);
  call.options.shape = {wide.shape[0], wide.shape[1], keys.shape[1],  wide.shape[2],
                        keys.shape[2], wide.shape[3], values.shape[3]};
  return keys.shape[0] == wide.shape[0] && values.shape[0] == wide.shape[0] &&
         values.shape[1] == keys.shape[1] && values.shape[2] == keys.shape[2] &&
         keys.shape[3] == wide.shape[3] && keys.shape[1] > 0 && wide.shape[1] % keys.shape[1] == 0;
}

// mask, seed, and from args[first] on causal, scale and dropout; scores have `axes` axes.
template <class Call>
bool read_options(const Arguments& args, PyObject* mask, PyObject* seed, int first, DType dtype,
                  int axes, Call& call) {
  AttentionOptions& options = call.options;
  options.causal = args[first] != nullptr && to_bool(args[first], "attention: causal");
  options.scale = args[first + 1] != nullptr ? to_double(args[first + 1], "attention: scale") : 1.0;
  options.dropout =
      args[first + 2] != nullptr ? to_double(args[first + 2], "attention: dropout") : 0.0;
  return options.dropout >= 0 && options.dropout <= 1 &&
         read_mask(mask, options.shape, dtype, axes, call.mask) &&
         read_seed(seed, options.dropout, call.seed);
}

double work_of(const nn::AttentionShape& shape) {
  return static_cast<double>(shape.samples * shape.heads * shape.queries) *
         static_cast<double>(shape.keys * (shape.features + shape.value_features + 10));
}

Signature attention_signature{
    "attention", {"q", "k", "v", "mask", "seed", "causal", "scale", "dropout"}, 8, 3};
PyObject* attention(const Arguments& args) {
  AttentionCall call;
  if (!read_operands(args[0], args[1], args[2], call) ||
      !read_options(args, args[3], args[4], 5, call.q.dtype, call.q.ndim, call)) {
    return kDeclined;
  }
  const ArrayRef& q = call.q;
  int64_t shape[kMaxDims];
  std::copy_n(q.shape, q.ndim, shape);
  shape[q.ndim - 1] = call.v.shape[q.ndim - 1];
  PyRef y = new_like(q, shape, call.y);
  PyRef log_sum = new_array(q.dtype, q.ndim - 1, q.shape, call.log_sum);
  execute(call, work_of(call.options.shape));
  return PyTuple_Pack(2, y.get(), log_sum.get());
}

Signature attention_grad_signature{
    "attention_grad",
    {"g", "q", "k", "v", "mask", "seed", "y", "log_sum", "causal", "scale", "dropout"},
    11,
    8};
PyObject* attention_grad(const Arguments& args) {
  AttentionGradCall call;
  if (!read_operands(args[1], args[2], args[3], call) ||
      !read_options(args, args[4], args[5], 8, call.q.dtype, call.q.ndim, call)) {
    return kDeclined;
  }
  if (!as_array(args[0], call.g) || !as_array(args[6], call.y) ||
      !as_array(args[7], call.log_sum)) {
    return kDeclined;
  }
  const ArrayRef& q = call.q;
  int64_t shape[kMaxDims];
  std::copy_n(q.shape, q.ndim, shape);
  shape[q.ndim - 1] = call.v.shape[q.ndim - 1];
  for (const ArrayRef* a : {&call.g, &call.y}) {
    if (a->dtype != q.dtype || a->ndim != q.ndim || !std::equal(shape, shape + q.ndim, a->shape)) {
      return kDeclined;
    }
  }
  const ArrayRef& log_sum = call.log_sum;
  if (log_sum.dtype != q.dtype || log_sum.ndim != q.ndim - 1 ||
      !std::equal(q.shape, q.shape + q.ndim - 1, log_sum.shape)) {
    return kDeclined;
  }
  PyRef dq = new_like(q, q.shape, call.dq);
  PyRef dk = new_like(call.k, call.k.shape, call.dk);
  PyRef dv = new_like(call.v, call.v.shape, call.dv);
  execute(call, 3 * work_of(call.options.shape));
  return PyTuple_Pack(3, dq.get(), dk.get(), dv.get());
}

// ---- query, key and value side by side --------------------------------------------------------

// Heads of `width` features from `data` on, in rows of an array (T, N, *) or (N, T, *).
template <class T>
nn::HeadRows<T> heads_in(T* data, const int64_t* steps, bool batch_first, int64_t width) {
  return {data, steps[batch_first ? 0 : 1], width, steps[batch_first ? 1 : 0]};
}

// The three parts of a row of 3 E numbers, which lie side by side.
template <class T>
struct Thirds {
  nn::HeadRows<T> q, k, v;

  Thirds(T* data, const int64_t* steps, bool batch_first, const nn::AttentionShape& shape) {
    const int64_t all = shape.heads * shape.features;
    q = heads_in(data, steps, batch_first, shape.features);
    k = heads_in(data + all, steps, batch_first, shape.features);
    v = heads_in(data + 2 * all, steps, batch_first, shape.features);
  }
};

// An array of three axes with its last one side by side, copied if it does not lie so.
template <class T>
class Lines {
 public:
  explicit Lines(const ArrayRef& a) : data_(a.as<const T>()), steps_{a.strides[0], a.strides[1]} {
    if (a.strides[2] == 1 || a.shape[2] <= 1) return;
    copy_.emplace(a);
    data_ = copy_->get();
    steps_[1] = a.shape[2];
    steps_[0] = a.shape[1] * a.shape[2];
  }
  const T* data() const { return data_; }
  const int64_t* steps() const { return steps_; }

 private:
  std::optional<Contiguous<T>> copy_;
  const T* data_;
  int64_t steps_[2];
};

struct SelfAttentionCall {
  ArrayRef qkv, mask, seed, y, log_sum;
  AttentionOptions options;
  bool batch_first;
  static constexpr int kInputs = 3, kOutputs = 2;
  static void run(const SelfAttentionCall& call) {
    call.qkv.dtype == DType::kFloat32 ? run_as<float>(call) : run_as<double>(call);
  }

 private:
  template <class T>
  static void run_as(const SelfAttentionCall& call) {
    const Lines<T> qkv(call.qkv);
    const nn::AttentionShape& shape = call.options.shape;
    const Thirds<const T> parts(qkv.data(), qkv.steps(), call.batch_first, shape);
    nn::attention<T>(describe<T>(call, parts.q, parts.k, parts.v),
                     heads_in(call.y.as<T>(), call.y.strides, call.batch_first, shape.features),
                     call.log_sum.as<T>());
  }
};

struct SelfAttentionGradCall {
  ArrayRef g, qkv, mask, seed, y, log_sum, dqkv;
  AttentionOptions options;
  bool batch_first;
  static constexpr int kInputs = 6, kOutputs = 1;
  static void run(const SelfAttentionGradCall& call) {
    call.qkv.dtype == DType::kFloat32 ? run_as<float>(call) : run_as<double>(call);
  }

 private:
  template <class T>
  static void run_as(const SelfAttentionGradCall& call) {
    const Lines<T> g(call.g), qkv(call.qkv), y(call.y);
    const Contiguous<T> log_sum(call.log_sum);
    const nn::AttentionShape& shape = call.options.shape;
    const bool first = call.batch_first;
    const Thirds<const T> parts(qkv.data(), qkv.steps(), first, shape);
    const Thirds<T> out(call.dqkv.as<T>(), call.dqkv.strides, first, shape);
    nn::attention_grad<T>(describe<T>(call, parts.q, parts.k, parts.v),
                          heads_in(g.data(), g.steps(), first, shape.features),
                          heads_in(y.data(), y.steps(), first, shape.features), log_sum.get(),
                          out.q, out.k, out.v);
  }
};

// qkv, the number of heads and the order of the axes.
template <class Call>
bool read_packed(PyObject* qkv, PyObject* heads, PyObject* batch_first, Call& call) {
  if (!as_array(qkv, call.qkv) || !is_float(call.qkv) || call.qkv.ndim != 3) return false;
  const int64_t count = heads != nullptr ? to_int(heads, "self_attention: heads") : 1;
  call.batch_first = batch_first != nullptr && to_bool(batch_first, "self_attention: batch_first");
  const int64_t* shape = call.qkv.shape;
  if (count <= 0 || shape[2] % (3 * count) != 0) return false;
  const int64_t samples = shape[call.batch_first ? 0 : 1], rows = shape[call.batch_first ? 1 : 0];
  const int64_t features = shape[2] / (3 * count);
  call.options.shape = {samples, count, count, rows, rows, features, features};
  return true;
}

Signature self_attention_signature{
    "self_attention",
    {"qkv", "mask", "seed", "heads", "batch_first", "causal", "scale", "dropout"},
    8,
    1};
PyObject* self_attention(const Arguments& args) {
  SelfAttentionCall call;
  if (!read_packed(args[0], args[3], args[4], call) ||
      !read_options(args, args[1], args[2], 5, call.qkv.dtype, kAxes, call)) {
    return kDeclined;
  }
  const nn::AttentionShape& shape = call.options.shape;
  const DType dtype = call.qkv.dtype;
  const int64_t merged[] = {call.qkv.shape[0], call.qkv.shape[1], call.qkv.shape[2] / 3};
  const int64_t sums[] = {shape.samples, shape.heads, shape.queries};
  PyRef y = new_array(dtype, 3, merged, call.y);
  PyRef log_sum = new_array(dtype, 3, sums, call.log_sum);
  execute(call, work_of(shape));
  return PyTuple_Pack(2, y.get(), log_sum.get());
}

Signature self_attention_grad_signature{"self_attention_grad",
                                        {"g", "qkv", "mask", "seed", "y", "log_sum", "heads",
                                         "batch_first", "causal", "scale", "dropout"},
                                        11,
                                        6};
PyObject* self_attention_grad(const Arguments& args) {
  SelfAttentionGradCall call;
  if (!read_packed(args[1], args[6], args[7], call) ||
      !read_options(args, args[2], args[3], 8, call.qkv.dtype, kAxes, call) ||
      !as_array(args[0], call.g) || !as_array(args[4], call.y) ||
      !as_array(args[5], call.log_sum)) {
    return kDeclined;
  }
  const nn::AttentionShape& shape = call.options.shape;
  const ArrayRef& qkv = call.qkv;
  const int64_t merged[] = {qkv.shape[0], qkv.shape[1], qkv.shape[2] / 3};
  const int64_t sums[] = {shape.samples, shape.heads, shape.queries};
  const auto fits = [&qkv](const ArrayRef& a, const int64_t* wanted) {
    return a.dtype == qkv.dtype && a.ndim == 3 && std::equal(wanted, wanted + 3, a.shape);
  };
  if (!fits(call.g, merged) || !fits(call.y, merged) || !fits(call.log_sum, sums)) return kDeclined;
  PyRef dqkv = new_array(qkv.dtype, 3, qkv.shape, call.dqkv);
  execute(call, 3 * work_of(shape));
  return dqkv.release();
}

const Kernels kernels{
    {"attention", native<attention, attention_signature>},
    {"attention_grad", native<attention_grad, attention_grad_signature>},
    {"self_attention", native<self_attention, self_attention_signature>},
    {"self_attention_grad", native<self_attention_grad, self_attention_grad_signature>}};

}  // namespace
}  // namespace tilegrad::bindings
