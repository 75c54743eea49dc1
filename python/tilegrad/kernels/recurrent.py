"""Recurrent layers over whole sequences: LSTM, GRU and the plain cell, with their gradients.

Time is the first axis: ``x`` is (T, N, I), states are (N, H), results (T, N, H). Weights and the
order of the gates are torch's: ``w_ih`` (G H, I) and ``w_hh`` (G H, H) with G = 4 for the LSTM
(input, forget, cell, output), 3 for the GRU (reset, update, new), 1 for the plain cell. Biases
(G H,) may be None. float32 and float64 run natively.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tilegrad.kernels.registry import kernel

Array = NDArray[Any]


def _check(
    op: str, gates: int, x: Array, h0: Array, w_ih: Array, w_hh: Array, *biases: Array | None
) -> tuple[int, int, int]:
    """Steps, batch and hidden size; raises ValueError where shapes do not fit."""
    if x.ndim != 3 or h0.ndim != 2 or w_ih.ndim != 2 or w_hh.ndim != 2:
        raise ValueError(
            f"{op}: x {x.shape}, h0 {h0.shape}, w_ih {w_ih.shape} and w_hh {w_hh.shape} must be "
            f"(T, N, I), (N, H), ({gates}H, I) and ({gates}H, H)"
        )
    steps, batch, inputs = x.shape
    hidden = h0.shape[1]
    rows = gates * hidden
    if h0.shape[0] != batch or w_ih.shape != (rows, inputs) or w_hh.shape != (rows, hidden):
        raise ValueError(
            f"{op}: x {x.shape}, h0 {h0.shape}, w_ih {w_ih.shape} and w_hh {w_hh.shape} do not "
            f"fit: expected (T, N, I), (N, H), ({gates}H, I) and ({gates}H, H)"
        )
    for bias in biases:
        if bias is not None and bias.shape != (rows,):
            raise ValueError(f"{op}: a bias of shape {bias.shape} must be ({rows},)")
    return steps, batch, hidden


def _sigmoid(x: Array) -> Array:
    # by tanh: no overflow, and within two ulp
    return 0.5 * np.tanh(0.5 * x) + 0.5


def _affine(x: Array, w: Array, b: Array | None) -> Array:
    y = x @ w.T
    return np.asarray(y if b is None else y + b)


def _gate(z: Array, k: int, hidden: int) -> Array:
    return np.asarray(z[..., k * hidden : (k + 1) * hidden])


def _input_gradients(
    dz: Array, x: Array, w_ih: Array, input_grad: bool
) -> tuple[Array, Array, Array]:
    """``(dx, dw_ih, db)`` from the gradients of the input's share of the gates."""
    dx = dz @ w_ih if input_grad else np.zeros((0, 0, 0), dz.dtype)
    return dx, _outer(dz, x), dz.sum(axis=(0, 1))


def _hidden_gradient(dz: Array, y: Array, h0: Array) -> Array:
    """``dw_hh``, the sum over t of ``dz_t^T h_(t-1)``."""
    return _outer(dz, np.concatenate([h0[None], y])[: len(y)])


def _outer(a: Array, b: Array) -> Array:
    """The sum over steps and batch of ``a^T b``."""
    return np.asarray(np.tensordot(a, b, axes=([0, 1], [0, 1])))


@kernel
def lstm(
    x: Array, h0: Array, c0: Array, w_ih: Array, w_hh: Array, b: Array | None = None
) -> tuple[Array, Array, Array]:
    """An LSTM layer: ``c = f c + i g``, ``h = o tanh(c)``, gates of ``x W_ih^T + h W_hh^T + b``.

    Returns:
        ``(y, cells, gates)``: (T, N, H), (T, N, H) and the activated gates (T, N, 4H).

    Raises:
        ValueError: shapes do not fit.
    """
    steps, batch, hidden = _check("lstm", 4, x, h0, w_ih, w_hh, b)
    if c0.shape != h0.shape:
        raise ValueError(f"lstm: c0 {c0.shape} must have the shape of h0 {h0.shape}")
    dtype = np.result_type(x, h0, c0, w_ih, w_hh)
    y = np.empty((steps, batch, hidden), dtype)
    cells, gates = np.empty_like(y), np.empty((steps, batch, 4 * hidden), dtype)
    share = _affine(x, w_ih, b)
    h, c = h0, c0
    for t in range(steps):
        z = share[t] + h @ w_hh.T
        i, f = _sigmoid(_gate(z, 0, hidden)), _sigmoid(_gate(z, 1, hidden))
        g, o = np.tanh(_gate(z, 2, hidden)), _sigmoid(_gate(z, 3, hidden))
        c = cells[t] = f * c + i * g
        h = y[t] = o * np.tanh(c)
        gates[t] = np.concatenate([i, f, g, o], axis=1)
    return y, cells, gates


@kernel
def lstm_grad(
    gy: Array | None,
    gc: Array | None,
    x: Array,
    y: Array,
    cells: Array,
    gates: Array,
    h0: Array,
    c0: Array,
    w_ih: Array,
    w_hh: Array,
    input_grad: bool = True,
) -> tuple[Array, Array, Array, Array, Array, Array]:
    """The gradients ``(dx, dh0, dc0, dw_ih, dw_hh, db)`` of :func:`lstm`.

    ``gy`` and ``gc`` are those of y and cells, or None; dx is empty unless ``input_grad``.
    """
    steps, _, hidden = y.shape
    dz = np.empty_like(gates)
    dh, dc = np.zeros_like(h0), np.zeros_like(c0)
    for t in reversed(range(steps)):
        i, f, g, o = (_gate(gates[t], k, hidden) for k in range(4))
        before = cells[t - 1] if t else c0
        tanh_c = np.tanh(cells[t])
        if gy is not None:
            dh = dh + gy[t]
        if gc is not None:
            dc = dc + gc[t]
        dc = dc + dh * o * (1 - tanh_c * tanh_c)
        dz[t, :, :hidden] = dc * g * i * (1 - i)
        dz[t, :, hidden : 2 * hidden] = dc * before * f * (1 - f)
        dz[t, :, 2 * hidden : 3 * hidden] = dc * i * (1 - g * g)
        dz[t, :, 3 * hidden :] = dh * tanh_c * o * (1 - o)
        dc = dc * f
        dh = dz[t] @ w_hh
    dx, dw_ih, db = _input_gradients(dz, x, w_ih, input_grad)
    return dx, dh, dc, dw_ih, _hidden_gradient(dz, y, h0), db


@kernel
def gru(
    x: Array,
    h0: Array,
    w_ih: Array,
    w_hh: Array,
    b_ih: Array | None = None,
    b_hh: Array | None = None,
) -> tuple[Array, Array]:
    """A GRU layer: ``h = (1 - z) n + z h``, with ``n = tanh(x W_n^T + b + r (h U_n^T + c))``.

    Returns:
        ``(y, gates)``: (T, N, H), and (T, N, 4H) of r, z, n and ``h U_n^T + c``.

    Raises:
        ValueError: shapes do not fit.
    """
    steps, batch, hidden = _check("gru", 3, x, h0, w_ih, w_hh, b_ih, b_hh)
    dtype = np.result_type(x, h0, w_ih, w_hh)
    y = np.empty((steps, batch, hidden), dtype)
    gates = np.empty((steps, batch, 4 * hidden), dtype)
    share = _affine(x, w_ih, b_ih)
    h = h0
    for t in range(steps):
        own = _affine(h, w_hh, b_hh)
        r = _sigmoid(_gate(share[t], 0, hidden) + _gate(own, 0, hidden))
        z = _sigmoid(_gate(share[t], 1, hidden) + _gate(own, 1, hidden))
        m = _gate(own, 2, hidden)
        n = np.tanh(_gate(share[t], 2, hidden) + r * m)
        h = y[t] = n + z * (h - n)
        gates[t] = np.concatenate([r, z, n, m], axis=1)
    return y, gates


@kernel
def gru_grad(
    gy: Array,
    x: Array,
    y: Array,
    gates: Array,
    h0: Array,
    w_ih: Array,
    w_hh: Array,
    input_grad: bool = True,
) -> tuple[Array, Array, Array, Array, Array, Array]:
    """The gradients ``(dx, dh0, dw_ih, dw_hh, db_ih, db_hh)`` of :func:`gru` from that of y.

    dx is empty unless ``input_grad``.
    """
    steps, batch, hidden = y.shape
    dz = np.empty((steps, batch, 3 * hidden), gates.dtype)
    own = np.empty_like(dz)
    dh = np.zeros_like(h0)
    for t in reversed(range(steps)):
        r, z, n, m = (_gate(gates[t], k, hidden) for k in range(4))
        before = y[t - 1] if t else h0
        dh = dh + gy[t]
        by_n = dh * (1 - z) * (1 - n * n)
        by_r = by_n * m * r * (1 - r)
        by_z = dh * (before - n) * z * (1 - z)
        dz[t] = np.concatenate([by_r, by_z, by_n], axis=1)
        own[t] = np.concatenate([by_r, by_z, by_n * r], axis=1)
        dh = dh * z + own[t] @ w_hh
    dx, dw_ih, db_ih = _input_gradients(dz, x, w_ih, input_grad)
    return dx, dh, dw_ih, _hidden_gradient(own, y, h0), db_ih, own.sum(axis=(0, 1))


@kernel
def rnn(
    x: Array,
    h0: Array,
    w_ih: Array,
    w_hh: Array,
    b: Array | None = None,
    activation: str = "tanh",
) -> Array:
    """A plain recurrent layer: ``h = activation(x W_ih^T + h W_hh^T + b)``, "tanh" or "relu".

    Returns:
        y (T, N, H).

    Raises:
        ValueError: shapes do not fit, or the activation is unknown.
    """
    steps, batch, hidden = _check("rnn", 1, x, h0, w_ih, w_hh, b)
    if activation not in ("tanh", "relu"):
        raise ValueError(f"rnn: activation must be 'tanh' or 'relu', not {activation!r}")
    y = np.empty((steps, batch, hidden), np.result_type(x, h0, w_ih, w_hh))
    share = _affine(x, w_ih, b)
    h = h0
    for t in range(steps):
        z = share[t] + h @ w_hh.T
        h = y[t] = np.tanh(z) if activation == "tanh" else np.maximum(z, 0)
    return y


@kernel
def rnn_grad(
    gy: Array,
    x: Array,
    y: Array,
    h0: Array,
    w_ih: Array,
    w_hh: Array,
    activation: str = "tanh",
    input_grad: bool = True,
) -> tuple[Array, Array, Array, Array, Array]:
    """The gradients ``(dx, dh0, dw_ih, dw_hh, db)`` of :func:`rnn` from that of y.

    dx is empty unless ``input_grad``.
    """
    dz = np.empty_like(y)
    dh = np.zeros_like(h0)
    for t in reversed(range(len(y))):
        dh = dh + gy[t]
        dz[t] = dh * (1 - y[t] * y[t]) if activation == "tanh" else np.where(y[t] > 0, dh, 0)
        dh = dz[t] @ w_hh
    dx, dw_ih, db = _input_gradients(dz, x, w_ih, input_grad)
    return dx, dh, dw_ih, _hidden_gradient(dz, y, h0), db
