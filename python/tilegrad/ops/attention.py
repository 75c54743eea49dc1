"""Attention, fused; see :mod:`tilegrad.kernels.attention`."""

from __future__ import annotations

from typing import Any

import numpy as np

from tilegrad import kernels
from tilegrad.autograd.batching import on_members
from tilegrad.autograd.op import Op
from tilegrad.kernels.attention import hidden, kept_weights
from tilegrad.ops.arithmetic import add, multiply
from tilegrad.ops.comparison import isneginf
from tilegrad.ops.fused import plain, pull_composed, push_composed
from tilegrad.ops.products import bmm, transpose
from tilegrad.ops.reduction import logsumexp
from tilegrad.ops.selection import where
from tilegrad.ops.shape import expand, getitem, permute, reshape
from tilegrad.ops.softmax import softmax


def repeated(t: Any, heads: int) -> Any:
    """(*B, G, S, d) with every head as often as it takes to make ``heads``."""
    if t.ndim < 3 or t.shape[-3] == heads:
        return t
    *lead, own, steps, size = t.shape
    wide = reshape(t, (*lead, own, 1, steps, size))
    wide = expand(wide, (*lead, own, heads // own, steps, size))
    return reshape(wide, (*lead, heads, steps, size))


def _unseen(mask: Any, causal: bool, queries: int, keys: int) -> Any:
    """True where a score counts nothing, or None."""
    if causal or (mask is not None and mask.dtype.kind == "b"):
        return on_members(lambda m: hidden(m, causal, queries, keys), mask)
    return None


def composed(seed: Any, causal: bool, scale: float, dropout: float) -> Any:
    """Attention of elementary operations, with its scores as one array."""

    def attend(q: Any, k: Any, v: Any, mask: Any) -> tuple[Any, Any]:
        heads = q.shape[-3] if q.ndim > 2 else 1
        k, v = repeated(k, heads), repeated(v, heads)
        scores = bmm(multiply(q, scale), transpose(k))
        zero = np.asarray(0, scores.dtype)
        if mask is not None and mask.dtype.kind == "f":
            scores = add(scores, mask)
        unseen = _unseen(mask, causal, q.shape[-2], k.shape[-2])
        if unseen is not None:
            scores = where(unseen, zero - np.inf, scores)
        log_sum = logsumexp(scores, -1)
        blind = isneginf(reshape(log_sum, (*log_sum.shape, 1)))  # queries that see no key
        weights = where(blind, zero, softmax(where(blind, zero, scores), -1))
        if dropout:
            weights = multiply(weights, kept_weights(weights.shape, seed, dropout, weights.dtype))
        return bmm(weights, v), log_sum

    return attend


def _pull(
    g: Any, q: Any, k: Any, v: Any, mask: Any, seed: Any, y: Any, log_sum: Any,
    needs: tuple[bool, ...], causal: bool, scale: float, dropout: float,
) -> Any:  # fmt: skip
    if plain((*g, q, k, v)) and g[1] is None and not needs[3]:
        found = kernels.attention_grad(
            g[0], q, k, v, mask, seed, y, log_sum, causal, scale, dropout
        )
        return *found, None
    attend = composed(seed, causal, scale, dropout)
    return pull_composed(attend, (q, k, v, mask), g, needs)


def _push(
    t: Any, q: Any, k: Any, v: Any, mask: Any, seed: Any, causal: bool, scale: float,
    dropout: float,
) -> Any:  # fmt: skip
    return push_composed(composed(seed, causal, scale, dropout), (q, k, v, mask), t)


#: ``(y, log_sum)`` of q (*B, H, L, d), k (*B, G, S, d), v (*B, G, S, e); mask and seed or None.
attention = Op(
    "attention", kernels.attention, inputs=["q", "k", "v", "mask", "seed"],
    outputs=["y", "log_sum"],
    vjp={"q k v mask": _pull},
    jvp={"q k v mask": _push},
)  # fmt: skip


# ---- query, key and value side by side -----------------------------------------------------------


def _self_composed(
    seed: Any, heads: int, batch_first: bool, causal: bool, scale: float, dropout: float
) -> Any:
    attend = composed(seed, causal, scale, dropout)
    axes = (0, 2, 1, 3) if batch_first else (1, 2, 0, 3)  # (N, H, T, d) of rows of heads
    back = (0, 2, 1, 3) if batch_first else (2, 0, 1, 3)

    def attend_packed(qkv: Any, mask: Any) -> tuple[Any, Any]:
        first, second, width = qkv.shape
        size = width // (3 * heads)
        rows = reshape(qkv, (first, second, 3, heads, size))
        parts = (getitem(rows, (slice(None), slice(None), i)) for i in range(3))
        y, log_sum = attend(*(permute(part, axes) for part in parts), mask)
        return reshape(permute(y, back), (first, second, heads * size)), log_sum

    return attend_packed


def _self_pull(
    g: Any, qkv: Any, mask: Any, seed: Any, y: Any, log_sum: Any, needs: tuple[bool, ...],
    heads: int, batch_first: bool, causal: bool, scale: float, dropout: float,
) -> Any:  # fmt: skip
    if plain((*g, qkv)) and g[1] is None and not needs[1]:
        dqkv = kernels.self_attention_grad(
            g[0], qkv, mask, seed, y, log_sum, heads, batch_first, causal, scale, dropout
        )
        return dqkv, None
    attend = _self_composed(seed, heads, batch_first, causal, scale, dropout)
    return pull_composed(attend, (qkv, mask), g, needs)


def _self_push(
    t: Any, qkv: Any, mask: Any, seed: Any, heads: int, batch_first: bool, causal: bool,
    scale: float, dropout: float,
) -> Any:  # fmt: skip
    attend = _self_composed(seed, heads, batch_first, causal, scale, dropout)
    return push_composed(attend, (qkv, mask), t)


#: ``(y, log_sum)`` of qkv (T, N, 3 H d) or, with batch_first, (N, T, 3 H d); mask, seed or None.
self_attention = Op(
    "self_attention", kernels.self_attention, inputs=["qkv", "mask", "seed"],
    outputs=["y", "log_sum"],
    vjp={"qkv mask": _self_pull},
    jvp={"qkv mask": _self_push},
)  # fmt: skip
