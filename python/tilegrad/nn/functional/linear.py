"""Affine and bilinear maps, embeddings, one-hot codes."""

from __future__ import annotations

from typing import Any

import numpy as np

from tilegrad.autograd.tensor import Tensor
from tilegrad.ops import linear as ops
from tilegrad.ops.arithmetic import add
from tilegrad.ops.embedding import embedding as _embedding
from tilegrad.ops.products import matmul
from tilegrad.ops.shape import expand, permute, reshape


def linear(input: Any, weight: Any, bias: Any = None) -> Any:
    """``x W^T + b`` on the last axis.

    Args:
        input: (*, in_features).
        weight: (out_features, in_features), or (in_features,) for one output without an axis.
        bias: (out_features,) or None.

    Raises:
        ValueError: the sizes do not fit.
        TypeError: the dtypes differ.

    >>> import tilegrad as tg
    >>> tg.nn.functional.linear(tg.ones(2, 3), tg.ones(4, 3)).shape
    (2, 4)
    """
    if weight.ndim == 1:
        y = matmul(input, weight)
        return y if bias is None else add(y, bias)
    return ops.linear(input, weight, bias)


def bilinear(input1: Any, input2: Any, weight: Any, bias: Any = None) -> Any:
    """``x1^T A_k x2 + b_k`` for each slice of weight (out, in1, in2)."""
    if input1.shape[:-1] != input2.shape[:-1]:
        raise ValueError(
            f"bilinear: inputs of shapes {input1.shape} and {input2.shape} must agree in all axes "
            "but the last"
        )
    out, in1, in2 = weight.shape
    if (input1.shape[-1], input2.shape[-1]) != (in1, in2):
        raise ValueError(
            f"bilinear: inputs of shapes {input1.shape} and {input2.shape} need {in1} and {in2} "
            f"features for weight {weight.shape}"
        )
    lead = input1.shape[:-1]
    count = int(np.prod(lead, dtype=np.int64))
    x1, x2 = reshape(input1, (count, in1)), reshape(input2, (count, in2))
    # (count, in1) @ (in1, out * in2) = (count, out, in2), then times x2
    by_out = reshape(permute(weight, (1, 0, 2)), (in1, out * in2))
    left = reshape(matmul(x1, by_out), (count, out, in2))
    y = reshape(matmul(left, reshape(x2, (count, in2, 1))), (*lead, out))
    return y if bias is None else add(y, bias)


def _integers(op: str, value: Any) -> np.ndarray[Any, Any]:
    array = value._array if isinstance(value, Tensor) else np.asarray(value)
    if array.dtype.kind not in "iu":
        raise TypeError(f"{op}: indices must be integers, got dtype {array.dtype}")
    return array


def check_range(op: str, indices: np.ndarray[Any, Any], size: int, what: str) -> None:
    """Raise IndexError for an index outside ``range(size)``."""
    if indices.size and (indices.min() < 0 or indices.max() >= size):
        bad = int(indices.min()) if indices.min() < 0 else int(indices.max())
        raise IndexError(f"{op}: index {bad} is outside 0..{size - 1}, the rows of {what}")


def embedding(
    input: Any, weight: Any, padding_idx: int | None = None, max_norm: float | None = None,
    norm_type: float = 2.0, scale_grad_by_freq: bool = False, sparse: bool = False,
) -> Any:  # fmt: skip
    """Rows of ``weight`` (R, E) named by integers of any shape.

    Args:
        input: integers in [0, R).
        weight: the table.
        padding_idx: a row that takes no gradient.
        max_norm: rows that are read are first shrunk, in place, to this norm.
        norm_type: the p of that norm.
        scale_grad_by_freq: divide a row's gradient by how often it was read.
        sparse: accepted; gradients are dense.

    Raises:
        IndexError: an index is out of range.
        TypeError: the indices are not integers.
    """
    indices = _integers("embedding", input)
    rows = weight.shape[0]
    check_range("embedding", indices, rows, f"weight {weight.shape}")
    if padding_idx is not None:
        if not -rows <= padding_idx < rows:
            raise ValueError(f"embedding: padding_idx {padding_idx} must be within {rows} rows")
        padding_idx %= rows
    if max_norm is not None:
        _renormalise(weight, np.unique(indices), max_norm, norm_type)
    if scale_grad_by_freq and indices.size:
        weight = _scaled_gradient(weight, 1 / np.maximum(np.bincount(indices.ravel()), 1), indices)
    return _embedding(weight, indices, padding_idx)


def _renormalise(weight: Any, rows: np.ndarray[Any, Any], max_norm: float, p: float) -> None:
    table = weight._array if isinstance(weight, Tensor) else weight
    norms = np.linalg.norm(table[rows], ord=p, axis=1)
    large = norms > max_norm
    if large.any():
        # torch's slack keeps the shrunk row below the bound
        table[rows[large]] *= (max_norm / (norms[large] + 1e-7))[:, None].astype(table.dtype)
        if isinstance(weight, Tensor):
            weight._bump_version()


def _scaled_gradient(
    weight: Any, rates: np.ndarray[Any, Any], indices: np.ndarray[Any, Any]
) -> Any:
    """``weight`` itself, whose gradient is scaled row by row."""
    if not isinstance(weight, Tensor) or not weight.requires_grad:
        return weight
    full = np.ones((weight.shape[0], 1), weight.dtype)
    full[: rates.size, 0] = rates
    passed = expand(weight, weight.shape)
    if passed.requires_grad:
        passed.register_hook(lambda g: g * full)
    return passed


def one_hot(tensor: Any, num_classes: int = -1) -> Any:
    """Integers (*) as rows (*, num_classes) of zeros with a one; -1 takes the largest plus one."""
    labels = _integers("one_hot", tensor)
    if num_classes == -1:
        if not labels.size:
            raise ValueError("one_hot: num_classes cannot be inferred from an empty tensor")
        num_classes = int(labels.max()) + 1
    if labels.size and (labels.min() < 0 or labels.max() >= num_classes):
        raise ValueError(
            f"one_hot: labels from {labels.min()} to {labels.max()} do not fit {num_classes} "
            "classes"
        )
    codes = np.zeros((*labels.shape, num_classes), np.int64)
    np.put_along_axis(codes, labels[..., None].astype(np.int64), 1, axis=-1)
    return Tensor(codes)


__all__ = ["bilinear", "embedding", "linear", "one_hot"]
