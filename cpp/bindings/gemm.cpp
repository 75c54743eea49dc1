// The general product of two matrices, packed operands, and what tests see of the blocking.
#include "gemm/gemm.h"

#include <algorithm>
#include <utility>

#include "bindings/kernel.h"
#include "bindings/module.h"
#include "bindings/products.h"
#include "gemm/blocking.h"
#include "simd/table.h"

namespace tilegrad::bindings {
namespace {

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

// A handle, or the array itself where there is no native code for it.
pybind11::object pack(const pybind11::object& source) {
  ArrayRef b;
  if (!as_array(source.ptr(), b) || !is_float(b) || b.ndim != 2) return source;
  return pybind11::reinterpret_steal<pybind11::object>(make_packed(source.ptr(), b).release());
}

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

const Kernels kernels{{"gemm", native<general, gemm_signature>}};

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
