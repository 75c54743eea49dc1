"""Sums, products, quotients, remainders and rounding, entry by entry."""

from __future__ import annotations

from typing import Any

import numpy as np

from tilegrad import kernels
from tilegrad.autograd.op import vector_space
from tilegrad.ops.define import elementwise, flat, vanish

add = elementwise(
    "add", kernels.add, "x y", promotes=True,
    x=lambda g: g,
    y=lambda g: g,
)  # fmt: skip


def total(*parts: Any) -> Any:
    """The sum of the parts that are not None; None without any."""
    result = None
    for part in parts:
        if part is not None:
            result = part if result is None else add(result, part)
    return result


subtract = elementwise(
    "subtract", kernels.subtract, "x y", promotes=True,
    x=lambda g: g,
    y=lambda g: negative(g),
)  # fmt: skip

multiply = elementwise(
    "multiply", kernels.multiply, "x y", promotes=True,
    x=lambda g, y: absorb(g, y),
    y=lambda g, x: absorb(g, x),
)  # fmt: skip

#: x y, and 0 where either is 0, whatever the other. Rules scale gradients by it where the slope may
#: be infinite or NaN: an entry that no result depends on, such as the branch that ``where`` did not
#: take, then has the gradient 0, not NaN, to every order.
absorb = elementwise(
    "absorb", kernels.absorb, "x y", promotes=True,
    x=lambda g, y: absorb(g, y),
    y=lambda g, x: absorb(g, x),
)  # fmt: skip

divide = elementwise(
    "divide", kernels.divide, "x y",
    x=lambda g, y: quotient(g, y),
    # d(x / y) = -x / y^2 dy
    y=lambda g, x, y: negative(quotient(absorb(quotient(g, y), x), y)),
)  # fmt: skip


def _quotient(x: Any, y: Any) -> Any:
    # relu_grad(q, |x|) is q where x is not 0, else 0
    return kernels.relu_grad(kernels.divide(x, y), kernels.absolute(x))


#: x / y, and 0 where x is 0 whatever y is: what ``absorb`` is for products.
quotient = elementwise(
    "quotient", _quotient, "x y",
    x=lambda g, y: quotient(g, y),
    y=lambda g, out, y: negative(quotient(absorb(g, out), y)),
)  # fmt: skip

negative = elementwise("negative", kernels.negative, "x", promotes=True, x=lambda g: negative(g))
positive = elementwise("positive", kernels.positive, "x", promotes=True, x=lambda g: g)

square = elementwise(
    "square", kernels.square, "x", promotes=True,
    x=lambda g, x: absorb(g, multiply(x, 2.0)),
)  # fmt: skip

reciprocal = elementwise(
    "reciprocal", kernels.reciprocal, "x",
    x=lambda g, x: negative(quotient(g, square(x))),
)  # fmt: skip

# ---- quotients with a whole number, remainders ---------------------------------------------------

floor_divide = flat("floor_divide", kernels.floor_divide, "x y")

#: x - y floor(x / y)
remainder = elementwise(
    "remainder", kernels.remainder, "x y", promotes=True,
    x=lambda g: g,
    y=lambda g, x, y: negative(absorb(g, floor(divide(x, y)))),
)  # fmt: skip

#: x - y trunc(x / y)
fmod = elementwise(
    "fmod", kernels.fmod, "x y", promotes=True,
    x=lambda g: g,
    y=lambda g, x, y: negative(absorb(g, trunc(divide(x, y)))),
)  # fmt: skip


# ---- sign and rounding ---------------------------------------------------------------------------


def _sign(x: Any) -> Any:
    return x.copy() if np.asarray(x).dtype == bool else kernels.sign(x)


def _whole(rounding: Any) -> Any:
    """A rounding kernel that leaves integers as they are."""
    return lambda x: np.array(x) if np.asarray(x).dtype.kind in "iub" else rounding(x)


sign = flat("sign", _sign, "x")
floor = flat("floor", _whole(kernels.floor), "x")
ceil = flat("ceil", _whole(kernels.ceil), "x")
trunc = flat("trunc", _whole(kernels.trunc), "x")
round = flat("round", _whole(kernels.round), "x")



def _angle(x: Any) -> Any:
    return np.where(np.isnan(x), x, np.where(np.less(x, 0), np.pi, 0)).astype(np.asarray(x).dtype)


#: The argument of a real number: 0, or pi below 0.
angle = flat("angle", _angle, "x", "float")

absolute = elementwise(
    "absolute", kernels.absolute, "x", promotes=True,
    x=lambda g, x: absorb(g, sign(x)),
)  # fmt: skip

#: The fraction x - trunc(x).
frac = elementwise(
    "frac", lambda x: kernels.subtract(x, kernels.trunc(x)), "x", promotes=True, x=lambda g: g
)

#: The magnitude of x with the sign of y: where x is 0 torch's subgradient is 0.
copysign = elementwise(
    "copysign", kernels.copysign, "x y",
    x=lambda g, x, y: absorb(g, multiply(sign(x), copysign(1.0, y))),
    y=lambda g: vanish(g),
)  # fmt: skip

vector_space.add = add
vector_space.add_into = lambda a, b: kernels.add(a, b, out=a)
