"""Elementwise kernels: arithmetic, powers, exponentials, logarithms and trigonometry.

Every kernel here follows one contract. Arguments broadcast as in NumPy and may have any strides;
Python numbers are weak (a float32 array times ``2.0`` stays float32). The result is a fresh
C-contiguous array of the common dtype, or ``out`` when that is given; ``out`` may overlap an
argument in any way. float32 and float64 run natively, every other dtype on the twin. Special values
are those of IEEE 754 and C99 Annex F, and no floating-point warning is ever raised.

>>> import numpy as np
>>> multiply(np.float32([[1.0], [2.0]]), np.float32([3.0, 4.0]))
array([[3., 4.],
       [6., 8.]], dtype=float32)
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tilegrad.kernels.registry import kernel

Array = NDArray[Any]


def ufunc(function: Callable[..., Any], *args: ArrayLike, out: Array | None = None) -> Array:
    """Apply a NumPy ufunc in silence; the result is an array even when it has no axes."""
    with np.errstate(all="ignore"):
        return np.asarray(function(*args, out=out, order="C"))


def floating(x: ArrayLike) -> Array:
    """``x`` as an array of floating (or complex) numbers: integers and booleans become float64."""
    x = np.asarray(x)
    return x if np.issubdtype(x.dtype, np.inexact) or x.dtype == object else x.astype(np.float64)


def deliver(result: Array, out: Array | None) -> Array:
    """``result`` itself as a C-contiguous array, or copied into ``out``."""
    if out is None:
        # np.ascontiguousarray would give a 0-d result an axis
        return np.asarray(result, order="C")
    np.copyto(out, result, casting="same_kind")
    return out


# ---- two arguments -------------------------------------------------------------------------------


@kernel
def add(a: ArrayLike, b: ArrayLike, out: Array | None = None) -> Array:
    """``a + b``."""
    return ufunc(np.add, a, b, out=out)


@kernel
def subtract(a: ArrayLike, b: ArrayLike, out: Array | None = None) -> Array:
    """``a - b``."""
    return ufunc(np.subtract, a, b, out=out)


@kernel
def multiply(a: ArrayLike, b: ArrayLike, out: Array | None = None) -> Array:
    """``a * b``."""
    return ufunc(np.multiply, a, b, out=out)


@kernel
def absorb(a: ArrayLike, b: ArrayLike, out: Array | None = None) -> Array:
    """``a * b``, and 0 where either is 0, whatever the other."""
    product = ufunc(np.multiply, a, b)
    zero = np.equal(a, 0) | np.equal(b, 0)
    return deliver(np.where(zero, product.dtype.type(0), product), out)


@kernel
def divide(a: ArrayLike, b: ArrayLike, out: Array | None = None) -> Array:
    """``a / b``, true division; integers give float64."""
    return ufunc(np.divide, a, b, out=out)


@kernel
def maximum(a: ArrayLike, b: ArrayLike, out: Array | None = None) -> Array:
    """The larger of ``a`` and ``b``; NaN where either is NaN."""
    return ufunc(np.maximum, a, b, out=out)


@kernel
def minimum(a: ArrayLike, b: ArrayLike, out: Array | None = None) -> Array:
    """The smaller of ``a`` and ``b``; NaN where either is NaN."""
    return ufunc(np.minimum, a, b, out=out)


@kernel
def power(a: ArrayLike, b: ArrayLike, out: Array | None = None) -> Array:
    """``a`` to the power ``b``; ``pow(x, 0) = pow(1, y) = 1`` even for NaN, as in C99."""
    return ufunc(np.power, a, b, out=out)


@kernel
def remainder(a: ArrayLike, b: ArrayLike, out: Array | None = None) -> Array:
    """``a - b * floor(a / b)``: the remainder with the sign of ``b``."""
    return ufunc(np.remainder, a, b, out=out)


@kernel
def fmod(a: ArrayLike, b: ArrayLike, out: Array | None = None) -> Array:
    """``a - b * trunc(a / b)``: the remainder with the sign of ``a``."""
    return ufunc(np.fmod, a, b, out=out)


@kernel
def floor_divide(a: ArrayLike, b: ArrayLike, out: Array | None = None) -> Array:
    """``floor(a / b)``."""
    return ufunc(np.floor_divide, a, b, out=out)


@kernel
def atan2(a: ArrayLike, b: ArrayLike, out: Array | None = None) -> Array:
    """The angle of the point (b, a), in [-pi, pi]."""
    return ufunc(np.arctan2, a, b, out=out)


@kernel
def hypot(a: ArrayLike, b: ArrayLike, out: Array | None = None) -> Array:
    """``sqrt(a^2 + b^2)`` without overflow on the way."""
    return ufunc(np.hypot, a, b, out=out)


@kernel
def logaddexp(a: ArrayLike, b: ArrayLike, out: Array | None = None) -> Array:
    """``log(exp(a) + exp(b))`` without overflow on the way."""
    return ufunc(np.logaddexp, a, b, out=out)


@kernel
def copysign(a: ArrayLike, b: ArrayLike, out: Array | None = None) -> Array:
    """The magnitude of ``a`` with the sign bit of ``b``."""
    return ufunc(np.copysign, a, b, out=out)


# ---- rounding, sign, powers ----------------------------------------------------------------------


@kernel
def negative(x: ArrayLike, out: Array | None = None) -> Array:
    """``-x``."""
    return ufunc(np.negative, x, out=out)


@kernel
def positive(x: ArrayLike, out: Array | None = None) -> Array:
    """``+x``: a copy."""
    return ufunc(np.positive, x, out=out)


@kernel
def absolute(x: ArrayLike, out: Array | None = None) -> Array:
    """``|x|``."""
    return ufunc(np.absolute, x, out=out)


@kernel
def sign(x: ArrayLike, out: Array | None = None) -> Array:
    """-1, 0 or 1 as ``x`` is negative, zero or positive; NaN stays NaN."""
    return ufunc(np.sign, x, out=out)


@kernel
def floor(x: ArrayLike, out: Array | None = None) -> Array:
    """The largest integer not above ``x``."""
    return ufunc(np.floor, x, out=out)


@kernel
def ceil(x: ArrayLike, out: Array | None = None) -> Array:
    """The smallest integer not below ``x``."""
    return ufunc(np.ceil, x, out=out)


@kernel
def trunc(x: ArrayLike, out: Array | None = None) -> Array:
    """``x`` without its fraction."""
    return ufunc(np.trunc, x, out=out)


@kernel
def round(x: ArrayLike, out: Array | None = None) -> Array:
    """The nearest integer, halves to the even one."""
    return ufunc(np.rint, x, out=out)


@kernel
def square(x: ArrayLike, out: Array | None = None) -> Array:
    """``x * x``."""
    return ufunc(np.square, x, out=out)


@kernel
def sqrt(x: ArrayLike, out: Array | None = None) -> Array:
    """The square root; NaN below zero."""
    return ufunc(np.sqrt, x, out=out)


@kernel
def rsqrt(x: ArrayLike, out: Array | None = None) -> Array:
    """``1 / sqrt(x)``."""
    with np.errstate(all="ignore"):
        return deliver(np.asarray(1 / np.sqrt(x)), out)


@kernel
def reciprocal(x: ArrayLike, out: Array | None = None) -> Array:
    """``1 / x``."""
    return ufunc(np.reciprocal, floating(x), out=out)


# ---- exponentials and logarithms -----------------------------------------------------------------


@kernel
def exp(x: ArrayLike, out: Array | None = None) -> Array:
    """``e^x``."""
    return ufunc(np.exp, x, out=out)


@kernel
def exp2(x: ArrayLike, out: Array | None = None) -> Array:
    """``2^x``."""
    return ufunc(np.exp2, x, out=out)


@kernel
def expm1(x: ArrayLike, out: Array | None = None) -> Array:
    """``e^x - 1``, accurate near zero."""
    return ufunc(np.expm1, x, out=out)


@kernel
def log(x: ArrayLike, out: Array | None = None) -> Array:
    """The natural logarithm; -inf at zero, NaN below."""
    return ufunc(np.log, x, out=out)


@kernel
def log2(x: ArrayLike, out: Array | None = None) -> Array:
    """The logarithm to base 2."""
    return ufunc(np.log2, x, out=out)


@kernel
def log10(x: ArrayLike, out: Array | None = None) -> Array:
    """The logarithm to base 10."""
    return ufunc(np.log10, x, out=out)


@kernel
def log1p(x: ArrayLike, out: Array | None = None) -> Array:
    """``log(1 + x)``, accurate near zero."""
    return ufunc(np.log1p, x, out=out)


# ---- trigonometric and hyperbolic ----------------------------------------------------------------


@kernel
def sin(x: ArrayLike, out: Array | None = None) -> Array:
    """The sine of an angle in radians."""
    return ufunc(np.sin, x, out=out)


@kernel
def cos(x: ArrayLike, out: Array | None = None) -> Array:
    """The cosine of an angle in radians."""
    return ufunc(np.cos, x, out=out)


@kernel
def tan(x: ArrayLike, out: Array | None = None) -> Array:
    """The tangent of an angle in radians."""
    return ufunc(np.tan, x, out=out)


@kernel
def asin(x: ArrayLike, out: Array | None = None) -> Array:
    """The angle in [-pi/2, pi/2] whose sine is ``x``; NaN where ``|x| > 1``."""
    return ufunc(np.arcsin, x, out=out)


@kernel
def acos(x: ArrayLike, out: Array | None = None) -> Array:
    """The angle in [0, pi] whose cosine is ``x``; NaN where ``|x| > 1``."""
    return ufunc(np.arccos, x, out=out)


@kernel
def atan(x: ArrayLike, out: Array | None = None) -> Array:
    """The angle in [-pi/2, pi/2] whose tangent is ``x``."""
    return ufunc(np.arctan, x, out=out)


@kernel
def sinh(x: ArrayLike, out: Array | None = None) -> Array:
    """The hyperbolic sine."""
    return ufunc(np.sinh, x, out=out)


@kernel
def cosh(x: ArrayLike, out: Array | None = None) -> Array:
    """The hyperbolic cosine."""
    return ufunc(np.cosh, x, out=out)


@kernel
def tanh(x: ArrayLike, out: Array | None = None) -> Array:
    """The hyperbolic tangent."""
    return ufunc(np.tanh, x, out=out)


@kernel
def asinh(x: ArrayLike, out: Array | None = None) -> Array:
    """The inverse of sinh."""
    return ufunc(np.arcsinh, x, out=out)


@kernel
def acosh(x: ArrayLike, out: Array | None = None) -> Array:
    """The inverse of cosh; NaN below 1."""
    return ufunc(np.arccosh, x, out=out)


@kernel
def atanh(x: ArrayLike, out: Array | None = None) -> Array:
    """The inverse of tanh; NaN where ``|x| > 1``."""
    return ufunc(np.arctanh, x, out=out)


@kernel
def erf(x: ArrayLike, out: Array | None = None) -> Array:
    """The error function, ``2 / sqrt(pi)`` times the integral of ``exp(-t^2)`` from 0 to ``x``."""
    x = floating(x)
    return deliver(np.asarray(np.frompyfunc(math.erf, 1, 1)(x)).astype(x.dtype), out)


@kernel
def erfc(x: ArrayLike, out: Array | None = None) -> Array:
    """``1 - erf(x)``, accurate for large ``x``."""
    x = floating(x)
    return deliver(np.asarray(np.frompyfunc(math.erfc, 1, 1)(x)).astype(x.dtype), out)


# ---- choices -------------------------------------------------------------------------------------


@kernel
def where(c: ArrayLike, x: ArrayLike, y: ArrayLike, out: Array | None = None) -> Array:
    """``x`` where the condition ``c`` holds, ``y`` elsewhere; the three broadcast together."""
    return deliver(np.where(c, x, y), out)


@kernel
def clip(
    x: ArrayLike,
    low: ArrayLike | None = None,
    high: ArrayLike | None = None,
    out: Array | None = None,
) -> Array:
    """``min(max(x, low), high)``; a bound that is None does not bind; NaN stays NaN."""
    x = np.asarray(x)
    lower = x if low is None else np.maximum(x, low)
    return deliver(np.asarray(lower if high is None else np.minimum(lower, high)).copy(), out)
