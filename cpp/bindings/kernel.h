// How a native kernel is written and found.
//
// A family's binding file (cpp/bindings/<family>.cpp) holds, for each of its kernels,
//   (a) a function that parses, checks, allocates and fills a plain-data call, and
//   (b) the call's `run`, which knows nothing of Python,
// and registers (a) under the name of the twin:
//
//   struct ScaleCall {                      // trivially copyable: arrays first, inputs before
//   outputs
//     ArrayRef x, y;
//     double factor;
//     static constexpr int kInputs = 1, kOutputs = 1;
//     static void run(const ScaleCall& call);
//   };
//
//   Signature scale_signature{"scale", {"x", "factor"}, /*positional=*/2, /*required=*/2};
//
//   PyObject* scale(const Arguments& args) {
//     ScaleCall call;
//     if (!as_array(args[0], call.x) || !is_float(call.x)) return kDeclined;
//     call.factor = to_double(args[1], "scale: factor");
//     PyRef y = new_array(call.x.dtype, call.x.ndim, call.x.shape, call.y);
//     execute(call, double(call.x.size()));
//     return y.release();
//   }
//
//   const Kernels kernels{{"scale", native<scale, scale_signature>}};
#pragma once

#include <cstdint>
#include <initializer_list>
#include <type_traits>

#include "bindings/array.h"
#include "bindings/packed.h"
#include "bindings/python.h"
#include "runtime/threads.h"

namespace tilegrad::bindings {

// A vectorcall without the offset flag. Returns a new reference, null with an error set, or
// kDeclined.
using NativeFunction = PyObject* (*)(PyObject* const* args, Py_ssize_t nargs, PyObject* kwnames);

// Returned by a kernel that leaves these arguments to its twin; never seen by Python.
extern PyObject* const kDeclined;

struct KernelRow {
  const char* name;
  NativeFunction function;
};

// Puts rows into the table that Kernel(twin) looks names up in; made at namespace scope.
struct Kernels {
  Kernels(std::initializer_list<KernelRow> rows);
};

constexpr int kMaxArguments = 16;

// The twin's parameters in order. Names are also matched by identity, once interned.
struct Signature {
  const char* kernel;
  const char* names[kMaxArguments];  // ends with a null
  int positional;                    // how many may be given by position
  int required;                      // how many have no default
  PyObject* interned[kMaxArguments] = {};
  int count = -1;
};

// Parsed arguments: args[i] is the i-th parameter, borrowed, or null where not given.
class Arguments {
 public:
  // Throws TypeError in Python's words.
  Arguments(Signature& signature, PyObject* const* args, Py_ssize_t nargs, PyObject* kwnames);
  PyObject* operator[](int i) const { return slots_[i]; }
  bool given(int i) const { return slots_[i] != nullptr && slots_[i] != Py_None; }

 private:
  PyObject* slots_[kMaxArguments];
};

// The C function behind a kernel: parses, calls the body, turns exceptions into Python errors.
template <PyObject* (*body)(const Arguments&), Signature& signature>
PyObject* native(PyObject* const* args, Py_ssize_t nargs, PyObject* kwnames) {
  try {
    return body(Arguments(signature, args, nargs, kwnames));
  } catch (...) {
    set_error_from_exception();
    return nullptr;
  }
}

// Scalars. `what` begins the error text ("conv: stride").
double to_double(PyObject* object, const char* what);
int64_t to_int(PyObject* object, const char* what);
bool to_bool(PyObject* object, const char* what);
// A tuple or list of integers, or one integer repeated `count` times. Returns how many were read
// (at most kMaxDims); `count` < 0 takes any length.
int to_ints(PyObject* object, int count, const char* what, int64_t* out);

inline bool is_float(const ArrayRef& a) {
  return a.dtype == DType::kFloat32 || a.dtype == DType::kFloat64;
}

// Who wants to see the calls of this thread before they run: the recorder of cpp/program.
struct CallObserver {
  void (*see)(void* self, void (*run)(const void*), const void* call, size_t bytes, int inputs,
              int outputs, double work);
  void* self;
};
extern thread_local const CallObserver* call_observer;

bool kernels_are_watched();  // a dispatch hook is set

// Tells the error in flight again, with the name and the arguments of the kernel or operation that
// it leaves; see tilegrad/kernels/failure.py. Returns null.
PyObject* name_failure(PyObject* callee, PyObject* const* args, Py_ssize_t count);

bool poll_signals();  // takes the GIL; true if a Python signal handler raised

namespace detail {
template <class Call>
void run_erased(const void* call) {
  Call::run(*static_cast<const Call*>(call));
}
}  // namespace detail

// Work below this many elementary operations (some 20 us) keeps the GIL: giving it up and taking it
// back costs 0.1 us alone, and much more when another thread waits for it.
constexpr double kReleaseGilWork = 5e5;

// body(), without the GIL where `work` elementary operations are worth giving it up. True if a
// signal's handler raised meanwhile.
template <class Body>
bool run_unlocked(double work, Body body) {
  if (work < kReleaseGilWork) {
    body();
    return false;
  }
  struct Unlocked {
    PyThreadState* state = PyEval_SaveThread();
    ~Unlocked() { PyEval_RestoreThread(state); }
  };
  const Unlocked unlocked;
  const runtime::Interruptible scope(poll_signals);
  body();
  return scope.fired();
}

// Runs a call described as data; `work` is its number of elementary operations.
template <class Call>
void execute(const Call& call, double work) {
  static_assert(std::is_trivially_copyable_v<Call> && std::is_standard_layout_v<Call>,
                "a call is plain data that begins with its arrays");
  if (call_observer != nullptr) {
    call_observer->see(call_observer->self, detail::run_erased<Call>, &call, sizeof call,
                       Call::kInputs, Call::kOutputs, work);
  }
  if (packed_handles != 0) {
    const auto* arrays = reinterpret_cast<const ArrayRef*>(&call);
    for (int i = 0; i < Call::kOutputs; ++i) note_written(arrays[Call::kInputs + i]);
  }
  if (run_unlocked(work, [&] { Call::run(call); })) throw PythonError();
}

// call.run_as<T>(call) for the floating point type of its first array.
template <class Call>
void run_floating(const Call& call) {
  reinterpret_cast<const ArrayRef*>(&call)->dtype == DType::kFloat32
      ? Call::template run_as<float>(call)
      : Call::template run_as<double>(call);
}

}  // namespace tilegrad::bindings
