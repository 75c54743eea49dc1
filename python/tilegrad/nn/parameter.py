"""Parameters: the tensors of a module that learn."""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from tilegrad.autograd.tensor import Tensor
from tilegrad.kernels.memory import aligned_empty


class Parameter(Tensor):
    """A leaf tensor that a module lists among its parameters when assigned as an attribute.

    Args:
        data: a tensor or array whose memory it takes over; None for an empty one.
        requires_grad: whether gradients are computed for it.

    >>> import tilegrad as tg
    >>> tg.nn.Parameter(tg.tensor([1.0])).requires_grad
    True
    """

    __slots__ = ()

    def __new__(cls, data: Any = None, requires_grad: bool = True) -> Self:
        if data is None:
            data = np.empty(0, np.float32)
        array = data._array if isinstance(data, Tensor) else np.asarray(data)
        if requires_grad and array.dtype.kind != "f":
            raise RuntimeError(
                f"only floating tensors can require gradients, this one has dtype {array.dtype}; "
                "pass requires_grad=False"
            )
        return super().__new__(cls, array, requires_grad)

    def __repr__(self) -> str:
        return f"Parameter containing:\n{super().__repr__()}"


class Buffer(Tensor):
    """A tensor that a module lists among its buffers when assigned as an attribute.

    Args:
        data: a tensor or array whose memory it takes over.
        persistent: whether it is part of the module's state dict.
    """

    __slots__ = ("persistent",)

    persistent: bool

    def __new__(
        cls, data: Any = None, *, persistent: bool = True, requires_grad: bool = False
    ) -> Self:
        if data is None:
            data = np.empty(0, np.float32)
        array = data._array if isinstance(data, Tensor) else np.asarray(data)
        buffer = super().__new__(cls, array, requires_grad)
        buffer.persistent = persistent
        return buffer


class UninitializedParameter(Parameter):
    """A parameter whose shape a lazy module learns from its first input."""

    __slots__ = ()

    def __new__(cls, data: Any = None, requires_grad: bool = True) -> Self:
        return super().__new__(cls, None, requires_grad)

    def materialize(self, shape: tuple[int, ...], dtype: Any = None) -> None:
        """Become an ordinary parameter of ``shape``, uninitialised."""
        self._array = aligned_empty(shape, dtype or self._array.dtype)
        self.__class__ = Parameter  # type: ignore[assignment]

    def __repr__(self) -> str:
        return "<UninitializedParameter>"


class UninitializedBuffer(Buffer):
    """A buffer whose shape a lazy module learns from its first input."""

    __slots__ = ()

    def materialize(self, shape: tuple[int, ...], dtype: Any = None) -> None:
        """Become an ordinary buffer of ``shape``, uninitialised."""
        self._array = aligned_empty(shape, dtype or self._array.dtype)
        self.__class__ = Buffer  # type: ignore[assignment]


__all__ = ["Buffer", "Parameter", "UninitializedBuffer", "UninitializedParameter"]
