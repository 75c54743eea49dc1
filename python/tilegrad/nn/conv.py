"""Convolution layers, transposed ones, and their explicit column matrices."""

from __future__ import annotations

import math
from typing import Any

from tilegrad.kernels.geometry import per_axis, same_padding
from tilegrad.nn import functional as F
from tilegrad.nn import init
from tilegrad.nn.functional.padding import pad
from tilegrad.nn.linear import check_device, check_sizes, empty
from tilegrad.nn.module import Module

PADDING_MODES = ("zeros", "reflect", "replicate", "circular")


class _Conv(Module):
    """What all convolution layers share."""

    ndim: int
    transposed = False
    bias: Any

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: Any, stride: Any, padding: Any,
        dilation: Any, output_padding: Any, groups: int, bias: bool, padding_mode: str,
        device: Any, dtype: Any,
    ) -> None:  # fmt: skip
        super().__init__()
        name = type(self).__name__
        check_device(name, device)
        check_sizes(name, in_channels=in_channels, out_channels=out_channels)
        if groups <= 0:
            raise ValueError(f"{name}: groups must be at least 1, got {groups}")
        if in_channels % groups or out_channels % groups:
            raise ValueError(
                f"{name}: {in_channels} input and {out_channels} output channels must both be "
                f"divisible by groups={groups}"
            )
        if padding_mode not in PADDING_MODES:
            raise ValueError(
                f"{name}: padding_mode must be one of {PADDING_MODES}, not {padding_mode!r}"
            )
        if self.transposed and padding_mode != "zeros":
            raise ValueError(f"{name}: only padding_mode='zeros' is defined, not {padding_mode!r}")
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = per_axis(name, "kernel_size", kernel_size, self.ndim, 1)
        self.stride = per_axis(name, "stride", stride, self.ndim, 1)
        self.dilation = per_axis(name, "dilation", dilation, self.ndim, 1)
        self.output_padding = per_axis(name, "output_padding", output_padding, self.ndim, 0)
        self.groups = groups
        self.padding_mode = padding_mode
        self.padding: Any
        if isinstance(padding, str):
            if padding not in ("same", "valid"):
                raise ValueError(
                    f"{name}: padding must be numbers, 'same' or 'valid', got {padding!r}"
                )
            if padding == "same" and any(s != 1 for s in self.stride):
                raise ValueError(
                    f"{name}: padding='same' is defined for stride 1 only, got {stride!r}"
                )
            self.padding = padding
        else:
            self.padding = per_axis(name, "padding", padding, self.ndim, 0)
        first, second = in_channels, out_channels
        if not self.transposed:
            first, second = second, first
        self.weight = empty((first, second // groups, *self.kernel_size), dtype)
        if bias:
            self.bias = empty(out_channels, dtype)
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the parameters again, uniform within ``1 / sqrt(fan in)``."""
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            fan_in = math.prod(self.weight.shape[1:])
            bound = 1 / math.sqrt(fan_in) if fan_in else 0.0
            init.uniform_(self.bias, -bound, bound)

    def _explicit_padding(self) -> list[int]:
        """``padding`` as :func:`tilegrad.nn.functional.pad` takes it: last axis first."""
        if self.padding == "valid":
            pairs: Any = ((0, 0),) * self.ndim
        elif self.padding == "same":
            pairs = same_padding(self.kernel_size, self.dilation)
        else:
            pairs = [(p, p) for p in self.padding]
        return [p for pair in reversed(pairs) for p in pair]

    def extra_repr(self) -> str:
        text = (
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, "
            f"stride={self.stride}"
        )
        if self.padding != (0,) * self.ndim:
            text += f", padding={self.padding}"
        if self.dilation != (1,) * self.ndim:
            text += f", dilation={self.dilation}"
        if self.output_padding != (0,) * self.ndim:
            text += f", output_padding={self.output_padding}"
        if self.groups != 1:
            text += f", groups={self.groups}"
        if self.bias is None:
            text += ", bias=False"
        if self.padding_mode != "zeros":
            text += f", padding_mode={self.padding_mode}"
        return text


class _ForwardConv(_Conv):
    function: Any

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: Any, stride: Any = 1,
        padding: Any = 0, dilation: Any = 1, groups: int = 1, bias: bool = True,
        padding_mode: str = "zeros", device: Any = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__(
            in_channels, out_channels, kernel_size, stride, padding, dilation, 0, groups, bias,
            padding_mode, device, dtype,
        )  # fmt: skip

    def padded(self, input: Any) -> tuple[Any, Any]:
        """The input, padded if not by zeros, and the padding that is left to the kernel."""
        if self.padding_mode == "zeros":
            return input, self.padding
        return pad(input, self._explicit_padding(), mode=self.padding_mode), 0

    def forward(self, input: Any) -> Any:
        input, padding = self.padded(input)
        return type(self).function(
            input, self.weight, self.bias, self.stride, padding, self.dilation, self.groups
        )


class Conv1d(_ForwardConv):
    """Convolution of (N, C, L) or (C, L); ``weight`` is (O, C / groups, K)."""

    ndim = 1
    function = staticmethod(F.conv1d)


class Conv2d(_ForwardConv):
    """Convolution of (N, C, H, W) or (C, H, W).

    Args:
        in_channels, out_channels: C and O.
        kernel_size, stride, dilation: one number or one per axis.
        padding: the same, or "same" or "valid".
        groups: divides both channel numbers.
        bias: whether ``bias`` (O,) is added.
        padding_mode: "zeros", "reflect", "replicate" or "circular".
        device: accepted where it means the CPU.
        dtype: of the parameters, float32 by default.

    ``weight`` is (O, C / groups, KH, KW); both start uniform within ``1 / sqrt(fan in)``.

    >>> import tilegrad as tg
    >>> tg.nn.Conv2d(3, 8, 3, padding=1)(tg.ones(2, 3, 5, 5)).shape
    (2, 8, 5, 5)
    """

    ndim = 2
    function = staticmethod(F.conv2d)


class Conv3d(_ForwardConv):
    """Convolution of (N, C, D, H, W) or (C, D, H, W)."""

    ndim = 3
    function = staticmethod(F.conv3d)


class _TransposedConv(_Conv):
    transposed = True
    function: Any

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: Any, stride: Any = 1,
        padding: Any = 0, output_padding: Any = 0, groups: int = 1, bias: bool = True,
        dilation: Any = 1, padding_mode: str = "zeros", device: Any = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        if isinstance(padding, str):
            raise ValueError(f"{type(self).__name__}: padding must be numbers, got {padding!r}")
        super().__init__(
            in_channels, out_channels, kernel_size, stride, padding, dilation, output_padding,
            groups, bias, padding_mode, device, dtype,
        )  # fmt: skip

    def _output_padding(self, input: Any, output_size: Any) -> Any:
        """The extra rows that lead to ``output_size``."""
        if output_size is None:
            return self.output_padding
        wanted = tuple(output_size)[-self.ndim :]
        extra = []
        for axis in range(self.ndim):
            size = input.shape[input.ndim - self.ndim + axis]
            least = (
                (size - 1) * self.stride[axis]
                - 2 * self.padding[axis]
                + self.dilation[axis] * (self.kernel_size[axis] - 1)
                + 1
            )
            most = least + self.stride[axis] - 1
            if not least <= wanted[axis] <= most:
                raise ValueError(
                    f"{type(self).__name__}: output_size {tuple(output_size)} asks for "
                    f"{wanted[axis]} pixels on spatial axis {axis}; {least} to {most} are possible "
                    f"for the input of shape {input.shape}"
                )
            extra.append(wanted[axis] - least)
        return tuple(extra)

    def forward(self, input: Any, output_size: Any = None) -> Any:
        return type(self).function(
            input, self.weight, self.bias, self.stride, self.padding,
            self._output_padding(input, output_size), self.groups, self.dilation,
        )  # fmt: skip


class ConvTranspose1d(_TransposedConv):
    """The adjoint of :class:`Conv1d` in its image; ``weight`` is (C, O / groups, K)."""

    ndim = 1
    function = staticmethod(F.conv_transpose1d)


class ConvTranspose2d(_TransposedConv):
    """The adjoint of :class:`Conv2d` in its image; ``weight`` is (C, O / groups, KH, KW)."""

    ndim = 2
    function = staticmethod(F.conv_transpose2d)


class ConvTranspose3d(_TransposedConv):
    """The adjoint of :class:`Conv3d` in its image."""

    ndim = 3
    function = staticmethod(F.conv_transpose3d)


class Unfold(Module):
    """Sliding windows of (N, C, H, W) as columns (N, C * taps, windows)."""

    def __init__(
        self, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1
    ) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.dilation = dilation
        self.padding = padding
        self.stride = stride

    def forward(self, input: Any) -> Any:
        return F.unfold(input, self.kernel_size, self.dilation, self.padding, self.stride)

    def extra_repr(self) -> str:
        return (
            f"kernel_size={self.kernel_size}, dilation={self.dilation}, padding={self.padding}, "
            f"stride={self.stride}"
        )


class Fold(Module):
    """Columns (N, C * taps, windows) added back to images (N, C, *output_size)."""

    def __init__(
        self, output_size: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0,
        stride: Any = 1,
    ) -> None:  # fmt: skip
        super().__init__()
        self.output_size = output_size
        self.kernel_size = kernel_size
        self.dilation = dilation
        self.padding = padding
        self.stride = stride

    def forward(self, input: Any) -> Any:
        return F.fold(
            input, self.output_size, self.kernel_size, self.dilation, self.padding, self.stride
        )

    def extra_repr(self) -> str:
        return (
            f"output_size={self.output_size}, kernel_size={self.kernel_size}, "
            f"dilation={self.dilation}, padding={self.padding}, stride={self.stride}"
        )
