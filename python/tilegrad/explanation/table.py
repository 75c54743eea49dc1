"""The derivation of a function by intermediate variables, as data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from tilegrad.autograd import engine
from tilegrad.autograd.modes import enable_grad
from tilegrad.autograd.tensor import Array, edge_of
from tilegrad.calculus.finding import local_structure
from tilegrad.calculus.kronecker import simplified
from tilegrad.explanation import algebra
from tilegrad.explanation.convert import Converter, NoMatrixFormError, as_matrix, matrix_shape
from tilegrad.explanation.trace import Step, Symbol, step_of, steps_to, variable

#: Operations that only rename or reshape: they stand inside the formulas of others.
_TRANSPARENT = frozenset(
    {"alias", "cast", "copy", "diagonal", "expand", "permute", "positive", "reshape"}
)

#: The name of the cotangent of a result that is not a number.
COTANGENT = "G"


@dataclass(frozen=True)
class Partial:
    """The local Jacobian of a variable by one of those it is computed from."""

    by: str
    #: (entries of the result, entries of the operand).
    shape: tuple[int, int]
    structure: str


@dataclass(frozen=True)
class Row:
    """One intermediate variable."""

    name: str
    formula: str
    latex: str
    shape: tuple[int, ...]
    partials: tuple[Partial, ...]
    #: The Jacobian of the final result by this variable.
    accumulated: tuple[int, int]
    flops: int


@dataclass(frozen=True)
class Gradient:
    """The gradient by an argument as a formula, which was checked against its value."""

    by: str
    shape: tuple[int, ...]
    formula: str | None
    latex: str | None
    value: Array
    #: The largest difference between formula and value, relative to the largest entry.
    error: float | None


def record(f: Callable[..., Any], values: dict[str, Array]) -> tuple[dict[str, Symbol], Symbol]:
    """Run ``f`` on symbols of the names and values."""
    symbols = {name: variable(name, value) for name, value in values.items()}
    for symbol in symbols.values():
        if symbol.dtype.kind == "f":
            symbol._requires_grad = True
    with enable_grad():
        out = f(*symbols.values())
    if not isinstance(out, Symbol):
        raise TypeError(
            "explain: the function must return one tensor that it computed from its arguments, "
            f"it returned a {type(out).__name__}"
        )
    return symbols, out


def rows_of(symbols: dict[str, Symbol], out: Symbol) -> list[Row]:
    """A row per argument and per operation, in the order of computation."""
    names = {id(symbol._step): name for name, symbol in symbols.items()}
    size = prod(out.shape)
    rows = [
        Row(name, name, name, symbol.shape, (), (size, prod(symbol.shape)), 0)
        for name, symbol in symbols.items()
    ]
    last, count = step_of(out), 0
    shapes = {  # the product of a matrix and a vector is made a vector again in a step of its own
        id(s.operands[0]): s.shape
        for s in steps_to(last)
        if s.op is not None and s.op.name == "reshape" and s.operands[0].op is not None
    }
    taken = set(symbols) | {COTANGENT}
    for step in steps_to(last):
        if step.op is None or (step.op.name in _TRANSPARENT and step is not last):
            continue
        count += 1
        while f"v{count}" in taken:
            count += 1
        formula, in_latex = _formula(step, names)
        partials = tuple(_partials(step, names))
        names[id(step)] = f"v{count}"
        rows.append(
            Row(
                f"v{count}", formula, in_latex, shapes.get(id(step), step.shape), partials,
                (size, prod(step.shape)), flops(step),
            )
        )  # fmt: skip
    return rows


def _formula(step: Step, names: dict[int, str]) -> tuple[str, str]:
    from tilegrad.explanation.notation import latex, text

    try:
        expression = Converter(names)(step)
        return text(expression), latex(expression)
    except NoMatrixFormError:
        assert step.op is not None
        inside = ", ".join(_shown(o, names) for o in step.operands)
        return f"{step.op.name}({inside})", rf"\mathrm{{{step.op.name}}}({inside})"


def _shown(step: Step, names: dict[int, str]) -> str:
    if id(step) in names:
        return names[id(step)]
    if step.op is None:
        return f"{step.value.item():.6g}" if step.value.size == 1 else f"const{step.shape}"
    return f"{step.op.name}({', '.join(_shown(o, names) for o in step.operands)})"


def _partials(step: Step, names: dict[int, str]) -> list[Partial]:
    """Local Jacobians by every named variable the step's formula holds."""
    found: dict[str, Partial] = {}
    node = step.node
    for position, operand in enumerate(step.operands):
        source, through = operand, False
        while (op := source.op) is not None and len(source.operands) == 1:
            if id(source) in names:
                break
            source, through = source.operands[0], through or op.name not in _KEEPING
        name = names.get(id(source))
        if name is None or source.value.dtype.kind != "f":
            continue
        shape = (prod(step.shape), prod(source.shape))
        structure = "0" if node is None or node.edges[position] is None else "dense"
        if structure == "dense" and not through:
            local = local_structure(node, position)
            if local is not None:
                structure = simplified(local).structure
        if structure == "dense":
            assert step.op is not None
            structure = _by_operation(step.op.name, structure)
        if name in found:  # twice the same operand: x * x
            merged = structure if structure == found[name].structure else "dense"
            structure = "diagonal" if merged == "identity" else merged
        found[name] = Partial(name, shape, structure)
    return list(found.values())


_KEEPING = frozenset({"alias", "cast", "copy", "reshape", "positive"})


def _by_operation(op: str, otherwise: str) -> str:
    if op == "sum":
        return "sums of entries"
    return "averages of entries" if op == "mean" else otherwise


def flops(step: Step) -> int:
    """Floating-point operations of the forward step; a function of an entry counts as one."""
    assert step.op is not None
    name, out = step.op.name, prod(step.shape)
    if name in _TRANSPARENT:
        return 0
    if name == "bmm":
        return 2 * out * step.operands[0].shape[-1]
    if name in ("linear", "linear_relu"):
        return 2 * out * step.operands[0].shape[-1] + out
    if name in ("sum", "mean", "amax", "amin", "prod", "logsumexp"):
        return prod(step.operands[0].shape)
    if step.operands and name in ("inv", "det", "logdet", "slogdet", "solve", "cholesky"):
        n = step.operands[0].shape[-1]
        right = prod(step.operands[1].shape) * 2 * n if name == "solve" else 0
        return {"inv": 2 * n**3, "cholesky": n**3 // 3}.get(name, 2 * n**3 // 3) + right
    return out


# ---- gradients ------------------------------------------------------
def gradients_of(
    symbols: dict[str, Symbol], out: Symbol, wanted: tuple[str, ...], tolerance: float
) -> list[Gradient]:
    """The gradient by each wanted argument, its formula read off the recorded backward pass."""
    names = {id(symbol._step): name for name, symbol in symbols.items()}
    if out.shape == ():
        cotangent: Any = np.ones((), out.dtype)
    else:
        direction = np.random.default_rng(0).standard_normal(out.shape).astype(out.dtype)
        cotangent = variable(COTANGENT, direction)
        names[id(cotangent._step)] = COTANGENT
    targets = [symbols[name] for name in wanted]
    if out._requires_grad:
        found = engine.run([(edge_of(out), cotangent)], targets=targets, retain_graph=True)
    else:
        found = [None] * len(targets)
    values = {name: symbol._array for name, symbol in symbols.items()}
    if out.shape != ():
        values[COTANGENT] = cotangent._array
    return [
        _gradient(symbol, name, g, names, values, tolerance)
        for name, symbol, g in zip(wanted, targets, found, strict=True)
    ]


def _gradient(
    symbol: Symbol,
    name: str,
    g: Any,
    names: dict[int, str],
    values: dict[str, Array],
    tolerance: float,
) -> Gradient:
    from tilegrad.explanation.notation import latex, text

    if g is None:
        g = np.zeros(symbol.shape)
    value = np.asarray(g._array if isinstance(g, Symbol) else g)
    converter = Converter(names)
    try:
        expression = converter(step_of(g))
        known = {**{k: as_matrix(v) for k, v in values.items()}, **converter.values}
        if expression.shape != matrix_shape(symbol.shape):
            return Gradient(name, symbol.shape, None, None, value, None)
        with np.errstate(all="ignore"):
            difference = algebra.evaluate(expression, known) - as_matrix(value)
    except NoMatrixFormError:
        return Gradient(name, symbol.shape, None, None, value, None)
    scale = max(float(np.abs(value).max(initial=0.0)), 1e-300)
    error = float(np.abs(difference).max(initial=0.0)) / scale
    if not error <= tolerance:  # NaN as well: a formula that is not confirmed is not shown
        return Gradient(name, symbol.shape, None, None, value, error)
    return Gradient(name, symbol.shape, text(expression), latex(expression), value, error)
