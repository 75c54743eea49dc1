"""Matrix products: general, batched, symmetric, outer; operands of any strides.

float32 and float64 run natively, every other dtype on the twin. Results are fresh C-contiguous
arrays unless ``out`` is given; ``out`` may overlap an operand. A result's bits do not depend on the
number of threads.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tilegrad import _native
from tilegrad.kernels import activation as _activation  # noqa: F401  (registers the twins)
from tilegrad.kernels import elementwise as _elementwise  # noqa: F401
from tilegrad.kernels.registry import kernel, reference

Array = NDArray[Any]

#: What ``activation=`` of :func:`gemm` may name, with its twin.
ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    name: getattr(reference, name) for name in ("relu", "gelu", "silu", "sigmoid", "tanh")
}


@kernel
def matmul(a: ArrayLike, b: ArrayLike, out: Array | None = None) -> Array:
    """Return the matrix product of ``a`` and ``b``, with the semantics of :func:`numpy.matmul`.

    Args:
        a: ``(..., m, k)``, or ``(k,)``.
        b: ``(..., k, n)``, or ``(k,)``; leading axes broadcast against those of ``a``.
        out: where to put the result, of its shape; it may overlap an operand.

    Returns:
        ``(..., m, n)``, without the axis of a one-dimensional operand.

    Raises:
        ValueError: an operand is a scalar, or sizes do not fit.

    Example:
        >>> import numpy as np
        >>> matmul(np.eye(2), np.array([[1.0, 2.0], [3.0, 4.0]]))
        array([[1., 2.],
               [3., 4.]])

    Source: K. Goto and R. van de Geijn, Anatomy of high-performance matrix multiplication, 2008.
    """
    product: Array = np.matmul(a, b) if out is None else np.matmul(a, b, out=out)
    return product


@kernel
def gemm(
    a: ArrayLike,
    b: ArrayLike | _native.Packed,
    c: ArrayLike | None = None,
    *,
    alpha: float = 1.0,
    beta: float = 0.0,
    transpose_a: bool = False,
    transpose_b: bool = False,
    bias: ArrayLike | None = None,
    activation: str | None = None,
    out: Array | None = None,
) -> Array:
    """Return ``activation(alpha op(a) @ op(b) + beta c + bias)``.

    With ``alpha = 0`` neither ``a`` nor ``b`` is read, with ``beta = 0`` ``c`` is not; otherwise
    NaN and infinities propagate.

    Args:
        a: ``(m, k)``, or ``(k, m)`` with ``transpose_a``.
        b: ``(k, n)``, or ``(n, k)`` with ``transpose_b``; or what :func:`pack` made of it.
        c: what ``beta`` scales, broadcast to ``(m, n)``; never written, unless it is ``out``.
        alpha: the product's factor.
        beta: the factor of ``c``.
        transpose_a: multiply with the transpose of ``a``.
        transpose_b: multiply with the transpose of ``b``.
        bias: added to the result, broadcast to ``(m, n)``: usually ``(n,)``.
        activation: one of ``ACTIVATIONS``, or None.
        out: where to put the result; it may be ``c`` or overlap an operand.

    Raises:
        ValueError: operands are not matrices, sizes do not fit, the activation is unknown, ``c`` is
            missing, or a packed ``b`` is stale.

    Example:
        >>> import numpy as np
        >>> x = np.array([[1.0, -2.0]])
        >>> w = np.array([[1.0, 1.0], [2.0, 0.0]])
        >>> gemm(x, w, transpose_b=True, bias=np.array([0.5, 0.5]), activation="relu")
        array([[0. , 2.5]])
    """
    if isinstance(b, _native.Packed):
        b = b.source
    a, b = np.asarray(a), np.asarray(b)
    if a.ndim != 2 or b.ndim != 2:
        raise ValueError(f"gemm: expected two matrices, got shapes {a.shape} and {b.shape}")
    if activation is not None and activation not in ACTIVATIONS:
        known = ", ".join(ACTIVATIONS)
        raise ValueError(f"gemm: activation {activation!r} is none of {known}")
    if beta != 0 and c is None:
        raise ValueError("gemm: beta is not zero, but there is no c for it to scale")
    a, b = (a.T if transpose_a else a), (b.T if transpose_b else b)
    if a.shape[1] != b.shape[0]:
        raise ValueError(
            f"gemm: op(a) of shape {a.shape} and op(b) of shape {b.shape} do not multiply: the "
            f"inner sizes are {a.shape[1]} and {b.shape[0]}; transpose one of them?"
        )
    dtype = np.result_type(a, b)
    if alpha == 0:
        result = np.zeros((a.shape[0], b.shape[1]), dtype)
    else:
        result = np.matmul(a, b) if alpha == 1 else dtype.type(alpha) * np.matmul(a, b)
    if beta != 0:
        result = result + np.broadcast_to(dtype.type(beta) * np.asarray(c), result.shape)
    if bias is not None:
        result = result + np.broadcast_to(np.asarray(bias), result.shape)
    if activation is not None:
        result = ACTIVATIONS[activation](result)
    if out is None:
        return result
    np.copyto(out, result)
    return out


def pack(b: Array) -> Any:
    """Lay ``b`` of shape ``(k, n)`` out for repeated use as the right operand of :func:`gemm`.

    Returns:
        A handle with ``.source``, ``.shape`` and ``.stale``. Once the library writes to the memory
        of ``b``, the handle is stale and :func:`gemm` raises; ``_native.mark_written(b)`` says
        that somebody else did. For a dtype without native code the handle is ``b`` itself.

    Raises:
        ValueError: ``b`` is not a matrix.

    Example:
        >>> import numpy as np
        >>> w = pack(np.eye(3))
        >>> w
        <packed float64 of shape (3, 3)>
        >>> gemm(np.ones((1, 3)), w)
        array([[1., 1., 1.]])
    """
    if b.ndim != 2:
        raise ValueError(f"pack: expected a matrix, got shape {b.shape}")
    return _native.pack(b)


@kernel
def outer(a: ArrayLike, b: ArrayLike) -> Array:
    """Return the outer product ``a[i] b[j]`` of two vectors, shape ``(m, n)``.

    Operands of other ranks are flattened, as :func:`numpy.outer` does.

    Example:
        >>> import numpy as np
        >>> outer(np.array([1.0, 2.0]), np.array([3.0, 4.0, 5.0]))
        array([[ 3.,  4.,  5.],
               [ 6.,  8., 10.]])
    """
    return np.outer(np.asarray(a), np.asarray(b))


@kernel
def syrk(a: ArrayLike, *, transpose: bool = False, alpha: float = 1.0) -> Array:
    """Return ``alpha a @ a.T`` of shape ``(m, m)``, or ``alpha a.T @ a`` with ``transpose``.

    The result is exactly symmetric and costs half the arithmetic of the general product.

    Args:
        a: ``(m, k)``, or ``(k, m)`` with ``transpose``.
        transpose: multiply the transpose of ``a`` with ``a``.
        alpha: the product's factor.

    Raises:
        ValueError: ``a`` is not a matrix.

    Example:
        >>> import numpy as np
        >>> syrk(np.array([[1.0, 2.0], [0.0, 1.0]]))
        array([[5., 2.],
               [2., 1.]])
    """
    a = np.asarray(a)
    if a.ndim != 2:
        raise ValueError(f"syrk: expected a matrix, got shape {a.shape}")
    a = a.T if transpose else a
    product: Array = np.matmul(a, a.T)
    if alpha != 1:
        product *= alpha
    return product
