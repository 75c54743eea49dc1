"""Tensors from data."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from tilegrad.autograd.tensor import Tensor
from tilegrad.ops.promotion import DEFAULT_DTYPE


def tensor(data: Any, dtype: npt.DTypeLike = None, requires_grad: bool = False) -> Tensor:
    """A tensor of ``data``.

    Args:
        data: a NumPy array (its dtype is kept and its memory shared where possible), a number or
            nested sequences of numbers (floats become float32, integers int64), or a tensor.
        dtype: dtype of the entries, if it is to be another.
        requires_grad: make it a leaf that gradients are computed for.

    >>> import tilegrad as tg
    >>> tg.tensor([[1.0, 2.0]]).dtype
    dtype('float32')
    >>> tg.tensor(np.ones(3), requires_grad=True).dtype
    dtype('float64')
    """
    if isinstance(data, Tensor):
        array = data._array
        if dtype is not None:
            array = array.astype(dtype, copy=False)
    elif isinstance(data, (np.ndarray, np.generic)):
        array = np.asarray(data, dtype=dtype)
    else:
        array = np.asarray(_plain(data), dtype=dtype)
        if dtype is None and array.dtype.kind == "f":
            array = array.astype(DEFAULT_DTYPE)
    if array.dtype.kind not in "fiub":
        raise TypeError(f"tensor: entries must be real numbers or bools, not {array.dtype}")
    if requires_grad and array.dtype.kind != "f":
        raise RuntimeError(
            f"only floating tensors can require gradients, this one has dtype {array.dtype}"
        )
    return Tensor(array, requires_grad)


def _plain(data: Any) -> Any:
    """Nested sequences with the tensors in them replaced by their arrays."""
    if isinstance(data, Tensor):
        return data._array
    if isinstance(data, (list, tuple)):
        return [_plain(item) for item in data]
    return data

__all__ = [
    "tensor",
]  # fmt: skip
