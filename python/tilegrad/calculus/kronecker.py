"""Jacobians of matrix products: Kronecker products that are never multiplied out."""

from __future__ import annotations

from typing import Any

import numpy as np

from tilegrad.autograd.tensor import Tensor
from tilegrad.calculus.layouts import Shape, size_of
from tilegrad.calculus.structures import Dense, Diagonal, Identity, Jacobian, tensor
from tilegrad.ops.arithmetic import add, multiply
from tilegrad.ops.products import matmul, transpose
from tilegrad.ops.shape import permute, reshape

#: A factor: a matrix, or the size of an identity.
Factor = Tensor | int


def _factor(x: Any) -> Factor:
    return int(x) if isinstance(x, (int, np.integer)) else tensor(x)


def _shape(x: Factor) -> Shape:
    return (x, x) if isinstance(x, int) else x.shape


def _matrix(x: Factor, dtype: Any) -> Tensor:
    return Tensor(np.eye(x, dtype=dtype)) if isinstance(x, int) else x


def _times(x: Factor, y: Factor) -> Factor:
    if isinstance(x, int):
        return y
    return x if isinstance(y, int) else matmul(x, y)


def _transposed(x: Factor) -> Factor:
    return x if isinstance(x, int) else transpose(x)


def _same(x: Factor, y: Factor) -> bool:
    if isinstance(x, int) or isinstance(y, int):
        return isinstance(x, int) and isinstance(y, int) and x == y
    return x.shape == y.shape and bool(np.array_equal(x._array, y._array))


def _number(scale: float, n: int, dtype: Any) -> Tensor:
    return Tensor(scale * np.eye(n, dtype=dtype))


class Kronecker(Jacobian):
    """``kron(A, B)``, never multiplied out: ``X -> A X B^T`` on matrices, row by row.

    Args:
        A, B: the factors; an integer n is the identity of that size.
        output_shape, input_shape: by default rows (m of A times m of B) and columns alike.
        commuted: ``X -> A X^T B^T``, which is ``kron(A, B) K`` with the commutation matrix K.

    >>> import numpy as np
    >>> A, B, X = np.ones((2, 3)), np.eye(4), np.ones((3, 4))
    >>> (Kronecker(A, B, (2, 4), (3, 4)) @ X).numpy()
    array([[3., 3., 3., 3.],
           [3., 3., 3., 3.]])
    >>> Kronecker(2, 3, (2, 3), (3, 2), commuted=True).structure
    'commutation'
    """

    def __init__(
        self,
        A: Any,
        B: Any,
        output_shape: Shape | None = None,
        input_shape: Shape | None = None,
        *,
        commuted: bool = False,
        dtype: Any = None,
    ) -> None:
        self._left, self._right, self.commuted = _factor(A), _factor(B), commuted
        shapes = _shape(self._left), _shape(self._right)
        if any(len(shape) != 2 for shape in shapes):
            raise ValueError(
                f"Kronecker: factors of shapes {shapes[0]} and {shapes[1]}; both must be matrices"
            )
        (m, p), (n, q) = shapes
        known = [x.dtype for x in (self._left, self._right) if isinstance(x, Tensor)]
        super().__init__(
            (m * n,) if output_shape is None else output_shape,
            (p * q,) if input_shape is None else input_shape,
            dtype or (np.result_type(*known) if known else np.float64),
        )
        if size_of(self.output_shape) != m * n or size_of(self.input_shape) != p * q:
            raise ValueError(
                f"Kronecker: kron of {shapes[0]} and {shapes[1]} is {m * n} x {p * q}, which does "
                f"not fit the shapes {self.output_shape} and {self.input_shape}"
            )

    @property
    def A(self) -> Tensor:  # noqa: N802 - the field's name
        """The left factor."""
        return _matrix(self._left, self.dtype)

    @property
    def B(self) -> Tensor:  # noqa: N802 - the field's name
        """The right factor."""
        return _matrix(self._right, self.dtype)

    @property
    def structure(self) -> str:  # type: ignore[override]
        """``"kronecker"``, ``"commuted kronecker"``, or ``"commutation"`` without factors."""
        if not self.commuted:
            return "kronecker"
        plain = isinstance(self._left, int) and isinstance(self._right, int)
        return "commutation" if plain else "commuted kronecker"

    @property
    def is_matrix(self) -> bool:
        """Whether one factor is a number: then there is nothing to save."""
        return 1 in (size_of(_shape(self._left)), size_of(_shape(self._right)))

    def _like(self, A: Factor, B: Factor, commuted: bool, outer: Shape, inner: Shape) -> Jacobian:
        if isinstance(A, int) and isinstance(B, int) and not commuted:
            return Identity(inner, outer, self.dtype)
        return Kronecker(A, B, outer, inner, commuted=commuted, dtype=self.dtype)

    # ---- as a map ----------------------------------------------------------------------------
    def _apply(self, v: Tensor) -> Tensor:
        # (A kron B) vec_r(X) = vec_r(A X B^T), for every column of v at once
        (m, p), (_, q), count = _shape(self._left), _shape(self._right), v.shape[1]
        if self.commuted:
            v = permute(reshape(v, (q, p, count)), (1, 0, 2))
        if isinstance(self._left, Tensor):
            v = matmul(self._left, reshape(v, (p, q * count)))
        v = reshape(v, (m, q, count))
        if isinstance(self._right, Tensor):
            v = permute(matmul(permute(v, (0, 2, 1)), transpose(self._right)), (0, 2, 1))
        return reshape(v, (size_of(self.output_shape), count))  # type: ignore[no-any-return]

    def to_dense(self) -> Tensor:
        """All partial derivatives, of shape ``output_shape + input_shape``."""
        (m, p), (n, q) = _shape(self._left), _shape(self._right)
        product = multiply(reshape(self.A, (m, 1, p, 1)), reshape(self.B, (1, n, 1, q)))
        if self.commuted:
            product = permute(product, (0, 1, 3, 2))
        return reshape(product, self.shape)  # type: ignore[no-any-return]

    def _transposed(self) -> Jacobian:
        # ((A kron B) K)^T = K^T (A^T kron B^T) = (B^T kron A^T) K^T
        A, B = _transposed(self._left), _transposed(self._right)
        if self.commuted:
            A, B = B, A
        return self._like(A, B, self.commuted, self.input_shape, self.output_shape)

    # ---- products and sums -------------------------------------------------------------------
    def _scaled(self, scale: float, output_shape: Shape, input_shape: Shape) -> Jacobian:
        A, B = self._left, self._right
        if isinstance(B, Tensor) or (isinstance(A, int) and A > B):
            B = multiply(_matrix(B, self.dtype), scale)
        else:
            A = multiply(_matrix(A, self.dtype), scale)
        return self._like(A, B, self.commuted, output_shape, input_shape)

    def _reshaped(self, output_shape: Shape, input_shape: Shape) -> Jacobian:
        return self._like(self._left, self._right, self.commuted, output_shape, input_shape)

    def _composed(self, inner: Jacobian) -> Jacobian | None:
        shapes = self.output_shape, inner.input_shape
        scale = inner._constant() if isinstance(inner, Diagonal) else None
        if scale is not None:
            return self._scaled(scale, *shapes)
        if not isinstance(inner, Kronecker):
            return super()._composed(inner)
        # K (A kron B) = (B kron A) K
        A, B = inner._left, inner._right
        if self.commuted:
            A, B = B, A
        if _shape(self._left)[1] != _shape(A)[0] or _shape(self._right)[1] != _shape(B)[0]:
            return None
        commuted = self.commuted != inner.commuted
        return self._like(_times(self._left, A), _times(self._right, B), commuted, *shapes)

    def _merged(self, other: Jacobian) -> Jacobian | None:
        """kron is linear in each factor: with one of them shared the sum is a kron again."""
        if isinstance(other, (Identity, Diagonal)):
            other = self._of_number(other) or other
        if not isinstance(other, Kronecker) or self.commuted != other.commuted:
            return None
        A, B, shapes = self._left, self._right, (self.output_shape, self.input_shape)
        if _same(A, other._left):
            return self._like(A, add(self.B, other.B), self.commuted, *shapes)
        if _same(B, other._right):
            return self._like(add(self.A, other.A), B, self.commuted, *shapes)
        return None

    def _of_number(self, other: Identity | Diagonal) -> Jacobian | None:
        """A multiple of the identity as a Kronecker product of the same sizes as this one."""
        scale = 1.0 if isinstance(other, Identity) else other._constant()
        (m, p), (n, q) = _shape(self._left), _shape(self._right)
        if scale is None or m != p or n != q:
            return None
        # the number goes into the factor that is no identity here, so that the other is shared
        if isinstance(self._right, int):
            return Kronecker(_number(scale, m, self.dtype), n, *self._shapes)
        return Kronecker(m, _number(scale, n, self.dtype), *self._shapes)

    @property
    def _shapes(self) -> tuple[Shape, Shape]:
        return self.output_shape, self.input_shape


def simplified(jacobian: Jacobian) -> Jacobian:
    """A Kronecker product with a number is a matrix."""
    if isinstance(jacobian, Kronecker) and jacobian.is_matrix:
        return Dense(jacobian.to_dense(), jacobian.output_shape)
    return jacobian
