"""Losses over sequences and large classifications: CTC, linear cross-entropy."""

from __future__ import annotations

from typing import Any

import numpy as np

from tilegrad.nn.functional.classification import cross_entropy
from tilegrad.nn.functional.loss_rules import reduced, values_of
from tilegrad.ops.arithmetic import add, divide, multiply, negative, subtract
from tilegrad.ops.exponential import exp
from tilegrad.ops.linear import linear
from tilegrad.ops.reduction import logsumexp
from tilegrad.ops.reduction import sum as sum_over
from tilegrad.ops.selection import where
from tilegrad.ops.shape import concatenate, getitem, reshape

Array = np.ndarray[Any, Any]


def _lengths(name: str, lengths: Any, batch: int, most: int) -> Array:
    found = np.atleast_1d(np.asarray(values_of(lengths), np.int64))
    if found.shape != (batch,):
        raise ValueError(f"ctc_loss: {name} must hold {batch} numbers, not {found.shape}")
    if found.size and (found.min() < 0 or found.max() > most):
        raise ValueError(
            f"ctc_loss: {name} from {found.min()} to {found.max()} must be within 0..{most}"
        )
    return found


def _labels(targets: Array, lengths: Array, batch: int) -> Array:
    """Targets as rows (N, S), from rows or from one after the other."""
    if targets.ndim == 2:
        return targets
    rows = np.zeros((batch, int(lengths.max(initial=0))), targets.dtype)
    start = 0
    for i, length in enumerate(lengths):
        rows[i, :length] = targets[start : start + length]
        start += length
    return rows


def ctc_loss(
    log_probs: Any, targets: Any, input_lengths: Any, target_lengths: Any, blank: int = 0,
    reduction: str = "mean", zero_infinity: bool = False,
) -> Any:  # fmt: skip
    """Connectionist temporal classification: Graves et al., 2006.

    Args:
        log_probs: (T, N, C) or (T, C) logarithms of probabilities.
        targets: labels (N, S), or one sequence after the other.
        input_lengths, target_lengths: (N,) numbers of steps and of labels that count.
        blank: the label of no label.
        reduction: "mean" divides by the target lengths first.
        zero_infinity: a loss of infinity, where the input is too short, counts 0.

    Raises:
        ValueError: lengths or labels are out of range.
    """
    single = log_probs.ndim == 2
    x = reshape(log_probs, (log_probs.shape[0], 1, log_probs.shape[1])) if single else log_probs
    steps, batch, classes = x.shape
    labels = np.asarray(values_of(targets))
    if labels.dtype.kind not in "iu":
        raise TypeError(f"ctc_loss: labels must be integers, got dtype {labels.dtype}")
    if not 0 <= blank < classes:
        raise ValueError(f"ctc_loss: blank {blank} is outside 0..{classes - 1}")
    labels = labels.reshape(1, -1) if single and labels.ndim == 1 else labels
    most = labels.shape[1] if labels.ndim == 2 else labels.size
    counts = _lengths("target_lengths", target_lengths, batch, most)
    durations = _lengths("input_lengths", input_lengths, batch, steps)
    rows = _labels(labels, counts, batch)
    size = rows.shape[1]
    # blanks around every label: (N, 2 S + 1)
    path = np.full((batch, 2 * size + 1), blank, np.int64)
    path[:, 1::2] = rows
    within = np.arange(size) < counts[:, None]
    if ((path[:, 1::2] < 0) | (path[:, 1::2] >= classes))[within].any():
        raise ValueError(f"ctc_loss: a label is outside 0..{classes - 1}")
    path[:, 1::2][~within] = blank
    loss = add(_path_loss(x, path, counts, durations, blank), _mass(x, durations))
    if zero_infinity:
        loss = where(np.isinf(values_of(loss)), 0.0, loss)
    if reduction == "mean":
        loss = divide(loss, np.maximum(counts, 1).astype(x.dtype))
        return reduced("ctc_loss", loss, "mean")
    if single and reduction == "none":
        return reshape(loss, ())
    return reduced("ctc_loss", loss, reduction)


def _mass(x: Any, durations: Array) -> Any:
    """Zeros (N,) whose gradient is ``exp(log_probs)`` in the steps that count.

    It vanishes in a log_softmax behind ``log_probs``; with it the gradient by ``log_probs`` alone
    is the one torch and cuDNN give, that by the logits.
    """
    counted = np.arange(x.shape[0])[:, None] < durations
    total = sum_over(multiply(exp(x), counted[:, :, None].astype(x.dtype)), (0, 2))
    return subtract(total, values_of(total))


def _path_loss(x: Any, path: Array, counts: Array, durations: Array, blank: int) -> Any:
    """``-log`` of the sum over all alignments, by the forward recursion: (N,)."""
    batch, places = path.shape
    at = np.arange(batch)[:, None]
    low = np.asarray(-np.inf, x.dtype)
    # two places back is allowed onto a label that differs from the one before
    skip = np.zeros((batch, places), bool)
    skip[:, 2:] = (path[:, 2:] != blank) & (path[:, 2:] != path[:, :-2])
    gap1, gap2 = np.full((batch, 1), low), np.full((batch, 2), low)

    def emitted(t: int) -> Any:
        return getitem(x, (t, at, path))

    if x.shape[0] == 0:
        return np.where(counts == 0, 0.0, np.inf).astype(x.dtype)
    alpha = where(np.arange(places) < 2, emitted(0), low)
    alphas = [alpha]
    for t in range(1, x.shape[0]):
        one = concatenate(gap1, getitem(alpha, (slice(None), slice(0, places - 1))), axis=1)
        back = getitem(alpha, (slice(None), slice(0, max(places - 2, 0))))
        two = concatenate(gap2, back, axis=1) if places > 1 else np.full_like(gap1, low)
        parts = (alpha, one, where(skip, two, low))
        stacked = concatenate(*(reshape(p, (1, batch, places)) for p in parts), axis=0)
        alpha = add(logsumexp(stacked, 0), emitted(t))
        alphas.append(alpha)
    every = concatenate(*(reshape(a, (1, batch, places)) for a in alphas), axis=0)
    rows = np.arange(batch)
    last = np.maximum(durations - 1, 0)
    final = getitem(every, (last, rows, 2 * counts))
    before = getitem(every, (last, rows, np.maximum(2 * counts - 1, 0)))
    before = where(counts > 0, before, low)
    both = concatenate(reshape(final, (1, batch)), reshape(before, (1, batch)), axis=0)
    loss = negative(logsumexp(both, 0))
    return where(durations > 0, loss, np.where(counts == 0, 0.0, np.inf).astype(x.dtype))


def linear_cross_entropy(
    input: Any, linear_weight: Any, target: Any, *, linear_bias: Any = None, weight: Any = None,
    reduction: str = "mean", ignore_index: int | None = None, label_smoothing: float = 0.0,
    options: Any = None,
) -> Any:  # fmt: skip
    """:func:`cross_entropy` of ``linear(input, linear_weight, linear_bias)``.

    ``linear_weight`` is (C, *D, in) and logits are (N, C, *D); ``options`` is accepted.
    """
    shape = linear_weight.shape[:-1]
    flat = reshape(linear_weight, (int(np.prod(shape)), linear_weight.shape[-1]))
    bias = None if linear_bias is None else reshape(linear_bias, (-1,))
    logits = linear(input, flat, bias)
    if len(shape) > 1:
        logits = reshape(logits, (*logits.shape[:-1], *shape))
    ignore = -100 if ignore_index is None else ignore_index
    return cross_entropy(
        logits, target, weight, ignore_index=ignore, reduction=reduction,
        label_smoothing=label_smoothing,
    )  # fmt: skip


__all__ = ["ctc_loss", "linear_cross_entropy"]
