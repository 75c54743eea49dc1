"""Products of several matrices, traces, and the small vector products."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tilegrad.functions import products as _functions
from tilegrad.linalg.operands import like, matrix, operand
from tilegrad.ops.arithmetic import add, multiply, subtract
from tilegrad.ops.cumulative import cumprod
from tilegrad.ops.linalg_checks import LinAlgError
from tilegrad.ops.products import bmm, transpose
from tilegrad.ops.reduction import sum
from tilegrad.ops.shape import cast, concatenate, expand, getitem, reshape, roll, tril
from tilegrad.ops.shape import diagonal as _diagonal

matmul = _functions.matmul
tensordot = _functions.tensordot


def matrix_transpose(A: Any) -> Any:
    """The last two axes exchanged."""
    return transpose(matrix("matrix_transpose", A))


def diagonal(A: Any, *, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Any:
    """The diagonals of matrices, as the last axis."""
    A = matrix("diagonal", A)
    return _diagonal(A, offset, dim1 % A.ndim, dim2 % A.ndim)


def trace(A: Any, *, offset: int = 0, dtype: Any = None) -> Any:
    """The sum of the diagonal of matrices (..., m, n) -> (...), in ``dtype`` if there is one.

    Otherwise integers sum to 64 bits, unsigned ones without a sign.

    >>> import tilegrad as tg
    >>> float(tg.linalg.trace([[1.0, 2.0], [3.0, 4.0]]))
    5.0
    """
    entries = diagonal(A, offset=offset)
    if dtype is None and entries.dtype.kind == "u":
        dtype = np.uint64
    if dtype is None:
        return sum(entries, -1)
    return cast(sum(cast(entries, np.dtype(dtype)), -1), np.dtype(dtype))


def outer(x: Any, y: Any) -> Any:
    """``x y^T`` of two vectors."""
    x, y = operand(x), operand(y)
    if x.ndim != 1 or y.ndim != 1:
        raise ValueError(f"outer: needs two vectors, got shapes {x.shape} and {y.shape}")
    return multiply(reshape(x, (*x.shape, 1)), y)


def vecdot(x: Any, y: Any, *, dim: int = -1, axis: int | None = None) -> Any:
    """Inner products along an axis, of one size in both; the others broadcast."""
    x, y = operand(x), operand(y)
    dim = dim if axis is None else axis
    if x.shape[dim] != y.shape[dim]:
        raise ValueError(f"vecdot: axis {dim} of shapes {x.shape} and {y.shape} differs in size")
    products = multiply(x, y)
    out = sum(products, dim)
    return out if out.dtype == products.dtype else cast(out, products.dtype)


def cross(x: Any, y: Any, *, dim: int = -1, axis: int | None = None) -> Any:
    """Cross products of 3-vectors along an axis, with broadcasting.

    >>> import tilegrad as tg
    >>> tg.linalg.cross([1.0, 0.0, 0.0], [0.0, 1.0, 0.0])
    array([0., 0., 1.])
    """
    x, y = operand(x), operand(y)
    dim = dim if axis is None else axis
    shape = np.broadcast_shapes(x.shape, y.shape)
    if x.shape[dim] != 3 or y.shape[dim] != 3:
        raise ValueError(f"cross: axis {dim} of shapes {x.shape} and {y.shape} has to have size 3")
    x, y, dim = expand(x, shape), expand(y, shape), dim % len(shape)
    return subtract(
        multiply(roll(x, -1, dim), roll(y, -2, dim)), multiply(roll(x, -2, dim), roll(y, -1, dim))
    )


def vander(x: Any, N: int | None = None) -> Any:
    """Vandermonde matrices (..., n) -> (..., n, N): powers 0 to N - 1 of each entry as rows."""
    x = operand(x)
    if x.ndim == 0:
        x = reshape(x, (1,))
    N = x.shape[-1] if N is None else N
    column = reshape(x, (*x.shape, 1))
    ones = np.ones(column.shape, x.dtype)
    if N <= 1:
        return ones[..., :N]
    powers = cumprod(expand(column, (*x.shape, N - 1)), -1)
    return concatenate(ones, powers, axis=-1)


def householder_product(A: Any, tau: Any) -> Any:
    """The first columns of the product of reflections ``I - tau_i v_i v_i^T`` (LAPACK's orgqr).

    Args:
        A: (..., m, n); v_i is column i below the diagonal, with 1 on it and 0 above.
        tau: (..., k), k <= n <= m.
    """
    A, tau = matrix("householder_product", A), operand(tau)
    m, n = A.shape[-2:]
    if tau.shape[-1] > n or n > m:
        raise LinAlgError(
            f"householder_product: shapes {A.shape} and {tau.shape} do not fit: needs rows >= "
            "columns >= reflections"
        )
    v = add(tril(A, -1), np.eye(m, n, dtype=A.dtype))
    result: Any = np.eye(m, n, dtype=A.dtype)
    for i in reversed(range(tau.shape[-1])):
        column = getitem(v, (..., slice(i, i + 1)))
        scaled = multiply(column, getitem(tau, (..., slice(i, i + 1), None)))
        result = subtract(result, bmm(scaled, bmm(transpose(column), result)))
    return expand(result, A.shape) if tau.shape[-1] else like(A, expand(result, A.shape))


def multi_dot(tensors: Sequence[Any]) -> Any:
    """The product of a chain of matrices in the cheapest order; the ends may be vectors.

    >>> import numpy as np, tilegrad as tg
    >>> tg.linalg.multi_dot([np.ones((2, 30)), np.ones((30, 1)), np.ones((1, 40))]).shape
    (2, 40)
    """
    factors = [operand(x) for x in tensors]
    if len(factors) < 2:
        raise ValueError("multi_dot: needs at least two matrices")
    first, last = factors[0].ndim == 1, factors[-1].ndim == 1
    if first:
        factors[0] = reshape(factors[0], (1, *factors[0].shape))
    if last:
        factors[-1] = reshape(factors[-1], (*factors[-1].shape, 1))
    for i, factor in enumerate(factors):
        if factor.ndim != 2:
            raise ValueError(f"multi_dot: factor {i} has shape {factor.shape}; 2-d ones are needed")
        if i and factors[i - 1].shape[1] != factor.shape[0]:
            raise LinAlgError(
                f"multi_dot: factors {i - 1} and {i} of shapes {factors[i - 1].shape} and "
                f"{factor.shape} do not fit: {factors[i - 1].shape[1]} columns, "
                f"{factor.shape[0]} rows"
            )
    result = _product(factors, _order([factors[0].shape[0], *(f.shape[1] for f in factors)]))
    shape = result.shape
    if first or last:
        result = reshape(result, shape[int(first) : 2 - int(last)])
    return result


def _order(sizes: list[int]) -> dict[tuple[int, int], int]:
    """Where to split the chain i ... j for the fewest multiplications (dynamic programming)."""
    n = len(sizes) - 1
    cost: dict[tuple[int, int], int] = {(i, i): 0 for i in range(n)}
    split = {}
    for length in range(1, n):
        for i in range(n - length):
            j = i + length
            cost[i, j], split[i, j] = min(
                (cost[i, k] + cost[k + 1, j] + sizes[i] * sizes[k + 1] * sizes[j + 1], k)
                for k in range(i, j)
            )
    return split


def _product(factors: list[Any], split: dict[tuple[int, int], int]) -> Any:
    def part(i: int, j: int) -> Any:
        if i == j:
            return factors[i]
        k = split[i, j]
        return bmm(part(i, k), part(k + 1, j))

    return part(0, len(factors) - 1)
