#include <cstring>

#include "bindings/kernel.h"

namespace tilegrad::bindings {
namespace {

void intern_names(Signature& signature) {
  int count = 0;
  for (; count < kMaxArguments && signature.names[count] != nullptr; ++count) {
    signature.interned[count] = PyUnicode_InternFromString(signature.names[count]);
    if (signature.interned[count] == nullptr) throw PythonError();
  }
  signature.count = count;
}

int find_name(const Signature& signature, PyObject* name) {
  for (int i = 0; i < signature.count; ++i) {
    if (signature.interned[i] == name) return i;
  }
  for (int i = 0; i < signature.count; ++i) {
    if (PyUnicode_Compare(signature.interned[i], name) == 0) return i;
  }
  return -1;
}

[[noreturn]] void fail(const Signature& signature, const std::string& text) {
  throw TypeError(std::string(signature.kernel) + "() " + text);
}

std::string utf8(PyObject* text) {
  const char* characters = PyUnicode_AsUTF8(text);
  if (characters == nullptr) throw PythonError();
  return characters;
}

[[noreturn]] void expected(const char* what, const char* kind, PyObject* got) {
  PyErr_Clear();
  throw TypeError(std::string(what) + ": expected " + kind + ", got " + Py_TYPE(got)->tp_name);
}

}  // namespace

Arguments::Arguments(Signature& signature, PyObject* const* args, Py_ssize_t nargs,
                     PyObject* kwnames) {
  if (signature.count < 0) intern_names(signature);
  if (nargs > signature.positional) {
    fail(signature, "takes " + std::to_string(signature.positional) + " positional arguments but " +
                        std::to_string(nargs) + " were given");
  }
  for (int i = 0; i < signature.count; ++i) slots_[i] = i < nargs ? args[i] : nullptr;
  const Py_ssize_t named = kwnames != nullptr ? PyTuple_GET_SIZE(kwnames) : 0;
  for (Py_ssize_t i = 0; i < named; ++i) {
    PyObject* name = PyTuple_GET_ITEM(kwnames, i);
    const int slot = find_name(signature, name);
    if (slot < 0) fail(signature, "got an unexpected keyword argument '" + utf8(name) + "'");
    if (slots_[slot] != nullptr) {
      fail(signature, "got multiple values for argument '" + utf8(name) + "'");
    }
    slots_[slot] = args[nargs + i];
  }
  for (int i = 0; i < signature.required; ++i) {
    if (slots_[i] == nullptr) {
      fail(signature, std::string("missing required argument '") + signature.names[i] + "'");
    }
  }
}

double to_double(PyObject* object, const char* what) {
  const double value = PyFloat_AsDouble(object);
  if (value == -1.0 && PyErr_Occurred()) expected(what, "a number", object);
  return value;
}

int64_t to_int(PyObject* object, const char* what) {
  const PyRef index(PyNumber_Index(object));
  if (!index) expected(what, "an integer", object);
  const long long value = PyLong_AsLongLong(index.get());
  if (value == -1 && PyErr_Occurred()) {
    PyErr_Clear();
    throw std::overflow_error(std::string(what) + ": the integer does not fit 64 bits");
  }
  return value;
}

bool to_bool(PyObject* object, const char* what) {
  const int value = PyObject_IsTrue(object);
  if (value < 0) expected(what, "True or False", object);
  return value != 0;
}

int to_ints(PyObject* object, int count, const char* what, int64_t* out) {
  if (!PyTuple_Check(object) && !PyList_Check(object)) {
    const int64_t value = to_int(object, what);
    const int repeats = count < 0 ? 1 : count;
    for (int i = 0; i < repeats; ++i) out[i] = value;
    return repeats;
  }
  const Py_ssize_t length = PySequence_Fast_GET_SIZE(object);
  if (length > kMaxDims || (count >= 0 && length != count)) {
    throw std::invalid_argument(
        std::string(what) + ": expected " +
        (count >= 0 ? std::to_string(count) : "at most " + std::to_string(kMaxDims)) +
        " integers, got " + std::to_string(length));
  }
  for (Py_ssize_t i = 0; i < length; ++i) {
    out[i] = to_int(PySequence_Fast_GET_ITEM(object, i), what);
  }
  return static_cast<int>(length);
}

}  // namespace tilegrad::bindings
