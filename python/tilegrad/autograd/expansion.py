"""Limits by expansion: tensors that carry their Taylor series in a small parameter s.

An operation whose derivative is a quotient 0 / 0 at some point, such as that of eigenvectors where
eigenvalues repeat, moves away from it by s: its results become polynomials in s, whatever is
computed from them carries its coefficients, and the quotient is the one of the first coefficients
that are not 0. The polynomial is kept as forward-mode tangents at :data:`LEVELS`, which are always
open: with ``s = e_1 + ... + e_m``, ``e_i^2 = 0``, the tangent at k different levels is the k-th
derivative by s.

A pass backward through a graph that holds such quotients divides by s once more for each of them,
before the poles cancel. So it is run with its cotangents times ``s^POWER``, and what arrives is
divided by that again: see :func:`raised` and :func:`lowered`.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import factorial
from typing import Any

import numpy as np

from tilegrad.autograd import forward_mode
from tilegrad.autograd.tensor import Array, Tensor

LEVELS = forward_mode.EXPANSION
#: By how much a second pass is scaled: it divides by s in the first pass's rule and in its own.
POWER = 2

#: Whether any tensor of this process was ever expanded: passes look for quotients only then.
seen = False


def perturbed(x: Array, direction: Array) -> Tensor:
    """``x + s direction``."""
    global seen
    seen = True
    return from_coefficients([x, direction])


def from_coefficients(derivatives: Sequence[Array]) -> Tensor:
    """The tensor with these derivatives by s, the value first; missing ones are 0."""
    return _nested(derivatives, 0, len(LEVELS))


def _nested(derivatives: Sequence[Array], order: int, below: int) -> Tensor:
    result = Tensor(np.asarray(derivatives[order]))
    if order + 1 < len(derivatives) and below:
        result._tangents = {
            LEVELS[i]: _nested(derivatives, order + 1, i) for i in reversed(range(below))
        }
    return result


def coefficients(x: Any) -> list[Array]:
    """The derivatives of ``x`` by s, all ``len(LEVELS) + 1`` of them."""
    value = x._array if isinstance(x, Tensor) else np.asarray(x)
    found = [value]
    for order in range(1, len(LEVELS) + 1):
        part = x
        for level in reversed(LEVELS[:order]):
            part = forward_mode.tangent_of(part, level)
        found.append(np.zeros_like(value) if part is None else np.asarray(part._array))
    return found


def is_expanded(x: Any) -> bool:
    """Whether ``x`` is a polynomial in s rather than a constant."""
    return isinstance(x, Tensor) and x._tangents is not None and LEVELS[0] in x._tangents


def carries_tangents(x: Any) -> bool:
    """Whether ``x`` is to be pushed forward too, by levels that are not the expansion's own."""
    if not isinstance(x, Tensor) or not x._tangents:
        return False
    return not set(forward_mode.without_dead_levels(x)._tangents or ()) <= set(LEVELS)


def without_expansion(x: Any) -> Any:
    """``x`` at s = 0."""
    if not is_expanded(x):
        return x
    result = forward_mode._alias(x)
    kept = {level: t for level, t in x._tangents.items() if level not in LEVELS}
    result._tangents = kept or None
    return result


def raised(g: Any) -> Tensor:
    """``s^POWER g`` for a cotangent that does not depend on s."""
    value = g._array if isinstance(g, Tensor) else np.asarray(g)
    zero = np.zeros_like(value)
    return from_coefficients([zero] * POWER + [factorial(POWER) * value])


def lowered(g: Any, negligible: float) -> tuple[Any, float]:
    """``g / s^POWER`` at s = 0, and the largest entry of a pole that did not cancel, 0 for none."""
    if g is None or not isinstance(g, Tensor):
        return (None if g is None else np.zeros_like(g)), 0.0
    series = [d / factorial(k) for k, d in enumerate(coefficients(g))]
    scale = max(float(np.abs(part).max(initial=0.0)) for part in series[: POWER + 1])
    pole = max(float(np.abs(part).max(initial=0.0)) for part in series[:POWER])
    return series[POWER], pole if pole > negligible * scale else 0.0
