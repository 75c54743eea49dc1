"""Attention: the scaled dot product, and the multi-head layer around it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tilegrad.autograd.tensor import Tensor
from tilegrad.nn.functional.dropout import dropout
from tilegrad.ops.arithmetic import add, multiply
from tilegrad.ops.linear import linear
from tilegrad.ops.products import bmm, transpose
from tilegrad.ops.reduction import mean as mean_over
from tilegrad.ops.shape import concatenate, expand, getitem, permute, reshape
from tilegrad.ops.softmax import softmax

Array = np.ndarray[Any, Any]


def _values(t: Any) -> Array:
    return t._array if isinstance(t, Tensor) else np.asarray(t)


def additive_mask(mask: Any, dtype: Any, name: str = "attn_mask") -> Any:
    """A mask to be added to scores: floating ones as they are, True as minus infinity."""
    if mask is None:
        return None
    if mask.dtype.kind == "f":
        return mask
    if mask.dtype.kind != "b":
        raise TypeError(f"{name} must be of bools or floating, not {mask.dtype}")
    return np.where(_values(mask), np.asarray(-np.inf, dtype), np.asarray(0, dtype))


def causal_mask(rows: int, columns: int, dtype: Any) -> Array:
    """Minus infinity above the diagonal: no entry sees later ones."""
    return np.triu(np.full((rows, columns), -np.inf, dtype), 1)


def attend(
    q: Any, k: Any, v: Any, mask: Any, p: float, scale: float, training: bool = True
) -> tuple[Any, Any]:
    """``softmax(scale q k^T + mask) v`` over the last two axes, and the weights."""
    scores = bmm(multiply(q, scale), transpose(k))
    if mask is not None:
        scores = add(scores, mask)
    weights = softmax(scores, -1)
    dropped = dropout(weights, p, True) if p and training else weights
    return bmm(dropped, v), weights


def scaled_dot_product_attention(
    query: Any, key: Any, value: Any, attn_mask: Any = None, dropout_p: float = 0.0,
    is_causal: bool = False, scale: float | None = None, enable_gqa: bool = False,
) -> Any:  # fmt: skip
    """``softmax(q k^T / sqrt(d) + mask) v``.

    Args:
        query: (*, L, d). key: (*, S, d). value: (*, S, dv).
        attn_mask: broadcasts to (*, L, S); bools mark what takes part, floats are added.
        dropout_p: of the weights, always applied.
        is_causal: entry i sees the first i + 1 keys.
        scale: instead of ``1 / sqrt(d)``.
        enable_gqa: fewer heads (axis -3) of keys and values, each for several of the query's.

    Raises:
        ValueError: sizes do not fit, or both a mask and ``is_causal`` are given.
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
    if enable_gqa:
        key, value = (_repeated(t, query.shape[-3]) for t in (key, value))
    if is_causal:
        attn_mask = causal_mask(query.shape[-2], key.shape[-2], query.dtype)
    elif attn_mask is not None and attn_mask.dtype.kind == "b":
        attn_mask = additive_mask(~_values(attn_mask), query.dtype)
    if scale is None:
        scale = 1 / math.sqrt(query.shape[-1]) if query.shape[-1] else 1.0
    return attend(query, key, value, attn_mask, dropout_p, scale)[0]


def _repeated(t: Any, heads: int) -> Any:
    """(*, H, S, d) with each head repeated to ``heads`` in all."""
    *lead, own, steps, size = t.shape
    if heads % own:
        raise ValueError(f"attention: {heads} query heads are no multiple of {own} key heads")
    wide = reshape(t, (*lead, own, 1, steps, size))
    wide = expand(wide, (*lead, own, heads // own, steps, size))
    return reshape(wide, (*lead, heads, steps, size))


def _merged_mask(attn_mask: Any, padding: Any, batch: int, heads: int, size: Any) -> Any:
    """Both masks as one that broadcasts to (N * H, L, S)."""
    rows, columns = size
    if attn_mask is not None:
        wanted = {2: (rows, columns), 3: (batch * heads, rows, columns)}.get(attn_mask.ndim)
        if attn_mask.shape != wanted:
            raise ValueError(
                f"MultiheadAttention: attn_mask of shape {attn_mask.shape} must have shape "
                f"{(rows, columns)} or {(batch * heads, rows, columns)}"
            )
    if padding is None:
        return attn_mask
    if padding.shape != (batch, columns):
        raise ValueError(
            f"MultiheadAttention: key_padding_mask of shape {padding.shape} must have shape "
            f"{(batch, columns)}"
        )
    wide = expand(reshape(padding, (batch, 1, 1, columns)), (batch, heads, 1, columns))
    wide = reshape(wide, (batch * heads, 1, columns))
    return wide if attn_mask is None else add(wide, attn_mask)


def _one_more_key(mask: Any) -> Any:
    """``mask`` for one further key, which is always seen."""
    if mask is None:
        return None
    zeros = np.zeros((*mask.shape[:-1], 1), mask.dtype)
    return concatenate(mask, zeros, axis=mask.ndim - 1)


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

    Returns:
        (L, N, E), and the weights (N, L, S) or (N, H, L, S), or None.
    """
    single = query.ndim == 2
    if single:
        query, key, value = (reshape(t, (t.shape[0], 1, t.shape[1])) for t in (query, key, value))
        if key_padding_mask is not None:
            key_padding_mask = reshape(key_padding_mask, (1, -1))
    length, batch, size = query.shape
    if size != embed_dim_to_check:
        raise ValueError(
            f"MultiheadAttention: query of shape {query.shape} has {size} features, embed_dim is "
            f"{embed_dim_to_check}"
        )
    if key.shape[:2] != value.shape[:2] or key.shape[1] != batch:
        raise ValueError(
            f"MultiheadAttention: query {query.shape}, key {key.shape} and value {value.shape} do "
            "not fit in length or batch"
        )
    if is_causal and attn_mask is None:
        raise ValueError("MultiheadAttention: is_causal is a hint and needs an attn_mask")
    weights = (
        (q_proj_weight, k_proj_weight, v_proj_weight)
        if use_separate_proj_weight
        else tuple(
            getitem(in_proj_weight, slice(i * size, (i + 1) * size)) for i in range(3)
        )
    )
    if query is key and key is value and not use_separate_proj_weight:
        packed = linear(query, in_proj_weight, in_proj_bias)  # (L, N, 3E)
        q, k, v = (
            getitem(packed, (..., slice(i * size, (i + 1) * size))) for i in range(3)
        )
    else:
        biases = (
            (None, None, None)
            if in_proj_bias is None
            else tuple(getitem(in_proj_bias, slice(i * size, (i + 1) * size)) for i in range(3))
        )
        q, k, v = (
            linear(t, w, b) for t, w, b in zip((query, key, value), weights, biases, strict=True)
        )
    padding = additive_mask(key_padding_mask, query.dtype, "key_padding_mask")
    attn_mask = additive_mask(attn_mask, query.dtype)
    if bias_k is not None:
        k = concatenate(k, expand(bias_k, (1, batch, size)), axis=0)
        v = concatenate(v, expand(bias_v, (1, batch, size)), axis=0)
        attn_mask, padding = _one_more_key(attn_mask), _one_more_key(padding)
    head = size // num_heads

    def by_head(t: Any) -> Any:
        """(T, N, E) as (N * H, T, head)."""
        return permute(reshape(t, (t.shape[0], batch * num_heads, head)), (1, 0, 2))

    q = by_head(q)
    k = by_head(k) if static_k is None else static_k
    v = by_head(v) if static_v is None else static_v
    if add_zero_attn:
        zeros = np.zeros((batch * num_heads, 1, head), k.dtype)
        k, v = concatenate(k, zeros, axis=1), concatenate(v, zeros, axis=1)
        attn_mask, padding = _one_more_key(attn_mask), _one_more_key(padding)
    mask = _merged_mask(attn_mask, padding, batch, num_heads, (length, k.shape[1]))
    y, found = attend(
        q, k, v, mask, dropout_p, math.sqrt(1.0 / head), training
    )
    y = reshape(permute(y, (1, 0, 2)), (length, batch, size))
    y = linear(y, out_proj_weight, out_proj_bias)
    shown = None
    if need_weights:
        shown = reshape(found, (batch, num_heads, length, k.shape[1]))
        if average_attn_weights:
            shown = mean_over(shown, 1)
        if single:
            shown = reshape(shown, shown.shape[1:])
    return (reshape(y, (length, size)) if single else y), shown


__all__ = ["multi_head_attention_forward", "scaled_dot_product_attention"]
