"""Cholesky, QR and LU: factorisations by LAPACK, their derivatives by triangular solves."""

from __future__ import annotations

from typing import Any

import numpy as np

from tilegrad import kernels
from tilegrad.autograd.op import Op
from tilegrad.ops.arithmetic import add, multiply, subtract
from tilegrad.ops.define import discrete
from tilegrad.ops.linalg_checks import Array, LinAlgError, chain, matrices, square
from tilegrad.ops.linalg_gauge import absorb, columns, extend, rows
from tilegrad.ops.linalg_solve import solve_triangular
from tilegrad.ops.products import bmm, transpose
from tilegrad.ops.shape import concatenate, tril, triu


def right_solve(b: Any, a: Any, upper: bool, unitriangular: bool = False) -> Any:
    """``b a^-1`` for triangular ``a``."""
    return transpose(solve_triangular(transpose(a), transpose(b), not upper, unitriangular))


def symmetric(x: Any) -> Any:
    """``(x + x^T) / 2``."""
    return multiply(add(x, transpose(x)), 0.5)


# ---- Cholesky ------------------------------------------------------------------------------------


def _cholesky(a: Any) -> Array:
    a = square("cholesky", a)
    try:
        return np.linalg.cholesky((a + np.swapaxes(a, -1, -2)) / 2)
    except LinAlgError:
        raise LinAlgError(
            f"cholesky: a matrix of shape {a.shape} is not positive definite"
        ) from None


def _half_lower(x: Any) -> Any:
    """The lower triangle with half of the diagonal: ``S = L + L^T`` for symmetric S."""
    return multiply(add(tril(x), tril(x, -1)), 0.5)


def _cholesky_vjp(g: Any, out: Any) -> Any:
    inner = _half_lower(bmm(transpose(out), g))  # L^-T inner L^-1
    left = solve_triangular(transpose(out), inner, True)
    return symmetric(right_solve(left, out, False))


def _cholesky_jvp(t: Any, out: Any) -> Any:
    inner = right_solve(solve_triangular(out, symmetric(t), False), transpose(out), True)
    return bmm(out, _half_lower(inner))


#: The lower factor L of the symmetric part of A. L^-1 dA L^-T = L^-1 dL + (L^-1 dL)^T, so L^-1 dL
#: is its lower triangle with half of the diagonal (Murray, arXiv 1602.07527).
cholesky = Op(
    "cholesky", _cholesky, inputs=["a"], promotes="float", batch="stack", vjp={"a": _cholesky_vjp},
    jvp={"a": _cholesky_jvp},
)  # fmt: skip

# ---- QR ------------------------------------------------------------------------------------------


def _qr(a: Any, complete: bool = False) -> tuple[Array, Array]:
    q, r = np.linalg.qr(matrices("qr", a), "complete" if complete else "reduced")
    return q, r


def _check_rank(r: Any) -> None:
    values = np.asarray(getattr(r, "_array", r))
    if not np.diagonal(values, axis1=-2, axis2=-1).all():
        raise LinAlgError(
            f"the derivative of qr: the columns of a matrix are dependent (R of shape {r.shape} "
            "has a zero on its diagonal), where Q has no derivative"
        )


def _qr_vjp(g: Any, q: Any, r: Any) -> Any:
    _check_rank(r)
    by_q, by_r = g
    n = r.shape[-1]
    if q.shape[-1] > n:  # complete: columns of Q beyond n, rows of zeros in R
        by_q = None if by_q is None else absorb("qr", by_q, q, n)
        by_r = None if by_r is None else rows(by_r, 0, n)
        q, r = columns(q, 0, n), rows(r, 0, n)
    # <G_Q, dQ> + <G_R, dR> with M = R G_R^T - G_Q^T Q:
    # G_A = (G_Q + Q (tril M, mirrored)) R^-T
    m = None
    if by_r is not None:
        m = bmm(r, transpose(by_r))
    if by_q is not None:
        part = bmm(transpose(by_q), q)
        m = multiply(part, -1.0) if m is None else subtract(m, part)
    lower = tril(m)
    mirrored = add(lower, transpose(tril(m, -1)))
    total = bmm(q, mirrored)
    if by_q is not None:
        total = add(total, by_q)
    return right_solve(total, transpose(r), False)


def _qr_jvp(t: Any, q: Any, r: Any) -> Any:
    _check_rank(r)
    m, n = q.shape[-1], r.shape[-1]
    if m > n:
        dq, dr = _qr_jvp(t, columns(q, 0, n), rows(r, 0, n))
        zeros = np.zeros((*dr.shape[:-2], m - n, n), dr.dtype)
        return extend(dq, q, n), concatenate(dr, zeros, axis=-2)
    scaled = right_solve(t, r, True)  # dA R^-1
    inner = bmm(transpose(q), scaled)
    lower = tril(inner, -1)
    skew = subtract(lower, transpose(lower))  # Q^T dQ
    upper = subtract(inner, skew)  # dR R^-1
    return subtract(scaled, bmm(q, upper)), bmm(upper, r)


#: A = Q R with at least as many rows as columns.
#: Q^T dA R^-1 = Q^T dQ + dR R^-1 is the sum of a skew and an upper triangular matrix
#: (Walter and Lehmann, arXiv 1001.1654).
qr = Op(
    "qr", _qr, inputs=["a"], promotes="float", batch="stack",
    outputs=["q", "r"], vjp={"a": _qr_vjp},
    jvp={"a": _qr_jvp},
)  # fmt: skip

# ---- LU ------------------------------------------------------------------------------------------


def _pivots(a: Any) -> Array:
    a = matrices("lu", a)
    # elimination exchanges columns of the transpose: rows here
    _, exchanges = kernels.eliminate(np.swapaxes(a, -1, -2))
    orders = np.empty(a.shape[:-1], np.int64)
    for place in np.ndindex(orders.shape[:-1]):
        order = list(range(a.shape[-2]))
        for i, j in enumerate(exchanges[place].tolist()):
            order[i], order[j] = order[j], order[i]
        orders[place] = order
    return orders


#: The row order of partial pivoting: row i of P^T A is row ``order[i]`` of A.
pivots = discrete("pivots", _pivots, "a", batch="stack")


#: Columns that are eliminated one by one; what lies right of them is products.
BLOCK = 64


def _eliminate(a: Array) -> None:
    """Square ``a`` becomes L below and U above the diagonal, without exchanges.

    Right-looking by blocks of columns: what lies right of a block is updated by one product.
    """
    n = len(a)
    for start in range(0, n, BLOCK):
        stop = min(start + BLOCK, n)
        for j in range(start, stop):
            if a[j, j] != 0:
                a[j + 1 :, j] /= a[j, j]
                a[j + 1 :, j + 1 : stop] -= a[j + 1 :, j, None] * a[j, j + 1 : stop]
        if stop < n:
            unit = a[start:stop, start:stop]
            a[start:stop, stop:] = kernels.solve_triangular(
                unit, a[start:stop, stop:], unitriangular=True
            )
            a[stop:, stop:] -= kernels.matmul(a[stop:, start:stop], a[start:stop, stop:])


def _lu_unpivoted(a: Any) -> tuple[Array, Array]:
    a = np.array(square("lu_unpivoted", a))
    for place in np.ndindex(a.shape[:-2]):
        _eliminate(a[place])
    return np.tril(a, -1) + np.eye(a.shape[-1], dtype=a.dtype), np.triu(a)


def _lu_vjp(g: Any, l: Any, u: Any) -> Any:  # noqa: E741
    by_l, by_u = g
    total = None
    if by_l is not None:
        total = tril(bmm(transpose(l), by_l), -1)
    if by_u is not None:
        part = triu(bmm(by_u, transpose(u)))
        total = part if total is None else add(total, part)
    left = solve_triangular(transpose(l), total, True, True)
    return right_solve(left, transpose(u), False)


def _lu_jvp(t: Any, l: Any, u: Any) -> Any:  # noqa: E741
    inner = right_solve(solve_triangular(l, t, False, True), u, True)
    return bmm(l, tril(inner, -1)), bmm(triu(inner), u)


#: A = L U of square matrices without exchanges: L^-1 dA U^-1 = L^-1 dL + dU U^-1, the first
#: strictly lower, the second upper triangular.
lu_unpivoted = Op(
    "lu_unpivoted", _lu_unpivoted, inputs=["a"], promotes="float", batch="stack",
    outputs=["l", "u"],
    vjp={"a": _lu_vjp}, jvp={"a": _lu_jvp},
)  # fmt: skip

__all__ = ["chain", "cholesky", "lu_unpivoted", "pivots", "qr", "right_solve", "symmetric"]
