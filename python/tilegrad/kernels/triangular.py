"""Triangular systems, and the elimination that leads to them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tilegrad.kernels.registry import kernel, reference

Array = NDArray[Any]


@kernel
def solve_triangular(
    a: ArrayLike, b: ArrayLike, *, upper: bool = False, unitriangular: bool = False
) -> Array:
    """Return X with ``a X = b`` for triangular matrices ``a``, of which one triangle is read.

    Args:
        a: ``(..., n, n)``.
        b: ``(..., n, k)``; stacks broadcast.
        upper: read the upper triangle instead of the lower one.
        unitriangular: take the diagonal as ones without reading it.

    Raises:
        LinAlgError: shapes that do not fit, or a zero on the diagonal.

    Example:
        >>> import numpy as np
        >>> solve_triangular(np.array([[2.0, 7.0], [1.0, 1.0]]), np.array([[4.0], [5.0]]))
        array([[2.],
               [3.]])
    """
    a = np.triu(a) if upper else np.tril(a)
    if unitriangular:
        i = np.arange(a.shape[-1])
        a[..., i, i] = 1.0
    solution: Array = np.linalg.solve(a, np.asarray(b))
    return solution


@kernel
def eliminate(a: ArrayLike) -> tuple[Array, Array]:
    """Factor ``a P = D E`` by elimination with exchanges of columns (Crout's form).

    It is the LU factorisation ``A^T = P (E^T) (D^T)`` with exchanges of rows of the transpose.

    Args:
        a: ``(..., m, n)``.

    Returns:
        ``(factors, pivots)``: D, lower triangular, and above its diagonal E, whose own is ones, in
        one array ``(..., m, n)``; and ``(..., min(m, n))`` integers: step i exchanged columns i and
        ``pivots[i] >= i``, which had the largest entry of row i. Singular matrices leave zeros on
        the diagonal.

    Example:
        >>> import numpy as np
        >>> factors, pivots = eliminate(np.array([[1.0, 2.0], [3.0, 4.0]]))
        >>> factors
        array([[2. , 0.5],
               [4. , 1. ]])
        >>> pivots
        array([1, 1])
    """
    factors = np.array(a, order="C")
    if factors.dtype.kind != "f":
        factors = factors.astype(np.float64)
    m, n = factors.shape[-2:]
    steps = min(m, n)
    pivots = np.empty((*factors.shape[:-2], steps), np.int64)
    for place in np.ndindex(factors.shape[:-2]):
        x = factors[place]
        for i in range(steps):
            pivot = pivots[place][i] = i + int(np.argmax(np.abs(x[i, i:])))
            x[:, [i, pivot]] = x[:, [pivot, i]]
            if x[i, i] != 0:
                x[i, i + 1 :] /= x[i, i]
                x[i + 1 :, i + 1 :] -= x[i + 1 :, i, None] * x[i, i + 1 :]
    return factors, pivots


def _orders(pivots: Array) -> Array:
    """The order of columns (..., n) that the exchanges end in."""
    orders = np.empty(pivots.shape, np.int64)
    for place in np.ndindex(pivots.shape[:-1]):
        order = orders[place] = np.arange(pivots.shape[-1])
        for i, j in enumerate(pivots[place]):
            order[[i, j]] = order[[j, i]]
        orders[place] = order
    return orders


@kernel
def solve_factored(
    factors: ArrayLike, pivots: ArrayLike, b: ArrayLike, *, transposed: bool = False
) -> Array:
    """Return X with ``A X = b``, or ``A^T X = b`` if ``transposed``, from :func:`eliminate`.

    Args:
        factors: ``(..., n, n)``, and
        pivots: ``(..., n)``: what :func:`eliminate` returns for A.
        b: ``(..., n, k)``; stacks broadcast.

    Raises:
        LinAlgError: shapes that do not fit, or a zero on the diagonal.

    Example:
        >>> import numpy as np
        >>> A, b = np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([[5.0], [11.0]])
        >>> solve_factored(*eliminate(A), b)
        array([[1.],
               [2.]])
    """
    factors, b = np.asarray(factors), np.asarray(b)
    lower = np.tril(factors)
    upper = np.triu(factors, 1) + np.eye(factors.shape[-1], dtype=factors.dtype)
    stack = np.broadcast_shapes(factors.shape[:-2], b.shape[:-2])
    order = _orders(np.asarray(pivots))[..., None]
    order = np.broadcast_to(order, (*stack, *order.shape[-2:]))
    if transposed:  # A^-T = D^-T E^-T P^T
        turned = np.take_along_axis(np.broadcast_to(b, stack + b.shape[-2:]), order, -2)
        half = np.linalg.solve(np.swapaxes(upper, -1, -2), turned)
        return np.asarray(np.linalg.solve(np.swapaxes(lower, -1, -2), half))
    half = np.linalg.solve(upper, np.linalg.solve(lower, b))  # A^-1 = P E^-1 D^-1
    solution = np.empty_like(half)
    np.put_along_axis(solution, order, half, -2)
    return solution


@kernel
def invert_factored(factors: ArrayLike, pivots: ArrayLike) -> Array:
    """Return ``A^-1`` from what :func:`eliminate` returns for A.

    Args:
        factors: ``(..., n, n)``.
        pivots: ``(..., n)``.

    Raises:
        LinAlgError: a zero on the diagonal.

    Example:
        >>> import numpy as np
        >>> invert_factored(*eliminate(np.array([[2.0, 0.0], [2.0, 4.0]])))
        array([[ 0.5 ,  0.  ],
               [-0.25,  0.25]])
    """
    factors = np.asarray(factors)
    eye = np.broadcast_to(np.eye(factors.shape[-1], dtype=factors.dtype), factors.shape)
    return reference.solve_factored(factors, pivots, eye)  # type: ignore[no-any-return]
