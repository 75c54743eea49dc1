"""Normalisation: batch, layer, group and root mean square, closed under differentiation.

Let ``m`` be the mean over the axes that are normalised together, ``u = 1 / sqrt(var + eps)`` and
``xhat = (x - m(x)) u``. Then

    d xhat = u P(dx),    P(v) = v - m(v) - xhat m(xhat v),    d u = -u^2 m(xhat dx),

and P is symmetric, so the gradient of ``y = xhat w + b`` is ``dx = F(g w)`` with ``F(h) = u P(h)``,
``dw = sum(g xhat)``, ``db = sum(g)``. Differentiating F by x along t gives

    N(h, t) = -u^2 (m(xhat t) P(h) + m(xhat h) P(t) + xhat m(P(h) t)),

which is symmetric in h and t, and as a map of t its own adjoint. Root mean square normalisation is
the same with ``P(v) = v - xhat m(xhat v)``.

The fused kernels serve the first order; the ``*_grad`` records hold the rules above, made of
elementary operations, for every further one.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tilegrad import kernels
from tilegrad.autograd.op import Op
from tilegrad.ops.arithmetic import add, divide, multiply, negative, square, subtract, total
from tilegrad.ops.reduction import count
from tilegrad.ops.reduction import mean as mean_over
from tilegrad.ops.reduction import sum as sum_over
from tilegrad.ops.shape import expand, reshape

Shape = tuple[int, ...]


def scaled(value: Any, factor: Any) -> Any:
    """``value * factor``, where a factor of None is 1 and a value of None stays None."""
    return value if value is None or factor is None else multiply(value, factor)


class Layout:
    """Which entries of ``x`` are normalised together, and how parameters lie along it."""

    centred = True

    def mean(self, v: Any) -> Any:
        """The mean of each set, so that it broadcasts to ``v``."""
        return self.spread(self.reduce(v), v.shape)

    def reduce(self, v: Any) -> Any:
        """The mean of each set, in the shape of the saved statistics."""
        raise NotImplementedError

    def size(self, shape: Shape) -> int:
        """How many entries of an ``x`` of ``shape`` make one set."""
        raise NotImplementedError

    def spread(self, statistic: Any, shape: Shape) -> Any:
        """A saved statistic, so that it broadcasts to ``shape``."""
        raise NotImplementedError

    def along(self, weight: Any, shape: Shape) -> Any:
        """A parameter, so that it broadcasts to ``shape``; None stays None."""
        raise NotImplementedError

    def collect(self, v: Any) -> Any:
        """``v`` summed to the shape of a parameter."""
        raise NotImplementedError

    # ---- the maps of the module's text ----------------------------------------------------------
    def project(self, v: Any, xhat: Any) -> Any:
        """``P(v)``."""
        rest = subtract(v, multiply(xhat, self.mean(multiply(xhat, v))))
        return subtract(rest, self.mean(v)) if self.centred else rest

    def second(self, h: Any, t: Any, xhat: Any, u: Any) -> Any:
        """``N(h, t)``; ``u`` broadcasts."""
        ph = self.project(h, xhat)
        parts = add(
            multiply(self.mean(multiply(xhat, t)), ph),
            multiply(self.mean(multiply(xhat, h)), self.project(t, xhat)),
        )
        parts = add(parts, multiply(xhat, self.mean(multiply(ph, t))))
        return negative(multiply(square(u), parts))


class Trailing(Layout):
    """The last ``ndim`` axes together (layer and root mean square)."""

    def __init__(self, ndim: int, centred: bool = True) -> None:
        self.ndim = ndim
        self.centred = centred

    def _axes(self, ndim: int) -> Shape:
        return tuple(range(ndim - self.ndim, ndim))

    def reduce(self, v: Any) -> Any:
        return mean_over(v, self._axes(v.ndim), True)

    def size(self, shape: Shape) -> int:
        return count(shape, self._axes(len(shape)))

    def spread(self, statistic: Any, shape: Shape) -> Any:
        return statistic

    def along(self, weight: Any, shape: Shape) -> Any:
        return weight

    def collect(self, v: Any) -> Any:
        lead = tuple(range(v.ndim - self.ndim))
        return sum_over(v, lead) if lead else v


class Channels(Layout):
    """Each channel over the batch and all pixels."""

    def _axes(self, ndim: int) -> Shape:
        return (0, *range(2, ndim))

    def reduce(self, v: Any) -> Any:
        return mean_over(v, self._axes(v.ndim))

    def size(self, shape: Shape) -> int:
        return count(shape, self._axes(len(shape)))

    def spread(self, statistic: Any, shape: Shape) -> Any:
        return reshape(statistic, (1, shape[1], *[1] * (len(shape) - 2)))

    def along(self, weight: Any, shape: Shape) -> Any:
        return None if weight is None else self.spread(weight, shape)

    def collect(self, v: Any) -> Any:
        return sum_over(v, self._axes(v.ndim))


class Groups(Channels):
    """Groups of channels of each image over its pixels."""

    def __init__(self, groups: int) -> None:
        self.groups = groups

    def reduce(self, v: Any) -> Any:
        rows = reshape(v, (v.shape[0], self.groups, self.size(v.shape)))
        return mean_over(rows, 2)

    def size(self, shape: Shape) -> int:
        return int(np.prod(shape[1:], dtype=np.int64)) // self.groups

    def spread(self, statistic: Any, shape: Shape) -> Any:
        column = reshape(statistic, (shape[0], self.groups, 1))
        return reshape(expand(column, (shape[0], self.groups, self.size(shape))), shape)

    def along(self, weight: Any, shape: Shape) -> Any:
        return None if weight is None else super().spread(weight, shape)


# ---- rules shared by all of them -----------------------------------------------------------------


def _pull_statistics(
    layout: Layout, g: tuple[Any, ...], xhat: Any, u: Any, shape: Shape
) -> Any:
    """What the cotangents of mean, rstd and variance (those present) send to x."""
    size = float(layout.size(shape))
    parts = []
    if layout.centred:
        g_mean, g_rstd = g[1], g[2]
        if g_mean is not None:
            parts.append(expand(layout.spread(divide(g_mean, size), shape), shape))
    else:
        g_rstd = g[1]
    if g_rstd is not None:
        slope = negative(multiply(square(u), divide(layout.spread(g_rstd, shape), size)))
        parts.append(multiply(slope, xhat))
    if len(g) == 4 and g[3] is not None:
        # d var = 2 m((x - mean) dx) = 2 m(xhat dx) / u
        slope = divide(layout.spread(g[3], shape), multiply(u, 0.5 * size))
        parts.append(multiply(slope, xhat))
    return total(*parts)


def _push_forward(
    layout: Layout, t: tuple[Any, ...], weight: Any, xhat: Any, rstd: Any, several: int
) -> tuple[Any, ...]:
    """Tangents of (y, mean, rstd, var), as many as there are, from those of (x, weight, bias)."""
    shape = xhat.shape
    tx, tw, tb = t
    u = layout.spread(rstd, shape)
    y = total(
        None if tx is None
        else scaled(multiply(u, layout.project(tx, xhat)), layout.along(weight, shape)),
        scaled(xhat, layout.along(tw, shape)) if tw is not None else None,
        expand(layout.along(tb, shape), shape) if tb is not None else None,
    )  # fmt: skip
    if tx is None:
        return (y, *[None] * (several - 1))
    along = layout.reduce(multiply(xhat, tx))
    d_rstd = negative(multiply(square(rstd), along))
    if not layout.centred:
        return y, d_rstd
    d_mean = layout.reduce(tx)
    return (y, d_mean, d_rstd, divide(multiply(along, 2.0), rstd))[:several]


def _pull_grad(
    layout: Layout, g: tuple[Any, ...], d: Any, x: Any, weight: Any, standard: tuple[Any, Any]
) -> tuple[Any, Any, Any]:
    """Gradients by (d, x, weight) of (dx, dw, db), from their cotangents (a, c, e).

    <a, F(d w)> + <c, sum(d xhat)> + <e, sum(d)>, where F is its own adjoint.
    """
    shape = x.shape
    xhat, u = standard
    a, c, *rest = g
    e = rest[0] if rest else None
    w = layout.along(weight, shape)
    fa = None if a is None else multiply(u, layout.project(a, xhat))
    c_along = None if c is None else layout.along(c, shape)
    by_d = total(
        scaled(fa, w),
        None if c is None else multiply(c_along, xhat),
        None if e is None else expand(layout.along(e, shape), shape),
    )
    by_x = total(
        None if a is None else layout.second(scaled(d, w), a, xhat, u),
        None if c is None else multiply(u, layout.project(multiply(d, c_along), xhat)),
    )
    by_w = None if fa is None or weight is None else layout.collect(multiply(d, fa))
    return by_d, by_x, by_w


def _push_grad(
    layout: Layout, t: tuple[Any, ...], d: Any, weight: Any, standard: tuple[Any, Any]
) -> tuple[Any, Any, Any]:
    """Tangents of (dx, dw, db) from those of (d, x, weight)."""
    xhat, u = standard
    shape = xhat.shape
    td, tx, tw = t
    w = layout.along(weight, shape)
    h = total(scaled(td, w), None if tw is None else multiply(d, layout.along(tw, shape)))
    dx = total(
        None if h is None else multiply(u, layout.project(h, xhat)),
        None if tx is None else layout.second(scaled(d, w), tx, xhat, u),
    )
    moved = total(
        None if td is None else multiply(td, xhat),
        None if tx is None else multiply(d, multiply(u, layout.project(tx, xhat))),
    )
    return (
        dx,
        None if moved is None else layout.collect(moved),
        None if td is None else layout.collect(td),
    )


# ---- layer ---------------------------------------------------------------------------------------


def _layer_norm(x: Any, weight: Any, bias: Any, ndim: int, eps: float) -> Any:
    return kernels.layer_norm(x, ndim, weight, bias, eps)


def _layer_standard(x: Any, ndim: int, eps: float) -> tuple[Any, Any]:
    xhat, _, rstd = layer_norm(x, None, None, ndim, eps)
    return xhat, rstd


def _layer_pull(
    g: Any, x: Any, weight: Any, mean: Any, rstd: Any, ndim: int, eps: float
) -> tuple[Any, Any, Any]:
    dx = dw = db = None
    if g[0] is not None:
        dx, dw, db = layer_norm_grad(g[0], x, weight, ndim, eps, mean, rstd)
    if g[1] is not None or g[2] is not None:
        xhat, u = _layer_standard(x, ndim, eps)
        dx = total(dx, _pull_statistics(Trailing(ndim), g, xhat, u, x.shape))
    return dx, dw, db


def _layer_push(
    t: Any, x: Any, weight: Any, rstd: Any, ndim: int, eps: float
) -> tuple[Any, ...]:
    xhat, _ = _layer_standard(x, ndim, eps)
    return _push_forward(Trailing(ndim), t, weight, xhat, rstd, 3)


#: ``(y, mean, rstd)`` of x (*B, *S) with weight and bias (*S) or None.
layer_norm = Op(
    "layer_norm", _layer_norm, inputs=["x", "weight", "bias"], outputs=["y", "mean", "rstd"],
    vjp={"x weight bias": _layer_pull},
    jvp={"x weight bias": _layer_push},
    batch="trailing",
)  # fmt: skip


def _plain(value: Any) -> Any:
    """A saved statistic as an array: what it depends on is in the rules already."""
    return getattr(value, "_array", value)


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
        "d x weight": lambda g, d, x, weight, ndim, eps: _pull_grad(
            Trailing(ndim), g, d, x, weight, _layer_standard(x, ndim, eps)
        )
    },
    jvp={
        "d x weight": lambda t, d, x, weight, ndim, eps: _push_grad(
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


def _batch_pull(
    g: Any, x: Any, weight: Any, mean: Any, rstd: Any, eps: float
) -> tuple[Any, Any, Any]:
    dx = dw = db = None
    if g[0] is not None:
        dx, dw, db = batch_norm_grad(g[0], x, weight, eps, mean, rstd)
    if any(part is not None for part in g[1:]):
        xhat, u = _batch_standard(x, eps)
        dx = total(dx, _pull_statistics(_CHANNELS, g, xhat, u, x.shape))
    return dx, dw, db


def _batch_push(t: Any, x: Any, weight: Any, rstd: Any, eps: float) -> tuple[Any, ...]:
    xhat, _ = _batch_standard(x, eps)
    return _push_forward(_CHANNELS, t, weight, xhat, rstd, 4)


#: ``(y, mean, rstd, var)`` of x (N, C, *S) with weight and bias (C,) or None; var is biased.
batch_norm = Op(
    "batch_norm", _batch_norm, inputs=["x", "weight", "bias"],
    outputs=["y", "mean", "rstd", "var"],
    vjp={"x weight bias": _batch_pull},
    jvp={"x weight bias": _batch_push},
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
        "d x weight": lambda g, d, x, weight, eps: _pull_grad(
            _CHANNELS, g, d, x, weight, _batch_standard(x, eps)
        )
    },
    jvp={
        "d x weight": lambda t, d, x, weight, eps: _push_grad(
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


def _group_pull(
    g: Any, x: Any, weight: Any, mean: Any, rstd: Any, groups: int, eps: float
) -> tuple[Any, Any, Any]:
    dx = dw = db = None
    if g[0] is not None:
        dx, dw, db = group_norm_grad(g[0], x, weight, groups, eps, mean, rstd)
    if g[1] is not None or g[2] is not None:
        xhat, u = _group_standard(x, groups, eps)
        dx = total(dx, _pull_statistics(Groups(groups), g, xhat, u, x.shape))
    return dx, dw, db


def _group_push(t: Any, x: Any, weight: Any, rstd: Any, groups: int, eps: float) -> Any:
    xhat, _ = _group_standard(x, groups, eps)
    return _push_forward(Groups(groups), t, weight, xhat, rstd, 3)


#: ``(y, mean, rstd)`` of x (N, C, *S) with weight and bias (C,) or None.
group_norm = Op(
    "group_norm", _group_norm, inputs=["x", "weight", "bias"], outputs=["y", "mean", "rstd"],
    vjp={"x weight bias": _group_pull},
    jvp={"x weight bias": _group_push},
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
        "d x weight": lambda g, d, x, weight, groups, eps: _pull_grad(
            Groups(groups), g, d, x, weight, _group_standard(x, groups, eps)
        )
    },
    jvp={
        "d x weight": lambda t, d, x, weight, groups, eps: _push_grad(
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


def _rms_pull(g: Any, x: Any, weight: Any, rrms: Any, ndim: int, eps: float) -> tuple[Any, Any]:
    dx = dw = None
    if g[0] is not None:
        dx, dw = rms_norm_grad(g[0], x, weight, ndim, eps, rrms)
    if g[1] is not None:
        xhat, u = _rms_standard(x, ndim, eps)
        dx = total(dx, _pull_statistics(Trailing(ndim, False), g, xhat, u, x.shape))
    return dx, dw


def _rms_push(t: Any, x: Any, weight: Any, rrms: Any, ndim: int, eps: float) -> Any:
    xhat, _ = _rms_standard(x, ndim, eps)
    return _push_forward(Trailing(ndim, False), (*t, None), weight, xhat, rrms, 2)


#: ``(y, rrms)`` of x (*B, *S) with weight (*S) or None.
rms_norm = Op(
    "rms_norm", _rms_norm, inputs=["x", "weight"], outputs=["y", "rrms"],
    vjp={"x weight": _rms_pull},
    jvp={"x weight": _rms_push},
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
        "d x weight": lambda g, d, x, weight, ndim, eps: _pull_grad(
            Trailing(ndim, False), g, d, x, weight, _rms_standard(x, ndim, eps)
        )
    },
    jvp={
        "d x weight": lambda t, d, x, weight, ndim, eps: _push_grad(
            Trailing(ndim, False), t, d, weight, _rms_standard(x, ndim, eps)
        )[:2]
    },
    batch="each",
)  # fmt: skip
