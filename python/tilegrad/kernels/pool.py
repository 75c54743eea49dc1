"""Pooling: the largest, or the mean, of each window of a plane.

Max pooling returns the flat index of each winner in its plane; :func:`pool_scatter` sends numbers
there and :func:`pool_gather` fetches them. The two are adjoints, so they are backward and jvp of
max pooling and of each other. Average pooling is linear, with its own adjoint.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tilegrad.kernels.geometry import (
    Padding,
    PoolGeometry,
    Sizes,
    adaptive_bounds,
    adaptive_output,
    check_planes,
    pool_geometry,
)
from tilegrad.kernels.registry import kernel

Array = NDArray[Any]
Index = tuple[Any, ...]


def _along(values: Array, axis: int, ndim: int) -> Array:
    """A vector along one of ``ndim`` axes, ready to broadcast."""
    return values.reshape([-1 if i == axis else 1 for i in range(ndim)])


def _tap_pixels(geo: PoolGeometry, tap: Sequence[int]) -> tuple[Index, Array, Array]:
    """Where each window's ``tap`` falls: as index, flat in the plane, and whether inside the image.

    Outside it the nearest pixel of the image stands in.
    """
    ndim = len(tap)
    pixels, inside = [], np.ones(geo.output, bool)
    for axis, t in enumerate(tap):
        at = np.arange(geo.output[axis]) * geo.stride[axis] + t * geo.dilation[axis]
        at -= geo.padding[axis][0]
        inside &= _along((at >= 0) & (at < geo.image[axis]), axis, ndim)
        pixels.append(_along(at.clip(0, geo.image[axis] - 1), axis, ndim))
    flat = np.ravel_multi_index(tuple(np.broadcast_arrays(*pixels)), geo.image)
    return (..., *pixels), flat, inside


def _wins(value: Array, best: Array) -> Array:
    """Where ``value`` replaces ``best``: NaN beats everything, the first of equals stays."""
    wins = value > best
    return wins | np.isnan(value) if value.dtype.kind in "fc" else wins


def _lowest(dtype: np.dtype[Any]) -> Any:
    if dtype.kind in "iu":
        return np.iinfo(dtype).min
    if dtype.kind == "f":
        return -np.inf
    raise TypeError(f"max_pool: needs real numbers, got dtype {dtype}")


@kernel
def max_pool(
    x: ArrayLike,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Padding = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
) -> tuple[Array, NDArray[np.int64]]:
    """The largest element of each window, and where it is.

    Args:
        x: (N, C, *S) with one to three spatial axes.
        kernel_size, dilation: one integer or one per axis.
        stride: the same; None means ``kernel_size``.
        padding: as in :func:`conv`, from 0 to half the window; padded pixels never win.
        ceil_mode: keep a last window that hangs over the high edge.

    Returns:
        ``(y, indices)``, both (N, C, *P): indices (int64) are flat in their plane. NaN wins over
        any number (the last NaN of the window), of equal elements the first wins. A window that
        meets no pixel, which only dilation can make, gives the lowest value and the index -1.

    Raises:
        ValueError: a rank is wrong, the window does not fit or padding exceeds half of it.

    >>> max_pool(np.array([[[1.0, 5, 2, 4]]]), 2)
    (array([[[5., 4.]]]), array([[[1, 3]]]))
    """
    x = np.asarray(x)
    geo = pool_geometry("max_pool", x.shape, kernel_size, stride, padding, dilation, ceil_mode)
    best = np.full(geo.output_shape, _lowest(x.dtype), x.dtype)
    indices = np.full(geo.output_shape, -1, np.int64)
    for tap in np.ndindex(*geo.kernel):
        pixels, flat, inside = _tap_pixels(geo, tap)
        value = x[pixels]
        wins = inside & (_wins(value, best) | (indices < 0))
        best = np.where(wins, value, best)
        indices = np.where(wins, flat, indices)
    return best, indices


def _check_indices(op: str, name: str, shape: tuple[int, ...], indices: Array) -> None:
    if indices.dtype.kind not in "iu":
        raise TypeError(f"{op}: indices must be integers, got dtype {indices.dtype}")
    if shape[:2] != indices.shape[:2] or len(shape) != indices.ndim:
        raise ValueError(
            f"{op}: {name} of shape {shape} and indices of shape {indices.shape} must agree in "
            "rank and in their first two axes (batch, channels)"
        )


def _check_range(op: str, indices: Array, pixels: int) -> None:
    if indices.size and (indices.min() < -1 or indices.max() >= pixels):
        raise ValueError(
            f"{op}: indices from {indices.min()} to {indices.max()} leave a plane of {pixels} "
            "pixels"
        )


@kernel
def pool_scatter(g: ArrayLike, indices: ArrayLike, input_shape: Sequence[int]) -> Array:
    """Add each element of ``g`` to the pixel its index names: the backward of max pooling.

    Args:
        g: (N, C, *P).
        indices: integers shaped like ``g``, flat in each plane of the result; -1 names no pixel.
        input_shape: (N, C, *S).

    Returns:
        (N, C, *S): the adjoint of :func:`pool_gather`.

    Raises:
        ValueError: shapes disagree or an index leaves its plane.

    >>> pool_scatter(np.array([[[1.0, 2]]]), np.array([[[1, 1]]]), (1, 1, 3))
    array([[[0., 3., 0.]]])
    """
    g, indices = np.asarray(g), np.asarray(indices)
    shape = check_planes("pool_scatter", input_shape)
    _check_indices("pool_scatter", "input_shape", shape, indices)
    if g.shape != indices.shape:
        raise ValueError(
            f"pool_scatter: g of shape {g.shape} needs indices of that shape, got {indices.shape}"
        )
    pixels = math.prod(shape[2:])
    _check_range("pool_scatter", indices, pixels)
    planes = shape[0] * shape[1]
    rows = (planes, math.prod(g.shape[2:]))
    # One pixel more per plane takes what index -1 sends: nowhere.
    result = np.zeros((planes, pixels + 1), g.dtype)
    np.add.at(result, (np.arange(planes)[:, None], indices.reshape(rows)), g.reshape(rows))
    return np.ascontiguousarray(result[:, :pixels]).reshape(shape)


@kernel
def pool_gather(t: ArrayLike, indices: ArrayLike) -> Array:
    """Fetch from each plane of ``t`` the pixels that ``indices`` name: the jvp of max pooling.

    Args:
        t: (N, C, *S).
        indices: integers (N, C, *P), flat in each plane of ``t``; -1 names no pixel and fetches 0.

    Returns:
        (N, C, *P): the adjoint of :func:`pool_scatter`.

    Raises:
        ValueError: shapes disagree or an index leaves its plane.

    >>> pool_gather(np.array([[[7.0, 8, 9]]]), np.array([[[2, 0]]]))
    array([[[9., 7.]]])
    """
    t, indices = np.asarray(t), np.asarray(indices)
    shape = check_planes("pool_gather", t.shape)
    _check_indices("pool_gather", "t", shape, indices)
    pixels = math.prod(shape[2:])
    _check_range("pool_gather", indices, pixels)
    planes = shape[0] * shape[1]
    rows = indices.reshape(planes, math.prod(indices.shape[2:]))
    fetched = t.reshape(planes, pixels)[np.arange(planes)[:, None], rows]
    result: Array = np.where(rows < 0, t.dtype.type(0), fetched)
    return result.reshape(indices.shape)


def _spans(geo: PoolGeometry, axis: int, clipped: bool) -> Array:
    """How many pixels each window covers along ``axis``: of the image, or of image and padding."""
    low, high = geo.padding[axis]
    size = geo.image[axis]
    start = np.arange(geo.output[axis]) * geo.stride[axis] - low
    end = np.minimum(start + geo.kernel[axis], size + high)
    if clipped:
        start, end = start.clip(0), end.clip(max=size)
    return np.maximum(end - start, 0)


def _divisor(geo: PoolGeometry, count_include_pad: bool, divisor_override: int | None) -> Array:
    """What each window's sum is divided by: (*P)."""
    if divisor_override == 0:
        raise ValueError("avg_pool: divisor_override must not be 0")
    if divisor_override is not None:
        return np.full(geo.output, divisor_override)
    ndim = len(geo.image)
    spans = [_along(_spans(geo, i, not count_include_pad), i, ndim) for i in range(ndim)]
    # A window that covers nothing sums to 0 whatever it is divided by.
    counts = np.broadcast_to(math.prod(spans), geo.output)
    divisor: Array = np.maximum(counts, 1)
    return divisor


def _mean_dtype(x: Array) -> np.dtype[Any]:
    return x.dtype if x.dtype.kind in "fc" else np.dtype(np.float64)


@kernel
def avg_pool(
    x: ArrayLike,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Padding = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Array:
    """The mean of each window.

    Args:
        x: (N, C, *S) with one to three spatial axes.
        kernel_size, stride, padding, ceil_mode: as in :func:`max_pool`.
        count_include_pad: whether padded zeros count in the mean; what hangs over the padding
            (``ceil_mode``) never does.
        divisor_override: divide every sum by this instead.

    Returns:
        (N, C, *P).

    Raises:
        ValueError: as :func:`max_pool`, or ``divisor_override`` is 0.

    >>> avg_pool(np.array([[[1.0, 5, 2, 4]]]), 2)
    array([[[3., 3.]]])
    """
    x = np.asarray(x)
    geo = pool_geometry("avg_pool", x.shape, kernel_size, stride, padding, 1, ceil_mode)
    divisor = _divisor(geo, count_include_pad, divisor_override)
    total: Array = np.zeros(geo.output_shape, x.dtype)
    for tap in np.ndindex(*geo.kernel):
        pixels, _, inside = _tap_pixels(geo, tap)
        total += np.where(inside, x[pixels], x.dtype.type(0))
    return np.asarray(total / divisor, _mean_dtype(x))


@kernel
def avg_pool_grad(
    g: ArrayLike,
    input_shape: Sequence[int],
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Padding = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Array:
    """The adjoint of :func:`avg_pool`: each window gives its share of ``g`` to its pixels.

    Args:
        g: (N, C, *P), shaped like the output of the pooling.
        input_shape: (N, C, *S), the shape of the result.
        the others: as in :func:`avg_pool`.

    Returns:
        (N, C, *S).

    Raises:
        ValueError: ``g`` is not shaped like that output, or as :func:`avg_pool`.

    >>> avg_pool_grad(np.array([[[2.0, 4.0]]]), (1, 1, 5), 2)
    array([[[1., 1., 2., 2., 0.]]])
    """
    g = np.asarray(g)
    geo = pool_geometry("avg_pool_grad", input_shape, kernel_size, stride, padding, 1, ceil_mode)
    _check_output("avg_pool_grad", g, geo.input_shape, geo.output_shape)
    share = np.asarray(g / _divisor(geo, count_include_pad, divisor_override), _mean_dtype(g))
    result = np.zeros(geo.input_shape, share.dtype)
    for tap in np.ndindex(*geo.kernel):
        # Pixels of one tap are distinct but for those clipped from outside, which add 0.
        pixels, _, inside = _tap_pixels(geo, tap)
        np.add.at(result, pixels, np.where(inside, share, share.dtype.type(0)))
    return result


def _check_output(op: str, g: Array, input_shape: Sequence[int], wanted: Sequence[int]) -> None:
    if g.shape != tuple(wanted):
        raise ValueError(
            f"{op}: the output gradient has shape {g.shape}, but an input of shape "
            f"{tuple(input_shape)} is pooled to shape {tuple(wanted)}"
        )


def _adaptive_windows(image: Sequence[int], output: Sequence[int]) -> Iterator[tuple[Index, Index]]:
    """Index of each output pixel, and of the window of the image that it covers."""
    axes = [
        list(enumerate(adaptive_bounds(size, count)))
        for size, count in zip(image, output, strict=True)
    ]
    for windows in itertools.product(*axes):
        yield (..., *(i for i, _ in windows)), (..., *(slice(a, b) for _, (a, b) in windows))


@kernel
def adaptive_avg_pool(x: ArrayLike, output_size: int | Sequence[int | None]) -> Array:
    """Means over ``output_size`` near-equal windows.

    Window i covers the pixels from ``i * S // P`` to before ``ceil((i + 1) * S / P)``.

    Args:
        x: (N, C, *S) with one to three spatial axes.
        output_size: one integer or one per axis; None keeps that axis' size.

    Returns:
        (N, C, *output_size).

    Raises:
        ValueError: a rank is wrong or a size is negative.

    >>> adaptive_avg_pool(np.arange(5.0).reshape(1, 1, 5), 2)
    array([[[1., 3.]]])
    """
    x = np.asarray(x)
    shape = check_planes("adaptive_avg_pool", x.shape)
    output = adaptive_output("adaptive_avg_pool", shape[2:], output_size)
    axes = tuple(range(2, len(shape)))
    y = np.empty((*shape[:2], *output), _mean_dtype(x))
    for pixel, window in _adaptive_windows(shape[2:], output):
        y[pixel] = x[window].mean(axis=axes)
    return y


@kernel
def adaptive_avg_pool_grad(g: ArrayLike, input_shape: Sequence[int]) -> Array:
    """The adjoint of :func:`adaptive_avg_pool`.

    Args:
        g: (N, C, *P).
        input_shape: (N, C, *S), the shape of the result.

    Returns:
        (N, C, *S).

    Raises:
        ValueError: ranks, batch or channels disagree.

    >>> adaptive_avg_pool_grad(np.array([[[3.0, 6.0]]]), (1, 1, 5))
    array([[[1., 1., 3., 2., 2.]]])
    """
    g = np.asarray(g)
    shape = check_planes("adaptive_avg_pool_grad", input_shape)
    if g.ndim != len(shape) or g.shape[:2] != shape[:2]:
        raise ValueError(
            f"adaptive_avg_pool_grad: the output gradient of shape {g.shape} and the input of "
            f"shape {shape} must agree in rank and in their first two axes (batch, channels)"
        )
    result = np.zeros(shape, _mean_dtype(g))
    for pixel, window in _adaptive_windows(shape[2:], g.shape[2:]):
        view = result[window]
        share = g[pixel] / math.prod(view.shape[2:])
        view += share.reshape(*shape[:2], *[1] * (g.ndim - 2))
    return result


@kernel
def adaptive_max_pool(
    x: ArrayLike, output_size: int | Sequence[int | None]
) -> tuple[Array, NDArray[np.int64]]:
    """The largest element of each window of :func:`adaptive_avg_pool`, and where it is.

    Args:
        x: (N, C, *S) with one to three spatial axes.
        output_size: one integer or one per axis; None keeps that axis' size.

    Returns:
        ``(y, indices)``, both (N, C, *output_size), with the rules of :func:`max_pool`.

    Raises:
        ValueError: a rank is wrong or a size is negative.

    >>> adaptive_max_pool(np.array([[[1.0, 5, 2, 4]]]), 2)
    (array([[[5., 4.]]]), array([[[1, 3]]]))
    """
    x = np.asarray(x)
    shape = check_planes("adaptive_max_pool", x.shape)
    output = adaptive_output("adaptive_max_pool", shape[2:], output_size)
    y = np.empty((*shape[:2], *output), x.dtype)
    indices = np.empty(y.shape, np.int64)
    for pixel, window in _adaptive_windows(shape[2:], output):
        view = x[window]
        values = view.reshape(*shape[:2], math.prod(view.shape[2:]))
        winner = values.argmax(axis=-1)
        if x.dtype.kind == "f":  # argmax stops at the first NaN; the last one is wanted
            nan = np.isnan(values)
            last = values.shape[-1] - 1 - nan[..., ::-1].argmax(axis=-1)
            winner = np.where(nan.any(axis=-1), last, winner)
        y[pixel] = np.take_along_axis(values, winner[..., None], axis=-1)[..., 0]
        inner = np.unravel_index(winner, view.shape[2:])
        at = tuple(i + s.start for i, s in zip(inner, window[1:], strict=True))
        indices[pixel] = np.ravel_multi_index(at, shape[2:])
    return y, indices
