"""Sizes of sliding windows: what convolution and pooling derive from their arguments.

Every size argument (stride, padding, dilation, kernel size) may be one integer or one per axis; a
padding may also be one ``(low, high)`` pair per axis, where a negative number crops. All checks of
these arguments live here, so that twins, native kernels and layers agree on what is an error.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

#: One integer for all axes or one per axis.
Sizes = int | Sequence[int]
#: The same, or one ``(low, high)`` pair per axis.
Padding = int | Sequence[int] | Sequence[tuple[int, int]]

#: Array sizes must stay below this, so that byte offsets of 16-byte elements fit 64 bits.
MAX_ELEMENTS = 2**59


def _integer(op: str, name: str, value: Any) -> int:
    try:
        return operator.index(value)
    except TypeError:
        raise TypeError(f"{op}: {name} must be an integer or integers, got {value!r}") from None


def per_axis(op: str, name: str, value: Any, ndim: int, minimum: int) -> tuple[int, ...]:
    """``value`` as ``ndim`` integers, each at least ``minimum``.

    Raises:
        TypeError: it is not made of integers.
        ValueError: it has another length than 1 or ``ndim``, or is below ``minimum``.
    """
    many = hasattr(value, "__len__") and not (isinstance(value, np.ndarray) and value.ndim == 0)
    sizes = tuple(_integer(op, name, v) for v in (value if many else (value,)))
    if len(sizes) == 1:
        sizes *= ndim
    if len(sizes) != ndim:
        raise ValueError(
            f"{op}: {name} {value!r} has {len(sizes)} numbers for {ndim} spatial axes; "
            f"give one number or {ndim}"
        )
    if any(size < minimum for size in sizes):
        raise ValueError(f"{op}: {name} must be at least {minimum}, got {value!r}")
    return sizes


def pad_pairs(op: str, padding: Any, ndim: int) -> tuple[tuple[int, int], ...]:
    """``padding`` as one ``(low, high)`` pair per spatial axis."""
    if isinstance(padding, str):
        raise TypeError(f"{op}: padding {padding!r} must be resolved to numbers first")
    if isinstance(padding, Sequence) and any(hasattr(p, "__len__") for p in padding):
        pairs = tuple(tuple(_integer(op, "padding", v) for v in pair) for pair in padding)
        if len(pairs) != ndim or any(len(pair) != 2 for pair in pairs):
            raise ValueError(
                f"{op}: padding {padding!r} must be {ndim} (low, high) pairs, one per spatial axis"
            )
        return tuple((low, high) for low, high in pairs)
    return tuple((p, p) for p in per_axis(op, "padding", padding, ndim, -MAX_ELEMENTS))


def same_padding(kernel: Sequence[int], dilation: Sequence[int]) -> tuple[tuple[int, int], ...]:
    """The pairs that keep the image's size at stride 1; an odd total puts the larger part high."""
    totals = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
    return tuple((total // 2, total - total // 2) for total in totals)


def resolve_padding(
    op: str, padding: Any, kernel: Sequence[int], stride: Any = 1, dilation: Any = 1
) -> tuple[tuple[int, int], ...]:
    """``padding`` as pairs, with ``"same"`` and ``"valid"`` understood.

    >>> resolve_padding("conv2d", "same", (3, 4))
    ((1, 1), (1, 2))
    """
    ndim = len(kernel)
    if not isinstance(padding, str):
        return pad_pairs(op, padding, ndim)
    if padding == "valid":
        return ((0, 0),) * ndim
    if padding != "same":
        raise ValueError(f"{op}: padding must be numbers, 'same' or 'valid', got {padding!r}")
    if any(s != 1 for s in per_axis(op, "stride", stride, ndim, 1)):
        raise ValueError(
            f"{op}: padding='same' is defined for stride 1 only, got stride {stride!r}"
        )
    return same_padding(kernel, per_axis(op, "dilation", dilation, ndim, 1))


def check_size(op: str, what: str, shape: Sequence[int]) -> None:
    """Raise OverflowError where an array of ``shape`` could not be addressed with 64 bits."""
    # Empty axes count as one: the other sizes alone may already overflow an offset.
    if math.prod(max(1, size) for size in shape) >= MAX_ELEMENTS:
        raise OverflowError(
            f"{op}: {what} of shape {tuple(shape)} overflows 64-bit offsets; use smaller sizes"
        )


def check_padded(
    op: str, input_shape: Sequence[int], padding: Sequence[tuple[int, int]]
) -> None:
    """Raise OverflowError where images (N, C, *S) with their padding could not be addressed."""
    image = zip(input_shape[2:], padding, strict=True)
    padded = [size + low + high for size, (low, high) in image]
    shape = tuple(input_shape)
    check_size(op, f"the input {shape} with its padding", (*shape[:2], *padded))


def window_counts(
    op: str,
    image: Sequence[int],
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[tuple[int, int]],
    dilation: Sequence[int],
    ceil_mode: bool = False,
) -> tuple[int, ...]:
    """How many windows fit along each axis.

    With ``ceil_mode`` a last window may hang over the high edge, if it starts inside the image or
    the low padding (PyTorch's rule).

    Raises:
        ValueError: a kernel does not fit the padded image, or a crop takes more than there is.
    """
    counts = []
    axes = zip(image, kernel, stride, padding, dilation, strict=True)
    for axis, (size, k, step, (low, high), spread) in enumerate(axes):
        if low + size < 0 or high + size < 0 or low + size + high < 0:
            raise ValueError(
                f"{op}: padding ({low}, {high}) crops more than the {size} pixels of spatial axis "
                f"{axis}"
            )
        extent = spread * (k - 1) + 1
        slack = size + low + high - extent
        count = (slack + (step - 1 if ceil_mode else 0)) // step + 1
        if ceil_mode and (count - 1) * step >= size + low:
            count -= 1
        if count < 1:
            raise ValueError(
                f"{op}: kernel of size {k} and dilation {spread} spans {extent} pixels, but the "
                f"image of shape {tuple(image)} with padding ({low}, {high}) has "
                f"{size + low + high} along spatial axis {axis}; pad more or use a smaller kernel"
            )
        counts.append(count)
    return tuple(counts)


@dataclass(frozen=True, slots=True)
class ConvGeometry:
    """Everything about a convolution but its numbers.

    Along each axis output pixel ``p`` and tap ``t`` meet in image pixel
    ``p * stride + t * dilation - low``.
    """

    batch: int
    channels: int
    out_channels: int
    groups: int
    image: tuple[int, ...]
    kernel: tuple[int, ...]
    output: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    dilation: tuple[int, ...]

    @property
    def input_shape(self) -> tuple[int, ...]:
        return (self.batch, self.channels, *self.image)

    @property
    def kernel_shape(self) -> tuple[int, ...]:
        return (self.out_channels, self.channels // self.groups, *self.kernel)

    @property
    def output_shape(self) -> tuple[int, ...]:
        return (self.batch, self.out_channels, *self.output)


def conv_geometry(
    op: str,
    input_shape: Sequence[int],
    kernel_shape: Sequence[int],
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: Any,
) -> ConvGeometry:
    """Check a convolution of ``input_shape`` (N, C, *S) with ``kernel_shape`` (O, C/groups, *K).

    Raises:
        ValueError: ranks or channels disagree, or the kernel does not fit.
        OverflowError: a size is beyond 64-bit offsets.
        TypeError: an argument is not made of integers.

    >>> conv_geometry("conv", (1, 3, 8, 8), (4, 3, 3, 3), 2, 1, 1, 1).output
    (4, 4)
    """
    input_shape = tuple(_integer(op, "input shape", size) for size in input_shape)
    kernel_shape = tuple(_integer(op, "kernel shape", size) for size in kernel_shape)
    ndim = len(input_shape) - 2
    if ndim not in (1, 2, 3):
        raise ValueError(
            f"{op}: input of shape {input_shape} must have 3, 4 or 5 axes: batch, channels and 1 "
            "to 3 spatial ones; add a batch axis with x[None]"
        )
    if len(kernel_shape) != ndim + 2:
        raise ValueError(
            f"{op}: kernel of shape {kernel_shape} must have {ndim + 2} axes (out channels, "
            f"channels / groups and {ndim} spatial) for an input of shape {input_shape}"
        )
    if min(input_shape) < 0 or min(kernel_shape) < 0:
        raise ValueError(f"{op}: negative size in shapes {input_shape} and {kernel_shape}")
    if min(kernel_shape[2:]) < 1:
        raise ValueError(f"{op}: kernel of shape {kernel_shape} has no taps")
    groups = _integer(op, "groups", groups)
    batch, channels, *image = input_shape
    out_channels, group_channels, *kernel = kernel_shape
    if groups < 1:
        raise ValueError(f"{op}: groups must be at least 1, got {groups}")
    if channels % groups or out_channels % groups:
        raise ValueError(
            f"{op}: {channels} input channels and {out_channels} output channels must both be "
            f"divisible by groups={groups} (input {input_shape}, kernel {kernel_shape})"
        )
    if group_channels * groups != channels:
        raise ValueError(
            f"{op}: kernel of shape {kernel_shape} with groups={groups} expects "
            f"{group_channels * groups} input channels, but the input of shape {input_shape} has "
            f"{channels}"
        )
    steps = per_axis(op, "stride", stride, ndim, 1)
    spread = per_axis(op, "dilation", dilation, ndim, 1)
    pairs = pad_pairs(op, padding, ndim)
    output = window_counts(op, image, kernel, steps, pairs, spread)
    check_padded(op, input_shape, pairs)
    check_size(op, "the result", (batch, out_channels, *output))
    check_size(op, "the kernel", kernel_shape)
    return ConvGeometry(
        batch,
        channels,
        out_channels,
        groups,
        tuple(image),
        tuple(kernel),
        output,
        steps,
        pairs,
        spread,
    )


def transposed_image(
    op: str,
    image: Sequence[int],
    kernel: Sequence[int],
    stride: Any,
    padding: Any,
    output_padding: Any,
    dilation: Any,
) -> tuple[int, ...]:
    """Spatial sizes that a transposed convolution makes of ``image``.

    They are the ``input_shape`` for :func:`conv_input_grad`; ``output_padding`` picks one of the
    ``stride`` sizes that a convolution maps to the same output.

    >>> transposed_image("conv_transpose2d", (4, 4), (3, 3), 2, 1, 1, 1)
    (8, 8)
    """
    ndim = len(image)
    steps = per_axis(op, "stride", stride, ndim, 1)
    extra = per_axis(op, "output_padding", output_padding, ndim, 0)
    spread = per_axis(op, "dilation", dilation, ndim, 1)
    pairs = pad_pairs(op, padding, ndim)
    sizes = []
    for size, k, s, e, d, (low, high) in zip(
        image, kernel, steps, extra, spread, pairs, strict=True
    ):
        if e >= max(s, d):
            raise ValueError(
                f"{op}: output_padding {e} must be smaller than stride {s} or dilation {d}"
            )
        sizes.append((size - 1) * s + d * (k - 1) + 1 + e - low - high)
    if min(sizes) < 1:
        raise ValueError(
            f"{op}: an image of shape {tuple(image)} with kernel {tuple(kernel)} and padding "
            f"{padding!r} would give the empty size {tuple(sizes)}; pad less"
        )
    return tuple(sizes)


@dataclass(frozen=True, slots=True)
class PoolGeometry:
    """Everything about a pooling but its numbers; see :class:`ConvGeometry` for the window rule."""

    input_shape: tuple[int, ...]
    kernel: tuple[int, ...]
    output: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    dilation: tuple[int, ...]

    @property
    def image(self) -> tuple[int, ...]:
        return self.input_shape[2:]

    @property
    def output_shape(self) -> tuple[int, ...]:
        return (*self.input_shape[:2], *self.output)


def check_planes(op: str, input_shape: Sequence[int]) -> tuple[int, ...]:
    """``input_shape`` as (N, C, *S) with one to three non-empty spatial axes."""
    shape = tuple(_integer(op, "input shape", size) for size in input_shape)
    if len(shape) not in (3, 4, 5):
        raise ValueError(
            f"{op}: input of shape {shape} must have 3, 4 or 5 axes: batch, channels and 1 to 3 "
            "spatial ones; add a batch axis with x[None]"
        )
    if min(shape) < 0 or min(shape[2:]) < 1:
        raise ValueError(f"{op}: input of shape {shape} has no pixels")
    check_size(op, "the input", shape)
    return shape


def pool_geometry(
    op: str,
    input_shape: Sequence[int],
    kernel_size: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    ceil_mode: bool,
) -> PoolGeometry:
    """Check a pooling over ``input_shape`` (N, C, *S); ``stride=None`` means the kernel's size.

    Raises:
        ValueError: a rank is wrong, the window does not fit, or padding exceeds half of it.
        OverflowError: a size is beyond 64-bit offsets.
        TypeError: an argument is not made of integers.
    """
    shape = check_planes(op, input_shape)
    ndim = len(shape) - 2
    kernel = per_axis(op, "kernel_size", kernel_size, ndim, 1)
    empty = stride is None or (isinstance(stride, Sequence) and not stride)
    steps = kernel if empty else per_axis(op, "stride", stride, ndim, 1)
    spread = per_axis(op, "dilation", dilation, ndim, 1)
    pairs = pad_pairs(op, padding, ndim)
    for k, d, (low, high) in zip(kernel, spread, pairs, strict=True):
        half = (d * (k - 1) + 1) // 2
        if not (0 <= low <= half and 0 <= high <= half):
            raise ValueError(
                f"{op}: padding ({low}, {high}) must be between 0 and {half}, half of what a "
                f"kernel of size {k} and dilation {d} spans"
            )
    output = window_counts(op, shape[2:], kernel, steps, pairs, spread, bool(ceil_mode))
    check_padded(op, shape, pairs)
    check_size(op, "the result", (*shape[:2], *output))
    return PoolGeometry(shape, kernel, output, steps, pairs, spread)


def adaptive_bounds(size: int, count: int) -> list[tuple[int, int]]:
    """First and past-last pixel of each of ``count`` near-equal windows over ``size`` pixels.

    >>> adaptive_bounds(5, 3)
    [(0, 2), (1, 4), (3, 5)]
    """
    return [(i * size // count, -(-(i + 1) * size // count)) for i in range(count)]


def adaptive_output(op: str, image: Sequence[int], output_size: Any) -> tuple[int, ...]:
    """``output_size`` per axis, where None keeps the image's size."""
    ndim = len(image)
    if isinstance(output_size, Sequence):
        if len(output_size) != ndim:
            raise ValueError(
                f"{op}: output_size {tuple(output_size)} has {len(output_size)} numbers for {ndim} "
                "spatial axes"
            )
        wanted = output_size
    else:
        wanted = (output_size,) * ndim
    sizes = tuple(
        size if count is None else count for size, count in zip(image, wanted, strict=True)
    )
    sizes = per_axis(op, "output_size", sizes, ndim, 0)
    check_size(op, "the result for each channel", sizes)
    return sizes
