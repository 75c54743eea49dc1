"""Functions that move entries: reshaping, ordering axes, joining, splitting, repeating."""

from __future__ import annotations

import builtins
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tilegrad.autograd.tensor import Tensor
from tilegrad.functions.axes import normal_axes, normal_axis, sizes_of
from tilegrad.ops import shape as _shape
from tilegrad.ops.promotion import result_dtype


def reshape(x: Any, *shape: Any) -> Any:
    """The same entries, row by row, in another shape; one size may be -1.

    >>> import tilegrad as tg
    >>> tg.reshape(tg.zeros(2, 6), (3, -1)).shape
    (3, 4)
    """
    return _shape.reshape(x, _resolve(x.shape, sizes_of(shape)))


def _resolve(old: tuple[int, ...], new: tuple[int, ...]) -> tuple[int, ...]:
    """``new`` with its -1 worked out; ValueError if the sizes do not fit."""
    size = math.prod(old)
    if -1 in new:
        known = math.prod(n for n in new if n != -1)
        if new.count(-1) == 1 and (known > 0 and size % known == 0):
            return tuple(size // known if n == -1 else n for n in new)
    elif math.prod(new) == size:
        return new
    raise ValueError(f"reshape: {old} has {size} entries, which do not fill the shape {new}")


def view(x: Any, *shape: Any) -> Any:
    """:func:`reshape`."""
    return reshape(x, *shape)


def reshape_as(x: Any, other: Any) -> Any:
    """``x`` in the shape of ``other``."""
    return reshape(x, other.shape)


def flatten(x: Any, start_dim: int = 0, end_dim: int = -1) -> Any:
    """The axes from ``start_dim`` to ``end_dim`` made one."""
    if not x.ndim:
        return _shape.reshape(x, (1,))
    first = normal_axis(start_dim, x.ndim, "flatten")
    last = normal_axis(end_dim, x.ndim, "flatten")
    if first > last:
        raise ValueError(f"flatten: start_dim {start_dim} is behind end_dim {end_dim}")
    shape = x.shape
    size = math.prod(shape[first : last + 1])
    return _shape.reshape(x, (*shape[:first], size, *shape[last + 1 :]))


def ravel(x: Any) -> Any:
    """All entries along one axis."""
    return _shape.reshape(x, (math.prod(x.shape),))


def unflatten(x: Any, dim: int, sizes: Sequence[int]) -> Any:
    """Axis ``dim`` split into axes of ``sizes``; one may be -1."""
    dim = normal_axis(dim, x.ndim, "unflatten")
    inner = _resolve((x.shape[dim],), tuple(sizes))
    return _shape.reshape(x, (*x.shape[:dim], *inner, *x.shape[dim + 1 :]))


def squeeze(x: Any, axis: Any = None, *, dim: Any = None) -> Any:
    """``x`` without its axes of size 1, or without those of ``axis`` that have size 1."""
    axis = axis if dim is None else dim
    shape = x.shape
    if axis is None:
        return _shape.reshape(x, tuple(n for n in shape if n != 1))
    axes = normal_axes(axis, x.ndim, "squeeze")
    return _shape.reshape(x, tuple(n for i, n in enumerate(shape) if i not in axes or n != 1))


def unsqueeze(x: Any, axis: int | None = None, *, dim: int | None = None) -> Any:
    """``x`` with a new axis of size 1 at ``axis``."""
    axis = dim if axis is None else axis
    if axis is None:
        raise TypeError("unsqueeze: the axis is missing")
    at = normal_axis(axis, x.ndim + 1, "unsqueeze")
    return _shape.reshape(x, (*x.shape[:at], 1, *x.shape[at:]))


def expand_dims(x: Any, axis: Any = 0) -> Any:
    """``x`` with new axes of size 1 at the positions ``axis`` of the result."""
    axes = (axis,) if isinstance(axis, int) else tuple(axis)
    at = normal_axes(axes, x.ndim + len(axes), "expand_dims")
    sizes = iter(x.shape)
    return _shape.reshape(x, tuple(1 if i in at else next(sizes) for i in range(x.ndim + len(at))))


# ---- order of axes -------------------------------------------------------------------------------


def permute(x: Any, *dims: Any) -> Any:
    """The axes in another order."""
    axes = normal_axes(sizes_of(dims), x.ndim, "permute") if x.ndim else ()
    if len(axes) != x.ndim:
        raise ValueError(f"permute: {x.ndim} axes, but the order {dims} names {len(axes)}")
    return _shape.permute(x, axes)


def permute_dims(x: Any, axes: Sequence[int]) -> Any:
    """The axes in the order ``axes``."""
    return permute(x, axes)


def transpose(x: Any, dim0: Any = None, dim1: int | None = None, *, axes: Any = None) -> Any:
    """Two axes exchanged, or as in NumPy: all reversed, or put in a given order."""
    if dim1 is not None:
        return swapaxes(x, dim0, dim1)
    order = axes if dim0 is None else dim0
    return _shape.permute(x, tuple(range(x.ndim))[::-1]) if order is None else permute(x, order)


def swapaxes(x: Any, axis0: int, axis1: int) -> Any:
    """Two axes exchanged."""
    if not x.ndim:
        normal_axis(axis0, 0, "swapaxes"), normal_axis(axis1, 0, "swapaxes")
        return _shape.alias(x)
    order = list(range(x.ndim))
    a, b = normal_axis(axis0, x.ndim, "swapaxes"), normal_axis(axis1, x.ndim, "swapaxes")
    order[a], order[b] = order[b], order[a]
    return _shape.permute(x, tuple(order))


swapdims = swapaxes


def movedim(x: Any, source: Any, destination: Any) -> Any:
    """Axes ``source`` moved to ``destination``, the others in order."""
    if not x.ndim:
        return _shape.alias(x)
    source = normal_axes(source, x.ndim, "movedim")
    destination = normal_axes(destination, x.ndim, "movedim")
    if len(source) != len(destination):
        raise ValueError(f"movedim: {len(source)} axes to {len(destination)} places")
    order = [i for i in range(x.ndim) if i not in source]
    for to, axis in sorted(zip(destination, source, strict=True)):
        order.insert(to, axis)
    return _shape.permute(x, tuple(order))


moveaxis = movedim


def t(x: Any) -> Any:
    """The transpose of a matrix; vectors and numbers as they are."""
    if x.ndim > 2:
        raise RuntimeError(f"t: needs at most 2 dimensions, not shape {x.shape}; use mT")
    return _shape.permute(x, tuple(range(x.ndim))[::-1])


def adjoint(x: Any) -> Any:
    """The last two axes exchanged."""
    if x.ndim < 2:
        raise RuntimeError(f"matrix transpose: needs at least 2 dimensions, not shape {x.shape}")
    return swapaxes(x, -2, -1)


matrix_transpose = adjoint


def flip(x: Any, *axes: Any, dims: Any = None, axis: Any = None) -> Any:
    """The order along axes reversed; along all by default."""
    given = axes[0] if len(axes) == 1 else axes or (axis if dims is None else dims)
    if given is None:
        given = tuple(range(x.ndim))
    return _shape.flip(x, normal_axes(given, x.ndim, "flip")) if x.ndim else _shape.copy(x)


def fliplr(x: Any) -> Any:
    """The columns in reverse order."""
    return _flipped("fliplr", x, 1)


def flipud(x: Any) -> Any:
    """The rows in reverse order."""
    return _flipped("flipud", x, 0)


def _flipped(name: str, x: Any, axis: int) -> Any:
    if x.ndim <= axis:
        raise RuntimeError(f"{name}: shape {x.shape} has no axis {axis}")
    return flip(x, axis)


def rot90(x: Any, k: int = 1, dims: Sequence[int] = (0, 1)) -> Any:
    """``k`` quarter turns from the first of ``dims`` towards the second."""
    a, b = normal_axes(dims, x.ndim, "rot90")
    k %= 4
    if k == 2:
        return flip(x, (a, b))
    if k == 0:
        return _shape.copy(x)
    return swapaxes(flip(x, b), a, b) if k == 1 else flip(swapaxes(x, a, b), b)


def roll(x: Any, shifts: Any, dims: Any = None, *, axis: Any = None) -> Any:
    """Entries moved cyclically by ``shifts`` along ``dims``; of the flattened array by default."""
    axes = dims if axis is None else axis
    shifts = tuple(shifts) if isinstance(shifts, (list, tuple)) else shifts
    axes = tuple(axes) or None if isinstance(axes, (list, tuple)) else axes
    if axes is None and isinstance(shifts, tuple):
        (shifts,) = shifts
    if isinstance(shifts, tuple) and len(shifts) != (len(axes) if isinstance(axes, tuple) else 1):
        raise ValueError(f"roll: shifts {shifts} and axes {axes} differ in number")
    return _shape.roll(x, shifts, axes)


# ---- broadcasting and repeating ------------------------------------------------------------------


def expand(x: Any, *sizes: Any) -> Any:
    """``x`` broadcast to ``sizes``; -1 keeps a size."""
    shape = sizes_of(sizes)
    extra = len(shape) - x.ndim
    if extra < 0:
        raise RuntimeError(f"expand: shape {x.shape} has more dimensions than {shape}")
    full = tuple(x.shape[i - extra] if n == -1 and i >= extra else n for i, n in enumerate(shape))
    return broadcast_to(x, full)


def expand_as(x: Any, other: Any) -> Any:
    """``x`` broadcast to the shape of ``other``."""
    return broadcast_to(x, other.shape)


def broadcast_to(x: Any, shape: Any) -> Any:
    """``x`` broadcast to ``shape``: a view."""
    shape = sizes_of((shape,))
    try:
        return _shape.expand(x, shape)
    except ValueError:
        raise ValueError(f"broadcast_to: shape {x.shape} does not broadcast to {shape}") from None


def broadcast_tensors(*tensors: Any) -> tuple[Any, ...]:
    """All broadcast to their common shape."""
    xs = tensors[0] if len(tensors) == 1 and isinstance(tensors[0], (list, tuple)) else tensors
    shape = np.broadcast_shapes(*(x.shape for x in xs))
    return tuple(_shape.expand(x, shape) for x in xs)


broadcast_arrays = broadcast_tensors


def broadcast_shapes(*shapes: Any) -> tuple[int, ...]:
    """The shape that ``shapes`` broadcast to."""
    return np.broadcast_shapes(*shapes)


def repeat(x: Any, *sizes: Any) -> Any:
    """Copies of ``x`` side by side, ``sizes`` along each axis, as ``tile`` in NumPy."""
    times = sizes_of(sizes)
    if len(times) < x.ndim:
        raise RuntimeError(f"repeat: shape {x.shape} has more dimensions than {times}")
    shape = (1,) * (len(times) - x.ndim) + x.shape
    apart = tuple(n for size in shape for n in (1, size))
    spread = tuple(n for count, size in zip(times, shape, strict=True) for n in (count, size))
    x = _shape.expand(_shape.reshape(x, apart), spread)
    return _shape.reshape(x, tuple(n * c for n, c in zip(shape, times, strict=True)))


def tile(x: Any, *dims: Any) -> Any:
    """Copies of ``x`` side by side; missing counts are 1."""
    times = sizes_of(dims)
    return repeat(x, (1,) * (x.ndim - len(times)) + times)


def repeat_interleave(
    x: Any, repeats: Any, dim: int | None = None, *, axis: int | None = None,
    output_size: int | None = None,
) -> Any:  # fmt: skip
    """Every entry along ``dim`` repeated, ``repeats`` times (a number or one per entry)."""
    dim = dim if axis is None else axis
    if dim is None:
        x, dim = ravel(x), 0
    elif not x.ndim:
        x = _shape.reshape(x, (1,))
    dim = normal_axis(dim, x.ndim, "repeat_interleave")
    counts = repeats._array if isinstance(repeats, Tensor) else np.asarray(repeats)
    index = np.repeat(np.arange(x.shape[dim]), counts)
    return _shape.getitem(x, (slice(None),) * dim + (index,))


# ---- joining and splitting -----------------------------------------------------------------------


def _same_dtype(tensors: Sequence[Any]) -> list[Any]:
    tensors = list(tensors)
    dtypes = {x.dtype for x in tensors}
    if len(dtypes) > 1:
        dtype = result_dtype(*tensors)
        tensors = [x if x.dtype == dtype else _shape.cast(x, dtype) for x in tensors]
    return tensors


def cat(tensors: Sequence[Any], axis: int | None = 0, *, dim: int | None = None) -> Any:
    """Tensors joined along an existing axis; with ``axis=None`` they are flattened first."""
    axis = axis if dim is None else dim
    xs = _same_dtype(tensors)
    if not xs:
        raise ValueError("cat: needs at least one tensor")
    if axis is None:
        xs, axis = [ravel(x) for x in xs], 0
    # torch lets an empty 1-d tensor stand beside any shape
    wide = [x for x in xs if x.shape != (0,)]
    if wide and builtins.any(x.ndim != xs[0].ndim for x in xs):
        xs = wide
    shapes = [x.shape for x in xs]
    axis = normal_axis(axis, len(shapes[0]), "cat")
    for shape in shapes:
        if not shape:
            raise ValueError("cat: zero-dimensional tensors cannot be joined; use stack")
        if len(shape) != len(shapes[0]) or any(
            a != b for i, (a, b) in enumerate(zip(shape, shapes[0], strict=True)) if i != axis
        ):
            raise ValueError(f"cat: shapes {shapes[0]} and {shape} differ beside axis {axis}")
    return _shape.concatenate(*xs, axis=axis)


concatenate = concat = cat


def stack(tensors: Sequence[Any], axis: int = 0, *, dim: int | None = None) -> Any:
    """Tensors of one shape joined along a new axis."""
    axis = axis if dim is None else dim
    xs = list(tensors)
    if not xs:
        raise ValueError("stack: needs at least one tensor")
    for x in xs:
        if x.shape != xs[0].shape:
            raise ValueError(f"stack: shapes {xs[0].shape} and {x.shape} differ")
    return cat([unsqueeze(x, axis) for x in xs], normal_axis(axis, xs[0].ndim + 1, "stack"))


def atleast_1d(*tensors: Any) -> Any:
    """Numbers as tensors with one axis."""
    return _each(tensors, lambda x: x if x.ndim else _shape.reshape(x, (1,)))


def atleast_2d(*tensors: Any) -> Any:
    """With at least two axes, new ones in front."""
    return _each(tensors, lambda x: x if x.ndim > 1 else _shape.reshape(x, (1, _size(x))))


def atleast_3d(*tensors: Any) -> Any:
    """With at least three axes: a matrix gets a last one, a vector stands in the middle."""
    return _each(tensors, _with_3_axes)


def _with_3_axes(x: Any) -> Any:
    if x.ndim < 2:
        return _shape.reshape(x, (1, _size(x), 1))
    return unsqueeze(x, 2) if x.ndim == 2 else x


def _size(x: Any) -> int:
    return math.prod(x.shape)


def _each(tensors: tuple[Any, ...], change: Any) -> Any:
    if len(tensors) == 1 and not isinstance(tensors[0], (list, tuple)):
        return change(tensors[0])
    xs = tensors[0] if len(tensors) == 1 else tensors
    return tuple(change(x) for x in xs)


def hstack(tensors: Sequence[Any]) -> Any:
    """Joined along the second axis (vectors along their only one)."""
    xs = [atleast_1d(x) for x in tensors]
    return cat(xs, 0 if xs[0].ndim == 1 else 1)


def vstack(tensors: Sequence[Any]) -> Any:
    """Joined along the first axis, vectors as rows."""
    return cat([atleast_2d(x) for x in tensors], 0)


row_stack = vstack


def dstack(tensors: Sequence[Any]) -> Any:
    """Joined along the third axis."""
    return cat([atleast_3d(x) for x in tensors], 2)


def column_stack(tensors: Sequence[Any]) -> Any:
    """Joined along the second axis, vectors as columns."""
    return cat([x if x.ndim > 1 else _shape.reshape(x, (_size(x), 1)) for x in tensors], 1)


def narrow(x: Any, dim: int, start: Any, length: int) -> Any:
    """``length`` entries along ``dim`` from ``start``: a view."""
    dim = normal_axis(dim, x.ndim, "narrow")
    start = int(start)
    start = start + x.shape[dim] if start < 0 else start
    if length < 0 or not 0 <= start <= x.shape[dim] - length:
        raise IndexError(f"narrow: {length} entries from {start} of axis {dim} of shape {x.shape}")
    return _shape.getitem(x, (slice(None),) * dim + (slice(start, start + length),))


def _cut(x: Any, ends: Sequence[int], dim: int) -> tuple[Any, ...]:
    starts = [0, *ends[:-1]]
    lead = (slice(None),) * dim
    return tuple(_shape.getitem(x, (*lead, slice(a, b))) for a, b in zip(starts, ends, strict=True))


def split(x: Any, split_size_or_sections: Any, dim: int = 0, *, axis: int | None = None) -> Any:
    """Pieces along ``dim``: of one size (the last may be smaller), or of the sizes in a list."""
    dim = normal_axis(dim if axis is None else axis, x.ndim, "split")
    size = x.shape[dim]
    if isinstance(split_size_or_sections, int):
        step = split_size_or_sections
        if step <= 0 and size:
            raise ValueError(f"split: the size of the pieces must be positive, not {step}")
        ends = [builtins.min(i + step, size) for i in range(0, size, step)] if size else [0]
        return _cut(x, ends, dim)
    sections = list(split_size_or_sections)
    if builtins.sum(sections) != size:
        raise ValueError(
            f"split: pieces {sections} do not add up to {size}, axis {dim} of {x.shape}"
        )
    return _cut(x, list(np.cumsum(sections)), dim)


def unsafe_split(x: Any, split_size_or_sections: Any, dim: int = 0) -> Any:
    """:func:`split`."""
    return split(x, split_size_or_sections, dim)


split_with_sizes = split


def chunk(x: Any, chunks: int, dim: int = 0) -> tuple[Any, ...]:
    """At most ``chunks`` pieces of equal size, the last possibly smaller."""
    dim = normal_axis(dim, x.ndim, "chunk")
    if chunks < 1:
        raise ValueError(f"chunk: the number of pieces must be positive, not {chunks}")
    return split(x, builtins.max(-(-x.shape[dim] // chunks), 1), dim)  # type: ignore[no-any-return]


def tensor_split(x: Any, indices_or_sections: Any, dim: int = 0) -> tuple[Any, ...]:
    """Pieces that differ by at most one in size, or that end at the given indices."""
    dim = normal_axis(dim, x.ndim, "tensor_split")
    size = x.shape[dim]
    if isinstance(indices_or_sections, Tensor):
        indices_or_sections = indices_or_sections._array.tolist()
    if isinstance(indices_or_sections, int):
        n = indices_or_sections
        if n < 1:
            raise ValueError(f"tensor_split: {n} is no number of pieces")
        short, longer = divmod(size, n)
        return _cut(x, list(np.cumsum([short + (i < longer) for i in range(n)])), dim)
    ends = [slice(None, end).indices(size)[1] for end in indices_or_sections] + [size]
    return _cut(x, ends, dim)


def hsplit(x: Any, indices_or_sections: Any) -> tuple[Any, ...]:
    """Pieces along the second axis (of vectors along their only one)."""
    return tensor_split(x, indices_or_sections, 1 if x.ndim > 1 else 0)


def vsplit(x: Any, indices_or_sections: Any) -> tuple[Any, ...]:
    """Pieces along the first axis."""
    return tensor_split(x, indices_or_sections, 0)


def dsplit(x: Any, indices_or_sections: Any) -> tuple[Any, ...]:
    """Pieces along the third axis."""
    return tensor_split(x, indices_or_sections, 2)


def unbind(x: Any, axis: int = 0, *, dim: int | None = None) -> tuple[Any, ...]:
    """The slices along an axis, which disappears."""
    at = normal_axis(axis if dim is None else dim, x.ndim, "unbind")
    return tuple(select(x, at, i) for i in range(x.shape[at]))


unstack = unbind


def select(x: Any, dim: int, index: int) -> Any:
    """Slice ``index`` along ``dim``: a view without that axis."""
    dim = normal_axis(dim, x.ndim, "select")
    return _shape.getitem(x, (slice(None),) * dim + (int(index),))


# ---- diagonals -----------------------------------------------------------------------------------


def diagonal(
    x: Any, offset: int = 0, dim1: int = 0, dim2: int = 1, *, axis1: int | None = None,
    axis2: int | None = None,
) -> Any:  # fmt: skip
    """The diagonal of two axes, as the last axis: a view."""
    first = normal_axis(dim1 if axis1 is None else axis1, x.ndim, "diagonal")
    second = normal_axis(dim2 if axis2 is None else axis2, x.ndim, "diagonal")
    return _shape.diagonal(x, offset, first, second)


def diag(x: Any, diagonal: int = 0) -> Any:
    """The diagonal of a matrix, or the matrix with a given diagonal."""
    if x.ndim == 1:
        return diag_embed(x, diagonal)
    if x.ndim != 2:
        raise RuntimeError(f"diag: needs a vector or a matrix, not shape {x.shape}")
    return _shape.diagonal(x, diagonal, 0, 1)


def diag_embed(x: Any, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Any:
    """Matrices, along ``dim1`` and ``dim2``, whose diagonal is the last axis of ``x``."""
    ndim = x.ndim + 1
    first, second = normal_axes((dim1, dim2), ndim, "diag_embed")
    if first > second:
        first, second, offset = second, first, -offset
    n = x.shape[-1] + abs(offset)
    sizes = list(x.shape[:-1])
    sizes.insert(first, n)
    sizes.insert(second, n)
    return _shape.put_diagonal(x, tuple(sizes), offset, first, second)


def diagflat(x: Any, offset: int = 0) -> Any:
    """The matrix with the entries of ``x`` on a diagonal."""
    return diag_embed(ravel(x), offset)


def trace(x: Any) -> Any:
    """The sum of the main diagonal of a matrix."""
    from tilegrad.ops.reduction import sum

    if x.ndim != 2:
        raise RuntimeError(f"trace: needs a matrix, not shape {x.shape}")
    return sum(_shape.diagonal(x, 0, 0, 1))


def tril(x: Any, diagonal: int = 0, *, k: int | None = None) -> Any:
    """Zeros above a diagonal."""
    return _shape.tril(x, diagonal if k is None else k)


def triu(x: Any, diagonal: int = 0, *, k: int | None = None) -> Any:
    """Zeros below a diagonal."""
    return _shape.triu(x, diagonal if k is None else k)


def meshgrid(*tensors: Any, indexing: str = "ij") -> tuple[Any, ...]:
    """Coordinates of a grid: vectors broadcast against each other."""
    xs = tensors[0] if len(tensors) == 1 and isinstance(tensors[0], (list, tuple)) else tensors
    if indexing not in ("ij", "xy"):
        raise ValueError(f"meshgrid: indexing must be 'ij' or 'xy', not {indexing!r}")
    xs = [x if x.ndim else _shape.reshape(x, (1,)) for x in xs]
    shape = tuple(_size(x) for x in xs)
    grids = [
        _shape.expand(
            _shape.reshape(x, tuple(n if i == j else 1 for j, n in enumerate(shape))), shape
        )
        for i, x in enumerate(xs)
    ]
    if indexing == "xy" and len(xs) > 1:
        grids = [swapaxes(grid, 0, 1) for grid in grids]
    return tuple(grids)


__all__ = [
    "adjoint", "atleast_1d", "atleast_2d", "atleast_3d", "broadcast_arrays", "broadcast_shapes",
    "broadcast_tensors", "broadcast_to", "cat", "chunk", "column_stack", "concat", "concatenate",
    "diag", "diag_embed", "diagflat", "diagonal", "dsplit", "dstack", "expand", "expand_as",
    "expand_dims", "flatten", "flip", "fliplr", "flipud", "hsplit", "hstack", "matrix_transpose",
    "meshgrid", "moveaxis", "movedim", "narrow", "permute", "permute_dims", "ravel", "repeat",
    "repeat_interleave", "reshape", "reshape_as", "roll", "rot90", "row_stack", "select", "split",
    "split_with_sizes", "squeeze", "stack", "swapaxes", "swapdims", "t", "tensor_split", "tile",
    "trace", "transpose", "tril", "triu", "unbind", "unflatten", "unsafe_split", "unsqueeze",
    "unstack", "view", "vsplit", "vstack",
]  # fmt: skip
