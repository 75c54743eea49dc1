"""Reductions over axes and their derivative rules."""

from __future__ import annotations

from typing import Any

import numpy as np

from tilegrad import kernels
from tilegrad.autograd.op import Op
from tilegrad.ops.arithmetic import divide, multiply, subtract
from tilegrad.ops.comparison import isneginf
from tilegrad.ops.define import discrete, elementwise, linear
from tilegrad.ops.exponential import exp
from tilegrad.ops.selection import is_zero, unless_zero, where
from tilegrad.ops.shape import expand, reshape


def kept_shape(shape: tuple[int, ...], axis: Any) -> tuple[int, ...]:
    """``shape`` with the reduced axes at size 1.

    >>> kept_shape((2, 3, 4), (0, -1))
    (1, 3, 1)
    """
    if axis is None:
        return (1,) * len(shape)
    axes = {a % len(shape) for a in (axis if isinstance(axis, tuple) else (axis,))} if shape else ()
    return tuple(1 if i in axes else size for i, size in enumerate(shape))


def keep(value: Any, shape: tuple[int, ...], axis: Any, keepdims: bool) -> Any:
    """A reduced ``value`` with the axes reduced from ``shape`` at size 1: it broadcasts back."""
    return value if keepdims else reshape(value, kept_shape(shape, axis))


def spread(value: Any, shape: tuple[int, ...], axis: Any, keepdims: bool = False) -> Any:
    """A reduced ``value`` broadcast back over the axes that were reduced from ``shape``."""
    return expand(keep(value, shape, axis, keepdims), shape)


def count(shape: tuple[int, ...], axis: Any) -> int:
    """How many entries of ``shape`` one result of a reduction over ``axis`` is made of.

    >>> count((2, 3, 4), (0, -1))
    8
    """
    total = 1
    for size, kept in zip(shape, kept_shape(shape, axis), strict=True):
        total *= size if kept == 1 else 1
    return total


sum = linear(
    "sum", kernels.sum, "x",
    x=lambda g, x_shape, axis, keepdims: spread(g, x_shape, axis, keepdims),
)  # fmt: skip

mean = linear(
    "mean", kernels.mean, "x", promotes="float",
    x=lambda g, x_shape, axis, keepdims: spread(
        divide(g, float(count(x_shape, axis))), x_shape, axis, keepdims
    ),
)  # fmt: skip

# ---- extremes ------------------------------------------------------------------------------------


def _tie_share(x: Any, extreme: Any) -> Any:
    """1 / (number of ties) where an entry of ``x`` is its reduction's result, which broadcasts."""
    ties = np.equal(x, extreme) | (np.isnan(x) & np.isnan(extreme))
    axes = tuple(i for i, size in enumerate(np.shape(extreme)) if size == 1)
    with np.errstate(all="ignore"):
        return (ties / ties.sum(axis=axes, keepdims=True)).astype(x.dtype)


#: Ties share the gradient equally, as in torch.
tie_share = discrete("tie_share", _tie_share, "x extreme", batch="whole")


def _extreme(name: str, kernel: Any) -> Op:
    def vjp(g: Any, x: Any, out: Any, axis: Any, keepdims: bool) -> Any:
        share = tie_share(x, keep(out, x.shape, axis, keepdims))
        return multiply(keep(g, x.shape, axis, keepdims), share)

    def jvp(t: Any, x: Any, out: Any, axis: Any, keepdims: bool) -> Any:
        share = tie_share(x, keep(out, x.shape, axis, keepdims))
        return sum(multiply(t, share), axis, keepdims)

    return Op(name, kernel, inputs=["x"], vjp={"x": vjp}, jvp={"x": jvp})


amax = _extreme("amax", kernels.amax)
amin = _extreme("amin", kernels.amin)

argmax = discrete("argmax", kernels.argmax, "x")
argmin = discrete("argmin", kernels.argmin, "x")


def _test(name: str, function: Any) -> Op:
    def forward(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
        return np.asarray(function(x, axis=axis, keepdims=keepdims))

    return discrete(name, forward, "x")


all = _test("all", np.all)
any = _test("any", np.any)
count_nonzero = _test("count_nonzero", np.count_nonzero)

# ---- norms ---------------------------------------------------------------------------------------

#: The square root whose subgradient at 0 is 0: distances, norms, standard deviations.
root = elementwise(
    "root", kernels.sqrt, "x",
    x=lambda g, out: where(is_zero(out), 0.0, divide(g, multiply(unless_zero(out), 2.0))),
)  # fmt: skip

# ---- log-sum-exp ---------------------------------------------------------------------------------


def _shares(x: Any, out: Any, axis: Any, keepdims: bool) -> Any:
    """The softmax of ``x``: e^(x - out), and 0 where the whole sum is 0."""
    total = keep(out, x.shape, axis, keepdims)
    return exp(subtract(x, where(isneginf(total), 0.0, total)))


def _logsumexp(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    return kernels.logsumexp(x, axis, keepdims)


#: log sum e^x; d = sum e^(x - out) dx
logsumexp = Op(
    "logsumexp", _logsumexp, inputs=["x"], promotes="float",
    vjp={"x": lambda g, x, out, axis, keepdims: multiply(
        keep(g, x.shape, axis, keepdims), _shares(x, out, axis, keepdims)
    )},
    jvp={"x": lambda t, x, out, axis, keepdims: sum(
        multiply(t, _shares(x, out, axis, keepdims)), axis, keepdims
    )},
)  # fmt: skip
