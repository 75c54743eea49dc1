"""Softmax, its logarithm, log-sum-exp and cross-entropy, with their derivatives.

Everything subtracts the largest element first, so nothing overflows. A row whose elements are all
-inf has no softmax: it gives NaN, and -inf for ``logsumexp``, as in torch. float32 and float64 run
natively.

>>> import numpy as np
>>> softmax(np.array([0.0, 0.0, -np.inf]))
array([0.5, 0.5, 0. ])
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tilegrad.kernels.elementwise import floating
from tilegrad.kernels.registry import kernel, reference

Array = NDArray[Any]

REDUCTIONS = ("none", "sum", "mean")


@kernel
def softmax(x: ArrayLike, axis: int = -1) -> Array:
    """``exp(x) / sum(exp(x))`` along ``axis``."""
    x = floating(x)
    if x.ndim == 0:
        return np.asarray(x - x + 1)
    with np.errstate(all="ignore"):
        e = np.exp(x - np.max(x, axis=axis, keepdims=True, initial=-np.inf))
        return np.asarray(e / np.sum(e, axis=axis, keepdims=True), order="C")


@kernel
def softmax_grad(g: ArrayLike, y: ArrayLike, axis: int = -1) -> Array:
    """``y (g - sum(g y))``: softmax's derivative, which is symmetric, from its result ``y``."""
    g, y = np.asarray(g), np.asarray(y)
    if y.ndim == 0:
        return np.asarray(g * 0)
    with np.errstate(all="ignore"):
        return np.asarray(y * (g - np.sum(g * y, axis=axis, keepdims=True)), order="C")


@kernel
def log_softmax(x: ArrayLike, axis: int = -1) -> Array:
    """``x - logsumexp(x)`` along ``axis``."""
    x = floating(x)
    if x.ndim == 0:
        return np.asarray(x - x)
    with np.errstate(all="ignore"):
        z = x - np.max(x, axis=axis, keepdims=True, initial=-np.inf)
        return np.asarray(z - np.log(np.sum(np.exp(z), axis=axis, keepdims=True)), order="C")


@kernel
def log_softmax_grad(g: ArrayLike, y: ArrayLike, axis: int = -1) -> Array:
    """``g - exp(y) sum(g)``: the transposed derivative of log_softmax, from its result ``y``."""
    g, y = np.asarray(g), np.asarray(y)
    if y.ndim == 0:
        return np.asarray(g * 0)
    with np.errstate(all="ignore"):
        return np.asarray(g - np.exp(y) * np.sum(g, axis=axis, keepdims=True), order="C")


@kernel
def logsumexp(
    x: ArrayLike, axis: int | tuple[int, ...] | None = -1, keepdims: bool = False
) -> Array:
    """``log(sum(exp(x)))`` over ``axis``; -inf over an empty one, inf if there is an inf."""
    x = floating(x)
    with np.errstate(all="ignore"):
        top = np.max(x, axis=axis, keepdims=True, initial=-np.inf)
        # exp(x - inf) of an infinite row would be NaN; such a row needs no shift
        shift = np.where(np.isinf(top), top.dtype.type(0), top)
        total = np.log(np.sum(np.exp(x - shift), axis=axis, keepdims=True)) + shift
        return np.asarray(total if keepdims else np.squeeze(total, axis=axis), order="C")


def _check(logits: Array, target: Array, weight: Array | None, reduction: str) -> None:
    if logits.ndim != 2:
        raise ValueError(f"cross_entropy: logits must be (N, C), not {logits.shape}")
    if target.shape != logits.shape[:1]:
        raise ValueError(
            f"cross_entropy: {logits.shape[0]} rows of logits {logits.shape} "
            f"need {logits.shape[0]} labels, not labels of shape {target.shape}"
        )
    if not np.issubdtype(target.dtype, np.integer):
        raise TypeError(f"cross_entropy: labels must be integers, not {target.dtype}")
    if weight is not None and weight.shape != logits.shape[1:]:
        raise ValueError(
            f"cross_entropy: weight must be ({logits.shape[1]},), one for each class, "
            f"not {weight.shape}"
        )
    if reduction not in REDUCTIONS:
        raise ValueError(f"cross_entropy: reduction must be one of {REDUCTIONS}, not {reduction!r}")


def fits_none(classes: int) -> str:
    """What is wrong with a label that is none of ``classes``.

    >>> fits_none(3), fits_none(0)
    ('is outside 0..2 (3 classes)', 'names a class where there are no classes')
    """
    if not classes:
        return "names a class where there are no classes"
    return f"is outside 0..{classes - 1} ({classes} classes)"


def row_distribution(
    target: Array, classes: int, weight: Array, ignore_index: int, smoothing: float
) -> tuple[Array, Array]:
    """Each row's weighted target distribution (N, C), and its weight in the mean (N,)."""
    kept = target != ignore_index
    bad = kept & ((target < 0) | (target >= classes))
    if bad.any():
        row = int(np.argmax(bad))
        raise ValueError(
            f"cross_entropy: label {int(target[row])} in row {row} "
            f"{fits_none(classes)} and is not ignore_index {ignore_index}"
        )
    rows = np.flatnonzero(kept)
    wanted = np.zeros((target.size, classes), weight.dtype)
    if smoothing:
        wanted[rows] = smoothing / classes * weight
    wanted[rows, target[rows]] += (1 - smoothing) * weight[target[rows]]
    total = np.zeros(target.size, weight.dtype)
    total[rows] = weight[target[rows]]
    return wanted, total


@kernel
def cross_entropy(
    logits: ArrayLike,
    target: ArrayLike,
    weight: ArrayLike | None = None,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    reduction: str = "none",
) -> tuple[Array, Array]:
    """Cross-entropy of labels under the softmax of logits, and that softmax for the backward pass.

    Args:
        logits: (N, C) floats. target: (N,) integer labels in [0, C), or ``ignore_index`` for a row
        that counts nothing. weight: (C,) class weights ``w``; all 1 when None. label_smoothing:
        ``s``; every class gets ``s / C`` of a row's target distribution. reduction: "none" for (N,)
        losses; "sum" or "mean" for a 0-d one. The mean is weighted: it divides
            by the sum of ``w[target]`` over the rows that count, as in torch.

    Returns:
        The loss, row by row ``-(1 - s) w[t] log p[t] - s / C sum_c w[c] log p[c]``, and ``p`` (N,
        C). Rows that are ignored lose 0. A class of weight 0 counts nothing even where ``p`` is 0.

    Raises:
        ValueError: shapes do not fit, or a label is out of range (named with its row). An empty
        batch is valid.

    >>> import numpy as np
    >>> loss, p = cross_entropy(np.zeros((1, 4)), np.array([2]))
    >>> float(loss[0])
    1.3862943611198906
    """
    logits, target = floating(logits), np.asarray(target)
    w = np.ones(logits.shape[-1:], logits.dtype)
    if weight is not None:
        w = np.asarray(weight).astype(logits.dtype)
    _check(logits, target, w, reduction)
    wanted, total = row_distribution(target, w.size, w, ignore_index, label_smoothing)
    log_p = reference.log_softmax(logits, 1)
    with np.errstate(all="ignore"):
        # 0 * log 0 counts 0: only wanted classes are asked
        loss = -np.sum(np.where(wanted == 0, wanted, wanted * log_p), axis=1)
        if reduction == "mean":
            loss = np.sum(loss) / np.sum(total)
        elif reduction == "sum":
            loss = np.sum(loss)
        return np.asarray(loss), np.asarray(np.exp(log_p), order="C")


@kernel
def cross_entropy_grad(
    g: ArrayLike,
    p: ArrayLike,
    target: ArrayLike,
    weight: ArrayLike | None = None,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    reduction: str = "none",
) -> Array:
    """The gradient (N, C) of ``sum(g * loss)`` with respect to the logits.

    ``g`` is (N,) for reduction "none", else 0-d; ``p`` is what :func:`cross_entropy` returned. With
    the row's weighted target distribution ``q`` (N, C) it is ``g (p sum(q) - q)``; "mean" also
    divides.
    """
    g, p, target = np.asarray(g), np.asarray(p), np.asarray(target)
    w = np.ones(p.shape[-1:], p.dtype) if weight is None else np.asarray(weight).astype(p.dtype)
    _check(p, target, w, reduction)
    wanted, total = row_distribution(target, w.size, w, ignore_index, label_smoothing)
    with np.errstate(all="ignore"):
        scale = g / np.sum(total) if reduction == "mean" else g
        rows = np.where(target == ignore_index, p.dtype.type(0), scale)[:, None]
        mass = np.sum(wanted, axis=1, keepdims=True)
        # an ignored row has no gradient, whatever its logits were
        return np.asarray(np.where(mass == 0, p.dtype.type(0), rows * (p * mass - wanted)))
