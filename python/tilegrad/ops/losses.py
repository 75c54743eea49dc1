"""Losses that are more than a composition: bounded logarithms whose gradient is not cut."""

from __future__ import annotations

from typing import Any

import numpy as np

from tilegrad import kernels
from tilegrad.ops.arithmetic import add, divide, multiply, negative, subtract
from tilegrad.ops.define import elementwise
from tilegrad.ops.exponential import log
from tilegrad.ops.selection import maximum

#: torch's bound of the logarithms: a probability of 0 costs 100, not infinity.
LOG_FLOOR = -100.0
#: torch's bound of x (1 - x) in the gradient.
DENOMINATOR_FLOOR = 1e-12


def _forward(x: Any, target: Any) -> Any:
    x, target = np.asarray(x), np.asarray(target)
    with_target = kernels.maximum(kernels.log(x), LOG_FLOOR)
    against = kernels.maximum(kernels.log1p(kernels.negative(x)), LOG_FLOOR)
    # (t - 1) log(1 - x) - t log x
    first = kernels.multiply(kernels.subtract(target, 1.0), against)
    return kernels.subtract(first, kernels.multiply(target, with_target))


def _by_x(g: Any, x: Any, target: Any) -> Any:
    spread = maximum(subtract(x, multiply(x, x)), DENOMINATOR_FLOOR)
    return multiply(g, divide(subtract(x, target), spread))


def _by_target(g: Any, x: Any) -> Any:
    against = maximum(log(add(negative(x), 1.0)), LOG_FLOOR)
    return multiply(g, subtract(against, maximum(log(x), LOG_FLOOR)))


#: ``-(t log x + (1 - t) log(1 - x))``.
binary_cross_entropy = elementwise(
    "binary_cross_entropy", _forward, "x target", x=_by_x, target=_by_target
)
