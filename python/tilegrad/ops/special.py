"""Special functions: log-gamma and its derivatives of every order, the inverse error function."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tilegrad import kernels
from tilegrad.ops.arithmetic import absorb, multiply, square
from tilegrad.ops.define import discrete, elementwise
from tilegrad.ops.exponential import exp

#: Where the asymptotic series of polygamma takes over: with the terms below its error is under
#: 1e-16 from here on.
_FAR = 15.0
#: Bernoulli numbers B_2, B_4, ..., B_16.
_BERNOULLI = (1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6, -3617 / 510)


def _log_gamma(x: float) -> float:
    if math.isinf(x) or (x <= 0 and x == math.floor(x)):
        return math.inf
    return math.lgamma(x)


def _lgamma(x: Any) -> Any:
    x = np.asarray(x)
    return np.asarray(np.frompyfunc(_log_gamma, 1, 1)(x)).astype(x.dtype)


lgamma = elementwise("lgamma", _lgamma, "x", x=lambda g, x: absorb(g, polygamma(x, 0)))


def _far_polygamma(z: Any, n: int) -> Any:
    """polygamma(n, z) for z >= 15: the series 6.3.18 and 6.4.11 of Abramowitz and Stegun."""
    if n == 0:
        total = np.log(z) - 0.5 / z
        for k, b in enumerate(_BERNOULLI, 1):
            total = total - b / (2 * k * z ** (2 * k))
        return total
    total = math.factorial(n - 1) / z**n + math.factorial(n) / (2 * z ** (n + 1))
    for k, b in enumerate(_BERNOULLI, 1):
        factor = b * math.prod(range(2 * k + 1, 2 * k + n)) if n > 1 else b
        total = total + factor / z ** (2 * k + n)
    return (-1) ** (n + 1) * total


def _polygamma(x: Any, n: int = 0) -> Any:
    x = np.asarray(x)
    z = x.astype(np.float64)
    with np.errstate(all="ignore"):
        pole = (z <= 0) & (z == np.floor(z))
        # psi(1 - z) - psi(z) = pi cot(pi z) brings digamma to the right half
        mirror = (z < 0) & (n == 0)
        z = np.where(mirror, 1 - z, z)
        steps = np.clip(np.ceil(_FAR - z), 0, 10_000)
        steps = np.where(np.isfinite(steps), steps, 0).astype(np.int64)
        result = _far_polygamma(z + steps, n)
        # psi_n(z) = psi_n(z + 1) - (-1)^n n! / z^(n+1)
        for k in range(int(steps.max(initial=0))):
            near = k < steps
            result = np.where(
                near, result - (-1) ** n * math.factorial(n) / (z + k) ** (n + 1), result
            )
        result = np.where(
            mirror, result - np.pi / np.tan(np.pi * np.asarray(x, np.float64)), result
        )
        at_pole = np.where(x == 0, -np.copysign(np.inf, x), np.nan)
        if n:
            at_pole = np.asarray((-1) ** (n + 1) * np.inf)
        return np.where(pole, at_pole, result).astype(x.dtype)


#: The (n+1)-th derivative of log-gamma: digamma for n = 0.
polygamma = elementwise(
    "polygamma", _polygamma, "x", x=lambda g, x, n: absorb(g, polygamma(x, n + 1))
)


def _erfinv(x: Any) -> Any:
    x = np.asarray(x)
    z = x.astype(np.float64)
    with np.errstate(all="ignore"):
        # Winitzki's approximation (2008), good to 2e-3, then steps of Halley's method
        log_term = np.log1p(-z * z)
        half = 2 / (math.pi * 0.147) + log_term / 2
        y = np.copysign(np.sqrt(np.sqrt(half * half - log_term / 0.147) - half), z)
        for _ in range(3):
            tail = kernels.erfc(np.abs(y)) - (1 - np.abs(z))
            error = np.where(np.abs(z) > 0.5, -np.sign(z) * tail, kernels.erf(y) - z)
            step = error / (2 / math.sqrt(math.pi) * np.exp(-y * y))
            y = np.where(error == 0, y, y - step / (1 + y * step))
        y = np.where(np.abs(z) == 1, np.copysign(np.inf, z), np.where(z == 0, z, y))
        return np.where(np.abs(z) > 1, np.nan, y).astype(x.dtype)


#: d erfinv = sqrt(pi) / 2 e^(y^2) dx
erfinv = elementwise(
    "erfinv", _erfinv, "x",
    x=lambda g, out: absorb(g, multiply(exp(square(out)), math.sqrt(math.pi) / 2)),
)  # fmt: skip

nextafter = discrete("nextafter", lambda x, y: np.asarray(np.nextafter(x, y)), "x y")
