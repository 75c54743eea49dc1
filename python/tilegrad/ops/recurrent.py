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


def _no_steps(h0: Any, gates: int) -> Any:
    """What a sequence of no steps saves: (0, N, gates * H)."""
    return np.zeros((0, h0.shape[0], gates * h0.shape[1]), h0.dtype)


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


def _lstm_composed(x: Any, h0: Any, c0: Any, w_ih: Any, w_hh: Any, b: Any) -> tuple[Any, ...]:
    share = linear(x, w_ih, b)
    h, c = h0, c0
    ys, cells, gates = [], [], []
    for t in range(x.shape[0]):
        h, c, parts = lstm_cell(add(getitem(share, t), linear(h, w_hh, None)), c)
        ys.append(h)
        cells.append(c)
        gates.append(concatenate(*parts, axis=1))
    empty = _no_steps(h0, 1)
    return stack(ys, empty), stack(cells, empty), stack(gates, _no_steps(h0, 4))


def _lstm_pull(
    g: Any, x: Any, h0: Any, c0: Any, w_ih: Any, w_hh: Any, b: Any, y: Any, cells: Any, gates: Any,
    needs: tuple[bool, ...],
) -> Any:  # fmt: skip
    if plain((*g, x, h0, c0, w_ih, w_hh)) and g[2] is None:
        return kernels.lstm_grad(
            g[0], g[1], x, y, cells, gates, h0, c0, w_ih, w_hh, needs[0]
        )
    return pull_composed(_lstm_composed, (x, h0, c0, w_ih, w_hh, b), g, needs)


def _lstm_push(t: Any, x: Any, h0: Any, c0: Any, w_ih: Any, w_hh: Any, b: Any) -> Any:
    return push_composed(_lstm_composed, (x, h0, c0, w_ih, w_hh, b), t)


#: ``(y, cells, gates)`` of x (T, N, I), h0 and c0 (N, H), w_ih (4H, I), w_hh (4H, H), b (4H,) or
#: None.
lstm = Op(
    "lstm", kernels.lstm, inputs=["x", "h0", "c0", "w_ih", "w_hh", "b"],
    outputs=["y", "cells", "gates"],
    vjp={"x h0 c0 w_ih w_hh b": _lstm_pull},
    jvp={"x h0 c0 w_ih w_hh b": _lstm_push},
)  # fmt: skip


# ---- GRU -----------------------------------------------------------------------------------------


def _gru_composed(x: Any, h0: Any, w_ih: Any, w_hh: Any, b_ih: Any, b_hh: Any) -> tuple[Any, Any]:
    share = linear(x, w_ih, b_ih)
    h = h0
    ys, gates = [], []
    for t in range(x.shape[0]):
        h, parts = gru_cell(getitem(share, t), linear(h, w_hh, b_hh), h)
        ys.append(h)
        gates.append(concatenate(*parts, axis=1))
    return stack(ys, _no_steps(h0, 1)), stack(gates, _no_steps(h0, 4))


def _gru_pull(
    g: Any, x: Any, h0: Any, w_ih: Any, w_hh: Any, b_ih: Any, b_hh: Any, y: Any, gates: Any,
    needs: tuple[bool, ...],
) -> Any:  # fmt: skip
    if plain((*g, x, h0, w_ih, w_hh)) and g[1] is None:
        return kernels.gru_grad(g[0], x, y, gates, h0, w_ih, w_hh, needs[0])
    return pull_composed(_gru_composed, (x, h0, w_ih, w_hh, b_ih, b_hh), g, needs)


def _gru_push(t: Any, x: Any, h0: Any, w_ih: Any, w_hh: Any, b_ih: Any, b_hh: Any) -> Any:
    return push_composed(_gru_composed, (x, h0, w_ih, w_hh, b_ih, b_hh), t)


#: ``(y, gates)`` of x (T, N, I), h0 (N, H), w_ih (3H, I), w_hh (3H, H), biases (3H,) or None.
gru = Op(
    "gru", kernels.gru, inputs=["x", "h0", "w_ih", "w_hh", "b_ih", "b_hh"],
    outputs=["y", "gates"],
    vjp={"x h0 w_ih w_hh b_ih b_hh": _gru_pull},
    jvp={"x h0 w_ih w_hh b_ih b_hh": _gru_push},
)  # fmt: skip


# ---- the plain cell ------------------------------------------------------------------------------


def _rnn_of(activation: str) -> Any:
    """The composition with one activation."""
    function = tanh if activation == "tanh" else relu

    def composed(x: Any, h0: Any, w_ih: Any, w_hh: Any, b: Any) -> Any:
        share = linear(x, w_ih, b)
        h = h0
        ys = []
        for t in range(x.shape[0]):
            h = function(add(getitem(share, t), linear(h, w_hh, None)))
            ys.append(h)
        return stack(ys, _no_steps(h0, 1))

    return composed


def _rnn_pull(
    g: Any, x: Any, h0: Any, w_ih: Any, w_hh: Any, b: Any, out: Any, needs: tuple[bool, ...],
    activation: str,
) -> Any:  # fmt: skip
    if plain((g, x, h0, w_ih, w_hh)):
        return kernels.rnn_grad(g, x, out, h0, w_ih, w_hh, activation, needs[0])
    return pull_composed(_rnn_of(activation), (x, h0, w_ih, w_hh, b), g, needs)


def _rnn_push(t: Any, x: Any, h0: Any, w_ih: Any, w_hh: Any, b: Any, activation: str) -> Any:
    return push_composed(_rnn_of(activation), (x, h0, w_ih, w_hh, b), t)[0]


#: y of x (T, N, I), h0 (N, H), w_ih (H, I), w_hh (H, H), b (H,) or None.
rnn = Op(
    "rnn", kernels.rnn, inputs=["x", "h0", "w_ih", "w_hh", "b"],
    vjp={"x h0 w_ih w_hh b": _rnn_pull},
    jvp={"x h0 w_ih w_hh b": _rnn_push},
)  # fmt: skip
