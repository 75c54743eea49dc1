"""What losses share: reductions, and the checks of shapes, labels and weights."""

from __future__ import annotations

from typing import Any

import numpy as np

from tilegrad.autograd.tensor import Tensor
from tilegrad.ops.arithmetic import divide, multiply
from tilegrad.ops.reduction import mean as mean_over
from tilegrad.ops.reduction import sum as sum_over


def values_of(t: Any) -> Any:
    """The plain array of a tensor or array."""
    return t._array if isinstance(t, Tensor) else np.asarray(t)


def chosen(size_average: bool | None, reduce: bool | None, reduction: str) -> str:
    """The reduction, with torch's old pair of flags understood."""
    if size_average is not None or reduce is not None:
        average = True if size_average is None else size_average
        return "none" if reduce is False else ("mean" if average else "sum")
    return reduction


def reduced(op: str, loss: Any, reduction: str) -> Any:
    """``loss`` itself, its mean or its sum."""
    if reduction == "mean":
        return mean_over(loss)
    if reduction == "sum":
        return sum_over(loss)
    if reduction == "none":
        return loss
    raise ValueError(f"{op}: reduction must be 'none', 'mean' or 'sum', not {reduction!r}")


def check_pair(op: str, input: Any, target: Any) -> None:
    """Raise unless the shapes broadcast."""
    try:
        np.broadcast_shapes(input.shape, target.shape)
    except ValueError:
        raise ValueError(
            f"{op}: input of shape {input.shape} and target of shape {target.shape} do not "
            "broadcast; give them one shape"
        ) from None


def check_same(op: str, input: Any, target: Any) -> None:
    if input.shape != target.shape:
        raise ValueError(
            f"{op}: target of shape {target.shape} must have the shape of the input, {input.shape}"
        )


def weighted(loss: Any, weight: Any, reduction: str, op: str) -> Any:
    """torch's weighted reduction: the mean divides by the sum of the weights."""
    if weight is None:
        return reduced(op, loss, reduction)
    loss = multiply(loss, weight)
    if reduction == "mean":
        full = np.broadcast_to(values_of(weight), loss.shape)
        return divide(sum_over(loss), float(full.sum(dtype=np.float64)))
    return reduced(op, loss, reduction)


def labels_of(op: str, target: Any) -> Any:
    # inside vmap the labels stay a tensor: each member has its own
    labels = target if getattr(target, "_batch", ()) else values_of(target)
    if labels.dtype.kind not in "iu":
        raise TypeError(
            f"{op}: labels must be integers, got dtype {labels.dtype}; convert them with .long()"
        )
    return labels


def class_weight(op: str, weight: Any, classes: int) -> Any:
    if weight is None:
        return None
    if weight.shape != (classes,):
        raise ValueError(
            f"{op}: weight of shape {weight.shape} must have shape ({classes},), one for each class"
        )
    return values_of(weight)
