"""Running sums, products and log-sum-exps along one axis.

The rules of the products are linear recurrences y[k] = a[k] y[k-1] + b[k], never quotients of
products: zeros are right, to any order.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tilegrad import kernels
from tilegrad.autograd.op import Op
from tilegrad.ops.arithmetic import add, multiply, subtract
from tilegrad.ops.comparison import isneginf
from tilegrad.ops.define import linear
from tilegrad.ops.exponential import exp
from tilegrad.ops.reduction import keep, sum
from tilegrad.ops.selection import where
from tilegrad.ops.shape import concatenate, flip, getitem


def _cumsum(x: Any, axis: int = 0) -> Any:
    return np.cumsum(x, axis=axis, dtype=x.dtype) if np.ndim(x) else np.array(x)


def _reverse(x: Any, axis: int) -> Any:
    return flip(x, axis) if len(x.shape) else x


#: Running sum; the adjoint sums from the other end.
cumsum = linear(
    "cumsum", _cumsum, "x", x=lambda g, axis: _reverse(cumsum(_reverse(g, axis), axis), axis)
)


def shifted(x: Any, steps: int, axis: int, fill: float) -> Any:
    """``x`` moved ``steps`` entries towards the end of ``axis``, ``fill`` at the start."""
    shape = list(x.shape)
    size = shape[axis]
    steps = min(steps, size)
    shape[axis] = steps
    index: list[Any] = [slice(None)] * len(shape)
    index[axis] = slice(0, size - steps)
    return concatenate(np.full(shape, fill, dtype=x.dtype), getitem(x, tuple(index)), axis=axis)


def recurrence(a: Any, b: Any, axis: int) -> Any:
    """y[k] = a[k] y[k-1] + b[k] with y[-1] = 0, by doubling: log2(n) passes.

    The maps y -> a y + b compose as (a2 a1, a2 b1 + b2). Hillis and Steele, "Data parallel
    algorithms", 1986.
    """
    steps, size = 1, a.shape[axis]
    while steps < size:
        b = add(b, multiply(a, shifted(b, steps, axis, 0.0)))
        a = multiply(a, shifted(a, steps, axis, 1.0))
        steps *= 2
    return b


def _reverse_recurrence(a: Any, b: Any, axis: int) -> Any:
    """y[k] = a[k+1] y[k+1] + b[k]: the adjoint direction."""
    a, b = shifted(_reverse(a, axis), 1, axis, 0.0), _reverse(b, axis)
    return _reverse(recurrence(a, b, axis), axis)


def _cumprod(x: Any, axis: int = 0) -> Any:
    return np.cumprod(x, axis=axis, dtype=x.dtype) if np.ndim(x) else np.array(x)


def _before(x: Any, axis: int) -> Any:
    """The product of all entries before each one."""
    return cumprod(shifted(x, 1, axis, 1.0), axis)


def _cumprod_vjp(g: Any, x: Any, axis: int) -> Any:
    # x[i] is in every out[k], k >= i: before[i] * sum_k g[k] x[i+1] ... x[k]
    if not x.shape:
        return g
    return multiply(_before(x, axis), _reverse_recurrence(x, g, axis))


def _cumprod_jvp(t: Any, x: Any, axis: int) -> Any:
    # d out[k] = x[k] d out[k-1] + dx[k] out[k-1]
    if not x.shape:
        return t
    return recurrence(x, multiply(t, _before(x, axis)), axis)


cumprod = Op(
    "cumprod", _cumprod, inputs=["x"], vjp={"x": _cumprod_vjp}, jvp={"x": _cumprod_jvp}
)


def _others(x: Any, axis: int) -> Any:
    """The product of all entries but one, for each one."""
    return multiply(_before(x, axis), _reverse(_before(_reverse(x, axis), axis), axis))


def _prod(x: Any, axis: int = 0, keepdims: bool = False) -> Any:
    return kernels.prod(x, axis, keepdims)


#: The product along one axis.
prod = Op(
    "prod", _prod, inputs=["x"],
    vjp={"x": lambda g, x, axis, keepdims: multiply(
        keep(g, x.shape, axis, keepdims), _others(x, axis)
    )},
    jvp={"x": lambda t, x, axis, keepdims: sum(multiply(t, _others(x, axis)), axis, keepdims)},
)  # fmt: skip


def _logcumsumexp(x: Any, axis: int = 0) -> Any:
    with np.errstate(all="ignore"):
        return np.logaddexp.accumulate(x, axis=axis) if np.ndim(x) else np.array(x)


def _finite(out: Any) -> Any:
    """``out`` with 0 in place of -inf, where the sum so far is empty."""
    return where(isneginf(out), 0.0, out)


def _logcumsumexp_vjp(g: Any, x: Any, out: Any, axis: int) -> Any:
    # dx[i] = sum_{k >= i} g[k] e^(x[i] - out[k]) = e^(x[i] - out[i]) r[i], where
    # r[i] = sum_{k >= i} g[k] e^(out[i] - out[k]) = g[i] + e^(out[i] - out[i+1]) r[i+1]:
    # no factor exceeds 1.
    if not x.shape:
        return g
    out = _finite(out)
    decay = exp(subtract(shifted(out, 1, axis, 0.0), out))
    return multiply(exp(subtract(x, out)), _reverse_recurrence(decay, g, axis))


def _logcumsumexp_jvp(t: Any, x: Any, out: Any, axis: int) -> Any:
    # d out[k] = e^(out[k-1] - out[k]) d out[k-1] + e^(x[k] - out[k]) dx[k]
    if not x.shape:
        return t
    out = _finite(out)
    decay = exp(subtract(shifted(out, 1, axis, 0.0), out))
    return recurrence(decay, multiply(t, exp(subtract(x, out))), axis)


logcumsumexp = Op(
    "logcumsumexp", _logcumsumexp, inputs=["x"], promotes="float",
    vjp={"x": _logcumsumexp_vjp}, jvp={"x": _logcumsumexp_jvp},
)  # fmt: skip
