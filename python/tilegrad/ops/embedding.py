"""Rows of a table picked by integers."""

from __future__ import annotations

from typing import Any

import numpy as np

from tilegrad.autograd.batching import on_members
from tilegrad.autograd.op import Op
from tilegrad.ops.arithmetic import multiply
from tilegrad.ops.define import multilinear


def _embedding(weight: Any, indices: Any, padding_idx: int | None = None) -> Any:
    return np.take(weight, indices, axis=0)


def _embedding_grad(y: Any, indices: Any, rows: int, padding_idx: int | None = None) -> Any:
    indices = np.asarray(indices).ravel()
    y = y.reshape(indices.size, y.shape[-1])
    if padding_idx is not None:
        kept = indices != padding_idx
        indices, y = indices[kept], y[kept]
    result = np.zeros((rows, y.shape[1]), y.dtype)
    # sorted, the rows of one index are neighbours and reduceat adds them in order
    order = np.argsort(indices, kind="stable")
    found, starts = np.unique(indices[order], return_index=True)
    if found.size:
        result[found] = np.add.reduceat(y[order], starts, axis=0)
    return result


def _masked(value: Any, indices: Any, padding_idx: int | None) -> Any:
    """Rows of ``value``, zeros for the padding index: no gradient passes there, either way."""
    rows = embedding(value, indices)
    if padding_idx is None:
        return rows
    dtype = rows.dtype
    kept = on_members(lambda i: np.not_equal(i, padding_idx)[..., None].astype(dtype), indices)
    return multiply(rows, kept)


#: Rows ``indices`` (any shape) of weight (R, E). ``padding_idx`` names a row held constant.
embedding = Op(
    "embedding", _embedding, inputs=["weight", "indices"],
    vjp={
        "weight": lambda g, indices, weight_shape, padding_idx: embedding_grad(
            g, indices, weight_shape[0], padding_idx
        )
    },
    jvp={"weight": lambda t, indices, padding_idx: _masked(t, indices, padding_idx)},
    batch="table",
)  # fmt: skip

#: The adjoint: rows of y added up by index, in a table of ``rows`` rows.
embedding_grad = multilinear(
    "embedding_grad", _embedding_grad, "y indices",
    y=lambda g, indices, padding_idx: _masked(g, indices, padding_idx),
    batch="each",
)  # fmt: skip
