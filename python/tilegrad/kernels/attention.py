"""Attention, ``softmax(scale q k^T + mask) v``, and its gradient.

Native code goes through the scores block by block with a running softmax (Dao et al.,
"FlashAttention", 2022), so that no array of queries times keys is made. float32 and float64 of up
to four axes run natively, with heads as views of any strides.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tilegrad.kernels.registry import kernel, reference

Array = NDArray[Any]

#: Bits of a random number that dropout compares.
_BITS = 24


def _check(op: str, q: Array, k: Array, v: Array) -> None:
    fits = (
        q.ndim == k.ndim == v.ndim >= 2
        and q.shape[-1] == k.shape[-1]
        and k.shape[:-1] == v.shape[:-1]
        and q.shape[:-3] == k.shape[:-3]
        and (q.ndim < 3 or (k.shape[-3] > 0 and q.shape[-3] % k.shape[-3] == 0))
    )
    if not fits:
        raise ValueError(
            f"{op}: q {q.shape}, k {k.shape} and v {v.shape} do not fit: expected (*B, H, L, d), "
            "(*B, G, S, d) and (*B, G, S, e) with H a multiple of G"
        )


def kept_weights(shape: tuple[int, ...], seed: Array, dropout: float, dtype: Any) -> Array:
    """What dropout multiplies weights of ``shape`` by: ``1 / (1 - dropout)``, or 0.

    A weight's fate depends on the seed and its place alone: splitmix64 of Steele, Lea and Flood,
    "Fast splittable pseudorandom number generators", 2014.
    """
    with np.errstate(over="ignore"):
        start = np.asarray(seed).reshape(()).astype(np.int64).view(np.uint64)
        z = np.arange(1, int(np.prod(shape)) + 1, dtype=np.uint64)
        z = z * np.uint64(0x9E3779B97F4A7C15) + start
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    kept = z >> np.uint64(64 - _BITS) >= np.uint64(int(dropout * 2**_BITS))
    factor = 1 / (1 - dropout) if dropout < 1 else 0.0
    return np.where(kept, factor, 0.0).astype(dtype).reshape(shape)


def hidden(mask: Array | None, causal: bool, queries: int, keys: int) -> Array | None:
    """True where a score counts nothing, or None: from a mask of bools and from causality."""
    found = None
    if causal:
        found = np.arange(keys) > np.arange(queries)[:, None]
    if mask is not None and mask.dtype == np.bool_:
        found = ~mask if found is None else found | ~mask
    return found


def _repeated(t: Array, heads: int) -> Array:
    """(*B, G, S, d) with every head as often as it takes to make ``heads``."""
    return t if t.ndim < 3 or t.shape[-3] == heads else np.repeat(t, heads // t.shape[-3], axis=-3)


def _scores(
    q: Array, k: Array, mask: Array | None, causal: bool, scale: float
) -> Array:
    scores = scale * (q @ np.swapaxes(k, -1, -2))
    if mask is not None and mask.dtype != np.bool_:
        scores = scores + mask
    unseen = hidden(mask, causal, q.shape[-2], k.shape[-2])
    return scores if unseen is None else np.where(unseen, -np.inf, scores)


@kernel
def attention(
    q: Array,
    k: Array,
    v: Array,
    mask: Array | None = None,
    seed: Array | None = None,
    causal: bool = False,
    scale: float = 1.0,
    dropout: float = 0.0,
) -> tuple[Array, Array]:
    """``softmax(scale q k^T + mask) v`` for every head.

    Args:
        q: (*B, H, L, d), or (L, d). k: (*B, G, S, d) where G divides H: each of its heads serves
        H / G in a row. v: (*B, G, S, e). mask: broadcasts to (*B, H, L, S); numbers are added,
        False hides. seed: one int64, for ``dropout``. causal: query i sees keys 0 ... i. dropout:
        the share of weights that become 0, the others grow by ``1 / (1 - dropout)``.

    Returns:
        ``(y, log_sum)``: (*B, H, L, e), and the logarithms (*B, H, L) of the softmax's
        denominators. A query that sees no key gets 0 and -inf.

    Raises:
        ValueError: shapes do not fit.

    >>> import numpy as np
    >>> y, _ = attention(np.zeros((1, 2)), np.ones((3, 2)), np.array([[0.0], [3.0], [6.0]]))
    >>> float(y[0, 0])
    3.0
    """
    _check("attention", q, k, v)
    heads = q.shape[-3] if q.ndim > 2 else 1
    k, v = _repeated(k, heads), _repeated(v, heads)
    with np.errstate(all="ignore"):
        scores = _scores(q, k, mask, causal, scale)
        top = np.max(scores, axis=-1, keepdims=True, initial=-np.inf)
        weights = np.exp(scores - np.where(top == -np.inf, 0, top))
        total = np.sum(weights, axis=-1, keepdims=True)
        log_sum = (top + np.log(total))[..., 0]
        weights = weights / np.where(total == 0, 1, total)
    if dropout > 0 and seed is not None:
        weights = weights * kept_weights(weights.shape, seed, dropout, weights.dtype)
    dtype = np.result_type(q, k, v)
    return np.asarray((weights @ v).astype(dtype)), np.asarray(log_sum.astype(dtype))


@kernel
def attention_grad(
    g: Array,
    q: Array,
    k: Array,
    v: Array,
    mask: Array | None,
    seed: Array | None,
    y: Array,
    log_sum: Array,
    causal: bool = False,
    scale: float = 1.0,
    dropout: float = 0.0,
) -> tuple[Array, Array, Array]:
    """The gradients ``(dq, dk, dv)`` of :func:`attention` from that of y, ``g``."""
    _check("attention_grad", q, k, v)
    heads, groups = (q.shape[-3], k.shape[-3]) if q.ndim > 2 else (1, 1)
    keys, values = _repeated(k, heads), _repeated(v, heads)
    with np.errstate(all="ignore"):
        shift = log_sum[..., None]
        scores = _scores(q, keys, mask, causal, scale)
        p = np.where(shift == -np.inf, 0, np.exp(scores - shift))
    dp = g @ np.swapaxes(values, -1, -2)
    weights = p
    if dropout > 0 and seed is not None:
        kept = kept_weights(p.shape, seed, dropout, p.dtype)
        dp, weights = dp * kept, p * kept
    ds = p * (dp - np.sum(g * y, axis=-1, keepdims=True))
    dq = scale * (ds @ keys)
    dk = scale * (np.swapaxes(ds, -1, -2) @ q)
    dv = np.swapaxes(weights, -1, -2) @ g
    if groups != heads:
        shape = (*k.shape[:-3], groups, heads // groups, k.shape[-2], -1)
        dk, dv = (t.reshape(shape).sum(axis=-3) for t in (dk, dv))
    return dq.astype(q.dtype), dk.astype(k.dtype), dv.astype(v.dtype)


def split_heads(qkv: Array, heads: int, batch_first: bool) -> tuple[Array, Array, Array]:
    """Query, key and value (N, H, T, d) of rows [q | k | v], as views."""
    if qkv.ndim != 3 or heads <= 0 or qkv.shape[2] % (3 * heads):
        raise ValueError(
            f"self_attention: {heads} heads do not fit qkv of shape {qkv.shape}, which must be "
            "(T, N, 3 H d), or (N, T, 3 H d) with batch_first"
        )
    parts = qkv.reshape(*qkv.shape[:2], 3, heads, qkv.shape[2] // (3 * heads))
    q, k, v = parts.transpose((2, 0, 3, 1, 4) if batch_first else (2, 1, 3, 0, 4))
    return q, k, v


def merge_heads(y: Array, batch_first: bool) -> Array:
    """(N, H, T, d) as (T, N, H d), or (N, T, H d)."""
    rows = y.transpose((0, 2, 1, 3) if batch_first else (2, 0, 1, 3))
    return rows.reshape(*rows.shape[:2], rows.shape[2] * rows.shape[3])


@kernel
def self_attention(
    qkv: Array,
    mask: Array | None = None,
    seed: Array | None = None,
    heads: int = 1,
    batch_first: bool = False,
    causal: bool = False,
    scale: float = 1.0,
    dropout: float = 0.0,
) -> tuple[Array, Array]:
    """:func:`attention` of rows that hold query, key and value side by side.

    Args:
        qkv: (T, N, 3 H d), or (N, T, 3 H d) with ``batch_first``. The others are as there.

    Returns:
        ``(y, log_sum)``: (T, N, H d), or (N, T, H d), and (N, H, T).
    """
    parts = split_heads(qkv, heads, batch_first)
    y, log_sum = reference.attention(*parts, mask, seed, causal, scale, dropout)
    return merge_heads(y, batch_first), log_sum


@kernel
def self_attention_grad(
    g: Array,
    qkv: Array,
    mask: Array | None,
    seed: Array | None,
    y: Array,
    log_sum: Array,
    heads: int = 1,
    batch_first: bool = False,
    causal: bool = False,
    scale: float = 1.0,
    dropout: float = 0.0,
) -> Array:
    """The gradient of :func:`self_attention` by ``qkv`` from that of y, ``g``."""
    parts = split_heads(qkv, heads, batch_first)
    shape = (*y.shape[:2], heads, y.shape[2] // heads)
    axes = (0, 2, 1, 3) if batch_first else (1, 2, 0, 3)
    g, y = (t.reshape(shape).transpose(axes) for t in (g, y))
    found = reference.attention_grad(g, *parts, mask, seed, y, log_sum, causal, scale, dropout)
    return np.concatenate([merge_heads(part, batch_first) for part in found], axis=2)
