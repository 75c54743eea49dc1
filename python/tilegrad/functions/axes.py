"""How public functions read axes: NumPy's names beside torch's."""

from __future__ import annotations

import operator
from typing import Any


def axis_of(axis: Any, dim: Any) -> Any:
    """The axis or tuple of axes meant by ``axis`` (NumPy's name) or ``dim`` (torch's).

    An empty ``dim`` means all, as in torch; an empty ``axis`` means none, as in NumPy.
    """
    if dim is not None:
        axis = dim if isinstance(dim, int) else tuple(dim) or None
    if isinstance(axis, list):
        axis = tuple(axis)
    return axis


def sizes_of(sizes: tuple[Any, ...]) -> tuple[int, ...]:
    """A shape that was given as one sequence or as several integers.

    >>> sizes_of((2, 3)), sizes_of(([2, 3],))
    ((2, 3), (2, 3))
    """
    if len(sizes) == 1 and hasattr(sizes[0], "__iter__") and not isinstance(sizes[0], str):
        sizes = sizes[0] if getattr(sizes[0], "ndim", 1) else sizes
    try:
        return tuple(map(operator.index, sizes))
    except TypeError:
        raise TypeError(f"sizes must be whole numbers, not {sizes}") from None


def normal_axis(axis: int, ndim: int, where: str) -> int:
    """``axis`` counted from the front; IndexError if there is no such axis."""
    limit = max(ndim, 1)
    if not -limit <= axis < limit:
        raise IndexError(f"{where}: axis {axis} of an array with {ndim} dimensions")
    return axis % limit


def normal_axes(axes: Any, ndim: int, where: str) -> tuple[int, ...]:
    """Several axes counted from the front, each once."""
    axes = (axes,) if isinstance(axes, int) else tuple(axes)
    normal = tuple(normal_axis(axis, ndim, where) for axis in axes)
    if len(set(normal)) != len(normal):
        raise ValueError(f"{where}: an axis is named twice in {axes}")
    return normal
