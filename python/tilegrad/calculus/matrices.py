"""The matrices of matrix calculus: vec and its relatives, products, and the maps between them.

``vec`` stacks columns unless told otherwise, as Magnus & Neudecker do: ``vec(A X B) = (B^T kron A)
vec X``. With ``order="row"`` it stacks rows, the order of memory, and the factors change places.
Functions of matrices take tensors and arrays and differentiate; the constant matrices are float64
tensors.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tilegrad.autograd.tensor import Tensor
from tilegrad.functions.products import kron as _kron
from tilegrad.ops.arithmetic import multiply
from tilegrad.ops.products import transpose
from tilegrad.ops.shape import getitem, put, reshape

ORDERS = ("col", "row")


def _operand(x: Any) -> Any:
    return x if isinstance(x, (Tensor, np.ndarray)) else np.asarray(x)


def _matrix(name: str, x: Any) -> Any:
    x = _operand(x)
    if x.ndim < 2:
        raise ValueError(f"{name}: needs a matrix or a stack of matrices, got shape {x.shape}")
    return x


def _check_order(order: str) -> None:
    if order not in ORDERS:
        raise ValueError(f"unknown order {order!r}: 'col' stacks columns, 'row' stacks rows")


def _size(name: str, n: Any) -> int:
    if isinstance(n, bool) or not isinstance(n, (int, np.integer)) or n < 0:
        raise ValueError(f"{name}: a size has to be a non-negative integer, not {n!r}")
    return int(n)


def vec(A: Any, order: str = "col") -> Any:
    """The entries of a matrix (..., m, n) -> (..., m n), column by column or row by row.

    >>> import numpy as np
    >>> vec(np.array([[1, 2], [3, 4]]))
    array([1, 3, 2, 4])
    """
    _check_order(order)
    A = _matrix("vec", A)
    A = transpose(A) if order == "col" else A
    return reshape(A, (*A.shape[:-2], A.shape[-2] * A.shape[-1]))


def unvec(v: Any, shape: tuple[int, int], order: str = "col") -> Any:
    """The matrix of ``shape`` that ``v`` is the vec of.

    >>> import numpy as np
    >>> unvec(np.array([1, 3, 2, 4]), (2, 2))
    array([[1, 2],
           [3, 4]])
    """
    _check_order(order)
    v = _operand(v)
    m, n = shape
    if v.ndim < 1 or v.shape[-1] != m * n:
        raise ValueError(
            f"unvec: {v.shape} does not hold the {m * n} entries of a {m} x {n} matrix"
        )
    if order == "row":
        return reshape(v, (*v.shape[:-1], m, n))
    return transpose(reshape(v, (*v.shape[:-1], n, m)))


def _lower(n: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Rows and columns of the lower triangle, column by column."""
    columns, rows = np.triu_indices(n)
    return rows, columns


def vech(A: Any) -> Any:
    """The lower triangle of a square matrix, column by column: (..., n, n) -> (..., n(n+1)/2).

    >>> import numpy as np
    >>> vech(np.array([[1, 2], [2, 3]]))
    array([1, 2, 3])
    """
    A = _matrix("vech", A)
    n = A.shape[-1]
    if A.shape[-2] != n:
        raise ValueError(f"vech: needs square matrices, got shape {A.shape}")
    return getitem(A, (..., *_lower(n)))


def unvech(v: Any) -> Any:
    """The symmetric matrix that ``v`` is the vech of.

    >>> import numpy as np
    >>> unvech(np.array([1, 2, 3]))
    array([[1, 2],
           [2, 3]])
    """
    v = _operand(v)
    n = int((np.sqrt(8 * v.shape[-1] + 1) - 1) / 2) if v.ndim else 0
    if v.ndim < 1 or n * (n + 1) // 2 != v.shape[-1]:
        raise ValueError(f"unvech: {v.shape} does not hold the n(n+1)/2 entries of a triangle")
    rows, columns = _lower(n)
    lower = put(v, (..., rows, columns), (*v.shape[:-1], n, n))
    strict = rows != columns
    upper = put(
        getitem(v, (..., strict)), (..., columns[strict], rows[strict]), (*v.shape[:-1], n, n)
    )
    return lower + upper


def kron(A: Any, B: Any) -> Any:
    """The Kronecker product: blocks ``A_ij B``. :class:`Kronecker` is the lazy one."""
    return _kron(_operand(A), _operand(B))


def hadamard(A: Any, B: Any) -> Any:
    """The entrywise product of matrices of one shape.

    >>> import numpy as np
    >>> hadamard(np.array([[1, 2]]), np.array([[3, 4]]))
    array([[3, 8]])
    """
    A, B = _operand(A), _operand(B)
    if A.shape != B.shape:
        raise ValueError(f"hadamard: shapes {A.shape} and {B.shape} differ; * broadcasts")
    return multiply(A, B)


def khatri_rao(A: Any, B: Any) -> Any:
    """Kronecker products of corresponding columns: (m, n), (p, n) -> (m p, n).

    >>> import numpy as np
    >>> khatri_rao(np.array([[1, 2], [3, 4]]), np.array([[1, 10]]))
    array([[ 1, 20],
           [ 3, 40]])
    """
    A, B = _matrix("khatri_rao", A), _matrix("khatri_rao", B)
    if A.shape[-1] != B.shape[-1]:
        raise ValueError(
            f"khatri_rao: shapes {A.shape} and {B.shape}: {A.shape[-1]} columns and {B.shape[-1]}"
        )
    m, p, n = A.shape[-2], B.shape[-2], A.shape[-1]
    product = multiply(reshape(A, (*A.shape[:-2], m, 1, n)), reshape(B, (*B.shape[:-2], 1, p, n)))
    return reshape(product, (*product.shape[:-3], m * p, n))


def commutation_matrix(m: int, n: int | None = None) -> Tensor:
    """K of size m n with ``K vec(A) = vec(A^T)`` for every m x n matrix A (n = m by default).

    ``K (A kron B) = (B kron A) K`` of fitting sizes, and K^T is its inverse.

    >>> import numpy as np
    >>> A = np.arange(6.0).reshape(2, 3)
    >>> bool((commutation_matrix(2, 3).numpy() @ vec(A) == vec(A.T)).all())
    True
    """
    m = _size("commutation_matrix", m)
    n = m if n is None else _size("commutation_matrix", n)
    order = np.arange(m * n).reshape(n, m).T.reshape(-1)  # vec(A^T)_k = vec(A)_order[k]
    return Tensor(np.eye(m * n)[order])


def duplication_matrix(n: int) -> Tensor:
    """D of size n^2 x n(n+1)/2 with ``D vech(A) = vec(A)`` for every symmetric n x n matrix A.

    >>> duplication_matrix(2).numpy()
    array([[1., 0., 0.],
           [0., 1., 0.],
           [0., 1., 0.],
           [0., 0., 1.]])
    """
    n = _size("duplication_matrix", n)
    rows, columns = _lower(n)
    D = np.zeros((n * n, len(rows)))
    place = np.arange(len(rows))
    D[columns * n + rows, place] = 1.0
    D[rows * n + columns, place] = 1.0
    return Tensor(D)


def elimination_matrix(n: int) -> Tensor:
    """L of size n(n+1)/2 x n^2 with ``L vec(A) = vech(A)`` for every n x n matrix A.

    >>> elimination_matrix(2).numpy()
    array([[1., 0., 0., 0.],
           [0., 1., 0., 0.],
           [0., 0., 0., 1.]])
    """
    n = _size("elimination_matrix", n)
    rows, columns = _lower(n)
    return Tensor(np.eye(n * n)[columns * n + rows])
