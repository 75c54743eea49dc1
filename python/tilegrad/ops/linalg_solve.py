"""Inverses and linear systems."""

from __future__ import annotations

from typing import Any

import numpy as np

from tilegrad import kernels
from tilegrad.autograd.batching import batch_shape, lift
from tilegrad.autograd.op import Op
from tilegrad.ops import lu
from tilegrad.ops.arithmetic import add, negative, subtract
from tilegrad.ops.define import discrete
from tilegrad.ops.linalg_checks import Array, LinAlgError, chain, matrices, singular, square
from tilegrad.ops.products import bmm, transpose
from tilegrad.ops.shape import tril, triu

# ---- inverse -------------------------------------------------------------------------------------


def _inv(a: Any) -> Array:
    return _known_inv(a, *lu.factor(square("inv", a)))


def _known_inv(a: Any, factors: Any, pivots: Any) -> Array:
    try:
        return lu.inverse(factors, pivots)
    except LinAlgError:
        raise singular("inv", factors) from None


def _inv_vjp(g: Any, out: Any) -> Any:
    return negative(chain(transpose(out), g, transpose(out)))


def _inv_jvp(t: Any, out: Any) -> Any:
    return negative(chain(out, t, out))


#: d(A^-1) = -A^-1 dA A^-1, so <G, d(A^-1)> = -<A^-T G A^-T, dA>
inv = Op(
    "inv", _inv, inputs=["a"], promotes="float", batch="stack", vjp={"a": _inv_vjp},
    jvp={"a": _inv_jvp},
)  # fmt: skip

#: The same where the factors of A are known; see :mod:`tilegrad.ops.lu`.
known_inv = Op(
    "known_inv", _known_inv, inputs=["a", "factors", "pivots"], batch="stack", vjp={"a": _inv_vjp},
    jvp={"a": _inv_jvp},
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


def _solve(a: Any, b: Any) -> tuple[Array, Array, Array]:
    a, b = square("solve", a), matrices("solve", b)
    _fitting("solve", a, b)
    factors, pivots = lu.factor(a)
    return _known_solve(a, b, factors, pivots), factors, pivots


def _known_solve(a: Any, b: Any, factors: Any, pivots: Any, transposed: bool = False) -> Array:
    try:
        return lu.solve(factors, pivots, b, transposed)
    except LinAlgError:
        raise singular("solve", factors) from None


def _known_solve_vjp(
    g: Any, a: Any, out: Any, factors: Any, pivots: Any, transposed: bool, needs: tuple[bool, bool]
) -> Any:
    by_b = known_solve(a, g, factors, pivots, not transposed)
    if not needs[0]:
        return None, by_b
    return negative(bmm(out, transpose(by_b)) if transposed else bmm(by_b, transpose(out))), by_b


def _known_solve_jvp(
    t: Any, a: Any, out: Any, factors: Any, pivots: Any, transposed: bool
) -> Any:
    right = bmm(transpose(t) if transposed else t, out)
    return negative(known_solve(a, right, factors, pivots, transposed))


#: A X = B, or A^T X = B if ``transposed``, where the factors of A are known; see
#: :mod:`tilegrad.ops.lu`. dA X + A dX = dB, so dX = A^-1 (dB - dA X), and
#: <G, dX> = <A^-T G, dB> - <A^-T G X^T, dA>.
known_solve = Op(
    "known_solve", _known_solve, inputs=["a", "b", "factors", "pivots"], batch="stack",
    vjp={"a b": _known_solve_vjp},
    jvp={
        "a": _known_solve_jvp,
        "b": lambda t, a, factors, pivots, transposed: known_solve(
            a, t, factors, pivots, transposed
        ),
    },
)  # fmt: skip


def _solve_vjp(
    g: Any, a: Any, x: Any, factors: Any, pivots: Any, needs: tuple[bool, bool]
) -> Any:
    return _known_solve_vjp(g[0], a, x, factors, pivots, False, needs)


def _batched_solve(forward: Any, operands: Any, attrs: Any, depth: int) -> tuple[Array, ...]:
    """Under vmap: the factors take on the batch of the right sides, which A may not have."""
    a, b = operands
    ndim, sizes = max(a.ndim(depth), b.ndim(depth)), batch_shape(operands, depth)
    x, *parts = forward(lift(a, ndim, depth), lift(b, ndim, depth), **attrs)
    member = np.shape(a.array)[depth if a.batched else 0 :]
    own = np.shape(a.array)[: depth if a.batched else 0]
    return x, *(
        np.broadcast_to(
            part.reshape((*own, *member[:-2], *part.shape[-2:])),
            (*sizes, *member[:-2], *part.shape[-2:]),
        )
        for part in parts
    )


#: X with A X = B, and the factors of A.
solve_and_factors = Op(
    "solve", _solve, inputs=["a", "b"], promotes="float", batch=_batched_solve,
    outputs=["x", "factors", "pivots"], vjp={"a b": _solve_vjp},
    jvp={
        "a": lambda t, a, x, factors, pivots: (
            _known_solve_jvp(t, a, x, factors, pivots, False), None, None
        ),
        "b": lambda t, a, factors, pivots: (known_solve(a, t, factors, pivots), None, None),
    },
)  # fmt: skip


def solve(a: Any, b: Any) -> Any:
    """X with ``a X = b``."""
    return solve_and_factors(a, b)[0]


# ---- triangular systems --------------------------------------------------------------------------


def _solve_triangular(a: Any, b: Any, upper: bool, unitriangular: bool = False) -> Array:
    a, b = square("solve_triangular", a), matrices("solve_triangular", b)
    _fitting("solve_triangular", a, b)
    if not unitriangular and not np.diagonal(a, axis1=-2, axis2=-1).all():
        raise singular("solve_triangular", a)
    stack = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    a = np.broadcast_to(a, stack + a.shape[-2:])
    b = np.broadcast_to(b, stack + b.shape[-2:])
    return kernels.solve_triangular(a, b, upper=upper, unitriangular=unitriangular)


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
