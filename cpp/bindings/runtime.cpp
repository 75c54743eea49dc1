// The machine as Python sees it: threads, instruction sets, caches.
#include <string>

#include "bindings/module.h"
#include "runtime/cpu.h"
#include "runtime/threads.h"
#include "simd/table.h"

namespace tilegrad::bindings {
namespace {

namespace py = pybind11;

void set_num_threads(int threads) {
  if (threads < 1) {
    throw py::value_error("set_num_threads: expected at least 1, got " + std::to_string(threads));
  }
  runtime::set_thread_limit(threads);
}

py::list available_isas() {
  const simd::SimdTable* const* tables;
  const int count = simd::available_tables(&tables);
  py::list names;
  for (int i = 0; i < count; ++i) names.append(tables[i]->name);
  return names;
}

std::string set_isa(const std::string& name) {
  const std::string previous = simd::table().name;
  if (simd::set_table(name.c_str()) == nullptr) {
    throw py::value_error("set_isa: '" + name + "' is not among " +
                          py::str(available_isas()).cast<std::string>());
  }
  return previous;
}

py::dict cpu() {
  const runtime::CpuInfo& info = runtime::cpu_info();
  py::dict result;
  result["brand"] = info.brand;
  result["l1d"] = info.l1d_bytes;
  result["l2"] = info.l2_bytes;
  result["l3"] = info.l3_bytes;
  result["cpus"] = runtime::usable_cpus();
  return result;
}

const ModuleInit init([](py::module_& m) {
  m.def("set_num_threads", set_num_threads, py::arg("threads"),
        "Limit the threads that kernels called from this thread use.");
  m.def("get_num_threads", runtime::thread_limit);
  m.def("available_isas", available_isas, "Instruction sets this machine runs, best first.");
  m.def("get_isa", [] { return simd::table().name; });
  m.def("set_isa", set_isa, py::arg("name"), "Use one of available_isas(); the previous one.");
  m.def("cpu", cpu, "Name, cache sizes in bytes and usable processors.");
});

}  // namespace
}  // namespace tilegrad::bindings
