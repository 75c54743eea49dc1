"""The table of operations under test: one row per use of an operation.

A row names the operation, how its inputs are drawn, its attributes, and an independent oracle of
its values. ``tests/test_ops.py`` walks the rows and checks values, first and second derivatives in
both modes, and that no operation lacks a row. Modules ``cases_<family>.py`` add their ``CASES``.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import scipy.special

from tilegrad.ops import OPS

Draw = Callable[[np.random.Generator], Any]


@dataclass(frozen=True)
class Case:
    """One use of an operation.

    ``oracle`` takes the input arrays and the attributes. ``inputs`` draw float64 arrays, which are
    differentiated where the operation has a rule, or anything else, which is passed as it is.
    """

    op: str
    oracle: Callable[..., Any]
    inputs: tuple[Draw, ...]
    attrs: dict[str, Any] = field(default_factory=dict)
    rtol: float = 1e-12
    #: Inputs drawn where second derivatives by central differences are trustworthy.
    second_order: bool = True
    #: Further inputs, computed from the arrays of the others and constant beside them.
    derived: Callable[..., tuple[Any, ...]] | None = None

    def draw(self, seed: int = 0) -> list[Any]:
        """Fresh inputs."""
        rng = np.random.default_rng(seed)
        return [draw(rng) for draw in self.inputs]

    def __str__(self) -> str:
        shapes = "-".join(
            "x".join(map(str, x.shape)) or "0d" for x in self.draw() if isinstance(x, np.ndarray)
        )
        attrs = ",".join(f"{key}={value}" for key, value in self.attrs.items())
        return f"{self.op}[{shapes}]{attrs[:60]}"


def normal(*shape: int) -> Draw:
    """Standard normal entries."""
    return lambda rng: rng.standard_normal(shape)


def between(low: float, high: float, *shape: int) -> Draw:
    """Uniform entries."""
    return lambda rng: rng.uniform(low, high, shape)


def apart(*shape: int) -> Draw:
    """Entries at least 0.1 from each other and from 0: no ties, no kinks nearby."""

    def draw(rng: np.random.Generator) -> Any:
        size = math.prod(shape)
        values = (np.arange(size) + 0.5 - size // 2) * 0.3 + rng.uniform(-0.05, 0.05, size)
        return rng.permutation(values).reshape(shape)

    return draw


def integers(high: int, *shape: int) -> Draw:
    """int64 entries below ``high``."""
    return lambda rng: rng.integers(0, high, shape)


def bools(*shape: int) -> Draw:
    """True and False."""
    return lambda rng: rng.random(shape) < 0.5


def fixed(value: Any) -> Draw:
    """Always this value; lists become float64 arrays."""
    return lambda rng: np.array(value, float) if isinstance(value, list) else value


def case(op: str, oracle: Any, *inputs: Draw, rtol: float = 1e-12, second_order: bool = True,
         **attrs: Any) -> Case:  # fmt: skip
    """A :class:`Case`, attributes as keywords."""
    return Case(op, oracle, inputs, attrs, rtol, second_order)


S = (3, 4)


def _unary() -> list[Case]:
    n, positive, unit = normal(*S), between(0.2, 3, *S), between(-0.9, 0.9, *S)
    smooth = {
        "negative": (np.negative, n), "positive": (np.positive, n), "square": (np.square, n),
        "reciprocal": (lambda x: 1 / x, positive), "absolute": (np.abs, apart(*S)),
        "sqrt": (np.sqrt, positive), "rsqrt": (lambda x: x**-0.5, positive),
        "root": (np.sqrt, positive), "exp": (np.exp, n), "exp2": (np.exp2, n),
        "expm1": (np.expm1, n), "log": (np.log, positive), "log2": (np.log2, positive),
        "log10": (np.log10, positive), "log1p": (np.log1p, positive), "sin": (np.sin, n),
        "cos": (np.cos, n), "tan": (np.tan, unit), "asin": (np.arcsin, unit),
        "acos": (np.arccos, unit), "atan": (np.arctan, n), "sinh": (np.sinh, n),
        "cosh": (np.cosh, n), "tanh": (np.tanh, n), "asinh": (np.arcsinh, n),
        "acosh": (np.arccosh, between(1.2, 3, *S)), "atanh": (np.arctanh, unit),
        "sinc": (np.sinc, apart(*S)), "erf": (scipy.special.erf, n),
        "erfc": (scipy.special.erfc, n), "sigmoid": (scipy.special.expit, n),
        "logit": (scipy.special.logit, between(0.1, 0.9, *S)),
        "unless_zero": (lambda x: np.where(x == 0, 1.0, x), apart(*S)),
        "lgamma": (scipy.special.gammaln, between(0.3, 20, *S)),
        "polygamma": (scipy.special.digamma, between(-3.9, -3.1, *S)),
        "erfinv": (scipy.special.erfinv, between(-0.95, 0.95, *S)),
        "nan_to_num": (np.nan_to_num, n), "frac": (lambda x: np.fmod(x, 1), between(0.1, 0.9, *S)),
        "angle": (np.angle, apart(*S)), "copy": (np.array, n), "alias": (np.array, n),
    }  # fmt: skip
    steps = {
        "sign": np.sign, "floor": np.floor, "ceil": np.ceil, "trunc": np.trunc, "round": np.rint,
        "vanish": np.zeros_like, "isnan": np.isnan, "isinf": np.isinf, "isfinite": np.isfinite,
        "is_finite": np.isfinite, "isposinf": np.isposinf, "isneginf": np.isneginf,
        "signbit": np.signbit, "logical_not": np.logical_not,
        "is_zero": lambda x: x == 0,
    }  # fmt: skip
    special = fixed([[0.0, -0.0, np.inf], [-np.inf, np.nan, -2.5]])
    rows = [case(name, oracle, draw) for name, (oracle, draw) in smooth.items()]
    rows += [case(name, oracle, between(0.1, 0.9, *S)) for name, oracle in steps.items()]
    rows += [
        case(name, oracle, special)
        for name, oracle in steps.items() if name.startswith(("is", "logical", "signbit"))
    ]  # fmt: skip
    rows.append(case("bitwise_not", np.invert, integers(50, *S)))
    return rows


def _binary() -> list[Case]:
    n, m, positive = normal(*S), normal(3, 1), between(0.3, 2, *S)
    rows = [
        case("xlogy", scipy.special.xlogy, n, positive),
        case("xlogy", scipy.special.xlogy, fixed([0.0, 2.0, 0.0]), fixed([3.0, 2.0, 0.5])),
        case("polygamma", lambda x, n: scipy.special.polygamma(n, x), positive, n=0),
        case("polygamma", lambda x, n: scipy.special.polygamma(n, x), positive, n=3, rtol=1e-11),
        case("nextafter", np.nextafter, n, m),
        case("logless", lambda x, y: (x == 0) & (y <= 0), fixed([0.0, 2.0]), fixed([0.0, -1.0])),
        case("add", np.add, n, m), case("subtract", np.subtract, n, m),
        case("absorb", np.multiply, n, m),
        case("multiply", np.multiply, n, m), case("multiply", np.multiply, n, normal()),
        case("divide", np.divide, n, between(0.5, 2, 4)),
        case("power", np.power, positive, m), case("power", np.power, n, fixed(3)),
        case("power", np.power, positive, fixed(-0.5)), case("power", np.power, n, fixed(0)),
        case("floor_divide", np.floor_divide, between(0.1, 0.9, *S), fixed([1.0])),
        case("remainder", np.remainder, between(2.1, 2.9, *S), fixed([1.0, -1.0, 5.0, 0.95])),
        case("fmod", np.fmod, between(2.1, 2.9, *S), fixed([1.0, -1.0, 5.0, 0.95])),
        case("quotient", np.divide, n, between(0.5, 2, 4)),
        case("copysign", np.copysign, apart(*S), apart(*S)),
        case("maximum", np.maximum, apart(*S), fixed([[0.01], [0.9], [-0.9]])),
        case("minimum", np.minimum, apart(*S), fixed([[0.01], [0.9], [-0.9]])),
        case("fmax", np.fmax, apart(*S), fixed([[0.01], [0.9], [-0.9]])),
        case("fmin", np.fmin, apart(*S), fixed([[0.01], [0.9], [-0.9]])),
        case("heaviside", np.heaviside, apart(*S), n),
        case("logaddexp", np.logaddexp, n, m), case("logaddexp2", np.logaddexp2, n, m),
        case("atan2", np.arctan2, apart(*S), apart(*S)), case("hypot", np.hypot, n, m),
        case("sigmoid_grad", lambda g, y: g * y * (1 - y), n, n),
        case("tanh_grad", lambda g, y: g * (1 - y * y), n, n),
        case("where", np.where, bools(*S), n, m), case("where", np.where, bools(*S), n, fixed(2.0)),
        case("clip", np.clip, apart(*S), fixed([-0.7]), fixed([0.8])),
        case("clip", np.clip, apart(*S), fixed(None), fixed([0.8])),
        case("preference", lambda x, y: np.where(x > y, 1.0, np.where(x < y, 0.0, 0.5)),
             fixed([1.0, 2.0, 3.0]), fixed([2.0, 2.0, 2.0])),
    ]  # fmt: skip
    compare = "equal not_equal less less_equal greater greater_equal"
    compare += " logical_and logical_or logical_xor"
    rows += [
        case(name, getattr(np, name), integers(3, *S), integers(3, 4)) for name in compare.split()
    ]
    bits = "bitwise_and bitwise_or bitwise_xor gcd lcm left_shift right_shift"
    rows += [
        case(name, getattr(np, name), integers(9, *S), integers(9, 4)) for name in bits.split()
    ]
    helpers = "within below above first_is_larger first_is_smaller constant_power zero_base"
    expected: dict[str, Any] = {
        "within": lambda x, low, high: (x >= low) & (x <= high),
        "below": lambda x, low, high: x < low,
        "above": lambda x, high: x > high,
        "first_is_larger": lambda x, y: x >= y,
        "first_is_smaller": lambda x, y: x <= y,
        "constant_power": lambda x, y: (y == 0) & (x == 0),
        "zero_base": lambda x, y: (x == 0) & (y >= 0),
    }
    for name in helpers.split():
        bounds = [fixed([-1.0]), fixed([1.0])] if name in ("within", "below") else [fixed([0.0])]
        rows.append(case(name, expected[name], fixed([-2.0, 0.0, 1.0, 3.0]), *bounds))
    return rows


def _reductions() -> list[Case]:
    n, spaced, cube = normal(*S), apart(*S), normal(2, 3, 4)
    rows = []
    for name, oracle, draw in (
        ("sum", np.sum, n), ("mean", np.mean, n), ("amax", np.amax, spaced),
        ("amin", np.amin, spaced), ("logsumexp", scipy.special.logsumexp, n),
    ):  # fmt: skip
        ways = ({}, {"axis": 0}, {"axis": -1, "keepdims": True}, {"axis": (0, 1)})
        rows += [case(name, oracle, draw, **attrs) for attrs in ways]
        rows.append(case(name, oracle, cube if name != "amax" else apart(2, 3, 4), axis=(0, -1)))
    for name, function in (("argmax", np.argmax), ("argmin", np.argmin)):
        rows += [case(name, function, spaced, **attrs) for attrs in ({}, {"axis": 1})]
    for name, function in (("all", np.all), ("any", np.any), ("count_nonzero", np.count_nonzero)):
        rows += [case(name, function, integers(2, *S), **attrs) for attrs in ({}, {"axis": 1})]
    zeros = fixed([[1.0, 0.0, 3.0], [2.0, 0.5, -1.0], [0.0, 0.0, 4.0]])
    rows += [
        case("prod", np.prod, n, axis=0), case("prod", np.prod, zeros, axis=1, keepdims=True),
        case("cumprod", np.cumprod, n, axis=1), case("cumprod", np.cumprod, zeros, axis=1),
        case("cumprod", np.cumprod, normal(2, 5, 2), axis=1),
        case("cumsum", np.cumsum, n, axis=0), case("cumsum", np.cumsum, n, axis=-1),
        case("logcumsumexp", np.logaddexp.accumulate, n, axis=1),
        case("logcumsumexp", np.logaddexp.accumulate, n, axis=0),
        case("softmax", scipy.special.softmax, n, axis=1),
        case("softmax", scipy.special.softmax, cube, axis=0),
        case("log_softmax", scipy.special.log_softmax, n, axis=1),
        case("log_softmax", scipy.special.log_softmax, cube, axis=1),
        case("softmax_grad", lambda g, y, axis: y * (g - (g * y).sum(axis, keepdims=True)), n, n,
             axis=1),
        case("log_softmax_grad", lambda g, y, axis: g - np.exp(y) * g.sum(axis, keepdims=True), n,
             n, axis=0),
        case("tie_share", lambda x, e: np.array([0.5, 0.5, 0.0]), fixed([2.0, 2.0, 1.0]),
             fixed([2.0])),
    ]  # fmt: skip
    return rows


def _put(g: Any, index: Any, shape: tuple[int, ...]) -> Any:
    out = np.zeros(shape)
    places = np.arange(out.size).reshape(shape)[index].ravel()
    for value, place in zip(g.ravel(), places, strict=True):
        out.flat[place] += value
    return out


def _diagonal_matrix(g: Any, shape: tuple[int, ...], offset: int, axis1: int, axis2: int) -> Any:
    out = np.zeros(shape)
    for i, value in enumerate(g):
        out[i + max(-offset, 0), i + max(offset, 0)] = value
    return out


def _gathered(x: Any, index: Any, axis: int) -> Any:
    return np.take_along_axis(x, index, axis)


def _scattered(x: Any, src: Any, index: Any, axis: int, add: bool) -> Any:
    out = x.copy()
    for place in np.ndindex(index.shape):
        target = list(place)
        target[axis] = index[place]
        out[tuple(target)] = src[place] + (out[tuple(target)] if add else 0)
    return out


def _movement() -> list[Case]:
    n, cube = normal(*S), normal(2, 3, 4)
    rows = np.array([2, 0, 2])
    unique = fixed(np.array([[2, 0, 1, 2], [0, 1, 2, 0]]))
    return [
        case("reshape", np.reshape, n, shape=(2, 6)),
        case("reshape", np.reshape, n, shape=(12,)),
        case("permute", np.transpose, cube, axes=(2, 0, 1)),
        case("expand", np.broadcast_to, normal(3, 1), shape=(2, 3, 4)),
        case("sum_to", lambda x, shape: x.sum(0).sum(1, keepdims=True), cube, shape=(3, 1)),
        case("cast", lambda x, dtype: x.astype(dtype), n, dtype=np.dtype(np.float64)),
        case("flip", lambda x, axes: np.flip(x, axes), n, axes=(0,)),
        case("flip", lambda x, axes: np.flip(x, axes), n, axes=(0, 1)),
        case(
            "concatenate", lambda a, b, axis: np.concatenate([a, b], axis), n, normal(2, 4), axis=0
        ),
        case("concatenate", lambda a, b, axis: np.concatenate([a, b], axis), n, n, axis=-1),
        case("getitem", lambda x, index: x[index], n, index=(slice(None, None, 2), 1)),
        case("getitem", lambda x, index: x[index], n, index=(rows, slice(1, 3))),
        case("getitem", lambda x, index: x[index], n, index=np.arange(12).reshape(3, 4) % 3 == 0),
        case("put", _put, normal(3, 2), index=(rows, slice(1, 3)), shape=S),
        case("put", _put, normal(4), index=1, shape=S),
        case(
            "replace",
            lambda x, v, index: np.where(np.arange(3)[:, None] == 1, v, x),
            n,
            normal(4),
            index=1,
        ),
        case("diagonal", np.diagonal, n, offset=1),
        case("diagonal", np.diagonal, cube, axis1=0, axis2=2),
        case("put_diagonal", _diagonal_matrix, normal(3), shape=(3, 4), offset=1, axis1=0, axis2=1),
        case(
            "put_diagonal", _diagonal_matrix, normal(2), shape=(3, 4), offset=-1, axis1=0, axis2=1
        ),
        case("tril", np.tril, n, k=1),
        case("triu", np.triu, cube, k=-1),
        case("roll", np.roll, n, shift=2),
        case("roll", np.roll, n, shift=(1, -1), axis=(0, 1)),
        case("zero_pad", lambda x, widths: np.pad(x, widths), n, widths=((1, 0), (2, 3))),
        case("gather", _gathered, n, unique, axis=0),
        case("gather", _gathered, n, integers(4, 3, 6), axis=1),
        case(
            "scatter_add",
            lambda x, s, i, axis: _scattered(x, s, i, axis, True),
            n,
            normal(3, 5),
            integers(4, 3, 5),
            axis=1,
        ),
        case(
            "scatter_add",
            lambda x, s, i, axis: _scattered(x, s, i, axis, True),
            n,
            normal(3, 5),
            integers(3, 2, 4),
            axis=0,
        ),
        case(
            "scatter",
            lambda x, s, i, axis: _scattered(x, s, i, axis, False),
            n,
            normal(2, 4),
            unique,
            axis=0,
            second_order=True,
        ),
        case("argsort", lambda x, axis: np.argsort(x, axis), apart(*S), axis=0),
        case(
            "argsort",
            lambda x, axis, descending: np.argsort(-x, axis),
            apart(*S),
            axis=1,
            descending=True,
        ),
        case("bmm", np.matmul, n, normal(4, 2)),
        case("bmm", np.matmul, cube, normal(4, 5)),
        case("bmm", np.matmul, normal(2, 1, 3, 4), normal(3, 4, 2)),
    ]


def collect() -> list[Case]:
    """The rows of this module and of every ``cases_<family>`` beside it."""
    rows = _unary() + _binary() + _reductions() + _movement()
    for path in sorted(Path(__file__).parent.glob("cases_*.py")):
        rows += importlib.import_module(path.stem).CASES
    return rows


CASES = collect()
WITHOUT_ROW = sorted(set(OPS) - {row.op for row in CASES})
