"""Derivative rules: what their parameter names ask for, and where the values come from.

``g``            the cotangent of the result (a tuple of them, with None, for several results)
``t``            in a jvp rule, the tangent of the input
``out``          the result
``x``            an input, by its name in the record
``x_shape``      the shape of an input, without keeping its values
``y``            one of several results, by its name in ``outputs``
``needs``        for a rule of several inputs, which of their gradients are asked for: bools
``inputs``       all inputs, in an operation that takes any number of them; ``i`` is the position
anything else    an attribute (axis, stride, ...) by its name in the forward function
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tilegrad.autograd import forward_mode
from tilegrad.autograd.node import Missing, Node, Output
from tilegrad.autograd.tensor import Tensor

if TYPE_CHECKING:
    from tilegrad.autograd.op import Op

Rule = Callable[..., Any]

#: A kind of value, and which one of that kind.
Source = tuple[str, Any]


class Plan(NamedTuple):
    """How a rule is called: where its arguments come from, which part of its result is meant."""

    rule: Rule
    sources: tuple[Source, ...]
    part: int | None


def parameters(function: Any) -> dict[str, Any]:
    """Names of the parameters of ``function`` with their defaults (``inspect.Parameter.empty``)."""
    function = getattr(function, "__wrapped__", function)
    code = getattr(function, "__code__", None)
    if code is None:
        return {name: p.default for name, p in inspect.signature(function).parameters.items()}
    # The same from the code object: inspect.signature would take a third of the import time.
    names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    found = dict.fromkeys(names, inspect.Parameter.empty)
    defaults = function.__defaults__ or ()
    last = names[code.co_argcount - len(defaults) : code.co_argcount]
    found.update(zip(last, defaults, strict=True))
    found.update(function.__kwdefaults__ or {})
    return found


def plans(op: Op, rules: Mapping[str, Rule]) -> tuple[Plan | None, ...]:
    """One plan per input; a rule for several inputs gives each of them its part."""
    if op.variadic:
        return (Plan(rules["*"], _sources(op, rules["*"], ()), None) if rules else None,)
    found: dict[str, Plan] = {}
    for key, rule in rules.items():
        names = key.split()
        for name in names:
            if name not in op.inputs:
                raise TypeError(f"{op.name}: rule for {name!r}, which is no input")
        sources = _sources(op, rule, tuple(map(op.inputs.index, names)))
        for part, name in enumerate(names):
            found[name] = Plan(rule, sources, part if len(names) > 1 else None)
    return tuple(found.get(name) for name in op.inputs)


def _sources(op: Op, rule: Rule, positions: tuple[int, ...]) -> tuple[Source, ...]:
    """Where each parameter of ``rule``, which serves the inputs at ``positions``, comes from."""
    return tuple(_source(op, name, positions) for name in parameters(rule))


def _source(op: Op, name: str, positions: tuple[int, ...]) -> Source:
    if name in ("g", "t"):
        return "g", None
    if name in ("out", "inputs", "i"):
        return name, None
    if name in op.inputs:
        return "input", op.inputs.index(name)
    if name.endswith("_shape") and name[:-6] in op.inputs:
        return "shape", op.inputs.index(name[:-6])
    if name == "input_shapes":
        return "shapes", None
    if name in op.attributes:
        return "attribute", name
    if name in op.outputs:
        return "result", op.outputs.index(name)
    if name == "needs":
        return "needs", positions
    raise TypeError(f"rule of {op.name}: cannot provide a parameter {name!r}")


#: Sources that the native backward pass provides itself; see cpp/bindings/op.h.
NATIVE_SOURCES = {
    "g": 0, "input": 1, "out": 2, "attribute": 3, "shape": 4, "result": 5, "needs": 6,
}  # fmt: skip


def native_form(found: Sequence[Plan | None]) -> tuple[Any, ...] | None:
    """The vjp plans for the native pass: per input ``(rule, part, (source, key), ...)`` or None."""
    entries: list[Any] = []
    for position, plan in enumerate(found):
        native = (
            plan is not None
            and len(plan.sources) <= 8
            and all(
                kind in NATIVE_SOURCES and (kind != "shape" or (key == position and not plan.part))
                for kind, key in plan.sources
            )
        )
        if plan is None or not native:
            entries.append(None)
            continue
        sources = tuple((NATIVE_SOURCES[kind], key) for kind, key in plan.sources)
        entries.append((plan.rule, plan.part, *sources))
    return tuple(entries) if any(entries) else None


# ---- values in reverse mode -------------------------------------------------------------------
def pull_values(
    plan: Plan, node: Node, g: Any, positions: Sequence[int], as_tensors: bool
) -> list[Any]:
    """Arguments of a vjp rule, from what ``node`` saved."""
    values: list[Any] = []
    for source, key in plan.sources:
        if source == "g":
            values.append(g)
        elif source == "input":
            values.append(saved_input(node, key, as_tensors))
        elif source == "out":
            values.append(saved_out(node, as_tensors))
        elif source == "attribute":
            values.append(node.attrs[key])
        elif source == "shape":
            values.append(_saved_shape(node, key))
        elif source == "i":
            values.append(positions[0])
        elif source == "result":
            values.append(saved_out(node, as_tensors)[key])
        elif source == "needs":
            values.append(tuple(position in positions for position in key))
        elif source == "inputs":
            count = len(node.edges)
            values.append(tuple(saved_input(node, k, as_tensors) for k in range(count)))
        else:
            values.append(node.attrs["input_shapes"])
    return values


def _saved_shape(node: Node, position: int) -> tuple[int, ...]:
    edge = node.edges[position]
    return shape_of(saved_input(node, position, False)) if edge is None else edge.shape


def saved_input(node: Node, position: int, as_tensors: bool) -> Any:
    """Input ``position`` as it was saved; raises if it was freed or changed since."""
    if type(node.inputs) is not tuple:
        node.inputs.restore(node)
    value = node.inputs[position]
    if not isinstance(value, Tensor):
        return value
    version = value._version
    if version is not None:
        expected = 0 if node.versions is None else node.versions[position]
        if version.value != expected:
            raise RuntimeError(
                f"input {position} of {node.op.name}, of shape {value.shape}, is needed for its "
                f"gradient but was changed in place (version {version.value}, expected "
                f"{expected}); clone it before the change"
            )
    if as_tensors or value._tangents is not None:
        return forward_mode.without_dead_levels(value)
    return value._array


def saved_out(node: Node, as_tensors: bool) -> Any:
    """The saved result, or results; raises if they were freed or changed since."""
    if isinstance(node.out, Missing):
        node.out.restore(node)
    if node.out_version.value != 0:
        raise RuntimeError(
            f"the result of {node.op.name} is needed for its gradient but was changed in place "
            f"(version {node.out_version.value}, expected 0); clone it before the change"
        )
    out = node.out
    if type(out) is not tuple:
        return _restore(out, node, as_tensors)
    return tuple(
        None
        if value is None
        else _restore(value, Output(node, i, value.shape, value.dtype), as_tensors)
        for i, value in enumerate(out)
    )


def _restore(value: Any, edge: Any, as_tensors: bool) -> Any:
    """A saved result: an array, or the tensor it was where the rule has to be recorded."""
    if isinstance(value, Tensor):  # it carries tangents; its edge is left off to avoid a cycle
        result = value._bare()
        result._tangents = value._tangents
        if value.dtype.kind == "f":
            result._requires_grad, result._node = True, edge
        return forward_mode.without_dead_levels(result)
    if not as_tensors:
        return value
    return Tensor(value, True, edge) if value.dtype.kind == "f" else Tensor(value)


# ---- values in forward mode -------------------------------------------------------------------
def push_values(
    plan: Plan, position: int, tangent: Any, args: tuple[Any, ...], attrs: dict[str, Any], out: Any
) -> list[Any]:
    """Arguments of a jvp rule, from the call itself."""
    values: list[Any] = []
    for source, key in plan.sources:
        if source == "g":
            values.append(tangent)
        elif source == "input":
            values.append(args[key])
        elif source == "out":
            values.append(out)
        elif source == "result":
            values.append(out[key])
        elif source == "attribute":
            values.append(attrs[key])
        elif source == "shape":
            values.append(shape_of(args[key]))
        elif source == "i":
            values.append(position)
        elif source == "inputs":
            values.append(args)
        else:
            values.append(tuple(shape_of(value) for value in args))
    return values


def shape_of(value: Any) -> tuple[int, ...]:
    """The shape of a tensor, an array or a number."""
    return value.shape if isinstance(value, Tensor) else np.shape(value)
