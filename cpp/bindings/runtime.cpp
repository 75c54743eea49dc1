// The machine as Python sees it: threads, instruction sets, caches.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <string>
#include <vector>

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

// Multiply-adds per second (times two: FLOP/s) of independent chains on every one of `threads`
// threads: the best of several bursts of some milliseconds.
template <class T>
double peak_of(const simd::GemmKernels<T>& kernels, int threads) {
  using Clock = std::chrono::steady_clock;
  constexpr int64_t kRounds = 400000;  // a burst of 2 to 4 ms
  constexpr int kBursts = 12;
  double best = 0;
  for (int burst = 0; burst < kBursts; ++burst) {
    std::atomic<int> arrived{0};
    std::vector<double> rates(static_cast<size_t>(threads), 0.0);
    runtime::parallel_for(threads, threads, [&](int64_t task) {
      // All bursts begin together, or the processor would boost the first one alone.
      arrived.fetch_add(1);
      const auto called = Clock::now();
      while (arrived.load() < threads && Clock::now() - called < std::chrono::milliseconds(5)) {
      }
      T sink;
      const auto start = Clock::now();
      const double done = kernels.fma_burst(kRounds, &sink);
      const std::chrono::duration<double> seconds = Clock::now() - start;
      rates[static_cast<size_t>(task)] = done / seconds.count();
    });
    double total = 0;
    for (const double rate : rates) total += rate;
    best = std::max(best, total);
  }
  return 2 * best;
}

double fma_peak(const std::string& dtype, int threads) {
  if (dtype != "float32" && dtype != "float64") {
    throw py::value_error("fma_peak: expected 'float32' or 'float64', got '" + dtype + "'");
  }
  const py::gil_scoped_release unlocked;
  return dtype == "float32" ? peak_of(simd::table().gemm_f32, threads)
                            : peak_of(simd::table().gemm_f64, threads);
}

const ModuleInit init([](py::module_& m) {
  m.def("set_num_threads", set_num_threads, py::arg("threads"),
        "Limit the threads that kernels called from this thread use.");
  m.def("get_num_threads", runtime::thread_limit);
  m.def("available_isas", available_isas, "Instruction sets this machine runs, best first.");
  m.def("get_isa", [] { return simd::table().name; });
  m.def("set_isa", set_isa, py::arg("name"), "Use one of available_isas(); the previous one.");
  m.def("fma_peak", fma_peak, py::arg("dtype"), py::arg("threads") = 1,
        "FLOP/s of multiply-adds in registers, with the instruction set in use.");
  m.def("cpu", cpu, "Name, cache sizes in bytes and usable processors.");
});

}  // namespace
}  // namespace tilegrad::bindings
