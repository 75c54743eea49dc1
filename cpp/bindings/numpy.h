// NumPy's C interface, imported once by module.cpp.
#pragma once

#include <Python.h>
#ifndef TILEGRAD_IMPORT_ARRAY
#define NO_IMPORT_ARRAY
#endif
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpedantic"
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wsign-conversion"
#include <numpy/arrayobject.h>
#pragma GCC diagnostic pop
