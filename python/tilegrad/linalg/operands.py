"""What the public functions take: tensors, arrays, and nested lists of numbers."""

from __future__ import annotations

from typing import Any

import numpy as np

from tilegrad.autograd.tensor import Tensor
from tilegrad.ops.linalg_checks import LinAlgError
from tilegrad.ops.linalg_gauge import values
from tilegrad.ops.products import transpose
from tilegrad.ops.shape import permute, reshape, tril, triu


def operand(x: Any) -> Any:
    """``x`` if it is a tensor, else an array."""
    return x if isinstance(x, (Tensor, np.ndarray)) else np.asarray(x)


def matrix(name: str, x: Any) -> Any:
    """An operand with at least two dimensions."""
    x = operand(x)
    if x.ndim < 2:
        raise LinAlgError(f"{name}: needs a matrix or a stack of matrices, got shape {x.shape}")
    return x


def is_symmetric(array: Any) -> bool:
    """Whether matrices differ from their transposes by rounding only."""
    with np.errstate(invalid="ignore"):  # whoever uses the matrix refuses infinity
        apart = np.abs(array - np.swapaxes(array, -1, -2)).max(initial=0.0)
    if apart == 0 or array.dtype.kind != "f":
        return bool(apart == 0)
    scale = np.abs(array).max(initial=0.0)
    return bool(apart <= 8 * array.shape[-1] * np.finfo(array.dtype).eps * scale)


def like(a: Any, array: Any) -> Any:
    """A result without derivative: a tensor if ``a`` is one."""
    if isinstance(array, Tensor) or not isinstance(a, Tensor):
        return array
    return Tensor(np.asarray(array))


def mirrored(name: str, a: Any, uplo: str) -> Any:
    """The symmetric matrix whose lower ("L") or upper ("U") triangle is that of ``a``.

    Where ``a`` is symmetric up to rounding it is taken as it is: its gradient is symmetric too.
    """
    a = matrix(name, a)
    if uplo not in ("L", "U", "l", "u"):
        raise ValueError(f"{name}: UPLO must be 'L' or 'U', not {uplo!r}")
    array = values(a)
    if array.shape[-1] != array.shape[-2] or is_symmetric(array):
        return a
    if uplo in "Ll":
        return tril(a) + transpose(tril(a, -1))
    return triu(a) + transpose(triu(a, 1))


def axes_last(x: Any, axes: tuple[int, ...]) -> Any:
    """``x`` with ``axes`` moved to the end, in their order."""
    axes = tuple(axis % x.ndim for axis in axes)
    return permute(x, (*(i for i in range(x.ndim) if i not in axes), *axes))


def as_columns(a: Any, b: Any) -> tuple[Any, bool]:
    """A right side as matrices, and whether it was a stack of vectors.

    It is where ``b`` has one dimension, or the shape of ``a`` without its last axis (torch's rule).
    """
    if b.ndim == 1 or (a.ndim - 1 == b.ndim and b.shape == a.shape[:-1]):
        return reshape(b, (*b.shape, 1)), True
    return b, False


def without_last(x: Any) -> Any:
    """``x`` without its last axis of size 1."""
    return reshape(x, x.shape[:-1])
