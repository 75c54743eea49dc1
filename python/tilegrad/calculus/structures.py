"""Jacobians as objects: linear maps with a structure, printed and flattened in any layout.

A Jacobian maps changes of an argument of shape ``input_shape`` to changes of a result of shape
``output_shape``. ``J @ v`` applies it, ``J.T`` is its transpose, ``J @ K`` the chain rule. Only
``to_dense`` and the layouts build the array of all partial derivatives.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tilegrad.autograd.tensor import Array, Tensor
from tilegrad.calculus import layouts
from tilegrad.calculus.layouts import Shape, size_of
from tilegrad.ops.arithmetic import add, multiply
from tilegrad.ops.products import matmul, transpose
from tilegrad.ops.shape import permute, reshape


def tensor(value: Any) -> Tensor:
    """A tensor of an array or number."""
    return value if isinstance(value, Tensor) else Tensor(np.asarray(value))


class Jacobian:
    """The derivative of a result by an argument; see the subclasses for what is known of it.

    Attributes:
        output_shape: shape of the result.
        input_shape: shape of the argument.
        structure: ``"dense"``, ``"diagonal"``, ``"identity"`` or ``"kronecker"``.
    """

    structure = "dense"
    #: NumPy's operators leave mixed expressions to the Jacobian.
    __array_priority__ = 1001
    __array_ufunc__ = None

    def __init__(self, output_shape: Shape, input_shape: Shape, dtype: Any) -> None:
        self.output_shape = tuple(output_shape)
        self.input_shape = tuple(input_shape)
        self.dtype = np.dtype(dtype)
        self._layout = "tensor"

    # ---- what a structure has to say -------------------------------------------------------
    def _apply(self, v: Tensor) -> Tensor:
        """The map on columns: ``v`` of shape (size of the argument, count)."""
        raise NotImplementedError

    def _transposed(self) -> Jacobian:
        raise NotImplementedError

    def to_dense(self) -> Tensor:
        """All partial derivatives, of shape ``output_shape + input_shape``."""
        columns = self._apply(Tensor(np.eye(size_of(self.input_shape), dtype=self.dtype)))
        return reshape(columns, self.output_shape + self.input_shape)  # type: ignore[no-any-return]

    # ---- as a map ----------------------------------------------------------------------------
    @property
    def shape(self) -> Shape:
        """Shape of the tensor form."""
        return self.output_shape + self.input_shape

    @property
    def T(self) -> Jacobian:  # noqa: N802 - the field's name
        """The transposed map, from cotangents of the result to those of the argument."""
        return self._transposed()

    def __matmul__(self, other: Any) -> Any:
        if isinstance(other, Jacobian):
            return self._after(other)
        v = tensor(other)
        n, k = size_of(self.input_shape), len(self.input_shape)
        if v.shape[:k] == self.input_shape:
            rest, out = v.shape[k:], self.output_shape
        elif v.ndim and v.shape[0] == n:
            rest, out = v.shape[1:], (size_of(self.output_shape),)
        else:
            raise ValueError(
                f"Jacobian @ v: v has shape {v.shape}, the argument {self.input_shape} "
                f"({n} entries); v needs this shape, or {n} rows, then any further axes"
            )
        columns = self._apply(reshape(v, (n, size_of(rest))))
        return reshape(columns, out + rest)

    def __rmatmul__(self, other: Any) -> Any:
        return self.T @ other

    def _after(self, inner: Jacobian) -> Jacobian:
        """The chain rule: this one of the result of ``inner``."""
        if self.input_shape != inner.output_shape:
            raise ValueError(
                f"chain rule: the outer function takes {self.input_shape}, the inner one gives "
                f"{inner.output_shape}"
            )
        if isinstance(inner, Identity):
            return reshaped(self, self.output_shape, inner.input_shape)
        flat = matmul(self.flat(), inner.flat())
        return Dense(reshape(flat, self.output_shape + inner.input_shape), self.output_shape)

    def __add__(self, other: Any) -> Jacobian:
        if not isinstance(other, Jacobian):
            return NotImplemented
        if self.shape != other.shape or self.output_shape != other.output_shape:
            raise ValueError(f"sum of Jacobians of shapes {self.shape} and {other.shape}")
        return Dense(add(self.to_dense(), other.to_dense()), self.output_shape)

    # ---- as an array -------------------------------------------------------------------------
    def tensor(self) -> Tensor:
        """All partial derivatives, of shape ``output_shape + input_shape``."""
        return self.to_dense()

    def flat(self, vec: str = "row") -> Tensor:
        """The matrix of vec(result) by vec(argument), by rows or by columns."""
        return layouts.vec_order(self.to_dense(), self.output_shape, self.input_shape, vec)

    def layout(self, name: str | None = None) -> Any:
        """The array in the layout ``name``; without one, the name of the layout it prints in."""
        if name is None:
            return self._layout
        layouts.check_layout(name)
        return layouts.arrange(self.to_dense(), self.output_shape, self.input_shape, name)

    def to_layout(self, name: str) -> Jacobian:
        """The same Jacobian, printed and converted to arrays in the layout ``name``."""
        import copy

        result = copy.copy(self)
        result._layout = layouts.check_layout(name)
        return result

    def numpy(self) -> Array:
        """The array in the layout it prints in."""
        array: Array = self.layout(self._layout).detach().numpy()
        return array

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        return np.asarray(self.numpy(), dtype=dtype)

    def __repr__(self) -> str:
        shape = layouts.arranged_shape(self.output_shape, self.input_shape, self._layout)
        head = (
            f"Jacobian of a result {_shown(self.output_shape)} by an argument "
            f"{_shown(self.input_shape)}: {self.structure}, {self.dtype}, "
            f"{self._layout} layout {_shown(shape)}"
        )
        return f"{head}\n{self.numpy()}" if size_of(self.shape) <= 64 else head


def _shown(shape: Shape) -> str:
    return " x ".join(map(str, shape)) if len(shape) > 1 else f"({shape[0]})" if shape else "scalar"


class Dense(Jacobian):
    """A Jacobian without structure; computed when its entries are first asked for.

    Args:
        value: the tensor of shape ``output_shape + input_shape``, or a function that computes it.
        output_shape: shape of the result.
        input_shape: shape of the argument, if ``value`` is a function.
        push: the map on one change of the argument, if it is known without the entries.
        pull: its transpose.
    """

    def __init__(
        self,
        value: Tensor | Array | Callable[[], Tensor],
        output_shape: Shape,
        input_shape: Shape | None = None,
        dtype: Any = None,
        push: Callable[[Tensor], Tensor] | None = None,
        pull: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        self._value: Tensor | None = None
        self._compute: Callable[[], Tensor] | None = None
        if callable(value):
            self._compute = value
            assert input_shape is not None
        else:
            self._value = tensor(value)
            input_shape = self._value.shape[len(output_shape) :]
            dtype = self._value.dtype
        super().__init__(output_shape, input_shape, dtype)
        self._push, self._pull = push, pull

    def to_dense(self) -> Tensor:
        """All partial derivatives, of shape ``output_shape + input_shape``."""
        if self._value is None:
            assert self._compute is not None
            self._value = self._compute()
        return self._value

    def _apply(self, v: Tensor) -> Tensor:
        if self._value is None and self._push is not None and v.shape[1] == 1:
            change = self._push(reshape(v, self.input_shape))
            return reshape(change, (size_of(self.output_shape), 1))  # type: ignore[no-any-return]
        return matmul(self.flat(), v)  # type: ignore[no-any-return]

    def _transposed(self) -> Jacobian:
        k, n = len(self.output_shape), len(self.shape)

        def turned() -> Tensor:
            return permute(self.to_dense(), (*range(k, n), *range(k)))  # type: ignore[no-any-return]

        return Dense(
            turned, self.input_shape, self.output_shape, self.dtype, self._pull, self._push
        )


class Diagonal(Jacobian):
    """Every entry of the result depends on the entry of the argument at its place.

    Args:
        entries: the derivatives, one per entry.
        output_shape, input_shape: if the shapes differ from that of ``entries`` (same size).
    """

    structure = "diagonal"

    def __init__(
        self, entries: Any, output_shape: Shape | None = None, input_shape: Shape | None = None
    ) -> None:
        self.entries = tensor(entries)
        shape = self.entries.shape
        super().__init__(
            shape if output_shape is None else output_shape,
            shape if input_shape is None else input_shape,
            self.entries.dtype,
        )

    @property
    def diagonal(self) -> Tensor:
        """The derivatives in a row."""
        return reshape(self.entries, (size_of(self.output_shape),))  # type: ignore[no-any-return]

    def _apply(self, v: Tensor) -> Tensor:
        return multiply(reshape(self.entries, (v.shape[0], 1)), v)  # type: ignore[no-any-return]

    def _transposed(self) -> Jacobian:
        return Diagonal(self.entries, self.input_shape, self.output_shape)

    def _after(self, inner: Jacobian) -> Jacobian:
        self._check_chain(inner)
        if isinstance(inner, Diagonal):
            entries = multiply(self.diagonal, inner.diagonal)
            return Diagonal(entries, self.output_shape, inner.input_shape)
        if isinstance(inner, Identity):
            return Diagonal(self.entries, self.output_shape, inner.input_shape)
        scale = self._constant()
        if isinstance(inner, Kronecker) and scale is not None:
            return inner._scaled(scale, self.output_shape, inner.input_shape)
        return super()._after(inner)

    def _check_chain(self, inner: Jacobian) -> None:
        if self.input_shape != inner.output_shape:
            Jacobian._after(self, inner)

    def _constant(self) -> float | None:
        """The entry that all are equal to, if there is one."""
        array = self.entries._array
        if self.entries._requires_grad or self.entries._tangents is not None or not array.size:
            return None
        first = array.flat[0]
        return float(first) if bool(np.all(array == first)) else None

    def __add__(self, other: Any) -> Jacobian:
        if isinstance(other, Identity) and self.shape == other.shape:
            other = other._as_diagonal()
        if isinstance(other, Diagonal) and self.shape == other.shape:
            return Diagonal(add(self.diagonal, other.diagonal), self.output_shape, self.input_shape)
        return super().__add__(other)


class Identity(Jacobian):
    """The result has the entries of the argument, perhaps in another shape.

    Args:
        shape: of the argument.
        output_shape: of the result.
    """

    structure = "identity"

    def __init__(
        self, shape: Shape | int, output_shape: Shape | None = None, dtype: Any = float
    ) -> None:
        shape = (shape,) if isinstance(shape, int) else tuple(shape)
        super().__init__(shape if output_shape is None else output_shape, shape, dtype)

    def _apply(self, v: Tensor) -> Tensor:
        return v

    def _transposed(self) -> Jacobian:
        return Identity(self.output_shape, self.input_shape, self.dtype)

    def _as_diagonal(self) -> Diagonal:
        ones = np.ones(size_of(self.input_shape), self.dtype)
        return Diagonal(ones, self.output_shape, self.input_shape)

    def _after(self, inner: Jacobian) -> Jacobian:
        if self.input_shape != inner.output_shape:
            return super()._after(inner)
        return reshaped(inner, self.output_shape, inner.input_shape)

    def __add__(self, other: Any) -> Jacobian:
        total: Jacobian = self._as_diagonal() + other
        return total


class Kronecker(Jacobian):
    """``kron(A, B)``, never multiplied out: ``X -> A X B^T`` on matrices, row by row.

    Args:
        A, B: the factors; None for an identity that fits the shapes.
        output_shape, input_shape: by default rows (m of A times m of B) and columns alike.

    >>> import numpy as np
    >>> A, B, X = np.ones((2, 3)), np.eye(4), np.ones((3, 4))
    >>> (Kronecker(A, B, (2, 4), (3, 4)) @ X).numpy()
    array([[3., 3., 3., 3.],
           [3., 3., 3., 3.]])
    """

    structure = "kronecker"

    def __init__(
        self,
        A: Any,
        B: Any,
        output_shape: Shape | None = None,
        input_shape: Shape | None = None,
    ) -> None:
        self.A, self.B = tensor(A), tensor(B)
        if self.A.ndim != 2 or self.B.ndim != 2:
            raise ValueError(
                f"Kronecker: factors of shapes {self.A.shape} and {self.B.shape}; both must be "
                "matrices"
            )
        rows = self.A.shape[0] * self.B.shape[0]
        columns = self.A.shape[1] * self.B.shape[1]
        super().__init__(
            (rows,) if output_shape is None else output_shape,
            (columns,) if input_shape is None else input_shape,
            np.result_type(self.A.dtype, self.B.dtype),
        )
        if size_of(self.output_shape) != rows or size_of(self.input_shape) != columns:
            raise ValueError(
                f"Kronecker: kron of {self.A.shape} and {self.B.shape} is {rows} x {columns}, "
                f"which does not fit the shapes {self.output_shape} and {self.input_shape}"
            )

    def _apply(self, v: Tensor) -> Tensor:
        # (A kron B) vec_r(X) = vec_r(A X B^T), for every column of v at once
        (p, q), count = (self.A.shape[1], self.B.shape[1]), v.shape[1]
        left = matmul(self.A, reshape(v, (p, q * count)))
        left = permute(reshape(left, (self.A.shape[0], q, count)), (0, 2, 1))
        both = permute(matmul(left, transpose(self.B)), (0, 2, 1))
        return reshape(both, (size_of(self.output_shape), count))  # type: ignore[no-any-return]

    def to_dense(self) -> Tensor:
        """All partial derivatives, of shape ``output_shape + input_shape``."""
        (m, p), (n, q) = self.A.shape, self.B.shape
        product = multiply(reshape(self.A, (m, 1, p, 1)), reshape(self.B, (1, n, 1, q)))
        return reshape(product, self.shape)  # type: ignore[no-any-return]

    def _transposed(self) -> Jacobian:
        return Kronecker(transpose(self.A), transpose(self.B), self.input_shape, self.output_shape)

    def _scaled(self, scale: float, output_shape: Shape, input_shape: Shape) -> Jacobian:
        return Kronecker(multiply(self.A, scale), self.B, output_shape, input_shape)

    def _after(self, inner: Jacobian) -> Jacobian:
        if self.input_shape != inner.output_shape:
            return super()._after(inner)
        shapes = self.output_shape, inner.input_shape
        if isinstance(inner, Identity):
            return Kronecker(self.A, self.B, *shapes)
        scale = inner._constant() if isinstance(inner, Diagonal) else None
        if scale is not None:
            return self._scaled(scale, *shapes)
        fits = isinstance(inner, Kronecker) and (
            self.A.shape[1] == inner.A.shape[0] and self.B.shape[1] == inner.B.shape[0]
        )
        if isinstance(inner, Kronecker) and fits:
            return Kronecker(matmul(self.A, inner.A), matmul(self.B, inner.B), *shapes)
        return super()._after(inner)

    def __add__(self, other: Any) -> Jacobian:
        if isinstance(other, Kronecker) and self.shape == other.shape:
            # kron is linear in each factor: with one of them shared the sum is a kron again
            shapes = self.output_shape, self.input_shape
            if _same(self.A, other.A):
                return Kronecker(self.A, add(self.B, other.B), *shapes)
            if _same(self.B, other.B):
                return Kronecker(add(self.A, other.A), self.B, *shapes)
        return super().__add__(other)


def _same(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and bool(np.array_equal(a._array, b._array))


def reshaped(jacobian: Jacobian, output_shape: Shape, input_shape: Shape) -> Jacobian:
    """The same map between results and arguments of other shapes (row by row)."""
    if isinstance(jacobian, Identity):
        return Identity(input_shape, output_shape, jacobian.dtype)
    if isinstance(jacobian, Diagonal):
        return Diagonal(jacobian.entries, output_shape, input_shape)
    if isinstance(jacobian, Kronecker):
        return Kronecker(jacobian.A, jacobian.B, output_shape, input_shape)
    return Dense(reshape(jacobian.to_dense(), output_shape + input_shape), output_shape)
