"""Inverses, linear systems, least squares."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from tilegrad.linalg.operands import (
    as_columns,
    axes_last,
    like,
    matrix,
    mirrored,
    operand,
    without_last,
)
from tilegrad.ops import linalg_factor, linalg_solve
from tilegrad.ops.arithmetic import square, subtract
from tilegrad.ops.linalg_checks import LinAlgError, matrices
from tilegrad.ops.linalg_gauge import batched_like, values
from tilegrad.ops.products import bmm, transpose
from tilegrad.ops.reduction import sum
from tilegrad.ops.shape import reshape


def inv(A: Any) -> Any:
    """The inverse (..., n, n).

    >>> import numpy as np, tilegrad as tg
    >>> A = tg.tensor(np.diag([1.0, 2.0]), requires_grad=True)
    >>> tg.linalg.trace(tg.linalg.inv(A)).backward()  # d tr(A^-1) = -tr(A^-2 dA)
    >>> A.grad.numpy()
    array([[-1.  , -0.  ],
           [-0.  , -0.25]])
    """
    return linalg_solve.inv(matrix("inv", A))


def inv_ex(A: Any, *, check_errors: bool = False) -> Any:
    """The inverse and an integer that is 0: a singular matrix raises, as in :func:`inv`."""
    result = inv(A)
    return result, like(result, np.zeros(result.shape[:-2], np.int32))


def solve(A: Any, B: Any, *, left: bool = True) -> Any:
    """X with ``A X = B``, or with ``X A = B`` if not ``left``.

    Args:
        A: (..., n, n).
        B: (..., n, k), or vectors (..., n); stacks broadcast.

    >>> import tilegrad as tg
    >>> tg.linalg.solve([[2.0, 0.0], [0.0, 4.0]], [2.0, 2.0])
    array([1. , 0.5])
    """
    A, B = matrix("solve", A), operand(B)
    B, is_vector = as_columns(A, B)
    if is_vector:
        return without_last(linalg_solve.solve(A if left else transpose(A), B))
    if left:
        return linalg_solve.solve(A, B)
    return transpose(linalg_solve.solve(transpose(A), transpose(B)))


def solve_ex(A: Any, B: Any, *, left: bool = True, check_errors: bool = False) -> Any:
    """The solution and an integer that is 0: a singular matrix raises, as in :func:`solve`."""
    result = solve(A, B, left=left)
    return result, like(result, np.zeros(np.shape(values(operand(A)))[:-2], np.int32))


def solve_triangular(
    A: Any, B: Any, *, upper: bool, left: bool = True, unitriangular: bool = False
) -> Any:
    """X with ``A X = B`` (or ``X A = B``) for a triangular A, of which one triangle is read."""
    A, B = matrix("solve_triangular", A), operand(B)
    B, is_vector = as_columns(A, B)
    if left or is_vector:
        X = linalg_solve.solve_triangular(A, B, upper, unitriangular)
        return without_last(X) if is_vector else X
    X = linalg_solve.solve_triangular(transpose(A), transpose(B), not upper, unitriangular)
    return transpose(X)


def cholesky_solve(B: Any, L: Any, upper: bool = False) -> Any:
    """X with ``L L^T X = B`` (``L^T L X = B`` if ``upper``) from a Cholesky factor."""
    B, L = operand(B), matrix("cholesky_solve", L)
    B, is_vector = as_columns(L, B)
    if upper:
        L = transpose(L)
    half = linalg_solve.solve_triangular(L, B, False)
    X = linalg_solve.solve_triangular(transpose(L), half, True)
    return without_last(X) if is_vector else X


def cholesky_inverse(L: Any, upper: bool = False) -> Any:
    """``(L L^T)^-1`` from a Cholesky factor."""
    L = matrix("cholesky_inverse", L)
    return cholesky_solve(np.eye(L.shape[-1], dtype=L.dtype), L, upper)


def pinv(
    A: Any, rcond: Any = None, hermitian: bool = False, *, atol: Any = None, rtol: Any = None
) -> Any:
    """The Moore-Penrose inverse (..., n, m); singular values up to ``max(atol, rtol s_max)`` are 0.

    Differentiable while the rank stays.
    """
    A = matrix("pinv", A)
    if hermitian:
        A = linalg_factor.symmetric(mirrored("pinv", A, "L"))
    rtol = rcond if rtol is None else rtol
    return linalg_solve.pinv(A, _plain(rtol), _plain(atol), hermitian)


def _plain(x: Any) -> Any:
    return None if x is None else values(x)


def matrix_rank(
    A: Any, tol: Any = None, hermitian: bool = False, *, atol: Any = None, rtol: Any = None
) -> Any:
    """The number of singular values above ``max(atol, rtol s_max)`` (``tol``: an absolute one)."""
    A = operand(A)
    if A.ndim < 2:
        return np.asarray(int(values(A).any()))
    atol = tol if atol is None else atol
    return linalg_solve.matrix_rank(A, rtol=_plain(rtol), atol=_plain(atol), hermitian=hermitian)


class LstsqResult(NamedTuple):
    """The minimiser, what is left, the rank of A and its singular values."""

    solution: Any
    residuals: Any
    rank: Any
    singular_values: Any


def lstsq(A: Any, B: Any, rcond: float | None = None, *, driver: str | None = None) -> LstsqResult:
    """X of least norm that minimises ``|A X - B|`` (..., m, n), (..., m, k) -> (..., n, k).

    A tall matrix of full rank is solved by QR, any other by its pseudo-inverse; both differentiate
    to any order while the rank stays. ``residuals`` are the sums of squares by column, empty unless
    A is tall and of full rank. ``driver`` is accepted for torch's sake.

    >>> import tilegrad as tg
    >>> tg.linalg.lstsq([[1.0], [1.0]], [1.0, 3.0]).solution
    array([2.])
    """
    A, B = matrix("lstsq", A), operand(B)
    B, is_vector = as_columns(A, B)
    m, n = A.shape[-2:]
    if B.shape[-2] != m:
        raise LinAlgError(
            f"lstsq: shapes {A.shape} and {B.shape} do not fit: the matrix has {m} rows, the right "
            f"side {B.shape[-2]}"
        )
    s = np.linalg.svd(matrices("lstsq", values(A)), compute_uv=False)
    rank = (s > linalg_solve.cutoff(s, A.shape, rcond, None)[..., None]).sum(-1)
    full = bool((rank == n).all())
    if full:
        q, r = linalg_factor.qr(A)
        X = linalg_solve.solve_triangular(r, bmm(transpose(q), B), True)
    else:
        X = bmm(linalg_solve.pinv(A, rcond), B)
    if full and m > n:
        residuals = sum(square(subtract(bmm(A, X), B)), -2)
    else:
        residuals = like(X, np.zeros((0,), values(X).dtype))
    if is_vector:
        X = without_last(X)
    rank, s = (like(X, batched_like(A, found)) for found in (rank, s))
    return LstsqResult(X, residuals, rank, s)


def tensorinv(A: Any, ind: int = 2) -> Any:
    """The inverse of a tensor as a map from its last axes to the first ``ind``."""
    A = operand(A)
    if ind <= 0:
        raise ValueError(f"tensorinv: ind must be positive, not {ind}")
    rows, columns = A.shape[:ind], A.shape[ind:]
    if math.prod(rows) != math.prod(columns):
        raise LinAlgError(f"tensorinv: {rows} and {columns} in shape {A.shape} differ in size")
    flat = linalg_solve.inv(reshape(A, (math.prod(rows), math.prod(columns))))
    return reshape(flat, columns + rows)


def tensorsolve(A: Any, B: Any, dims: Any = None) -> Any:
    """X with ``tensordot(A, X, X.ndim) = B``; ``dims`` of A are moved to its end first."""
    A, B = operand(A), operand(B)
    if dims is not None:
        A = axes_last(A, tuple(dims))
    shape = A.shape[B.ndim :]
    size = math.prod(shape)
    flat = linalg_solve.solve(
        reshape(A, (math.prod(B.shape), size)), reshape(B, (math.prod(B.shape), 1))
    )
    return reshape(flat, shape)
