"""Names that programs written for torch or NumPy expect, each a line or two of other functions."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from tilegrad.autograd.tensor import Tensor
from tilegrad.functions import cumulative, indexing, products, shaping
from tilegrad.functions.axes import normal_axes, normal_axis, sizes_of
from tilegrad.functions.reductions import _floating, norm
from tilegrad.ops import arithmetic as _a
from tilegrad.ops import shape as _shape
from tilegrad.ops.selection import where as _where


def _values(x: Any) -> Any:
    return x._array if isinstance(x, Tensor) else np.asarray(x)


# ---- copies of what are views elsewhere ----------------------------------------------------------


def _copying(function: Any) -> Any:
    def copied(*args: Any, **kwargs: Any) -> Any:
        out = function(*args, **kwargs)
        return tuple(map(_shape.copy, out)) if isinstance(out, tuple) else _shape.copy(out)

    copied.__name__ = f"{function.__name__}_copy"
    copied.__doc__ = f":func:`{function.__name__}` on memory of its own."
    return copied


diagonal_copy = _copying(shaping.diagonal)
expand_copy = _copying(shaping.expand)
narrow_copy = _copying(shaping.narrow)
permute_copy = _copying(shaping.permute)
select_copy = _copying(shaping.select)
split_copy = _copying(shaping.split)
split_with_sizes_copy = _copying(shaping.split)
squeeze_copy = _copying(shaping.squeeze)
t_copy = _copying(shaping.t)
transpose_copy = _copying(shaping.transpose)
unbind_copy = _copying(shaping.unbind)
unfold_copy = _copying(indexing.unfold)
unsqueeze_copy = _copying(shaping.unsqueeze)
view_copy = _copying(shaping.view)
unsafe_chunk = shaping.chunk
trapz = cumulative.trapezoid


def alias_copy(x: Any) -> Any:
    """A copy."""
    return _shape.copy(x)


# ---- real numbers in the names of complex ones ---------------------------------------------------


def real(x: Any) -> Any:
    """The real part: the tensor itself."""
    return x


def conj(x: Any) -> Any:
    """The complex conjugate of a real tensor: itself."""
    return x


conj_physical = resolve_conj = resolve_neg = conj


def angle(x: Any) -> Any:
    """0 for positive numbers, pi for negative ones."""
    return _a.angle(x)


# ---- building ------------------------------------------------------------------------------------


def block_diag(*tensors: Any) -> Any:
    """A matrix with the given ones along its diagonal."""
    blocks = [shaping.atleast_2d(x) for x in tensors]
    height = sum(block.shape[0] for block in blocks)
    width = sum(block.shape[1] for block in blocks)
    rows, top, left = [], 0, 0
    for block in blocks:
        m, n = block.shape
        rows.append(_shape.zero_pad(block, ((top, height - top - m), (left, width - left - n))))
        top, left = top + m, left + n
    total = rows[0]
    for row in rows[1:]:
        total = _a.add(total, row)
    return total


def cartesian_prod(*tensors: Any) -> Any:
    """All tuples of entries of vectors, one per row."""
    if len(tensors) == 1:
        return tensors[0]
    return shaping.stack([shaping.ravel(grid) for grid in shaping.meshgrid(*tensors)], 1)


def combinations(x: Any, r: int = 2, with_replacement: bool = False) -> Any:
    """All choices of ``r`` entries of a vector, one per row."""
    choose = itertools.combinations_with_replacement if with_replacement else itertools.combinations
    rows = np.array(list(choose(range(x.shape[0]), r)), np.int64).reshape(-1, r)
    return _shape.getitem(x, rows) if r else _shape.getitem(x, slice(0, 0))


def constant_pad_nd(x: Any, pad: Sequence[int], value: float = 0.0) -> Any:
    """``value`` around ``x``; ``pad`` names (low, high) from the last axis backwards.

    Negative numbers cut.
    """
    pairs = [(0, 0)] * x.ndim
    for k in range(len(pad) // 2):
        pairs[x.ndim - 1 - k] = (pad[2 * k], pad[2 * k + 1])
    cut = tuple(
        slice(max(-low, 0), n - max(-high, 0))
        for (low, high), n in zip(pairs, x.shape, strict=True)
    )
    x = _shape.getitem(x, cut)
    widths = tuple((max(low, 0), max(high, 0)) for low, high in pairs)
    padded = _shape.zero_pad(x, widths)
    if not value:
        return padded
    inside = np.pad(np.ones(x.shape, bool), widths)
    return _where(inside, padded, np.asarray(value, x.dtype))


def as_strided(x: Any, size: Any, stride: Any, storage_offset: int = 0) -> Any:
    """Entries of the flattened tensor at the places that sizes and strides (in entries) name."""
    size, stride = tuple(size), tuple(stride)
    places = np.full(size, int(storage_offset or 0))
    for axis, (n, step) in enumerate(zip(size, stride, strict=True)):
        places += (np.arange(n) * step).reshape((-1,) + (1,) * (len(size) - axis - 1))
    return _shape.getitem(shaping.ravel(x), places)


as_strided_copy = as_strided


def unravel_index(indices: Any, shape: Any) -> tuple[Any, ...]:
    """Positions in the flattened array as one index tensor per axis."""
    shape = (shape,) if isinstance(shape, int) else tuple(shape)
    return tuple(Tensor(np.asarray(part)) for part in np.unravel_index(_values(indices), shape))


def renorm(x: Any, p: float, dim: int, maxnorm: float) -> Any:
    """Slices along ``dim`` scaled down to a p-norm of at most ``maxnorm``."""
    dim = normal_axis(dim, x.ndim, "renorm")
    size = norm(x, p, tuple(i for i in range(x.ndim) if i != dim), True)
    # torch keeps the scaled norm below the bound by this epsilon
    scale = _a.divide(maxnorm, _a.add(size, 1e-7))
    return _a.multiply(x, _where(_values(size) > maxnorm, scale, np.ones((), x.dtype)))


def gradient(
    x: Any, *, spacing: Any = None, dim: Any = None, edge_order: int = 1
) -> tuple[Any, ...]:
    """Central differences along axes, one-sided at the ends."""
    x = _floating(x)
    spacing = 1 if spacing is None else spacing
    axes = tuple(range(x.ndim)) if dim is None else np.atleast_1d(dim).tolist()
    steps = spacing if isinstance(spacing, (list, tuple)) else [spacing] * len(axes)
    axes = normal_axes(tuple(axes), x.ndim, "gradient")
    return tuple(
        _along(x, _difference_matrix(x, axis, step, edge_order), axis)
        for axis, step in zip(axes, steps, strict=True)
    )


def _along(x: Any, matrix: Any, axis: int) -> Any:
    """``matrix`` times every vector along ``axis``."""
    return shaping.movedim(products.tensordot(matrix, x, ([1], [axis])), 0, axis)


def _difference_matrix(x: Any, axis: int, step: Any, edge_order: int) -> Any:
    """The matrix of numpy.gradient, which is linear, along one axis."""
    n = x.shape[axis]
    spacing: Any = _values(step).astype(x.dtype) if np.ndim(_values(step)) else float(step)
    gradient: Any = np.gradient  # its overloads know no axis here
    columns = gradient(np.eye(n, dtype=np.float64), spacing, axis=0, edge_order=edge_order)
    return np.asarray(columns, x.dtype)


def sum_to_size(x: Any, *size: Any) -> Any:
    """``x`` summed down to a shape that broadcasts to its own."""
    shape = sizes_of(size)
    if shape != x.shape and x.dtype.kind != "f":
        x = _shape.cast(x, np.dtype(np.int64))
    return _shape.sum_to(x, shape)


def pinverse(x: Any, rcond: float = 1e-15) -> Any:
    """``tilegrad.linalg.pinv``."""
    from tilegrad.functions.numpy_names import linear_algebra

    return linear_algebra("pinv")(x, rcond=rcond)


def frexp(x: Any) -> tuple[Any, Any]:
    """Mantissas in [1/2, 1) and the exponents of 2 they are multiplied by."""
    mantissa, exponent = np.frexp(_values(x))
    scale = np.exp2(-exponent.astype(np.float64)).astype(mantissa.dtype)
    return _a.multiply(x, scale), Tensor(np.asarray(exponent, np.int32))


__all__ = [
    "alias_copy", "angle", "as_strided", "as_strided_copy", "block_diag", "cartesian_prod",
    "combinations", "conj", "conj_physical", "constant_pad_nd", "diagonal_copy", "expand_copy",
    "frexp", "gradient", "narrow_copy", "permute_copy", "pinverse", "real", "renorm",
    "resolve_conj", "resolve_neg", "select_copy", "split_copy", "split_with_sizes_copy",
    "squeeze_copy", "sum_to_size", "t_copy", "transpose_copy", "trapz", "unbind_copy",
    "unfold_copy", "unravel_index", "unsafe_chunk", "unsqueeze_copy", "view_copy",
]  # fmt: skip
