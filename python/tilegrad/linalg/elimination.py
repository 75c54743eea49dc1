"""Gaussian elimination: LU, elementary matrices, reduced row echelon form."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tilegrad.linalg.operands import as_columns, like, matrix, operand, without_last
from tilegrad.ops import linalg_factor
from tilegrad.ops.arithmetic import add
from tilegrad.ops.linalg_checks import matrices
from tilegrad.ops.linalg_factor import right_solve
from tilegrad.ops.linalg_gauge import batched_like, columns, rows, values
from tilegrad.ops.linalg_solve import cutoff, solve_triangular
from tilegrad.ops.products import bmm, transpose
from tilegrad.ops.shape import concatenate, tril, triu

Array = npt.NDArray[Any]


class LUResult(NamedTuple):
    """``A = P L U``: a permutation, unit lower and upper triangular factors."""

    P: Any
    L: Any
    U: Any


def lu(A: Any, *, pivot: bool = True) -> LUResult:
    """``A = P L U`` (..., m, n) with partial pivoting; without ``pivot``, P is the identity.

    >>> import numpy as np, tilegrad as tg
    >>> P, L, U = tg.linalg.lu([[0.0, 1.0], [2.0, 3.0]])
    >>> U
    array([[2., 3.],
           [0., 1.]])
    """
    A = matrix("lu", A)
    m, n = A.shape[-2:]
    k = min(m, n)
    dtype = values(A).dtype if values(A).dtype.kind == "f" else np.dtype(np.float64)
    if pivot:
        order = linalg_factor.pivots(A)
        exchange = np.eye(m, dtype=dtype)[values(order)]
        permutation = batched_like(order, np.swapaxes(exchange, -1, -2))
    else:
        permutation = np.broadcast_to(np.eye(m, dtype=dtype), (*A.shape[:-2], m, m)).copy()
    permuted = bmm(transpose(permutation), A) if pivot else A
    L, U = linalg_factor.lu_unpivoted(rows(columns(permuted, 0, k), 0, k))
    if m > k:  # the rows below the square part are L2 U
        below = right_solve(rows(permuted, k, None), U, True)
        L = concatenate(L, below, axis=-2)
    if n > k:  # the columns right of it are L U2
        right = solve_triangular(rows(L, 0, k), columns(permuted, k, None), False, True)
        U = concatenate(U, right, axis=-1)
    return LUResult(like(A, permutation), L, U)


class LUFactor(NamedTuple):
    """L below and U above the diagonal in one matrix, and LAPACK's row exchanges (from 1)."""

    LU: Any
    pivots: Any


def lu_factor(A: Any, *, pivot: bool = True) -> LUFactor:
    """L and U of ``A = P L U`` in one matrix, and the row exchanges as LAPACK counts them."""
    P, L, U = lu(A, pivot=pivot)
    m, n = L.shape[-2], U.shape[-1]
    k = min(m, n)
    if m > k:
        packed = concatenate(add(tril(rows(L, 0, k), -1), U), rows(L, k, None), axis=-2)
    elif n > k:
        packed = concatenate(add(tril(L, -1), columns(U, 0, k)), columns(U, k, None), axis=-1)
    else:
        packed = add(tril(L, -1), U)
    order = np.argmax(values(P), axis=-2) if m else np.zeros(P.shape[:-1], np.int64)
    exchanges = np.empty((*order.shape[:-1], k), np.int32)
    for place in np.ndindex(order.shape[:-1]):
        current = np.arange(m)
        for i in range(k):
            j = int(np.flatnonzero(current == order[place][i])[0])
            exchanges[(*place, i)] = j + 1
            current[[i, j]] = current[[j, i]]
    return LUFactor(packed, like(packed, batched_like(P, exchanges)))


def lu_factor_ex(A: Any, *, pivot: bool = True, check_errors: bool = False) -> Any:
    """As :func:`lu_factor`, with an integer that is 0."""
    packed, exchanges = lu_factor(A, pivot=pivot)
    return packed, exchanges, like(packed, np.zeros(packed.shape[:-2], np.int32))


def lu_solve(LU: Any, pivots: Any, B: Any, *, left: bool = True, adjoint: bool = False) -> Any:
    """X with ``A X = B`` (``A^T X = B`` if ``adjoint``, ``X A = B`` if not ``left``)."""
    LU, pivots, B = matrix("lu_solve", LU), operand(pivots), operand(B)
    B, is_vector = as_columns(LU, B)
    n = LU.shape[-1]
    swaps = np.asarray(values(pivots))
    P = np.empty((*swaps.shape[:-1], n, n), values(LU).dtype)
    for place in np.ndindex(swaps.shape[:-1]):
        order = np.arange(n)
        for i, j in enumerate(swaps[place]):
            order[[i, j - 1]] = order[[j - 1, i]]
        P[place] = np.eye(n)[order].T
    P = batched_like(pivots, P)
    if not left:
        B, adjoint = transpose(B), not adjoint
    if adjoint:  # A^T = U^T L^T P^T
        half = solve_triangular(transpose(LU), B, False)
        X = bmm(P, solve_triangular(transpose(LU), half, True, True))
    else:
        half = solve_triangular(LU, bmm(transpose(P), B), False, True)
        X = solve_triangular(triu(LU), half, True)
    if not left:
        X = transpose(X)
    return without_last(X) if is_vector else X


class Elementary(NamedTuple):
    """One row operation: its matrix, and what it does in words."""

    matrix: Array
    operation: str


class RREFResult(NamedTuple):
    """The reduced row echelon form, its pivot columns, the elementary matrices in order."""

    R: Array
    pivots: tuple[int, ...]
    steps: tuple[Elementary, ...]


def elementary(n: int, target: int, source: int | None = None, factor: float = 1.0) -> Array:
    """The n x n matrix of a row operation.

    ``elementary(n, i, factor=c)`` multiplies row i by c; ``elementary(n, i, j, c)`` adds c times
    row j to row i; ``elementary(n, i, j, 0)`` exchanges the two.

    >>> elementary(2, 1, 0, -3.0)
    array([[ 1.,  0.],
           [-3.,  1.]])
    """
    E = np.eye(n)
    if source is None:
        E[target, target] = factor
    elif factor == 0:
        E[[target, source]] = E[[source, target]]
    else:
        E[target, source] = factor
    return E


def rref(A: Any, steps: bool = False, rtol: float | None = None) -> Any:
    """The reduced row echelon form of one matrix by Gauss and Jordan's elimination.

    Args:
        A: a matrix (m, n). The form depends on the rank alone where entries do: no derivative.
        steps: also return the pivot columns and the elementary matrices E_1 ... E_s, with
            ``E_s ... E_1 A = R``.
        rtol: entries below this share of the largest entry of A count as 0.

    >>> import tilegrad as tg
    >>> R, pivots, steps = tg.linalg.rref([[1.0, 2.0], [3.0, 4.0]], steps=True)
    >>> R
    array([[1., 0.],
           [0., 1.]])
    >>> [step.operation for step in steps]
    ['R1 <-> R2', 'R1 / 3', 'R2 - 1 R1', 'R2 / 0.666667', 'R1 - 1.33333 R2']
    """
    array = values(operand(A))
    if array.ndim != 2:
        raise ValueError(f"rref: needs one matrix, got shape {array.shape}")
    R = np.array(matrices("rref", array), dtype=np.float64)
    m, n = R.shape
    largest = np.abs(R).max(initial=0.0)
    tolerance = float(cutoff(np.array([largest]), (m, n), rtol, None))
    done: list[Elementary] = []
    pivots: list[int] = []

    def apply(E: Array, text: str) -> None:
        R[...] = E @ R
        done.append(Elementary(E, text))

    for column in range(n):
        row = len(pivots)
        if row == m:
            break
        best = row + int(np.argmax(np.abs(R[row:, column])))
        if abs(R[best, column]) <= tolerance:
            R[row:, column] = 0.0
            continue
        if best != row:
            apply(elementary(m, row, best, 0), f"R{row + 1} <-> R{best + 1}")
        pivot = R[row, column]
        if pivot != 1:
            apply(elementary(m, row, factor=1 / pivot), f"R{row + 1} / {pivot:g}")
            R[row, column] = 1.0
        for other in range(m):
            factor = R[other, column]
            if other != row and factor != 0:
                sign = "-" if factor > 0 else "+"
                text = f"R{other + 1} {sign} {abs(factor):g} R{row + 1}"
                apply(elementary(m, other, row, -factor), text)
                R[other, column] = 0.0
        pivots.append(column)
    R += 0.0  # no negative zeros
    return RREFResult(R, tuple(pivots), tuple(done)) if steps else R
