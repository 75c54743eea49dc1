"""Convolutions, transposed convolutions and their column matrices, with torch's signatures."""

from __future__ import annotations

from typing import Any

from tilegrad.kernels.geometry import pad_pairs, per_axis, resolve_padding, transposed_image
from tilegrad.ops import convolution as ops
from tilegrad.ops.arithmetic import add
from tilegrad.ops.shape import put, reshape


def same_dtype(op: str, x: Any, **others: Any) -> None:
    """Raise TypeError unless all that are not None have the dtype of ``x``."""
    for name, value in others.items():
        if value is not None and value.dtype != x.dtype:
            raise TypeError(
                f"{op}: input of dtype {x.dtype} and {name} of dtype {value.dtype} must have one "
                "dtype; convert the input with .to(dtype) or the layer with .to(dtype)"
            )


def batched(op: str, x: Any, ndim: int) -> tuple[Any, bool]:
    """``x`` with a batch axis, and whether one was added."""
    if x.ndim == ndim + 2:
        return x, False
    if x.ndim == ndim + 1:
        return reshape(x, (1, *x.shape)), True
    raise ValueError(
        f"{op}: input of shape {x.shape} must have {ndim + 2} axes (batch, channels and {ndim} "
        f"spatial) or {ndim + 1} without a batch"
    )


def unbatched(y: Any, added: bool) -> Any:
    """``y`` without the batch axis that :func:`batched` added."""
    return reshape(y, y.shape[1:]) if added else y


def _conv(
    op: str, ndim: int, x: Any, weight: Any, bias: Any, stride: Any, padding: Any, dilation: Any,
    groups: int, relu: bool = False, window: tuple[Any, ...] | None = None,
) -> Any:  # fmt: skip
    """The convolution, behind it a ReLU, and behind that the maxima of windows."""
    same_dtype(op, x, weight=weight, bias=bias)
    x, added = batched(op, x, ndim)
    if weight.ndim != ndim + 2:
        raise ValueError(
            f"{op}: weight of shape {weight.shape} must have {ndim + 2} axes: out channels, "
            f"channels / groups and {ndim} spatial"
        )
    if bias is not None and bias.shape != weight.shape[:1]:
        raise ValueError(
            f"{op}: bias of shape {bias.shape} must have shape ({weight.shape[0]},), one number "
            f"per output channel of weight {weight.shape}"
        )
    if isinstance(padding, str):
        padding = resolve_padding(op, padding, weight.shape[2:], stride, dilation)
    if window is not None:
        how = (stride, padding, dilation, groups)
        y, _ = ops.conv_max_pool(x, weight, bias, how, relu, window)
    elif relu:
        y = ops.conv_relu(x, weight, bias, stride, padding, dilation, groups)
    elif bias is not None:
        y = ops.conv_bias(x, weight, bias, stride, padding, dilation, groups)
    else:
        y = ops.conv(x, weight, stride, padding, dilation, groups)
    return unbatched(y, added)


def conv1d(
    input: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0,
    dilation: Any = 1, groups: int = 1,
) -> Any:  # fmt: skip
    """Cross-correlate (N, C, L) or (C, L) with kernels (O, C / groups, K)."""
    return _conv("conv1d", 1, input, weight, bias, stride, padding, dilation, groups)


def conv2d(
    input: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0,
    dilation: Any = 1, groups: int = 1,
) -> Any:  # fmt: skip
    """Cross-correlate (N, C, H, W) or (C, H, W) with kernels (O, C / groups, KH, KW).

    Args:
        input: images.
        weight: kernels.
        bias: (O,) or None.
        stride, dilation: one number or one per axis, at least 1.
        padding: zeros around the image: a number, one per axis, ``"same"`` or ``"valid"``.
        groups: channels are split into so many independent convolutions.

    Returns:
        (N, O, H', W'), or without N.

    Raises:
        ValueError: shapes disagree or the kernel does not fit.
        TypeError: dtypes differ.

    >>> import tilegrad as tg
    >>> tg.nn.functional.conv2d(tg.ones(1, 3, 8, 8), tg.ones(4, 3, 3, 3), padding="same").shape
    (1, 4, 8, 8)
    """
    return _conv("conv2d", 2, input, weight, bias, stride, padding, dilation, groups)


def conv3d(
    input: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0,
    dilation: Any = 1, groups: int = 1,
) -> Any:  # fmt: skip
    """Cross-correlate (N, C, D, H, W) or (C, D, H, W) with kernels (O, C / groups, KD, KH, KW)."""
    return _conv("conv3d", 3, input, weight, bias, stride, padding, dilation, groups)


def _whole_steps(op: str, ndim: int, x: Any, stride: Any, extra: Any) -> tuple[Any, Any]:
    """Output padding of whole strides (with dilation there may be some) as zeros after ``x``."""
    steps = per_axis(op, "stride", stride, ndim, 1)
    extras = per_axis(op, "output_padding", extra, ndim, 0)
    if all(e < s for e, s in zip(extras, steps, strict=True)):
        return x, extras
    sizes = [n + e // s for n, e, s in zip(x.shape[2:], extras, steps, strict=True)]
    inside = (slice(None), slice(None), *(slice(0, n) for n in x.shape[2:]))
    rest = tuple(e % s for e, s in zip(extras, steps, strict=True))
    return put(x, inside, (*x.shape[:2], *sizes)), rest


def _conv_transpose(
    op: str, ndim: int, x: Any, weight: Any, bias: Any, stride: Any, padding: Any,
    output_padding: Any, groups: int, dilation: Any,
) -> Any:  # fmt: skip
    same_dtype(op, x, weight=weight, bias=bias)
    x, added = batched(op, x, ndim)
    if weight.ndim != ndim + 2 or weight.shape[0] != x.shape[1]:
        raise ValueError(
            f"{op}: weight of shape {weight.shape} must be (in channels, out channels / groups, "
            f"{ndim} spatial axes), with the {x.shape[1]} channels of the input of shape {x.shape} "
            "first"
        )
    channels = weight.shape[1] * groups
    if bias is not None and bias.shape != (channels,):
        raise ValueError(
            f"{op}: bias of shape {bias.shape} must have shape ({channels},): {weight.shape[1]} "
            f"output channels per group of weight {weight.shape}, {groups} groups"
        )
    x, output_padding = _whole_steps(op, ndim, x, stride, output_padding)
    image = transposed_image(
        op, x.shape[2:], weight.shape[2:], stride, padding, output_padding, dilation
    )
    shape = (x.shape[0], channels, *image)
    y = ops.conv_input_grad(x, weight, shape, stride, padding, dilation, groups)
    if bias is not None:
        y = add(y, reshape(bias, (1, channels, *[1] * ndim)))
    return unbatched(y, added)


def conv_transpose1d(
    input: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0,
    output_padding: Any = 0, groups: int = 1, dilation: Any = 1,
) -> Any:  # fmt: skip
    """The adjoint of :func:`conv1d` in its image, on (N, C, L) with kernels (C, O / groups, K)."""
    return _conv_transpose(
        "conv_transpose1d", 1, input, weight, bias, stride, padding, output_padding, groups,
        dilation,
    )  # fmt: skip


def conv_transpose2d(
    input: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0,
    output_padding: Any = 0, groups: int = 1, dilation: Any = 1,
) -> Any:  # fmt: skip
    """The adjoint of :func:`conv2d` in its image, on (N, C, H, W) with kernels (C, O / groups, *K).

    ``output_padding`` picks one of the ``stride`` sizes that a convolution maps to the same output.
    """
    return _conv_transpose(
        "conv_transpose2d", 2, input, weight, bias, stride, padding, output_padding, groups,
        dilation,
    )  # fmt: skip


def conv_transpose3d(
    input: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0,
    output_padding: Any = 0, groups: int = 1, dilation: Any = 1,
) -> Any:  # fmt: skip
    """The adjoint of :func:`conv3d` in its image, on (N, C, D, H, W)."""
    return _conv_transpose(
        "conv_transpose3d", 3, input, weight, bias, stride, padding, output_padding, groups,
        dilation,
    )  # fmt: skip


def unfold(
    input: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1
) -> Any:
    """Sliding windows of (N, C, H, W) as columns (N, C * taps, windows): im2col."""
    x, added = batched("unfold", input, 2)
    return unbatched(ops.unfold(x, kernel_size, dilation, padding, stride), added)


def fold(
    input: Any, output_size: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0,
    stride: Any = 1,
) -> Any:  # fmt: skip
    """Columns (N, C * taps, windows) added back to images (N, C, *output_size): col2im."""
    added = input.ndim == 2
    c = reshape(input, (1, *input.shape)) if added else input
    size = per_axis("fold", "output_size", output_size, 2, 1)
    pad_pairs("fold", padding, 2)
    return unbatched(ops.fold(c, size, kernel_size, dilation, padding, stride), added)


#: Larger weights are not worth packing again for every block that is pooled at once.
_MOST_POOLED_WEIGHTS = 2**16


def _layers(x: Any, layer: Any, relu: bool, window: tuple[Any, ...] | None) -> Any:
    x, padding = layer.padded(x)
    return _conv(
        type(layer).__name__, layer.ndim, x, layer.weight, layer.bias, layer.stride, padding,
        layer.dilation, layer.groups, relu, window,
    )  # fmt: skip


def conv_activated(x: Any, layer: Any, _: Any) -> Any:
    """A convolution layer and the ReLU behind it."""
    return _layers(x, layer, True, None)


def conv_pooled(x: Any, layer: Any, *behind: Any) -> Any:
    """A convolution layer and the max pooling behind it, or behind the ReLU between them."""
    *relu, pool = behind
    if pool.return_indices or layer.weight.numel() > _MOST_POOLED_WEIGHTS:
        return pool(_layers(x, layer, True, None) if relu else layer(x))
    window = pool.kernel_size, pool.stride, pool.padding, pool.dilation, pool.ceil_mode
    return _layers(x, layer, bool(relu), window)


__all__ = [
    "conv1d",
    "conv2d",
    "conv3d",
    "conv_transpose1d",
    "conv_transpose2d",
    "conv_transpose3d",
    "fold",
    "unfold",
]
