"""Normalisation: batch, layer, group and root mean square, closed under differentiation.

The fused kernels serve the first order; the ``*_grad`` records hold the rules of
:mod:`tilegrad.ops.norm_rules` for every further one. Each kind is given by its kernels, and by
``_<kind>_standard``: xhat and u, which further orders are written in.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tilegrad import kernels
from tilegrad.autograd.op import Op
from tilegrad.ops.arithmetic import multiply, total
from tilegrad.ops.norm_rules import (
    Channels,
    Groups,
    Trailing,
    pull_forward,
    pull_grad,
    push_forward,
    push_grad,
)
from tilegrad.ops.shape import expand


def _plain(value: Any) -> Any:
    """A saved statistic as an array: what it depends on is in the rules already."""
    return getattr(value, "_array", value)


# ---- layer ---------------------------------------------------------------------------------------


def _layer_norm(x: Any, weight: Any, bias: Any, ndim: int, eps: float) -> Any:
    return kernels.layer_norm(x, ndim, weight, bias, eps)


def _layer_standard(x: Any, ndim: int, eps: float) -> tuple[Any, Any]:
    xhat, _, rstd = layer_norm(x, None, None, ndim, eps)
    return xhat, rstd


#: ``(y, mean, rstd)`` of x (*B, *S) with weight and bias (*S) or None.
layer_norm = Op(
    "layer_norm", _layer_norm, inputs=["x", "weight", "bias"], outputs=["y", "mean", "rstd"],
    vjp={
        "x weight bias": lambda g, x, weight, mean, rstd, ndim, eps: pull_forward(
            Trailing(ndim), g, x.shape,
            lambda: layer_norm_grad(g[0], x, weight, ndim, eps, mean, rstd),
            lambda: _layer_standard(x, ndim, eps),
        )
    },
    jvp={
        "x weight bias": lambda t, x, weight, rstd, ndim, eps: push_forward(
            Trailing(ndim), t, weight, _layer_standard(x, ndim, eps)[0], rstd, 3
        )
    },
    batch="trailing",
)  # fmt: skip


def _layer_norm_grad(
    d: Any, x: Any, weight: Any, ndim: int, eps: float, mean: Any = None, rstd: Any = None
) -> Any:
    if mean is None:
        _, mean, rstd = kernels.layer_norm(x, ndim, None, None, eps)
    return kernels.layer_norm_grad(d, x, _plain(mean), _plain(rstd), weight, ndim)


#: ``(dx, dw, db)``; mean and rstd are those of x, where they are at hand.
layer_norm_grad = Op(
    "layer_norm_grad", _layer_norm_grad, inputs=["d", "x", "weight"],
    vjp={
        "d x weight": lambda g, d, x, weight, ndim, eps: pull_grad(
            Trailing(ndim), g, d, x, weight, _layer_standard(x, ndim, eps)
        )
    },
    jvp={
        "d x weight": lambda t, d, x, weight, ndim, eps: push_grad(
            Trailing(ndim), t, d, weight, _layer_standard(x, ndim, eps)
        )
    },
    batch="each",
)  # fmt: skip


# ---- batch ---------------------------------------------------------------------------------------

_CHANNELS = Channels()


def _batch_norm(x: Any, weight: Any, bias: Any, eps: float) -> Any:
    return kernels.batch_norm_train(x, weight, bias, eps)


def _batch_standard(x: Any, eps: float) -> tuple[Any, Any]:
    xhat, _, rstd, _ = batch_norm(x, None, None, eps)
    return xhat, _CHANNELS.spread(rstd, x.shape)


#: ``(y, mean, rstd, var)`` of x (N, C, *S) with weight and bias (C,) or None; var is biased.
batch_norm = Op(
    "batch_norm", _batch_norm, inputs=["x", "weight", "bias"],
    outputs=["y", "mean", "rstd", "var"],
    vjp={
        "x weight bias": lambda g, x, weight, mean, rstd, eps: pull_forward(
            _CHANNELS, g, x.shape,
            lambda: batch_norm_grad(g[0], x, weight, eps, mean, rstd),
            lambda: _batch_standard(x, eps),
        )
    },
    jvp={
        "x weight bias": lambda t, x, weight, rstd, eps: push_forward(
            _CHANNELS, t, weight, _batch_standard(x, eps)[0], rstd, 4
        )
    },
    batch="each",
)  # fmt: skip


def _batch_norm_grad(
    d: Any, x: Any, weight: Any, eps: float, mean: Any = None, rstd: Any = None
) -> Any:
    if mean is None:
        _, mean, rstd, _ = kernels.batch_norm_train(x, None, None, eps)
    return kernels.batch_norm_grad(d, x, _plain(mean), _plain(rstd), weight)


batch_norm_grad = Op(
    "batch_norm_grad", _batch_norm_grad, inputs=["d", "x", "weight"],
    vjp={
        "d x weight": lambda g, d, x, weight, eps: pull_grad(
            _CHANNELS, g, d, x, weight, _batch_standard(x, eps)
        )
    },
    jvp={
        "d x weight": lambda t, d, x, weight, eps: push_grad(
            _CHANNELS, t, d, weight, _batch_standard(x, eps)
        )
    },
    batch="each",
)  # fmt: skip


def _apply_pull(
    g: Any, x: Any, weight: Any, mean: Any, rstd: Any, needs: tuple[bool, ...]
) -> tuple[Any, ...]:
    dx = dw = db = None
    if needs[0]:
        dx = batch_norm_apply(g, weight, None, np.zeros_like(_plain(mean)), rstd)
    if needs[1]:
        dw = _CHANNELS.collect(multiply(g, batch_norm_apply(x, None, None, mean, rstd)))
    if needs[2]:
        db = _CHANNELS.collect(g)
    return dx, dw, db


def _apply_push(t: Any, x: Any, weight: Any, mean: Any, rstd: Any, out: Any) -> Any:
    tx, tw, tb = t
    zero = np.zeros_like(_plain(mean))
    return total(
        None if tx is None else batch_norm_apply(tx, weight, None, zero, rstd),
        None if tw is None else batch_norm_apply(x, tw, None, mean, rstd),
        None if tb is None else expand(_CHANNELS.along(tb, out.shape), out.shape),
    )


#: ``(x - mean) * rstd * weight + bias`` with given statistics (C,).
batch_norm_apply = Op(
    "batch_norm_apply",
    lambda x, weight, bias, mean, rstd: kernels.batch_norm_apply(x, mean, rstd, weight, bias),
    inputs=["x", "weight", "bias", "mean", "rstd"],
    vjp={"x weight bias": _apply_pull},
    jvp={"x weight bias": _apply_push},
    batch="samples",
)  # fmt: skip


# ---- group ---------------------------------------------------------------------------------------


def _group_norm(x: Any, weight: Any, bias: Any, groups: int, eps: float) -> Any:
    return kernels.group_norm(x, groups, weight, bias, eps)


def _group_standard(x: Any, groups: int, eps: float) -> tuple[Any, Any]:
    xhat, _, rstd = group_norm(x, None, None, groups, eps)
    return xhat, Groups(groups).spread(rstd, x.shape)


#: ``(y, mean, rstd)`` of x (N, C, *S) with weight and bias (C,) or None.
group_norm = Op(
    "group_norm", _group_norm, inputs=["x", "weight", "bias"], outputs=["y", "mean", "rstd"],
    vjp={
        "x weight bias": lambda g, x, weight, mean, rstd, groups, eps: pull_forward(
            Groups(groups), g, x.shape,
            lambda: group_norm_grad(g[0], x, weight, groups, eps, mean, rstd),
            lambda: _group_standard(x, groups, eps),
        )
    },
    jvp={
        "x weight bias": lambda t, x, weight, rstd, groups, eps: push_forward(
            Groups(groups), t, weight, _group_standard(x, groups, eps)[0], rstd, 3
        )
    },
    batch="samples",
)  # fmt: skip


def _group_norm_grad(
    d: Any, x: Any, weight: Any, groups: int, eps: float, mean: Any = None, rstd: Any = None
) -> Any:
    if mean is None:
        _, mean, rstd = kernels.group_norm(x, groups, None, None, eps)
    return kernels.group_norm_grad(d, x, _plain(mean), _plain(rstd), weight, groups)


group_norm_grad = Op(
    "group_norm_grad", _group_norm_grad, inputs=["d", "x", "weight"],
    vjp={
        "d x weight": lambda g, d, x, weight, groups, eps: pull_grad(
            Groups(groups), g, d, x, weight, _group_standard(x, groups, eps)
        )
    },
    jvp={
        "d x weight": lambda t, d, x, weight, groups, eps: push_grad(
            Groups(groups), t, d, weight, _group_standard(x, groups, eps)
        )
    },
    batch="each",
)  # fmt: skip


# ---- root mean square ----------------------------------------------------------------------------


def _rms_norm(x: Any, weight: Any, ndim: int, eps: float) -> Any:
    return kernels.rms_norm(x, ndim, weight, eps)


def _rms_standard(x: Any, ndim: int, eps: float) -> tuple[Any, Any]:
    xhat, rrms = rms_norm(x, None, ndim, eps)
    return xhat, rrms


#: ``(y, rrms)`` of x (*B, *S) with weight (*S) or None.
rms_norm = Op(
    "rms_norm", _rms_norm, inputs=["x", "weight"], outputs=["y", "rrms"],
    vjp={
        "x weight": lambda g, x, weight, rrms, ndim, eps: pull_forward(
            Trailing(ndim, False), g, x.shape,
            lambda: rms_norm_grad(g[0], x, weight, ndim, eps, rrms),
            lambda: _rms_standard(x, ndim, eps),
        )[:2]
    },
    jvp={
        "x weight": lambda t, x, weight, rrms, ndim, eps: push_forward(
            Trailing(ndim, False), (*t, None), weight, _rms_standard(x, ndim, eps)[0], rrms, 2
        )
    },
    batch="trailing",
)  # fmt: skip


def _rms_norm_grad(
    d: Any, x: Any, weight: Any, ndim: int, eps: float, rrms: Any = None
) -> Any:
    if rrms is None:
        _, rrms = kernels.rms_norm(x, ndim, None, eps)
    return kernels.rms_norm_grad(d, x, _plain(rrms), weight, ndim)


rms_norm_grad = Op(
    "rms_norm_grad", _rms_norm_grad, inputs=["d", "x", "weight"],
    vjp={
        "d x weight": lambda g, d, x, weight, ndim, eps: pull_grad(
            Trailing(ndim, False), g, d, x, weight, _rms_standard(x, ndim, eps)
        )
    },
    jvp={
        "d x weight": lambda t, d, x, weight, ndim, eps: push_grad(
            Trailing(ndim, False), t, d, weight, _rms_standard(x, ndim, eps)
        )[:2]
    },
    batch="each",
)  # fmt: skip
