"""Operations that move entries without computing: every one is linear, most are views."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tilegrad import kernels
from tilegrad.autograd.op import vector_space
from tilegrad.ops.define import linear


def _inverse(axes: Sequence[int]) -> tuple[int, ...]:
    ndim = len(axes)
    inverse = [0] * ndim
    for position, axis in enumerate(axes):
        inverse[axis % ndim] = position
    return tuple(inverse)


reshape = linear(
    "reshape", lambda x, shape: x.reshape(shape), "x", batch="shape", view=True,
    x=lambda g, x_shape: reshape(g, x_shape),
)  # fmt: skip

permute = linear(
    "permute", lambda x, axes: x.transpose(axes), "x", batch="permute", view=True,
    x=lambda g, axes: permute(g, _inverse(axes)),
)  # fmt: skip

#: ``x`` broadcast to ``shape``; its adjoint sums back.
expand = linear(
    "expand", lambda x, shape: np.broadcast_to(x, shape), "x", batch="expand", view=True,
    x=lambda g, x_shape: sum_to(g, x_shape),
)  # fmt: skip

sum_to = linear(
    "sum_to", kernels.sum_to, "x", batch="sum_to",
    x=lambda g, x_shape: expand(g, x_shape),
)  # fmt: skip

cast = linear(
    "cast", lambda x, dtype: np.asarray(x).astype(dtype, copy=False), "x", batch="elementwise",
    x=lambda g: g,
)  # fmt: skip

flip = linear(
    "flip", lambda x, axes: np.flip(x, axes), "x", batch="axis", view=True,
    x=lambda g, axes: flip(g, axes),
)  # fmt: skip

copy = linear("copy", lambda x: np.array(x), "x", batch="elementwise", x=lambda g: g)

#: The same memory under a new node: a variable of its own for whoever differentiates.
alias = linear("alias", lambda x: x.view(), "x", batch="elementwise", view=True, x=lambda g: g)


def _concatenate(*xs: Any, axis: int) -> Any:
    return np.concatenate(xs, axis=axis)


def _piece(g: Any, i: int, input_shapes: Sequence[tuple[int, ...]], axis: int) -> Any:
    axis = axis % len(input_shapes[i])
    start = sum(shape[axis] for shape in input_shapes[:i])
    index = [slice(None)] * len(input_shapes[i])
    index[axis] = slice(start, start + input_shapes[i][axis])
    return getitem(g, tuple(index))


concatenate = linear("concatenate", _concatenate, "*", batch="concatenate", each=_piece)


def _getitem(x: Any, index: Any) -> Any:
    if is_basic(index):  # a view also where every axis is indexed: NumPy would give a number
        parts = index if isinstance(index, tuple) else (index,)
        return x[parts if any(part is Ellipsis for part in parts) else (*parts, Ellipsis)]
    return np.asarray(np.asarray(x)[index])


def _setitem_zeros(g: Any, index: Any, shape: tuple[int, ...]) -> Any:
    """Zeros of ``shape`` with ``g`` added at ``index`` (repeated entries add up)."""
    # large results of kernels are recycled: no fresh pages to be touched, as with np.zeros
    zero = np.zeros((), g.dtype)
    result = kernels.add(np.broadcast_to(zero, shape), zero)
    if is_basic(index):
        result[index] = g
    else:
        np.add.at(result, index, g)
    return result


def is_basic(index: Any) -> bool:
    """Whether NumPy answers ``index`` with a view: integers, slices, None and Ellipsis only."""
    parts = index if isinstance(index, tuple) else (index,)
    return all(
        part is None
        or part is Ellipsis
        or (isinstance(part, (slice, int, np.integer)) and not isinstance(part, bool))
        for part in parts
    )


#: ``x[index]``; the adjoint puts entries back where they came from.
getitem = linear(
    "getitem", _getitem, "x", batch="index", view=True,
    x=lambda g, index, x_shape: put(g, index, x_shape),
)  # fmt: skip

put = linear(
    "put", _setitem_zeros, "g0", batch="index",
    g0=lambda g, index: getitem(g, index),
)  # fmt: skip

# ---- diagonals and triangles ---------------------------------------------------------------------


def _diagonal(x: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
    return np.diagonal(x, offset, axis1, axis2)


def _put_diagonal(
    g0: Any, shape: tuple[int, ...], offset: int = 0, axis1: int = 0, axis2: int = 1
) -> Any:
    out = np.zeros(shape, dtype=g0.dtype)
    cut = [slice(None)] * out.ndim
    cut[axis1] = slice(max(-offset, 0), None)
    cut[axis2] = slice(max(offset, 0), None)
    diagonal = np.diagonal(out[tuple(cut)], 0, axis1, axis2)
    diagonal.flags.writeable = True
    diagonal[...] = g0
    return out


#: The diagonal of two axes, as the last axis.
diagonal = linear(
    "diagonal", _diagonal, "x", batch="axis", view=True,
    x=lambda g, x_shape, offset, axis1, axis2: put_diagonal(g, x_shape, offset, axis1, axis2),
)  # fmt: skip

#: Zeros with ``g0`` on a diagonal.
put_diagonal = linear(
    "put_diagonal", _put_diagonal, "g0", batch="put_diagonal",
    g0=lambda g, offset, axis1, axis2: diagonal(g, offset, axis1, axis2),
)  # fmt: skip

tril = linear("tril", lambda x, k=0: np.tril(x, k), "x", batch="stack", x=lambda g, k: tril(g, k))
triu = linear("triu", lambda x, k=0: np.triu(x, k), "x", batch="stack", x=lambda g, k: triu(g, k))

roll = linear(
    "roll", lambda x, shift, axis=None: np.roll(x, shift, axis), "x", batch="roll",
    x=lambda g, shift, axis: roll(g, _negated(shift), axis),
)  # fmt: skip


def _negated(shift: Any) -> Any:
    return tuple(-s for s in shift) if isinstance(shift, tuple) else -shift


def _pad(x: Any, widths: Sequence[tuple[int, int]], value: float = 0.0) -> Any:
    return np.pad(x, widths, constant_values=value) if np.ndim(x) else np.array(x)


def _inside(g: Any, widths: Sequence[tuple[int, int]], x_shape: tuple[int, ...]) -> Any:
    index = (slice(low, low + n) for (low, _), n in zip(widths, x_shape, strict=True))
    return getitem(g, tuple(index))


#: ``x`` with (low, high) entries of 0 added along every axis.
zero_pad = linear("zero_pad", lambda x, widths: _pad(x, widths), "x", batch="pad", x=_inside)

vector_space.sum_to = sum_to
vector_space.expand = expand
vector_space.cast = cast
