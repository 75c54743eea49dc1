"""Reductions: sums, means, extremes, norms, tests.

All take NumPy's ``axis`` and ``keepdims`` as well as torch's ``dim`` and ``keepdim``.
"""

from __future__ import annotations

import builtins
from typing import Any, NamedTuple

import numpy as np

from tilegrad.functions.axes import axis_of, normal_axes, normal_axis
from tilegrad.ops import arithmetic, comparison, cumulative, reduction
from tilegrad.ops import indexing as _indexing
from tilegrad.ops import shape as _shape
from tilegrad.ops.promotion import DEFAULT_DTYPE


class Extreme(NamedTuple):
    """Values along an axis and where they stood."""

    values: Any
    indices: Any


def _as(x: Any, dtype: Any) -> Any:
    if not hasattr(x, "dtype"):
        x = np.asarray(x)
    return x if dtype is None or x.dtype == dtype else _shape.cast(x, np.dtype(dtype))


def _floating(x: Any, dtype: Any = None) -> Any:
    """``x`` in ``dtype``; integers and bools become float32 if there is none."""
    x = _as(x, dtype)
    return _shape.cast(x, DEFAULT_DTYPE) if x.dtype.kind in "iub" else x


def sum(
    x: Any, axis: Any = None, keepdims: bool = False, *, dtype: Any = None, dim: Any = None,
    keepdim: bool = False,
) -> Any:  # fmt: skip
    """The sum over ``axis``, over everything by default. Integers and bools sum to int64."""
    if dim is not None or type(axis) is list:
        axis = axis_of(axis, dim)
    if dtype is not None:
        x = _as(x, dtype)
    return reduction.sum(x, axis, keepdims or keepdim)


def mean(
    x: Any, axis: Any = None, keepdims: bool = False, *, dtype: Any = None, dim: Any = None,
    keepdim: bool = False,
) -> Any:  # fmt: skip
    """The mean over ``axis``; NaN over an empty one. Integers give float32."""
    return reduction.mean(_floating(x, dtype), axis_of(axis, dim), keepdims or keepdim)


def prod(
    x: Any, axis: Any = None, keepdims: bool = False, *, dtype: Any = None, dim: Any = None,
    keepdim: bool = False,
) -> Any:  # fmt: skip
    """The product over ``axis``. Derivatives are right at zeros, to any order.

    >>> import tilegrad as tg
    >>> x = tg.tensor([0.0, 2.0, 3.0], requires_grad=True)
    >>> tg.prod(x).backward()
    >>> x.grad.numpy()
    array([6., 0., 0.], dtype=float32)
    """
    x = _as(x, dtype)
    axis, keepdims = axis_of(axis, dim), keepdims or keepdim
    if dtype is None and x.dtype.kind in "biu" and x.dtype.itemsize < 8:
        x = _shape.cast(x, np.dtype(np.int64))
    if axis is None or isinstance(axis, tuple) or not x.ndim:
        x, axis = _one_axis(x, axis)
        out = cumulative.prod(x, x.ndim - 1, False)
        return _as(_shape.reshape(out, axis(out.shape, keepdims)), dtype)
    return _as(cumulative.prod(x, axis, keepdims), dtype)


def _one_axis(x: Any, axis: Any) -> tuple[Any, Any]:
    """``x`` with the reduced axes flattened into a last one, and how to shape the result."""
    shape = x.shape
    if axis is None or not x.ndim:
        axes = tuple(range(x.ndim))
    else:
        axes = normal_axes(axis, x.ndim, "reduction")
    rest = tuple(i for i in range(x.ndim) if i not in axes)
    x = _shape.permute(x, rest + axes)
    kept = tuple(shape[i] for i in rest)
    size = int(np.prod([shape[i] for i in axes], dtype=np.int64))
    x = _shape.reshape(x, (*kept, size))

    def result_shape(_: Any, keepdims: bool) -> tuple[int, ...]:
        return reduction.kept_shape(shape, axes) if keepdims else kept

    return x, result_shape


def amax(
    x: Any, axis: Any = None, keepdims: bool = False, *, dim: Any = None, keepdim: bool = False
) -> Any:
    """The largest entry over ``axis``; ties share the gradient equally."""
    return reduction.amax(_as(x, None), axis_of(axis, dim), keepdims or keepdim)


def amin(
    x: Any, axis: Any = None, keepdims: bool = False, *, dim: Any = None, keepdim: bool = False
) -> Any:
    """The smallest entry over ``axis``; ties share the gradient equally."""
    return reduction.amin(_as(x, None), axis_of(axis, dim), keepdims or keepdim)


def _pick(x: Any, indices: Any, axis: int, keepdims: bool) -> Extreme:
    """The entries of ``x`` at ``indices``, which keep the axis at size 1."""
    values = _indexing.gather(x, indices, axis)
    if not keepdims and x.ndim:
        shape = tuple(n for i, n in enumerate(indices.shape) if i != axis % x.ndim)
        values, indices = _shape.reshape(values, shape), _shape.reshape(indices, shape)
    return Extreme(values, indices)


def _extreme(
    name: str, x: Any, axis: Any, keepdims: bool, whole: Any, arg: Any, pairwise: Any
) -> Any:
    if axis is None:
        return whole(x, None, keepdims)
    if not isinstance(axis, (int, np.integer)):
        return pairwise(x, axis)
    axis = normal_axis(int(axis), x.ndim, name)
    if x.shape and x.shape[axis] == 0:
        raise IndexError(f"{name}: axis {axis} of shape {x.shape} is empty")
    if not x.ndim:
        return Extreme(_shape.alias(x), _zero_index(x))
    return _pick(x, arg(x, axis, True), axis, keepdims)


def _zero_index(x: Any) -> Any:
    return reduction.argmax(_shape.reshape(x, (1,)), 0, False)


def max(
    x: Any, axis: Any = None, keepdims: bool = False, *, dim: Any = None, keepdim: bool = False
) -> Any:
    """The largest entry; along an axis ``(values, indices)``; of two tensors the larger entries.

    Without an axis ties share the gradient; along an axis the first of the largest takes it.
    """
    return _extreme(
        "max", _as(x, None), axis if dim is None else dim, keepdims or keepdim, reduction.amax,
        reduction.argmax, _larger,
    )  # fmt: skip


def min(
    x: Any, axis: Any = None, keepdims: bool = False, *, dim: Any = None, keepdim: bool = False
) -> Any:
    """The smallest entry; else as :func:`max`."""
    return _extreme(
        "min", _as(x, None), axis if dim is None else dim, keepdims or keepdim, reduction.amin,
        reduction.argmin, _smaller,
    )  # fmt: skip


def _larger(x: Any, y: Any) -> Any:
    from tilegrad.ops.selection import maximum

    return maximum(x, y)


def _smaller(x: Any, y: Any) -> Any:
    from tilegrad.ops.selection import minimum

    return minimum(x, y)


class MinMax(NamedTuple):
    """The smallest and the largest entry."""

    min: Any
    max: Any


def aminmax(
    x: Any, axis: Any = None, keepdims: bool = False, *, dim: Any = None, keepdim: bool = False
) -> MinMax:
    """Both extremes over ``axis``."""
    axis, keepdims = axis_of(axis, dim), keepdims or keepdim
    return MinMax(amin(x, axis, keepdims), amax(x, axis, keepdims))


def argmax(
    x: Any, axis: Any = None, keepdims: bool = False, *, dim: Any = None, keepdim: bool = False
) -> Any:
    """The index of the first largest entry along ``axis``, of the flattened array by default."""
    return reduction.argmax(_as(x, None), axis if dim is None else dim, keepdims or keepdim)


def argmin(
    x: Any, axis: Any = None, keepdims: bool = False, *, dim: Any = None, keepdim: bool = False
) -> Any:
    """The index of the first smallest entry; else as :func:`argmax`."""
    return reduction.argmin(_as(x, None), axis if dim is None else dim, keepdims or keepdim)


def all(
    x: Any, axis: Any = None, keepdims: bool = False, *, dim: Any = None, keepdim: bool = False
) -> Any:
    """Whether every entry over ``axis`` is true (not zero)."""
    return reduction.all(_as(x, None), axis_of(axis, dim), keepdims or keepdim)


def any(
    x: Any, axis: Any = None, keepdims: bool = False, *, dim: Any = None, keepdim: bool = False
) -> Any:
    """Whether some entry over ``axis`` is true (not zero)."""
    return reduction.any(_as(x, None), axis_of(axis, dim), keepdims or keepdim)


def count_nonzero(
    x: Any, axis: Any = None, keepdims: bool = False, *, dim: Any = None, keepdim: bool = False
) -> Any:
    """How many entries over ``axis`` are not zero."""
    return reduction.count_nonzero(_as(x, None), axis_of(axis, dim), keepdims or keepdim)


def logsumexp(
    x: Any, axis: Any = None, keepdims: bool = False, *, dim: Any = None, keepdim: bool = False
) -> Any:
    """``log(sum(exp(x)))`` over ``axis`` without overflow; -inf over an empty one."""
    x = _floating(x)
    axis = axis_of(axis, dim) if x.ndim else None
    return reduction.logsumexp(x, axis, keepdims or keepdim)


# ---- variance ------------------------------------------------------------------------------------


def _correction(axis: Any, correction: Any, unbiased: Any) -> tuple[Any, float]:
    """torch takes ``var(x, unbiased)`` too: a bool where the axis stands is not an axis."""
    if isinstance(axis, bool):
        axis, unbiased = None, axis
    if unbiased is not None:
        return axis, 1.0 if unbiased else 0.0
    return axis, 1.0 if correction is None else float(correction)


def var(
    x: Any, axis: Any = None, unbiased: Any = None, keepdims: bool = False, *,
    correction: float | None = None, dim: Any = None, keepdim: bool = False,
) -> Any:  # fmt: skip
    """The variance over ``axis``: squares summed, divided by ``n - correction`` (1 by default).

    >>> import tilegrad as tg
    >>> tg.var(tg.tensor([1.0, 2.0, 3.0])).item()
    1.0
    """
    return _moments(x, axis_of(axis, dim), unbiased, keepdims or keepdim, correction)[0]


def _moments(x: Any, axis: Any, unbiased: Any, keepdims: bool, correction: Any) -> tuple[Any, Any]:
    x = _floating(x)
    axis, correction = _correction(axis, correction, unbiased)
    centre = reduction.mean(x, axis, True)
    squares = reduction.sum(arithmetic.square(arithmetic.subtract(x, centre)), axis, keepdims)
    freedom = builtins.max(reduction.count(x.shape, axis) - correction, 0.0)
    average = centre if keepdims else _shape.reshape(centre, squares.shape)
    return arithmetic.divide(squares, float(freedom)), average


def std(
    x: Any, axis: Any = None, unbiased: Any = None, keepdims: bool = False, *,
    correction: float | None = None, dim: Any = None, keepdim: bool = False,
) -> Any:  # fmt: skip
    """The standard deviation; where it is 0 its subgradient is 0."""
    return reduction.root(
        var(x, axis, unbiased, keepdims, correction=correction, dim=dim, keepdim=keepdim)
    )


def var_mean(
    x: Any, axis: Any = None, unbiased: Any = None, keepdims: bool = False, *,
    correction: float | None = None, dim: Any = None, keepdim: bool = False,
) -> tuple[Any, Any]:  # fmt: skip
    """Variance and mean."""
    return _moments(x, axis_of(axis, dim), unbiased, keepdims or keepdim, correction)


def std_mean(
    x: Any, axis: Any = None, unbiased: Any = None, keepdims: bool = False, *,
    correction: float | None = None, dim: Any = None, keepdim: bool = False,
) -> tuple[Any, Any]:  # fmt: skip
    """Standard deviation and mean."""
    variance, average = _moments(x, axis_of(axis, dim), unbiased, keepdims or keepdim, correction)
    return reduction.root(variance), average


# ---- NaN-skipping --------------------------------------------------------------------------------


def nansum(
    x: Any, axis: Any = None, keepdims: bool = False, *, dtype: Any = None, dim: Any = None,
    keepdim: bool = False,
) -> Any:  # fmt: skip
    """The sum of the entries that are not NaN."""
    from tilegrad.ops.selection import where

    x = _as(x, dtype)
    if x.dtype.kind == "f":
        x = where(comparison.isnan(x), 0.0, x)
    return sum(x, axis, keepdims, dim=dim, keepdim=keepdim)


def nanmean(
    x: Any, axis: Any = None, keepdims: bool = False, *, dtype: Any = None, dim: Any = None,
    keepdim: bool = False,
) -> Any:  # fmt: skip
    """The mean of the entries that are not NaN."""
    x = _floating(x, dtype)
    axis, keepdims = axis_of(axis, dim), keepdims or keepdim
    number = reduction.sum(comparison.logical_not(comparison.isnan(x)), axis, keepdims)
    return arithmetic.divide(nansum(x, axis, keepdims), _shape.cast(number, x.dtype))


def norm(
    x: Any, p: Any = "fro", axis: Any = None, keepdims: bool = False, *, dim: Any = None,
    keepdim: bool = False, dtype: Any = None,
) -> Any:  # fmt: skip
    """The p-norm of the entries over ``axis``; at 0 its subgradient is 0.

    Args:
        p: 2 (``"fro"``), any number, ``inf`` or ``-inf``.
    """
    x = _floating(x, dtype)
    axis, keepdims = axis_of(axis, dim), keepdims or keepdim
    if p is None or p == "fro" or p == 2:
        return reduction.root(reduction.sum(arithmetic.square(x), axis, keepdims))
    size = arithmetic.absolute(x)
    if p == "nuc":
        from tilegrad.functions.numpy_names import linear_algebra

        return linear_algebra("norm")(x, "nuc", axis, keepdims)
    if p == np.inf:
        return reduction.amax(size, axis, keepdims)
    if p == -np.inf:
        return reduction.amin(size, axis, keepdims)
    if p == 1:
        return reduction.sum(size, axis, keepdims)
    if p == 0:
        return reduction.sum(arithmetic.sign(size), axis, keepdims)
    return _p_norm(size, p, axis, keepdims)


def _p_norm(size: Any, p: float, axis: Any, keepdims: bool) -> Any:
    """(sum size^p)^(1/p) whose subgradient is 0 at entries and at sums that are 0."""
    from tilegrad.ops.power import power
    from tilegrad.ops.selection import is_zero, unless_zero, where

    # Below 0 one entry of 0 makes the norm 0: its power is infinite.
    at_zero = 0.0 if p > 0 else np.inf
    terms = where(is_zero(size), at_zero, power(unless_zero(size), p))
    total = reduction.sum(terms, axis, keepdims)
    nothing = comparison.logical_or(is_zero(total), comparison.isinf(total))
    return where(nothing, power(total, 1.0 / p), power(where(nothing, 1.0, total), 1.0 / p))


__all__ = [
    "Extreme", "MinMax", "all", "amax", "amin", "aminmax", "any", "argmax", "argmin",
    "count_nonzero", "logsumexp", "max", "mean", "min", "nanmean", "nansum", "norm", "prod",
    "std", "std_mean", "sum", "var", "var_mean",
]  # fmt: skip
