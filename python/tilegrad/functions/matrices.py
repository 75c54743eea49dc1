"""Free functions of linear algebra by torch's names; :mod:`tilegrad.linalg` has all of it."""

from __future__ import annotations

from typing import Any


def _linalg() -> Any:
    """The module, imported when first needed."""
    from tilegrad import linalg

    return linalg


def det(A: Any) -> Any:
    """The determinant: :func:`tilegrad.linalg.det`."""
    return _linalg().det(A)


def logdet(A: Any) -> Any:
    """log det: :func:`tilegrad.linalg.logdet`."""
    return _linalg().logdet(A)


def slogdet(A: Any) -> Any:
    """Sign and log|det|: :func:`tilegrad.linalg.slogdet`."""
    return _linalg().slogdet(A)


def inverse(A: Any) -> Any:
    """The inverse: :func:`tilegrad.linalg.inv`."""
    return _linalg().inv(A)


def matrix_exp(A: Any) -> Any:
    """exp of matrices: :func:`tilegrad.linalg.expm`."""
    return _linalg().expm(A)


def matrix_power(A: Any, n: int) -> Any:
    """Powers of matrices: :func:`tilegrad.linalg.matrix_power`."""
    return _linalg().matrix_power(A, n)


def cholesky(A: Any, upper: bool = False) -> Any:
    """The Cholesky factor: :func:`tilegrad.linalg.cholesky`."""
    return _linalg().cholesky(A, upper=upper)


def cholesky_inverse(L: Any, upper: bool = False) -> Any:
    """The inverse from a Cholesky factor: :func:`tilegrad.linalg.cholesky_inverse`."""
    return _linalg().cholesky_inverse(L, upper)


def cholesky_solve(B: Any, L: Any, upper: bool = False) -> Any:
    """A system from a Cholesky factor: :func:`tilegrad.linalg.cholesky_solve`."""
    return _linalg().cholesky_solve(B, L, upper)


def qr(A: Any, some: bool = True) -> Any:
    """``A = Q R``: :func:`tilegrad.linalg.qr`; a square Q unless ``some``."""
    return _linalg().qr(A, "reduced" if some else "complete")


__all__ = [
    "cholesky", "cholesky_inverse", "cholesky_solve", "det", "inverse", "logdet", "matrix_exp",
    "matrix_power", "qr", "slogdet",
]  # fmt: skip
