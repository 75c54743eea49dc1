"""The cross-entropy of labels under the softmax of logits, fused.

With a row's weighted target distribution q (constant), its mass m = sum(q) and p = softmax(x):

    loss = -<q, log p>,    d loss / dx = m p - q,

and the mean divides by a constant as well. Ignored rows have q = 0.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tilegrad import kernels
from tilegrad.autograd.batching import on_members
from tilegrad.autograd.op import Op
from tilegrad.kernels.softmax import row_distribution
from tilegrad.ops.arithmetic import add, multiply, subtract
from tilegrad.ops.reduction import sum as sum_over
from tilegrad.ops.shape import reshape
from tilegrad.ops.softmax import softmax_grad


def _pull(
    g: Any, p: Any, target: Any, weight: Any,
    ignore_index: int, label_smoothing: float, reduction: str,
) -> Any:  # fmt: skip
    by_loss = by_p = None
    if g[0] is not None:
        by_loss = cross_entropy_grad(
            g[0], p, target, weight, ignore_index, label_smoothing, reduction
        )
    if g[1] is not None:
        by_p = softmax_grad(g[1], p, 1)
    if by_loss is None or by_p is None:
        return by_p if by_loss is None else by_loss
    return add(by_loss, by_p)


def _push(
    t: Any, out: Any, target: Any, weight: Any,
    ignore_index: int, label_smoothing: float, reduction: str,
) -> tuple[Any, Any]:  # fmt: skip
    loss, p = out
    slope = cross_entropy_grad(
        np.ones(loss.shape, loss.dtype), p, target, weight, ignore_index, label_smoothing, reduction
    )
    along = sum_over(multiply(slope, t), 1 if reduction == "none" else None)
    return along, softmax_grad(t, p, 1)


#: ``(loss, p)`` of logits (N, C) and integer labels (N,).
cross_entropy = Op(
    "cross_entropy", kernels.cross_entropy, inputs=["logits", "target", "weight"],
    outputs=["loss", "p"],
    vjp={"logits": _pull},
    jvp={"logits": _push},
    batch="cross entropy",
)  # fmt: skip


def _rates(
    p: Any, target: Any, weight: Any,
    ignore_index: int, label_smoothing: float, reduction: str,
) -> tuple[Any, Any]:  # fmt: skip
    """What the gradient is made of: ``m`` (N, 1) and ``q`` (N, C), divided where the loss is."""
    classes, dtype = p.shape[1], p.dtype

    def rates(target: Any, weight: Any) -> tuple[Any, Any]:
        w = np.ones(classes, dtype) if weight is None else np.asarray(weight).astype(dtype)
        wanted, total = row_distribution(
            np.asarray(target), classes, w, ignore_index, label_smoothing
        )
        if reduction == "mean":
            wanted = wanted / np.sum(total)
        return np.sum(wanted, axis=1, keepdims=True), wanted

    mass, wanted = on_members(rates, target, weight)
    return mass, wanted


def _by_g(
    g: Any, p: Any, target: Any, weight: Any,
    ignore_index: int, label_smoothing: float, reduction: str,
) -> Any:  # fmt: skip
    mass, wanted = _rates(p, target, weight, ignore_index, label_smoothing, reduction)
    inner = multiply(g, subtract(multiply(p, mass), wanted))
    return sum_over(inner, 1 if reduction == "none" else None)


def _by_p(
    g: Any, d: Any, p: Any, target: Any, weight: Any,
    ignore_index: int, label_smoothing: float, reduction: str,
) -> Any:  # fmt: skip
    mass, _ = _rates(p, target, weight, ignore_index, label_smoothing, reduction)
    rows = reshape(d, (-1, 1)) if reduction == "none" else d
    return multiply(g, multiply(rows, mass))


#: ``d (m p - q)``: bilinear up to the constant q.
cross_entropy_grad = Op(
    "cross_entropy_grad", kernels.cross_entropy_grad, inputs=["d", "p", "target", "weight"],
    vjp={"d": _by_g, "p": _by_p},
    jvp={
        "d": lambda t, p, target, weight, ignore_index, label_smoothing, reduction:
            cross_entropy_grad(
                t, p, target, weight, ignore_index, label_smoothing, reduction
            ),
        "p": lambda t, d, p, target, weight, ignore_index, label_smoothing, reduction: _by_p(
            t, d, p, target, weight, ignore_index, label_smoothing, reduction
        ),
    },
    batch="cross entropy gradient",
)  # fmt: skip
