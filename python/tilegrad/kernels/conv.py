"""Convolution in its three directions, and the explicit column matrix.

A convolution is one matrix product per tap of its kernel: the tap ``t`` sees the image shifted by
``t * dilation``, sampled at every ``stride``-th pixel. With ``x_t`` for that view,

* forward        ``y   += w_t @ x_t``
* input gradient ``dx_t += w_t.T @ g``
* weight gradient ``dw_t = sum over the batch of g @ x_t.T``

The three are the three partial products of one trilinear form ``<g, conv(x, w)>``: each is the
derivative of the other two, and a transposed convolution is the input gradient.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tilegrad.kernels.geometry import (
    ConvGeometry,
    Padding,
    Sizes,
    check_padded,
    check_planes,
    check_size,
    conv_geometry,
    pad_pairs,
    per_axis,
    window_counts,
)
from tilegrad.kernels.registry import kernel

Array = NDArray[Any]
Index = tuple[Any, ...]

#: What may follow the bias in the epilogue.
ACTIVATIONS = (None, "relu")


def _canvas(
    lead: Sequence[int], image: Sequence[int], padding: Sequence[tuple[int, int]], dtype: Any
) -> tuple[Array, Array]:
    """Zeros holding an image and its padding: views of the image and of what the windows see.

    Positive padding makes the windows see more than the image, negative padding less.
    """
    spans = [size + max(0, a) + max(0, b) for size, (a, b) in zip(image, padding, strict=True)]
    zeros = np.zeros((*lead, *spans), dtype)

    def without(sign: int) -> Array:
        cut: Index = (
            ...,
            *(
                slice(max(0, sign * low), span - max(0, sign * high))
                for span, (low, high) in zip(spans, padding, strict=True)
            ),
        )
        return zeros[cut]

    return without(1), without(-1)


def _padded(x: Array, padding: Sequence[tuple[int, int]]) -> Array:
    """What the windows see of ``x`` (N, C, *S): zeros around each plane, or less of it."""
    image, seen = _canvas(x.shape[:2], x.shape[2:], padding, x.dtype)
    image[...] = x
    return seen


def _taps(
    kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int], output: Sequence[int]
) -> Iterator[tuple[Index, Index]]:
    """Index of each tap in a kernel, and of what it meets in the padded image."""
    for tap in np.ndindex(*kernel):
        starts = [t * d for t, d in zip(tap, dilation, strict=True)]
        ends = [a + (n - 1) * s + 1 for a, n, s in zip(starts, output, stride, strict=True)]
        windows = (slice(a, b, s) for a, b, s in zip(starts, ends, stride, strict=True))
        yield (..., *tap), (..., *windows)


def _geometry_taps(geo: ConvGeometry) -> Iterator[tuple[Index, Index]]:
    return _taps(geo.kernel, geo.stride, geo.dilation, geo.output)


def _by_group(x: Array, groups: int) -> Array:
    """(N, groups * c, *P) as (N, groups, c, pixels)."""
    pixels = math.prod(x.shape[2:])
    return x.reshape(x.shape[0], groups, x.shape[1] // groups, pixels)


def _check_output(op: str, g: Array, geo: ConvGeometry) -> None:
    if g.shape != geo.output_shape:
        raise ValueError(
            f"{op}: the output gradient has shape {g.shape}, but an input of shape "
            f"{geo.input_shape} with a kernel of shape {geo.kernel_shape} has an output of shape "
            f"{geo.output_shape}"
        )


@kernel
def conv(
    x: ArrayLike,
    w: ArrayLike,
    bias: ArrayLike | None = None,
    stride: Sizes = 1,
    padding: Padding = 0,
    dilation: Sizes = 1,
    groups: int = 1,
    activation: str | None = None,
) -> Array:
    """Cross-correlate images with kernels, as deep learning's convolution does.

    Args:
        x: images (N, C, *S) with one to three spatial axes.
        w: kernels (O, C / groups, *K).
        bias: (O,), added to every pixel.
        stride, dilation: one integer or one per spatial axis, at least 1.
        padding: zeros around the image: one integer, one per axis, or ``(low, high)`` pairs;
            negative numbers crop.
        groups: channels and output channels are split into so many independent convolutions.
        activation: None or ``"relu"``, applied last.

    Returns:
        (N, O, *P), with ``P = (S + low + high - dilation * (K - 1) - 1) // stride + 1`` per axis.

    Raises:
        ValueError: shapes disagree or the kernel does not fit.
        OverflowError: a size is beyond 64-bit offsets.

    >>> x = np.arange(5.0).reshape(1, 1, 5)
    >>> conv(x, np.ones((1, 1, 3)), padding=1)
    array([[[1., 3., 6., 9., 7.]]])
    """
    x, w = np.asarray(x), np.asarray(w)
    geo = conv_geometry("conv", x.shape, w.shape, stride, padding, dilation, groups)
    if activation not in ACTIVATIONS:
        raise ValueError(f"conv: activation must be None or 'relu', got {activation!r}")
    dtype = np.result_type(x, w)
    if bias is not None:
        bias = np.asarray(bias)
        if bias.shape != (geo.out_channels,):
            raise ValueError(
                f"conv: bias of shape {bias.shape} must have shape ({geo.out_channels},), one "
                f"number per output channel of the kernel of shape {w.shape}"
            )
        dtype = np.result_type(dtype, bias)
    image = _padded(x, geo.padding)
    weights = w.reshape(
        groups, geo.out_channels // groups, *w.shape[1:]
    )  # (groups, O / groups, C / groups, *K)
    y = np.zeros((geo.batch, groups, weights.shape[1], math.prod(geo.output)), dtype)
    for tap, window in _geometry_taps(geo):
        y += weights[tap] @ _by_group(image[window], groups)
    y = y.reshape(geo.output_shape)
    if bias is not None:
        y += bias.reshape(-1, *[1] * len(geo.image))
    return np.maximum(y, 0) if activation == "relu" else y


@kernel
def conv_input_grad(
    g: ArrayLike,
    w: ArrayLike,
    input_shape: Sequence[int],
    stride: Sizes = 1,
    padding: Padding = 0,
    dilation: Sizes = 1,
    groups: int = 1,
) -> Array:
    """The adjoint of :func:`conv` in its image: ``<conv(x, w), g> = <x, conv_input_grad(g, w)>``.

    With ``input_shape`` chosen by :func:`tilegrad.kernels.geometry.transposed_image` it is the
    transposed convolution.

    Args:
        g: (N, O, *P), shaped like the output of the convolution.
        w: kernels (O, C / groups, *K).
        input_shape: (N, C, *S), the shape of the result.
        stride, padding, dilation, groups: as in :func:`conv`.

    Returns:
        (N, C, *S).

    Raises:
        ValueError: ``g`` is not shaped like that output, or as in :func:`conv`.

    >>> conv_input_grad(np.ones((1, 1, 3)), np.array([[[1.0, 2, 3]]]), (1, 1, 5))
    array([[[1., 3., 6., 5., 3.]]])
    """
    g, w = np.asarray(g), np.asarray(w)
    geo = conv_geometry("conv_input_grad", input_shape, w.shape, stride, padding, dilation, groups)
    _check_output("conv_input_grad", g, geo)
    image, seen = _canvas(geo.input_shape[:2], geo.image, geo.padding, np.result_type(g, w))
    weights = w.reshape(groups, geo.out_channels // groups, *w.shape[1:]).swapaxes(1, 2)
    rows = _by_group(g, groups)
    for tap, window in _geometry_taps(geo):
        part = weights[tap] @ rows  # (N, groups, C / groups, pixels)
        seen[window] += part.reshape(geo.batch, geo.channels, *geo.output)
    return np.ascontiguousarray(image)


@kernel
def conv_weight_grad(
    g: ArrayLike,
    x: ArrayLike,
    kernel_shape: Sequence[int],
    stride: Sizes = 1,
    padding: Padding = 0,
    dilation: Sizes = 1,
    groups: int = 1,
) -> Array:
    """The adjoint of :func:`conv` in its kernel: ``<conv(x, w), g> = <w, conv_weight_grad(g, x)>``.

    Args:
        g: (N, O, *P), shaped like the output of the convolution.
        x: images (N, C, *S).
        kernel_shape: (O, C / groups, *K), the shape of the result.
        stride, padding, dilation, groups: as in :func:`conv`.

    Returns:
        (O, C / groups, *K).

    Raises:
        ValueError: ``g`` is not shaped like that output, or as in :func:`conv`.

    >>> conv_weight_grad(np.ones((1, 1, 3)), np.arange(5.0).reshape(1, 1, 5), (1, 1, 3))
    array([[[3., 6., 9.]]])
    """
    g, x = np.asarray(g), np.asarray(x)
    geo = conv_geometry(
        "conv_weight_grad", x.shape, kernel_shape, stride, padding, dilation, groups
    )
    _check_output("conv_weight_grad", g, geo)
    image = _padded(x, geo.padding)
    rows = _by_group(g, groups)
    dtype = np.result_type(g, x)
    dw = np.empty((groups, geo.out_channels // groups, *geo.kernel_shape[1:]), dtype)
    for tap, window in _geometry_taps(geo):
        columns = _by_group(image[window], groups).swapaxes(2, 3)
        dw[tap] = (rows @ columns).sum(axis=0, dtype=dtype)
    return dw.reshape(geo.kernel_shape)


@kernel
def unfold(
    x: ArrayLike,
    kernel_size: Sizes,
    dilation: Sizes = 1,
    padding: Padding = 0,
    stride: Sizes = 1,
) -> Array:
    """The column matrix of a convolution (im2col): ``conv(x, w) = w.reshape(O, -1) @ unfold(x)``.

    Args:
        x: images (N, C, *S) with one to three spatial axes.
        kernel_size, dilation, padding, stride: as in :func:`conv`.

    Returns:
        (N, C * taps, pixels): row ``c * taps + t`` holds tap ``t`` of channel ``c``.

    Raises:
        ValueError: the kernel does not fit the padded image.

    >>> unfold(np.arange(4.0).reshape(1, 1, 4), 2)
    array([[[0., 1., 2.],
            [1., 2., 3.]]])
    """
    x = np.asarray(x)
    shape = check_planes("unfold", x.shape)
    ndim = len(shape) - 2
    kernel = per_axis("unfold", "kernel_size", kernel_size, ndim, 1)
    spread = per_axis("unfold", "dilation", dilation, ndim, 1)
    steps = per_axis("unfold", "stride", stride, ndim, 1)
    pairs = pad_pairs("unfold", padding, ndim)
    output = window_counts("unfold", shape[2:], kernel, steps, pairs, spread)
    check_padded("unfold", shape, pairs)
    check_size("unfold", "the columns", (*shape[:2], *kernel, *output))
    image = _padded(x, pairs)
    columns = np.empty((*shape[:2], math.prod(kernel), *output), x.dtype)
    for tap, (_, window) in enumerate(_taps(kernel, steps, spread, output)):
        columns[:, :, tap] = image[window]
    return columns.reshape(shape[0], shape[1] * math.prod(kernel), math.prod(output))


@kernel
def fold(
    c: ArrayLike,
    output_size: Sizes,
    kernel_size: Sizes,
    dilation: Sizes = 1,
    padding: Padding = 0,
    stride: Sizes = 1,
) -> Array:
    """The adjoint of :func:`unfold` (col2im): columns are added back to where they were taken from.

    Args:
        c: columns (N, C * taps, pixels).
        output_size: spatial sizes of the image, one per axis: their number says how many axes.
        kernel_size, dilation, padding, stride: as in :func:`unfold`.

    Returns:
        (N, C, *output_size).

    Raises:
        ValueError: the columns do not belong to that image and kernel.

    >>> fold(np.ones((1, 2, 3)), (4,), 2)
    array([[[1., 2., 2., 1.]]])
    """
    c = np.asarray(c)
    image = tuple(output_size) if isinstance(output_size, Sequence) else (output_size,) * 2
    ndim = len(image)
    kernel = per_axis("fold", "kernel_size", kernel_size, ndim, 1)
    spread = per_axis("fold", "dilation", dilation, ndim, 1)
    steps = per_axis("fold", "stride", stride, ndim, 1)
    pairs = pad_pairs("fold", padding, ndim)
    output = window_counts("fold", image, kernel, steps, pairs, spread)
    check_padded("fold", (*c.shape[:2], *image), pairs)
    taps, pixels = math.prod(kernel), math.prod(output)
    if c.ndim != 3 or c.shape[1] % taps or c.shape[2] != pixels:
        raise ValueError(
            f"fold: columns of shape {c.shape} must be (N, C * {taps}, {pixels}) for an image of "
            f"size {image} and a kernel of size {kernel}"
        )
    batch, channels = c.shape[0], c.shape[1] // taps
    result, seen = _canvas((batch, channels), image, pairs, c.dtype)
    columns = c.reshape(batch, channels, taps, *output)
    for tap, (_, window) in enumerate(_taps(kernel, steps, spread, output)):
        seen[window] += columns[:, :, tap]
    return np.ascontiguousarray(result)
