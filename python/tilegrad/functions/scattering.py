"""Scatter with a reduction: sums, products, means and extremes of what falls on one place."""

from __future__ import annotations

from typing import Any

import numpy as np

from tilegrad.autograd.tensor import Tensor
from tilegrad.ops import arithmetic as _a
from tilegrad.ops import indexing as _indexing
from tilegrad.ops import shape as _shape
from tilegrad.ops.selection import where


def _values(x: Any) -> Any:
    return x._array if isinstance(x, Tensor) else np.asarray(x)


def reduced(x: Any, axis: int, index: Any, src: Any, how: str, include_self: bool) -> Any:
    """``x`` with what ``src`` holds for a place combined by ``how`` (and with x, if included)."""
    if not x.ndim:
        x1, s1 = _shape.reshape(x, (1,)), _shape.reshape(src, (_values(src).size,))
        out = reduced(x1, 0, _values(index).reshape(-1), s1, how, include_self)
        return _shape.reshape(out, ())
    places = _values(index)
    src = _shape.getitem(src, tuple(slice(0, n) for n in places.shape))
    hit = np.zeros(x.shape, bool)
    hit[_indexing.along(places, axis)] = True
    if how in ("sum", "mean"):
        return _sum(x, src, places, axis, hit, how == "mean", include_self)
    if how == "prod":
        return _product(x, src, places, axis, hit, include_self)
    if how in ("amax", "amin"):
        return _extreme(x, src, places, axis, hit, how, include_self)
    raise ValueError(f"scatter_reduce: reduce must be sum, prod, mean, amax or amin, not {how!r}")


def _counts(shape: tuple[int, ...], places: Any, axis: int) -> Any:
    counts = np.zeros(shape, np.int64)
    np.add.at(counts, _indexing.along(places, axis), 1)
    return counts


def _sum(
    x: Any, src: Any, places: Any, axis: int, hit: Any, average: bool, include_self: bool
) -> Any:
    start = x if include_self else where(hit, np.zeros((), x.dtype), x)
    total = _indexing.scatter_add(start, src, places, axis)
    if not average:
        return total
    number = np.maximum(_counts(x.shape, places, axis) + include_self, 1)
    if x.dtype.kind in "iu":
        return _a.floor_divide(total, number)
    return _a.divide(total, number.astype(x.dtype))


def _product(x: Any, src: Any, places: Any, axis: int, hit: Any, include_self: bool) -> Any:
    """One multiplication for the first, second, ... entry that falls on a place: right at zeros."""
    out = x if include_self else where(hit, np.ones((), x.dtype), x)
    target = np.ravel_multi_index(
        np.broadcast_arrays(*_indexing.along(places, axis)), x.shape
    ).reshape(-1)
    order = np.argsort(target, kind="stable")
    ordered = target[order]
    rank = np.arange(target.size) - np.searchsorted(ordered, ordered)
    flat_src = _shape.reshape(src, (target.size,))
    flat = _shape.reshape(out, (_values(out).size,))
    ones = np.ones(_values(out).size, x.dtype)
    for k in range(int(rank.max(initial=-1)) + 1):
        chosen = order[rank == k]
        factor = _indexing.replace(ones, _shape.getitem(flat_src, chosen), target[chosen])
        flat = _a.multiply(flat, factor)
    return _shape.reshape(flat, x.shape)


def _extreme(
    x: Any, src: Any, places: Any, axis: int, hit: Any, how: str, include_self: bool
) -> Any:
    """Entries equal to the result share the gradient."""
    at = _indexing.along(places, axis)
    values, incoming = _values(x), _values(src)
    start: Any = -np.inf if how == "amax" else np.inf
    if x.dtype.kind in "iu":
        start = np.iinfo(x.dtype).min if how == "amax" else np.iinfo(x.dtype).max
    if x.dtype == bool:
        start = how == "amin"
    best = values.copy() if include_self else np.where(hit, np.asarray(start, x.dtype), values)
    (np.maximum if how == "amax" else np.minimum).at(best, at, incoming)
    from_self = (values == best) & (include_self | ~hit)
    from_src = incoming == best[at]
    ties = from_self.astype(np.int64)
    np.add.at(ties, at, from_src)
    if x.dtype.kind != "f":
        return Tensor(best)
    share = 1.0 / np.maximum(ties, 1).astype(x.dtype)
    kept = where(from_self, _a.multiply(x, share), np.zeros((), x.dtype))
    added = where(from_src, _a.multiply(src, share[at]), np.zeros((), x.dtype))
    return _indexing.scatter_add(kept, added, places, axis)
