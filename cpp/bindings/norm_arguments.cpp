#include "bindings/norm_arguments.h"

#include <algorithm>

namespace tilegrad::bindings {

bool optional_vector(const Arguments& args, int i, const ArrayRef& x, int ndim,
                     const int64_t* shape, ArrayRef& out) {
  out = ArrayRef{};
  out.dtype = x.dtype;
  if (!args.given(i)) return true;
  return as_array(args[i], out) && out.dtype == x.dtype && out.ndim == ndim &&
         std::equal(shape, shape + ndim, out.shape);
}

bool like(PyObject* object, const ArrayRef& x, int ndim, const int64_t* shape, ArrayRef& out) {
  return as_array(object, out) && out.dtype == x.dtype && out.ndim == ndim &&
         std::equal(shape, shape + ndim, out.shape);
}

bool read_eps(const Arguments& args, int i, double& eps) {
  eps = 1e-5;
  if (args[i] == nullptr) return true;
  eps = PyFloat_AsDouble(args[i]);
  if (eps == -1.0 && PyErr_Occurred()) {
    PyErr_Clear();
    return false;
  }
  return true;
}

}  // namespace tilegrad::bindings
