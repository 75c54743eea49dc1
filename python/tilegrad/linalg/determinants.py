"""Determinants, adjugates and cofactors: polynomials, differentiable at every matrix."""

from __future__ import annotations

from typing import Any, NamedTuple

from tilegrad.linalg.operands import matrix
from tilegrad.ops import linalg_det
from tilegrad.ops.linalg_checks import square
from tilegrad.ops.linalg_gauge import values


class SlogdetResult(NamedTuple):
    """Sign and logarithm of the absolute value of a determinant."""

    sign: Any
    logabsdet: Any


def det(A: Any) -> Any:
    """The determinant (..., n, n) -> (...).

    Its gradient is the matrix of cofactors, right at singular matrices too, and so are all higher
    derivatives.

    >>> import numpy as np, tilegrad as tg
    >>> A = tg.tensor(np.array([[1.0, 2.0], [2.0, 4.0]]), requires_grad=True)
    >>> tg.linalg.det(A).backward()
    >>> A.grad.numpy()
    array([[ 4., -2.],
           [-2.,  1.]])
    """
    return linalg_det.det(matrix("det", A))


def slogdet(A: Any) -> SlogdetResult:
    """Sign and log|det| (..., n, n) -> (...), (...); 0 and -inf for singular matrices."""
    return SlogdetResult(*linalg_det.slogdet(matrix("slogdet", A)))


def logdet(A: Any) -> Any:
    """log det (..., n, n) -> (...): NaN where the determinant is negative, -inf where it is 0.

    The gradient is A^-T.

    >>> import numpy as np, tilegrad as tg
    >>> A = tg.tensor(np.diag([1.0, 2.0]), requires_grad=True)
    >>> tg.linalg.logdet(A).backward()
    >>> A.grad.numpy()
    array([[1. , 0. ],
           [0. , 0.5]])
    """
    return linalg_det.logdet(matrix("logdet", A))


def cofactor(A: Any, *directions: Any) -> Any:
    """The matrix of cofactors (..., n, n), or its derivative in one or several ``directions``."""
    return linalg_det.cofactor(matrix("cofactor", A), *directions)


def adjugate(A: Any) -> Any:
    """The adjugate (..., n, n): ``A adj(A) = det(A) I``, at matrices of every rank.

    >>> import tilegrad as tg
    >>> tg.linalg.adjugate([[1.0, 2.0], [2.0, 4.0]])
    array([[ 4., -2.],
           [-2.,  1.]])
    """
    A = matrix("adjugate", A)
    square("adjugate", values(A))
    return linalg_det.adjugate(A)
