"""Gather and scatter: entries picked and put by index arrays, each pair adjoint."""

from __future__ import annotations

from typing import Any

import numpy as np

from tilegrad.autograd.op import Op
from tilegrad.ops.define import discrete
from tilegrad.ops.selection import where
from tilegrad.ops.shape import getitem, is_basic, put


def along(index: Any, axis: int) -> tuple[Any, ...]:
    """The NumPy index of torch's gather: ``index`` along ``axis``, its own position elsewhere."""
    axes = [
        np.arange(size).reshape((1,) * i + (size,) + (1,) * (index.ndim - i - 1))
        for i, size in enumerate(index.shape)
    ]
    axes[axis] = index
    return tuple(axes)


def _gather(x: Any, index: Any, axis: int) -> Any:
    x, index = np.asarray(x), np.asarray(index)
    if not index.size:
        return np.empty(index.shape, x.dtype)
    if not x.ndim or not index.ndim:
        return np.asarray(np.reshape(x, -1)[np.reshape(index, -1)].reshape(index.shape))
    return np.asarray(x[along(index, axis)])


def _scatter_add(x: Any, src: Any, index: Any, axis: int) -> Any:
    out, index = np.array(x), np.asarray(index)
    if not index.size:
        return out
    if not out.ndim:
        return np.asarray(out + np.sum(src))
    np.add.at(out, along(index, axis), np.asarray(src)[tuple(map(slice, index.shape))])
    return out


def _scatter(x: Any, src: Any, index: Any, axis: int) -> Any:
    out, index, src = np.array(x), np.asarray(index), np.asarray(src)
    if not out.ndim:
        out[...] = src.reshape(-1)[-1] if src.size else out
        return out
    out[along(index, axis)] = src[tuple(map(slice, index.shape))] if src.ndim else src
    return out


def _zeros(shape: tuple[int, ...], like: Any) -> Any:
    return np.zeros(shape, dtype=like.dtype)


#: ``out[i, j] = x[index[i, j], j]`` for axis 0, and so on.
gather = Op(
    "gather", _gather, batch="axis", inputs=["x", "index"],
    vjp={"x": lambda g, index, axis, x_shape: scatter_add(_zeros(x_shape, g), g, index, axis)},
    jvp={"x": lambda t, index, axis: gather(t, index, axis)},
)  # fmt: skip


def _embedded(g: Any, index: Any, axis: int, src_shape: tuple[int, ...]) -> Any:
    """The gradient of ``src``, which may be larger than ``index``: zeros beyond it."""
    picked = gather(g, index, axis)
    if picked.shape == src_shape:
        return picked
    return put(picked, tuple(slice(0, size) for size in index.shape), src_shape)


#: ``x`` with ``src`` added at ``index``; repeated entries add up.
scatter_add = Op(
    "scatter_add", _scatter_add, batch="axis", inputs=["x", "src", "index"],
    vjp={"x": lambda g: g, "src": _embedded},
    jvp={
        "x": lambda t: t,
        "src": lambda t, x, index, axis: scatter_add(_zeros(x.shape, t), t, index, axis),
    },
)  # fmt: skip

def _scattered_gradient(g: Any, index: Any, axis: int, src_shape: tuple[int, ...]) -> Any:
    if not g.shape:
        return _embedded(g, index, axis, src_shape)
    index = np.asarray(getattr(index, "_array", index))
    kept = where(_last_writes(along(index, axis), g.shape), gather(g, index, axis), 0.0)
    if kept.shape == src_shape or not src_shape:
        return kept
    return put(kept, tuple(slice(0, size) for size in index.shape), src_shape)


#: ``x`` with ``src`` in place of its entries at ``index``.
scatter = Op(
    "scatter", _scatter, batch="axis", inputs=["x", "src", "index"],
    vjp={
        "x": lambda g, index, axis: scatter(g, np.zeros((), g.dtype), index, axis),
        "src": _scattered_gradient,
    },
    jvp={
        "x": lambda t, index, axis: scatter(t, np.zeros((), t.dtype), index, axis),
        "src": lambda t, x, index, axis: scatter(_zeros(x.shape, t), t, index, axis),
    },
)  # fmt: skip


def _replace(x: Any, value: Any, index: Any) -> Any:
    out = np.array(x)
    out[index] = value
    return out


def _last_writes(index: Any, shape: tuple[int, ...]) -> Any:
    """Where ``x[index] = value`` leaves its mark: of several writes to a place only the last."""
    order = np.zeros(shape, np.int64)
    count = order[index]
    writes = np.arange(count.size).reshape(count.shape)
    order[index] = writes
    return order[index] == writes


def _value_gradient(g: Any, index: Any) -> Any:
    picked = getitem(g, index)
    return picked if is_basic(index) else where(_last_writes(index, g.shape), picked, 0.0)


#: ``x`` with ``value`` (broadcast) at ``index``: what ``x[index] = value`` makes of x.
replace = Op(
    "replace", _replace, batch="index", inputs=["x", "value"],
    vjp={"x": lambda g, index: replace(g, 0.0, index), "value": _value_gradient},
    jvp={
        "x": lambda t, index: replace(t, 0.0, index),
        "value": lambda t, x, index: replace(_zeros(x.shape, t), t, index),
    },
)  # fmt: skip

argsort = discrete(
    "argsort",
    lambda x, axis=-1, descending=False: argsort_array(x, axis, descending),
    "x",
)


def argsort_array(x: Any, axis: int = -1, descending: bool = False) -> Any:
    """The stable sorting permutation; NaN counts as the largest."""
    x = np.asarray(x)
    if not x.ndim:
        return np.zeros((), np.int64)
    if not descending:
        return np.argsort(x, axis=axis, kind="stable")
    # sorting the mirrored array and mirroring back keeps equal entries in order
    mirrored = np.argsort(np.flip(x, axis), axis=axis, kind="stable")
    return np.flip(x.shape[axis] - 1 - mirrored, axis)
