// The extension module: imports NumPy and runs what the binding files registered.
#define TILEGRAD_IMPORT_ARRAY
#include "bindings/module.h"

#include <vector>

#include "bindings/numpy.h"

namespace tilegrad::bindings {
namespace {

std::vector<ModuleInit::Function>& functions() {
  static std::vector<ModuleInit::Function> registered;
  return registered;
}

}  // namespace

ModuleInit::ModuleInit(Function function) { functions().push_back(function); }

PYBIND11_MODULE(_native, module) {
  if (PyArray_ImportNumPyAPI() < 0) throw pybind11::error_already_set();
  module.doc() = "tilegrad's native kernels; use them through tilegrad.kernels.";
  module.attr("__version__") = TILEGRAD_VERSION;
  for (const ModuleInit::Function function : functions()) function(module);
}

}  // namespace tilegrad::bindings
