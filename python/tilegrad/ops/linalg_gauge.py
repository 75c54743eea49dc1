"""Quotients by gaps between eigenvalues, and what is asked of gradients where the gaps are 0.

Eigenvectors of a repeated eigenvalue are known up to a rotation among themselves (their gauge) and
have no derivative. A function of eigenvalues and eigenvectors that does not depend on that choice
does: its gradient by the vectors has no part along the rotation. Whatever has is refused here with
an error that says so; nothing turns into infinity or NaN.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tilegrad.autograd import expansion, forward_mode
from tilegrad.autograd.batching import BatchedTensor, NoBatchedFormError, lift
from tilegrad.autograd.op import Op
from tilegrad.autograd.tensor import Tensor
from tilegrad.ops.arithmetic import multiply, negative, subtract
from tilegrad.ops.linalg_checks import Array, RepeatedValuesError
from tilegrad.ops.products import bmm, transpose
from tilegrad.ops.reduction import sum
from tilegrad.ops.shape import concatenate, getitem

#: A part of a gradient below this share of the whole counts as rounding.
NEGLIGIBLE = 1e-6


def values(x: Any) -> Array:
    """The entries of a tensor or an array."""
    return x._array if isinstance(x, Tensor) else np.asarray(x)


def batched_like(x: Any, array: Array) -> Any:
    """An array made from the :func:`values` of ``x``: under vmap one member each, as ``x``."""
    return BatchedTensor(array, x._batch) if isinstance(x, BatchedTensor) else array


def repeated(w: Array) -> Array:
    """Which pairs of ``w`` (..., n) differ by rounding only, (..., n, n) without the diagonal."""
    n = w.shape[-1]
    scale = np.abs(w).max(axis=-1, initial=0.0)[..., None, None]
    close = np.abs(w[..., None, :] - w[..., :, None]) <= 4 * n * np.finfo(w.dtype).eps * scale
    return np.asarray(close & ~np.eye(n, dtype=bool))


def _refuse(what: str, part: float) -> RepeatedValuesError:
    return RepeatedValuesError(
        f"{what}: the derivative depends on which vectors were chosen for a repeated value (its "
        f"part along that choice is {part:.3g}), so it does not exist. Functions that do not "
        "depend on the choice, such as V diag(f(w)) V^T, are fine; linalg.funm computes those"
    )


def _check_gauge(what: str, x: Any, close: Array) -> None:
    """Refuse a numerator that is not 0 where the gap is."""
    if close.any():
        inside = np.abs(np.where(close, x, 0.0)).max()
        if inside > NEGLIGIBLE * np.abs(x).max():
            raise _refuse(what, inside)


def _gap_quotient(x: Any, w: Any, what: str) -> Array:
    w = np.asarray(w)
    gaps = w[..., None, :] - w[..., :, None]
    close = repeated(w)
    _check_gauge(what, x, close)
    i = np.arange(w.shape[-1])
    gaps[..., i, i] = 1.0
    result = np.where(close, 0.0, x / np.where(close, 1.0, gaps))
    result[..., i, i] = 0.0
    return np.asarray(result)


def moved_apart(w: Any) -> Any:
    """Values ``w`` as polynomials in s that differ where they repeat, if a gradient may follow.

    Along a diagonal perturbation the vectors stay, so this is all that has to be expanded.
    """
    if isinstance(w, BatchedTensor):
        return w
    array = values(w)
    close = repeated(array)
    if not close.any():
        return w
    # 0, 1, 2, ... within every group of equal values: any distinct numbers serve
    rank = np.tril(close, -1).sum(-1).astype(array.dtype)
    scale = np.abs(array).max()
    moving = expansion.perturbed(array, rank * (scale if scale else 1.0))
    if not isinstance(w, Tensor):
        return moving
    for level, tangent in (moving._tangents or {}).items():
        w = forward_mode.dual(w, tangent, level)
    return w


class GapQuotient(Op):
    """``x_ij / (w_j - w_i)``, 0 on the diagonal, by expansion where values repeat."""

    is_limit = True

    def _call(self, *args: Any, **kwargs: Any) -> Any:
        (x, w), attrs = self.bind(args, kwargs)
        if any(isinstance(a, BatchedTensor) for a in (x, w)) and repeated(values(w)).any():
            # an expansion is of one member; transforms that batch by themselves go one by one then
            raise NoBatchedFormError(f"vmap: derivatives of {attrs['what']} where values repeat")
        if expansion.is_expanded(w) and repeated(w._array).any():
            return self._limit(x, w, attrs["what"])
        return super()._call(x, w, **attrs)

    def _limit(self, x: Any, w: Tensor, what: str) -> Any:
        """The quotient of the series, then its tangents at levels above the expansion's."""
        levels = sorted(
            {k for a in (x, w) if isinstance(a, Tensor) for k in a._tangents or ()}
            - set(expansion.LEVELS)
        )
        base_x, base_w = (forward_mode.below(a, levels[0]) if levels else a for a in (x, w))
        series = self._series(base_x, base_w, what)
        needs_grad = any(isinstance(a, Tensor) and a._requires_grad for a in (x, w))
        result = self._record((x, w), {"what": what, "limit": True}, series[0], needs_grad)
        moving = expansion.from_coefficients(series)
        for level, tangent in (moving._tangents or {}).items():
            result = forward_mode.dual(result, tangent, level)
        for level in levels:
            t, tw = forward_mode.tangent_of(x, level), forward_mode.tangent_of(w, level)
            if tw is not None:  # (dx - q d(gap)) / gap
                change = multiply(forward_mode.below(result, level), _gap_matrix(tw))
                t = negative(change) if t is None else subtract(t, change)
            if t is not None:
                pushed = self._call(t, forward_mode.below(w, level), what=what)
                result = forward_mode.dual(result, pushed, level)
        if self.saves_out:
            forward_mode._save_tangents([result])
        return result

    def _series(self, x: Any, w: Tensor, what: str) -> list[Array]:
        """Derivatives by s of the quotient; where the gap is s times a number, one order less."""
        numerator = [d / math.factorial(k) for k, d in enumerate(expansion.coefficients(x))]
        gap, slope = (
            part[..., None, :] - part[..., :, None] for part in expansion.coefficients(w)[:2]
        )
        close = repeated(w._array)
        _check_gauge(what, numerator[0], close)
        diagonal = np.eye(gap.shape[-1], dtype=bool)
        gap = np.where(close | diagonal, 1.0, gap)
        slope = np.where(diagonal, 1.0, slope)
        quotient: list[Array] = []
        for k, part in enumerate(numerator):
            before = quotient[-1] * slope if quotient else 0.0
            after = numerator[k + 1] if k + 1 < len(numerator) else np.zeros_like(part)
            value = np.where(close, after / np.where(close, slope, 1.0), (part - before) / gap)
            quotient.append(np.where(diagonal, 0.0, value))
        return [q * math.factorial(k) for k, q in enumerate(quotient)]


def _by_values(h: Any) -> Any:
    """Adjoint of ``(dw_j - dw_i)_ij`` weighted by -h: what arrives at column j less row j."""
    return subtract(sum(h, -1), sum(h, -2))


def _gap_matrix(t: Any) -> Any:
    """``t_j - t_i``."""
    return subtract(getitem(t, (..., None, slice(None))), getitem(t, (..., slice(None), None)))


def _batched(forward: Any, operands: Any, attrs: Any, depth: int) -> Any:
    """Under vmap: a stack of matrices beside a stack of vectors."""
    x, w = operands
    ndim = max(x.ndim(depth), w.ndim(depth) + 1)
    return forward(lift(x, ndim, depth), lift(w, ndim - 1, depth), **attrs)


#: With y the result, dy_ij = (dx_ij - y_ij (dw_j - dw_i)) / (w_j - w_i).
gap_quotient = GapQuotient(
    "gap_quotient", _gap_quotient, inputs=["x", "w"], promotes="float", batch=_batched,
    vjp={
        "x": lambda g, w, what: gap_quotient(g, w, what),
        "w": lambda g, w, out, what: _by_values(gap_quotient(multiply(g, out), w, what)),
    },
    jvp={
        "x": lambda t, w, what: gap_quotient(t, w, what),
        "w": lambda t, w, out, what: negative(
            gap_quotient(multiply(out, _gap_matrix(t)), w, what)
        ),
    },
)  # fmt: skip


def differentiable(w: Any) -> Any:
    """Values as a public function returns them: :func:`moved_apart` if a gradient may follow."""
    return moved_apart(w) if isinstance(w, Tensor) and w._requires_grad else w


def check_equal_within(what: str, g: Any, w: Any) -> None:
    """Refuse a gradient ``g`` by repeated values ``w`` that tells them apart."""
    close = repeated(values(w))
    if close.any():
        g = values(g)
        apart = np.abs(np.where(close, g[..., None, :] - g[..., :, None], 0.0)).max()
        if apart > NEGLIGIBLE * np.abs(g).max():
            raise RepeatedValuesError(
                f"{what}: the gradient treats equal values differently (by {apart:.3g}): where "
                "values repeat, only functions symmetric in them have a derivative"
            )


# ---- orthonormal columns beyond the rank ---------------------------------------------------------


def columns(q: Any, start: int, stop: int | None) -> Any:
    """Some columns of a stack of matrices."""
    return getitem(q, (..., slice(start, stop)))


def rows(q: Any, start: int, stop: int | None) -> Any:
    """Some rows of a stack of matrices."""
    return getitem(q, (..., slice(start, stop), slice(None)))


def absorb(what: str, g: Any, q: Any, k: int) -> Any:
    """The gradient by the first k columns of orthogonal ``q`` that stands for ``g`` by all of them.

    The others span the complement: dQ2 = -Q1 dQ1^T Q2 up to a rotation among themselves. Without
    any first column they depend on nothing.
    """
    if k in (0, q.shape[-1]):
        return columns(g, 0, k)
    q1, q2 = columns(q, 0, k), columns(q, k, None)
    g1, g2 = columns(g, 0, k), columns(g, k, None)
    along = bmm(transpose(q2), g2)
    skew = np.abs(values(along) - np.swapaxes(values(along), -1, -2)).max(initial=0.0)
    if skew > NEGLIGIBLE * np.abs(values(g2)).max(initial=0.0):
        raise _refuse(what, float(skew))
    return subtract(g1, bmm(q2, bmm(transpose(g2), q1)))


def extend(t1: Any, q: Any, k: int) -> Any:
    """The tangent of all columns of ``q`` from that of the first k."""
    if q.shape[-1] == k:
        return t1
    q1, q2 = columns(q, 0, k), columns(q, k, None)
    return concatenate(t1, negative(bmm(q1, bmm(transpose(t1), q2))), axis=-1)


__all__ = [
    "absorb", "batched_like", "check_equal_within", "columns", "extend", "gap_quotient", "repeated",
    "rows",
]  # fmt: skip
