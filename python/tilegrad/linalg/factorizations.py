"""Cholesky, QR, eigenvalues and singular values."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from tilegrad.autograd.tensor import Tensor
from tilegrad.linalg.operands import is_symmetric, like, matrix, mirrored
from tilegrad.ops import linalg_factor, linalg_spectral
from tilegrad.ops.linalg_checks import square
from tilegrad.ops.linalg_gauge import columns, differentiable, values
from tilegrad.ops.linalg_solve import solve
from tilegrad.ops.linalg_spectral import diagonal_matrix
from tilegrad.ops.products import bmm, transpose
from tilegrad.ops.shape import concatenate


class QRResult(NamedTuple):
    """Orthonormal columns and an upper triangular factor."""

    Q: Any
    R: Any


class EigResult(NamedTuple):
    """Eigenvalues, and eigenvectors as columns."""

    eigenvalues: Any
    eigenvectors: Any


class SVDResult(NamedTuple):
    """Left vectors as columns, singular values, right vectors as rows."""

    U: Any
    S: Any
    Vh: Any


class DiagonalizeResult(NamedTuple):
    """``A = P D P^-1``."""

    P: Any
    D: Any


def cholesky(A: Any, *, upper: bool = False) -> Any:
    """The lower factor of a positive definite matrix: ``A = L L^T`` (or ``U^T U``).

    Reads the lower (upper) triangle only. The gradient by a symmetric A is symmetric.
    """
    factor = linalg_factor.cholesky(mirrored("cholesky", A, "U" if upper else "L"))
    return transpose(factor) if upper else factor


def cholesky_ex(A: Any, *, upper: bool = False, check_errors: bool = False) -> Any:
    """The factor and an integer that is 0: what has no factor raises, as in :func:`cholesky`."""
    factor = cholesky(A, upper=upper)
    return factor, like(factor, np.zeros(factor.shape[:-2], np.int32))


def qr(A: Any, mode: str = "reduced") -> Any:
    """``A = Q R`` (..., m, n).

    Args:
        A: matrices of full rank, if derivatives are asked for.
        mode: ``"reduced"`` (Q m x k, R k x n, k = min(m, n)), ``"complete"`` (Q m x m), or ``"r"``:
            of an array R alone, as NumPy has it, of a tensor with an empty Q, as torch has it.

    Columns of a complete Q beyond the n-th span a complement: functions of them are differentiable
    as far as they do not depend on which basis it was.
    """
    if mode not in ("reduced", "complete", "r"):
        raise ValueError(f"qr: mode must be 'reduced', 'complete' or 'r', not {mode!r}")
    A = matrix("qr", A)
    m, n = A.shape[-2:]
    complete = mode == "complete" and m > n
    if n > m:  # the first m columns decide on Q
        q, r = linalg_factor.qr(columns(A, 0, m))
        r = concatenate(r, bmm(transpose(q), columns(A, m, None)), axis=-1)
    else:
        q, r = linalg_factor.qr(A, complete)
    if mode == "r":
        return QRResult(like(r, np.zeros((0,), r.dtype)), r) if isinstance(r, Tensor) else r
    return QRResult(q, r)


def eigh(A: Any, UPLO: str = "L") -> EigResult:
    """Eigenvalues in ascending order and orthonormal eigenvectors of symmetric matrices.

    Reads one triangle only. Where eigenvalues repeat, gradients that depend on the choice of
    eigenvectors raise :class:`LinAlgError`; others are right.
    """
    w, v = linalg_spectral.eigh(mirrored("eigh", A, UPLO))
    return EigResult(differentiable(w), v)


def eigvalsh(A: Any, UPLO: str = "L") -> Any:
    """The eigenvalues of symmetric matrices in ascending order."""
    A = mirrored("eigvalsh", A, UPLO)
    if isinstance(A, Tensor) and A._requires_grad:  # the gradient needs the vectors
        return differentiable(linalg_spectral.eigh(A)[0])
    return linalg_spectral.eigvalsh(A)


def eig(A: Any) -> EigResult:
    """Eigenvalues and eigenvectors (columns of length 1) of matrices with a real spectrum.

    Raises:
        LinAlgError: an eigenvalue is complex.
    """
    w, v = linalg_spectral.eig(matrix("eig", A))
    return EigResult(differentiable(w), v)


def eigvals(A: Any) -> Any:
    """The eigenvalues of matrices with a real spectrum."""
    A = matrix("eigvals", A)
    square("eigvals", values(A))
    return linalg_spectral.eig(A)[0]


def diagonalize(A: Any) -> DiagonalizeResult:
    """``A = P D P^-1`` with a diagonal D; P is orthogonal for symmetric matrices.

    >>> import numpy as np, tilegrad as tg
    >>> P, D = tg.linalg.diagonalize([[2.0, 1.0], [0.0, 3.0]])
    >>> np.round(np.linalg.inv(P) @ [[2.0, 1.0], [0.0, 3.0]] @ P - D, 12).any()
    np.False_
    """
    A = matrix("diagonalize", A)
    found = linalg_spectral.eigh(A) if is_symmetric(values(A)) else linalg_spectral.eig(A)
    w, p = found
    return DiagonalizeResult(p, diagonal_matrix(w))


def similar(A: Any, P: Any) -> Any:
    """``P^-1 A P``: the same linear map in the basis of P's columns."""
    A, P = matrix("similar", A), matrix("similar", P)
    return solve(P, bmm(A, P))


def svd(A: Any, full_matrices: bool = True, *, driver: str | None = None) -> SVDResult:
    """``A = U diag(S) Vh`` (..., m, n), singular values descending.

    With ``full_matrices`` U is m x m and Vh n x n; the vectors beyond min(m, n) span complements.
    Gradients that depend on their choice, or on that of vectors of repeated singular values, raise
    :class:`LinAlgError`. ``driver`` is accepted for torch's sake.
    """
    u, s, vh = linalg_spectral.svd(matrix("svd", A), full_matrices)
    return SVDResult(u, differentiable(s), vh)


def _singular_values(A: Any) -> Any:
    if isinstance(A, Tensor) and A._requires_grad:
        return differentiable(linalg_spectral.svd(A)[1])
    return linalg_spectral.svdvals(A)


def svdvals(A: Any, *, driver: str | None = None) -> Any:
    """The singular values in descending order; ``driver`` is accepted for torch's sake."""
    return _singular_values(matrix("svdvals", A))


def nullspace(A: Any, rtol: float | None = None) -> Any:
    """An orthonormal basis of the null space, as columns (..., n, n - rank).

    >>> import numpy as np, tilegrad as tg
    >>> A = np.array([[1.0, 2.0], [2.0, 4.0]])
    >>> bool(abs(A @ tg.linalg.nullspace(A)).max() < 1e-15)
    True
    """
    return linalg_spectral.nullspace(matrix("nullspace", A), rtol)
