"""Inverses and linear systems."""

from __future__ import annotations

from typing import Any

import numpy as np

from tilegrad import kernels
from tilegrad.autograd.op import Op
from tilegrad.ops import lapack
from tilegrad.ops.arithmetic import add, negative, subtract
from tilegrad.ops.define import discrete
from tilegrad.ops.linalg_checks import Array, LinAlgError, chain, matrices, singular, square
from tilegrad.ops.products import bmm, transpose
from tilegrad.ops.shape import tril, triu

# ---- inverse -------------------------------------------------------------------------------------


def _inv(a: Any) -> Array:
    a = square("inv", a)
    try:
        return lapack.inverse_and_det(a)[0] if a.shape[-1] >= lapack.SMALLEST else np.linalg.inv(a)
    except LinAlgError:
        raise singular("inv", a) from None


#: d(A^-1) = -A^-1 dA A^-1, so <G, d(A^-1)> = -<A^-T G A^-T, dA>
inv = Op(
    "inv", _inv, inputs=["a"], promotes="float", batch="stack",
    vjp={"a": lambda g, out: negative(chain(transpose(out), g, transpose(out)))},
    jvp={"a": lambda t, out: negative(chain(out, t, out))},
)  # fmt: skip

# ---- systems -------------------------------------------------------------------------------------


def _fitting(name: str, a: Array, b: Array) -> None:
    """Check that ``a x = b`` has shapes that go together."""
    if a.shape[-1] != b.shape[-2]:
        raise LinAlgError(
            f"{name}: shapes {a.shape} and {b.shape} do not fit: the matrix has {a.shape[-1]} "
            f"rows, the right side {b.shape[-2]}"
        )
    try:
        np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    except ValueError:
        raise LinAlgError(
            f"{name}: the stacks {a.shape[:-2]} of the matrices {a.shape} and {b.shape[:-2]} of "
            f"the right sides {b.shape} do not broadcast"
        ) from None


def _solve(a: Any, b: Any) -> Array:
    a, b = square("solve", a), matrices("solve", b)
    _fitting("solve", a, b)
    try:
        return np.linalg.solve(a, b)
    except LinAlgError:
        raise singular("solve", a) from None


def _solve_vjp(g: Any, a: Any, out: Any, needs: tuple[bool, bool]) -> Any:
    by_b = solve(transpose(a), g)
    return negative(bmm(by_b, transpose(out))) if needs[0] else None, by_b


#: A X = B: dA X + A dX = dB, so dX = A^-1 (dB - dA X).
#: <G, dX> = <A^-T G, dB> - <A^-T G X^T, dA>
solve = Op(
    "solve", _solve, inputs=["a", "b"], promotes="float", batch="stack",
    vjp={"a b": _solve_vjp},
    jvp={"a": lambda t, a, out: negative(solve(a, bmm(t, out))), "b": lambda t, a: solve(a, t)},
)  # fmt: skip

#: Diagonal blocks of this size go to LAPACK, the rest of a triangular system is products.
BLOCK = 64


def _triangle(a: Array, upper: bool, unitriangular: bool) -> Array:
    a = np.triu(a) if upper else np.tril(a)
    if unitriangular:
        i = np.arange(a.shape[-1])
        a[..., i, i] = 1.0
    return a


def _solve_triangular(a: Any, b: Any, upper: bool, unitriangular: bool = False) -> Array:
    a, b = square("solve_triangular", a), matrices("solve_triangular", b)
    _fitting("solve_triangular", a, b)
    n = a.shape[-1]
    a = _triangle(a, upper, unitriangular)
    if not np.diagonal(a, axis1=-2, axis2=-1).all():
        raise singular("solve_triangular", a)
    if n <= BLOCK:
        return np.linalg.solve(a, b)
    shape = (*np.broadcast_shapes(a.shape[:-2], b.shape[:-2]), *b.shape[-2:])
    x = np.array(np.broadcast_to(b, shape), dtype=np.result_type(a, b))
    starts = range(0, n, BLOCK)
    for start in reversed(starts) if upper else starts:
        rows = slice(start, min(start + BLOCK, n))
        done = slice(rows.stop, n) if upper else slice(0, start)
        right = x[..., rows, :]
        if done.stop > done.start:
            right = right - kernels.matmul(a[..., rows, done], x[..., done, :])
        x[..., rows, :] = np.linalg.solve(a[..., rows, rows], right)
    return x


def _within(x: Any, upper: bool, unitriangular: bool) -> Any:
    """The entries of ``x`` that a triangular system reads."""
    return triu(x, int(unitriangular)) if upper else tril(x, -int(unitriangular))


def _solve_triangular_vjp(
    g: Any, a: Any, out: Any, upper: bool, unitriangular: bool, needs: tuple[bool, bool]
) -> Any:
    by_b = solve_triangular(transpose(a), g, not upper, unitriangular)
    if not needs[0]:
        return None, by_b
    return _within(negative(bmm(by_b, transpose(out))), upper, unitriangular), by_b


#: As ``solve``; entries outside of the triangle, and a unit diagonal, are not read.
solve_triangular = Op(
    "solve_triangular", _solve_triangular, inputs=["a", "b"], promotes="float", batch="stack",
    vjp={"a b": _solve_triangular_vjp},
    jvp={
        "a": lambda t, a, out, upper, unitriangular: negative(
            solve_triangular(a, bmm(_within(t, upper, unitriangular), out), upper, unitriangular)
        ),
        "b": lambda t, a, upper, unitriangular: solve_triangular(a, t, upper, unitriangular),
    },
)  # fmt: skip

# ---- pseudo-inverse ------------------------------------------------------------------------------


def cutoff(s: Array, shape: tuple[int, ...], rtol: Any, atol: Any) -> Array:
    """Singular values up to this count as 0: ``max(atol, rtol * largest)``, one per matrix."""
    if rtol is None:
        rtol = max(shape[-2:]) * np.finfo(s.dtype).eps if atol is None else 0.0
    largest = s.max(axis=-1, initial=0.0)
    return np.asarray(np.maximum(0.0 if atol is None else atol, np.asarray(rtol) * largest))


def _pinv(a: Any, rtol: Any = None, atol: Any = None, hermitian: bool = False) -> Array:
    a = square("pinv", a) if hermitian else matrices("pinv", a)
    if a.size == 0:
        return np.zeros((*a.shape[:-2], a.shape[-1], a.shape[-2]), a.dtype)
    u, s, vh = np.linalg.svd(a, full_matrices=False)
    large = s > cutoff(s, a.shape, rtol, atol)[..., None]
    inverse = np.divide(1.0, s, where=large, out=np.zeros_like(s))
    product = kernels.matmul(
        np.swapaxes(vh, -1, -2) * inverse[..., None, :], np.swapaxes(u, -1, -2)
    )
    return np.asarray(product)


def _pinv_vjp(g: Any, a: Any, out: Any) -> Any:
    # the adjoints of the three terms below, in their order
    pt, gt = transpose(out), transpose(g)
    return add(
        negative(chain(pt, g, pt)),
        add(
            chain(subtract(gt, chain(a, out, gt)), out, pt),
            chain(pt, out, subtract(gt, chain(gt, out, a))),
        ),
    )


def _pinv_jvp(t: Any, a: Any, out: Any) -> Any:
    pt, tt = transpose(out), transpose(t)
    left = chain(out, pt, tt)  # P P^T dA^T
    right = chain(tt, pt, out)  # dA^T P^T P
    return add(
        negative(chain(out, t, out)),
        add(subtract(left, chain(left, a, out)), subtract(right, chain(out, a, right))),
    )


#: Golub and Pereyra (1973): while the rank stays,
#: dP = -P dA P + P P^T dA^T (I - A P) + (I - P A) dA^T P^T P
pinv = Op(
    "pinv",
    _pinv,
    inputs=["a"],
    promotes="float",
    batch="stack",
    vjp={"a": _pinv_vjp},
    jvp={"a": _pinv_jvp},
)


def _matrix_rank(a: Any, rtol: Any = None, atol: Any = None, hermitian: bool = False) -> Array:
    a = matrices("matrix_rank", a)
    if hermitian:
        s = np.sort(np.abs(np.linalg.eigvalsh(a)))[..., ::-1]
    else:
        s = np.linalg.svd(a, compute_uv=False)
    return np.asarray((s > cutoff(s, a.shape, rtol, atol)[..., None]).sum(-1))


#: How many singular values are above the cutoff.
matrix_rank = discrete("matrix_rank", _matrix_rank, "a", batch="stack")
