"""Matrix products on the GEMM: each family of products is closed under differentiation.

``<g, a @ b>`` is trilinear: fixing two of g, a, b gives the gradient by the third, again a product.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tilegrad import kernels
from tilegrad.ops.define import multilinear
from tilegrad.ops.shape import expand, permute, reshape


def transpose(x: Any) -> Any:
    """The last two axes exchanged."""
    if type(x) is np.ndarray:  # in a rule on arrays, where a view needs no operation
        return x.swapaxes(-1, -2)
    ndim = x.ndim
    return permute(x, (*range(ndim - 2), ndim - 1, ndim - 2))


#: Batched product of stacks of matrices (both at least 2-d); batches broadcast.
#: d(AB) = dA B + A dB, so <G, dA B> = <G B^T, dA> and <G, A dB> = <A^T G, dB>.
bmm = multilinear(
    "bmm", kernels.matmul, "a b", promotes=True, batch="product",
    a=lambda g, b: bmm(g, transpose(b)),
    b=lambda g, a: bmm(transpose(a), g),
)  # fmt: skip


def matmul(a: Any, b: Any) -> Any:
    """``a @ b`` with NumPy's rules: 1-d operands are vectors, others stacks of matrices."""
    if a.ndim == 0 or b.ndim == 0:
        raise ValueError(
            f"matmul: operands of shapes {a.shape} and {b.shape}: both need at least 1 dimension; "
            "use * to multiply by a number"
        )
    if a.shape[-1] != b.shape[-2 if b.ndim > 1 else 0]:
        raise ValueError(
            f"matmul: shapes {a.shape} and {b.shape} do not fit: {a.shape[-1]} columns on the "
            f"left, {b.shape[-2 if b.ndim > 1 else 0]} rows on the right"
        )
    rows = reshape(a, (1, a.shape[0])) if a.ndim == 1 else a
    columns = reshape(b, (b.shape[0], 1)) if b.ndim == 1 else b
    if a.ndim > 1 and b.ndim > 1:
        return bmm(a, b)
    product = bmm(rows, columns)
    shape = product.shape
    if a.ndim == 1:
        shape = shape[:-2] + shape[-1:]
    if b.ndim == 1:
        shape = shape[:-1]
    return reshape(product, shape)


__all__ = ["bmm", "expand", "matmul", "transpose"]
