"""Losses of margins and distances, and the distances themselves."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tilegrad.nn.functional.loss_rules import (
    check_pair,
    check_same,
    chosen,
    class_weight,
    labels_of,
    reduced,
    values_of,
)
from tilegrad.nn.functional.normalization import vector_norm
from tilegrad.ops.activation import log_sigmoid, softplus
from tilegrad.ops.arithmetic import add, divide, multiply, negative, square, subtract
from tilegrad.ops.exponential import sqrt
from tilegrad.ops.reduction import mean as mean_over
from tilegrad.ops.reduction import sum as sum_over
from tilegrad.ops.selection import clip, maximum, minimum, where
from tilegrad.ops.shape import expand, getitem, reshape


def positive_part(x: Any) -> Any:
    """``max(x, 0)`` whose gradient passes at 0, as torch's clamp_min does."""
    return clip(x, 0.0, None)


def soft_margin_loss(
    input: Any, target: Any, size_average: bool | None = None, reduce: bool | None = None,
    reduction: str = "mean",
) -> Any:  # fmt: skip
    """``log(1 + exp(-t x))`` with targets of 1 and -1."""
    check_pair("soft_margin_loss", input, target)
    loss = softplus(negative(multiply(target, input)), 1.0, math.inf)
    return reduced("soft_margin_loss", loss, chosen(size_average, reduce, reduction))


def hinge_embedding_loss(
    input: Any, target: Any, margin: float = 1.0, size_average: bool | None = None,
    reduce: bool | None = None, reduction: str = "mean",
) -> Any:  # fmt: skip
    """Distances x where the target is 1, ``max(0, margin - x)`` where it is -1."""
    check_pair("hinge_embedding_loss", input, target)
    t = values_of(target)
    far = where(t != 1, positive_part(subtract(margin, input)), 0.0)
    loss = add(far, where(t != -1, input, 0.0))
    return reduced("hinge_embedding_loss", loss, chosen(size_average, reduce, reduction))


def margin_ranking_loss(
    input1: Any, input2: Any, target: Any, margin: float = 0.0, size_average: bool | None = None,
    reduce: bool | None = None, reduction: str = "mean",
) -> Any:  # fmt: skip
    """``max(0, -t (x1 - x2) + margin)``."""
    if not input1.ndim == input2.ndim == target.ndim:
        raise ValueError(
            f"margin_ranking_loss: inputs of shapes {input1.shape}, {input2.shape} and target of "
            f"shape {target.shape} must have as many axes as each other"
        )
    loss = positive_part(add(multiply(negative(target), subtract(input1, input2)), margin))
    return reduced("margin_ranking_loss", loss, chosen(size_average, reduce, reduction))


def cosine_embedding_loss(
    input1: Any, input2: Any, target: Any, margin: float = 0.0, size_average: bool | None = None,
    reduce: bool | None = None, reduction: str = "mean",
) -> Any:  # fmt: skip
    """``1 - cos`` where the target is 1, ``max(0, cos - margin)`` where it is -1."""
    axis = 1 if target.ndim else 0
    if input1.ndim != target.ndim + 1:
        raise ValueError(
            f"cosine_embedding_loss: inputs of shapes {input1.shape} and {input2.shape} must have "
            f"one axis more than the target of shape {target.shape}"
        )
    # torch adds this to the squared lengths; zero vectors then have cosine 0
    tiny = 1e-12
    lengths = multiply(
        add(sum_over(square(input1), axis), tiny), add(sum_over(square(input2), axis), tiny)
    )
    cosine = divide(sum_over(multiply(input1, input2), axis), sqrt(lengths))
    t = values_of(target)
    near = where(t == 1, subtract(1.0, cosine), 0.0)
    loss = add(near, where(t == -1, positive_part(subtract(cosine, margin)), 0.0))
    return reduced("cosine_embedding_loss", loss, chosen(size_average, reduce, reduction))


def multi_margin_loss(
    input: Any, target: Any, p: int = 1, margin: float = 1.0, weight: Any = None,
    size_average: bool | None = None, reduce: bool | None = None, reduction: str = "mean",
) -> Any:  # fmt: skip
    """``sum over i != t of max(0, margin - x[t] + x[i])^p / C``, weighted by class."""
    if p not in (1, 2):
        raise ValueError(f"multi_margin_loss: p must be 1 or 2, got {p}")
    labels = labels_of("multi_margin_loss", target)
    rows = reshape(input, (1, -1)) if input.ndim < 2 else input
    picks = labels.reshape(-1)
    count, classes = rows.shape
    if picks.shape != (count,):
        raise ValueError(
            f"multi_margin_loss: input of shape {input.shape} needs {count} labels, not labels of "
            f"shape {labels.shape}"
        )
    if count and (picks.min() < 0 or picks.max() >= classes):
        raise ValueError(
            f"multi_margin_loss: labels from {picks.min()} to {picks.max()} are outside "
            f"0..{classes - 1}"
        )
    own = reshape(getitem(rows, (np.arange(count), picks)), (count, 1))
    gaps = positive_part(add(subtract(rows, own), margin))
    if p == 2:
        gaps = square(gaps)
    others = np.ones((count, classes), rows.dtype)
    others[np.arange(count), picks] = 0
    if weight is not None:
        others *= class_weight("multi_margin_loss", weight, classes)[picks][:, None]
    loss = divide(sum_over(multiply(gaps, others), 1), float(classes))
    if reduction == "none" and labels.ndim == 0:
        loss = reshape(loss, ())
    return reduced("multi_margin_loss", loss, chosen(size_average, reduce, reduction))


def multilabel_margin_loss(
    input: Any, target: Any, size_average: bool | None = None, reduce: bool | None = None,
    reduction: str = "mean",
) -> Any:  # fmt: skip
    """``sum over labels j and others i of max(0, 1 - (x[j] - x[i])) / C``; -1 ends the labels."""
    labels = labels_of("multilabel_margin_loss", target)
    check_same("multilabel_margin_loss", input, target)
    single = input.ndim < 2
    rows = reshape(input, (1, -1)) if single else input
    labels = labels.reshape(rows.shape)
    count, classes = rows.shape
    if labels.size and (labels.min() < -1 or labels.max() >= classes):
        raise ValueError(
            f"multilabel_margin_loss: labels from {labels.min()} to {labels.max()} are outside "
            f"-1..{classes - 1}"
        )
    listed = np.cumprod(labels >= 0, axis=1).astype(bool)  # those before the first -1
    safe = np.where(listed, labels, 0)
    is_label = np.zeros((count, classes), bool)
    at, position = np.nonzero(listed)
    is_label[at, safe[at, position]] = True
    own = reshape(getitem(rows, (np.arange(count)[:, None], safe)), (count, classes, 1))
    gaps = positive_part(add(subtract(reshape(rows, (count, 1, classes)), own), 1.0))
    counted = (listed[:, :, None] & ~is_label[:, None, :]).astype(rows.dtype)
    loss = divide(sum_over(multiply(gaps, counted), (1, 2)), float(classes))
    if single:
        loss = reshape(loss, ())
    return reduced("multilabel_margin_loss", loss, chosen(size_average, reduce, reduction))


def multilabel_soft_margin_loss(
    input: Any, target: Any, weight: Any = None, size_average: bool | None = None,
    reduce: bool | None = None, reduction: str = "mean",
) -> Any:  # fmt: skip
    """The mean over classes of the binary cross-entropies of logits."""
    positive = multiply(target, log_sigmoid(input))
    loss = negative(
        add(positive, multiply(subtract(1.0, target), log_sigmoid(negative(input))))
    )
    if weight is not None:
        loss = multiply(loss, weight)
    loss = mean_over(loss, loss.ndim - 1) if loss.ndim else loss
    return reduced("multilabel_soft_margin_loss", loss, chosen(size_average, reduce, reduction))


def pairwise_distance(
    x1: Any, x2: Any, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False
) -> Any:
    """The p-norm of ``x1 - x2 + eps`` along the last axis."""
    norm = vector_norm(add(subtract(x1, x2), eps), p, -1)
    return norm if keepdim else reshape(norm, norm.shape[:-1])


def cosine_similarity(x1: Any, x2: Any, dim: int = 1, eps: float = 1e-8) -> Any:
    """The cosine of the angle between vectors along ``dim``; lengths are at least ``eps``."""
    shape = np.broadcast_shapes(x1.shape, x2.shape)
    x1 = expand(x1, shape) if x1.shape != shape else x1
    x2 = expand(x2, shape) if x2.shape != shape else x2
    unit1 = divide(x1, maximum(vector_norm(x1, 2.0, dim), eps))
    unit2 = divide(x2, maximum(vector_norm(x2, 2.0, dim), eps))
    return sum_over(multiply(unit1, unit2), dim)


def triplet_margin_loss(
    anchor: Any, positive: Any, negative: Any, margin: float = 1.0, p: float = 2,
    eps: float = 1e-6, swap: bool = False, size_average: bool | None = None,
    reduce: bool | None = None, reduction: str = "mean",
) -> Any:  # fmt: skip
    """``max(0, margin + |a - p| - |a - n|)``."""
    return triplet_margin_with_distance_loss(
        anchor, positive, negative, margin=margin, swap=swap,
        distance_function=lambda x, y: pairwise_distance(x, y, p, eps),
        reduction=chosen(size_average, reduce, reduction),
    )  # fmt: skip


def triplet_margin_with_distance_loss(
    anchor: Any, positive: Any, negative: Any, *, distance_function: Any = None,
    margin: float = 1.0, swap: bool = False, reduction: str = "mean",
) -> Any:  # fmt: skip
    """:func:`triplet_margin_loss` with any distance."""
    if margin <= 0:
        raise ValueError(f"triplet_margin_loss: margin must be positive, got {margin}")
    distance = distance_function or pairwise_distance
    near, far = distance(anchor, positive), distance(anchor, negative)
    if swap:
        far = minimum(far, distance(positive, negative))
    loss = positive_part(add(subtract(near, far), margin))
    return reduced("triplet_margin_loss", loss, reduction)


__all__ = [
    "cosine_embedding_loss", "cosine_similarity", "hinge_embedding_loss", "margin_ranking_loss",
    "multi_margin_loss", "multilabel_margin_loss", "multilabel_soft_margin_loss",
    "pairwise_distance", "soft_margin_loss", "triplet_margin_loss",
    "triplet_margin_with_distance_loss",
]  # fmt: skip
