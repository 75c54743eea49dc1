"""Trigonometric and hyperbolic functions and their inverses."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tilegrad import kernels
from tilegrad.ops.arithmetic import (
    absorb,
    add,
    divide,
    multiply,
    negative,
    quotient,
    square,
    subtract,
)
from tilegrad.ops.define import elementwise
from tilegrad.ops.exponential import rsqrt, sqrt
from tilegrad.ops.selection import unless_zero

sin = elementwise("sin", kernels.sin, "x", x=lambda g, x: absorb(g, cos(x)))
cos = elementwise("cos", kernels.cos, "x", x=lambda g, x: negative(absorb(g, sin(x))))
tan = elementwise("tan", kernels.tan, "x", x=lambda g, out: absorb(g, add(square(out), 1.0)))


def _one_minus_square(x: Any) -> Any:
    """1 - x^2 as (1 - x)(1 + x), accurate near 1 too."""
    return multiply(subtract(1.0, x), add(x, 1.0))


asin = elementwise(
    "asin", kernels.asin, "x",
    x=lambda g, x: quotient(g, sqrt(_one_minus_square(x))),
)  # fmt: skip
acos = elementwise(
    "acos", kernels.acos, "x",
    x=lambda g, x: negative(quotient(g, sqrt(_one_minus_square(x)))),
)  # fmt: skip
atan = elementwise("atan", kernels.atan, "x", x=lambda g, x: divide(g, add(square(x), 1.0)))

sinh = elementwise("sinh", kernels.sinh, "x", x=lambda g, x: absorb(g, cosh(x)))
cosh = elementwise("cosh", kernels.cosh, "x", x=lambda g, x: absorb(g, sinh(x)))
asinh = elementwise(
    "asinh", kernels.asinh, "x",
    x=lambda g, x: absorb(g, rsqrt(add(square(x), 1.0))),
)  # fmt: skip
acosh = elementwise(
    "acosh", kernels.acosh, "x",
    x=lambda g, x: quotient(g, multiply(sqrt(subtract(x, 1.0)), sqrt(add(x, 1.0)))),
)  # fmt: skip
atanh = elementwise("atanh", kernels.atanh, "x", x=lambda g, x: quotient(g, _one_minus_square(x)))


def _norm_square(x: Any, y: Any) -> Any:
    """x^2 + y^2, with 1 in place of 0: quotients by it are 0 at the origin."""
    return unless_zero(add(square(x), square(y)))


#: The angle of the point (y, x); at the origin the subgradient is 0.
atan2 = elementwise(
    "atan2", kernels.atan2, "x y",
    x=lambda g, x, y: absorb(g, divide(y, _norm_square(x, y))),
    y=lambda g, x, y: negative(absorb(g, divide(x, _norm_square(x, y)))),
)  # fmt: skip

#: The length of (x, y); at the origin the subgradient is 0.
hypot = elementwise(
    "hypot", kernels.hypot, "x y",
    x=lambda g, x, out: absorb(g, divide(x, unless_zero(out))),
    y=lambda g, y, out: absorb(g, divide(y, unless_zero(out))),
)  # fmt: skip


def _sinc(x: Any) -> Any:
    return np.asarray(np.sinc(x))


#: sin(pi x) / (pi x); the derivative (cos(pi x) - sinc x) / x is 0 at 0.
sinc = elementwise(
    "sinc", _sinc, "x",
    x=lambda g, x, out: absorb(
        g, divide(subtract(cos(multiply(x, math.pi)), out), unless_zero(x))
    ),
)  # fmt: skip
