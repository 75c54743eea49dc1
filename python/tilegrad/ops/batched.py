"""Batched forms of operations: how records act on a batch whose axes stand in front.

The rules name the attributes they shift (``axis``, ``shape``, ``index``), so one rule serves every
operation that has them. See :mod:`tilegrad.autograd.batching` for what a rule is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tilegrad.autograd.batching import (
    Operand,
    batch_shape,
    define,
    each,
    filled,
    lift,
)

Forward = Callable[..., Any]
Attrs = dict[str, Any]


def shifted_axis(axis: Any, ndim: int, depth: int) -> Any:
    """``axis`` of a member as an axis of the batch; None means all of a member's."""
    if axis is None:
        return tuple(range(depth, depth + ndim))
    if isinstance(axis, (tuple, list)):
        return tuple(shifted_axis(a, ndim, depth) for a in axis)
    if not -max(ndim, 1) <= axis < max(ndim, 1):
        raise np.exceptions.AxisError(axis, ndim)
    return int(axis) if axis < 0 else int(axis) + depth


@define("axis")
def along_axis(forward: Forward, operands: list[Operand], attrs: Attrs, depth: int) -> Any:
    """Operations that work along ``axis`` (or ``axes``) of operands that broadcast."""
    ndim = max(o.ndim(depth) for o in operands if o.array is not None)
    moved = dict(attrs)
    sizes = batch_shape(operands, depth)
    for name in ("axis", "axes", "axis1", "axis2"):
        if name in moved:
            moved[name] = shifted_axis(moved[name], ndim, depth)
    if "keepdims" in attrs and (ndim == 0 or attrs["axis"] is None):
        return _over_all(forward, operands[0].array, attrs, depth)
    # an operand that all members share has no batch axes, so it takes them on here
    arrays = [
        o.array if o.array is None or np.ndim(o.array) == 0 else _whole(o, ndim, sizes, depth)
        for o in operands
    ]
    return forward(*arrays, **moved)


def _whole(operand: Operand, ndim: int, sizes: tuple[int, ...], depth: int) -> Any:
    if not operand.batched:
        missing = (1,) * (ndim - np.ndim(operand.array))
        array = np.reshape(operand.array, missing + np.shape(operand.array))
        return np.broadcast_to(array, sizes + array.shape)
    array = lift(operand, ndim, depth)
    return np.broadcast_to(array, sizes + array.shape[depth:])


def _over_all(forward: Forward, x: Any, attrs: Attrs, depth: int) -> Any:
    """A reduction over all entries of a member: over the last axis of members made flat."""
    size = int(np.prod(x.shape[depth:]))
    flat = x.reshape(*x.shape[:depth], size)
    out = forward(flat, **{**attrs, "axis": -1, "keepdims": False})
    return out.reshape(x.shape[:depth] + (1,) * (x.ndim - depth)) if attrs["keepdims"] else out


@define("whole")
def whole_batch(forward: Forward, operands: list[Operand], attrs: Attrs, depth: int) -> Any:
    """As "elementwise", for operations that compare sizes: every operand takes on the batch."""
    ndim = max(o.ndim(depth) for o in operands)
    sizes = batch_shape(operands, depth)
    return forward(*(_whole(o, ndim, sizes, depth) for o in operands), **attrs)


@define("shape")
def to_shape(forward: Forward, operands: list[Operand], attrs: Attrs, depth: int) -> Any:
    """reshape: the batch axes stay."""
    (x,) = operands
    shape = attrs["shape"]
    shape = (shape,) if isinstance(shape, int) else tuple(shape)
    if -1 in shape:  # with an empty batch NumPy could not tell
        known = -int(np.prod(shape))
        size = int(np.prod(x.array.shape[depth:]))
        shape = tuple(size // known if known and n == -1 else n for n in shape)
    return forward(x.array, **{**attrs, "shape": x.array.shape[:depth] + shape})


@define("permute")
def permuted(forward: Forward, operands: list[Operand], attrs: Attrs, depth: int) -> Any:
    """permute: the batch axes stay in front."""
    (x,) = operands
    ndim = x.ndim(depth)
    axes = (*range(depth), *(depth + a % max(ndim, 1) for a in attrs["axes"]))
    return forward(x.array, **{**attrs, "axes": axes})


@define("expand")
def expanded(forward: Forward, operands: list[Operand], attrs: Attrs, depth: int) -> Any:
    """expand: new axes come between the batch and the member's."""
    (x,) = operands
    shape = tuple(attrs["shape"])
    array = lift(x, len(shape), depth)
    return forward(array, **{**attrs, "shape": array.shape[:depth] + shape})


@define("sum_to")
def summed_to(forward: Forward, operands: list[Operand], attrs: Attrs, depth: int) -> Any:
    """sum_to: the target gets the batch axes, and ones where the member has more axes."""
    (x,) = operands
    shape, batch = tuple(attrs["shape"]), x.array.shape[:depth]
    missing = (1,) * (x.ndim(depth) - len(shape))
    out = forward(x.array, **{**attrs, "shape": batch + missing + shape})
    return out.reshape(batch + shape)


@define("index")
def indexed(forward: Forward, operands: list[Operand], attrs: Attrs, depth: int) -> Any:
    """getitem, put, replace: the batch is taken whole in front of the index.

    NumPy moves the axes of index arrays that stand apart to the very front, before the batch; there
    the members are taken one by one.
    """
    index = attrs["index"] if isinstance(attrs["index"], tuple) else (attrs["index"],)
    if _stand_apart(index):
        return each(forward, operands, attrs, depth)
    sizes = batch_shape(operands, depth)
    moved = {**attrs, "index": (slice(None),) * depth + index}
    if "shape" in attrs:
        moved["shape"] = sizes + tuple(attrs["shape"])
    arrays = [o.array if np.ndim(o.array) == 0 else filled(o, sizes) for o in operands]
    if len(operands) == 2 and operands[1].array is not None:  # replace: align the value
        arrays[1] = _aligned_value(operands, index, sizes, depth)
    return forward(*arrays, **moved)


def _aligned_value(operands: list[Operand], index: Any, sizes: tuple[int, ...], depth: int) -> Any:
    """The value to put, with ones between the batch and a member that has fewer axes."""
    x, value = operands
    if not value.batched:
        return value.array
    target = filled(x, sizes)[(0,) * depth] if all(sizes) else np.empty(x.array.shape[depth:])
    return lift(Operand(filled(value, sizes), True), np.ndim(target[index]), depth)


def _is_array(part: Any) -> bool:
    return isinstance(part, (np.ndarray, list)) and np.ndim(part) > 0


def _stand_apart(index: tuple[Any, ...]) -> bool:
    """Whether arrays in ``index`` are separated by slices, so that NumPy moves their axes."""
    places = [i for i, part in enumerate(index) if _is_array(part)]
    numbers = [
        i for i, part in enumerate(index) if isinstance(part, (int, np.integer)) or _is_array(part)
    ]
    return bool(places) and numbers != list(range(numbers[0], numbers[-1] + 1))


@define("concatenate")
def concatenated(forward: Forward, operands: list[Operand], attrs: Attrs, depth: int) -> Any:
    """concatenate: every piece takes on the batch."""
    sizes = batch_shape(operands, depth)
    arrays = [filled(o, sizes) for o in operands]
    ndim = arrays[0].ndim - depth
    attrs = {name: value for name, value in attrs.items() if name != "input_shapes"}
    return forward(*arrays, **{**attrs, "axis": shifted_axis(attrs["axis"], ndim, depth)})


@define("product")
def matrix_product(forward: Forward, operands: list[Operand], attrs: Attrs, depth: int) -> Any:
    """Products of matrices; one matrix shared by all members makes it one large product.

    x (batch, m, k) @ b (k, n): the rows of all members are rows of one matrix, and for
    a (m, k) @ x (batch, k, 1) the columns are.
    """
    a, b = operands
    if a.batched and not b.batched and np.ndim(b.array) == 2 and a.ndim(depth) >= 2:
        out = forward(a.array.reshape(-1, a.array.shape[-1]), b.array, **attrs)
        return out.reshape(*a.array.shape[:-1], out.shape[-1])
    if b.batched and not a.batched and np.ndim(a.array) == 2 and b.array.shape[-1] == 1:
        columns = b.array.reshape(-1, b.array.shape[-2])
        out = forward(columns, np.ascontiguousarray(np.transpose(a.array)), **attrs)
        return out.reshape(*b.array.shape[:-2], out.shape[-1], 1)
    ndim = max(o.ndim(depth) for o in operands)
    return forward(*(lift(o, ndim, depth) for o in operands), **attrs)


@define("stack")
def on_trailing_axes(forward: Forward, operands: list[Operand], attrs: Attrs, depth: int) -> Any:
    """Operations on the last axes of stacks, as in numpy.linalg: the batch is more of a stack."""
    ndim = max(o.ndim(depth) for o in operands if o.array is not None)
    return forward(
        *(o.array if o.array is None else lift(o, ndim, depth) for o in operands), **attrs
    )


@define("put_diagonal")
def diagonal_put(forward: Forward, operands: list[Operand], attrs: Attrs, depth: int) -> Any:
    """put_diagonal: the target shape and its axes get the batch in front."""
    (x,) = operands
    shape = tuple(attrs["shape"])
    axes = {name: shifted_axis(attrs[name], len(shape), depth) for name in ("axis1", "axis2")}
    return forward(x.array, **{**attrs, **axes, "shape": x.array.shape[:depth] + shape})


@define("roll")
def rolled(forward: Forward, operands: list[Operand], attrs: Attrs, depth: int) -> Any:
    """roll: without an axis the entries of a member move round as one row."""
    (x,) = operands
    if attrs["axis"] is not None:
        return along_axis(forward, operands, attrs, depth)
    rows = x.array.reshape(*x.array.shape[:depth], -1)
    return forward(rows, **{**attrs, "axis": -1}).reshape(x.array.shape)


@define("pad")
def padded(forward: Forward, operands: list[Operand], attrs: Attrs, depth: int) -> Any:
    """zero_pad: nothing is added along the batch axes."""
    (x,) = operands
    widths = ((0, 0),) * depth + tuple(tuple(pair) for pair in attrs["widths"])
    return forward(x.array, **{**attrs, "widths": widths})
