// How a binding file adds functions to the extension module: a ModuleInit at namespace scope.
#pragma once

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpedantic"
#pragma GCC diagnostic ignored "-Wshadow"
#include <pybind11/pybind11.h>
#pragma GCC diagnostic pop

namespace tilegrad::bindings {

struct ModuleInit {
  using Function = void (*)(pybind11::module_&);
  explicit ModuleInit(Function function);
};

}  // namespace tilegrad::bindings
