"""Losses, with torch's signatures and reductions ("none", "mean", "sum")."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tilegrad.autograd.tensor import Tensor
from tilegrad.nn.functional.activation import log_softmax
from tilegrad.nn.functional.normalization import vector_norm
from tilegrad.ops.activation import log_sigmoid, softplus
from tilegrad.ops.arithmetic import (
    absolute,
    add,
    divide,
    multiply,
    negative,
    square,
    subtract,
)
from tilegrad.ops.cross_entropy import cross_entropy as _cross_entropy
from tilegrad.ops.exponential import exp, log, sqrt
from tilegrad.ops.losses import binary_cross_entropy as _binary_cross_entropy
from tilegrad.ops.promotion import result_dtype
from tilegrad.ops.reduction import mean as mean_over
from tilegrad.ops.reduction import sum as sum_over
from tilegrad.ops.selection import clip, maximum, minimum, where
from tilegrad.ops.shape import cast, expand, getitem, permute, reshape


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


def _pair(op: str, input: Any, target: Any) -> None:
    """Raise unless the shapes broadcast."""
    try:
        np.broadcast_shapes(input.shape, target.shape)
    except ValueError:
        raise ValueError(
            f"{op}: input of shape {input.shape} and target of shape {target.shape} do not "
            "broadcast; give them one shape"
        ) from None


def _same(op: str, input: Any, target: Any) -> None:
    if input.shape != target.shape:
        raise ValueError(
            f"{op}: target of shape {target.shape} must have the shape of the input, {input.shape}"
        )


def _weighted(loss: Any, weight: Any, reduction: str, op: str) -> Any:
    """torch's weighted reduction: the mean divides by the sum of the weights."""
    if weight is None:
        return reduced(op, loss, reduction)
    loss = multiply(loss, weight)
    if reduction == "mean":
        full = np.broadcast_to(values_of(weight), loss.shape)
        return divide(sum_over(loss), float(full.sum(dtype=np.float64)))
    return reduced(op, loss, reduction)


# ---- regression ----------------------------------------------------------------------------------


def mse_loss(
    input: Any, target: Any, size_average: bool | None = None, reduce: bool | None = None,
    reduction: str = "mean", weight: Any = None,
) -> Any:  # fmt: skip
    """The square of the difference."""
    _pair("mse_loss", input, target)
    reduction = chosen(size_average, reduce, reduction)
    return _weighted(square(subtract(input, target)), weight, reduction, "mse_loss")


def l1_loss(
    input: Any, target: Any, size_average: bool | None = None, reduce: bool | None = None,
    reduction: str = "mean", weight: Any = None,
) -> Any:  # fmt: skip
    """The absolute difference."""
    _pair("l1_loss", input, target)
    reduction = chosen(size_average, reduce, reduction)
    return _weighted(absolute(subtract(input, target)), weight, reduction, "l1_loss")


def smooth_l1_loss(
    input: Any, target: Any, size_average: bool | None = None, reduce: bool | None = None,
    reduction: str = "mean", beta: float = 1.0,
) -> Any:  # fmt: skip
    """``d^2 / (2 beta)`` where ``|d| < beta``, else ``|d| - beta / 2``."""
    if beta < 0:
        raise ValueError(f"smooth_l1_loss: beta must not be negative, got {beta}")
    if beta == 0:
        return l1_loss(input, target, size_average, reduce, reduction)
    _pair("smooth_l1_loss", input, target)
    d = subtract(input, target)
    near = np.abs(values_of(d)) < beta
    loss = where(near, multiply(square(d), 0.5 / beta), subtract(absolute(d), 0.5 * beta))
    return reduced("smooth_l1_loss", loss, chosen(size_average, reduce, reduction))


def huber_loss(
    input: Any, target: Any, reduction: str = "mean", delta: float = 1.0, weight: Any = None
) -> Any:
    """``d^2 / 2`` where ``|d| <= delta``, else ``delta (|d| - delta / 2)``."""
    if delta <= 0:
        raise ValueError(f"huber_loss: delta must be positive, got {delta}")
    _pair("huber_loss", input, target)
    d = subtract(input, target)
    near = np.abs(values_of(d)) <= delta
    far = multiply(subtract(absolute(d), 0.5 * delta), delta)
    loss = where(near, multiply(square(d), 0.5), far)
    return _weighted(loss, weight, reduction, "huber_loss")


def poisson_nll_loss(
    input: Any, target: Any, log_input: bool = True, full: bool = False,
    size_average: bool | None = None, eps: float = 1e-8, reduce: bool | None = None,
    reduction: str = "mean",
) -> Any:  # fmt: skip
    """The negative log likelihood of counts under a Poisson rate, or under its logarithm."""
    _pair("poisson_nll_loss", input, target)
    if target.dtype.kind != "f" and full:
        target = cast(target, result_dtype(input, 1.0))
    if log_input:
        loss = subtract(exp(input), multiply(target, input))
    else:
        loss = subtract(input, multiply(target, log(add(input, eps))))
    if full:  # Stirling's approximation of log t!, above 1
        large = values_of(target) > 1
        t = where(large, target, 1.0)
        stirling = add(
            subtract(multiply(t, log(t)), t), multiply(log(multiply(t, 2 * math.pi)), 0.5)
        )
        loss = add(loss, where(large, stirling, 0.0))
    return reduced("poisson_nll_loss", loss, chosen(size_average, reduce, reduction))


def gaussian_nll_loss(
    input: Any, target: Any, var: Any, full: bool = False, eps: float = 1e-6,
    reduction: str = "mean",
) -> Any:  # fmt: skip
    """The negative log likelihood of targets under normal distributions."""
    if isinstance(var, (int, float)):
        var = multiply(np.ones(input.shape, input.dtype), var)
    if var.shape != input.shape:
        if input.shape[:-1] == var.shape:
            var = reshape(var, (*var.shape, 1))
        elif input.ndim != var.ndim or any(
            v not in (1, x) for x, v in zip(input.shape, var.shape, strict=True)
        ):
            raise ValueError(
                f"gaussian_nll_loss: var of shape {var.shape} does not fit the input of shape "
                f"{input.shape}: give one variance per entry, or per entry of all axes but the last"
            )
    values = values_of(var)
    if (values < 0).any():
        raise ValueError("gaussian_nll_loss: var has negative entries")
    # the bound moves the value, and the gradient passes as if it did not
    var = add(var, np.maximum(values, values.dtype.type(eps)) - values)
    loss = multiply(add(log(var), divide(square(subtract(input, target)), var)), 0.5)
    if full:
        loss = add(loss, 0.5 * math.log(2 * math.pi))
    return reduced("gaussian_nll_loss", loss, reduction)


# ---- classification ------------------------------------------------------------------------------


def _labels(op: str, target: Any) -> Any:
    # inside vmap the labels stay a tensor: each member has its own
    labels = target if getattr(target, "_batch", ()) else values_of(target)
    if labels.dtype.kind not in "iu":
        raise TypeError(
            f"{op}: labels must be integers, got dtype {labels.dtype}; convert them with .long()"
        )
    return labels


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


def _class_weight(op: str, weight: Any, classes: int) -> Any:
    if weight is None:
        return None
    if weight.shape != (classes,):
        raise ValueError(
            f"{op}: weight of shape {weight.shape} must have shape ({classes},), one for each class"
        )
    return values_of(weight)


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
        return _probability_cross_entropy(input, target, weight, reduction, label_smoothing)
    labels = _labels("cross_entropy", target)
    rows, labels, shape = _as_rows("cross_entropy", input, labels)
    weight = _class_weight("cross_entropy", weight, rows.shape[1])
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
    weight = _class_weight("cross_entropy", weight, classes)
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
    rows, labels, shape = _as_rows("nll_loss", input, _labels("nll_loss", target))
    classes = rows.shape[1]
    weight = _class_weight("nll_loss", weight, classes)
    kept = labels != ignore_index
    outside = kept & ((labels < 0) | (labels >= classes))
    if outside.any():
        at = int(np.argmax(outside))
        raise ValueError(
            f"nll_loss: label {int(labels[at])} at position {at} is outside 0..{classes - 1} "
            f"({classes} classes) and is not ignore_index {ignore_index}"
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
    _same("binary_cross_entropy", input, target)
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
    _same("binary_cross_entropy_with_logits", input, target)
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
    _pair("kl_div", input, target)
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


# ---- margins -------------------------------------------------------------------------------------


def positive_part(x: Any) -> Any:
    """``max(x, 0)`` whose gradient passes at 0, as torch's clamp_min does."""
    return clip(x, 0.0, None)


def soft_margin_loss(
    input: Any, target: Any, size_average: bool | None = None, reduce: bool | None = None,
    reduction: str = "mean",
) -> Any:  # fmt: skip
    """``log(1 + exp(-t x))`` with targets of 1 and -1."""
    _pair("soft_margin_loss", input, target)
    loss = softplus(negative(multiply(target, input)), 1.0, math.inf)
    return reduced("soft_margin_loss", loss, chosen(size_average, reduce, reduction))


def hinge_embedding_loss(
    input: Any, target: Any, margin: float = 1.0, size_average: bool | None = None,
    reduce: bool | None = None, reduction: str = "mean",
) -> Any:  # fmt: skip
    """Distances x where the target is 1, ``max(0, margin - x)`` where it is -1."""
    _pair("hinge_embedding_loss", input, target)
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
    labels = _labels("multi_margin_loss", target)
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
        others *= _class_weight("multi_margin_loss", weight, classes)[picks][:, None]
    loss = divide(sum_over(multiply(gaps, others), 1), float(classes))
    if reduction == "none" and labels.ndim == 0:
        loss = reshape(loss, ())
    return reduced("multi_margin_loss", loss, chosen(size_average, reduce, reduction))


def multilabel_margin_loss(
    input: Any, target: Any, size_average: bool | None = None, reduce: bool | None = None,
    reduction: str = "mean",
) -> Any:  # fmt: skip
    """``sum over labels j and others i of max(0, 1 - (x[j] - x[i])) / C``; -1 ends the labels."""
    labels = _labels("multilabel_margin_loss", target)
    _same("multilabel_margin_loss", input, target)
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
    "binary_cross_entropy", "binary_cross_entropy_with_logits", "cosine_embedding_loss",
    "cosine_similarity", "cross_entropy", "gaussian_nll_loss", "hinge_embedding_loss",
    "huber_loss", "kl_div", "l1_loss", "margin_ranking_loss", "mse_loss", "multi_margin_loss",
    "multilabel_margin_loss", "multilabel_soft_margin_loss", "nll_loss", "pairwise_distance",
    "poisson_nll_loss", "smooth_l1_loss", "soft_margin_loss", "triplet_margin_loss",
    "triplet_margin_with_distance_loss",
]  # fmt: skip
