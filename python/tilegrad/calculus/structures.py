"""Jacobians as objects: linear maps with a structure, printed and flattened in any layout.

A Jacobian maps changes of an argument of shape ``input_shape`` to changes of a result of shape
``output_shape``. ``J @ v`` applies it, ``J.T`` is its transpose, ``J @ K`` the chain rule. Only
``to_dense`` and the layouts build the array of all partial derivatives.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any

import numpy as np

from tilegrad.autograd.tensor import Array, Tensor
from tilegrad.calculus import layouts
from tilegrad.calculus.layouts import Shape, size_of
from tilegrad.ops.arithmetic import add, multiply
from tilegrad.ops.products import matmul
from tilegrad.ops.shape import permute, reshape


def tensor(value: Any) -> Tensor:
    """A tensor of an array or number."""
    return value if isinstance(value, Tensor) else Tensor(np.asarray(value))


class Jacobian:
    """The derivative of a result by an argument; see the subclasses for what is known of it.

    Attributes:
        output_shape: shape of the result.
        input_shape: shape of the argument.
        structure: ``"dense"``, ``"diagonal"``, ``"identity"``, ``"kronecker"``, ``"commuted
            kronecker"``, ``"commutation"``, or several of them with `` + `` between.
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

    def _scaled(self, scale: float, output_shape: Shape, input_shape: Shape) -> Jacobian:
        """``scale`` times the map, between results and arguments of other shapes."""
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
        found = self._composed(inner)
        if found is not None:
            return found
        flat = matmul(self.flat(), inner.flat())
        return Dense(reshape(flat, self.output_shape + inner.input_shape), self.output_shape)

    def __add__(self, other: Any) -> Jacobian:
        if not isinstance(other, Jacobian):
            return NotImplemented
        if self.shape != other.shape or self.output_shape != other.output_shape:
            raise ValueError(f"sum of Jacobians of shapes {self.shape} and {other.shape}")
        found = total([self, other])
        if found is not None:
            return found
        return Dense(add(self.to_dense(), other.to_dense()), self.output_shape)

    # ---- what keeps a structure; None where nothing does ---------------------------------------
    def _composed(self, inner: Jacobian) -> Jacobian | None:
        """The product with ``inner``, whose shapes fit."""
        if isinstance(inner, Identity):
            return self._reshaped(self.output_shape, inner.input_shape)
        if isinstance(inner, Sum):
            return _sum_of([self._composed(term) for term in inner.terms])
        return None

    def _merged(self, other: Jacobian) -> Jacobian | None:
        """The sum with ``other``, of the same shapes, as one structure."""
        return None

    def _reshaped(self, output_shape: Shape, input_shape: Shape) -> Jacobian:
        """The same map between results and arguments of other shapes (row by row)."""
        return Dense(reshape(self.to_dense(), output_shape + input_shape), output_shape)

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

    def _composed(self, inner: Jacobian) -> Jacobian | None:
        if isinstance(inner, Diagonal):
            entries = multiply(self.diagonal, inner.diagonal)
            return Diagonal(entries, self.output_shape, inner.input_shape)
        scale = self._constant()
        if scale is not None and not isinstance(inner, (Dense, Identity, Sum)):
            return inner._scaled(scale, self.output_shape, inner.input_shape)
        return super()._composed(inner)

    def _scaled(self, scale: float, output_shape: Shape, input_shape: Shape) -> Jacobian:
        return Diagonal(multiply(self.entries, scale), output_shape, input_shape)

    def _reshaped(self, output_shape: Shape, input_shape: Shape) -> Jacobian:
        return Diagonal(self.entries, output_shape, input_shape)

    def _constant(self) -> float | None:
        """The entry that all are equal to, if there is one."""
        array = self.entries._array
        if self.entries._requires_grad or self.entries._tangents is not None or not array.size:
            return None
        first = array.flat[0]
        return float(first) if bool(np.all(array == first)) else None

    def _merged(self, other: Jacobian) -> Jacobian | None:
        if isinstance(other, Identity):
            other = other._as_diagonal()
        if not isinstance(other, Diagonal):
            return None
        return Diagonal(add(self.diagonal, other.diagonal), self.output_shape, self.input_shape)


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

    def _composed(self, inner: Jacobian) -> Jacobian | None:
        return inner._reshaped(self.output_shape, inner.input_shape)

    def _merged(self, other: Jacobian) -> Jacobian | None:
        return self._as_diagonal()._merged(other)

    def _reshaped(self, output_shape: Shape, input_shape: Shape) -> Jacobian:
        return Identity(input_shape, output_shape, self.dtype)


class Sum(Jacobian):
    """The sum of several structured Jacobians, of which none is multiplied out.

    >>> import numpy as np, tilegrad as tg
    >>> X = tg.tensor(np.arange(6.0).reshape(3, 2))
    >>> J = tg.calculus.jacobian(lambda X: X.T @ X, X)  # dX^T X + X^T dX
    >>> J.structure
    'commuted kronecker + kronecker'
    """

    def __init__(self, terms: Sequence[Jacobian]) -> None:
        self.terms = tuple(terms)
        first = self.terms[0]
        super().__init__(
            first.output_shape, first.input_shape, np.result_type(*(t.dtype for t in self.terms))
        )

    @property
    def structure(self) -> str:  # type: ignore[override]
        """The structures of the terms."""
        return " + ".join(sorted(term.structure for term in self.terms))

    def _apply(self, v: Tensor) -> Tensor:
        return reduce(add, [term._apply(v) for term in self.terms])

    def to_dense(self) -> Tensor:
        """All partial derivatives, of shape ``output_shape + input_shape``."""
        return reduce(add, [term.to_dense() for term in self.terms])

    def _transposed(self) -> Jacobian:
        return Sum([term._transposed() for term in self.terms])

    def _composed(self, inner: Jacobian) -> Jacobian | None:
        return _sum_of([term._composed(inner) for term in self.terms])

    def _reshaped(self, output_shape: Shape, input_shape: Shape) -> Jacobian:
        return Sum([term._reshaped(output_shape, input_shape) for term in self.terms])


#: Beyond this many terms a sum is no simpler than the dense array.
MAX_TERMS = 4


def total(parts: Sequence[Jacobian]) -> Jacobian | None:
    """The sum of Jacobians of the same shapes, None where one is dense or too many remain."""
    terms: list[Jacobian] = []
    for part in parts:
        for new in part.terms if isinstance(part, Sum) else (part,):
            if isinstance(new, Dense):
                return None
            for i, old in enumerate(terms):
                merged = old._merged(new) or new._merged(old)
                if merged is not None:
                    terms[i] = merged
                    break
            else:
                terms.append(new)
    if len(terms) > MAX_TERMS:
        return None
    return terms[0] if len(terms) == 1 else Sum(terms)


def _sum_of(parts: Sequence[Jacobian | None]) -> Jacobian | None:
    found = [part for part in parts if part is not None]
    return total(found) if len(found) == len(parts) else None
