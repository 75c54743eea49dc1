"""Expressions as strings: parsed by ``ast``, made of a fixed list of names, never executed."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from tilegrad.autograd.tensor import Array


def _functions() -> dict[str, Callable[..., Any]]:
    import tilegrad as tg

    linalg = ("det", "inv", "norm", "logdet", "slogdet", "solve", "cholesky", "expm", "pinv")
    plain = (
        "abs", "exp", "expm1", "log", "log1p", "log2", "sqrt", "rsqrt", "reciprocal", "square",
        "sin", "cos", "tan", "sinh", "cosh", "tanh", "sigmoid", "erf", "relu", "softmax",
        "log_softmax", "logsumexp", "maximum", "minimum", "sum", "mean", "prod", "amax", "amin",
        "trace", "diag", "outer", "kron", "dot", "transpose", "var", "std", "where", "eye",
    )  # fmt: skip
    found = {name: getattr(tg, name) for name in plain if hasattr(tg, name)}
    found |= {name: getattr(tg.linalg, name) for name in linalg if hasattr(tg.linalg, name)}
    found["tr"] = tg.trace
    if "relu" not in found:
        found["relu"] = lambda x: tg.maximum(x, 0.0)
    return found


_BINARY: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
    ast.MatMult: operator.matmul,
}
_UNARY: dict[type, Callable[[Any], Any]] = {ast.USub: operator.neg, ast.UAdd: operator.pos}

#: Attributes of a matrix, and methods without and with numbers as arguments.
_ATTRIBUTES = ("T", "mT")
_METHODS = ("sum", "mean", "exp", "log", "sin", "cos", "tanh", "sqrt", "trace", "abs")


class ExpressionError(ValueError):
    """An expression that is not understood; the text points at the place."""


class Expression:
    """A parsed expression: call it with the values of its names.

    Numbers, names, ``+ - * / ** @``, ``.T``, brackets and the functions of :meth:`functions` are
    understood. ``^`` and ``'`` of other notations are pointed out.

    >>> Expression("sum((A @ x - y)**2)").names
    ['A', 'x', 'y']
    """

    def __init__(self, source: str) -> None:
        self.source = source
        try:
            self._tree = ast.parse(source.strip(), mode="eval").body
        except SyntaxError as error:
            raise ExpressionError(
                f"{source!r} is no expression: {error.msg} at column {error.offset}; write "
                "A.T for a transpose, @ for matrix products, * for entries, ** for powers"
            ) from None
        self.names: list[str] = []
        self._functions = _functions()
        self._check(self._tree)

    def _refuse(self, node: ast.AST, what: str) -> ExpressionError:
        place = getattr(node, "col_offset", 0) + 1
        return ExpressionError(f"{self.source!r}, column {place}: {what}")

    def _check(self, node: ast.AST) -> None:
        """Raise unless every part of the tree is on the list."""
        if isinstance(node, ast.BinOp):
            if type(node.op) is ast.BitXor:
                raise self._refuse(node, "^ is not a power here; write **")
            if type(node.op) not in _BINARY:
                raise self._refuse(node, f"operator {type(node.op).__name__} is not understood")
            self._check(node.left)
            self._check(node.right)
        elif isinstance(node, ast.UnaryOp) and type(node.op) in _UNARY:
            self._check(node.operand)
        elif isinstance(node, ast.Constant):
            if type(node.value) not in (int, float):
                raise self._refuse(node, f"{node.value!r} is no number")
        elif isinstance(node, ast.Name):
            if node.id not in self.names:
                if node.id.startswith("_"):
                    raise self._refuse(node, f"the name {node.id!r} begins with an underscore")
                self.names.append(node.id)
        elif isinstance(node, ast.Attribute):
            if node.attr not in _ATTRIBUTES:
                raise self._refuse(node, f"attribute .{node.attr}; known: {', '.join(_ATTRIBUTES)}")
            self._check(node.value)
        elif isinstance(node, ast.Call):
            self._check_call(node)
        else:
            raise self._refuse(node, f"{type(node).__name__} is not understood")

    def _check_call(self, node: ast.Call) -> None:
        if node.keywords:
            raise self._refuse(node, "keyword arguments are not understood")
        if isinstance(node.func, ast.Name):
            if node.func.id not in self._functions:
                raise self._refuse(
                    node,
                    f"unknown function {node.func.id!r}; known: "
                    f"{', '.join(sorted(self._functions))}",
                )
        elif isinstance(node.func, ast.Attribute) and node.func.attr in _METHODS:
            self._check(node.func.value)
        else:
            raise self._refuse(node, "only functions by name and a few methods can be called")
        for argument in node.args:
            self._check(argument)

    def __call__(self, values: Mapping[str, Any]) -> Any:
        """The value, with tensors in place of the names."""
        return self._value(self._tree, values)

    def _value(self, node: ast.AST, values: Mapping[str, Any]) -> Any:
        if isinstance(node, ast.BinOp):
            left, right = self._value(node.left, values), self._value(node.right, values)
            return _BINARY[type(node.op)](left, right)
        if isinstance(node, ast.UnaryOp):
            return _UNARY[type(node.op)](self._value(node.operand, values))
        if isinstance(node, ast.Constant):
            return node.value
        if isinstance(node, ast.Name):
            return values[node.id]
        if isinstance(node, ast.Attribute):
            return getattr(self._value(node.value, values), node.attr)
        assert isinstance(node, ast.Call)
        arguments = [self._value(argument, values) for argument in node.args]
        if isinstance(node.func, ast.Name):
            return self._functions[node.func.id](*arguments)
        assert isinstance(node.func, ast.Attribute)
        return getattr(self._value(node.func.value, values), node.func.attr)(*arguments)


def parse_shape(text: str) -> tuple[str, tuple[int, ...]]:
    """``"A:3x2"`` as a name and a shape; ``"t:"`` and ``"t:1"`` differ: a number, a vector of one.

    >>> parse_shape("A:3x2"), parse_shape("x:2"), parse_shape("t:")
    (('A', (3, 2)), ('x', (2,)), ('t', ()))
    """
    name, colon, sizes = text.partition(":")
    parts = [part for part in sizes.lower().split("x") if part]
    if not colon or not name.isidentifier() or not all(part.isdigit() for part in parts):
        raise ExpressionError(f"{text!r} is no shape; write A:3x2 for a matrix, x:2, t: a number")
    shape = tuple(int(part) for part in parts)
    if any(n == 0 for n in shape):
        raise ExpressionError(f"{text!r}: sizes must be positive")
    return name, shape


def sample(shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    """Values at which formulas are checked: positive, so that logarithms and roots exist, and
    square matrices well away from singular ones, with a positive determinant.
    """
    value = rng.uniform(0.5, 1.5, shape)
    if len(shape) == 2 and shape[0] == shape[1]:
        value = value + 2 * shape[0] * np.eye(shape[0])
    return value
