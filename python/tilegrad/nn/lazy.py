"""Layers that learn the size of their input from the first one, and then become ordinary layers."""

from __future__ import annotations

from typing import Any

from tilegrad.nn.conv import (
    Conv1d,
    Conv2d,
    Conv3d,
    ConvTranspose1d,
    ConvTranspose2d,
    ConvTranspose3d,
)
from tilegrad.nn.linear import Linear
from tilegrad.nn.module import Module
from tilegrad.nn.parameter import UninitializedParameter


class LazyModuleMixin(Module):
    """Materialises its parameters when it is first called."""

    cls_to_become: type

    def has_uninitialized_params(self) -> bool:
        """Whether a parameter still has no shape."""
        return any(isinstance(p, UninitializedParameter) for p in self.parameters())

    def initialize_parameters(self, input: Any) -> None:
        """Take sizes from ``input``; subclasses define it."""
        raise NotImplementedError

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.initialize_parameters(args[0] if args else kwargs["input"])
        self.__class__ = self.cls_to_become
        return self(*args, **kwargs)


class LazyLinear(LazyModuleMixin, Linear):
    """:class:`Linear` whose ``in_features`` is that of its first input."""

    cls_to_become = Linear

    def __init__(
        self, out_features: int, bias: bool = True, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__(0, out_features, bias, device, dtype)
        make_lazy(self)

    def initialize_parameters(self, input: Any) -> None:
        """Take ``in_features`` from the last axis of ``input``."""
        self.in_features = input.shape[-1]
        if self.has_uninitialized_params():
            self.weight.materialize((self.out_features, self.in_features))  # type: ignore[attr-defined]
            if self.bias is not None:
                self.bias.materialize((self.out_features,))  # type: ignore[attr-defined]
            self.reset_parameters()


def make_lazy(layer: Any) -> None:
    """Put uninitialised parameters in place of the layer's."""
    for name, parameter in list(layer._parameters.items()):
        if parameter is not None:
            fresh = UninitializedParameter()
            fresh._array = fresh._array.astype(parameter.dtype)
            layer._parameters[name] = fresh


class _LazyConv(LazyModuleMixin):
    in_channels: int
    out_channels: int
    kernel_size: tuple[int, ...]
    groups: int
    ndim: int
    transposed: bool
    weight: Any
    bias: Any

    def __init__(self, out_channels: int, kernel_size: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(0, out_channels, kernel_size, *args, **kwargs)
        make_lazy(self)

    def initialize_parameters(self, input: Any) -> None:
        """Take ``in_channels`` from ``input``."""
        name = self.cls_to_become.__name__
        if input.ndim not in (self.ndim + 1, self.ndim + 2):
            raise ValueError(
                f"Lazy{name}: input of shape {input.shape} must have {self.ndim + 2} axes, or "
                f"{self.ndim + 1} without a batch"
            )
        self.in_channels = input.shape[input.ndim - self.ndim - 1]
        if not self.has_uninitialized_params():
            return
        if self.in_channels % self.groups:
            raise ValueError(
                f"Lazy{name}: {self.in_channels} input channels must be divisible by "
                f"groups={self.groups}"
            )
        first, second = self.out_channels, self.in_channels
        if self.transposed:
            first, second = second, first
        self.weight.materialize((first, second // self.groups, *self.kernel_size))
        if self.bias is not None:
            self.bias.materialize((self.out_channels,))
        self.reset_parameters()


class LazyConv1d(_LazyConv, Conv1d):
    """:class:`Conv1d` whose ``in_channels`` is that of its first input."""

    cls_to_become = Conv1d


class LazyConv2d(_LazyConv, Conv2d):
    """:class:`Conv2d` whose ``in_channels`` is that of its first input."""

    cls_to_become = Conv2d


class LazyConv3d(_LazyConv, Conv3d):
    """:class:`Conv3d` whose ``in_channels`` is that of its first input."""

    cls_to_become = Conv3d


class LazyConvTranspose1d(_LazyConv, ConvTranspose1d):
    """:class:`ConvTranspose1d` whose ``in_channels`` is that of its first input."""

    cls_to_become = ConvTranspose1d


class LazyConvTranspose2d(_LazyConv, ConvTranspose2d):
    """:class:`ConvTranspose2d` whose ``in_channels`` is that of its first input."""

    cls_to_become = ConvTranspose2d


class LazyConvTranspose3d(_LazyConv, ConvTranspose3d):
    """:class:`ConvTranspose3d` whose ``in_channels`` is that of its first input."""

    cls_to_become = ConvTranspose3d
