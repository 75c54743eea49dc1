"""Reductions over axes and their derivative rules."""

from __future__ import annotations

from typing import Any

from tilegrad import kernels
from tilegrad.ops.define import linear
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


def spread(value: Any, shape: tuple[int, ...], axis: Any, keepdims: bool = False) -> Any:
    """A reduced ``value`` broadcast back over the axes that were reduced from ``shape``."""
    if not keepdims:
        value = reshape(value, kept_shape(shape, axis))
    return expand(value, shape)


sum = linear(
    "sum", kernels.sum, "x",
    x=lambda g, x_shape, axis, keepdims: spread(g, x_shape, axis, keepdims),
)  # fmt: skip
