// Matrix products: NumPy arrays in, NumPy arrays out.
#include "gemm/gemm.h"

#include "bindings/kernel.h"
#include "bindings/module.h"
#include "gemm/blocking.h"

namespace tilegrad::bindings {
namespace {

struct MatmulCall {
  ArrayRef a, b, c;
  static constexpr int kInputs = 2, kOutputs = 1;
  static void run(const MatmulCall& call);
};

template <class T>
void multiply(const MatmulCall& call) {
  const ArrayRef &a = call.a, &b = call.b, &c = call.c;
  gemm::gemm<T>({c.shape[0],
                 c.shape[1],
                 a.shape[1],
                 T(1),
                 T(0),
                 {a.as<const T>(), a.strides[0], a.strides[1]},
                 {b.as<const T>(), b.strides[0], b.strides[1]},
                 {c.as<T>(), c.strides[0], c.strides[1]}});
}

void MatmulCall::run(const MatmulCall& call) {
  call.c.dtype == DType::kFloat32 ? multiply<float>(call) : multiply<double>(call);
}

Signature matmul_signature{"matmul", {"a", "b", "out"}, 3, 2};

PyObject* matmul(const Arguments& args) {
  MatmulCall call;
  if (args.given(2) || !as_array(args[0], call.a) || !as_array(args[1], call.b)) return kDeclined;
  if (!is_float(call.a) || call.a.dtype != call.b.dtype) return kDeclined;
  if (call.a.ndim != 2 || call.b.ndim != 2) return kDeclined;
  if (call.a.shape[1] != call.b.shape[0]) {
    throw std::invalid_argument("matmul: a of shape " + shape_text(call.a.shape, 2) +
                                " has inner size " + std::to_string(call.a.shape[1]) +
                                " but b of shape " + shape_text(call.b.shape, 2) + " has " +
                                std::to_string(call.b.shape[0]) + "; transpose one of them?");
  }
  const int64_t shape[] = {call.a.shape[0], call.b.shape[1]};
  PyRef c = new_array(call.a.dtype, 2, shape, call.c);
  execute(call, static_cast<double>(shape[0]) * static_cast<double>(shape[1]) *
                    static_cast<double>(call.a.shape[1]));
  return c.release();
}

void override_blocking(int64_t kc, int64_t mc, int64_t nc, int pack_a, int pack_b) {
  gemm::override_blocking({kc, mc, nc, pack_a, pack_b});
}

const ModuleInit init([](pybind11::module_& m) {
  namespace py = pybind11;
  m.def("override_blocking", override_blocking, py::arg("kc") = 0, py::arg("mc") = 0,
        py::arg("nc") = 0, py::arg("pack_a") = 0, py::arg("pack_b") = 0,
        "For tests and sweeps: blocks that replace the chosen ones; packing 1 never, 2 always.");
});

const Kernels kernels{{"matmul", native<matmul, matmul_signature>}};

}  // namespace
}  // namespace tilegrad::bindings
