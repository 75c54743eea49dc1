"""Recurrent layers over whole sequences, fused; see :mod:`tilegrad.kernels.recurrent`."""

from __future__ import annotations

from typing import Any

import numpy as np

from tilegrad import kernels
from tilegrad.autograd.op import Op
from tilegrad.ops.activation import relu
from tilegrad.ops.arithmetic import add, multiply, subtract
from tilegrad.ops.exponential import sigmoid, tanh
from tilegrad.ops.fused import plain, pull_composed, push_composed
from tilegrad.ops.linear import linear
from tilegrad.ops.shape import concatenate, getitem, reshape


def _columns(z: Any, k: int, hidden: int) -> Any:
    return getitem(z, (slice(None), slice(k * hidden, (k + 1) * hidden)))


def stack(steps: list[Any], empty: Any) -> Any:
    """(N, H) steps as (T, N, H)."""
    if not steps:
        return empty
    return concatenate(*(reshape(h, (1, *h.shape)) for h in steps), axis=0)


# ---- cells ---------------------------------------------------------------------------------------


def lstm_cell(z: Any, c: Any) -> tuple[Any, Any, tuple[Any, ...]]:
    """``(h, c, gates)`` of summed gates z (N, 4H) and cells c (N, H)."""
    hidden = c.shape[-1]
    i, f = sigmoid(_columns(z, 0, hidden)), sigmoid(_columns(z, 1, hidden))
    g, o = tanh(_columns(z, 2, hidden)), sigmoid(_columns(z, 3, hidden))
    c = add(multiply(f, c), multiply(i, g))
    return multiply(o, tanh(c)), c, (i, f, g, o)


def gru_cell(x: Any, share: Any, h: Any) -> tuple[Any, tuple[Any, ...]]:
    """``(h, (r, z, n, m))`` of the input's and the hidden share (N, 3H) and h (N, H)."""
    hidden = h.shape[-1]
    r = sigmoid(add(_columns(x, 0, hidden), _columns(share, 0, hidden)))
    z = sigmoid(add(_columns(x, 1, hidden), _columns(share, 1, hidden)))
    m = _columns(share, 2, hidden)
    n = tanh(add(_columns(x, 2, hidden), multiply(r, m)))
    return add(n, multiply(z, subtract(h, n))), (r, z, n, m)


# ---- LSTM ----------------------------------------------------------------------------------------


def _lstm_composed(x: Any, h0: Any, c0: Any, w: Any) -> tuple[Any, Any, Any]:
    h, c = h0, c0
    ys, cells, gates = [], [], []
    for t in range(x.shape[0]):
        h, c, parts = lstm_cell(add(getitem(x, t), linear(h, w, None)), c)
        ys.append(h)
        cells.append(c)
        gates.append(concatenate(*parts, axis=1))
    empty = np.zeros((0, *h0.shape), h0.dtype)
    return stack(ys, empty), stack(cells, empty), stack(gates, x)


def _lstm_pull(
    g: Any, x: Any, h0: Any, c0: Any, w: Any, y: Any, cells: Any, gates: Any,
    needs: tuple[bool, ...],
) -> Any:  # fmt: skip
    if plain((*g, x)) and g[2] is None:
        return kernels.lstm_grad(g[0], g[1], y, cells, gates, h0, c0, w)
    return pull_composed(_lstm_composed, (x, h0, c0, w), g, needs)


#: ``(y, cells, gates)`` of x (T, N, 4H), h0 and c0 (N, H), w (4H, H).
lstm = Op(
    "lstm", kernels.lstm, inputs=["x", "h0", "c0", "w"], outputs=["y", "cells", "gates"],
    vjp={"x h0 c0 w": _lstm_pull},
    jvp={"x h0 c0 w": lambda t, x, h0, c0, w: push_composed(_lstm_composed, (x, h0, c0, w), t)},
)  # fmt: skip


# ---- GRU -----------------------------------------------------------------------------------------


def _gru_composed(x: Any, h0: Any, w: Any, b: Any) -> tuple[Any, Any]:
    h = h0
    ys, gates = [], []
    for t in range(x.shape[0]):
        h, parts = gru_cell(getitem(x, t), linear(h, w, b), h)
        ys.append(h)
        gates.append(concatenate(*parts, axis=1))
    empty = np.zeros((0, *h0.shape), h0.dtype)
    wide = np.zeros((0, h0.shape[0], 4 * h0.shape[1]), h0.dtype)
    return stack(ys, empty), stack(gates, wide)


def _gru_pull(
    g: Any, x: Any, h0: Any, w: Any, b: Any, y: Any, gates: Any, needs: tuple[bool, ...]
) -> Any:
    if plain((*g, x)) and g[1] is None:
        return kernels.gru_grad(g[0], y, gates, h0, w)
    return pull_composed(_gru_composed, (x, h0, w, b), g, needs)


#: ``(y, gates)`` of x (T, N, 3H), h0 (N, H), w (3H, H), b (3H,).
gru = Op(
    "gru", kernels.gru, inputs=["x", "h0", "w", "b"], outputs=["y", "gates"],
    vjp={"x h0 w b": _gru_pull},
    jvp={"x h0 w b": lambda t, x, h0, w, b: push_composed(_gru_composed, (x, h0, w, b), t)},
)  # fmt: skip


# ---- the plain cell ------------------------------------------------------------------------------


def _rnn_composed(x: Any, h0: Any, w: Any, activation: str) -> Any:
    function = tanh if activation == "tanh" else relu
    h = h0
    ys = []
    for t in range(x.shape[0]):
        h = function(add(getitem(x, t), linear(h, w, None)))
        ys.append(h)
    return stack(ys, np.zeros((0, *h0.shape), h0.dtype))


def _rnn_pull(
    g: Any, x: Any, h0: Any, w: Any, out: Any, needs: tuple[bool, ...], activation: str
) -> Any:
    if plain((g, x)):
        return kernels.rnn_grad(g, out, h0, w, activation)
    return pull_composed(
        lambda x, h0, w: _rnn_composed(x, h0, w, activation), (x, h0, w), g, needs
    )


#: y of x (T, N, H), h0 (N, H), w (H, H).
rnn = Op(
    "rnn", kernels.rnn, inputs=["x", "h0", "w"],
    vjp={"x h0 w": _rnn_pull},
    jvp={
        "x h0 w": lambda t, x, h0, w, activation: push_composed(
            lambda x, h0, w: _rnn_composed(x, h0, w, activation), (x, h0, w), t
        )[0]
    },
)  # fmt: skip
