// Arguments that all normalisations share. Nothing here raises: what does not fit gives false, the
// kernel declines and its twin says what is wrong.
#pragma once

#include "bindings/kernel.h"

namespace tilegrad::bindings {

// An optional weight or bias of `ndim` axes; data is null where it is None.
bool optional_vector(const Arguments& args, int i, const ArrayRef& x, int ndim,
                     const int64_t* shape, ArrayRef& out);

// An array of x's dtype and the given shape.
bool like(PyObject* object, const ArrayRef& x, int ndim, const int64_t* shape, ArrayRef& out);

// A number; 1e-5 where it is not given.
bool read_eps(const Arguments& args, int i, double& eps);

}  // namespace tilegrad::bindings
