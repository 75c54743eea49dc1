"""Moving and resampling pixels: shuffles, nearest and linear interpolation."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tilegrad.nn.functional.pooling import (
    adaptive_avg_pool1d,
    adaptive_avg_pool2d,
    adaptive_avg_pool3d,
)
from tilegrad.ops.arithmetic import round
from tilegrad.ops.products import matmul
from tilegrad.ops.selection import clip
from tilegrad.ops.shape import cast, getitem, permute, reshape

Array = np.ndarray[Any, Any]


def pixel_shuffle(input: Any, upscale_factor: int) -> Any:
    """(*, C r^2, H, W) as (*, C, H r, W r)."""
    r = upscale_factor
    *lead, channels, height, width = input.shape
    if r < 1 or channels % (r * r):
        raise ValueError(
            f"pixel_shuffle: {channels} channels of the input of shape {input.shape} must be "
            f"divisible by {r}^2"
        )
    count, out = math.prod(lead), channels // (r * r)
    x = reshape(input, (count, out, r, r, height, width))
    x = permute(x, (0, 1, 4, 2, 5, 3))
    return reshape(x, (*lead, out, height * r, width * r))


def pixel_unshuffle(input: Any, downscale_factor: int) -> Any:
    """(*, C, H r, W r) as (*, C r^2, H, W)."""
    r = downscale_factor
    *lead, channels, height, width = input.shape
    if r < 1 or height % r or width % r:
        raise ValueError(
            f"pixel_unshuffle: the image of the input of shape {input.shape} must be divisible by "
            f"{r}"
        )
    count = math.prod(lead)
    x = reshape(input, (count, channels, height // r, r, width // r, r))
    x = permute(x, (0, 1, 3, 5, 2, 4))
    return reshape(x, (*lead, channels * r * r, height // r, width // r))


def channel_shuffle(input: Any, groups: int) -> Any:
    """Channels (N, g * c, *S) interleaved to (N, c * g, *S)."""
    batch, channels, *image = input.shape
    if channels % groups:
        raise ValueError(f"channel_shuffle: {channels} channels do not divide into {groups} groups")
    x = reshape(input, (batch, groups, channels // groups, *image))
    return reshape(permute(x, (0, 2, 1, *range(3, x.ndim))), input.shape)


def _nearest(size: int, count: int, scale: float | None, exact: bool) -> Array:
    step = 1 / scale if scale else size / count
    at = np.floor((np.arange(count) + (0.5 if exact else 0.0)) * step)
    return np.asarray(at.clip(0, size - 1), np.int64)


def _positions(size: int, count: int, scale: float | None, corners: bool) -> Array:
    """Where output pixels fall among the input's."""
    if corners:
        return np.arange(count) * ((size - 1) / (count - 1) if count > 1 else 0.0)
    return (np.arange(count) + 0.5) * (1 / scale if scale else size / count) - 0.5


def _linear_matrix(size: int, at: Array, dtype: Any) -> Array:
    """(count, size): each row mixes the two neighbours of a position."""
    at = at.clip(0)
    low = np.floor(at).astype(np.int64).clip(0, size - 1)
    rest = at - low
    matrix = np.zeros((len(at), size), dtype)
    rows = np.arange(len(at))
    np.add.at(matrix, (rows, low), 1 - rest)
    np.add.at(matrix, (rows, (low + 1).clip(max=size - 1)), rest)
    return matrix


def _cubic_matrix(size: int, at: Array, dtype: Any) -> Array:
    """(count, size): Keys' cubic convolution with a = -0.75, as torch has it."""
    a = -0.75
    low = np.floor(at).astype(np.int64)
    matrix = np.zeros((len(at), size), dtype)
    rows = np.arange(len(at))
    for tap in range(-1, 3):
        d = np.abs(at - (low + tap))
        near = ((a + 2) * d - (a + 3)) * d * d + 1
        far = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
        np.add.at(matrix, (rows, (low + tap).clip(0, size - 1)), np.where(d <= 1, near, far))
    return matrix


def _along(x: Any, matrix: Array, axis: int) -> Any:
    """``matrix`` applied along one axis."""
    order = [i for i in range(x.ndim) if i != axis] + [axis]
    moved = matmul(permute(x, tuple(order)), matrix.T)
    return permute(moved, tuple(int(i) for i in np.argsort(order)))


def interpolate(
    input: Any, size: Any = None, scale_factor: Any = None, mode: str = "nearest",
    align_corners: bool | None = None, recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Any:  # fmt: skip
    """Resample the spatial axes of (N, C, *S).

    Args:
        input: images with one to three spatial axes.
        size: new sizes, or
        scale_factor: factors; one number or one per axis.
        mode: "nearest", "nearest-exact", "area", or by the number of axes "linear", "bilinear",
            "bicubic", "trilinear".
        align_corners: whether corner pixels keep their places (linear and cubic).
        recompute_scale_factor: sample by the ratio of sizes rather than by the factor.
        antialias: not supported.

    Integer images are interpolated in float64 and rounded.
    """
    ndim = input.ndim - 2
    if ndim not in (1, 2, 3):
        raise ValueError(f"interpolate: input of shape {input.shape} must have 3 to 5 axes")
    if antialias:
        raise NotImplementedError("interpolate: antialias is not supported")
    kinds = {"linear": 1, "bilinear": 2, "bicubic": 2, "trilinear": 3}
    if mode not in ("nearest", "nearest-exact", "area") and kinds.get(mode) != ndim:
        raise ValueError(f"interpolate: mode {mode!r} is not for {ndim} spatial axes")
    if (size is None) == (scale_factor is None):
        raise ValueError("interpolate: give either size or scale_factor")
    image = input.shape[2:]
    factors: list[float | None] = [None] * ndim
    if size is not None:
        sizes = [size] * ndim if isinstance(size, int) else list(size)
    else:
        given = (
            list(scale_factor) if isinstance(scale_factor, (tuple, list)) else [scale_factor] * ndim
        )
        sizes = [math.floor(s * f) for s, f in zip(image, given, strict=True)]
        if not recompute_scale_factor:
            factors = list(map(float, given))
    if mode == "area":
        pool = (adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_avg_pool3d)[ndim - 1]
        return pool(input, tuple(sizes))
    if input.dtype.kind in "iu" and not mode.startswith("nearest"):
        limits = np.iinfo(input.dtype)
        x = interpolate(
            cast(input, np.dtype(np.float64)), size, scale_factor, mode, align_corners,
            recompute_scale_factor,
        )  # fmt: skip
        return cast(clip(round(x), limits.min, limits.max), input.dtype)
    x = input
    for i in range(ndim):
        if mode.startswith("nearest"):
            index: list[Any] = [slice(None)] * x.ndim
            index[2 + i] = _nearest(image[i], sizes[i], factors[i], mode == "nearest-exact")
            x = getitem(x, tuple(index))
            continue
        at = _positions(image[i], sizes[i], factors[i], bool(align_corners))
        build = _cubic_matrix if mode == "bicubic" else _linear_matrix
        x = _along(x, build(image[i], at, x.dtype), 2 + i)
    return x


upsample = interpolate

__all__ = ["channel_shuffle", "interpolate", "pixel_shuffle", "pixel_unshuffle", "upsample"]
