// Batched products and outer products: NumPy arrays in, NumPy arrays out.
#include <algorithm>

#include "bindings/kernel.h"
#include "bindings/products.h"
#include "gemm/gemm.h"

namespace tilegrad::bindings {
namespace {

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

const Kernels kernels{{"matmul", native<matmul, matmul_signature>},
                      {"outer", native<outer, outer_signature>}};

}  // namespace
}  // namespace tilegrad::bindings
