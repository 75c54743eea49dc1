"""The derivative rules that every normalisation shares, written in elementary operations.

Let ``m`` be the mean over the axes that are normalised together, ``u = 1 / sqrt(var + eps)`` and
``xhat = (x - m(x)) u``. Then

    d xhat = u P(dx),    P(v) = v - m(v) - xhat m(xhat v),    d u = -u^2 m(xhat dx),

and P is symmetric, so the gradient of ``y = xhat w + b`` is ``dx = F(g w)`` with ``F(h) = u P(h)``,
``dw = sum(g xhat)``, ``db = sum(g)``. Differentiating F by x along t gives

    N(h, t) = -u^2 (m(xhat t) P(h) + m(xhat h) P(t) + xhat m(P(h) t)),

which is symmetric in h and t, and as a map of t its own adjoint. Root mean square normalisation is
the same with ``P(v) = v - xhat m(xhat v)``.

What differs between the kinds is a :class:`Layout`: which entries share one mean.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

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


# ---- rules of every normalisation --------------------------------------------------------------


def pull_statistics(
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


def pull_forward(
    layout: Layout, g: tuple[Any, ...], shape: Shape, gradients: Callable[[], Any],
    standard: Callable[[], tuple[Any, Any]],
) -> tuple[Any, ...]:  # fmt: skip
    """Gradients by (x, weight, bias) from the cotangents of y and the statistics.

    ``gradients`` are those from the cotangent of y; ``standard`` gives xhat and u.
    """
    dx, *others = gradients() if g[0] is not None else (None, None, None)
    if any(part is not None for part in g[1:]):
        dx = total(dx, pull_statistics(layout, g, *standard(), shape))
    return (dx, *others)


def push_forward(
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


def pull_grad(
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


def push_grad(
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
