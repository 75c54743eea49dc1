// Operands packed once and used again: gemm(a, pack(b)).
#pragma once

#include "bindings/array.h"
#include "bindings/python.h"

namespace tilegrad::bindings {

struct PackedOperand {
  DType dtype;
  int64_t k, n;
  const void* data;
};

bool is_packed(PyObject* object);

// The handle's contents. Throws std::invalid_argument if its source was changed through the library
// since, or if it was packed for another instruction set.
PackedOperand packed_operand(PyObject* object);

// A handle of the 2-d array that `b` describes, which is `source` (kept alive).
PyRef make_packed(PyObject* source, const ArrayRef& b);

// Called for what a kernel has written: handles of arrays sharing memory with it are stale from
// then on. Costs one load while there are no handles.
void note_written(const ArrayRef& written);
extern int packed_handles;

}  // namespace tilegrad::bindings
