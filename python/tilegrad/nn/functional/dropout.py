"""Dropout: entries, channels or whole features zeroed at random in training."""

from __future__ import annotations

from typing import Any

import numpy as np

from tilegrad.autograd.drawing import per_member
from tilegrad.autograd.recording import opaque
from tilegrad.functions.random import stream
from tilegrad.nn.functional.activation import SELU_ALPHA, SELU_SCALE, apply
from tilegrad.ops.arithmetic import add, multiply


def _check(op: str, p: float) -> None:
    if not 0.0 <= p <= 1.0:
        raise ValueError(f"{op}: the probability p must be between 0 and 1, got {p}")


def _kept(shape: tuple[int, ...], p: float, generator: Any) -> np.ndarray[Any, Any]:
    """True with probability ``1 - p``."""
    # 32-bit floats hold every probability to 2^-24, at half the cost
    return stream(generator).random(shape, dtype=np.float32) >= np.float32(p)


@per_member
@opaque
def _mask(shape: tuple[int, ...], p: float, dtype: Any, generator: Any) -> np.ndarray[Any, Any]:
    """0 with probability ``p``, else ``1 / (1 - p)``."""
    if p == 1:
        return np.zeros(shape, dtype)
    mask = _kept(shape, p, generator).astype(dtype)
    mask *= dtype.type(1 / (1 - p))
    return mask


def _drop(op: str, x: Any, p: float, shape: Any, training: bool, inplace: bool, gen: Any) -> Any:
    _check(op, p)
    if not training or p == 0:
        return x
    return apply(multiply, x, inplace, _mask(tuple(shape), p, x.dtype, gen))


def dropout(
    input: Any, p: float = 0.5, training: bool = True, inplace: bool = False, generator: Any = None
) -> Any:
    """Zero each entry with probability ``p`` and divide the others by ``1 - p``.

    Args:
        input: any shape.
        p: from 0 to 1.
        training: False returns the input.
        inplace: change the input.
        generator: where the random numbers come from; the default one if None.

    Raises:
        ValueError: ``p`` is no probability.
    """
    return _drop("dropout", input, p, input.shape, training, inplace, generator)


def _channelwise(
    op: str, ndim: int, x: Any, p: float, training: bool, inplace: bool, generator: Any
) -> Any:
    if x.ndim not in (ndim + 1, ndim + 2):
        raise ValueError(
            f"{op}: input of shape {x.shape} must have {ndim + 2} axes (batch, channels and {ndim} "
            f"spatial) or {ndim + 1} without a batch"
        )
    lead = x.ndim - ndim
    shape = (*x.shape[:lead], *[1] * ndim)
    return _drop(op, x, p, shape, training, inplace, generator)


def dropout1d(
    input: Any, p: float = 0.5, training: bool = True, inplace: bool = False, generator: Any = None
) -> Any:
    """Zero whole channels of (N, C, L) or (C, L)."""
    return _channelwise("dropout1d", 1, input, p, training, inplace, generator)


def dropout2d(
    input: Any, p: float = 0.5, training: bool = True, inplace: bool = False, generator: Any = None
) -> Any:
    """Zero whole channels of (N, C, H, W) or (C, H, W)."""
    return _channelwise("dropout2d", 2, input, p, training, inplace, generator)


def dropout3d(
    input: Any, p: float = 0.5, training: bool = True, inplace: bool = False, generator: Any = None
) -> Any:
    """Zero whole channels of (N, C, D, H, W) or (C, D, H, W)."""
    return _channelwise("dropout3d", 3, input, p, training, inplace, generator)


@opaque
def _affine_mask(shape: tuple[int, ...], p: float, dtype: Any, generator: Any) -> tuple[Any, Any]:
    """Scale and shift that drop entries to SELU's floor and keep the mean."""
    floor = -SELU_SCALE * SELU_ALPHA
    a = ((1 - p) * (1 + p * floor**2)) ** -0.5
    kept = _kept(shape, p, generator)
    shift = np.where(kept, 0.0, floor) * a - a * p * floor
    return (kept * a).astype(dtype), shift.astype(dtype)


def _alpha_drop(
    op: str, x: Any, p: float, shape: Any, training: bool, inplace: bool, gen: Any
) -> Any:
    """Dropout to SELU's floor, with the affine map that keeps mean and variance."""
    _check(op, p)
    if not training or p == 0:
        return x
    if p == 1:
        return apply(multiply, x, inplace, 0.0)
    scale, shift = _affine_mask(tuple(shape), p, x.dtype, gen)
    return apply(lambda v: add(multiply(v, scale), shift), x, inplace)


def alpha_dropout(
    input: Any, p: float = 0.5, training: bool = False, inplace: bool = False, generator: Any = None
) -> Any:
    """Dropout for SELU networks: keeps mean 0 and variance 1."""
    return _alpha_drop("alpha_dropout", input, p, input.shape, training, inplace, generator)


def feature_alpha_dropout(
    input: Any, p: float = 0.5, training: bool = False, inplace: bool = False, generator: Any = None
) -> Any:
    """:func:`alpha_dropout` of whole channels (N, C, ...)."""
    shape = (*input.shape[:2], *[1] * (input.ndim - 2))
    return _alpha_drop("feature_alpha_dropout", input, p, shape, training, inplace, generator)


__all__ = [
    "alpha_dropout",
    "dropout",
    "dropout1d",
    "dropout2d",
    "dropout3d",
    "feature_alpha_dropout",
]
