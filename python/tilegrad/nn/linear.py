"""Affine and bilinear layers, and those that reshape."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tilegrad.autograd.tensor import Tensor
from tilegrad.kernels.memory import aligned_empty
from tilegrad.nn import functional as F
from tilegrad.nn import init
from tilegrad.nn.module import Module
from tilegrad.nn.parameter import Parameter
from tilegrad.ops.linear import linear
from tilegrad.ops.shape import reshape


def empty(shape: Any, dtype: Any = None) -> Parameter:
    """A parameter to be initialised, float32 unless asked otherwise."""
    sizes = shape if isinstance(shape, tuple) else (shape,)
    return Parameter(aligned_empty(sizes, np.float32 if dtype is None else dtype))


def check_sizes(layer: str, **sizes: Any) -> None:
    """Raise unless all are integers, not negative, of a product that memory could hold."""
    for name, value in sizes.items():
        if isinstance(value, bool) or not hasattr(value, "__index__"):
            raise TypeError(f"{layer}: {name} must be an integer, got {value!r}")
        if value < 0:
            raise ValueError(f"{layer}: {name} must not be negative, got {value}")
    if math.prod(max(1, value) for value in sizes.values()) >= 2**60:
        given = " and ".join(f"{name}={value}" for name, value in sizes.items())
        raise OverflowError(f"{layer}: {given} ask for more bytes than memory has addresses")


def check_device(layer: str, device: Any) -> None:
    """Raise for a device that is not the CPU."""
    if device is not None and str(device).split(":")[0] != "cpu":
        raise ValueError(f"{layer}: there is no device {device!r}; tilegrad computes on the CPU")


class Identity(Module):
    """Its input; takes and ignores any arguments."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()

    def forward(self, input: Any) -> Any:
        return input


class Linear(Module):
    """``y = x W^T + b`` on the last axis.

    Args:
        in_features: size of the last axis of the input.
        out_features: size of the last axis of the result.
        bias: whether there is a b.
        device: accepted where it means the CPU.
        dtype: of the parameters, float32 by default.

    ``weight`` (out, in) and ``bias`` (out,) start uniform within ``1 / sqrt(in)``.

    >>> import tilegrad as tg
    >>> tg.nn.Linear(3, 4)(tg.ones(2, 3)).shape
    (2, 4)
    """

    def __init__(
        self, in_features: int, out_features: int, bias: bool = True, device: Any = None,
        dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__()
        check_sizes("Linear", in_features=in_features, out_features=out_features)
        check_device("Linear", device)
        self.in_features = in_features
        self.out_features = out_features
        self.weight = empty((out_features, in_features), dtype)
        if bias:
            self.bias = empty(out_features, dtype)
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the parameters again."""
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None and self.in_features:
            bound = 1 / math.sqrt(self.in_features)
            init.uniform_(self.bias, -bound, bound)
        elif self.bias is not None:
            init.zeros_(self.bias)

    def forward(self, input: Any) -> Any:
        parameters = self._parameters
        return linear(input, parameters["weight"], parameters["bias"])

    def extra_repr(self) -> str:
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, "
            f"bias={self.bias is not None}"
        )


class Bilinear(Module):
    """``y_k = x1^T A_k x2 + b_k`` on the last axes."""

    def __init__(
        self, in1_features: int, in2_features: int, out_features: int, bias: bool = True,
        device: Any = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__()
        if in1_features <= 0:
            raise ValueError(f"Bilinear: in1_features must be positive, got {in1_features}")
        check_device("Bilinear", device)
        self.in1_features = in1_features
        self.in2_features = in2_features
        self.out_features = out_features
        self.weight = empty((out_features, in1_features, in2_features), dtype)
        if bias:
            self.bias = empty(out_features, dtype)
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the parameters again, uniform within ``1 / sqrt(in1)``."""
        bound = 1 / math.sqrt(self.weight.shape[1])
        init.uniform_(self.weight, -bound, bound)
        if self.bias is not None:
            init.uniform_(self.bias, -bound, bound)

    def forward(self, input1: Any, input2: Any) -> Any:
        return F.bilinear(input1, input2, self.weight, self.bias)

    def extra_repr(self) -> str:
        return (
            f"in1_features={self.in1_features}, in2_features={self.in2_features}, "
            f"out_features={self.out_features}, bias={self.bias is not None}"
        )


class Flatten(Module):
    """The axes from ``start_dim`` to ``end_dim`` as one."""

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        super().__init__()
        self.start_dim = start_dim
        self.end_dim = end_dim

    def forward(self, input: Any) -> Any:
        shape = input.shape
        ndim = len(shape)
        first = self.start_dim + ndim if self.start_dim < 0 else self.start_dim
        last = self.end_dim + ndim if self.end_dim < 0 else self.end_dim
        if not (0 <= first < max(ndim, 1) and 0 <= last < max(ndim, 1)) or first > last:
            raise IndexError(
                f"Flatten: axes {self.start_dim} to {self.end_dim} do not fit an input of shape "
                f"{shape}"
            )
        size = math.prod(shape[first : last + 1])
        return reshape(input, (*shape[:first], size, *shape[last + 1 :]))

    def extra_repr(self) -> str:
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"


class Unflatten(Module):
    """One axis as several, of the sizes ``unflattened_size``."""

    def __init__(self, dim: int, unflattened_size: Any) -> None:
        super().__init__()
        self.dim = dim
        self.unflattened_size = unflattened_size

    def forward(self, input: Any) -> Any:
        sizes = [int(s[1]) if isinstance(s, (tuple, list)) else int(s)
                 for s in self.unflattened_size]  # fmt: skip
        axis = self.dim + input.ndim if isinstance(self.dim, int) and self.dim < 0 else self.dim
        if -1 in sizes:
            known = -math.prod(sizes)
            sizes[sizes.index(-1)] = input.shape[axis] // known if known else 0
        if math.prod(sizes) != input.shape[axis]:
            raise ValueError(
                f"Unflatten: axis {self.dim} of the input of shape {input.shape} has "
                f"{input.shape[axis]} entries, not {self.unflattened_size}"
            )
        return reshape(input, (*input.shape[:axis], *sizes, *input.shape[axis + 1 :]))

    def extra_repr(self) -> str:
        return f"dim={self.dim}, unflattened_size={self.unflattened_size}"


class Embedding(Module):
    """A table of ``num_embeddings`` rows of ``embedding_dim``, read by integers.

    Args:
        num_embeddings, embedding_dim: size of the table, which starts normal.
        padding_idx: a row that starts at zero and takes no gradient.
        max_norm, norm_type: rows that are read are shrunk to this norm.
        scale_grad_by_freq: divide a row's gradient by how often it was read.
        sparse: accepted; gradients are dense.
    """

    def __init__(
        self, num_embeddings: int, embedding_dim: int, padding_idx: int | None = None,
        max_norm: float | None = None, norm_type: float = 2.0, scale_grad_by_freq: bool = False,
        sparse: bool = False, _weight: Any = None, _freeze: bool = False, device: Any = None,
        dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__()
        check_sizes("Embedding", num_embeddings=num_embeddings, embedding_dim=embedding_dim)
        check_device("Embedding", device)
        if padding_idx is not None:
            if not -num_embeddings <= padding_idx < num_embeddings:
                raise ValueError(
                    f"Embedding: padding_idx {padding_idx} must be within {num_embeddings} rows"
                )
            padding_idx %= num_embeddings
        self.num_embeddings = num_embeddings
        self.embedding_dim = embedding_dim
        self.padding_idx = padding_idx
        self.max_norm = max_norm
        self.norm_type = norm_type
        self.scale_grad_by_freq = scale_grad_by_freq
        self.sparse = sparse
        if _weight is None:
            self.weight = empty((num_embeddings, embedding_dim), dtype)
            self.reset_parameters()
        else:
            if tuple(_weight.shape) != (num_embeddings, embedding_dim):
                raise ValueError(
                    f"Embedding: weight of shape {tuple(_weight.shape)} must have shape "
                    f"({num_embeddings}, {embedding_dim})"
                )
            self.weight = Parameter(_weight)
        self.weight.requires_grad = not _freeze

    def reset_parameters(self) -> None:
        """Draw the table again."""
        init.normal_(self.weight)
        if self.padding_idx is not None:
            self.weight._array[self.padding_idx] = 0

    def forward(self, input: Any) -> Any:
        return F.embedding(
            input, self.weight, self.padding_idx, self.max_norm, self.norm_type,
            self.scale_grad_by_freq, self.sparse,
        )  # fmt: skip

    def extra_repr(self) -> str:
        text = f"{self.num_embeddings}, {self.embedding_dim}"
        if self.padding_idx is not None:
            text += f", padding_idx={self.padding_idx}"
        if self.max_norm is not None:
            text += f", max_norm={self.max_norm}"
        if self.norm_type != 2:
            text += f", norm_type={self.norm_type}"
        if self.scale_grad_by_freq:
            text += f", scale_grad_by_freq={self.scale_grad_by_freq}"
        if self.sparse:
            text += ", sparse=True"
        return text

    @classmethod
    def from_pretrained(
        cls, embeddings: Any, freeze: bool = True, padding_idx: int | None = None,
        max_norm: float | None = None, norm_type: float = 2.0, scale_grad_by_freq: bool = False,
        sparse: bool = False,
    ) -> Embedding:  # fmt: skip
        """An embedding whose table is given."""
        table = embeddings if isinstance(embeddings, Tensor) else Tensor(np.asarray(embeddings))
        if table.ndim != 2:
            raise ValueError(f"Embedding: the table must be a matrix, not of shape {table.shape}")
        rows, width = table.shape
        return cls(
            rows, width, padding_idx=padding_idx, max_norm=max_norm, norm_type=norm_type,
            scale_grad_by_freq=scale_grad_by_freq, sparse=sparse, _weight=table, _freeze=freeze,
        )  # fmt: skip
