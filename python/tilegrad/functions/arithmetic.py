"""Elementwise functions that are more than one operation under its own name."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tilegrad.autograd.tensor import Tensor
from tilegrad.ops import arithmetic as _a
from tilegrad.ops import comparison as _c
from tilegrad.ops import exponential as _e
from tilegrad.ops import selection as _s
from tilegrad.ops import shape as _shape
from tilegrad.ops import special as _special
from tilegrad.ops.power import power
from tilegrad.ops.promotion import result_dtype

_NUMBERS = (int, float, bool, np.generic)


def add(x: Any, y: Any, *, alpha: Any = 1) -> Any:
    """``x + alpha y``."""
    return _a.add(x, y if alpha == 1 else _a.multiply(y, alpha))


def subtract(x: Any, y: Any, *, alpha: Any = 1) -> Any:
    """``x - alpha y``."""
    return _a.subtract(x, y if alpha == 1 else _a.multiply(y, alpha))


sub = subtract


def rsub(x: Any, y: Any, *, alpha: Any = 1) -> Any:
    """``y - alpha x``."""
    return subtract(y, x, alpha=alpha)


def divide(x: Any, y: Any, *, rounding_mode: str | None = None) -> Any:
    """``x / y``; with ``rounding_mode`` "floor" or "trunc" a whole number."""
    if rounding_mode is None:
        return _a.divide(x, y)
    if rounding_mode == "floor":
        return _a.floor_divide(x, y)
    if rounding_mode == "trunc":
        quotient = _a.trunc(_a.divide(x, y))
        dtype = result_dtype(x, y)
        return _shape.cast(quotient, dtype) if dtype.kind in "iu" else quotient
    raise ValueError(
        f"divide: rounding_mode must be None, 'floor' or 'trunc', not {rounding_mode!r}"
    )


div = divide


def pow(x: Any, exponent: Any) -> Any:
    """``x`` to the power ``exponent``, right at 0 to the power of 0."""
    if type(exponent) in (int, float) and exponent == 2 and not isinstance(x, _NUMBERS):
        return _a.square(x)
    return power(x, exponent)


def float_power(x: Any, exponent: Any) -> Any:
    """:func:`pow` in float64."""
    double = np.dtype(np.float64)
    return power(_as_dtype(x, double), _as_dtype(exponent, double))


def _as_dtype(x: Any, dtype: np.dtype[Any]) -> Any:
    return _shape.cast(x, dtype) if hasattr(x, "dtype") else np.asarray(x, dtype)


def clamp(x: Any, min: Any = None, max: Any = None, **named: Any) -> Any:
    """``x`` kept between two bounds; the gradient passes where neither binds.

    NumPy's ``a_min`` and ``a_max`` are taken too.
    """
    low, high = named.pop("a_min", min), named.pop("a_max", max)
    if named:
        raise TypeError(f"clamp: unknown arguments {sorted(named)}")
    if low is None and high is None:
        raise ValueError("clamp: needs a lower or an upper bound")
    return _s.clip(x, low, high)


def clip(x: Any, min: Any = None, max: Any = None, **named: Any) -> Any:
    """:func:`clamp`, which may have no bound at all."""
    if min is None and max is None and not named:
        return _shape.copy(x)
    return clamp(x, min, max, **named)


def clamp_min(x: Any, min: Any) -> Any:
    """``x`` where it is at least ``min``, else ``min``."""
    return _s.clip(x, min, None)


def clamp_max(x: Any, max: Any) -> Any:
    """``x`` where it is at most ``max``, else ``max``."""
    return _s.clip(x, None, max)


def where(condition: Any, x: Any = None, y: Any = None) -> Any:
    """``x`` where ``condition`` holds, ``y`` elsewhere; alone, the indices where it holds.

    >>> import tilegrad as tg
    >>> a = tg.tensor([1.0, 4.0], requires_grad=True)
    >>> tg.where(a > 2, a * a, 0.0).sum().backward()
    >>> a.grad.numpy()
    array([0., 8.], dtype=float32)
    """
    if x is None and y is None:
        from tilegrad.functions.indexing import nonzero

        return nonzero(condition, as_tuple=True)
    if not all(isinstance(value, Tensor) for value in (x, y)):
        x, y = _beside(x, y), _beside(y, x)
    elif x.dtype != y.dtype:
        dtype = result_dtype(x, y)
        x, y = _shape.cast(x, dtype), _shape.cast(y, dtype)
    return _s.where(condition, x, y)


def _beside(value: Any, other: Any) -> Any:
    """A number as a 0-d array of the dtype that it and ``other`` make; others as they are."""
    if isinstance(value, _NUMBERS):
        return np.asarray(value, result_dtype(value, other))
    dtype = result_dtype(value, other)
    return value if value.dtype == dtype else _shape.cast(value, dtype)


def lerp(start: Any, end: Any, weight: Any) -> Any:
    """``start + weight (end - start)``."""
    return _a.add(start, _a.multiply(weight, _a.subtract(end, start)))


def addcmul(x: Any, tensor1: Any, tensor2: Any, *, value: Any = 1) -> Any:
    """``x + value tensor1 tensor2``."""
    return add(x, _a.multiply(tensor1, tensor2), alpha=value)


def addcdiv(x: Any, tensor1: Any, tensor2: Any, *, value: Any = 1) -> Any:
    """``x + value tensor1 / tensor2``."""
    return add(x, _a.divide(tensor1, tensor2), alpha=value)


def round(x: Any, *, decimals: int = 0) -> Any:
    """The nearest whole number, halves to the even one; or the nearest with ``decimals`` digits."""
    if decimals == 0:
        return _a.round(x)
    if decimals > 0:
        return _a.divide(_a.round(_a.multiply(x, 10.0**decimals)), 10.0**decimals)
    return _a.multiply(_a.round(_a.divide(x, 10.0**-decimals)), 10.0**-decimals)


def nan_to_num(
    x: Any, nan: float | None = 0.0, posinf: float | None = None, neginf: float | None = None
) -> Any:
    """NaN and infinities replaced, the latter by the largest finite numbers if nothing is said."""
    if not hasattr(x, "dtype"):
        x = np.asarray(x)
    if x.dtype.kind != "f":
        return _shape.copy(x)
    return _s.nan_to_num(x, nan, posinf, neginf)


def logit(x: Any, eps: float | None = None) -> Any:
    """``log(x / (1 - x))``, of ``x`` kept within [eps, 1 - eps]."""
    return _e.logit(x if eps is None else _s.clip(x, eps, 1 - eps))


def relu(x: Any) -> Any:
    """``max(x, 0)``; the gradient at 0 is 0."""
    from tilegrad.ops.activation import relu

    return relu(x)


def xlogy(x: Any, y: Any) -> Any:
    """``x log y``, and 0 where ``x`` is 0 (unless ``y`` is NaN)."""
    return _s.xlogy(x, y)


def xlog1py(x: Any, y: Any) -> Any:
    """``x log(1 + y)``, and 0 where ``x`` is 0 (unless ``y`` is NaN)."""
    return _s.xlogy(x, _a.add(y, 1.0))


def digamma(x: Any) -> Any:
    """The derivative of log-gamma."""
    return _special.polygamma(x, 0)


def polygamma(n: int, x: Any) -> Any:
    """The ``n``-th derivative of :func:`digamma`."""
    if not isinstance(n, int):  # the method x.polygamma(n)
        n, x = x, n
    if n < 0:
        raise RuntimeError(f"polygamma: the order must not be negative, not {n}")
    return _special.polygamma(x, n)


def mvlgamma(x: Any, p: int) -> Any:
    """The logarithm of the multivariate gamma function of dimension ``p``."""
    from tilegrad.functions.reductions import _floating
    from tilegrad.ops.reduction import sum

    x = _floating(x)
    steps = np.arange(p).astype(x.dtype) * x.dtype.type(0.5)
    parts = _special.lgamma(_a.subtract(_shape.reshape(x, (*x.shape, 1)), steps))
    return _a.add(sum(parts, -1), p * (p - 1) / 4 * math.log(math.pi))


def deg2rad(x: Any) -> Any:
    """Degrees as radians."""
    return _a.multiply(x, math.pi / 180)


def rad2deg(x: Any) -> Any:
    """Radians as degrees."""
    return _a.multiply(x, 180 / math.pi)


def ldexp(x: Any, exponent: Any) -> Any:
    """``x 2^exponent``."""
    return _a.multiply(x, _e.exp2(exponent))


def softmax(x: Any, axis: Any = None, *, dim: Any = None, dtype: Any = None) -> Any:
    """``exp(x) / sum(exp(x))`` along an axis."""
    from tilegrad.ops.softmax import softmax

    return softmax(x if dtype is None else _shape.cast(x, dtype), _an_axis("softmax", axis, dim))


def log_softmax(x: Any, axis: Any = None, *, dim: Any = None, dtype: Any = None) -> Any:
    """The logarithm of :func:`softmax`, computed without losing small probabilities."""
    from tilegrad.ops.softmax import log_softmax

    x = x if dtype is None else _shape.cast(x, dtype)
    return log_softmax(x, _an_axis("log_softmax", axis, dim))


def _an_axis(name: str, axis: Any, dim: Any) -> Any:
    axis = axis if dim is None else dim
    if axis is None:
        raise TypeError(f"{name}: the axis is missing")
    return axis


# ---- comparisons ---------------------------------------------------------------------------------


def isclose(x: Any, y: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> Any:
    """Where ``|x - y| <= atol + rtol |y|``."""
    if rtol < 0 or atol < 0:
        raise ValueError(f"isclose: tolerances rtol={rtol}, atol={atol} must not be negative")
    a, b = _values(x), _values(y)
    return Tensor(np.asarray(np.isclose(a, b, rtol=rtol, atol=atol, equal_nan=equal_nan)))


def allclose(
    x: Any, y: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False
) -> bool:
    """Whether all entries are close."""
    return bool(np.allclose(_values(x), _values(y), rtol=rtol, atol=atol, equal_nan=equal_nan))


def equal(x: Any, y: Any) -> bool:
    """Whether two tensors have the same shape and the same entries.

    >>> import tilegrad as tg
    >>> tg.equal(tg.ones(2), tg.tensor([1, 1]))
    True
    """
    return bool(np.array_equal(_values(x), _values(y)))


def isin(
    elements: Any, test_elements: Any, *, assume_unique: bool = False, invert: bool = False
) -> Any:
    """Where an entry is one of ``test_elements``."""
    a, b = _values(elements), _values(test_elements)
    return Tensor(np.asarray(np.isin(a, b, assume_unique=assume_unique, invert=invert)))


def isreal(x: Any) -> Any:
    """True everywhere: entries are real."""
    return _c.equal(x, x) if x.dtype.kind != "f" else Tensor(np.ones(x.shape, bool))


def _values(x: Any) -> Any:
    return x._array if isinstance(x, Tensor) else np.asarray(x)


def is_tensor(x: Any) -> bool:
    """Whether ``x`` is a tensor."""
    return isinstance(x, Tensor)


def is_floating_point(x: Any) -> bool:
    """Whether the entries are floating."""
    return bool(x.dtype.kind == "f")


def is_complex(x: Any) -> bool:
    """Whether the entries are complex: never."""
    return bool(x.dtype.kind == "c")


def is_nonzero(x: Any) -> bool:
    """Whether the one entry is not 0."""
    return bool(x)


def numel(x: Any) -> int:
    """The number of entries."""
    return int(_values(x).size)


def clone(x: Any) -> Any:
    """A copy; gradients pass."""
    return _shape.copy(x)


def result_type(x: Any, y: Any) -> Any:
    """The dtype in which two values are computed together."""
    return result_dtype(x, y)


__all__ = [
    "add", "addcdiv", "addcmul", "allclose", "clamp", "clamp_max", "clamp_min", "clip", "clone",
    "deg2rad", "digamma", "div", "divide", "equal", "float_power", "is_complex",
    "is_floating_point", "is_nonzero", "is_tensor", "isclose", "isin", "isreal", "ldexp", "lerp",
    "log_softmax", "logit", "mvlgamma", "nan_to_num", "numel", "polygamma", "pow", "rad2deg",
    "relu", "result_type", "round", "rsub", "softmax", "sub", "subtract", "where", "xlog1py",
    "xlogy",
]  # fmt: skip
