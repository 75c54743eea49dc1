// Matrix products: NumPy arrays in, NumPy arrays out.
#include "gemm/gemm.h"

#include <algorithm>
#include <cstring>

#include "bindings/kernel.h"
#include "bindings/module.h"
#include "gemm/blocking.h"
#include "gemm/syrk.h"
#include "simd/table.h"

namespace tilegrad::bindings {
namespace {

// ---- helpers ------------------------------------------------------------------------------------

std::string shape_of(const ArrayRef& a) { return shape_text(a.shape, a.ndim); }

[[noreturn]] void fail_inner(const char* op, const ArrayRef& a, int64_t a_inner, const ArrayRef& b,
                             int64_t b_inner) {
  throw std::invalid_argument(std::string(op) + ": a of shape " + shape_of(a) + " and b of shape " +
                              shape_of(b) + " do not multiply: the inner sizes are " +
                              std::to_string(a_inner) + " and " + std::to_string(b_inner) +
                              "; transpose one of them?");
}

template <class T>
gemm::Matrix<T> matrix(const ArrayRef& a, bool transpose = false) {
  using Plain = std::remove_const_t<T>;
  const int row = a.ndim - 2 + (transpose ? 1 : 0), column = a.ndim - 1 - (transpose ? 1 : 0);
  return {a.as<Plain>(), a.strides[row], a.strides[column]};
}

double work_of(int64_t m, int64_t n, int64_t k) {
  return static_cast<double>(m) * static_cast<double>(n) *
         static_cast<double>(std::max<int64_t>(k, 1));
}

// Where a result goes: into `out` if that is fit for it, or else into a fresh array, copied to
// `out` in the end where `out` shares memory with an operand.
class Result {
 public:
  // False: `out` is something only the twin can handle.
  bool prepare(PyObject* out, DType dtype, int ndim, const int64_t* shape, ArrayRef& result,
               std::initializer_list<const ArrayRef*> operands) {
    if (out == nullptr || out == Py_None) {
      array_ = new_array(dtype, ndim, shape, result);
      fresh_ = true;
      return true;
    }
    if (!as_writable_array(out, result) || result.dtype != dtype || result.ndim != ndim ||
        !std::equal(shape, shape + ndim, result.shape) || overlaps_itself(result)) {
      return false;
    }
    for (const ArrayRef* operand : operands) overlap_ = overlap_ || may_overlap(result, *operand);
    if (overlap_) {
      out_ = PyRef::borrow(out);
      array_ = new_array(dtype, ndim, shape, result);
    } else {
      array_ = PyRef::borrow(out);
    }
    return true;
  }

  PyObject* array() const { return array_.get(); }

  // A fresh result without axes is a scalar, as NumPy's products are.
  PyObject* finish() {
    if (!overlap_) {
      auto* array = reinterpret_cast<PyArrayObject*>(array_.release());
      return fresh_ ? PyArray_Return(array) : reinterpret_cast<PyObject*>(array);
    }
    if (PyArray_CopyInto(reinterpret_cast<PyArrayObject*>(out_.get()),
                         reinterpret_cast<PyArrayObject*>(array_.get())) < 0) {
      return nullptr;
    }
    ArrayRef written;
    if (packed_handles != 0 && as_array(out_.get(), written)) note_written(written);
    return out_.release();
  }

 private:
  PyRef array_, out_;
  bool fresh_ = false, overlap_ = false;
};

// ---- matmul -------------------------------------------------------------------------------------

struct MatmulCall {
  ArrayRef a, b, c;  // 1-d operands as rows and columns, batch axes broadcast: equal ranks
  static constexpr int kInputs = 2, kOutputs = 1;
  static void run(const MatmulCall& call);
};

template <class T>
void multiply(const MatmulCall& call) {
  const ArrayRef &a = call.a, &b = call.b, &c = call.c;
  const int batch = c.ndim - 2;
  const gemm::Product<T> g{c.shape[batch], c.shape[batch + 1], a.shape[batch + 1], T(1),
                           T(0),           matrix<const T>(a), matrix<const T>(b), matrix<T>(c)};
  if (batch == 0) {
    gemm::gemm(g);
  } else {
    gemm::gemm_batched<T>(g, {batch, c.shape, a.strides, b.strides, c.strides});
  }
}

void MatmulCall::run(const MatmulCall& call) {
  call.c.dtype == DType::kFloat32 ? multiply<float>(call) : multiply<double>(call);
}

// Puts axes of size 1 in front until the array has `ndim` of them.
void add_leading_axes(ArrayRef& a, int ndim) {
  const int added = ndim - a.ndim;
  if (added <= 0) return;
  std::copy_backward(a.shape, a.shape + a.ndim, a.shape + ndim);
  std::copy_backward(a.strides, a.strides + a.ndim, a.strides + ndim);
  std::fill_n(a.shape, added, 1);
  std::fill_n(a.strides, added, 0);
  a.ndim = static_cast<int8_t>(ndim);
}

// Makes batch axes of size 1 those of the result, at stride 0.
void broadcast_batch(ArrayRef& a, const int64_t* shape, int batch) {
  for (int i = 0; i < batch; ++i) {
    if (a.shape[i] != shape[i]) {
      a.shape[i] = shape[i];
      a.strides[i] = 0;
    }
  }
}

// Many times the same right operand: rows of all batches are the rows of one taller product.
void fold_batch_into_rows(MatmulCall& call) {
  while (call.c.ndim > 2) {
    const int axis = call.c.ndim - 3;  // the last batch axis
    ArrayRef &a = call.a, &b = call.b, &c = call.c;
    const int64_t rows = c.shape[axis + 1];
    const bool regular =
        b.strides[axis] == 0 && (rows == 1 || (a.strides[axis] == rows * a.strides[axis + 1] &&
                                               c.strides[axis] == rows * c.strides[axis + 1]));
    if (!regular) return;
    for (ArrayRef* array : {&a, &b, &c}) {
      if (array != &b) {
        if (rows == 1) array->strides[axis + 1] = array->strides[axis];
        array->shape[axis + 1] = array->shape[axis] * rows;
      }
      std::copy(array->shape + axis + 1, array->shape + array->ndim, array->shape + axis);
      std::copy(array->strides + axis + 1, array->strides + array->ndim, array->strides + axis);
      --array->ndim;
    }
  }
}

Signature matmul_signature{"matmul", {"a", "b", "out"}, 3, 2};

PyObject* matmul(const Arguments& args) {
  // a: (..., m, k) or (k,), b: (..., k, n) or (k,)
  MatmulCall call;
  ArrayRef &a = call.a, &b = call.b;
  if (!as_array(args[0], a) || !as_array(args[1], b)) return kDeclined;
  if (!is_float(a) || a.dtype != b.dtype) return kDeclined;
  if (a.ndim == 0 || b.ndim == 0) {
    throw std::invalid_argument("matmul: a of shape " + shape_of(a) + " and b of shape " +
                                shape_of(b) + ": a scalar is no matrix; multiply with * instead");
  }
  const int64_t a_inner = a.shape[a.ndim - 1], b_inner = b.shape[std::max(0, b.ndim - 2)];
  if (a_inner != b_inner) fail_inner("matmul", a, a_inner, b, b_inner);
  const bool a_vector = a.ndim == 1, b_vector = b.ndim == 1;
  if (a_vector) add_leading_axes(a, 2);
  if (b_vector) {
    b.ndim = 2;
    b.shape[1] = 1;
    b.strides[1] = 1;
  }
  int64_t shape[kMaxDims];
  const int ndim = std::max(a.ndim, b.ndim), batch = ndim - 2;
  if (batch > 0) {
    add_leading_axes(a, ndim);
    add_leading_axes(b, ndim);
    for (int i = 0; i < batch; ++i) {
      if (a.shape[i] != b.shape[i] && a.shape[i] != 1 && b.shape[i] != 1) {
        throw std::invalid_argument("matmul: a of shape " + shape_of(a) + " and b of shape " +
                                    shape_of(b) + ": batch axis " + std::to_string(i) + " has " +
                                    std::to_string(a.shape[i]) + " and " +
                                    std::to_string(b.shape[i]) + ", which do not broadcast");
      }
      shape[i] = a.shape[i] == 1 ? b.shape[i] : a.shape[i];
    }
    broadcast_batch(a, shape, batch);
    broadcast_batch(b, shape, batch);
  }
  int result_ndim = batch;
  if (!a_vector) shape[result_ndim++] = a.shape[batch];
  if (!b_vector) shape[result_ndim++] = b.shape[batch + 1];

  Result result;
  if (!result.prepare(args[2], a.dtype, result_ndim, shape, call.c, {&a, &b})) return kDeclined;
  ArrayRef& c = call.c;  // with the axes of 1-d operands put back, like the operands
  if (a_vector || b_vector) {
    if (a_vector) {
      if (!b_vector) {
        c.shape[batch + 1] = c.shape[batch];
        c.strides[batch + 1] = c.strides[batch];
      }
      c.shape[batch] = 1;
      c.strides[batch] = 0;
    }
    if (b_vector) {
      c.shape[batch + 1] = 1;
      c.strides[batch + 1] = 1;
    }
    c.ndim = static_cast<int8_t>(ndim);
  }
  double work = work_of(c.shape[batch], c.shape[batch + 1], a_inner);
  if (batch > 0) {
    for (int i = 0; i < batch; ++i) work *= static_cast<double>(shape[i]);
    fold_batch_into_rows(call);
  }
  if (work > 0) execute(call, work);
  return result.finish();
}

// ---- gemm ---------------------------------------------------------------------------------------

struct GemmCall {
  ArrayRef a, b, bias, c;  // 2-d; bias (m, 1) or (1, n), null without
  double alpha, beta;
  bool transpose_a, transpose_b, activated;
  simd::ElementwiseOp activation;
  const void* packed;  // B laid out for the tiles, or null
  static constexpr int kInputs = 3, kOutputs = 1;
  static void run(const GemmCall& call);
};

template <class T>
const simd::ElementwiseKernels<T>& elementwise() {
  if constexpr (sizeof(T) == 4) {
    return simd::table().elementwise_f32;
  } else {
    return simd::table().elementwise_f64;
  }
}

template <class T>
void general_product(const GemmCall& call) {
  const int64_t m = call.c.shape[0], n = call.c.shape[1];
  const int64_t k = call.a.shape[call.transpose_a ? 0 : 1];
  gemm::Product<T> g{m,
                     n,
                     k,
                     static_cast<T>(call.alpha),
                     static_cast<T>(call.beta),
                     matrix<const T>(call.a, call.transpose_a),
                     matrix<const T>(call.b, call.transpose_b),
                     matrix<T>(call.c)};
  const gemm::PackedB<T> packed{static_cast<const T*>(call.packed), k, n};
  if (call.packed != nullptr) g.b_packed = &packed;
  if (call.bias.data != nullptr) {
    const bool per_column = call.bias.shape[0] == 1 && call.bias.shape[1] == n;
    (per_column ? g.column_bias : g.row_bias) = call.bias.as<const T>();
  }
  if (call.activated && call.activation == simd::ElementwiseOp::relu) {
    g.relu = true;  // in registers
  } else if (call.activated) {
    g.activation = elementwise<T>().loops[static_cast<int>(call.activation)];
  }
  gemm::gemm(g);
}

void GemmCall::run(const GemmCall& call) {
  call.c.dtype == DType::kFloat32 ? general_product<float>(call) : general_product<double>(call);
}

// The bias of an m x n result: (n,), (1, n) or (m, 1), contiguous. False: left to the twin.
bool prepare_bias(PyObject* object, DType dtype, int64_t m, int64_t n, ArrayRef& bias) {
  if (!as_array(object, bias) || bias.dtype != dtype || bias.ndim < 1 || bias.ndim > 2 ||
      !bias.contiguous()) {
    return false;
  }
  add_leading_axes(bias, 2);
  const bool per_column = bias.shape[0] == 1 && bias.shape[1] == n;
  const bool per_row = bias.shape[0] == m && bias.shape[1] == 1;
  if (per_row || per_column) return true;
  if ((bias.shape[0] == 1 || bias.shape[0] == m) && (bias.shape[1] == 1 || bias.shape[1] == n)) {
    return false;  // broadcasts otherwise: (m, n), a single value
  }
  throw std::invalid_argument("gemm: bias of shape " + shape_of(bias) +
                              " does not fit a result of " + "shape (" + std::to_string(m) + ", " +
                              std::to_string(n) + "); expected (" + std::to_string(n) + ",) or (" +
                              std::to_string(m) + ", 1)");
}

// Reads the activation's name. False: the twin knows it, or says what it thinks of it.
bool prepare_activation(PyObject* object, GemmCall& call) {
  if (object == nullptr || object == Py_None) return true;
  if (!PyUnicode_Check(object)) return false;
  using Op = simd::ElementwiseOp;
  constexpr std::pair<const char*, Op> kKnown[] = {{"relu", Op::relu},
                                                   {"gelu", Op::gelu},
                                                   {"silu", Op::silu},
                                                   {"sigmoid", Op::sigmoid},
                                                   {"tanh", Op::tanh}};
  for (const auto& [name, op] : kKnown) {
    if (PyUnicode_CompareWithASCIIString(object, name) != 0) continue;
    call.activation = op;
    call.activated = true;
    return true;
  }
  return false;
}

Signature gemm_signature{
    "gemm",
    {"a", "b", "c", "alpha", "beta", "transpose_a", "transpose_b", "bias", "activation", "out"},
    3,
    2};

PyObject* general(const Arguments& args) {
  // op(a): (m, k), op(b): (k, n), c and the result: (m, n)
  GemmCall call{};
  if (!as_array(args[0], call.a) || !is_float(call.a)) return kDeclined;
  const bool packed = is_packed(args[1]);
  if (packed) {
    const PackedOperand operand = packed_operand(args[1]);
    call.b.dtype = operand.dtype;
    call.b.ndim = 2;
    call.b.shape[0] = operand.k;
    call.b.shape[1] = operand.n;
    call.packed = operand.data;
  } else if (!as_array(args[1], call.b)) {
    return kDeclined;
  }
  const ArrayRef &a = call.a, &b = call.b;
  if (a.dtype != b.dtype) {
    if (packed) throw TypeError("gemm: a and the packed b have different dtypes; cast one of them");
    return kDeclined;
  }
  if (a.ndim != 2 || b.ndim != 2) {
    throw std::invalid_argument("gemm: expected two matrices, got shapes " + shape_of(a) + " and " +
                                shape_of(b) + "; kernels.matmul takes batches and vectors");
  }
  call.transpose_a = args.given(5) && to_bool(args[5], "gemm: transpose_a");
  call.transpose_b = args.given(6) && to_bool(args[6], "gemm: transpose_b");
  if (packed && call.transpose_b) {
    throw std::invalid_argument("gemm: a packed b cannot be transposed; pack(b.T) instead");
  }
  call.alpha = args.given(3) ? to_double(args[3], "gemm: alpha") : 1.0;
  call.beta = args.given(4) ? to_double(args[4], "gemm: beta") : 0.0;
  const int64_t m = a.shape[call.transpose_a ? 1 : 0], k = a.shape[call.transpose_a ? 0 : 1];
  const int64_t n = b.shape[call.transpose_b ? 0 : 1], b_inner = b.shape[call.transpose_b ? 1 : 0];
  if (k != b_inner) fail_inner("gemm", a, k, b, b_inner);
  if (!prepare_activation(args[8], call)) return kDeclined;
  if (args.given(7) && !prepare_bias(args[7], a.dtype, m, n, call.bias)) return kDeclined;

  const int64_t shape[] = {m, n};
  ArrayRef c;
  if (call.beta != 0) {
    if (!args.given(2)) {
      throw std::invalid_argument("gemm: beta is not zero, but there is no c for it to scale");
    }
    if (!as_array(args[2], c) || c.dtype != a.dtype) return kDeclined;
    if (c.ndim != 2 || c.shape[0] != m || c.shape[1] != n)
      return kDeclined;  // broadcasts, or fails
  }
  Result result;
  if (!result.prepare(args[9], a.dtype, 2, shape, call.c, {&a, &b})) return kDeclined;
  if (call.beta != 0 && call.c.data != c.data) {
    // C is added where it will be overwritten.
    auto* source = reinterpret_cast<PyArrayObject*>(args[2]);
    PyObject* into = result.array();
    if (PyArray_CopyInto(reinterpret_cast<PyArrayObject*>(into), source) < 0) return nullptr;
  } else if (call.beta != 0 && !std::equal(c.strides, c.strides + 2, call.c.strides)) {
    return kDeclined;  // the same memory seen in two ways
  }
  execute(call, work_of(m, n, k));
  return result.finish();
}

// ---- pack, outer, syrk --------------------------------------------------------------------------

// A handle, or the array itself where there is no native code for it.
pybind11::object pack(const pybind11::object& source) {
  ArrayRef b;
  if (!as_array(source.ptr(), b) || !is_float(b) || b.ndim != 2) return source;
  return pybind11::reinterpret_steal<pybind11::object>(make_packed(source.ptr(), b).release());
}

Signature outer_signature{"outer", {"a", "b"}, 2, 2};

PyObject* outer(const Arguments& args) {
  MatmulCall call;
  ArrayRef &a = call.a, &b = call.b;
  if (!as_array(args[0], a) || !as_array(args[1], b)) return kDeclined;
  if (!is_float(a) || a.dtype != b.dtype || a.ndim != 1 || b.ndim != 1) return kDeclined;
  a.ndim = 2;  // (m, 1)
  a.shape[1] = 1;
  a.strides[1] = 1;
  add_leading_axes(b, 2);  // (1, n)
  const int64_t shape[] = {a.shape[0], b.shape[1]};
  PyRef c = new_array(a.dtype, 2, shape, call.c);
  execute(call, work_of(shape[0], shape[1], 1));
  return c.release();
}

struct SyrkCall {
  ArrayRef a, c;
  double alpha;
  bool transpose;
  static constexpr int kInputs = 1, kOutputs = 1;
  static void run(const SyrkCall& call);
};

void SyrkCall::run(const SyrkCall& call) {
  const int64_t m = call.c.shape[0], k = call.a.shape[call.transpose ? 0 : 1];
  if (call.c.dtype == DType::kFloat32) {
    gemm::syrk<float>(m, k, static_cast<float>(call.alpha),
                      matrix<const float>(call.a, call.transpose), matrix<float>(call.c));
  } else {
    gemm::syrk<double>(m, k, call.alpha, matrix<const double>(call.a, call.transpose),
                       matrix<double>(call.c));
  }
}

Signature syrk_signature{"syrk", {"a", "transpose", "alpha"}, 1, 1};

PyObject* symmetric(const Arguments& args) {
  SyrkCall call;
  if (!as_array(args[0], call.a) || !is_float(call.a)) return kDeclined;
  if (call.a.ndim != 2) {
    throw std::invalid_argument("syrk: expected a matrix, got shape " + shape_of(call.a));
  }
  call.transpose = args.given(1) && to_bool(args[1], "syrk: transpose");
  call.alpha = args.given(2) ? to_double(args[2], "syrk: alpha") : 1.0;
  const int64_t m = call.a.shape[call.transpose ? 1 : 0], shape[] = {m, m};
  PyRef c = new_array(call.a.dtype, 2, shape, call.c);
  execute(call, work_of(m, m, call.a.shape[call.transpose ? 0 : 1]));
  return c.release();
}

// ---- the table ----------------------------------------------------------------------------------

void override_blocking(int64_t kc, int64_t mc, int64_t nc, int pack_a, int pack_b) {
  gemm::override_blocking({kc, mc, nc, pack_a, pack_b});
}

// What choose_blocking says for the tile of 14 rows and two vectors of 64 bytes, on given caches.
pybind11::dict blocking(int64_t m, int64_t n, int64_t k, int item, bool a_rows, bool b_rows,
                        int64_t l1, int64_t l2, int64_t l3) {
  const gemm::Blocking chosen =
      gemm::choose_blocking({m, n, k, item, 14, 64 / item, 2, a_rows, b_rows}, {l1, l2, l3});
  pybind11::dict result;
  result["kc"] = chosen.kc;
  result["mc"] = chosen.mc;
  result["nc"] = chosen.nc;
  result["depth"] = chosen.depth;
  result["pack_a"] = chosen.pack_a;
  result["pack_b"] = chosen.pack_b;
  result["sliced"] = chosen.sliced;
  return result;
}

const Kernels kernels{{"matmul", native<matmul, matmul_signature>},
                      {"gemm", native<general, gemm_signature>},
                      {"outer", native<outer, outer_signature>},
                      {"syrk", native<symmetric, syrk_signature>}};

const ModuleInit init([](pybind11::module_& m) {
  namespace py = pybind11;
  m.def("override_blocking", override_blocking, py::arg("kc") = 0, py::arg("mc") = 0,
        py::arg("nc") = 0, py::arg("pack_a") = 0, py::arg("pack_b") = 0,
        "For tests and sweeps: blocks that replace the chosen ones; packing 1 never, 2 always.");
  m.def("blocking", blocking, py::arg("m"), py::arg("n"), py::arg("k"), py::arg("item"),
        py::arg("a_rows"), py::arg("b_rows"), py::arg("l1"), py::arg("l2"), py::arg("l3"),
        "How a product would be cut: a pure function of its arguments.");
  m.def("pack", pack, py::arg("b"));
  m.def("set_batch_invariant", [](bool on) {
    const bool before = gemm::batch_invariant();
    gemm::set_batch_invariant(on);
    return before;
  });
});

}  // namespace
}  // namespace tilegrad::bindings
