"""Functions of matrices: powers, exponential, logarithm, roots, any function of symmetric ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tilegrad.linalg.operands import matrix, mirrored
from tilegrad.ops import linalg_functions
from tilegrad.ops import linalg_funm as _symmetric
from tilegrad.ops.linalg_solve import inv
from tilegrad.ops.products import bmm
from tilegrad.ops.shape import copy, expand


def expm(A: Any) -> Any:
    """exp(A) (..., n, n) by scaling and squaring (Al-Mohy and Higham 2009).

    Its vjp is the Frechet derivative at the transpose, ``L(A^T, G)``.

    >>> import numpy as np, tilegrad as tg
    >>> tg.linalg.expm(np.array([[0.0, 1.0], [0.0, 0.0]]))
    array([[1., 1.],
           [0., 1.]])
    """
    return linalg_functions.expm(matrix("expm", A))


def matrix_exp(A: Any) -> Any:
    """:func:`expm` by torch's name."""
    return linalg_functions.expm(matrix("matrix_exp", A))


def expm_frechet(A: Any, E: Any, compute_expm: bool = True) -> Any:
    """``exp(A)`` and its Frechet derivative L(A, E) in the direction E, as in SciPy.

    Both come from one scaling and squaring of A + tE, t^2 = 0 (Al-Mohy and Higham 2009), without
    blocks of size 2n.

    Args:
        compute_expm: False gives L(A, E) alone.
    """
    A, E = matrix("expm_frechet", A), matrix("expm_frechet", E)
    derivative = linalg_functions.expm(A, E)
    return (linalg_functions.expm(A), derivative) if compute_expm else derivative


def sqrtm(A: Any) -> Any:
    """The principal square root of matrices without eigenvalues on the negative real axis.

    Positive semidefinite symmetric matrices may be singular; like that of a number the root has no
    derivative there, and asking for one raises :class:`LinAlgError`.
    """
    return linalg_functions.sqrtm(matrix("sqrtm", A))


def logm(A: Any) -> Any:
    """The principal logarithm of matrices without eigenvalues on the closed negative real axis."""
    return linalg_functions.logm(matrix("logm", A))


def funm(A: Any, f: Callable[[Any], Any], UPLO: str = "L") -> Any:
    """``V diag(f(w)) V^T`` of symmetric matrices ``A = V diag(w) V^T``.

    Derivatives of every order are those of Daleckii and Krein, right where eigenvalues repeat.

    Args:
        A: symmetric matrices (..., n, n), of which one triangle is read.
        f: maps tensors to tensors entry by entry, by differentiable operations.

    >>> import numpy as np, tilegrad as tg
    >>> M = tg.tensor(np.eye(2), requires_grad=True)
    >>> tg.linalg.funm(M, lambda w: w * w).sum().backward()
    >>> M.grad.numpy()
    array([[2., 2.],
           [2., 2.]])
    """
    return _symmetric.funm(mirrored("funm", A, UPLO), f=f)


def matrix_power(A: Any, n: int) -> Any:
    """A to an integer power, negative ones by the inverse."""
    A = matrix("matrix_power", A)
    if A.shape[-1] != A.shape[-2]:
        raise np.linalg.LinAlgError(f"matrix_power: needs square matrices, got shape {A.shape}")
    if isinstance(n, bool) or not isinstance(n, (int, np.integer)):
        raise TypeError(f"matrix_power: the exponent must be an integer, not {n!r}")
    if n == 0:
        return copy(expand(np.eye(A.shape[-1], dtype=A.dtype), A.shape)) + A * 0
    base = inv(A) if n < 0 else A
    result = None
    for bit in bin(abs(n))[2:]:
        if result is not None:
            result = bmm(result, result)
        if bit == "1":
            result = base if result is None else bmm(result, base)
    return copy(result) if result is A else result
