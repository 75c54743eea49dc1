"""Padding: constants, mirrors, edges and wraps around any axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tilegrad.ops.selection import where
from tilegrad.ops.shape import getitem, put


def _pairs(op: str, padding: Sequence[int], ndim: int) -> list[tuple[int, int]]:
    """torch's list, last axis first, as one pair per axis in order."""
    if len(padding) % 2:
        raise ValueError(
            f"{op}: padding {tuple(padding)} must have two numbers per axis, last axis first"
        )
    if len(padding) > 2 * ndim:
        raise ValueError(
            f"{op}: padding {tuple(padding)} is for {len(padding) // 2} axes, the input has {ndim}"
        )
    pairs = [(0, 0)] * ndim
    for i in range(len(padding) // 2):
        pairs[ndim - 1 - i] = (int(padding[2 * i]), int(padding[2 * i + 1]))
    return pairs


def _constant(x: Any, pairs: list[tuple[int, int]], value: float) -> Any:
    kept, places, shape = [], [], []
    for axis, (size, (low, high)) in enumerate(zip(x.shape, pairs, strict=True)):
        start, stop = max(0, -low), size - max(0, -high)
        if stop < start or size + low + high < 0:
            raise ValueError(
                f"pad: padding ({low}, {high}) crops more than the {size} entries of axis {axis} "
                f"of the input of shape {x.shape}"
            )
        kept.append(slice(start, stop))
        places.append(slice(max(0, low), max(0, low) + stop - start))
        shape.append(size + low + high)
    inner = getitem(x, tuple(kept)) if any(min(p) < 0 for p in pairs) else x
    if inner.shape == tuple(shape):
        return inner if inner is not x else getitem(x, ...)
    padded = put(inner, tuple(places), tuple(shape))
    if value == 0:
        return padded
    outside = np.ones(shape, bool)
    outside[tuple(places)] = False
    return where(outside, np.asarray(value, x.dtype), padded)


def _positions(mode: str, axis: int, size: int, low: int, high: int) -> np.ndarray[Any, Any]:
    """Which entry of an axis each entry of the padded axis repeats."""
    at = np.arange(-low, size + high)
    if mode == "replicate":
        if size == 0:
            raise ValueError(f"pad: axis {axis} is empty: there is nothing to replicate")
        return at.clip(0, size - 1)
    if mode == "circular":
        if max(low, high) > size:
            raise ValueError(
                f"pad: circular padding ({low}, {high}) of axis {axis} must not exceed its {size} "
                "entries"
            )
        return at % max(size, 1)
    if max(low, high) >= size:
        raise ValueError(
            f"pad: reflecting padding ({low}, {high}) of axis {axis} must be less than its {size} "
            "entries"
        )
    at = np.abs(at)
    return np.where(at >= size, 2 * (size - 1) - at, at)


def pad(input: Any, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> Any:
    """Add entries before and after axes, or crop them.

    Args:
        input: any shape.
        pad: two numbers per axis, before and after, *last axis first*; negative ones crop.
        mode: "constant", or for the spatial axes "reflect", "replicate" or "circular".
        value: of the constant, 0 by default.

    Raises:
        ValueError: padding does not fit the shape.
        NotImplementedError: the mode is unknown.

    >>> import tilegrad as tg
    >>> tg.nn.functional.pad(tg.tensor([1.0, 2.0]), (1, 0), value=9.0).numpy()
    array([9., 1., 2.], dtype=float32)
    """
    if mode not in ("constant", "reflect", "replicate", "circular"):
        raise NotImplementedError(
            f"pad: mode {mode!r} is none of 'constant', 'reflect', 'replicate', 'circular'"
        )
    pairs = _pairs("pad", pad, input.ndim)
    if mode == "constant":
        return _constant(input, pairs, 0.0 if value is None else value)
    if value is not None:
        raise ValueError(f"pad: value={value} is for mode='constant' only, not {mode!r}")
    if mode == "circular":  # what is cropped does not come back around
        input = _constant(input, [(min(low, 0), min(high, 0)) for low, high in pairs], 0.0)
        pairs = [(max(low, 0), max(high, 0)) for low, high in pairs]
    for axis, (low, high) in enumerate(pairs):
        if low == high == 0:
            continue
        index: list[Any] = [slice(None)] * input.ndim
        positions = _positions(mode, axis, input.shape[axis], max(low, 0), max(high, 0))
        stop = positions.size - max(0, -high)
        index[axis] = positions[max(0, -low) : stop]
        input = getitem(input, tuple(index))
    return input


__all__ = ["pad"]
