"""Losses of classes: cross-entropy of labels and of probabilities, and divergence."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tilegrad.kernels.softmax import fits_none
from tilegrad.nn.functional.activation import log_softmax
from tilegrad.nn.functional.loss_rules import (
    check_pair,
    check_same,
    chosen,
    class_weight,
    labels_of,
    reduced,
    values_of,
)
from tilegrad.ops.activation import log_sigmoid
from tilegrad.ops.arithmetic import add, divide, multiply, negative, subtract
from tilegrad.ops.cross_entropy import cross_entropy as _cross_entropy
from tilegrad.ops.exponential import exp, log
from tilegrad.ops.losses import binary_cross_entropy as _binary_cross_entropy
from tilegrad.ops.reduction import sum as sum_over
from tilegrad.ops.selection import where
from tilegrad.ops.shape import getitem, permute, reshape


def _as_rows(op: str, x: Any, labels: Any) -> tuple[Any, Any, tuple[int, ...]]:
    """(N, C, *S) and (N, *S) as (M, C) and (M,), and the shape of the losses."""
    if x.ndim == 0:
        raise ValueError(f"{op}: input of shape {x.shape} must have a class axis")
    expected = (*x.shape[:1], *x.shape[2:]) if x.ndim > 1 else ()
    if labels.shape != expected:
        raise ValueError(
            f"{op}: input of shape {x.shape} needs labels of shape {expected}, not {labels.shape}"
        )
    if x.ndim == 1:
        return reshape(x, (1, x.shape[0])), labels.reshape(1), ()
    if x.ndim > 2:
        x = permute(x, (0, *range(2, x.ndim), 1))
        count = int(np.prod(x.shape[:-1], dtype=np.int64))
        x = reshape(x, (count, x.shape[-1]))
    return x, labels.reshape(-1), labels.shape


def cross_entropy(
    input: Any, target: Any, weight: Any = None, size_average: bool | None = None,
    ignore_index: int = -100, reduce: bool | None = None, reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Any:  # fmt: skip
    """Cross-entropy of labels, or of class probabilities, under the softmax of logits.

    Args:
        input: logits (N, C), (N, C, *S) or (C,).
        target: integer labels (N,), (N, *S) or 0-d; or probabilities shaped like ``input``.
        weight: (C,) class weights.
        ignore_index: a label that counts nothing.
        reduction: "none", "mean" (weighted, over the labels that count) or "sum".
        label_smoothing: from 0 to 1: this share of every target is spread over all classes.

    Raises:
        ValueError: shapes do not fit, or a label is out of range.
        TypeError: labels are neither integers nor probabilities of the input's shape.

    >>> import tilegrad as tg
    >>> logits, labels = tg.tensor([[2.0, 0.0], [0.0, 1.0]]), tg.tensor([0, 1])
    >>> round(tg.nn.functional.cross_entropy(logits, labels).item(), 4)
    0.2201
    """
    reduction = chosen(size_average, reduce, reduction)
    if not 0.0 <= label_smoothing <= 1.0:
        raise ValueError(
            f"cross_entropy: label_smoothing must be between 0 and 1, got {label_smoothing}"
        )
    if reduction not in ("none", "mean", "sum"):
        raise ValueError(
            f"cross_entropy: reduction must be 'none', 'mean' or 'sum', not {reduction!r}"
        )
    if input.shape == target.shape and target.dtype.kind == "f":
        if ignore_index >= 0:
            raise ValueError("cross_entropy: ignore_index is for labels, the target is floating")
        return _probability_cross_entropy(input, target, weight, reduction, label_smoothing)
    labels = labels_of("cross_entropy", target)
    rows, labels, shape = _as_rows("cross_entropy", input, labels)
    weight = class_weight("cross_entropy", weight, rows.shape[1])
    loss, _ = _cross_entropy(
        rows, labels, weight, ignore_index, float(label_smoothing), reduction
    )
    if reduction == "none" and loss.shape != shape:
        return reshape(loss, shape)
    return loss


def _probability_cross_entropy(
    x: Any, target: Any, weight: Any, reduction: str, smoothing: float
) -> Any:
    axis = 0 if x.ndim == 1 else 1
    classes = x.shape[axis]
    weight = class_weight("cross_entropy", weight, classes)
    if smoothing:
        target = add(multiply(target, 1 - smoothing), smoothing / classes)
    log_p = log_softmax(x, axis)
    if weight is not None:
        log_p = multiply(log_p, weight.reshape([-1 if i == axis else 1 for i in range(x.ndim)]))
    loss = negative(sum_over(multiply(log_p, target), axis))
    if reduction == "mean":
        with np.errstate(all="ignore"):
            return divide(sum_over(loss), float(math.prod(loss.shape)))
    return reduced("cross_entropy", loss, reduction)


def nll_loss(
    input: Any, target: Any, weight: Any = None, size_average: bool | None = None,
    ignore_index: int = -100, reduce: bool | None = None, reduction: str = "mean",
) -> Any:  # fmt: skip
    """The negative log probability of labels; ``input`` holds log probabilities (N, C, *S)."""
    reduction = chosen(size_average, reduce, reduction)
    rows, labels, shape = _as_rows("nll_loss", input, labels_of("nll_loss", target))
    classes = rows.shape[1]
    weight = class_weight("nll_loss", weight, classes)
    kept = labels != ignore_index
    outside = kept & ((labels < 0) | (labels >= classes))
    if outside.any():
        at = int(np.argmax(outside))
        raise ValueError(
            f"nll_loss: label {int(labels[at])} at position {at} "
            f"{fits_none(classes)} and is not ignore_index {ignore_index}"
        )
    safe = np.where(kept, labels, 0)
    w = (np.ones(classes, rows.dtype) if weight is None else weight.astype(rows.dtype))[safe]
    w = np.where(kept, w, w.dtype.type(0))
    picked = getitem(rows, (np.arange(labels.size), safe))
    loss = multiply(where(kept, picked, 0.0), -w)
    if reduction == "mean":
        with np.errstate(all="ignore"):
            return divide(sum_over(loss), w.sum())
    if reduction == "sum":
        return sum_over(loss)
    return reduced("nll_loss", reshape(loss, shape), reduction)


def binary_cross_entropy(
    input: Any, target: Any, weight: Any = None, size_average: bool | None = None,
    reduce: bool | None = None, reduction: str = "mean",
) -> Any:  # fmt: skip
    """``-(t log x + (1 - t) log(1 - x))`` of probabilities; logarithms are bounded by -100."""
    check_same("binary_cross_entropy", input, target)
    values = values_of(input)
    if values.size and not (values.min() >= 0 and values.max() <= 1):
        raise ValueError(
            f"binary_cross_entropy: input must hold probabilities between 0 and 1, it has values "
            f"from {values.min()} to {values.max()}; apply a sigmoid, or use "
            "binary_cross_entropy_with_logits"
        )
    loss = _binary_cross_entropy(input, target)
    if weight is not None:
        loss = multiply(loss, weight)
    return reduced("binary_cross_entropy", loss, chosen(size_average, reduce, reduction))


def binary_cross_entropy_with_logits(
    input: Any, target: Any, weight: Any = None, size_average: bool | None = None,
    reduce: bool | None = None, reduction: str = "mean", pos_weight: Any = None,
) -> Any:  # fmt: skip
    """Binary cross-entropy under the sigmoid of logits; ``pos_weight`` multiplies the positives."""
    check_same("binary_cross_entropy_with_logits", input, target)
    gain = log_sigmoid(input)
    if pos_weight is not None:
        gain = multiply(gain, add(multiply(subtract(pos_weight, 1.0), target), 1.0))
    loss = subtract(multiply(subtract(1.0, target), input), gain)
    if weight is not None:
        loss = multiply(loss, weight)
    return reduced(
        "binary_cross_entropy_with_logits", loss, chosen(size_average, reduce, reduction)
    )


def kl_div(
    input: Any, target: Any, size_average: bool | None = None, reduce: bool | None = None,
    reduction: str = "mean", log_target: bool = False,
) -> Any:  # fmt: skip
    """``t (log t - x)`` of log probabilities x; "batchmean" divides the sum by the batch."""
    check_pair("kl_div", input, target)
    reduction = chosen(size_average, reduce, reduction)
    if log_target:
        loss = multiply(exp(target), subtract(target, input))
    else:
        t = where(values_of(target) != 0, target, 1.0)  # 0 log 0 = 0
        loss = subtract(multiply(target, log(t)), multiply(target, input))
    if reduction == "batchmean":
        total = sum_over(loss)
        return divide(total, float(input.shape[0])) if input.ndim else total
    return reduced("kl_div", loss, reduction)


__all__ = [
    "binary_cross_entropy", "binary_cross_entropy_with_logits", "cross_entropy", "kl_div",
    "nll_loss",
]  # fmt: skip
