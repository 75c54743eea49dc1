"""Python's operators on tensors: native callables straight around the operations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tilegrad._native import Operator
from tilegrad.autograd import recording
from tilegrad.autograd.tensor import Tensor
from tilegrad.ops import arithmetic, comparison, products
from tilegrad.ops.power import power

_power = Operator(power)


def _pow(self: Tensor, other: Any) -> Any:
    kind = type(other)
    if (kind is int or (kind is float and self._array.dtype.kind == "f")) and other == 2:
        return arithmetic.square(self)
    return _power(self, other)


_ARITHMETIC: dict[str, Callable[..., Any]] = {
    "add": arithmetic.add,
    "sub": arithmetic.subtract,
    "mul": arithmetic.multiply,
    "truediv": arithmetic.divide,
    "floordiv": arithmetic.floor_divide,
    "mod": arithmetic.remainder,
    "pow": power,
    "matmul": products.matmul,
    "and": comparison.bitwise_and,
    "or": comparison.bitwise_or,
    "xor": comparison.bitwise_xor,
    "lshift": comparison.left_shift,
    "rshift": comparison.right_shift,
}
_COMPARISON: dict[str, Callable[..., Any]] = {
    "eq": comparison.equal,
    "ne": comparison.not_equal,
    "lt": comparison.less,
    "le": comparison.less_equal,
    "gt": comparison.greater,
    "ge": comparison.greater_equal,
}


def _number(tensor: Tensor, kind: str) -> Any:
    if tensor._array.size != 1:
        raise RuntimeError(
            f"{kind}() of a tensor of shape {tensor.shape}: only one entry has a value of its own; "
            "use .any() or .all() to ask about many"
        )
    recording.leaving(f"{kind}()")
    return tensor._array.item()


def _index(self: Tensor) -> int:
    if self._array.dtype.kind not in "iub" or self._array.size != 1:
        raise TypeError(
            f"only a tensor with one integer entry is an index, not shape {self.shape} of "
            f"{self.dtype}"
        )
    return int(self._array.item())


def _len(self: Tensor) -> int:
    if not self._array.ndim:
        raise TypeError("len() of a tensor without dimensions")
    return len(self._array)


def _contains(self: Tensor, value: Any) -> bool:
    return bool(np.any(comparison.equal(self, value)._array))


def attach() -> None:
    """Give :class:`Tensor` Python's operators."""
    for name, op in _ARITHMETIC.items():
        setattr(Tensor, f"__{name}__", Operator(op))
        setattr(Tensor, f"__r{name}__", Operator(op, reflected=True))
    for name, op in _COMPARISON.items():
        setattr(Tensor, f"__{name}__", Operator(op))
    methods: dict[str, Any] = {
        "pow": _pow,
        "neg": arithmetic.negative,
        "pos": lambda self: self,
        "abs": arithmetic.absolute,
        "invert": comparison.bitwise_not,
        "bool": lambda self: bool(_number(self, "bool")),
        "float": lambda self: float(_number(self, "float")),
        "int": lambda self: int(_number(self, "int")),
        "complex": lambda self: complex(_number(self, "complex")),
        "index": _index,
        "len": _len,
        "contains": _contains,
        "hash": object.__hash__,  # in C: every look-up of a parameter's state asks for it
    }
    for name, method in methods.items():
        setattr(Tensor, f"__{name}__", method)
