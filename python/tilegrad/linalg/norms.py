"""Norms of vectors and matrices. At 0 their subgradient is 0."""

from __future__ import annotations

from typing import Any

import numpy as np

from tilegrad.functions import reductions
from tilegrad.linalg.factorizations import svdvals
from tilegrad.linalg.operands import axes_last, matrix, operand
from tilegrad.ops import linalg_solve
from tilegrad.ops.arithmetic import absolute, divide, multiply
from tilegrad.ops.linalg_checks import LinAlgError
from tilegrad.ops.linalg_gauge import batched_like, values
from tilegrad.ops.reduction import amax, amin, sum
from tilegrad.ops.selection import where
from tilegrad.ops.shape import cast, reshape


def _axis(axis: Any, dim: Any) -> Any:
    axis = dim if axis is None else axis
    return tuple(axis) if isinstance(axis, list) else axis


def _converted(x: Any, dtype: Any) -> Any:
    x = operand(x)
    if dtype is not None:
        return cast(x, np.dtype(dtype))
    return x if x.dtype.kind == "f" else cast(x, np.dtype(np.float32))


def vector_norm(
    x: Any, ord: Any = 2, dim: Any = None, keepdim: bool = False, *, dtype: Any = None,
    axis: Any = None, keepdims: bool = False,
) -> Any:  # fmt: skip
    """``(sum |x|^ord)^(1/ord)`` over all entries or over ``dim``; ``inf``, ``-inf`` and 0 as usual.

    >>> import numpy as np, tilegrad as tg
    >>> x = tg.tensor(np.zeros(3), requires_grad=True)
    >>> tg.linalg.vector_norm(x).backward()
    >>> x.grad.numpy()
    array([0., 0., 0.])
    """
    return reductions.norm(_converted(x, dtype), ord, _axis(axis, dim), keepdim or keepdims)


def matrix_norm(
    A: Any, ord: Any = "fro", dim: Any = (-2, -1), keepdim: bool = False, *, dtype: Any = None,
    axis: Any = None, keepdims: bool = False,
) -> Any:  # fmt: skip
    """Norm of matrices: ``"fro"``, ``"nuc"``, 1, -1, 2, -2, inf, -inf, on two axes.

    1 and inf are the largest sums of absolute values by column and by row, 2 the largest singular
    value, ``"nuc"`` the sum of them; the negative ones are the smallest.
    """
    A = matrix("matrix_norm", _converted(A, dtype))
    axes = _axis(axis, tuple(dim))
    if len(axes) != 2 or axes[0] % A.ndim == axes[1] % A.ndim:
        raise ValueError(f"matrix_norm: needs two different axes, got {axes}")
    result = _on_last_axes(axes_last(A, axes), ord)
    if keepdim or keepdims:
        kept = {a % A.ndim for a in axes}
        return reshape(result, tuple(1 if i in kept else n for i, n in enumerate(A.shape)))
    return result


def _on_last_axes(A: Any, ord: Any) -> Any:
    if ord in ("fro", None):
        return reductions.norm(A, 2, (-2, -1))
    if ord == "nuc":
        s = svdvals(A)
        # of the subgradients at a singular matrix the one that no null vector enters
        tiny = linalg_solve.cutoff(values(s), A.shape, None, None)[..., None]
        return sum(where(batched_like(s, values(s) > tiny), s, 0.0), -1)
    if ord in (2, -2):
        s = svdvals(A)
        return amax(s, -1) if ord == 2 else amin(s, -1)
    if ord in (1, -1, np.inf, -np.inf):
        sums = sum(absolute(A), -2 if abs(ord) == 1 else -1)
        return amax(sums, -1) if ord > 0 else amin(sums, -1)
    raise ValueError(
        f"matrix_norm: ord must be 'fro', 'nuc', 1, -1, 2, -2, inf or -inf, not {ord!r}"
    )


def norm(
    A: Any, ord: Any = None, dim: Any = None, keepdim: bool = False, *, dtype: Any = None,
    axis: Any = None, keepdims: bool = False,
) -> Any:  # fmt: skip
    """A vector norm or a matrix norm, whichever ``ord`` and ``dim`` mean.

    Without ``ord`` the 2-norm of all entries; with it, one axis (or a vector) takes a vector norm,
    two (or a matrix) a matrix norm.
    """
    A, axes, keep = _converted(A, dtype), _axis(axis, dim), keepdim or keepdims
    if ord is None:
        return vector_norm(A, 2, axes, keep)
    if axes is None:
        if A.ndim not in (1, 2) and not (ord in (2, "fro") and A.ndim == 0):
            raise ValueError(
                f"norm: with ord={ord!r} a vector or a matrix is needed, or dim; got {A.shape}"
            )
        return vector_norm(A, ord, None, keep) if A.ndim < 2 else matrix_norm(A, ord, keepdim=keep)
    if isinstance(axes, tuple) and len(axes) == 2:
        return matrix_norm(A, ord, axes, keep)
    if isinstance(ord, str):
        raise ValueError(f"norm: ord={ord!r} is a norm of matrices, dim={axes} names one axis")
    return vector_norm(A, ord, axes, keep)


def cond(A: Any, p: Any = None) -> Any:
    """The condition number in the norm ``p`` (None, 2, -2: by singular values); inf if singular."""
    A = matrix("cond", _converted(A, None))
    if p in (None, 2, -2):
        s = svdvals(A)
        large, small = amax(s, -1), amin(s, -1)
        return divide(small, large) if p == -2 else divide(large, small)
    try:
        inverse = linalg_solve.inv(A)
    except LinAlgError:
        if A.shape[-1] != A.shape[-2]:
            raise
        return np.full(A.shape[:-2], np.inf, A.dtype)
    return multiply(matrix_norm(A, p), matrix_norm(inverse, p))
