"""The methods of :class:`Tensor`: public functions with the tensor as first argument."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from tilegrad.autograd.api import backward as _backward
from tilegrad.autograd.tensor import Tensor
from tilegrad.functions import (
    arithmetic,
    creation,
    cumulative,
    elementwise,
    indexing,
    inplace,
    matrices,
    more,
    operators,
    printing,
    products,
    protocols,
    random,
    reductions,
    shaping,
    sorting,
)
from tilegrad.ops import shape as _shape

_MODULES = (
    elementwise, arithmetic, reductions, shaping, products, matrices, cumulative, sorting,
    indexing, more,
)  # fmt: skip

#: Public functions that are no methods: their first argument is no tensor to act on.
_FREE = """
Extreme MinMax Histogram atleast_1d atleast_2d atleast_3d broadcast_arrays broadcast_shapes
broadcast_tensors block_diag cartesian_prod cat chain_matmul column_stack concat concatenate dstack
einsum hstack is_tensor meshgrid row_stack stack vstack where polygamma searchsorted
"""


def _backward_method(
    self: Tensor,
    gradient: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    inputs: Any = None,
) -> None:
    """Add the gradients of this tensor to ``.grad`` of the leaves it was computed from."""
    _backward(self, gradient, retain_graph, create_graph, inputs)


def _size(self: Tensor, dim: int | None = None) -> Any:
    """The shape, or the size along ``dim``."""
    return self._array.shape if dim is None else self._array.shape[dim]


def _requires_grad_(self: Tensor, requires_grad: bool = True) -> Tensor:
    """Mark this leaf as one that gradients are computed for."""
    self.requires_grad = requires_grad
    return self


def _to(self: Tensor, *args: Any, dtype: Any = None, device: Any = None, copy: bool = False,
        non_blocking: bool = False, memory_format: Any = None) -> Tensor:  # fmt: skip
    """This tensor in another dtype (or the dtype of another tensor); the device is the CPU."""
    for value in args:
        if isinstance(value, Tensor):
            dtype = value.dtype
        elif isinstance(value, str) and value.split(":")[0] in ("cpu", "cuda", "mps"):
            device = value
        elif value is not None and not isinstance(value, bool):
            dtype = value
    creation.check_device(device)
    if dtype is None or self.dtype == dtype:
        same: Tensor = _shape.copy(self) if copy else self
        return same
    converted: Tensor = _shape.cast(self, np.dtype(dtype))
    return converted


def _as_dtype(dtype: Any) -> Any:
    def convert(self: Tensor, memory_format: Any = None) -> Tensor:
        return _to(self, dtype=dtype)

    return convert


def _type(self: Tensor, dtype: Any = None, non_blocking: bool = False) -> Any:
    """This tensor in another dtype; without one, the name of its own."""
    return str(self.dtype) if dtype is None else _to(self, dtype=dtype)


def _new(create: Any) -> Any:
    def method(self: Tensor, *args: Any, dtype: Any = None, **kwargs: Any) -> Tensor:
        return create(*args, dtype=dtype or self.dtype, **kwargs)  # type: ignore[no-any-return]

    return method


def _copy(self: Tensor) -> Any:
    """Another tensor on the same memory; a leaf for a leaf."""
    return type(self)(self._array, self._requires_grad) if self.is_leaf else _shape.alias(self)


def _deepcopy(self: Tensor, memo: Any) -> Tensor:
    if not self.is_leaf:
        raise RuntimeError(
            "deepcopy: only leaf tensors can be copied with their graph; detach or clone this one"
        )
    result = type(self)(self._array.copy(), self._requires_grad)
    result.grad = copy.deepcopy(self.grad, memo)
    memo[id(self)] = result
    return result


def _no_pickle(self: Tensor, protocol: Any) -> Any:
    raise TypeError("tensors are not pickled; save them with tilegrad.save, or their arrays")


def _set_data(self: Tensor, value: Any) -> None:
    array = value._array if isinstance(value, Tensor) else np.asarray(value)
    self._array = array
    self._bump_version()


def _transpose_all(self: Tensor) -> Any:
    return _shape.permute(self, tuple(range(self.ndim))[::-1])


def _array_namespace(self: Tensor, *, api_version: str | None = None) -> Any:
    """The functions of the array API standard for tensors."""
    from tilegrad import array_api

    if api_version not in (None, "2021.12", "2022.12", "2023.12", "2024.12"):
        raise ValueError(f"the array API of {api_version!r} is not known here")
    return array_api


def _to_device(self: Tensor, device: Any, /, *, stream: Any = None) -> Tensor:
    """This tensor: the CPU is the only device."""
    creation.check_device(device)
    return self


_OWN: dict[str, Any] = {
    "__array_namespace__": _array_namespace,
    "to_device": _to_device,
    "__copy__": _copy,
    "__deepcopy__": _deepcopy,
    "__getitem__": indexing.getitem,
    "__iter__": indexing.iterate,
    "__reduce_ex__": _no_pickle,
    "T": property(_transpose_all, doc="All axes in reverse order."),
    "mT": property(shaping.adjoint, doc="The last two axes exchanged."),
    "H": property(shaping.adjoint, doc="The transpose of a real matrix."),
    "mH": property(shaping.adjoint, doc="The last two axes exchanged."),
    "backward": _backward_method,
    "bool": _as_dtype(np.bool_),
    "contiguous": lambda self: self if self._array.flags.c_contiguous else _shape.copy(self),
    "cpu": lambda self: self,
    "data": property(lambda self: self.detach(), _set_data, doc="The entries, outside the graph."),
    "data_ptr": lambda self: self._array.ctypes.data,
    "device": property(lambda self: "cpu", doc="Where the entries are: always the CPU."),
    "dim": lambda self: self._array.ndim,
    "ndimension": lambda self: self._array.ndim,
    "double": _as_dtype(np.float64),
    "element_size": lambda self: self._array.itemsize,
    "float": _as_dtype(np.float32),
    "half": _as_dtype(np.float16),
    "int": _as_dtype(np.int32),
    "is_contiguous": lambda self: bool(self._array.flags.c_contiguous),
    "is_floating_point": lambda self: self._array.dtype.kind == "f",
    "itemsize": property(lambda self: self._array.itemsize, doc="Bytes per entry."),
    "long": _as_dtype(np.int64),
    "nbytes": property(lambda self: self._array.nbytes, doc="Bytes of all entries."),
    "nelement": arithmetic.numel,
    "new_empty": _new(creation.empty),
    "new_full": _new(creation.full),
    "new_ones": _new(creation.ones),
    "new_tensor": _new(creation.tensor),
    "new_zeros": _new(creation.zeros),
    "polygamma": lambda self, n: arithmetic.polygamma(n, self),
    "requires_grad_": _requires_grad_,
    "size": _size,
    "stride": lambda self: tuple(n // self._array.itemsize for n in self._array.strides),
    "to": _to,
    "tolist": lambda self: self._array.tolist(),
    "type": _type,
    "type_as": lambda self, other: _to(self, dtype=other.dtype),
    "view_as": shaping.reshape_as,
    "where": lambda self, condition, other: arithmetic.where(condition, self, other),
}


def attach() -> None:
    """Give :class:`Tensor` its methods."""
    functions: dict[str, Any] = {}
    free = set(_FREE.split())
    for module in _MODULES:
        functions |= {name: getattr(module, name) for name in module.__all__}
    for name, function in functions.items():
        if name not in free:
            setattr(Tensor, name, function)
    for function in random.METHODS:
        setattr(Tensor, function.__name__, function)
    for name, value in _OWN.items():
        setattr(Tensor, name, value)
    operators.attach()
    protocols.attach()
    inplace.attach(functions)
    printing.attach()
