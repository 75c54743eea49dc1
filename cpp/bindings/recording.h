// Native calls of a thread, recorded into a program.
#pragma once

#include <cstddef>
#include <vector>

#include "bindings/array.h"
#include "bindings/kernel.h"
#include "bindings/module.h"
#include "program/program.h"

namespace tilegrad::bindings {

// A program and what is known of its calls.
class Recording {
 public:
  Recording() : observer_{see, this} {}
  Recording(const Recording&) = delete;
  Recording& operator=(const Recording&) = delete;
  ~Recording();

  // Records the native calls of this thread, or stops to; whether it did before.
  bool listen(bool on);
  size_t size() const { return program_.size(); }
  void truncate(size_t size);
  // [(array, address, lowest byte, one past the highest byte, is output)] of the arrays of a call.
  pybind11::list arrays(size_t step) const;
  // Lets an array of a call begin at another address.
  void relocate(size_t step, int array, intptr_t address);
  // Runs the calls first ... last - 1, without the GIL where their work is worth giving it up.
  void run(size_t first, size_t last) const;
  // [(first, last, bytes of an operand)] of the calls first ... last - 1 that run_chain may take:
  // neighbouring elementwise calls on as many contiguous elements. At least two each.
  pybind11::list chains(size_t first, size_t last) const;
  // Runs such calls by blocks. What lies at the addresses `locals` is kept in block buffers only.
  void run_chain(size_t first, size_t last, const std::vector<intptr_t>& locals) const;

 private:
  struct Traits {
    int inputs, arrays;
    double work;  // elementary operations
  };

  const ArrayRef& array_at(size_t step, int i) const;
  double work(size_t first, size_t last) const;
  static void see(void* self, void (*run)(const void*), const void* call, size_t bytes, int inputs,
                  int outputs, double work);

  CallObserver observer_;
  program::Program program_;
  std::vector<Traits> traits_;
};

}  // namespace tilegrad::bindings
