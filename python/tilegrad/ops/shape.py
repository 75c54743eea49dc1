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
    "reshape", lambda x, shape: np.reshape(x, shape), "x", view=True,
    x=lambda g, x_shape: reshape(g, x_shape),
)  # fmt: skip

permute = linear(
    "permute", lambda x, axes: np.transpose(x, axes), "x", view=True,
    x=lambda g, axes: permute(g, _inverse(axes)),
)  # fmt: skip

#: ``x`` broadcast to ``shape``; its adjoint sums back.
expand = linear(
    "expand", lambda x, shape: np.broadcast_to(x, shape), "x", view=True,
    x=lambda g, x_shape: sum_to(g, x_shape),
)  # fmt: skip

sum_to = linear(
    "sum_to", kernels.sum_to, "x",
    x=lambda g, x_shape: expand(g, x_shape),
)  # fmt: skip

cast = linear(
    "cast", lambda x, dtype: np.asarray(x).astype(dtype, copy=False), "x",
    x=lambda g: g,
)  # fmt: skip

flip = linear(
    "flip", lambda x, axes: np.flip(x, axes), "x", view=True,
    x=lambda g, axes: flip(g, axes),
)  # fmt: skip

copy = linear("copy", lambda x: np.array(x), "x", x=lambda g: g)

#: The same memory under a new node: a variable of its own for whoever differentiates.
alias = linear("alias", lambda x: x.view(), "x", view=True, x=lambda g: g)


def _concatenate(*xs: Any, axis: int) -> Any:
    return np.concatenate(xs, axis=axis)


def _piece(g: Any, i: int, input_shapes: Sequence[tuple[int, ...]], axis: int) -> Any:
    axis = axis % len(input_shapes[i])
    start = sum(shape[axis] for shape in input_shapes[:i])
    index = [slice(None)] * len(input_shapes[i])
    index[axis] = slice(start, start + input_shapes[i][axis])
    return getitem(g, tuple(index))


concatenate = linear("concatenate", _concatenate, "*", each=_piece)


def _getitem(x: Any, index: Any) -> Any:
    return np.asarray(x)[index]


def _setitem_zeros(g: Any, index: Any, shape: tuple[int, ...]) -> Any:
    """Zeros of ``shape`` with ``g`` added at ``index`` (repeated entries add up)."""
    result = np.zeros(shape, dtype=g.dtype)
    if is_basic(index):
        result[index] = g
    else:
        np.add.at(result, index, g)
    return result


def is_basic(index: Any) -> bool:
    """Whether NumPy answers ``index`` with a view: integers, slices, None and Ellipsis only."""
    parts = index if isinstance(index, tuple) else (index,)
    return all(
        part is None or part is Ellipsis or isinstance(part, (slice, int, np.integer))
        for part in parts
    )


#: ``x[index]``; the adjoint puts entries back where they came from.
getitem = linear(
    "getitem", _getitem, "x", view=True,
    x=lambda g, index, x_shape: put(g, index, x_shape),
)  # fmt: skip

put = linear(
    "put", _setitem_zeros, "g0",
    g0=lambda g, index: getitem(g, index),
)  # fmt: skip

vector_space.sum_to = sum_to
vector_space.expand = expand
vector_space.cast = cast
