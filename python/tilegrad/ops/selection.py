"""Choosing between entries: where, the larger of two, bounds."""

from __future__ import annotations

from typing import Any

import numpy as np

from tilegrad import kernels
from tilegrad.autograd.op import Op
from tilegrad.ops.arithmetic import absorb, quotient
from tilegrad.ops.define import discrete, elementwise
from tilegrad.ops.exponential import log

#: ``x`` where ``c`` holds, ``y`` elsewhere. The gradient of the branch not taken is exactly 0.
where = Op(
    "where", kernels.where, inputs=["c", "x", "y"], batch="elementwise",
    vjp={"x": lambda g, c: where(c, g, 0.0), "y": lambda g, c: where(c, 0.0, g)},
    jvp={"x": lambda t, c: where(c, t, 0.0), "y": lambda t, c: where(c, 0.0, t)},
)  # fmt: skip

#: ``x`` with 1 in place of 0: a denominator.
unless_zero = elementwise(
    "unless_zero", lambda x: np.where(np.equal(x, 0), np.ones_like(x), x), "x",
    x=lambda g, x: where(is_zero(x), 0.0, g),
)  # fmt: skip

is_zero = discrete("is_zero", lambda x: np.equal(x, 0), "x")


def _preference(x: Any, y: Any) -> Any:
    """1 where x > y or one of them is NaN, 1/2 where they are equal, 0 below."""
    x, y = np.asarray(x), np.asarray(y)
    dtype = np.result_type(x, y)
    return np.where(x == y, 0.5, np.where(x < y, 0.0, 1.0)).astype(dtype)


#: Equal entries share the gradient, as in torch.
preference = discrete("preference", _preference, "x y")

maximum = elementwise(
    "maximum", kernels.maximum, "x y", promotes=True,
    x=lambda g, x, y: absorb(g, preference(x, y)),
    y=lambda g, x, y: absorb(g, preference(y, x)),
)  # fmt: skip

minimum = elementwise(
    "minimum", kernels.minimum, "x y", promotes=True,
    x=lambda g, x, y: absorb(g, preference(y, x)),
    y=lambda g, x, y: absorb(g, preference(x, y)),
)  # fmt: skip

#: Where the first of two is taken by fmax and fmin, which pass over NaN.
_first_is_larger = discrete(
    "first_is_larger", lambda x, y: np.logical_or(np.greater_equal(x, y), np.isnan(y)), "x y"
)

fmax = elementwise(
    "fmax", lambda x, y: np.asarray(np.fmax(x, y)), "x y", promotes=True,
    x=lambda g, x, y: where(_first_is_larger(x, y), g, 0.0),
    y=lambda g, x, y: where(_first_is_larger(x, y), 0.0, g),
)  # fmt: skip

_first_is_smaller = discrete(
    "first_is_smaller", lambda x, y: np.logical_or(np.less_equal(x, y), np.isnan(y)), "x y"
)

fmin = elementwise(
    "fmin", lambda x, y: np.asarray(np.fmin(x, y)), "x y", promotes=True,
    x=lambda g, x, y: where(_first_is_smaller(x, y), g, 0.0),
    y=lambda g, x, y: where(_first_is_smaller(x, y), 0.0, g),
)  # fmt: skip

_within = discrete(
    "within",
    lambda x, low, high: ~(_beyond(np.less, x, low) | _beyond(np.greater, x, high)),
    "x low high",
)
_below = discrete("below", lambda x, low, high: _lower_binds(x, low, high), "x low high")
_above = discrete("above", lambda x, high: np.greater(x, high), "x high")


def _beyond(compare: Any, x: Any, bound: Any) -> Any:
    return np.zeros(np.shape(x), bool) if bound is None else compare(x, bound)


def _lower_binds(x: Any, low: Any, high: Any) -> Any:
    binds = np.less(x, low)
    return binds if high is None else np.logical_and(binds, np.less(low, high))


#: min(max(x, low), high): the gradient passes at the bounds themselves, as in torch.
clip = elementwise(
    "clip", kernels.clip, "x low high", promotes=True,
    x=lambda g, x, low, high: where(_within(x, low, high), g, 0.0),
    low=lambda g, x, low, high: where(_below(x, low, high), g, 0.0),
    high=lambda g, x, low, high: where(
        _above(x if low is None else maximum(x, low), high), g, 0.0
    ),
)  # fmt: skip

#: ``x`` with NaN and infinities replaced; the gradient passes where nothing was.
nan_to_num = elementwise(
    "nan_to_num",
    lambda x, nan=0.0, posinf=None, neginf=None: np.nan_to_num(
        x, nan=nan or 0.0, posinf=posinf, neginf=neginf
    ),
    "x",
    promotes=True,
    x=lambda g, x: where(is_finite(x), g, 0.0),
)

is_finite = discrete("is_finite", lambda x: np.isfinite(x), "x")

def _xlogy(x: Any, y: Any) -> Any:
    with np.errstate(all="ignore"):
        return np.where(np.logical_and(np.equal(x, 0), ~np.isnan(y)), 0.0, x * np.log(y))


#: x log y, 0 at x = 0.
xlogy = elementwise(
    "xlogy", lambda x, y: np.asarray(_xlogy(x, y), np.result_type(x, y)), "x y",
    x=lambda g, x, y: absorb(g, log(where(_logless(x, y), 1.0, y))),
    y=lambda g, x, y: absorb(g, quotient(x, y)),
)  # fmt: skip

#: Where x log y is 0 for the sake of x = 0 although y has no logarithm.
_logless = discrete(
    "logless", lambda x, y: np.logical_and(np.equal(x, 0), np.less_equal(y, 0)), "x y"
)

def _heaviside(x: Any, y: Any) -> Any:
    dtype = np.result_type(x, y)
    step = np.heaviside(x, y) if dtype.kind == "f" else np.where(x == 0, y, x > 0)
    return np.asarray(step, dtype)


#: 0 below 0, y at 0, 1 above.
heaviside = Op(
    "heaviside", lambda x, y: _heaviside(x, y), inputs=["x", "y"], promotes=True,
    batch="elementwise", vjp={"y": lambda g, x: where(is_zero(x), g, 0.0)},
    jvp={"y": lambda t, x: where(is_zero(x), t, 0.0)},
)  # fmt: skip
