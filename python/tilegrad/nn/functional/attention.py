"""Attention: the scaled dot product, and the multi-head layer around it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tilegrad.autograd.recording import constant, opaque
from tilegrad.functions.random import stream
from tilegrad.nn.functional.dropout import dropout
from tilegrad.ops.arithmetic import add, multiply
from tilegrad.ops.attention import attention, self_attention
from tilegrad.ops.linear import linear
from tilegrad.ops.products import bmm, transpose
from tilegrad.ops.reduction import mean as mean_over
from tilegrad.ops.selection import where
from tilegrad.ops.shape import concatenate, expand, getitem, permute, reshape
from tilegrad.ops.softmax import softmax

Array = np.ndarray[Any, Any]


def additive_mask(mask: Any, dtype: Any, name: str = "attn_mask") -> Any:
    """A mask to be added to scores: floating ones as they are, True as minus infinity."""
    if mask is None or mask.dtype.kind == "f":
        return mask
    if mask.dtype.kind != "b":
        raise TypeError(f"{name} must be of bools or floating, not {mask.dtype}")
    nothing = constant(np.zeros((), dtype))
    return where(mask, constant(nothing - np.inf), nothing)


def causal_mask(rows: int, columns: int, dtype: Any) -> Array:
    """Minus infinity above the diagonal: no entry sees later ones."""
    return np.triu(np.full((rows, columns), -np.inf, dtype), 1)


def attend(
    q: Any, k: Any, v: Any, mask: Any, p: float, scale: float
) -> tuple[Any, Any]:
    """``softmax(scale q k^T + mask) v`` over the last two axes, and the weights."""
    scores = bmm(multiply(q, scale), transpose(k))
    if mask is not None:
        scores = add(scores, mask)
    weights = softmax(scores, -1)
    dropped = dropout(weights, p, True) if p else weights
    return bmm(dropped, v), weights


@opaque
def _fresh_seed() -> Array:
    return stream(None).integers(-(2**63), 2**63, 1, dtype=np.int64)


def fused(
    query: Any, key: Any, value: Any, mask: Any, p: float, causal: bool, scale: float
) -> Any:
    """Attention without an array of scores; of any number of axes in front."""
    seed = _fresh_seed() if p else None
    lead = query.shape[:-3]
    if len(lead) > 1:  # the kernel takes one axis before the heads
        query, key, value = (reshape(t, (-1, *t.shape[-3:])) for t in (query, key, value))
        if mask is not None and mask.ndim > 3:
            mask = expand(mask, (*lead, *mask.shape[-3:]))
            mask = reshape(mask, (-1, *mask.shape[-3:]))
    y, _ = attention(query, key, value, mask, seed, causal, scale, float(p))
    return reshape(y, (*lead, *y.shape[1:])) if len(lead) > 1 else y


def _common_lead(query: Any, key: Any, value: Any, heads: int) -> tuple[Any, Any, Any]:
    """All with the same axes before the last two (with ``heads``, before the last three)."""
    keep = 2 + heads
    lead = np.broadcast_shapes(*(t.shape[:-keep] for t in (query, key, value)))
    query, key, value = (
        t if t.shape[:-keep] == lead else expand(t, (*lead, *t.shape[-keep:]))
        for t in (query, key, value)
    )
    return query, key, value


def scaled_dot_product_attention(
    query: Any, key: Any, value: Any, attn_mask: Any = None, dropout_p: float = 0.0,
    is_causal: bool = False, scale: float | None = None, enable_gqa: bool = False,
) -> Any:  # fmt: skip
    """``softmax(q k^T / sqrt(d) + mask) v``, without an array of L times S numbers.

    Args:
        query: (*, L, d). key: (*, S, d). value: (*, S, e); the axes in front broadcast.
        attn_mask: broadcasts to (*, L, S); bools mark what takes part, floats are added.
        dropout_p: of the weights, always applied.
        is_causal: entry i sees the first i + 1 keys.
        scale: instead of ``1 / sqrt(d)``.
        enable_gqa: fewer heads (axis -3) of keys and values, each for several of the query's.

    Returns:
        (*, L, e); 0 where a query sees no key.

    Raises:
        ValueError: sizes do not fit, or both a mask and ``is_causal`` are given.

    >>> import tilegrad as tg
    >>> q, k, v = tg.zeros(2, 5, 8), tg.ones(2, 7, 8), tg.ones(2, 7, 3)
    >>> tg.nn.functional.scaled_dot_product_attention(q, k, v).shape
    (2, 5, 3)
    """
    name = "scaled_dot_product_attention"
    if min(query.ndim, key.ndim, value.ndim) < 2:
        raise ValueError(f"{name}: query, key and value need at least 2 axes")
    if query.shape[-1] != key.shape[-1] or key.shape[-2] != value.shape[-2]:
        raise ValueError(
            f"{name}: query {query.shape}, key {key.shape} and value {value.shape} do not fit: "
            "query and key must agree in the last axis, key and value in the one before"
        )
    if is_causal and attn_mask is not None:
        raise ValueError(f"{name}: give attn_mask or is_causal, not both")
    if attn_mask is not None and attn_mask.dtype.kind not in "fb":
        raise TypeError(f"{name}: attn_mask must be of bools or floating, not {attn_mask.dtype}")
    query, key, value = _common_lead(query, key, value, 1 if enable_gqa else 0)
    if scale is None:
        scale = 1 / math.sqrt(query.shape[-1]) if query.shape[-1] else 1.0
    return fused(query, key, value, attn_mask, dropout_p, is_causal, scale)


def _merged_mask(attn_mask: Any, padding: Any, batch: int, heads: int, size: Any) -> Any:
    """Both masks as one that broadcasts to (N, H, L, S)."""
    rows, columns = size
    if attn_mask is not None:
        wanted = {2: (rows, columns), 3: (batch * heads, rows, columns)}.get(attn_mask.ndim)
        if attn_mask.shape != wanted:
            raise ValueError(
                f"MultiheadAttention: attn_mask of shape {attn_mask.shape} must have shape "
                f"{(rows, columns)} or {(batch * heads, rows, columns)}"
            )
        if attn_mask.ndim == 3:
            attn_mask = reshape(attn_mask, (batch, heads, rows, columns))
    if padding is None:
        return attn_mask
    if padding.shape != (batch, columns):
        raise ValueError(
            f"MultiheadAttention: key_padding_mask of shape {padding.shape} must have shape "
            f"{(batch, columns)}"
        )
    wide = reshape(padding, (batch, 1, 1, columns))
    return wide if attn_mask is None else add(wide, attn_mask)


def _one_more_key(mask: Any) -> Any:
    """``mask`` for one further key, which is always seen."""
    if mask is None:
        return None
    zeros = constant(np.zeros((*mask.shape[:-1], 1), mask.dtype))
    return concatenate(mask, zeros, axis=mask.ndim - 1)


def _thirds(t: Any, size: int) -> Any:
    """A projection's weights or biases (3E, ...) by query, key and value."""
    return (None,) * 3 if t is None else tuple(
        getitem(t, slice(i * size, (i + 1) * size)) for i in range(3)
    )


def _projected(
    query: Any, key: Any, value: Any, weight: Any, separate: Any, bias: Any
) -> tuple[Any, Any, Any]:
    size = query.shape[2]
    if separate is None and query is key and key is value:
        packed = linear(query, weight, bias)  # one product for the three
        q, k, v = (getitem(packed, (..., slice(i * size, (i + 1) * size))) for i in range(3))
        return q, k, v
    weights = _thirds(weight, size) if separate is None else separate
    operands = zip((query, key, value), weights, _thirds(bias, size), strict=True)
    q, k, v = (linear(t, w, b) for t, w, b in operands)
    return q, k, v


def _by_head(t: Any, heads: int) -> Any:
    """(T, N, E) as (N, H, T, d), a view."""
    return permute(reshape(t, (*t.shape[:2], heads, t.shape[2] // heads)), (1, 2, 0, 3))


def attend_to_self(
    x: Any, weight: Any, bias: Any, heads: int, padding: Any, mask: Any, p: float, causal: bool,
    batch_first: bool,
) -> Any:  # fmt: skip
    """The heads side by side, before the last projection, where x is query, key and value.

    ``x`` is (T, N, E), or (N, T, E) with ``batch_first``; masks are as for the layer.
    """
    batch, steps = x.shape[:2] if batch_first else (x.shape[1], x.shape[0])
    merged = _merged_mask(
        additive_mask(mask, x.dtype), additive_mask(padding, x.dtype, "key_padding_mask"), batch,
        heads, (steps, steps),
    )  # fmt: skip
    seed = _fresh_seed() if p else None
    scale = math.sqrt(heads / x.shape[2])
    packed = linear(x, weight, bias)
    return self_attention(packed, merged, seed, heads, batch_first, causal, scale, float(p))[0]


def _check_operands(query: Any, key: Any, value: Any, embed_dim: int) -> None:
    if query.shape[-1] != embed_dim:
        raise ValueError(
            f"MultiheadAttention: query of shape {query.shape} has {query.shape[-1]} features, "
            f"embed_dim is {embed_dim}"
        )
    if key.shape[:2] != value.shape[:2] or key.shape[1] != query.shape[1]:
        raise ValueError(
            f"MultiheadAttention: query {query.shape}, key {key.shape} and value {value.shape} do "
            "not fit in length or batch"
        )


def multi_head_attention_forward(
    query: Any, key: Any, value: Any, embed_dim_to_check: int, num_heads: int,
    in_proj_weight: Any, in_proj_bias: Any, bias_k: Any, bias_v: Any, add_zero_attn: bool,
    dropout_p: float, out_proj_weight: Any, out_proj_bias: Any, training: bool = True,
    key_padding_mask: Any = None, need_weights: bool = True, attn_mask: Any = None,
    use_separate_proj_weight: bool = False, q_proj_weight: Any = None, k_proj_weight: Any = None,
    v_proj_weight: Any = None, static_k: Any = None, static_v: Any = None,
    average_attn_weights: bool = True, is_causal: bool = False,
) -> tuple[Any, Any]:  # fmt: skip
    """What :class:`tilegrad.nn.MultiheadAttention` computes; time is the first axis.

    Without ``need_weights`` no array of L times S numbers is made, and a query that sees no key
    gets zeros; with it, such a query gets NaN, both as in torch.

    Returns:
        (L, N, E), and the weights (N, L, S) or (N, H, L, S), or None.
    """
    single = query.ndim == 2
    if single:
        query, key, value = (reshape(t, (t.shape[0], 1, t.shape[1])) for t in (query, key, value))
        if key_padding_mask is not None:
            key_padding_mask = reshape(key_padding_mask, (1, -1))
    _check_operands(query, key, value, embed_dim_to_check)
    if is_causal and attn_mask is None:
        raise ValueError("MultiheadAttention: is_causal is a hint and needs an attn_mask")
    length, batch, size = query.shape
    separate = (q_proj_weight, k_proj_weight, v_proj_weight) if use_separate_proj_weight else None
    q, k, v = _projected(query, key, value, in_proj_weight, separate, in_proj_bias)
    padding = additive_mask(key_padding_mask, query.dtype, "key_padding_mask")
    attn_mask = additive_mask(attn_mask, query.dtype)
    if bias_k is not None:
        k = concatenate(k, expand(bias_k, (1, batch, size)), axis=0)
        v = concatenate(v, expand(bias_v, (1, batch, size)), axis=0)
        attn_mask, padding = _one_more_key(attn_mask), _one_more_key(padding)
    head = size // num_heads

    def keys(t: Any, static: Any) -> Any:
        if static is None:
            return _by_head(t, num_heads)
        return reshape(static, (batch, num_heads, *static.shape[1:]))

    q, k, v = _by_head(q, num_heads), keys(k, static_k), keys(v, static_v)
    if add_zero_attn:
        zeros = constant(np.zeros((batch, num_heads, 1, head), k.dtype))
        k, v = concatenate(k, zeros, axis=2), concatenate(v, zeros, axis=2)
        attn_mask, padding = _one_more_key(attn_mask), _one_more_key(padding)
    mask = _merged_mask(attn_mask, padding, batch, num_heads, (length, k.shape[2]))
    p, scale = dropout_p if training else 0.0, math.sqrt(1.0 / head)
    shown = None
    if need_weights:
        y, shown = attend(q, k, v, mask, p, scale)
        if average_attn_weights:
            shown = mean_over(shown, 1)
        if single:
            shown = reshape(shown, shown.shape[1:])
    else:
        y = fused(q, k, v, mask, p, False, scale)
    y = linear(
        reshape(permute(y, (2, 0, 1, 3)), (length, batch, size)), out_proj_weight, out_proj_bias
    )
    return (reshape(y, (length, size)) if single else y), shown


__all__ = ["multi_head_attention_forward", "scaled_dot_product_attention"]
