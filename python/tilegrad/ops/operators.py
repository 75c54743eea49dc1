"""Python's operators on tensors."""

from __future__ import annotations

from typing import Any

import numpy as np

from tilegrad.autograd.tensor import Tensor
from tilegrad.ops import arithmetic, products


def as_operand(value: Any) -> Any:
    """What an operation can take beside a tensor: arrays and numbers; None if it is neither."""
    if isinstance(value, (Tensor, np.ndarray, np.generic, float, int, bool)):
        return value
    return None


def _binary(op: Any, reflected: bool = False) -> Any:
    if reflected:

        def operator(self: Tensor, other: Any) -> Any:
            return op(other, self) if as_operand(other) is not None else NotImplemented
    else:

        def operator(self: Tensor, other: Any) -> Any:
            return op(self, other) if as_operand(other) is not None else NotImplemented

    return operator


def assign(target: Tensor, index: Any, value: Any) -> None:
    """``target[index] = value`` in place, keeping the graph right."""
    raise NotImplementedError


_BINARY = {
    "add": arithmetic.add,
    "sub": arithmetic.subtract,
    "mul": arithmetic.multiply,
    "truediv": arithmetic.divide,
    "matmul": products.matmul,
}

for _name, _op in _BINARY.items():
    setattr(Tensor, f"__{_name}__", _binary(_op))
    setattr(Tensor, f"__r{_name}__", _binary(_op, reflected=True))
