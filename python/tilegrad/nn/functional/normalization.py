"""Normalisation, with torch's signatures."""

from __future__ import annotations

from typing import Any

import numpy as np

from tilegrad.autograd.recording import opaque
from tilegrad.autograd.tensor import Tensor
from tilegrad.ops import normalization as ops
from tilegrad.ops.arithmetic import absolute, add, divide, multiply, square
from tilegrad.ops.pooling import avg_pool
from tilegrad.ops.power import power
from tilegrad.ops.reduction import amax, count_nonzero, root
from tilegrad.ops.reduction import sum as sum_over
from tilegrad.ops.selection import maximum
from tilegrad.ops.shape import cast, expand, put, reshape


def _values(t: Any) -> Any:
    return t._array if isinstance(t, Tensor) else t


def _store(buffer: Any, values: Any) -> None:
    """Write new statistics into a buffer, in place."""
    if isinstance(buffer, Tensor):
        buffer._array[...] = values
        buffer._bump_version()
    else:
        buffer[...] = values


@opaque
def _update_running(running: Any, found: Any, momentum: float, correction: float) -> None:
    """Move running statistics towards those ``found`` in a batch."""
    if running is not None:
        old = _values(running)
        _store(running, old + momentum * (_values(found) * correction - old))


@opaque
def _inverse_deviation(variance: Any, eps: float) -> Any:
    """``1 / sqrt(variance + eps)``, computed in float64."""
    values = np.asarray(_values(variance))
    wide = values.astype(np.promote_types(values.dtype, np.float64))
    return (1 / np.sqrt(wide + eps)).astype(values.dtype)


def _channel_check(op: str, x: Any, **parameters: Any) -> None:
    if x.ndim < 2:
        raise ValueError(f"{op}: input of shape {x.shape} must have the axes batch and channels")
    for name, value in parameters.items():
        if value is not None and value.shape != (x.shape[1],):
            raise ValueError(
                f"{op}: {name} of shape {value.shape} must have shape ({x.shape[1]},), one number "
                f"per channel of the input of shape {x.shape}"
            )


def batch_norm(
    input: Any, running_mean: Any, running_var: Any, weight: Any = None, bias: Any = None,
    training: bool = False, momentum: float = 0.1, eps: float = 1e-5,
) -> Any:  # fmt: skip
    """Normalise each channel of (N, C, ...) over the batch and all pixels.

    Args:
        input: at least 2 axes.
        running_mean, running_var: (C,) statistics: read in evaluation, updated in training.
        weight, bias: (C,) or None.
        training: take the statistics of this batch.
        momentum: how much of the batch's statistics enters the running ones.
        eps: added to the variance.

    Raises:
        ValueError: shapes disagree, a channel has one value only in training, or eps is negative
            (in training: not positive).
    """
    if not (eps > 0 if training else eps >= 0):
        raise ValueError(
            f"batch_norm: eps must be {'positive in training' if training else 'at least 0'}, "
            f"got {eps}"
        )
    _channel_check(
        "batch_norm", input, weight=weight, bias=bias, running_mean=running_mean,
        running_var=running_var,
    )  # fmt: skip
    if not training:
        if running_mean is None or running_var is None:
            raise ValueError("batch_norm: running_mean and running_var are needed in evaluation")
        mean = np.asarray(_values(running_mean))
        return ops.batch_norm_apply(input, weight, bias, mean, _inverse_deviation(running_var, eps))
    count = input.shape[0] * int(np.prod(input.shape[2:], dtype=np.int64))
    if count == 1:
        raise ValueError(
            f"batch_norm: input of shape {input.shape} has one value per channel; training needs "
            "more than one"
        )
    if count == 0:
        return _empty_batch(input, weight, bias)
    y, mean, _, var = ops.batch_norm(input, weight, bias, eps)
    _update_running(running_mean, mean, momentum, 1.0)
    _update_running(running_var, var, momentum, count / (count - 1))
    return y


def _empty_batch(x: Any, weight: Any, bias: Any) -> Any:
    """No values: nothing to take statistics of, and gradients of zero for the parameters."""
    shape = (1, x.shape[1], *[1] * (x.ndim - 2))
    y = multiply(x, 1.0 if weight is None else reshape(weight, shape))
    return y if bias is None else add(y, reshape(bias, shape))


def instance_norm(
    input: Any, running_mean: Any = None, running_var: Any = None, weight: Any = None,
    bias: Any = None, use_input_stats: bool = True, momentum: float = 0.1, eps: float = 1e-5,
) -> Any:  # fmt: skip
    """Normalise each channel of each image of (N, C, *S) over its pixels."""
    _channel_check("instance_norm", input, weight=weight, bias=bias)
    if not use_input_stats:
        return batch_norm(input, running_mean, running_var, weight, bias, False, momentum, eps)
    pixels = int(np.prod(input.shape[2:], dtype=np.int64))
    if pixels == 1:
        raise ValueError(
            f"instance_norm: input of shape {input.shape} has one pixel per channel; the "
            "statistics of an image need more than one"
        )
    y, _, _ = ops.group_norm(input, weight, bias, input.shape[1], eps)
    if running_mean is not None or running_var is not None:
        values = _values(input)
        axes = tuple(range(2, values.ndim))
        for buffer, found in (
            (running_mean, values.mean(axis=axes)),
            (running_var, values.var(axis=axes, ddof=1)),
        ):
            if buffer is not None:
                old = _values(buffer)
                _store(buffer, old + momentum * (found.mean(axis=0) - old))
    return y


def _normal_shape(op: str, x: Any, normalized_shape: Any) -> tuple[int, ...]:
    shape = (
        (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
    )
    if not shape or x.shape[-len(shape) :] != shape:
        raise ValueError(
            f"{op}: normalized_shape {shape} must be the last axes of the input of shape {x.shape}"
        )
    return shape


def layer_norm(
    input: Any, normalized_shape: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5
) -> Any:
    """Normalise over the last axes, which are ``normalized_shape``."""
    shape = _normal_shape("layer_norm", input, normalized_shape)
    return ops.layer_norm(input, weight, bias, len(shape), eps)[0]


def rms_norm(
    input: Any, normalized_shape: Any, weight: Any = None, eps: float | None = None
) -> Any:
    """Divide by the root mean square over the last axes; eps defaults to the dtype's epsilon."""
    shape = _normal_shape("rms_norm", input, normalized_shape)
    if eps is None:
        eps = float(np.finfo(input.dtype).eps)
    return ops.rms_norm(input, weight, len(shape), eps)[0]


def group_norm(
    input: Any, num_groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5
) -> Any:
    """Normalise each of ``num_groups`` groups of channels of each image of (N, C, *S)."""
    _channel_check("group_norm", input, weight=weight, bias=bias)
    if input.shape[1] % num_groups:
        raise ValueError(
            f"group_norm: {input.shape[1]} channels of the input of shape {input.shape} cannot be "
            f"split into {num_groups} groups"
        )
    return ops.group_norm(input, weight, bias, num_groups, eps)[0]


def local_response_norm(
    input: Any, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0
) -> Any:
    """Divide each entry by ``(k + alpha * mean of squares of neighbouring channels)^beta``."""
    if input.ndim < 3:
        raise ValueError(
            f"local_response_norm: input of shape {input.shape} must have at least 3 axes"
        )
    if 0 in input.shape:
        return input
    channels = input.shape[1]
    pixels = int(np.prod(input.shape[2:], dtype=np.int64))
    squares = reshape(square(input), (input.shape[0], 1, channels, pixels))
    padded = _padded_channels(squares, (size // 2, (size - 1) // 2))
    window = avg_pool(padded, (size, 1), 1, 0, False, True, None)
    mean = reshape(window, input.shape)
    return divide(input, power(add(multiply(mean, alpha), k), beta))


def _padded_channels(x: Any, pair: tuple[int, int]) -> Any:
    low, high = pair
    shape = (x.shape[0], 1, x.shape[2] + low + high, x.shape[3])
    index = (slice(None), slice(None), slice(low, low + x.shape[2]), slice(None))
    return put(x, index, shape)


def normalize(input: Any, p: float = 2.0, dim: Any = 1, eps: float = 1e-12) -> Any:
    """Divide by the p-norm along ``dim``, at least ``eps``."""
    norm = vector_norm(input, p, dim)
    return divide(input, expand(maximum(norm, eps), input.shape))


def vector_norm(x: Any, p: float, dim: Any) -> Any:
    """The p-norm along ``dim``, kept as one."""
    axis = tuple(dim) if isinstance(dim, (tuple, list)) else dim
    if p == 2:
        return root(sum_over(square(x), axis, True))
    if p == 1:
        return sum_over(absolute(x), axis, True)
    if p == float("inf"):
        return amax(absolute(x), axis, True)
    if p == 0:
        return cast(count_nonzero(x, axis, True), x.dtype)
    return power(sum_over(power(absolute(x), p), axis, True), 1.0 / p)


__all__ = [
    "batch_norm",
    "group_norm",
    "instance_norm",
    "layer_norm",
    "local_response_norm",
    "normalize",
    "rms_norm",
]
