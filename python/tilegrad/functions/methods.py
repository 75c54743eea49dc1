"""The methods of :class:`Tensor`: public functions with the tensor as first argument."""

from __future__ import annotations

from typing import Any

import numpy as np

from tilegrad.autograd.api import backward as _backward
from tilegrad.autograd.tensor import Tensor
from tilegrad.functions import (
    elementwise,
    indexing,
    operators,
    products,
    protocols,
    reductions,
    shaping,
)
from tilegrad.ops import shape as _shape

_ELEMENTWISE = ["abs", "absolute", "acos", "acosh", "arccos", "arccosh", "arcsin", "arcsinh", "arctan", "arctan2", "arctanh", "asin", "asinh", "atan", "atan2", "atanh", "bitwise_and", "bitwise_left_shift", "bitwise_not", "bitwise_or", "bitwise_right_shift", "bitwise_xor", "ceil", "copysign", "cos", "cosh", "eq", "erf", "erfc", "exp", "exp2", "expm1", "fix", "floor", "floor_divide", "fmax", "fmin", "fmod", "frac", "gcd", "ge", "greater", "greater_equal", "gt", "heaviside", "hypot", "isfinite", "isinf", "isnan", "isneginf", "isposinf", "lcm", "le", "less", "less_equal", "log", "log10", "log1p", "log2", "logaddexp", "logaddexp2", "logical_and", "logical_not", "logical_or", "logical_xor", "lt", "maximum", "minimum", "mul", "multiply", "ne", "neg", "negative", "not_equal", "positive", "reciprocal", "remainder", "rsqrt", "sgn", "sigmoid", "sign", "signbit", "sin", "sinc", "sinh", "sqrt", "square", "tan", "tanh", "true_divide", "trunc"]

_REDUCTIONS = ["all", "amax", "amin", "aminmax", "any", "argmax", "argmin", "count_nonzero", "logsumexp", "max", "mean", "min", "nanmean", "nansum", "norm", "prod", "std", "sum", "var"]

_SHAPING = ["adjoint", "broadcast_to", "chunk", "diag", "diag_embed", "diagflat", "diagonal", "dsplit", "expand", "expand_as", "flatten", "flip", "fliplr", "flipud", "hsplit", "moveaxis", "movedim", "narrow", "permute", "ravel", "repeat", "repeat_interleave", "reshape", "reshape_as", "roll", "rot90", "select", "split", "split_with_sizes", "squeeze", "swapaxes", "swapdims", "t", "tensor_split", "tile", "trace", "transpose", "tril", "triu", "unbind", "unflatten", "unsqueeze", "view", "vsplit"]

_PRODUCTS = ["bmm", "dot", "matmul", "mm", "mv"]


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
    return self._array.shape if dim is None else self._array.shape[dim]


def _requires_grad_(self: Tensor, requires_grad: bool = True) -> Tensor:
    """Mark this leaf as one that gradients are computed for."""
    self.requires_grad = requires_grad
    return self


def attach() -> None:
    """Give :class:`Tensor` its methods."""
    for module, names in (
        (elementwise, _ELEMENTWISE), (reductions, _REDUCTIONS), (shaping, _SHAPING),
        (products, _PRODUCTS),
    ):  # fmt: skip
        for name in names:
            setattr(Tensor, name, getattr(module, name))
    operators.attach()
    protocols.attach()
    own: dict[str, Any] = {
        "__getitem__": indexing.getitem,
        "__iter__": indexing.iterate,
        "backward": _backward_method,
        "requires_grad_": _requires_grad_,
        "size": _size,
        "dim": lambda self: self._array.ndim,
        "numel": lambda self: self._array.size,
        "nelement": lambda self: self._array.size,
        "tolist": lambda self: self._array.tolist(),
        "clone": lambda self: _shape.copy(self),
        "contiguous": lambda self: self if self._array.flags.c_contiguous else _shape.copy(self),
        "is_contiguous": lambda self: bool(self._array.flags.c_contiguous),
        "T": property(lambda self: _shape.permute(self, tuple(range(self._array.ndim))[::-1])),
        "mT": property(shaping.adjoint),
        "float": lambda self: _shape.cast(self, np.dtype(np.float32)),
        "double": lambda self: _shape.cast(self, np.dtype(np.float64)),
        "long": lambda self: _shape.cast(self, np.dtype(np.int64)),
        "int": lambda self: _shape.cast(self, np.dtype(np.int32)),
        "bool": lambda self: _shape.cast(self, np.dtype(bool)),
    }
    for name, value in own.items():
        setattr(Tensor, name, value)
