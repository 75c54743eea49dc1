"""Powers, right at 0 to the power of 0."""

from __future__ import annotations

from typing import Any

import numpy as np

from tilegrad import kernels
from tilegrad.ops.arithmetic import absorb, multiply, quotient, subtract
from tilegrad.ops.define import discrete, elementwise, vanish
from tilegrad.ops.exponential import log
from tilegrad.ops.selection import where

#: Where ``y x^(y-1)`` is 0 for the sake of ``y = 0`` although ``x^(y-1)`` is not finite.
_constant_power = discrete(
    "constant_power",
    lambda x, y: np.logical_and(np.equal(y, 0), np.logical_or(np.equal(x, 0), np.isnan(x))),
    "x y",
)

#: Where ``x^y log x`` is 0 for the sake of ``x = 0``: ``0^y`` is 0 for y > 0.
_zero_base = discrete(
    "zero_base", lambda x, y: np.logical_and(np.equal(x, 0), np.greater_equal(y, 0)), "x y"
)


def _power_by_base(g: Any, x: Any, y: Any) -> Any:
    if isinstance(y, (int, float)):
        if y == 0:
            return vanish(g)
        if y < 1:  # x^(y-1) is infinite at 0
            return quotient(absorb(g, y), power(x, 1 - y))
        return absorb(g, multiply(power(x, y - 1), y))
    slope = multiply(y, power(x, subtract(y, 1.0)))
    return absorb(g, where(_constant_power(x, y), 0.0, slope))


def _power_by_exponent(g: Any, x: Any, y: Any, out: Any) -> Any:
    # log 1 = 0 stands in at a zero base, so that no derivative sees log 0
    return absorb(g, multiply(out, log(where(_zero_base(x, y), 1.0, x))))


#: d(x^y) = y x^(y-1) dx + x^y log x dy
power = elementwise(
    "power", kernels.power, "x y", promotes=True, x=_power_by_base, y=_power_by_exponent
)
