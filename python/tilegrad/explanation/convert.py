"""Recorded steps as matrix expressions.

Tensors of at most two dimensions are matrices: a vector is a column. What operations on tensors do
to shapes (reshape, expand, broadcasting) becomes transposes and products with ones.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeGuard

import numpy as np

from tilegrad import kernels
from tilegrad.explanation import algebra as m
from tilegrad.explanation.algebra import Expr, Matrix
from tilegrad.explanation.trace import Step
from tilegrad.ops import linalg_det, linalg_functions


class NoMatrixFormError(Exception):
    """A step that matrix notation has no words for: a tensor of three or more dimensions."""


def matrix_shape(shape: tuple[int, ...]) -> tuple[int, int]:
    """The shape as a matrix.

    >>> matrix_shape(()), matrix_shape((3,)), matrix_shape((3, 4))
    ((1, 1), (3, 1), (3, 4))
    """
    if len(shape) > 2:
        raise NoMatrixFormError(f"a tensor of shape {shape} is no matrix")
    if not shape:
        return 1, 1
    return (shape[0], 1) if len(shape) == 1 else (shape[0], shape[1])


def as_matrix(value: Matrix) -> Matrix:
    """The value as a matrix."""
    return np.asarray(value, float).reshape(matrix_shape(value.shape))


class Converter:
    """Expressions of steps; those in ``names`` stand for themselves.

    ``values`` collects the matrices of the names, constants among them, for evaluation.
    """

    def __init__(self, names: Mapping[int, str]) -> None:
        self.names = dict(names)
        self.values: dict[str, Matrix] = {}
        self._known: dict[int, Expr] = {}
        self._constants = 0

    def __call__(self, last: Step) -> Expr:
        """The expression of ``last`` in the names."""
        stack = [last]
        while stack:
            step = stack[-1]
            if id(step) in self._known:
                stack.pop()
                continue
            missing = (
                []
                if id(step) in self.names
                else [o for o in step.operands if id(o) not in self._known]
            )
            if missing:
                stack.extend(missing)
            else:
                self._known[id(step)] = self._convert(step)
                stack.pop()
        return self._known[id(last)]

    def _convert(self, step: Step) -> Expr:
        name = self.names.get(id(step))
        if name is not None:
            self.values[name] = as_matrix(step.value)
            return m.Name(matrix_shape(step.shape), name)
        if step.op is None or step.op.outputs[step.index : step.index + 1] in _KEPT:
            return self._constant(step)
        operands = [self._known[id(o)] for o in step.operands]
        rule = _RULES.get(step.op.name)
        result = rule(step, operands) if rule is not None else None
        return _function(step, operands) if result is None else result

    def _constant(self, step: Step) -> Expr:
        shape, value = matrix_shape(step.shape), np.asarray(step.value, float)
        if value.size and np.all(value == value.flat[0]) and np.isfinite(value.flat[0]):
            return m.scale(float(value.flat[0]), m.Ones(shape))
        if len(set(shape)) == 1 and np.array_equal(value.reshape(shape), np.eye(shape[0])):
            return m.Eye(shape)
        name = f"c{self._constants}"
        self._constants += 1
        self.values[name] = as_matrix(step.value)
        return m.Name(shape, name)


# ---- shapes ------------------------------------------------------
def _fitted(x: Expr, ndim: int, shape: tuple[int, ...]) -> Expr:
    """An operand of ``ndim`` dimensions broadcast to ``shape``; numbers stay numbers."""
    rows, columns = matrix_shape(shape)
    if len(shape) == 2 and ndim == 1:
        x = m.transpose(x)
    if x.shape == (rows, columns) or x.shape == (1, 1):
        return x
    if x.shape[0] == 1:
        return m.matmul(m.Ones((rows, 1)), x)
    return m.matmul(x, m.Ones((1, columns)))


def _full(x: Expr, shape: tuple[int, ...]) -> Expr:
    """A number spread over all entries."""
    target = matrix_shape(shape)
    return x if x.shape == target else m.times(x, m.Ones(target))


def _operands(step: Step, operands: list[Expr]) -> list[Expr]:
    return [
        _fitted(x, len(o.shape), step.shape) for x, o in zip(operands, step.operands, strict=True)
    ]


def _reshape(step: Step, operands: list[Expr]) -> Expr | None:
    """Only ones are added or taken away: the same matrix, or its transpose."""
    (x,), (source,) = operands, step.operands
    target = matrix_shape(step.shape)
    if x.shape == target:
        same = len(source.shape) < 2 or len(step.shape) < 2 or source.shape == step.shape
        return x if same or 1 in target else None
    return m.transpose(x) if x.shape == target[::-1] and 1 in target else None


def _permute(step: Step, operands: list[Expr]) -> Expr:
    axes = [a % max(len(step.shape), 1) for a in step.attrs["axes"]]
    return m.transpose(operands[0]) if axes == [1, 0] else operands[0]


def _expand(step: Step, operands: list[Expr]) -> Expr:
    return _full(_fitted(operands[0], len(step.operands[0].shape), step.shape), step.shape)


# ---- sums ------------------------------------------------------
def total(x: Expr) -> Expr:
    """The sum of all entries."""
    c, body = x.terms[0] if isinstance(x, m.Sum) and len(x.terms) == 1 else (1.0, x)
    if x.shape == (1, 1):
        return x
    if isinstance(body, m.Ones):
        return m.number(c * body.shape[0] * body.shape[1])
    return m.scale(c, m.Apply((1, 1), "sum", (body,), False, lambda a: np.array([[a.sum()]])))


def _reduced(step: Step, x: Expr, axes: Any) -> Expr | None:
    """Sums over axes as products with ones; the result's dimensions say which way it lies."""
    ndim = len(step.operands[0].shape)
    if axes is None:
        axes = tuple(range(ndim))
    axes = {a % ndim for a in (axes if isinstance(axes, (tuple, list)) else (axes,))}
    if len(axes) == ndim:
        return total(x)
    if not axes:
        return x
    rows, columns = x.shape
    if axes == {1}:  # one entry per row: a column in either case
        return m.matmul(x, m.Ones((columns, 1)))
    row = m.matmul(m.Ones((1, rows)), x)
    return row if len(step.shape) == 2 else m.transpose(row)


def _sum(step: Step, operands: list[Expr]) -> Expr | None:
    x, source = operands[0], step.operands[0]
    diagonal = isinstance(x, m.Apply) and x.function == "diag" and source.value.ndim == 1
    if diagonal and not step.shape and isinstance(x, m.Apply):
        return trace(x.arguments[0])
    return _reduced(step, x, step.attrs.get("axis"))


def trace(x: Expr) -> Expr:
    """The trace."""
    c, body = x.terms[0] if isinstance(x, m.Sum) and len(x.terms) == 1 else (1.0, x)
    if isinstance(body, m.Eye):
        return m.number(c * body.shape[0])
    return m.scale(c, m.Apply((1, 1), "trace", (body,), False, lambda a: np.array([[np.trace(a)]])))


def _mean(step: Step, operands: list[Expr]) -> Expr | None:
    summed = _reduced(step, operands[0], step.attrs.get("axis"))
    count = step.operands[0].value.size / max(step.value.size, 1)
    return None if summed is None else m.scale(1 / count, summed)


def _sum_to(step: Step, operands: list[Expr]) -> Expr | None:
    source, target = step.operands[0].shape, step.shape
    padded = (1,) * (len(source) - len(target)) + target
    axes = tuple(i for i, (a, b) in enumerate(zip(source, padded, strict=True)) if a != b)
    if len(target) == 1 and len(source) == 2 and not axes:
        return m.transpose(operands[0]) if source[0] == 1 != source[1] else operands[0]
    return _reduced(step, operands[0], axes)


def _diagonal(step: Step, operands: list[Expr]) -> Expr | None:
    if step.attrs["offset"] != 0:
        return None
    shape = matrix_shape(step.shape)
    return m.Apply(shape, "diag", (operands[0],), False, lambda a: np.diagonal(a)[:, None])


def _put_diagonal(step: Step, operands: list[Expr]) -> Expr | None:
    shape = matrix_shape(step.shape)
    if step.attrs["offset"] != 0 or shape[0] != shape[1]:
        return None
    c, body = (
        operands[0].terms[0]
        if isinstance(operands[0], m.Sum) and len(operands[0].terms) == 1
        else (1.0, operands[0])
    )
    if isinstance(body, m.Ones):
        return m.scale(c, m.Eye(shape))
    if isinstance(body, m.Entrywise) and all(b.shape == (1, 1) or isinstance(b, m.Ones)
                                             for b, _ in body.factors):  # fmt: skip
        numbers = [m.power(b, p) for b, p in body.factors if not isinstance(b, m.Ones)]
        return m.scale(c, m.times(*numbers, m.Eye(shape)))
    return m.Apply(shape, "diag", (operands[0],), False, lambda a: np.diag(a[:, 0]))


# ---- entry by entry ------------------------------------------------------
def _product(step: Step, operands: list[Expr]) -> Expr:
    return _full(m.times(*_operands(step, operands)), step.shape)


def _quotient(step: Step, operands: list[Expr]) -> Expr:
    over, under = _operands(step, operands)
    return _full(m.times(over, m.power(under, -1)), step.shape)


def _power(step: Step, operands: list[Expr]) -> Expr | None:
    exponent = step.operands[1]
    if exponent.op is not None or exponent.value.size != 1:
        return None
    return m.power(operands[0], float(exponent.value))


def _sums(step: Step, *signed: Expr) -> Expr:
    return m.add(*(_full(x, step.shape) for x in signed))


def _square_of(x: Expr) -> Expr:
    return m.power(x, 2.0)


def _one_minus(x: Expr) -> Expr:
    return m.add(m.Ones(x.shape), m.scale(-1.0, x))


def _apply(name: str, x: Expr, evaluate: Callable[..., Matrix]) -> Expr:
    return m.Apply(x.shape, name, (x,), True, evaluate)


def _unguarded(step: Step, operands: list[Expr]) -> Expr | None:
    condition = operands[0]
    if isinstance(condition, m.Apply) and condition.function in ("is_zero", "isneginf"):
        return _full(operands[2], step.shape)
    return None


def _positive(x: Expr) -> Expr:
    if isinstance(x, m.Apply) and x.function == "relu":
        (x,) = x.arguments
    return _apply("step", x, lambda a: (a > 0).astype(float))


def _inverse(step: Step, operands: list[Expr]) -> Expr:
    x = operands[0]  # others are its factors
    if isinstance(x, m.Eye):
        return x
    if isinstance(x, m.Transpose):
        return m.Transpose(x.shape, inverse(x.body))
    return inverse(x)


def _solve(step: Step, operands: list[Expr]) -> Expr | None:
    """Numbers that multiply the right-hand side multiply the solution."""
    a, b = operands[:2]  # others are the factors of a
    if step.index > 0:
        return None
    coefficient, scalars, body = m.split_numbers(b)
    if step.attrs.get("transposed"):
        a = m.transpose(a)
    solution = m.Apply(body.shape, "solve", (a, body), False, np.linalg.solve)
    return m.scale(coefficient, m.times(*scalars, solution))


def _cofactor(step: Step, operands: list[Expr]) -> Expr:
    x = operands[0]
    return m.Apply(x.shape, "cofactor", (x,), False, linalg_det.cofactor)


def _expm(step: Step, operands: list[Expr]) -> Expr | None:
    """``expm``, or its derivative in one direction; in that of the identity it is itself."""
    x, *directions = operands
    if not directions:
        return None
    c, body = directions[0].terms[0] if _is_multiple(directions[0]) else (1.0, directions[0])
    if len(directions) > 1:
        return None
    if isinstance(body, m.Eye):
        return m.scale(c, m.Apply(x.shape, "expm", (x,), False, linalg_functions.expm))
    value = m.Apply(x.shape, "expm_frechet", (x, body), False, linalg_functions.expm)
    return m.scale(c, value)


def _is_multiple(x: Expr) -> TypeGuard[m.Sum]:
    return isinstance(x, m.Sum) and len(x.terms) == 1


def _softmax(x: Expr) -> Expr:
    """Softmax of one vector, by its logarithm where that is known."""
    if isinstance(x, m.Apply) and x.function == "log_softmax":
        (x,) = x.arguments
        return m.Apply(x.shape, "softmax", (x,), False, lambda a: kernels.softmax(a, 0))
    return _apply("exp", x, np.exp)


def _log_softmax_grad(step: Step, operands: list[Expr]) -> Expr | None:
    """``g - softmax(x) sum(g)`` on vectors."""
    if len(step.shape) != 1:
        return None
    g, y = operands
    return m.add(g, m.scale(-1.0, m.times(_softmax(y), total(g))))


def inverse(x: Expr) -> Expr:
    """The inverse."""
    return m.Apply(x.shape, "inv", (x,), False, np.linalg.inv)


def _same(step: Step, operands: list[Expr]) -> Expr:
    return operands[0]


_Rule = Callable[[Step, list[Expr]], Expr | None]

_RULES: dict[str, _Rule] = {
    "alias": _same,
    "cast": _same,
    "copy": _same,
    "positive": _same,
    "reshape": _reshape,
    "permute": _permute,
    "expand": _expand,
    "sum_to": _sum_to,
    "sum": _sum,
    "mean": _mean,
    "diagonal": _diagonal,
    "put_diagonal": _put_diagonal,
    "bmm": lambda step, x: m.matmul(x[0], x[1]),
    "add": lambda step, x: _sums(step, *_operands(step, x)),
    "subtract": lambda step, x: _sums(
        step, _operands(step, x)[0], m.scale(-1.0, _operands(step, x)[1])
    ),
    "negative": lambda step, x: m.scale(-1.0, x[0]),
    "multiply": _product,
    "absorb": _product,
    "divide": _quotient,
    "quotient": _quotient,
    "square": lambda step, x: _square_of(x[0]),
    "reciprocal": lambda step, x: m.power(x[0], -1.0),
    "sqrt": lambda step, x: m.power(x[0], 0.5),
    "rsqrt": lambda step, x: m.power(x[0], -0.5),
    "power": _power,
    "inv": _inverse,
    "known_inv": _inverse,
    "solve": _solve,
    "known_solve": _solve,
    "known_cofactor": _cofactor,
    "expm": _expm,
    "log_softmax_grad": _log_softmax_grad,
    "tanh_grad": lambda step, x: m.times(x[0], _one_minus(_square_of(x[1]))),
    "sigmoid_grad": lambda step, x: m.times(x[0], x[1], _one_minus(x[1])),
    "relu_grad": lambda step, x: m.times(x[0], _positive(x[1])),
    # guards of derivatives at isolated points, which the check would notice
    "where": lambda step, x: _unguarded(step, x),
    "unless_zero": lambda step, x: x[0],
    "root": lambda step, x: m.power(x[0], 0.5),
    "vanish": lambda step, x: m.zero(x[0].shape),
}  # fmt: skip


def _function(step: Step, operands: list[Expr]) -> Expr:
    """Any other operation, as a function of its operands."""
    op, attrs, index = step.op, step.attrs, step.index
    assert op is not None
    shapes = [o.shape for o in step.operands]
    entrywise = getattr(op, "jvp_kind", "") == "elementwise" and all(
        x.shape in (matrix_shape(step.shape), (1, 1)) for x in operands
    )

    def evaluate(*matrices: Matrix) -> Matrix:
        # an entrywise function may have been transposed: then its operands come so
        arrays = [a if entrywise else a.reshape(s) for a, s in zip(matrices, shapes, strict=True)]
        out = op.forward(*arrays, **attrs)
        value = np.asarray(out[index] if isinstance(out, tuple) else out)
        return value if entrywise else as_matrix(value)

    given = {k: v for k, v in attrs.items() if op.defaults.get(k, attrs) is not v}
    detail = repr(sorted(given.items(), key=lambda item: item[0])) + f" {index}"
    name = _SHOWN.get(op.name, op.name)
    if op.outputs and op.outputs[index] != name:
        name = f"{name}.{op.outputs[index]}"
    if op.name == "slogdet":
        name = ("sign(det)", "logabsdet")[index]
    return m.Apply(
        matrix_shape(step.shape), name, tuple(operands), entrywise, evaluate, f"{op.name} {detail}"
    )


#: Results of factorisations that only their operations read.
_KEPT = (("factors",), ("pivots",))

_SHOWN = {"absolute": "abs", "amax": "max", "amin": "min"}
