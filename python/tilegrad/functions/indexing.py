"""Basic and advanced indexing, and functions that pick or put entries by index."""

from __future__ import annotations

from typing import Any

import numpy as np

from tilegrad.autograd.tensor import Tensor
from tilegrad.functions.axes import normal_axis
from tilegrad.ops import arithmetic as _arithmetic
from tilegrad.ops import indexing as _indexing
from tilegrad.ops import shape as _shape


def _part(part: Any) -> Any:
    """One entry of an index: whatever is like an array as one, 0-d integers as integers."""
    if isinstance(part, Tensor):
        part = part._array
    elif isinstance(part, (list, tuple, range)):
        part = np.asarray(_plain(part))
        if not part.size:
            part = part.astype(np.int64)
    elif hasattr(part, "__array__") and not isinstance(part, np.ndarray):
        part = np.asarray(part)  # NumPy's scalars, and other libraries' arrays
    if isinstance(part, np.ndarray):
        if not part.ndim and part.dtype.kind in "iu":
            return int(part)
        return part.copy() if part.ndim else part
    return part


def _plain(data: Any) -> Any:
    if isinstance(data, Tensor):
        return data._array
    return [_plain(item) for item in data] if isinstance(data, (list, tuple)) else data


def normal_index(index: Any, shape: tuple[int, ...]) -> Any:
    """``index`` as NumPy takes it, with torch's meaning, free of tensors and of arrays it shares.

    The two differ where integers stand beside index arrays: torch lets the integers pick first.
    """
    kind = type(index)
    if kind is int or kind is slice or index is None or index is Ellipsis:
        return index
    if kind is not tuple:
        index = _part(index)
        return index
    parts = tuple(_part(part) for part in index)
    arrays = [isinstance(part, (np.ndarray, bool)) for part in parts]
    integers = [isinstance(part, (int, np.integer)) for part in parts]
    if any(arrays) and any(
        integer and not array for integer, array in zip(integers, arrays, strict=True)
    ):
        return _integers_first(parts, shape)
    return parts


def _integers_first(parts: tuple[Any, ...], shape: tuple[int, ...]) -> Any:
    """The index arrays of the entries that ``parts`` mean when integers pick first."""
    size = 1
    for n in shape:
        size *= n
    basic: list[Any] = []
    advanced: list[Any] = []
    for part in parts:
        if isinstance(part, np.ndarray):
            count = part.ndim if part.dtype == bool else 1
            basic.extend([slice(None)] * count)
            advanced.append(part)
        else:
            basic.append(part)
            if part is Ellipsis:
                advanced.append(part)
            elif isinstance(part, slice) or part is None:
                advanced.append(slice(None))
    places = np.arange(size).reshape(shape)[tuple(basic)][tuple(advanced)]
    return np.unravel_index(places, shape)


def getitem(self: Tensor, index: Any) -> Any:
    """``x[index]``: a view for integers and slices, a copy for index arrays and masks."""
    return _shape.getitem(self, normal_index(index, self._array.shape))


def iterate(self: Tensor) -> Any:
    """The slices along the first axis, in order."""
    if not self._array.ndim:
        raise TypeError("iteration over a tensor without dimensions")
    return (_shape.getitem(self, i) for i in range(self._array.shape[0]))


# ---- picking -------------------------------------------------------------------------------------


def _values(x: Any) -> Any:
    return x._array if isinstance(x, Tensor) else np.asarray(x)


def _at(axis: int, index: Any) -> tuple[Any, ...]:
    return (*(slice(None),) * axis, index)


def gather(x: Any, dim: int, index: Any, *, sparse_grad: bool = False) -> Any:
    """``out[i][j] = x[index[i][j]][j]`` for ``dim`` 0, and so on."""
    places = _values(index)
    if places.size and max(places.ndim, 1) != max(x.ndim, 1):
        raise ValueError(
            f"gather: an index of shape {places.shape} for shape {x.shape}: both need as many axes"
        )
    return _indexing.gather(x, index, normal_axis(dim, x.ndim, "gather"))


def take_along_dim(x: Any, indices: Any, dim: int | None = None, *, axis: int | None = None) -> Any:
    """Entries at ``indices`` along an axis, the others broadcast; without one, of all entries."""
    dim = dim if axis is None else axis
    if dim is None:
        return _indexing.gather(_flat(x), _values(indices).reshape(-1), 0)
    dim = normal_axis(dim, x.ndim, "take_along_dim")
    places = _values(indices)
    shape = list(np.broadcast_shapes(
        tuple(1 if i == dim else n for i, n in enumerate(x.shape)),
        tuple(1 if i == dim else n for i, n in enumerate(places.shape)),
    ))  # fmt: skip
    full = shape.copy()
    full[dim], shape[dim] = x.shape[dim], places.shape[dim]
    places = np.broadcast_to(places, shape)
    places = np.where(places < 0, places + x.shape[dim], places)
    return _indexing.gather(_shape.expand(x, tuple(full)), places, dim)


take_along_axis = take_along_dim


def _flat(x: Any) -> Any:
    return _shape.reshape(x, (_values(x).size,))


def index_select(x: Any, dim: int, index: Any) -> Any:
    """The slices along ``dim`` that ``index`` names."""
    if not x.ndim:
        return _shape.reshape(x, ())
    dim = normal_axis(dim, x.ndim, "index_select")
    return _shape.getitem(x, _at(dim, np.atleast_1d(_values(index)).copy()))


def take(x: Any, index: Any, axis: int | None = None) -> Any:
    """Entries of the flattened array, in the shape of ``index``; with ``axis`` slices along it."""
    if axis is None:
        return _shape.getitem(_flat(x), _values(index).copy())
    return index_select(x, axis, index)


def masked_select(x: Any, mask: Any) -> Any:
    """The entries where ``mask`` holds, in order."""
    chosen = _values(mask)
    shape = np.broadcast_shapes(x.shape, chosen.shape)
    return _shape.getitem(_shape.expand(x, shape), np.broadcast_to(chosen, shape).copy())


def nonzero(x: Any, *, as_tuple: bool = False) -> Any:
    """The indices of the entries that are not 0: (count, ndim), or a tuple of index tensors."""
    found = np.nonzero(np.atleast_1d(_values(x)))
    if as_tuple:
        return tuple(Tensor(axis) for axis in found)
    if not x.ndim:
        return Tensor(np.zeros((len(found[0]), 0), np.int64))
    return Tensor(np.stack(found, axis=1))


def argwhere(x: Any) -> Any:
    """The indices of the entries that are not 0, (count, ndim)."""
    return nonzero(x)


def unfold(x: Any, dimension: int, size: int, step: int) -> Any:
    """Windows of ``size`` every ``step`` along an axis, as a new last axis."""
    if not x.ndim:
        return _shape.reshape(x, (1,))
    dim = normal_axis(dimension, x.ndim, "unfold")
    if size > x.shape[dim] or size < 0 or step <= 0:
        raise RuntimeError(
            f"unfold: windows of {size} every {step} along axis {dim} of shape {x.shape}"
        )
    starts = np.arange(0, x.shape[dim] - size + 1, step)
    windows = _shape.getitem(x, _at(dim, starts[:, None] + np.arange(size)))
    order = [i for i in range(x.ndim + 1) if i != dim + 1]
    return _shape.permute(windows, (*order, dim + 1))


# ---- putting -------------------------------------------------------------------------------------


def _source(src: Any, like: Any) -> Any:
    return src if hasattr(src, "dtype") else np.asarray(src, dtype=like.dtype)


def scatter(x: Any, dim: int, index: Any, src: Any = None, *, value: Any = None,
            reduce: str | None = None) -> Any:  # fmt: skip
    """``x`` with ``src`` in place of its entries at ``index`` along ``dim``."""
    src = value if src is None else src
    if reduce is not None:
        kind = {"add": "sum", "multiply": "prod"}[reduce]
        if not hasattr(src, "dtype"):
            src = np.full(_values(index).shape, src, x.dtype)
        return scatter_reduce(x, dim, index, src, kind)
    return _indexing.scatter(x, _source(src, x), index, normal_axis(dim, x.ndim, "scatter"))


def scatter_add(x: Any, dim: int, index: Any, src: Any) -> Any:
    """``x`` with ``src`` added at ``index`` along ``dim``; repeated entries add up."""
    return _indexing.scatter_add(x, _source(src, x), index, normal_axis(dim, x.ndim, "scatter_add"))


def scatter_reduce(
    x: Any, dim: int, index: Any, src: Any, reduce: str, *, include_self: bool = True
) -> Any:
    """``x`` with ``src`` combined at ``index``: reduce is sum, prod, mean, amax or amin."""
    from tilegrad.functions.scattering import reduced

    dim = normal_axis(dim, x.ndim, "scatter_reduce")
    return reduced(x, dim, index, src, reduce, include_self)


def index_add(x: Any, dim: int, index: Any, source: Any, *, alpha: Any = 1) -> Any:
    """``x`` with the slices of ``source`` added at ``index`` along ``dim``."""
    dim = normal_axis(dim, x.ndim, "index_add")
    source = source if alpha == 1 else _arithmetic.multiply(source, alpha)
    if not x.ndim:
        return _arithmetic.add(x, _shape.reshape(source, ()))
    places = np.atleast_1d(_values(index))
    if source.ndim and (*x.shape[:dim], places.size, *x.shape[dim + 1 :]) != source.shape:
        raise ValueError(
            f"index_add: {places.size} slices along axis {dim} of shape {x.shape} do not have the "
            f"source's shape {source.shape}"
        )
    return _arithmetic.add(x, _shape.put(_row(source, x), _at(dim, places.copy()), x.shape))


def _row(source: Any, x: Any) -> Any:
    return source if source.ndim or not x.ndim else _shape.reshape(source, (1,))


def index_copy(x: Any, dim: int, index: Any, source: Any) -> Any:
    """``x`` with the slices of ``source`` in place of those at ``index`` along ``dim``."""
    dim = normal_axis(dim, x.ndim, "index_copy")
    if not x.ndim:
        return _indexing.replace(x, _shape.reshape(source, ()), ())
    places = np.atleast_1d(_values(index))
    return _indexing.replace(x, _row(source, x), _at(dim, places.copy()))


def index_fill(x: Any, dim: int, index: Any, value: Any) -> Any:
    """``x`` with ``value`` in the slices at ``index`` along ``dim``."""
    places = _values(index)
    if not x.ndim:
        return _indexing.replace(x, value, ()) if places.size else _shape.copy(x)
    dim = normal_axis(dim, x.ndim, "index_fill")
    return _indexing.replace(x, value, _at(dim, np.atleast_1d(places).copy()))


def index_put(x: Any, indices: Any, values: Any, accumulate: bool = False) -> Any:
    """``x`` with ``values`` at ``x[indices]``; with ``accumulate`` repeated entries add up."""
    index = normal_index(tuple(indices), x.shape)
    if not accumulate:
        return _indexing.replace(x, values, index)
    shape = np.empty(x.shape, bool)[index].shape
    return _arithmetic.add(x, _shape.put(_shape.expand(values, shape), index, x.shape))


def put(x: Any, index: Any, source: Any, accumulate: bool = False) -> Any:
    """``x`` with ``source`` at ``index`` of the flattened array."""
    places = _values(index)
    places = np.where(places < 0, places + _values(x).size, places)
    source = _shape.reshape(source, places.shape)
    return _shape.reshape(index_put(_flat(x), (places,), source, accumulate), x.shape)


def masked_fill(x: Any, mask: Any, value: Any) -> Any:
    """``value`` where ``mask`` holds, ``x`` elsewhere."""
    from tilegrad.functions.arithmetic import where

    if isinstance(value, Tensor) and value.ndim:
        raise RuntimeError(f"masked_fill: value must have no dimensions, not shape {value.shape}")
    value = _shape.cast(value, x.dtype) if hasattr(value, "dtype") else np.asarray(value, x.dtype)
    return where(mask, value, x)


def masked_scatter(x: Any, mask: Any, source: Any) -> Any:
    """``x`` with the first entries of ``source`` where ``mask`` holds."""
    chosen = _values(mask)
    shape = np.broadcast_shapes(x.shape, chosen.shape)
    chosen = np.broadcast_to(chosen, shape).copy()
    first = _shape.getitem(_flat(source), slice(0, int(chosen.sum())))
    return _indexing.replace(_shape.expand(x, shape), first, chosen)


def select_scatter(x: Any, src: Any, dim: int, index: int) -> Any:
    """``x`` with ``src`` in place of one slice."""
    return _indexing.replace(x, src, _at(normal_axis(dim, x.ndim, "select_scatter"), int(index)))


def slice_scatter(
    x: Any, src: Any, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1
) -> Any:
    """``x`` with ``src`` in place of the slices from ``start`` to ``end``."""
    dim = normal_axis(dim, x.ndim, "slice_scatter")
    return _indexing.replace(x, src, _at(dim, slice(start, end, step)))


def diagonal_scatter(x: Any, src: Any, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Any:
    """``x`` with ``src`` on a diagonal."""
    places = np.arange(_values(x).size).reshape(x.shape)
    index = np.unravel_index(np.diagonal(places, offset, dim1, dim2), x.shape)
    return _indexing.replace(x, src, index)


__all__ = [
    "argwhere", "diagonal_scatter", "gather", "index_add", "index_copy", "index_fill",
    "index_put", "index_select", "masked_fill", "masked_scatter", "masked_select", "nonzero",
    "put", "scatter", "scatter_add", "scatter_reduce", "select_scatter", "slice_scatter", "take",
    "take_along_axis", "take_along_dim", "unfold",
]  # fmt: skip
