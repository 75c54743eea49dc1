"""Pooling over one to three spatial axes, with torch's signatures."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tilegrad.autograd.tensor import Tensor
from tilegrad.functions.random import stream
from tilegrad.kernels.geometry import per_axis
from tilegrad.nn.functional.convolution import batched, unbatched
from tilegrad.ops import pooling as ops
from tilegrad.ops.activation import relu
from tilegrad.ops.arithmetic import absolute, multiply, sign
from tilegrad.ops.power import power
from tilegrad.ops.selection import where

Array = np.ndarray[Any, Any]


def _max_pool(
    op: str, ndim: int, x: Any, kernel_size: Any, stride: Any, padding: Any, dilation: Any,
    ceil_mode: bool, return_indices: bool,
) -> Any:  # fmt: skip
    x, added = batched(op, x, ndim)
    y, indices = ops.max_pool(x, kernel_size, stride, padding, dilation, ceil_mode)
    if return_indices:
        return unbatched(y, added), unbatched(indices, added)
    return unbatched(y, added)


def max_pool1d(
    input: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1,
    ceil_mode: bool = False, return_indices: bool = False,
) -> Any:  # fmt: skip
    """The largest element of each window of (N, C, L) or (C, L)."""
    return _max_pool(
        "max_pool1d", 1, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices
    )


def max_pool2d(
    input: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1,
    ceil_mode: bool = False, return_indices: bool = False,
) -> Any:  # fmt: skip
    """The largest element of each window of (N, C, H, W) or (C, H, W).

    Args:
        input: images.
        kernel_size, dilation: one number or one per axis.
        stride: the same; None means ``kernel_size``.
        padding: at most half the window; padded pixels never win.
        ceil_mode: keep a last window that hangs over the edge.
        return_indices: give ``(y, indices)``, the indices flat in each plane.
    """
    return _max_pool(
        "max_pool2d", 2, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices
    )


def max_pool3d(
    input: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1,
    ceil_mode: bool = False, return_indices: bool = False,
) -> Any:  # fmt: skip
    """The largest element of each window of (N, C, D, H, W) or (C, D, H, W)."""
    return _max_pool(
        "max_pool3d", 3, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices
    )


def _avg_pool(
    op: str, ndim: int, x: Any, kernel_size: Any, stride: Any, padding: Any, ceil_mode: bool,
    count_include_pad: bool, divisor_override: int | None = None,
) -> Any:  # fmt: skip
    x, added = batched(op, x, ndim)
    y = ops.avg_pool(
        x, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
    )
    return unbatched(y, added)


def avg_pool1d(
    input: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Any:  # fmt: skip
    """The mean of each window of (N, C, L) or (C, L)."""
    return _avg_pool(
        "avg_pool1d", 1, input, kernel_size, stride, padding, ceil_mode, count_include_pad
    )


def avg_pool2d(
    input: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False,
    count_include_pad: bool = True, divisor_override: int | None = None,
) -> Any:  # fmt: skip
    """The mean of each window of (N, C, H, W) or (C, H, W).

    ``count_include_pad`` counts padded zeros in; ``divisor_override`` divides every sum instead.
    """
    return _avg_pool(
        "avg_pool2d", 2, input, kernel_size, stride, padding, ceil_mode, count_include_pad,
        divisor_override,
    )  # fmt: skip


def avg_pool3d(
    input: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False,
    count_include_pad: bool = True, divisor_override: int | None = None,
) -> Any:  # fmt: skip
    """The mean of each window of (N, C, D, H, W) or (C, D, H, W)."""
    return _avg_pool(
        "avg_pool3d", 3, input, kernel_size, stride, padding, ceil_mode, count_include_pad,
        divisor_override,
    )  # fmt: skip


def _adaptive_avg_pool(op: str, ndim: int, x: Any, output_size: Any) -> Any:
    x, added = batched(op, x, ndim)
    return unbatched(ops.adaptive_avg_pool(x, output_size), added)


def adaptive_avg_pool1d(input: Any, output_size: Any) -> Any:
    """Means over ``output_size`` near-equal windows of (N, C, L) or (C, L)."""
    return _adaptive_avg_pool("adaptive_avg_pool1d", 1, input, output_size)


def adaptive_avg_pool2d(input: Any, output_size: Any) -> Any:
    """Means over near-equal windows of (N, C, H, W); None keeps an axis' size."""
    return _adaptive_avg_pool("adaptive_avg_pool2d", 2, input, output_size)


def adaptive_avg_pool3d(input: Any, output_size: Any) -> Any:
    """Means over near-equal windows of (N, C, D, H, W)."""
    return _adaptive_avg_pool("adaptive_avg_pool3d", 3, input, output_size)


def _adaptive_max_pool(
    op: str, ndim: int, x: Any, output_size: Any, return_indices: bool
) -> Any:
    x, added = batched(op, x, ndim)
    y, indices = ops.adaptive_max_pool(x, output_size)
    if return_indices:
        return unbatched(y, added), unbatched(indices, added)
    return unbatched(y, added)


def adaptive_max_pool1d(input: Any, output_size: Any, return_indices: bool = False) -> Any:
    """Maxima over ``output_size`` near-equal windows of (N, C, L) or (C, L)."""
    return _adaptive_max_pool("adaptive_max_pool1d", 1, input, output_size, return_indices)


def adaptive_max_pool2d(input: Any, output_size: Any, return_indices: bool = False) -> Any:
    """Maxima over near-equal windows of (N, C, H, W)."""
    return _adaptive_max_pool("adaptive_max_pool2d", 2, input, output_size, return_indices)


def adaptive_max_pool3d(input: Any, output_size: Any, return_indices: bool = False) -> Any:
    """Maxima over near-equal windows of (N, C, D, H, W)."""
    return _adaptive_max_pool("adaptive_max_pool3d", 3, input, output_size, return_indices)


# ---- power means ---------------------------------------------------------------------------------


def _lp_pool(
    op: str, ndim: int, x: Any, p: float, kernel_size: Any, stride: Any, ceil: bool
) -> Any:  # fmt: skip
    if p == math.inf:
        return _max_pool(op, ndim, absolute(x), kernel_size, stride, 0, 1, ceil, False)
    total = _avg_pool(op, ndim, power(x, p), kernel_size, stride, 0, ceil, True)
    taps = math.prod(per_axis(op, "kernel_size", kernel_size, ndim, 1))
    return power(multiply(multiply(sign(total), relu(absolute(total))), taps), 1.0 / p)


def lp_pool1d(
    input: Any, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False
) -> Any:
    """The p-norm of each window of (N, C, L): ``(sum x^p)^(1 / p)``."""
    return _lp_pool("lp_pool1d", 1, input, norm_type, kernel_size, stride, ceil_mode)


def lp_pool2d(
    input: Any, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False
) -> Any:
    """The p-norm of each window of (N, C, H, W)."""
    return _lp_pool("lp_pool2d", 2, input, norm_type, kernel_size, stride, ceil_mode)


def lp_pool3d(
    input: Any, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False
) -> Any:
    """The p-norm of each window of (N, C, D, H, W)."""
    return _lp_pool("lp_pool3d", 3, input, norm_type, kernel_size, stride, ceil_mode)


# ---- windows at random places --------------------------------------------------------------------


def _starts(sample: float, size: int, count: int, window: int) -> Array:
    """Where ``count`` windows begin: Graham, "Fractional max-pooling", 2014, as torch rounds."""
    if count == 1:
        return np.array([size - window])
    alpha = (size - window) / (count - 1)
    starts = np.floor((np.arange(count) + sample) * alpha) - np.floor(sample * alpha)
    starts[-1] = size - window
    return np.asarray(starts, np.int64)


def _fractional(
    op: str, ndim: int, x: Any, kernel_size: Any, output_size: Any, output_ratio: Any,
    return_indices: bool, samples: Any, order: tuple[int, ...],
) -> Any:  # fmt: skip
    if (output_size is None) == (output_ratio is None):
        raise ValueError(f"{op}: give either output_size or output_ratio")
    x, added = batched(op, x, ndim)
    kernel = per_axis(op, "kernel_size", kernel_size, ndim, 1)
    image = x.shape[2:]
    if output_size is None:
        ratios = output_ratio if isinstance(output_ratio, (tuple, list)) else (output_ratio,) * ndim
        if any(not 0 < ratio < 1 for ratio in ratios):
            raise ValueError(f"{op}: output_ratio {output_ratio} must be between 0 and 1")
        output: tuple[int, ...] = tuple(int(s * r) for s, r in zip(image, ratios, strict=True))
    else:
        output = per_axis(op, "output_size", output_size, ndim, 1)
    if any(o + k - 1 > s for o, k, s in zip(output, kernel, image, strict=True)):
        raise ValueError(
            f"{op}: windows {kernel} and output size {output} do not fit the image {image}"
        )
    planes = x.shape[0] * x.shape[1]
    if samples is None:
        samples = stream(None).random((planes, ndim))
    drawn = np.asarray(getattr(samples, "_array", samples)).reshape(-1, ndim)[:planes]
    values = np.asarray(getattr(x, "_array", x)).reshape(planes, *image)
    flat = np.arange(math.prod(image)).reshape(image)
    indices = np.empty((planes, *output), np.int64)
    for plane in range(planes):
        at = []
        for axis in range(ndim):
            first = _starts(drawn[plane, order[axis]], image[axis], output[axis], kernel[axis])
            window = first[:, None] + np.arange(kernel[axis])  # (output, tap)
            shape = [1] * (2 * ndim)
            shape[axis], shape[ndim + axis] = window.shape
            at.append(window.reshape(shape))
        seen = values[plane][tuple(at)].reshape(*output, -1)
        places = flat[tuple(at)].reshape(*output, -1)
        best = seen.argmax(axis=-1)[..., None]
        indices[plane] = np.take_along_axis(places, best, -1)[..., 0]
    indices = indices.reshape(*x.shape[:2], *output)
    y = unbatched(ops.pool_gather(x, indices), added)
    return (y, unbatched(Tensor(indices), added)) if return_indices else y


def fractional_max_pool2d(
    input: Any, kernel_size: Any, output_size: Any = None, output_ratio: Any = None,
    return_indices: bool = False, _random_samples: Any = None,
) -> Any:  # fmt: skip
    """Maxima of windows at pseudo-random places of (N, C, H, W)."""
    return _fractional(
        "fractional_max_pool2d", 2, input, kernel_size, output_size, output_ratio, return_indices,
        _random_samples, (1, 0),
    )  # fmt: skip


def fractional_max_pool3d(
    input: Any, kernel_size: Any, output_size: Any = None, output_ratio: Any = None,
    return_indices: bool = False, _random_samples: Any = None,
) -> Any:  # fmt: skip
    """Maxima of windows at pseudo-random places of (N, C, D, H, W)."""
    return _fractional(
        "fractional_max_pool3d", 3, input, kernel_size, output_size, output_ratio, return_indices,
        _random_samples, (0, 1, 2),
    )  # fmt: skip


# ---- back to where maxima were -------------------------------------------------------------------


def _without_overwritten(x: Any, indices: Any, size: int) -> Any:
    """``x`` with zeros where a later entry of its plane goes to the same place."""
    places = np.asarray(getattr(indices, "_array", indices))
    planes = places.shape[0] * places.shape[1]
    flat = places.reshape(planes, -1) + np.arange(planes)[:, None] * size
    order = np.arange(flat.size).reshape(flat.shape)
    last = np.zeros(planes * size, np.int64)
    if flat.size and not 0 <= places.min() <= places.max() < size:
        return x  # the scatter says so
    last[flat] = order
    kept = (last[flat] == order).reshape(places.shape)
    return x if kept.all() else where(kept, x, np.zeros((), x.dtype))


def _max_unpool(
    op: str, ndim: int, x: Any, indices: Any, kernel_size: Any, stride: Any, padding: Any,
    output_size: Any,
) -> Any:  # fmt: skip
    x, added = batched(op, x, ndim)
    indices, _ = batched(op, indices, ndim)
    if indices.shape != x.shape:
        raise ValueError(f"{op}: input {x.shape} and indices {indices.shape} must have one shape")
    kernel = per_axis(op, "kernel_size", kernel_size, ndim, 1)
    steps = kernel if stride is None else per_axis(op, "stride", stride, ndim, 1)
    pads = per_axis(op, "padding", padding, ndim, 0)
    image = tuple(
        (size - 1) * s - 2 * p + k
        for size, s, p, k in zip(x.shape[2:], steps, pads, kernel, strict=True)
    )
    if output_size is not None:
        image = tuple(output_size)[-ndim:]
    x = _without_overwritten(x, indices, math.prod(image))
    return unbatched(ops.pool_scatter(x, indices, (*x.shape[:2], *image)), added)


def max_unpool1d(
    input: Any, indices: Any, kernel_size: Any, stride: Any = None, padding: Any = 0,
    output_size: Any = None,
) -> Any:  # fmt: skip
    """Maxima of :func:`max_pool1d` put back to where they were, zeros elsewhere."""
    return _max_unpool(
        "max_unpool1d", 1, input, indices, kernel_size, stride, padding, output_size
    )


def max_unpool2d(
    input: Any, indices: Any, kernel_size: Any, stride: Any = None, padding: Any = 0,
    output_size: Any = None,
) -> Any:  # fmt: skip
    """Maxima of :func:`max_pool2d` put back to where they were, zeros elsewhere."""
    return _max_unpool(
        "max_unpool2d", 2, input, indices, kernel_size, stride, padding, output_size
    )


def max_unpool3d(
    input: Any, indices: Any, kernel_size: Any, stride: Any = None, padding: Any = 0,
    output_size: Any = None,
) -> Any:  # fmt: skip
    """Maxima of :func:`max_pool3d` put back to where they were, zeros elsewhere."""
    return _max_unpool(
        "max_unpool3d", 3, input, indices, kernel_size, stride, padding, output_size
    )


__all__ = [
    "adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d", "adaptive_max_pool1d",
    "adaptive_max_pool2d", "adaptive_max_pool3d", "avg_pool1d", "avg_pool2d", "avg_pool3d",
    "fractional_max_pool2d", "fractional_max_pool3d", "lp_pool1d", "lp_pool2d", "lp_pool3d",
    "max_pool1d", "max_pool2d", "max_pool3d", "max_unpool1d", "max_unpool2d", "max_unpool3d",
]  # fmt: skip
