"""Activation functions of neural networks and their derivatives, elementwise.

The contract of :mod:`tilegrad.kernels.elementwise` holds: broadcasting, any strides, weak Python
numbers, ``out=`` with any overlap. ``<name>_grad(g, ...)`` is ``g`` times the derivative; it takes
the result ``y`` where the derivative is simplest in it (then the input need not be kept), else the
input ``x``.

>>> import numpy as np
>>> relu(np.float32([-1.0, 0.0, 2.0]))
array([0., 0., 2.], dtype=float32)
>>> sigmoid(np.array([-1000.0, 0.0, 1000.0]))
array([0. , 0.5, 1. ])
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tilegrad.kernels.elementwise import deliver, floating
from tilegrad.kernels.registry import kernel, reference

Array = NDArray[Any]

SQRT_HALF = math.sqrt(0.5)
SQRT_2_OVER_PI = math.sqrt(2 / math.pi)
GELU_CUBIC = 0.044715  # Hendrycks and Gimpel, "Gaussian error linear units", 2016


def _choose_gelu(approximate: str) -> bool:
    """True for the tanh form, False for the exact one."""
    if approximate not in ("none", "tanh"):
        raise ValueError(f"gelu: approximate must be 'none' or 'tanh', not {approximate!r}")
    return approximate == "tanh"


@kernel
def sigmoid(x: ArrayLike, out: Array | None = None) -> Array:
    """``1 / (1 + exp(-x))``, without overflow and with the left tail's relative accuracy."""
    x = floating(x)
    with np.errstate(all="ignore"):
        e = np.exp(-np.abs(x))
        return deliver(np.where(x >= 0, 1, e) / (1 + e), out)


@kernel
def sigmoid_grad(g: ArrayLike, y: ArrayLike, out: Array | None = None) -> Array:
    """``g y (1 - y)`` for ``y = sigmoid(x)``."""
    g, y = np.asarray(g), np.asarray(y)
    with np.errstate(all="ignore"):
        return deliver(g * (y * (1 - y)), out)


@kernel
def tanh_grad(g: ArrayLike, y: ArrayLike, out: Array | None = None) -> Array:
    """``g (1 - y^2)`` for ``y = tanh(x)``."""
    g, y = np.asarray(g), np.asarray(y)
    with np.errstate(all="ignore"):
        return deliver(g * (1 - y * y), out)


@kernel
def log_sigmoid(x: ArrayLike, out: Array | None = None) -> Array:
    """``log(sigmoid(x)) = min(x, 0) - log1p(exp(-|x|))``."""
    x = floating(x)
    with np.errstate(all="ignore"):
        return deliver(np.minimum(x, 0) - np.log1p(np.exp(-np.abs(x))), out)


@kernel
def log_sigmoid_grad(g: ArrayLike, x: ArrayLike, out: Array | None = None) -> Array:
    """``g sigmoid(-x)``."""
    g, x = np.asarray(g), floating(x)
    with np.errstate(all="ignore"):
        return deliver(g * reference.sigmoid(-x), out)


@kernel
def relu(x: ArrayLike, out: Array | None = None) -> Array:
    """``max(x, 0)``; NaN stays NaN."""
    return deliver(np.asarray(np.maximum(x, 0)), out)


@kernel
def relu_grad(g: ArrayLike, y: ArrayLike, out: Array | None = None) -> Array:
    """``g`` where ``y = relu(x)`` is positive, else 0 (``y`` may as well be ``x``)."""
    g, y = np.asarray(g), np.asarray(y)
    return deliver(np.where(y <= 0, g.dtype.type(0), g), out)


@kernel
def leaky_relu(x: ArrayLike, slope: float = 0.01, out: Array | None = None) -> Array:
    """``x`` where positive, else ``slope * x``."""
    x = floating(x)
    with np.errstate(all="ignore"):
        return deliver(np.where(x > 0, x, slope * x), out)


@kernel
def leaky_relu_grad(
    g: ArrayLike, x: ArrayLike, slope: float = 0.01, out: Array | None = None
) -> Array:
    """``g`` where ``x`` is positive, else ``slope * g``."""
    g, x = floating(g), np.asarray(x)
    with np.errstate(all="ignore"):
        return deliver(np.where(x > 0, g, slope * g), out)


@kernel
def elu(x: ArrayLike, alpha: float = 1.0, out: Array | None = None) -> Array:
    """``x`` where positive, else ``alpha * expm1(x)``."""
    x = floating(x)
    with np.errstate(all="ignore"):
        return deliver(np.where(x > 0, x, alpha * np.expm1(x)), out)


@kernel
def elu_grad(g: ArrayLike, x: ArrayLike, alpha: float = 1.0, out: Array | None = None) -> Array:
    """``g`` where ``x`` is positive, else ``g alpha exp(x)``."""
    g, x = floating(g), floating(x)
    with np.errstate(all="ignore"):
        return deliver(np.where(x > 0, g, g * (alpha * np.exp(x))), out)


@kernel
def gelu(x: ArrayLike, approximate: str = "none", out: Array | None = None) -> Array:
    """``x Phi(x)`` with the normal distribution function ``Phi``, or its tanh approximation.

    ``Phi(x) = erfc(-x / sqrt(2)) / 2``, which keeps the left tail's relative accuracy; the
    approximation is ``x / 2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))``. ValueError for another
    ``approximate``.
    """
    x = floating(x)
    with np.errstate(all="ignore"):
        if _choose_gelu(approximate):
            return deliver(
                0.5 * x * (1 + np.tanh(SQRT_2_OVER_PI * (x + GELU_CUBIC * x * x * x))), out
            )
        return deliver(0.5 * x * reference.erfc(-SQRT_HALF * x), out)


@kernel
def gelu_grad(
    g: ArrayLike, x: ArrayLike, approximate: str = "none", out: Array | None = None
) -> Array:
    """``g`` times ``Phi(x) + x phi(x)``, or the derivative of the tanh form.

    With ``t = tanh(u)``, ``u = sqrt(2 / pi) (x + 0.044715 x^3)`` the latter is
    ``(1 + t) / 2 + x / 2 (1 - t^2) u'``.
    """
    g, x = np.asarray(g), floating(x)
    with np.errstate(all="ignore"):
        if _choose_gelu(approximate):
            t = np.tanh(SQRT_2_OVER_PI * (x + GELU_CUBIC * x * x * x))
            slope = SQRT_2_OVER_PI * (1 + 3 * GELU_CUBIC * x * x)
            return deliver(g * (0.5 * (1 + t) + 0.5 * x * (1 - t * t) * slope), out)
        density = np.exp(-0.5 * x * x) * (0.5 * SQRT_2_OVER_PI)
        return deliver(g * (0.5 * reference.erfc(-SQRT_HALF * x) + x * density), out)


@kernel
def silu(x: ArrayLike, out: Array | None = None) -> Array:
    """``x sigmoid(x)``."""
    x = floating(x)
    with np.errstate(all="ignore"):
        return deliver(x * reference.sigmoid(x), out)


@kernel
def silu_grad(g: ArrayLike, x: ArrayLike, out: Array | None = None) -> Array:
    """``g s (1 + x (1 - s))`` with ``s = sigmoid(x)``."""
    g, x = np.asarray(g), floating(x)
    with np.errstate(all="ignore"):
        s = reference.sigmoid(x)
        return deliver(g * (s * (1 + x * (1 - s))), out)


@kernel
def softplus(
    x: ArrayLike, beta: float = 1.0, threshold: float = 20.0, out: Array | None = None
) -> Array:
    """``log(1 + exp(beta x)) / beta``, and ``x`` where ``beta x > threshold``, as in torch."""
    x = floating(x)
    with np.errstate(all="ignore"):
        z = beta * x
        smooth = (np.maximum(z, 0) + np.log1p(np.exp(-np.abs(z)))) / beta
        return deliver(np.where(z > threshold, x, smooth), out)


@kernel
def softplus_grad(
    g: ArrayLike,
    x: ArrayLike,
    beta: float = 1.0,
    threshold: float = 20.0,
    out: Array | None = None,
) -> Array:
    """``g sigmoid(beta x)``, and ``g`` where ``beta x > threshold``."""
    g, x = np.asarray(g), floating(x)
    with np.errstate(all="ignore"):
        z = beta * x
        return deliver(np.where(z > threshold, g, g * reference.sigmoid(z)), out)
