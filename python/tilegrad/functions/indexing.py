"""Basic and advanced indexing, and functions that pick or put entries by index."""

from __future__ import annotations

from typing import Any

import numpy as np

from tilegrad.autograd.tensor import Tensor
from tilegrad.ops import shape as _shape


def _part(part: Any) -> Any:
    """One entry of an index: tensors and lists as arrays, 0-d integers as integers."""
    if isinstance(part, Tensor):
        part = part._array
    elif isinstance(part, (list, tuple, range)):
        part = np.asarray(_plain(part))
        if not part.size:
            part = part.astype(np.int64)
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
