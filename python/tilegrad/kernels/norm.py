"""Normalisation: layer, batch, group (instance is one channel per group) and root mean square.

Statistics are taken in float64 around a shifted mean, so that they stand a mean of 1e4 standard
deviations and elements of 1e30 in float32. Forward kernels return what backward needs. The backward
kernels take ``mean`` as saved and correct its rounding from ``x``: with
``xhat = (x - mean) * rstd`` and ``h = g * weight``,

    dx = rstd * (h - mean(h) - xhat * mean(h * xhat)),   dw = sum(g * xhat),   db = sum(g)

which follows from ``d xhat = rstd * (dx - mean(dx) - xhat * mean(xhat * dx))``, a symmetric map.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tilegrad.kernels.registry import kernel

Array = NDArray[Any]
Axes = tuple[int, ...]


def _floating(op: str, x: ArrayLike) -> Array:
    x = np.asarray(x)
    if x.dtype.kind != "f":
        raise TypeError(f"{op}: needs real floating point, got dtype {x.dtype}")
    return x


def _wide(x: Array) -> Array:
    """``x`` in at least float64, where 1e30 can be squared."""
    return x.astype(np.promote_types(x.dtype, np.float64), copy=False)


def _deviations(x: Array, axes: Axes) -> tuple[Array, Array, Array]:
    """Deviations from the mean, the mean and the biased variance over ``axes``; ``x`` is wide.

    The mean of the deviations is what rounding the mean left over; it is taken off as well.
    """
    mean = x.mean(axis=axes, keepdims=True)
    shifted = x - mean
    rest = shifted.mean(axis=axes, keepdims=True)
    shifted = shifted - rest
    return shifted, mean + rest, np.square(shifted).mean(axis=axes, keepdims=True)


def _check_affine(
    op: str, name: str, value: ArrayLike | None, wanted: tuple[int, ...]
) -> Array | None:
    if value is None:
        return None
    value = np.asarray(value)
    if value.shape != wanted:
        raise ValueError(f"{op}: {name} of shape {value.shape} must have shape {wanted}")
    return value


def _affine(y: Array, weight: Array | None, bias: Array | None, shape: tuple[int, ...]) -> Array:
    """``y * weight + bias`` with both seen as ``shape``."""
    if weight is not None:
        y = y * weight.reshape(shape)
    return y if bias is None else y + bias.reshape(shape)


def _norm_grad(
    g: Array, x: Array, mean: Array, rstd: Array, weight: Array | None, axes: Axes
) -> tuple[Array, Array]:
    """``dx`` and ``g * xhat`` (the summands of ``dw``), wide; see the module's text."""
    g, x, rstd = _wide(g), _wide(x), _wide(rstd)
    shifted = x - mean
    xhat = (shifted - shifted.mean(axis=axes, keepdims=True)) * rstd
    h = g if weight is None else g * weight
    along = (h * xhat).mean(axis=axes, keepdims=True)
    dx = rstd * (h - h.mean(axis=axes, keepdims=True) - xhat * along)
    return dx, g * xhat


def _check_like(op: str, name: str, value: ArrayLike, wanted: tuple[int, ...]) -> Array:
    value = np.asarray(value)
    if value.shape != wanted:
        raise ValueError(f"{op}: {name} of shape {value.shape} must have shape {wanted}")
    return value


def _trailing(op: str, x: Array, ndim: int) -> tuple[tuple[int, ...], tuple[int, ...], Axes]:
    """Normalised shape, shape of the statistics and axes for the last ``ndim`` axes of ``x``."""
    if not 1 <= ndim <= x.ndim:
        raise ValueError(
            f"{op}: cannot normalise the last {ndim} axes of an input of shape {x.shape}"
        )
    split = x.ndim - ndim
    return x.shape[split:], (*x.shape[:split], *[1] * ndim), tuple(range(split, x.ndim))


@kernel
def layer_norm(
    x: ArrayLike,
    ndim: int,
    weight: ArrayLike | None = None,
    bias: ArrayLike | None = None,
    eps: float = 1e-5,
) -> tuple[Array, Array, Array]:
    """Normalise over the last ``ndim`` axes: ``(x - mean) / sqrt(var + eps) * weight + bias``.

    Args:
        x: (*B, *S) with ``len(S) == ndim``, real floating point.
        ndim: how many trailing axes are normalised together, at least 1.
        weight, bias: (*S), or None for ones and zeros.
        eps: added to the biased variance.

    Returns:
        ``(y, mean, rstd)``: y shaped like x; mean and ``1 / sqrt(var + eps)`` (*B, 1, ...).

    Raises:
        ValueError: shapes disagree.
        TypeError: ``x`` is not floating point.

    >>> y, mean, rstd = layer_norm(np.array([[1.0, 3.0]]), 1, eps=0.0)
    >>> y, mean, rstd
    (array([[-1.,  1.]]), array([[2.]]), array([[1.]]))
    """
    x = _floating("layer_norm", x)
    shape, _, axes = _trailing("layer_norm", x, ndim)
    weight = _check_affine("layer_norm", "weight", weight, shape)
    bias = _check_affine("layer_norm", "bias", bias, shape)
    wide = _wide(x)
    shifted, mean, var = _deviations(wide, axes)
    rstd = 1 / np.sqrt(var + eps)
    y = _affine(shifted * rstd, weight, bias, shape)
    return y.astype(x.dtype), mean.astype(x.dtype), rstd.astype(x.dtype)


@kernel
def layer_norm_grad(
    g: ArrayLike,
    x: ArrayLike,
    mean: ArrayLike,
    rstd: ArrayLike,
    weight: ArrayLike | None,
    ndim: int,
) -> tuple[Array, Array, Array]:
    """The gradients of :func:`layer_norm`.

    Args:
        g: (*B, *S), the gradient of y.
        x, weight, ndim: as given to :func:`layer_norm`.
        mean, rstd: as returned by it.

    Returns:
        ``(dx, dw, db)`` of shapes (*B, *S), (*S) and (*S); dw and db also where weight is None.

    Raises:
        ValueError: shapes disagree.

    >>> dx, dw, db = layer_norm_grad([[1.0, 1.0]], [[1.0, 3.0]], [[2.0]], [[1.0]], None, 1)
    >>> dx, dw, db
    (array([[0., 0.]]), array([-1.,  1.]), array([1., 1.]))
    """
    x = _floating("layer_norm_grad", x)
    shape, saved, axes = _trailing("layer_norm_grad", x, ndim)
    g = _check_like("layer_norm_grad", "g", g, x.shape)
    mean = _check_like("layer_norm_grad", "mean", mean, saved)
    rstd = _check_like("layer_norm_grad", "rstd", rstd, saved)
    weight = _check_affine("layer_norm_grad", "weight", weight, shape)
    dx, gx = _norm_grad(g, x, mean, rstd, weight, axes)
    lead = tuple(range(x.ndim - ndim))
    dw, db = gx.sum(axis=lead), _wide(g).sum(axis=lead)
    return dx.astype(x.dtype), dw.astype(x.dtype), db.astype(x.dtype)


def _channels(op: str, x: Array) -> tuple[tuple[int, ...], Axes]:
    """Broadcast shape of one number per channel, and all other axes of ``x`` (N, C, *S)."""
    if x.ndim < 2:
        raise ValueError(f"{op}: input of shape {x.shape} must have the axes batch and channels")
    return (1, x.shape[1], *[1] * (x.ndim - 2)), (0, *range(2, x.ndim))


@kernel
def batch_norm_train(
    x: ArrayLike,
    weight: ArrayLike | None = None,
    bias: ArrayLike | None = None,
    eps: float = 1e-5,
) -> tuple[Array, Array, Array, Array]:
    """Normalise each channel over the batch and all pixels.

    Args:
        x: (N, C, *S) with any number of spatial axes, real floating point.
        weight, bias: (C,), or None for ones and zeros.
        eps: added to the biased variance.

    Returns:
        ``(y, mean, rstd, var)``: y shaped like x; the others (C,), var biased (running statistics
        want ``var * n / (n - 1)``).

    Raises:
        ValueError: shapes disagree or there is nothing to take a mean of.
        TypeError: ``x`` is not floating point.

    >>> y, mean, rstd, var = batch_norm_train(np.array([[1.0], [3.0]]), eps=0.0)
    >>> y.ravel(), mean, rstd, var
    (array([-1.,  1.]), array([2.]), array([1.]), array([1.]))
    """
    x = _floating("batch_norm_train", x)
    shape, axes = _channels("batch_norm_train", x)
    weight = _check_affine("batch_norm_train", "weight", weight, shape[1:2])
    bias = _check_affine("batch_norm_train", "bias", bias, shape[1:2])
    if x.shape[1] and not x.size:
        raise ValueError(f"batch_norm_train: input of shape {x.shape} has no values to normalise")
    wide = _wide(x)
    shifted, mean, var = _deviations(wide, axes)
    rstd = 1 / np.sqrt(var + eps)
    y = _affine(shifted * rstd, weight, bias, shape)
    saved = [part.ravel().astype(x.dtype) for part in (mean, rstd, var)]
    return y.astype(x.dtype), saved[0], saved[1], saved[2]


@kernel
def batch_norm_grad(
    g: ArrayLike, x: ArrayLike, mean: ArrayLike, rstd: ArrayLike, weight: ArrayLike | None = None
) -> tuple[Array, Array, Array]:
    """The gradients of :func:`batch_norm_train`.

    Args:
        g: (N, C, *S), the gradient of y.
        x, weight: as given to :func:`batch_norm_train`.
        mean, rstd: (C,), as returned by it.

    Returns:
        ``(dx, dw, db)`` of shapes (N, C, *S), (C,) and (C,); dw and db also where weight is None.

    Raises:
        ValueError: shapes disagree.

    >>> dx, dw, db = batch_norm_grad([[1.0], [0.0]], [[1.0], [3.0]], [2.0], [1.0])
    >>> dx.ravel(), dw, db
    (array([0., 0.]), array([-1.]), array([1.]))
    """
    x = _floating("batch_norm_grad", x)
    shape, axes = _channels("batch_norm_grad", x)
    g = _check_like("batch_norm_grad", "g", g, x.shape)
    mean = _check_like("batch_norm_grad", "mean", mean, shape[1:2])
    rstd = _check_like("batch_norm_grad", "rstd", rstd, shape[1:2])
    weight = _check_affine("batch_norm_grad", "weight", weight, shape[1:2])
    scale = None if weight is None else weight.reshape(shape)
    dx, gx = _norm_grad(g, x, mean.reshape(shape), rstd.reshape(shape), scale, axes)
    dw, db = gx.sum(axis=axes), _wide(g).sum(axis=axes)
    return dx.astype(x.dtype), dw.astype(x.dtype), db.astype(x.dtype)


@kernel
def batch_norm_apply(
    x: ArrayLike,
    mean: ArrayLike,
    rstd: ArrayLike,
    weight: ArrayLike | None = None,
    bias: ArrayLike | None = None,
) -> Array:
    """``(x - mean) * rstd * weight + bias`` with statistics given per channel (eval mode).

    With mean 0 and no bias it is also its own adjoint in ``x``.

    Args:
        x: (N, C, *S), real floating point.
        mean, rstd: (C,).
        weight, bias: (C,), or None for ones and zeros.

    Returns:
        (N, C, *S).

    Raises:
        ValueError: shapes disagree.
        TypeError: ``x`` is not floating point.

    >>> batch_norm_apply(np.array([[5.0]]), [1.0], [0.5], [3.0], [1.0])
    array([[7.]])
    """
    x = _floating("batch_norm_apply", x)
    shape, _ = _channels("batch_norm_apply", x)
    mean = _check_like("batch_norm_apply", "mean", mean, shape[1:2])
    rstd = _check_like("batch_norm_apply", "rstd", rstd, shape[1:2])
    weight = _check_affine("batch_norm_apply", "weight", weight, shape[1:2])
    bias = _check_affine("batch_norm_apply", "bias", bias, shape[1:2])
    xhat = (_wide(x) - mean.reshape(shape)) * rstd.reshape(shape)
    return _affine(xhat, weight, bias, shape).astype(x.dtype)


def _grouped(op: str, x: Array, groups: int) -> Array:
    """``x`` (N, C, *S) as (N, groups, C / groups * pixels)."""
    if x.ndim < 2:
        raise ValueError(f"{op}: input of shape {x.shape} must have the axes batch and channels")
    if groups < 1 or x.shape[1] % groups:
        raise ValueError(
            f"{op}: {x.shape[1]} channels of an input of shape {x.shape} cannot be split into "
            f"{groups} groups"
        )
    return x.reshape(x.shape[0], groups, x.shape[1] // groups * math.prod(x.shape[2:]))


@kernel
def group_norm(
    x: ArrayLike,
    groups: int,
    weight: ArrayLike | None = None,
    bias: ArrayLike | None = None,
    eps: float = 1e-5,
) -> tuple[Array, Array, Array]:
    """Normalise each group of channels of each image over its pixels.

    ``groups = C`` is instance normalisation.

    Args:
        x: (N, C, *S), real floating point.
        groups: divides C.
        weight, bias: (C,), or None for ones and zeros.
        eps: added to the biased variance.

    Returns:
        ``(y, mean, rstd)``: y shaped like x; mean and rstd (N, groups).

    Raises:
        ValueError: shapes disagree or C is not divisible by groups.
        TypeError: ``x`` is not floating point.

    >>> y, mean, rstd = group_norm(np.array([[1.0, 3.0, 7.0, 7.0]]), 2, eps=1.0)
    >>> mean
    array([[2., 7.]])
    """
    x = _floating("group_norm", x)
    rows = _wide(_grouped("group_norm", x, groups))
    shape, _ = _channels("group_norm", x)
    weight = _check_affine("group_norm", "weight", weight, shape[1:2])
    bias = _check_affine("group_norm", "bias", bias, shape[1:2])
    shifted, mean, var = _deviations(rows, (2,))
    rstd = 1 / np.sqrt(var + eps)
    y = _affine((shifted * rstd).reshape(x.shape), weight, bias, shape)
    return y.astype(x.dtype), mean[..., 0].astype(x.dtype), rstd[..., 0].astype(x.dtype)


@kernel
def group_norm_grad(
    g: ArrayLike,
    x: ArrayLike,
    mean: ArrayLike,
    rstd: ArrayLike,
    weight: ArrayLike | None,
    groups: int,
) -> tuple[Array, Array, Array]:
    """The gradients of :func:`group_norm`.

    Args:
        g: (N, C, *S), the gradient of y.
        x, weight, groups: as given to :func:`group_norm`.
        mean, rstd: (N, groups), as returned by it.

    Returns:
        ``(dx, dw, db)`` of shapes (N, C, *S), (C,) and (C,); dw and db also where weight is None.

    Raises:
        ValueError: shapes disagree.

    >>> dx, dw, db = group_norm_grad([[1.0, 1.0]], [[1.0, 3.0]], [[2.0]], [[1.0]], None, 1)
    >>> dx, dw, db
    (array([[0., 0.]]), array([-1.,  1.]), array([1., 1.]))
    """
    x = _floating("group_norm_grad", x)
    rows = _grouped("group_norm_grad", x, groups)
    shape, axes = _channels("group_norm_grad", x)
    g = _check_like("group_norm_grad", "g", g, x.shape)
    mean = _check_like("group_norm_grad", "mean", mean, rows.shape[:2])
    rstd = _check_like("group_norm_grad", "rstd", rstd, rows.shape[:2])
    weight = _check_affine("group_norm_grad", "weight", weight, shape[1:2])
    scale = weight
    if weight is not None:  # one number per element of a group's row
        full = np.broadcast_to(weight.reshape(shape), (1, *x.shape[1:]))
        scale = full.reshape(1, *rows.shape[1:])
    dx, gx = _norm_grad(g.reshape(rows.shape), rows, mean[..., None], rstd[..., None], scale, (2,))
    dw, db = gx.reshape(x.shape).sum(axis=axes), _wide(g).sum(axis=axes)
    return dx.reshape(x.shape).astype(x.dtype), dw.astype(x.dtype), db.astype(x.dtype)


@kernel
def rms_norm(
    x: ArrayLike, ndim: int, weight: ArrayLike | None = None, eps: float = 1e-5
) -> tuple[Array, Array]:
    """Divide by the root mean square: ``x / sqrt(mean(x^2) + eps) * weight``.

    Args:
        x: (*B, *S) with ``len(S) == ndim``, real floating point.
        ndim: how many trailing axes are normalised together, at least 1.
        weight: (*S), or None for ones.
        eps: added to the mean square.

    Returns:
        ``(y, rrms)``: y shaped like x; ``1 / sqrt(mean(x^2) + eps)`` of shape (*B, 1, ...).

    Raises:
        ValueError: shapes disagree.
        TypeError: ``x`` is not floating point.

    >>> rms_norm(np.array([[3.0, -3.0]]), 1, eps=0.0)[0]
    array([[ 1., -1.]])
    """
    x = _floating("rms_norm", x)
    shape, _, axes = _trailing("rms_norm", x, ndim)
    weight = _check_affine("rms_norm", "weight", weight, shape)
    wide = _wide(x)
    rrms = 1 / np.sqrt(np.square(wide).mean(axis=axes, keepdims=True) + eps)
    y = _affine(wide * rrms, weight, None, shape)
    return y.astype(x.dtype), rrms.astype(x.dtype)


@kernel
def rms_norm_grad(
    g: ArrayLike, x: ArrayLike, rrms: ArrayLike, weight: ArrayLike | None, ndim: int
) -> tuple[Array, Array]:
    """The gradients of :func:`rms_norm`: ``dx = rrms * (h - xhat * mean(h * xhat))``.

    Args:
        g: (*B, *S), the gradient of y.
        x, weight, ndim: as given to :func:`rms_norm`.
        rrms: as returned by it.

    Returns:
        ``(dx, dw)`` of shapes (*B, *S) and (*S); dw also where weight is None.

    Raises:
        ValueError: shapes disagree.

    >>> dx, dw = rms_norm_grad([[1.0, 0.0]], [[3.0, -3.0]], [[1 / 3]], None, 1)
    >>> dw
    array([1., 0.])
    """
    x = _floating("rms_norm_grad", x)
    shape, saved, axes = _trailing("rms_norm_grad", x, ndim)
    g = _wide(_check_like("rms_norm_grad", "g", g, x.shape))
    rrms = _wide(_check_like("rms_norm_grad", "rrms", rrms, saved))
    weight = _check_affine("rms_norm_grad", "weight", weight, shape)
    xhat = _wide(x) * rrms
    h = g if weight is None else g * weight
    dx = rrms * (h - xhat * (h * xhat).mean(axis=axes, keepdims=True))
    dw = (g * xhat).sum(axis=tuple(range(x.ndim - ndim)))
    return dx.astype(x.dtype), dw.astype(x.dtype)
