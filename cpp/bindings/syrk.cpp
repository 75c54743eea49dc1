// A A^T: a NumPy array in, a NumPy array out.
#include "gemm/syrk.h"

#include "bindings/kernel.h"
#include "bindings/products.h"

namespace tilegrad::bindings {
namespace {

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

const Kernels kernels{{"syrk", native<symmetric, syrk_signature>}};

}  // namespace
}  // namespace tilegrad::bindings
