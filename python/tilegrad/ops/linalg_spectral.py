"""Eigenvalues and singular values, and the bases that go with them."""

from __future__ import annotations

from typing import Any

import numpy as np

from tilegrad.autograd.op import Op
from tilegrad.ops.arithmetic import add, divide, multiply, negative, subtract
from tilegrad.ops.linalg_checks import (
    Array,
    LinAlgError,
    RepeatedValuesError,
    chain,
    matrices,
    square,
)
from tilegrad.ops.linalg_factor import symmetric
from tilegrad.ops.linalg_gauge import (
    NEGLIGIBLE,
    absorb,
    check_equal_within,
    columns,
    extend,
    gap_quotient,
    moved_apart,
    values,
)
from tilegrad.ops.linalg_solve import cutoff, pinv, solve
from tilegrad.ops.products import bmm, transpose
from tilegrad.ops.selection import unless_zero
from tilegrad.ops.shape import diagonal, getitem, put_diagonal


def diagonal_of(x: Any) -> Any:
    """The diagonals of a stack of matrices."""
    return diagonal(x, 0, x.ndim - 2, x.ndim - 1)


def diagonal_matrix(w: Any) -> Any:
    """A stack of square diagonal matrices."""
    return put_diagonal(w, (*w.shape, w.shape[-1]), 0, w.ndim - 1, w.ndim)


def as_row(w: Any) -> Any:
    """Numbers that scale columns."""
    return getitem(w, (..., None, slice(None)))


def as_column(w: Any) -> Any:
    """Numbers that scale rows."""
    return getitem(w, (..., slice(None), None))


# ---- symmetric matrices --------------------------------------------------------------------------


def _eigh(a: Any) -> tuple[Array, Array]:
    a = square("eigh", a)
    w, v = np.linalg.eigh((a + np.swapaxes(a, -1, -2)) / 2)
    return w, v


def _eigh_vjp(g: Any, w: Any, v: Any) -> Any:
    by_w, by_v = g
    inner = None
    if by_w is not None:
        inner = diagonal_matrix(by_w)
    if by_v is None:
        check_equal_within("eigh", by_w, w)
    else:
        along = bmm(transpose(v), by_v)
        skew = multiply(subtract(along, transpose(along)), 0.5)
        part = gap_quotient(skew, moved_apart(w), "eigh")
        inner = part if inner is None else add(inner, part)
    return chain(v, inner, transpose(v))


def _eigh_jvp(t: Any, w: Any, v: Any) -> Any:
    turned = chain(transpose(v), symmetric(t), v)
    return diagonal_of(turned), bmm(v, gap_quotient(turned, w, "eigh"))


#: A = V diag(w) V^T of the symmetric part of A, w ascending. With P = V^T dA V,
#: dw = diag P and dV = V (P_ij / (w_j - w_i)).
eigh = Op(
    "eigh", _eigh, inputs=["a"], promotes="float", batch="stack",
    outputs=["w", "v"], vjp={"a": _eigh_vjp},
    jvp={"a": _eigh_jvp},
)  # fmt: skip


def _eigvalsh(a: Any) -> Array:
    a = square("eigvalsh", a)
    return np.asarray(np.linalg.eigvalsh((a + np.swapaxes(a, -1, -2)) / 2))


def _eigvalsh_vjp(g: Any, a: Any) -> Any:
    w, v = eigh(a)
    check_equal_within("eigvalsh", g, w)
    return bmm(multiply(v, as_row(g)), transpose(v))


def _eigvalsh_jvp(t: Any, a: Any) -> Any:
    _, v = eigh(a)
    return diagonal_of(chain(transpose(v), symmetric(t), v))


#: The eigenvalues alone.
eigvalsh = Op(
    "eigvalsh", _eigvalsh, inputs=["a"], promotes="float", batch="stack", vjp={"a": _eigvalsh_vjp},
    jvp={"a": _eigvalsh_jvp},
)  # fmt: skip

# ---- singular values -----------------------------------------------------------------------------


def _svd(a: Any, full_matrices: bool = False) -> tuple[Array, Array, Array]:
    u, s, vh = np.linalg.svd(matrices("svd", a), full_matrices)
    return u, s, vh


def _over_sums(x: Any, s: Any) -> Any:
    """``x_ij / (s_i + s_j)``."""
    return divide(x, unless_zero(add(as_row(s), as_column(s))))


def _over(x: Any, s: Any) -> Any:
    """``x diag(1 / s)``; zero singular values are allowed where ``x`` has nothing."""
    size = np.abs(values(x))
    zero = values(s) == 0
    if zero.any() and np.abs(size * zero[..., None, :]).max() > NEGLIGIBLE * size.max():
        raise LinAlgError(
            "svd: singular vectors of a singular value 0 have no derivative; the gradient that "
            "arrived depends on them"
        )
    return divide(x, as_row(unless_zero(s)))


def _check_zeros(s: Any) -> None:
    """Vectors of several singular values 0 turn freely on both sides: nothing tells how."""
    if ((values(s) == 0).sum(-1) > 1).any():
        raise RepeatedValuesError(
            "svd: the gradient by singular vectors where more than one singular value is 0 does "
            "not exist; linalg.pinv, svdvals and functions of A^T A by eigh do without them"
        )


def _skew(x: Any) -> Any:
    return subtract(x, transpose(x))


def _sum_and_difference(a: Any, b: Any) -> Any:
    """``a + b`` and ``a - b``, None counting as 0."""
    if b is None:
        return a, a
    if a is None:
        return b, negative(b)
    return add(a, b), subtract(a, b)


def _svd_vjp(g: Any, a_shape: tuple[int, ...], u: Any, s: Any, vh: Any) -> Any:
    k = s.shape[-1]
    by_u, by_s, by_vh = g
    v = transpose(vh)
    if by_u is not None or by_vh is not None:
        _check_zeros(s)
    else:
        check_equal_within("svd", by_s, s)
    if by_u is not None:
        by_u = absorb("svd", by_u, u, k)
    by_v = None if by_vh is None else absorb("svd", transpose(by_vh), v, k)
    u, v = columns(u, 0, k), columns(v, 0, k)
    s = moved_apart(s)
    inner = None if by_s is None else diagonal_matrix(by_s)
    turns = [
        None if g is None else multiply(_skew(bmm(transpose(q), g)), 0.5)
        for q, g in ((u, by_u), (v, by_v))
    ]
    if by_u is not None or by_v is not None:
        together, apart = _sum_and_difference(*turns)
        part = add(gap_quotient(together, s, "svd"), _over_sums(apart, s))
        inner = part if inner is None else add(inner, part)
    total = chain(u, inner, transpose(v))
    if by_u is not None and a_shape[-2] > k:
        beyond = _over(subtract(by_u, chain(u, transpose(u), by_u)), s)
        total = add(total, bmm(beyond, transpose(v)))
    if by_v is not None and a_shape[-1] > k:
        beyond = _over(subtract(by_v, chain(v, transpose(v), by_v)), s)
        total = add(total, bmm(u, transpose(beyond)))
    return total


def _svd_jvp(t: Any, a_shape: tuple[int, ...], u: Any, s: Any, vh: Any) -> Any:
    k = s.shape[-1]
    full_u, full_v = u, transpose(vh)
    u, v = columns(full_u, 0, k), columns(full_v, 0, k)
    tv, tu = bmm(t, v), bmm(transpose(t), u)
    p = bmm(transpose(u), tv)
    pt = transpose(p)
    together = gap_quotient(multiply(add(p, pt), 0.5), s, "svd")
    apart = _over_sums(multiply(subtract(p, pt), 0.5), s)
    du, dv = bmm(u, add(together, apart)), bmm(v, subtract(together, apart))
    if a_shape[-2] > k:
        du = add(du, _over(subtract(tv, bmm(u, p)), s))
    if a_shape[-1] > k:
        dv = add(dv, _over(subtract(tu, bmm(v, pt)), s))
    return extend(du, full_u, k), diagonal_of(p), transpose(extend(dv, full_v, k))


#: A = U diag(s) V^T. With P = U^T dA V: ds = diag P, and
#: U^T dU + V^T dV = (P_ij + P_ji) / (s_j - s_i), U^T dU - V^T dV = (P_ij - P_ji) / (s_j + s_i);
#: in sum and difference only what turns U and V together meets a gap
#: and what dU has outside of the columns of U is (I - U U^T) dA V / s; for dV likewise
#: (Townsend, "Differentiating the singular value decomposition", 2016).
svd = Op(
    "svd", _svd, inputs=["a"], promotes="float", batch="stack",
    outputs=["u", "s", "vh"], vjp={"a": _svd_vjp},
    jvp={"a": _svd_jvp},
)  # fmt: skip


def _svdvals(a: Any) -> Array:
    return np.asarray(np.linalg.svd(matrices("svdvals", a), compute_uv=False))


def _svdvals_vjp(g: Any, a: Any) -> Any:
    u, s, vh = svd(a)
    check_equal_within("svdvals", g, s)
    return bmm(multiply(u, as_row(g)), vh)


def _svdvals_jvp(t: Any, a: Any) -> Any:
    u, _, vh = svd(a)
    return diagonal_of(chain(transpose(u), t, transpose(vh)))


#: The singular values alone, descending.
svdvals = Op(
    "svdvals", _svdvals, inputs=["a"], promotes="float", batch="stack", vjp={"a": _svdvals_vjp},
    jvp={"a": _svdvals_jvp},
)  # fmt: skip

# ---- null space ----------------------------------------------------------------------------------


def _nullspace(a: Any, rtol: Any = None) -> Array:
    a = matrices("nullspace", a)
    _, s, vh = np.linalg.svd(a)
    ranks = (s > cutoff(s, a.shape, rtol, None)[..., None]).sum(-1)
    if ranks.size and ranks.min() != ranks.max():
        raise LinAlgError(
            f"nullspace: the matrices of the stack {a.shape} have different ranks, "
            f"{ranks.min()} to {ranks.max()}: take them one by one"
        )
    rank = int(ranks.max()) if ranks.size else 0
    return np.asarray(np.swapaxes(vh, -1, -2)[..., rank:])


def _nullspace_vjp(g: Any, a: Any, out: Any, rtol: Any) -> Any:
    along = values(bmm(transpose(out), g))
    skew = np.abs(along - np.swapaxes(along, -1, -2)).max(initial=0.0)
    if skew > NEGLIGIBLE * np.abs(values(g)).max(initial=0.0):
        raise LinAlgError(
            f"nullspace: the gradient depends on the choice of the basis (by {skew:.3g}), so it "
            "does not exist; functions of Z Z^T have one"
        )
    return negative(chain(transpose(pinv(a, rtol)), g, transpose(out)))


#: An orthonormal basis Z of the null space. A Z = 0: while the rank stays, dZ = -A^+ dA Z up to a
#: rotation of the basis.
nullspace = Op(
    "nullspace", _nullspace, inputs=["a"], promotes="float", batch="stack",
    vjp={"a": _nullspace_vjp},
    jvp={"a": lambda t, a, out, rtol: negative(chain(pinv(a, rtol), t, out))},
)  # fmt: skip

# ---- general matrices with real spectrum ---------------------------------------------------------


def _eig(a: Any) -> tuple[Array, Array]:
    a = square("eig", a)
    w, v = np.linalg.eig(a)
    if w.dtype.kind == "c":
        if np.any(w.imag != 0):
            raise LinAlgError(
                f"eig: a matrix of shape {a.shape} has complex eigenvalues, such as "
                f"{w[w.imag != 0].flat[0]:.6g}; only real spectra are supported"
            )
        w, v = w.real.astype(a.dtype), v.real.astype(a.dtype)
    return w, v


def _eig_vjp(g: Any, w: Any, v: Any) -> Any:
    by_w, by_v = g
    inner = None if by_w is None else diagonal_matrix(by_w)
    if by_v is not None:
        along = bmm(transpose(v), by_v)
        lengths = multiply(bmm(transpose(v), v), as_row(diagonal_of(along)))
        part = gap_quotient(subtract(along, lengths), moved_apart(w), "eig")
        inner = part if inner is None else add(inner, part)
    return solve(transpose(v), bmm(inner, transpose(v)))


def _eig_jvp(t: Any, w: Any, v: Any) -> Any:
    turned = solve(v, bmm(t, v))
    change = bmm(v, gap_quotient(turned, w, "eig"))
    stretch = diagonal_of(bmm(transpose(v), change))
    return diagonal_of(turned), subtract(change, multiply(v, as_row(stretch)))


#: A V = V diag(w) with columns of length 1. With P = V^-1 dA V: dw = diag P and
#: dV = V (P_ij / (w_j - w_i)), less what would change the lengths of the columns.
eig = Op(
    "eig", _eig, inputs=["a"], promotes="float", batch="stack",
    outputs=["w", "v"], vjp={"a": _eig_vjp},
    jvp={"a": _eig_jvp},
)  # fmt: skip

__all__ = ["eig", "eigh", "eigvalsh", "nullspace", "svd", "svdvals"]
