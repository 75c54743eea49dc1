"""Rows of the operations of linear algebra; see ``cases.py``.

Factorisations are compared with LAPACK through NumPy or SciPy, cofactors with minors.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.linalg
from cases import Case, Draw, case, fixed, normal

import tilegrad as tg
from tilegrad.ops import lu


def regular(*shape: int) -> Draw:
    """Well-conditioned square matrices."""
    return lambda rng: rng.standard_normal(shape) + 3.0 * np.eye(shape[-1])


def positive_definite(*shape: int) -> Draw:
    """Symmetric positive definite matrices."""

    def draw(rng: np.random.Generator) -> Any:
        a = rng.standard_normal(shape)
        return a @ np.swapaxes(a, -1, -2) + np.eye(shape[-1])

    return draw


def real_spectrum(n: int) -> Draw:
    """Non-symmetric matrices with eigenvalues 1 ... n."""

    def draw(rng: np.random.Generator) -> Any:
        p = rng.standard_normal((n, n)) + 2.0 * np.eye(n)
        return p @ np.diag(np.arange(1.0, n + 1)) @ np.linalg.inv(p)

    return draw


def minors(a: Any) -> Any:
    """The cofactor matrix by its definition."""
    n = a.shape[-1]
    result = np.empty_like(a)
    for i, j in np.ndindex(n, n):
        minor = np.delete(np.delete(a, i, -2), j, -1)
        result[..., i, j] = (-1) ** (i + j) * np.linalg.det(minor)
    return result


def cofactor_derivative(a: Any, *directions: Any) -> Any:
    """Derivatives of polynomials of degree below 5, by interpolation on the roots of unity."""
    if not directions:
        return minors(a)
    roots = np.exp(2j * np.pi * np.arange(5) / 5)
    first, *others = directions
    value = sum(cofactor_derivative(a + r * first, *others) / (5 * r) for r in roots)
    return value if np.iscomplexobj(a) else value.real


def with_factors(function: Any) -> Any:
    """The oracle of an operation that also returns the factors of its first operand."""

    def oracle(a: Any, *others: Any) -> Any:
        found = function(a, *others)
        return (*(found if isinstance(found, tuple) else (found,)), *lu.factor(a))

    return oracle


def _factors(a: Any, *others: Any) -> Any:
    return lu.factor(a)


def frechet(function: Any) -> Any:
    """Value or derivatives of a matrix function from nested 2n blocks."""

    def oracle(x: Any, *directions: Any) -> Any:
        n = x.shape[-1]
        for i in range(len(directions)):
            e = directions[i]
            blown = np.kron(np.eye(2**i), e)
            x = np.block([[x, blown], [np.zeros_like(x), x]])
        return np.real(function(x)[:n, -n:])

    return oracle


def _symmetric_exponential(x: Any, *directions: Any, f: Any) -> Any:
    return frechet(scipy.linalg.expm)(*((e + e.T) / 2 for e in (x, *directions)))


def _solve_triangular(a: Any, b: Any, upper: bool, unitriangular: bool = False) -> Any:
    return scipy.linalg.solve_triangular(a, b, lower=not upper, unit_diagonal=unitriangular)


def _gap_quotient(x: Any, w: Any, what: str) -> Any:
    gaps = w[None, :] - w[:, None] + np.eye(len(w))
    return x / gaps * (1 - np.eye(len(w)))


def _qr(a: Any) -> Any:
    q, r = np.linalg.qr(a)
    return q, r


def _eig(a: Any) -> Any:
    w, v = np.linalg.eig(a)
    return w.real, v.real


def _lu(a: Any) -> Any:
    """Without exchanges, by Crout's formulas."""
    n = len(a)
    lower, upper = np.eye(n), np.zeros((n, n))
    for i in range(n):
        upper[i, i:] = a[i, i:] - lower[i, :i] @ upper[:i, i:]
        lower[i + 1 :, i] = (a[i + 1 :, i] - lower[i + 1 :, :i] @ upper[:i, i]) / upper[i, i]
    return lower, upper


def _pivots(a: Any) -> Any:
    p, _, _ = scipy.linalg.lu(a)
    return np.argmax(p, axis=0)


singular = fixed([[1.0, 2.0, 3.0], [2.0, 4.0, 6.0], [1.0, 0.0, -1.0]])
rank_one = fixed([[1.0, 2.0, 3.0, 1.0], [2.0, 4.0, 6.0, 2.0], [0.0] * 4, [-1.0, -2.0, -3.0, -1.0]])

CASES: list[Case] = [
    case("inv", np.linalg.inv, regular(4, 4)), case("inv", np.linalg.inv, regular(2, 3, 3)),
    case("solve", with_factors(np.linalg.solve), regular(4, 4), normal(4, 2)),
    case("solve", with_factors(np.linalg.solve), regular(3, 3), normal(2, 3, 2)),
    Case("known_inv", np.linalg.inv, (regular(2, 3, 3),), derived=_factors),
    Case("known_solve", np.linalg.solve, (regular(3, 3), normal(2, 3, 2)), derived=_factors),
    Case("known_solve", lambda a, b, transposed: np.linalg.solve(a.T, b),
         (regular(3, 3), normal(3, 2)), {"transposed": True}, derived=_factors),
    Case("known_cofactor", minors, (regular(3, 3),), derived=_factors),
    case("solve_triangular", _solve_triangular, regular(4, 4), normal(4, 2), upper=True),
    case("solve_triangular", _solve_triangular, regular(4, 4), normal(4, 3), upper=False,
         unitriangular=True),
    case("pinv", np.linalg.pinv, normal(4, 3)), case("pinv", np.linalg.pinv, normal(2, 2, 4)),
    case("det", with_factors(np.linalg.det), normal(4, 4)), case("det", with_factors(np.linalg.det), normal(2, 3, 3)),
    case("det", with_factors(np.linalg.det), singular), case("det", with_factors(np.linalg.det), fixed(np.eye(3).tolist())),
    case("det", with_factors(np.linalg.det), rank_one),
    case("det", with_factors(np.linalg.det), fixed([[1.0, 2.0], [2.0, 4.0]])),
    case("cofactor", cofactor_derivative, normal(4, 4)),
    case("cofactor", cofactor_derivative, singular),
    case("cofactor", cofactor_derivative, rank_one),
    case("cofactor", cofactor_derivative, normal(2, 3, 3), normal(2, 3, 3)),
    case("cofactor", cofactor_derivative, rank_one, normal(4, 4)),
    case("cofactor", cofactor_derivative, normal(3, 3), normal(3, 3), normal(3, 3)),
    case("cofactor", cofactor_derivative, rank_one, normal(4, 4), normal(4, 4)),
    case("slogdet", with_factors(np.linalg.slogdet), regular(4, 4)),
    case("slogdet", with_factors(np.linalg.slogdet), normal(2, 3, 3)),
    case("logdet", with_factors(lambda a: np.log(np.linalg.det(a))), positive_definite(4, 4)),
    case("cholesky", np.linalg.cholesky, positive_definite(4, 4)),
    case("cholesky", np.linalg.cholesky, positive_definite(2, 3, 3)),
    case("qr", _qr, normal(4, 4)), case("qr", _qr, normal(2, 4, 3)),
    case("pivots", _pivots, normal(5, 5)), case("pivots", _pivots, normal(5, 3)),
    case("lu_unpivoted", _lu, regular(4, 4)),
    case("eigh", np.linalg.eigh, positive_definite(4, 4)),
    case("eigh", np.linalg.eigh, positive_definite(2, 3, 3)),
    case("eigvalsh", np.linalg.eigvalsh, positive_definite(4, 4)),
    case("svd", lambda a: np.linalg.svd(a, full_matrices=False), normal(4, 4)),
    case("svd", lambda a: np.linalg.svd(a, full_matrices=False), normal(2, 4, 3)),
    case("svd", lambda a, full_matrices: np.linalg.svd(a), normal(3, 4), full_matrices=True),
    case("svdvals", lambda a: np.linalg.svd(a, compute_uv=False), normal(4, 3)),
    case("nullspace", lambda a: np.linalg.svd(a)[2][2:].T, normal(2, 3)),
    case("eig", _eig, real_spectrum(3), rtol=1e-10),
    case("gap_quotient", _gap_quotient, normal(3, 3), fixed([0.5, 1.25, 3.0]), what="eigh"),
    case("expm", frechet(scipy.linalg.expm), normal(3, 3)),
    case("expm", frechet(scipy.linalg.expm), normal(3, 3), normal(3, 3)),
    case("expm", frechet(scipy.linalg.expm), normal(3, 3), normal(3, 3), normal(3, 3)),
    case("sqrtm", frechet(scipy.linalg.sqrtm), regular(3, 3)),
    case("sqrtm", frechet(scipy.linalg.sqrtm), positive_definite(3, 3)),
    case("sqrtm", frechet(scipy.linalg.sqrtm), regular(3, 3), normal(3, 3)),
    case("logm", frechet(scipy.linalg.logm), regular(3, 3)),
    case("logm", frechet(scipy.linalg.logm), positive_definite(3, 3)),
    case("logm", frechet(scipy.linalg.logm), regular(3, 3), normal(3, 3)),
    case("funm", _symmetric_exponential, positive_definite(3, 3), f=tg.exp),
    case("funm", _symmetric_exponential, fixed(np.eye(3).tolist()), normal(3, 3), f=tg.exp),
    case("funm", _symmetric_exponential, normal(3, 3), normal(3, 3), normal(3, 3), f=tg.exp),
    case("matrix_rank", np.linalg.matrix_rank, normal(2, 3, 4)),
    case("matrix_rank", np.linalg.matrix_rank, rank_one),
]  # fmt: skip
