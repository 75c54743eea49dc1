// Triangular systems and elimination; contracts: python/tilegrad/kernels/triangular.py.
#include "gemm/triangular.h"

#include <algorithm>
#include <stdexcept>
#include <string>

#include "bindings/kernel.h"
#include "gemm/eliminate.h"

namespace tilegrad::bindings {
namespace {

struct TriangularCall {
  ArrayRef a, b, x;  // equal batch axes; x contiguous
  bool upper, unit;
  static constexpr int kInputs = 2, kOutputs = 1;
  static void run(const TriangularCall& call);
};

// The offset of batch member `index` of `a`, whose last two axes are a matrix.
int64_t offset(const ArrayRef& a, int64_t index) {
  int64_t result = 0;
  for (int axis = a.ndim - 3; axis >= 0; --axis) {
    result += index % a.shape[axis] * a.strides[axis];
    index /= a.shape[axis];
  }
  return result;
}

// Copies the matrix at `source`, laid out as the last two axes of `a`, to rows one after another.
template <class T>
void copy_matrix(const ArrayRef& a, const T* source, T* out) {
  const int64_t m = a.shape[a.ndim - 2], n = a.shape[a.ndim - 1];
  const int64_t rs = a.strides[a.ndim - 2], cs = a.strides[a.ndim - 1];
  for (int64_t i = 0; i < m; ++i) {
    for (int64_t j = 0; j < n; ++j) out[i * n + j] = source[i * rs + j * cs];
  }
}

template <class T>
void solve(const TriangularCall& call) {
  const ArrayRef &a = call.a, &b = call.b;
  const int row = a.ndim - 2, column = a.ndim - 1;
  const int64_t n = b.shape[row], k = b.shape[column], size = n * k;
  const int64_t members = size == 0 ? 0 : call.x.size() / size;
  for (int64_t index = 0; index < members; ++index) {
    T* x = call.x.as<T>() + index * size;
    copy_matrix(b, b.as<T>() + offset(b, index), x);
    const gemm::Matrix<const T> matrix{a.as<T>() + offset(a, index), a.strides[row],
                                       a.strides[column]};
    gemm::solve_triangular<T>({n, matrix, call.upper, call.unit}, k, x);
  }
}

void TriangularCall::run(const TriangularCall& call) {
  call.x.dtype == DType::kFloat32 ? solve<float>(call) : solve<double>(call);
}

template <class T>
bool singular(const ArrayRef& a) {
  const int64_t n = a.shape[a.ndim - 1], step = a.strides[a.ndim - 2] + a.strides[a.ndim - 1];
  const int64_t members = n == 0 ? 0 : a.size() / (n * n);
  for (int64_t index = 0; index < members; ++index) {
    const T* diagonal = a.as<T>() + offset(a, index);
    for (int64_t i = 0; i < n; ++i) {
      if (diagonal[i * step] == T(0)) return true;
    }
  }
  return false;
}

Signature triangular_signature{"solve_triangular", {"a", "b", "upper", "unitriangular"}, 2, 2};

PyObject* triangular(const Arguments& args) {
  TriangularCall call;
  ArrayRef &a = call.a, &b = call.b;
  if (!as_array(args[0], a) || !as_array(args[1], b)) return kDeclined;
  if (!is_float(a) || a.dtype != b.dtype || a.ndim < 2 || a.ndim != b.ndim) return kDeclined;
  if (!std::equal(a.shape, a.shape + a.ndim - 2, b.shape)) return kDeclined;
  const int64_t n = a.shape[a.ndim - 1];
  if (a.shape[a.ndim - 2] != n || b.shape[b.ndim - 2] != n) return kDeclined;  // the twin says why
  call.upper = args.given(2) && to_bool(args[2], "solve_triangular: upper");
  call.unit = args.given(3) && to_bool(args[3], "solve_triangular: unitriangular");
  if (!call.unit && (a.dtype == DType::kFloat32 ? singular<float>(a) : singular<double>(a))) {
    return kDeclined;
  }
  PyRef x = new_array(b.dtype, b.ndim, b.shape, call.x);
  execute(call, 0.5 * static_cast<double>(n) * static_cast<double>(b.size()));
  return x.release();
}

// ---- elimination --------------------------------------------------------------------------------

struct EliminateCall {
  ArrayRef a, factors, pivots;  // equal batch axes; results contiguous
  static constexpr int kInputs = 1, kOutputs = 2;
  static void run(const EliminateCall& call);
};

template <class T>
void factor(const EliminateCall& call) {
  const ArrayRef& a = call.a;
  const int64_t m = a.shape[a.ndim - 2], n = a.shape[a.ndim - 1], steps = std::min(m, n);
  const int64_t members = steps == 0 ? 0 : a.size() / (m * n);
  for (int64_t index = 0; index < members; ++index) {
    T* factors = call.factors.as<T>() + index * m * n;
    copy_matrix(a, a.as<T>() + offset(a, index), factors);
    gemm::eliminate<T>(m, n, factors, call.pivots.as<int64_t>() + index * steps);
  }
}

void EliminateCall::run(const EliminateCall& call) {
  call.a.dtype == DType::kFloat32 ? factor<float>(call) : factor<double>(call);
}

Signature eliminate_signature{"eliminate", {"a"}, 1, 1};

PyObject* eliminate(const Arguments& args) {
  EliminateCall call;
  const ArrayRef& a = call.a;
  if (!as_array(args[0], call.a) || !is_float(a) || a.ndim < 2) return kDeclined;
  int64_t shape[kMaxDims];
  std::copy(a.shape, a.shape + a.ndim, shape);
  const int64_t steps = std::min(shape[a.ndim - 2], shape[a.ndim - 1]);
  PyRef factors = new_array(a.dtype, a.ndim, shape, call.factors);
  shape[a.ndim - 2] = steps;
  PyRef pivots = new_array(DType::kInt64, a.ndim - 1, shape, call.pivots);
  execute(call, static_cast<double>(steps) * static_cast<double>(a.size()) / 3);
  return PyTuple_Pack(2, factors.get(), pivots.get());
}

// ---- systems with known factors -----------------------------------------------------------------

struct FactoredCall {
  ArrayRef factors, pivots, b, x;  // equal batch axes; all but b contiguous; b.data null: inverse
  bool transposed;
  static constexpr int kInputs = 3, kOutputs = 1;
  static void run(const FactoredCall& call);
};

template <class T>
void solve_known(const FactoredCall& call) {
  const ArrayRef& x = call.x;
  const int64_t n = x.shape[x.ndim - 2], k = x.shape[x.ndim - 1];
  const int64_t members = n * k == 0 ? 0 : x.size() / (n * k);
  for (int64_t index = 0; index < members; ++index) {
    const gemm::Factored<T> a{n, call.factors.as<T>() + index * n * n,
                              call.pivots.as<int64_t>() + index * n};
    T* out = x.as<T>() + index * n * k;
    if (call.b.data == nullptr) {
      gemm::invert_factored(a, out);
    } else {
      copy_matrix(call.b, call.b.as<T>() + offset(call.b, index), out);
      gemm::solve_factored(a, call.transposed, k, out);
    }
  }
}

void FactoredCall::run(const FactoredCall& call) {
  call.x.dtype == DType::kFloat32 ? solve_known<float>(call) : solve_known<double>(call);
}

// Reads and checks the first two arguments; false: the twin's.
bool read_factors(const Arguments& args, FactoredCall& call) {
  const ArrayRef &factors = call.factors, &pivots = call.pivots;
  if (!as_array(args[0], call.factors) || !as_array(args[1], call.pivots)) return false;
  if (!is_float(factors) || factors.ndim < 2 || pivots.ndim != factors.ndim - 1) return false;
  if (pivots.dtype != DType::kInt64 || !pivots.contiguous() || !factors.contiguous()) return false;
  if (factors.shape[factors.ndim - 2] != factors.shape[factors.ndim - 1]) return false;
  if (!std::equal(pivots.shape, pivots.shape + pivots.ndim, factors.shape)) return false;
  const int64_t n = factors.shape[factors.ndim - 1];
  const auto* p = pivots.as<int64_t>();
  return std::all_of(p, p + pivots.size(), [=](int64_t i) { return i >= 0 && i < n; }) &&
         !(factors.dtype == DType::kFloat32 ? singular<float>(factors) : singular<double>(factors));
}

Signature solve_factored_signature{
    "solve_factored", {"factors", "pivots", "b", "transposed"}, 3, 3};

PyObject* solve_factored(const Arguments& args) {
  FactoredCall call;
  const ArrayRef &factors = call.factors, &b = call.b;
  if (!read_factors(args, call) || !as_array(args[2], call.b)) return kDeclined;
  if (b.dtype != factors.dtype || b.ndim != factors.ndim) return kDeclined;
  if (!std::equal(b.shape, b.shape + b.ndim - 1, factors.shape)) return kDeclined;
  call.transposed = args.given(3) && to_bool(args[3], "solve_factored: transposed");
  PyRef x = new_array(b.dtype, b.ndim, b.shape, call.x);
  execute(call, static_cast<double>(b.shape[b.ndim - 2]) * static_cast<double>(b.size()));
  return x.release();
}

Signature invert_factored_signature{"invert_factored", {"factors", "pivots"}, 2, 2};

PyObject* invert_factored(const Arguments& args) {
  FactoredCall call;
  const ArrayRef& factors = call.factors;
  if (!read_factors(args, call)) return kDeclined;
  call.b = factors;
  call.b.data = nullptr;
  call.transposed = false;
  PyRef x = new_array(factors.dtype, factors.ndim, factors.shape, call.x);
  execute(call, static_cast<double>(factors.shape[factors.ndim - 1]) *
                    static_cast<double>(factors.size()));
  return x.release();
}

const Kernels kernels{{"solve_triangular", native<triangular, triangular_signature>},
                      {"eliminate", native<eliminate, eliminate_signature>},
                      {"solve_factored", native<solve_factored, solve_factored_signature>},
                      {"invert_factored", native<invert_factored, invert_factored_signature>}};

}  // namespace
}  // namespace tilegrad::bindings
