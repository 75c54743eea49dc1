"""Recurrent layers over whole sequences: LSTM, GRU and the plain cell, with their gradients.

``x`` holds the input's share of the gates, ``X W_ih^T + b``, for all steps at once (one product
outside); the kernels run the recurrence. Time is the first axis; (T, N, ...) arrays. The order of
the gates is torch's: input, forget, cell, output for the LSTM; reset, update, new for the GRU.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tilegrad.kernels.registry import kernel

Array = NDArray[Any]


def _check(op: str, x: Array, h0: Array, w: Array, gates: int) -> tuple[int, int, int]:
    """Steps, batch and hidden size."""
    if x.ndim != 3 or h0.ndim != 2 or w.ndim != 2:
        raise ValueError(
            f"{op}: x {x.shape}, h0 {h0.shape} and w {w.shape} must be (T, N, {gates}H), (N, H) "
            f"and ({gates}H, H)"
        )
    steps, batch, wide = x.shape
    hidden = h0.shape[1]
    if h0.shape[0] != batch or wide != gates * hidden or w.shape != (wide, hidden):
        raise ValueError(
            f"{op}: x {x.shape}, h0 {h0.shape} and w {w.shape} do not fit: expected (T, N, "
            f"{gates}H), (N, H) and ({gates}H, H)"
        )
    return steps, batch, hidden


def _sigmoid(x: Array) -> Array:
    # by tanh: no overflow, and within two ulp
    return 0.5 * np.tanh(0.5 * x) + 0.5


@kernel
def lstm(x: Array, h0: Array, c0: Array, w: Array) -> tuple[Array, Array, Array]:
    """An LSTM layer: ``c = f c + i g``, ``h = o tanh(c)``, gates from ``x_t + h W^T``.

    Args:
        x: (T, N, 4H) shares of the input. h0, c0: (N, H). w: (4H, H).

    Returns:
        ``(y, cells, gates)``: (T, N, H), (T, N, H) and the activated gates (T, N, 4H).

    Raises:
        ValueError: shapes do not fit.
    """
    steps, batch, hidden = _check("lstm", x, h0, w, 4)
    dtype = np.result_type(x, h0, c0, w)
    y = np.empty((steps, batch, hidden), dtype)
    cells, gates = np.empty_like(y), np.empty(x.shape, dtype)
    h, c = h0, c0
    for t in range(steps):
        z = x[t] + h @ w.T
        i, f = _sigmoid(z[:, :hidden]), _sigmoid(z[:, hidden : 2 * hidden])
        g, o = np.tanh(z[:, 2 * hidden : 3 * hidden]), _sigmoid(z[:, 3 * hidden :])
        c = cells[t] = f * c + i * g
        h = y[t] = o * np.tanh(c)
        gates[t] = np.concatenate([i, f, g, o], axis=1)
    return y, cells, gates


@kernel
def lstm_grad(
    gy: Array | None,
    gc: Array | None,
    y: Array,
    cells: Array,
    gates: Array,
    h0: Array,
    c0: Array,
    w: Array,
) -> tuple[Array, Array, Array, Array]:
    """The gradients ``(dx, dh0, dc0, dw)`` of :func:`lstm` from those of y and cells (or None)."""
    steps, _, hidden = y.shape
    dx = np.empty_like(gates)
    dh, dc = np.zeros_like(h0), np.zeros_like(c0)
    for t in reversed(range(steps)):
        i, f, g, o = (gates[t, :, k * hidden : (k + 1) * hidden] for k in range(4))
        before = cells[t - 1] if t else c0
        tanh_c = np.tanh(cells[t])
        if gy is not None:
            dh = dh + gy[t]
        if gc is not None:
            dc = dc + gc[t]
        dc = dc + dh * o * (1 - tanh_c * tanh_c)
        dz = dx[t]
        dz[:, :hidden] = dc * g * i * (1 - i)
        dz[:, hidden : 2 * hidden] = dc * before * f * (1 - f)
        dz[:, 2 * hidden : 3 * hidden] = dc * i * (1 - g * g)
        dz[:, 3 * hidden :] = dh * tanh_c * o * (1 - o)
        dc = dc * f
        dh = dz @ w
    return dx, dh, dc, _weight_grad(dx, y, h0)


def _weight_grad(dx: Array, y: Array, h0: Array) -> Array:
    """``sum over t of dx_t^T h_(t-1)``."""
    wide, hidden = dx.shape[2], h0.shape[1]
    if not dx.shape[0]:
        return np.zeros((wide, hidden), dx.dtype)
    before = np.concatenate([h0[None], y[:-1]])
    return np.asarray(dx.reshape(-1, wide).T @ before.reshape(-1, hidden))


@kernel
def gru(x: Array, h0: Array, w: Array, b: Array) -> tuple[Array, Array]:
    """A GRU layer: ``h = (1 - z) n + z h``, ``n = tanh(x_n + r (h W_n^T + b_n))``.

    Args:
        x: (T, N, 3H) shares of the input. h0: (N, H). w: (3H, H). b: (3H,), of the hidden share.

    Returns:
        ``(y, gates)``: (T, N, H), and (T, N, 4H) of r, z, n and ``h W_n^T + b_n``.

    Raises:
        ValueError: shapes do not fit.
    """
    steps, batch, hidden = _check("gru", x, h0, w, 3)
    dtype = np.result_type(x, h0, w, b)
    y = np.empty((steps, batch, hidden), dtype)
    gates = np.empty((steps, batch, 4 * hidden), dtype)
    h = h0
    for t in range(steps):
        share = h @ w.T + b
        r = _sigmoid(x[t, :, :hidden] + share[:, :hidden])
        z = _sigmoid(x[t, :, hidden : 2 * hidden] + share[:, hidden : 2 * hidden])
        m = share[:, 2 * hidden :]
        n = np.tanh(x[t, :, 2 * hidden :] + r * m)
        h = y[t] = n + z * (h - n)
        gates[t] = np.concatenate([r, z, n, m], axis=1)
    return y, gates


@kernel
def gru_grad(
    gy: Array, y: Array, gates: Array, h0: Array, w: Array
) -> tuple[Array, Array, Array, Array]:
    """The gradients ``(dx, dh0, dw, db)`` of :func:`gru` from that of y."""
    steps, batch, hidden = y.shape
    dx = np.empty((steps, batch, 3 * hidden), gates.dtype)
    share = np.empty_like(dx)
    dh = np.zeros_like(h0)
    for t in reversed(range(steps)):
        r, z, n, m = (gates[t, :, k * hidden : (k + 1) * hidden] for k in range(4))
        before = y[t - 1] if t else h0
        dh = dh + gy[t]
        dn = dh * (1 - z) * (1 - n * n)
        dr = dn * m * r * (1 - r)
        dz = dh * (before - n) * z * (1 - z)
        dx[t] = np.concatenate([dr, dz, dn], axis=1)
        share[t] = np.concatenate([dr, dz, dn * r], axis=1)
        dh = dh * z + share[t] @ w
    return dx, dh, _weight_grad(share, y, h0), share.sum(axis=(0, 1))


@kernel
def rnn(x: Array, h0: Array, w: Array, activation: str = "tanh") -> Array:
    """A plain recurrent layer: ``h = activation(x_t + h W^T)``, "tanh" or "relu".

    Args:
        x: (T, N, H) shares of the input. h0: (N, H). w: (H, H).

    Returns:
        y (T, N, H).

    Raises:
        ValueError: shapes do not fit, or the activation is unknown.
    """
    steps, batch, hidden = _check("rnn", x, h0, w, 1)
    if activation not in ("tanh", "relu"):
        raise ValueError(f"rnn: activation must be 'tanh' or 'relu', not {activation!r}")
    y = np.empty((steps, batch, hidden), np.result_type(x, h0, w))
    h = h0
    for t in range(steps):
        z = x[t] + h @ w.T
        h = y[t] = np.tanh(z) if activation == "tanh" else np.maximum(z, 0)
    return y


@kernel
def rnn_grad(
    gy: Array, y: Array, h0: Array, w: Array, activation: str = "tanh"
) -> tuple[Array, Array, Array]:
    """The gradients ``(dx, dh0, dw)`` of :func:`rnn` from that of y."""
    dx = np.empty_like(y)
    dh = np.zeros_like(h0)
    for t in reversed(range(len(y))):
        dh = dh + gy[t]
        dx[t] = dh * (1 - y[t] * y[t]) if activation == "tanh" else np.where(y[t] > 0, dh, 0)
        dh = dx[t] @ w
    return dx, dh, _weight_grad(dx, y, h0)
