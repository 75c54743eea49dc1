// Python references and errors in C++: owned references, and exceptions that become Python's.
//
//   std::invalid_argument -> ValueError      std::overflow_error -> OverflowError
//   TypeError             -> TypeError       std::bad_alloc      -> MemoryError
//   std::out_of_range     -> IndexError      PythonError: an error is set already
#pragma once

#include <Python.h>

#include <stdexcept>
#include <string>
#include <utility>

namespace tilegrad::bindings {

// An owned reference, possibly null.
class PyRef {
 public:
  PyRef() = default;
  explicit PyRef(PyObject* owned) : object_(owned) {}
  PyRef(PyRef&& other) noexcept : object_(other.release()) {}
  PyRef& operator=(PyRef&& other) noexcept {
    std::swap(object_, other.object_);
    return *this;
  }
  ~PyRef() { Py_XDECREF(object_); }

  static PyRef borrow(PyObject* object) {
    Py_XINCREF(object);
    return PyRef(object);
  }
  PyObject* get() const { return object_; }
  PyObject* release() { return std::exchange(object_, nullptr); }
  explicit operator bool() const { return object_ != nullptr; }

 private:
  PyObject* object_ = nullptr;
};

struct PythonError {};

struct TypeError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// Sets the Python error for the exception being handled.
void set_error_from_exception() noexcept;

// function(self, args, kwargs) with the arguments of a vectorcall as a tuple and a dict; a new
// reference, null with an error set.
PyObject* call_packed(PyObject* function, PyObject* self, PyObject* const* args, Py_ssize_t nargs,
                      PyObject* kwnames);

// "(2, 3)", for error texts.
std::string shape_text(const int64_t* shape, int ndim);

}  // namespace tilegrad::bindings
