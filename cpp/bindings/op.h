// What the backward pass knows of an operation: its rules in a form that needs no Python to call.
#pragma once

#include "bindings/python.h"

namespace tilegrad::bindings {

constexpr int kMaxInputs = 16;
constexpr int kMaxRuleArguments = 8;

// Where an argument of a vjp rule comes from; numbered as tilegrad.autograd.rules.NATIVE_SOURCES.
enum class RuleSource : long { kGradient, kInput, kOut, kAttribute, kOwnShape, kResult, kNeeds };

// Per input None or (rule, part, (source, key), ...), borrowed; null if `op` has no such form. A
// rule that serves several inputs stands with each of them, whose gradient is item `part` of its
// result.
PyObject* native_rules(PyObject* op);

// Whether somebody sees the operations of this thread instead of letting them run.
bool operations_are_watched();

}  // namespace tilegrad::bindings
