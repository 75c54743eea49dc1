"""Order: sorting, the k largest, medians and quantiles, searching, counting, distinct values."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from tilegrad.autograd.tensor import Tensor
from tilegrad.functions.axes import axis_of, normal_axis
from tilegrad.functions.reductions import Extreme, _floating, _one_axis
from tilegrad.ops import arithmetic as _a
from tilegrad.ops import comparison as _c
from tilegrad.ops import indexing as _indexing
from tilegrad.ops import reduction as _r
from tilegrad.ops import shape as _shape
from tilegrad.ops.selection import where


def _values(x: Any) -> Any:
    return x._array if isinstance(x, Tensor) else np.asarray(x)


def sort(
    x: Any, axis: int = -1, descending: bool = False, stable: bool = True, *, dim: int | None = None
) -> Extreme:
    """Entries in order along an axis, and where they stood: ``(values, indices)``.

    The sort is always stable; NaN comes last (first if ``descending``).
    """
    axis = axis if dim is None else dim
    indices = argsort(x, axis, descending)
    return Extreme(_indexing.gather(x, indices, axis), indices)


def argsort(
    x: Any, axis: int = -1, descending: bool = False, stable: bool = True, *, dim: int | None = None
) -> Any:
    """The indices that sort along an axis."""
    axis = axis if dim is None else dim
    normal_axis(axis, x.ndim, "argsort")
    return _indexing.argsort(x, axis, descending)


def msort(x: Any) -> Any:
    """Sorted along the first axis."""
    return sort(x, 0).values


def topk(
    x: Any, k: int, axis: int = -1, largest: bool = True, sorted: bool = True, *,
    dim: int | None = None,
) -> Extreme:  # fmt: skip
    """The ``k`` largest (or smallest) entries along an axis, in order: ``(values, indices)``."""
    axis = axis if dim is None else dim
    if not x.ndim:
        return Extreme(_shape.alias(x), _indexing.argsort(x, -1, largest))
    axis = normal_axis(axis, x.ndim, "topk")
    if not 0 <= k <= x.shape[axis]:
        raise RuntimeError(f"topk: k = {k}, but axis {axis} of shape {x.shape} has {x.shape[axis]}")
    order = _indexing.argsort(x, axis, largest)
    indices = _shape.getitem(order, (slice(None),) * axis + (slice(0, k),))
    return Extreme(_indexing.gather(x, indices, axis), indices)


def _at_rank(x: Any, rank: Any, axis: int, keepdims: bool) -> Extreme:
    """The entry of a given rank along an axis; ``rank`` is a number or an array of them."""
    order = _values(_indexing.argsort(x, axis))
    if np.ndim(rank):
        picked = np.take_along_axis(order, rank, axis)
    else:
        picked = np.take(order, [rank], axis)
    indices = Tensor(np.ascontiguousarray(picked))
    values = _indexing.gather(x, indices, axis)
    if not keepdims:
        shape = tuple(n for i, n in enumerate(indices.shape) if i != axis)
        values, indices = _shape.reshape(values, shape), _shape.reshape(indices, shape)
    return Extreme(values, indices)


def kthvalue(
    x: Any, k: int, axis: int = -1, keepdims: bool = False, *, dim: int | None = None,
    keepdim: bool = False,
) -> Extreme:  # fmt: skip
    """The ``k``-th smallest entry along an axis (k counts from 1): ``(values, indices)``."""
    axis = normal_axis(axis if dim is None else dim, max(x.ndim, 1), "kthvalue")
    size = x.shape[axis] if x.ndim else 1
    if not 1 <= k <= size:
        raise RuntimeError(f"kthvalue: k = {k}, but axis {axis} of shape {x.shape} has {size}")
    if not x.ndim:
        return Extreme(_shape.alias(x), _indexing.argsort(x, -1))
    return _at_rank(x, k - 1, axis, keepdims or keepdim)


def _median(x: Any, axis: int, keepdims: bool, skip_nan: bool) -> Extreme:
    """The lower median; a NaN is the median unless it is skipped."""
    values = _values(x)
    missing = np.isnan(values) if values.dtype.kind == "f" else np.zeros(values.shape, bool)
    count = values.shape[axis]
    if skip_nan:
        kept = np.maximum(count - missing.sum(axis, keepdims=True), 1)
        return _at_rank(x, (kept - 1) // 2, axis, keepdims)
    if not missing.any():
        return _at_rank(x, (count - 1) // 2, axis, keepdims)
    # NaN sorts last: where there is one, the last entry is it
    rank = np.where(missing.any(axis, keepdims=True), count - 1, (count - 1) // 2)
    return _at_rank(x, rank, axis, keepdims)


def median(
    x: Any, axis: int | None = None, keepdims: bool = False, *, dim: int | None = None,
    keepdim: bool = False,
) -> Any:  # fmt: skip
    """The lower median of all entries, or along an axis ``(values, indices)``."""
    return _medians(x, axis if dim is None else dim, keepdims or keepdim, False)


def nanmedian(
    x: Any, axis: int | None = None, keepdims: bool = False, *, dim: int | None = None,
    keepdim: bool = False,
) -> Any:  # fmt: skip
    """:func:`median` of the entries that are not NaN."""
    return _medians(x, axis if dim is None else dim, keepdims or keepdim, True)


def _medians(x: Any, axis: int | None, keepdims: bool, skip_nan: bool) -> Any:
    if axis is None:
        return _median(_shape.reshape(x, (_values(x).size,)), 0, False, skip_nan).values
    if not x.ndim:
        return Extreme(_shape.alias(x), _indexing.argsort(x, -1))
    return _median(x, normal_axis(axis, x.ndim, "median"), keepdims, skip_nan)


def mode(
    x: Any, axis: int = -1, keepdims: bool = False, *, dim: int | None = None, keepdim: bool = False
) -> Extreme:
    """The most frequent entry along an axis, the smallest of several; and its last position."""
    axis = axis if dim is None else dim
    if not x.ndim:
        return Extreme(_shape.alias(x), _indexing.argsort(x, -1))
    axis = normal_axis(axis, x.ndim, "mode")
    lanes = np.moveaxis(_values(x), axis, -1)
    places = np.zeros((*lanes.shape[:-1], 1), np.int64)
    for lane in np.ndindex(lanes.shape[:-1]):
        distinct, counts = np.unique(lanes[lane], return_counts=True)
        chosen = distinct[np.argmax(counts)]
        places[lane] = np.flatnonzero(lanes[lane] == chosen)[-1]
    indices = Tensor(np.ascontiguousarray(np.moveaxis(places, -1, axis)))
    values = _indexing.gather(x, indices, axis)
    if not (keepdims or keepdim):
        shape = tuple(n for i, n in enumerate(indices.shape) if i != axis)
        values, indices = _shape.reshape(values, shape), _shape.reshape(indices, shape)
    return Extreme(values, indices)


def quantile(
    x: Any, q: Any, axis: Any = None, keepdims: bool = False, *, interpolation: str = "linear",
    dim: Any = None, keepdim: bool = False,
) -> Any:  # fmt: skip
    """Quantiles ``q`` over ``axis``; several of them stand along a first axis of the result."""
    return _quantile(x, q, axis_of(axis, dim), keepdims or keepdim, interpolation, False)


def nanquantile(
    x: Any, q: Any, axis: Any = None, keepdims: bool = False, *, interpolation: str = "linear",
    dim: Any = None, keepdim: bool = False,
) -> Any:  # fmt: skip
    """:func:`quantile` of the entries that are not NaN."""
    return _quantile(x, q, axis_of(axis, dim), keepdims or keepdim, interpolation, True)


def _quantile(x: Any, q: Any, axis: Any, keepdims: bool, how: str, skip_nan: bool) -> Any:
    original = x.shape
    lanes, _ = _one_axis(x, None if axis is None or not x.ndim else np.atleast_1d(axis))
    ordered = sort(lanes, -1).values
    values = _values(ordered)
    missing = np.isnan(values).sum(-1, keepdims=True)
    count = values.shape[-1] - (missing if skip_nan else 0 * missing)
    wanted = np.atleast_1d(_values(q)).astype(values.dtype)
    if (wanted < 0).any() or (wanted > 1).any():
        raise RuntimeError("quantile: q must lie in [0, 1]")
    rank = wanted * np.maximum(count - 1, 0)
    if not skip_nan:
        rank = np.where(missing > 0, values.shape[-1] - 1, rank)
    rank = {"lower": np.floor, "higher": np.ceil, "nearest": np.rint}.get(how, lambda r: r)(rank)
    below = np.floor(rank).astype(np.int64)
    above = np.ceil(rank).astype(np.int64)
    weight: Any = np.asarray((above - below) * 0.5 if how == "midpoint" else rank - below)
    if how == "linear" and isinstance(q, Tensor):  # q moves the point between two neighbours
        span = np.asarray(np.maximum(count - 1, 0), values.dtype)
        weight = _a.subtract(_a.multiply(_shape.reshape(q, wanted.shape), span), below)
    low = _indexing.gather(ordered, below, -1)
    high = _indexing.gather(ordered, above, -1)
    weight = _shape.cast(weight, values.dtype)
    result = _a.add(low, _a.multiply(weight, _a.subtract(high, low)))
    lead = () if not np.ndim(_values(q)) else (len(wanted),)
    moved = _shape.permute(result, (result.ndim - 1, *range(result.ndim - 1)))
    rest = _r.kept_shape(original, axis) if keepdims else result.shape[:-1]
    return _shape.reshape(moved, (*lead, *rest))


def cummax(x: Any, axis: int | None = None, *, dim: int | None = None) -> Extreme:
    """The largest entry so far along an axis, and where it stood: ``(values, indices)``."""
    return _running(x, axis if dim is None else dim, np.greater_equal)


def cummin(x: Any, axis: int | None = None, *, dim: int | None = None) -> Extreme:
    """The smallest entry so far along an axis, and where it stood: ``(values, indices)``."""
    return _running(x, axis if dim is None else dim, np.less_equal)


def _running(x: Any, axis: int | None, better: Any) -> Extreme:
    if axis is None:
        raise TypeError("cummax, cummin: the axis is missing")
    axis = normal_axis(axis, x.ndim, "cummax, cummin")
    if not x.ndim:
        return Extreme(_shape.alias(x), _indexing.argsort(x, -1))
    lanes = np.moveaxis(_values(x), axis, 0)
    places = np.zeros(lanes.shape, np.int64)
    if len(lanes):
        best, at = lanes[0], np.zeros(lanes.shape[1:], np.int64)
        for k in range(1, len(lanes)):
            taken = better(lanes[k], best) | (lanes[k] != lanes[k])
            taken &= ~((best != best) & (lanes[k] == lanes[k]))
            best, at = np.where(taken, lanes[k], best), np.where(taken, k, at)
            places[k] = at
    indices = Tensor(np.ascontiguousarray(np.moveaxis(places, 0, axis)))
    return Extreme(_indexing.gather(x, indices, axis), indices)


# ---- searching and counting ----------------------------------------------------------------------


def searchsorted(
    sorted_sequence: Any, values: Any, *, out_int32: bool = False, right: bool = False,
    side: str | None = None, sorter: Any = None,
) -> Any:  # fmt: skip
    """Where ``values`` would be inserted to keep the sequence sorted; rows beside rows."""
    keys, wanted = _values(sorted_sequence), _values(values)
    if sorter is not None:
        keys = np.take_along_axis(keys, _values(sorter), -1)
    where_: Any = "right" if right or side == "right" else "left"
    if keys.ndim == 1:
        found = np.searchsorted(keys, wanted, where_)
    else:
        found = np.empty(wanted.shape, np.int64)
        for row in np.ndindex(keys.shape[:-1]):
            found[row] = np.searchsorted(keys[row], wanted[row], where_)
    return Tensor(np.asarray(found, np.int32 if out_int32 else np.int64))


def bucketize(x: Any, boundaries: Any, *, out_int32: bool = False, right: bool = False) -> Any:
    """The number of the bucket between ``boundaries`` that each entry falls in."""
    return searchsorted(boundaries, x, out_int32=out_int32, right=right)


def bincount(x: Any, weights: Any = None, minlength: int = 0) -> Any:
    """How often each small integer occurs, or the sum of its weights."""
    if weights is None:
        return Tensor(np.bincount(_values(x), minlength=minlength))
    from tilegrad.ops.indexing import scatter_add

    places = _values(x)
    size = max(int(places.max(initial=-1)) + 1, minlength)
    if not hasattr(weights, "dtype") or weights.dtype.kind != "f":
        weights = _shape.cast(weights, np.float64)
    return scatter_add(np.zeros(size, weights.dtype), weights, places, 0)


def histc(x: Any, bins: int = 100, min: float = 0, max: float = 0) -> Any:
    """Counts in ``bins`` equal intervals between two bounds (the extremes, if both are 0)."""
    array = _values(x)
    low, high = (min, max) if min or max or not array.size else (array.min(), array.max())
    if low == high:
        low, high = low - 1, high + 1
    counts, _ = np.histogram(array, bins=bins, range=(float(low), float(high)))
    return Tensor(counts.astype(array.dtype))


class Histogram(NamedTuple):
    """Counts and the edges between them."""

    hist: Any
    bin_edges: Any


def histogram(
    x: Any, bins: Any = 100, *, range: Any = None, weight: Any = None, density: bool = False
) -> Histogram:
    """Counts (or weights) in intervals, and the edges of these."""
    array = _values(x)
    bins = bins if isinstance(bins, int) else _values(bins)
    weights = None if weight is None else _values(weight)
    counts, edges = np.histogram(array, bins, range, density, weights)
    return Histogram(Tensor(counts.astype(array.dtype)), Tensor(edges.astype(array.dtype)))


def unique(
    x: Any, sorted: bool = True, return_inverse: bool = False, return_counts: bool = False,
    dim: int | None = None, *, axis: int | None = None,
) -> Any:  # fmt: skip
    """The distinct entries (or slices along ``dim``) in order, with what else is asked for."""
    axis = axis if dim is None else dim
    array = _values(x)
    found, inverse, counts = np.unique(
        array, return_inverse=True, return_counts=True, axis=axis, equal_nan=False
    )
    inverse = inverse.reshape(array.shape if axis is None else -1)
    extras = [(return_inverse, inverse), (return_counts, counts)]
    results = (Tensor(found), *(Tensor(np.asarray(part)) for wanted, part in extras if wanted))
    return results if len(results) > 1 else results[0]


def unique_consecutive(
    x: Any, return_inverse: bool = False, return_counts: bool = False, dim: int | None = None
) -> Any:
    """Runs of equal entries (or slices along ``dim``) cut down to one each."""
    array = _values(x)
    lanes = array.reshape(-1, 1) if dim is None else np.moveaxis(array, dim, 0)
    flat = lanes.reshape(len(lanes), lanes[:1].size)
    new = np.ones(len(lanes), bool)
    new[1:] = (flat[1:] != flat[:-1]).any(axis=1)
    kept = lanes[new]
    found = kept.reshape(-1) if dim is None else np.moveaxis(kept, 0, dim)
    inverse = np.cumsum(new) - 1
    inverse = inverse.reshape(array.shape) if dim is None else inverse
    counts = np.diff(np.append(np.flatnonzero(new), len(lanes)))
    extras = [(return_inverse, inverse), (return_counts, counts)]
    results = (Tensor(found), *(Tensor(np.asarray(part)) for wanted, part in extras if wanted))
    return results if len(results) > 1 else results[0]


def cov(x: Any, *, correction: int = 1, fweights: Any = None, aweights: Any = None) -> Any:
    """The covariances of variables, one per row of observations."""
    from tilegrad.ops.products import matmul

    x = _floating(x)
    rows = _shape.reshape(x, (1, math.prod(x.shape))) if x.ndim < 2 else x
    weights: Any = None
    for name, given in (("fweights", fweights), ("aweights", aweights)):
        if given is not None:
            _check_weights(name, given, rows.shape[1])
            weights = given if weights is None else _a.multiply(weights, given)
    if weights is None:
        total: Any = float(rows.shape[1])
        centre = _r.mean(rows, 1, True)
        weighted = centred = _a.subtract(rows, centre)
    else:
        total = _r.sum(weights)
        centre = _a.divide(_r.sum(_a.multiply(rows, weights), 1, True), total)
        centred = _a.subtract(rows, centre)
        weighted = _a.multiply(centred, weights)
    freedom = _a.subtract(total, float(correction))
    if aweights is not None and correction:
        squares = _r.sum(_a.multiply(weights, aweights))
        freedom = _a.subtract(total, _a.divide(_a.multiply(squares, float(correction)), total))
    freedom = where(_c.less(freedom, 0.0), 0.0, freedom)
    product = matmul(weighted, _shape.permute(centred, (1, 0)))
    result = _a.divide(product, freedom)
    return _shape.reshape(result, ()) if rows.shape[0] == 1 else result


def _check_weights(name: str, weights: Any, count: int) -> None:
    """Raise unless there is one weight per observation: frequencies are integers, none negative."""
    values = _values(weights)
    if values.shape != (count,):
        raise ValueError(f"cov: {name} of shape {values.shape} for {count} observations")
    if name == "fweights" and values.dtype.kind == "f":
        raise TypeError(f"cov: fweights must be integers, got {values.dtype}")
    if (values < 0).any():
        raise ValueError(f"cov: {name} must not be negative")


def corrcoef(x: Any) -> Any:
    """Correlation coefficients of variables, one per row of observations."""
    from tilegrad.ops.exponential import sqrt

    c = cov(x)
    if not c.ndim:
        return _a.divide(c, c)
    deviation = sqrt(_shape.diagonal(c, 0, 0, 1))
    c = _a.divide(c, _shape.reshape(deviation, (-1, 1)))
    return _a.divide(c, _shape.reshape(deviation, (1, -1)))


__all__ = [
    "Histogram", "argsort", "bincount", "bucketize", "corrcoef", "cov", "cummax", "cummin",
    "histc", "histogram", "kthvalue", "median", "mode", "msort", "nanmedian", "nanquantile",
    "quantile", "searchsorted", "sort", "topk", "unique", "unique_consecutive",
]  # fmt: skip
