"""Batched forms of the operations of layers: most fold the batch into the samples they have."""

from __future__ import annotations

from typing import Any

import numpy as np

from tilegrad import kernels
from tilegrad.autograd.batching import (
    Operand,
    batch_shape,
    define,
    each,
    filled,
    folded,
    lift,
    unfolded,
)
from tilegrad.ops.batched import Attrs, Forward


@define("samples")
def on_samples(forward: Forward, operands: list[Operand], attrs: Attrs, depth: int) -> Any:
    """x (N, ...) with parameters that all members share: one call on all samples."""
    if any(o.batched for o in operands[1:]):
        return each(forward, operands, attrs, depth)
    sizes = batch_shape(operands, depth)
    x = folded(operands[0], sizes)
    out = forward(x, *(o.array for o in operands[1:]), **_with_samples(attrs, x.shape[0]))
    return unfolded(out, sizes)


@define("planes")
def on_planes(forward: Forward, operands: list[Operand], attrs: Attrs, depth: int) -> Any:
    """Operands that all have samples in front: one call on the samples of all members."""
    sizes = batch_shape(operands, depth)
    arrays = [folded(o, sizes) for o in operands]
    return unfolded(forward(*arrays, **_with_samples(attrs, arrays[0].shape[0])), sizes)


def _with_samples(attrs: Attrs, count: int) -> Attrs:
    """A result's shape among the attributes with the number of samples of all members."""
    if "input_shape" not in attrs:
        return attrs
    return {**attrs, "input_shape": (count, *attrs["input_shape"][1:])}


@define("trailing")
def on_last_axes(forward: Forward, operands: list[Operand], attrs: Attrs, depth: int) -> Any:
    """x (*B, *S) with parameters of S: the batch is more of B, if they are shared."""
    if any(o.batched for o in operands[1:]):
        return each(forward, operands, attrs, depth)
    return forward(*(o.array for o in operands), **attrs)


@define("table")
def picked(forward: Forward, operands: list[Operand], attrs: Attrs, depth: int) -> Any:
    """Rows of one table by any indices."""
    table, indices = operands
    if table.batched:
        return each(forward, operands, attrs, depth)
    return forward(table.array, indices.array, **attrs)


@define("affine")
def affine(forward: Forward, operands: list[Operand], attrs: Attrs, depth: int) -> Any:
    """x (*B, k) @ weight (n, k)^T + bias."""
    return _affine(forward, operands, attrs, depth)


@define("affine relu")
def affine_relu(forward: Forward, operands: list[Operand], attrs: Attrs, depth: int) -> Any:
    """The same, and its positive part."""
    if not (operands[1].batched or operands[2].batched):
        return _affine(forward, operands, attrs, depth)
    return kernels.relu(_affine(forward, operands, attrs, depth))


def _affine(forward: Forward, operands: list[Operand], attrs: Attrs, depth: int) -> Any:
    x, weight, bias = operands
    if not (weight.batched or bias.batched):  # the rows of all members are rows of one matrix
        return forward(x.array, weight.array, bias.array, **attrs)
    inner = x.ndim(depth)
    rows = x.array if x.batched else np.asarray(x.array)
    lead = rows.shape[: depth if x.batched else 0]
    matrix = rows.reshape(*lead, -1, rows.shape[-1])  # (*batch, rows, k)
    y = kernels.matmul(matrix, np.swapaxes(weight.array, -1, -2))
    if bias.array is not None:
        y = kernels.add(y, lift(bias, 2, depth) if not bias.batched else bias.array[..., None, :])
    middle = rows.shape[len(lead) : -1]
    return y.reshape(*y.shape[:-2], *middle, y.shape[-1]) if inner != 2 else y


@define("cross entropy")
def cross_entropy(forward: Forward, operands: list[Operand], attrs: Attrs, depth: int) -> Any:
    """Losses row by row, then one sum or mean for each member."""
    logits, target, weight = operands
    if weight.batched:
        return each(forward, operands, attrs, depth)
    sizes = batch_shape(operands, depth)
    rows, labels = folded(logits, sizes), folded(target, sizes)
    loss, p = forward(rows, labels, weight.array, **{**attrs, "reduction": "none"})
    loss, p = unfolded((loss, p), sizes)
    if attrs["reduction"] != "none":
        loss = kernels.sum(loss, -1)
    if attrs["reduction"] == "mean":
        loss = loss / _weights(target, weight, sizes, attrs, loss.dtype)
    return loss, p


@define("cross entropy gradient")
def cross_entropy_grad(forward: Forward, operands: list[Operand], attrs: Attrs, depth: int) -> Any:
    """Row by row, with the cotangent of a member's sum or mean given to each of its rows."""
    d, p, target, weight = operands
    if weight.batched:
        return each(forward, operands, attrs, depth)
    sizes = batch_shape(operands, depth)
    by_row = filled(d, sizes)
    if attrs["reduction"] == "mean":
        by_row = by_row / _weights(target, weight, sizes, attrs, p.array.dtype)
    if attrs["reduction"] != "none":
        rows = p.array.shape[depth if p.batched else 0]
        by_row = np.broadcast_to(by_row[..., None], (*sizes, rows))
    out = forward(
        by_row.reshape(-1), folded(p, sizes), folded(target, sizes), weight.array,
        **{**attrs, "reduction": "none"},
    )  # fmt: skip
    return unfolded(out, sizes)


def _weights(
    target: Operand, weight: Operand, sizes: tuple[int, ...], attrs: Attrs, dtype: Any
) -> Any:
    """The sum of the weights of each member's rows: what its mean divides by."""
    labels = filled(target, sizes)
    kept = labels != attrs["ignore_index"]
    of_class = np.ones((), dtype) if weight.array is None else np.asarray(weight.array, dtype)
    each_row = of_class[np.where(kept, labels, 0)] if of_class.ndim else of_class
    return (kept * each_row).sum(axis=-1).astype(dtype)
