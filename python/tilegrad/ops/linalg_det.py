"""Determinants and cofactors, right at matrices of every rank and to every order.

The gradient of the determinant is the matrix of cofactors, a polynomial in the entries that exists
at singular matrices as well. All its derivatives form one family, ``cofactor(A, E_1, ..., E_k)``:
the k-th derivative of the cofactor matrix in the directions E. It is symmetric, linear in them, and

    ``<G, cofactor(A, E_1, ..., E_k)>  =  D^(k+1) det(A)[E_1, ..., E_k, G]``

is symmetric in the E and G together. So the gradient by E_j is ``cofactor(A, the other E, G)``, the
gradient by A is ``cofactor(A, E_1, ..., E_k, G)``: one record is closed under differentiation.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tilegrad.autograd.op import Op
from tilegrad.ops import jets, lu, reduction
from tilegrad.ops.arithmetic import multiply
from tilegrad.ops.jets import Jet
from tilegrad.ops.linalg_checks import Array, LinAlgError, outside, singular, square
from tilegrad.ops.linalg_solve import known_inv
from tilegrad.ops.products import transpose

# ---- cofactors -----------------------------------------------------------------------------------

#: det(A) A^-T loses cond(A) units in the last place. The way over the singular values loses none
#: and costs some ten times as much: small matrices take it from this condition on,
SMALL_LIMIT, SMALL = 1e4, 64
#: and large ones from this one, where half of the digits would be lost.
LARGE_LIMIT = 1e8
#: Singular values below this share of the largest are kept out of inverses.
SPLIT = 1e-4


def _cofactor(a: Any, *directions: Any) -> Array:
    return _derivative(square("cofactor", a), directions, None)


def _derivative(a: Array, directions: Any, factors: tuple[Array, Array] | None) -> Array:
    """``cofactor(a, *directions)``, if possible from the factors of ``a``."""
    n = a.shape[-1]
    dtype = np.result_type(a, *directions)
    shape = np.broadcast_shapes(a.shape, *(np.shape(e) for e in directions))
    if len(directions) >= n or 0 in shape:  # a polynomial of degree n - 1
        return np.zeros(shape, dtype)
    adjugate: Jet | None
    if n <= 2:  # Faddeev-LeVerrier without a cancellation
        adjugate = _faddeev_leverrier(jets.variable(a, directions))[0]
    else:
        adjugate = _regular(a, directions, factors)
    if adjugate is not None:
        return np.swapaxes(jets.last(adjugate, shape), -1, -2).astype(dtype, copy=False)
    if len(directions) <= 1:
        return _by_singular_values(a, *directions).astype(dtype, copy=False)
    return _by_elimination(a, directions, shape).astype(dtype, copy=False)


def _regular(a: Array, directions: Any, factors: tuple[Array, Array] | None) -> Jet | None:
    """adj A(t) = det A(t) A(t)^-1, or None where the condition of A is too large for that."""
    factors = lu.factor(a) if factors is None else factors
    with np.errstate(all="ignore"):
        try:
            inverse = lu.inverse(*factors)
        except LinAlgError:
            return None
        condition = _size(a) * _size(inverse)
        limit = SMALL_LIMIT if a.shape[-1] <= SMALL else LARGE_LIMIT
        if a.dtype == np.float32:
            limit = math.sqrt(limit)
        if not np.all(condition < limit):
            return None
        if not directions:
            inverse *= lu.determinant(*factors)[..., None, None]
            return [inverse]
        jet = jets.variable(a, directions)
        return jets.times(jets.determinant(jet), jets.inverse(jet))


def _size(a: Array) -> Array:
    """Frobenius's norm."""
    return np.asarray(np.sqrt(np.einsum("...ij,...ij->...", a, a)))


def _frame(a: Array) -> tuple[Array, Array, Array]:
    """``a = u diag(s) vh`` in float64 with s[0] carrying the sign of det u det vh."""
    u, s, vh = np.linalg.svd(a.astype(np.float64, copy=False))
    sign = np.sign(np.linalg.det(u)) * np.sign(np.linalg.det(vh))
    u[..., :, 0] *= sign[..., None]
    s[..., 0] *= sign
    return u, s, vh


def _products_without(s: Array) -> Array:
    """``p[i, j]``: the product of all s but s_i and s_j (``p[i, i]``: all but s_i), no division.

    Mantissas and exponents apart, so that no partial product over- or underflows.
    """
    n = s.shape[-1]
    rows = np.array(np.broadcast_to(s[..., None, :], (*s.shape, n)))
    rows[..., range(n), range(n)] = 1.0
    mantissa, exponent = np.frexp(rows)
    small = np.abs(mantissa) < math.sqrt(0.5)
    mantissa, exponent = np.where(small, 2 * mantissa, mantissa), exponent - small
    ones = np.ones_like(mantissa[..., :1])
    before = np.cumprod(np.concatenate([ones, mantissa[..., :-1]], -1), -1)
    after = np.cumprod(np.concatenate([ones, mantissa[..., :0:-1]], -1), -1)[..., ::-1]
    with np.errstate(over="ignore", under="ignore"):
        return np.asarray(np.ldexp(before * after, exponent.sum(-1, keepdims=True) - exponent))


def _by_singular_values(a: Array, direction: Any = None) -> Array:
    """The cofactors, or their derivative in one direction, exact at every rank.

    With A = U S V^T and det U V = 1, ``cof(A + tE) = U cof(S + t E') V^T``, E' = U^T E V, and
    ``cof(S)_ii`` is the product of the other s. Of its derivative, ``-p_ij E'_ji`` stands off the
    diagonal and ``sum over j != i of p_ij E'_jj`` on it.
    """
    u, s, vh = _frame(a)
    p = _products_without(s)
    n = s.shape[-1]
    if direction is None:
        return np.asarray((u * np.diagonal(p, axis1=-2, axis2=-1)[..., None, :]) @ vh)
    p[..., range(n), range(n)] = 0.0
    turned = np.swapaxes(u, -1, -2) @ direction @ np.swapaxes(vh, -1, -2)
    inner = -p * np.swapaxes(turned, -1, -2)
    diagonal = np.diagonal(turned, axis1=-2, axis2=-1)
    inner[..., range(n), range(n)] = (p @ diagonal[..., None])[..., 0]
    return np.asarray(u @ inner @ vh)


def _by_elimination(a: Array, directions: Any, shape: tuple[int, ...]) -> Array:
    """Derivatives of higher order: the regular part by inverses, the rest without division.

    In the frame of the singular values ``M(t) = S + U^T (A(t) - A) V`` has blocks M11 (singular
    values above the split: invertible) and M22. With d = det M11 and the Schur complement
    C = M22 - M21 M11^-1 M12,

        adj M = d [ det(C) M11^-1 + M11^-1 M12 adj(C) M21 M11^-1 ,  -M11^-1 M12 adj(C) ]
                  [ -adj(C) M21 M11^-1                           ,  adj(C)             ]

    is polynomial in C: det C and adj C come from Faddeev and LeVerrier's recursion.
    """
    u, s, vh = _frame(a)
    ut, v = np.swapaxes(u, -1, -2), np.swapaxes(vh, -1, -2)
    n = s.shape[-1]
    size = np.abs(s)
    kept = int(np.min(np.sum(size > SPLIT * np.max(size, axis=-1, keepdims=True), axis=-1)))
    eye = np.eye(n)
    m = jets.variable(s[..., None] * eye, [ut @ e @ v for e in directions])
    top, rest = slice(0, kept), slice(kept, n)
    c, m12, m21 = (
        jets.block(m, rest, rest), jets.block(m, top, rest), jets.block(m, rest, top)
    )  # fmt: skip
    m11 = jets.block(m, top, top)
    w = jets.inverse(m11) if kept else m11
    d = jets.determinant(m11) if kept else [np.ones(s.shape[:-1]), *[None] * (len(m) - 1)]
    x, y = jets.matmul(w, m12), jets.matmul(m21, w)
    c = jets.add(c, jets.scale(jets.matmul(m21, x), -1.0))
    adj, det = _faddeev_leverrier(c)
    blocks = [
        [jets.add(jets.times(det, w), jets.matmul(jets.matmul(x, adj), y)),
         jets.scale(jets.matmul(x, adj), -1.0)],
        [jets.scale(jets.matmul(adj, y), -1.0), adj],
    ]  # fmt: skip
    result = np.zeros(shape)
    for rows, line in zip((top, rest), blocks, strict=True):
        for columns, jet in zip((top, rest), line, strict=True):
            last = jets.times(d, jet)[-1]
            if last is not None:
                result[..., rows, columns] = last
    return np.asarray(u @ np.swapaxes(result, -1, -2) @ vh)


def _faddeev_leverrier(a: Jet) -> tuple[Jet, Jet]:
    """Adjugate and determinant of a jet of r x r matrices, dividing by 1 ... r only.

    ``M_1 = I, c_j = -tr(A M_j) / j, M_(j+1) = A M_j + c_j I``; adj A = (-1)^(r-1) M_r,
    det A = (-1)^r c_r.
    """
    r = a[0].shape[-1]
    eye = jets.constant(np.eye(r, dtype=a[0].dtype), a)
    m: Jet = eye
    c: Jet = jets.constant(np.ones(a[0].shape[:-2], a[0].dtype), a)
    for j in range(1, r + 1):
        product = jets.matmul(a, m)
        c = jets.scale(jets.trace(product), -1.0 / j)
        if j < r:
            m = jets.add(product, jets.times(c, eye))
    return jets.scale(m, (-1.0) ** (r - 1)), jets.scale(c, (-1.0) ** r)


def _replaced(inputs: tuple[Any, ...], i: int, value: Any) -> Any:
    """The family member for input ``i`` and the new direction ``value``."""
    if i == 0:
        return cofactor(*inputs, value)
    return cofactor(*inputs[:i], *inputs[i + 1 :], value)


#: ``cofactor(A, E_1, ..., E_k)``: the k-th derivative of the cofactor matrix. By the symmetry
#: stated above the same formula serves the gradient of ``<g, .>`` and the tangent.
cofactor = Op(
    "cofactor", _cofactor, inputs="*", promotes="float", batch="stack",
    vjp={"*": lambda g, i, inputs: _replaced(inputs, i, g)},
    jvp={"*": lambda t, i, inputs: _replaced(inputs, i, t)},
)  # fmt: skip


def adjugate(a: Any) -> Any:
    """The transposed cofactors: ``A adj(A) = det(A) I``."""
    return transpose(cofactor(a))


# ---- determinants --------------------------------------------------------------------------------

#: The matrix of cofactors where the factors of A are known; its derivatives are the family's.
known_cofactor = Op(
    "known_cofactor", lambda a, factors, pivots: _derivative(a, (), (factors, pivots)),
    inputs=["a", "factors", "pivots"], batch="stack", vjp={"a": lambda g, a: cofactor(a, g)},
    jvp={"a": lambda t, a: cofactor(a, t)},
)  # fmt: skip


def _det(a: Any) -> tuple[Array, Array, Array]:
    factors, pivots = lu.factor(square("det", a))
    return lu.determinant(factors, pivots), factors, pivots


def _det_vjp(g: Any, a: Any, factors: Any, pivots: Any) -> Any:
    return multiply(outside(g[0]), known_cofactor(a, factors, pivots))


def _det_jvp(t: Any, a: Any, factors: Any, pivots: Any) -> tuple[Any, None, None]:
    slope = known_cofactor(a, factors, pivots)
    return reduction.sum(multiply(slope, t), (-2, -1)), None, None


#: d det A = <cof A, dA>
det_and_factors = Op(
    "det", _det, inputs=["a"], promotes="float", batch="stack",
    outputs=["det", "factors", "pivots"], vjp={"a": _det_vjp}, jvp={"a": _det_jvp},
)  # fmt: skip


def det(a: Any) -> Any:
    """The determinant."""
    return det_and_factors(a)[0]


def _transposed_inverse(a: Any, factors: Any, pivots: Any) -> Any:
    try:
        return transpose(known_inv(a, factors, pivots))
    except LinAlgError:
        raise singular("the derivative of logdet", a) from None


def _log_vjp(g: Any, a: Any, factors: Any, pivots: Any) -> Any:
    return multiply(outside(g), _transposed_inverse(a, factors, pivots))


def _log_jvp(t: Any, a: Any, factors: Any, pivots: Any) -> Any:
    return reduction.sum(multiply(_transposed_inverse(a, factors, pivots), t), (-2, -1))


def _slogdet(a: Any) -> tuple[Array, Array, Array, Array]:
    factors, pivots = lu.factor(square("slogdet", a))
    return *lu.sign_and_log(factors, pivots), factors, pivots


def _slogdet_vjp(g: Any, a: Any, factors: Any, pivots: Any) -> Any:
    if g[1] is None:  # the sign is piecewise constant
        return np.zeros(a.shape, a.dtype)
    return _log_vjp(g[1], a, factors, pivots)


#: d log|det A| = tr(A^-1 dA)
slogdet_and_factors = Op(
    "slogdet", _slogdet, inputs=["a"], promotes="float", batch="stack",
    outputs=["sign", "logabsdet", "factors", "pivots"], vjp={"a": _slogdet_vjp},
    jvp={"a": lambda t, a, factors, pivots: (None, _log_jvp(t, a, factors, pivots), None, None)},
)  # fmt: skip


def slogdet(a: Any) -> Any:
    """The sign of the determinant, and the logarithm of its absolute value."""
    return slogdet_and_factors(a)[:2]


def _logdet(a: Any) -> tuple[Array, Array, Array]:
    sign, logabsdet, factors, pivots = _slogdet(square("logdet", a))
    logdet = np.where(sign < 0, np.asarray(np.nan, logabsdet.dtype), logabsdet)
    return logdet, factors, pivots


logdet_and_factors = Op(
    "logdet", _logdet, inputs=["a"], promotes="float", batch="stack",
    outputs=["logdet", "factors", "pivots"],
    vjp={"a": lambda g, a, factors, pivots: _log_vjp(g[0], a, factors, pivots)},
    jvp={"a": lambda t, a, factors, pivots: (_log_jvp(t, a, factors, pivots), None, None)},
)  # fmt: skip


def logdet(a: Any) -> Any:
    """log det A; NaN where the determinant is negative, -inf where it is 0."""
    return logdet_and_factors(a)[0]


__all__ = ["adjugate", "cofactor", "det", "logdet", "slogdet"]
