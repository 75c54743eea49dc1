"""Padding layers."""

from __future__ import annotations

from typing import Any

from tilegrad.kernels.geometry import per_axis
from tilegrad.nn.functional.padding import pad
from tilegrad.nn.module import Module


class _Pad(Module):
    ndim: int
    mode = "constant"
    value: float | None = None

    def __init__(self, padding: Any) -> None:
        super().__init__()
        name = type(self).__name__
        self.padding = per_axis(name, "padding", padding, 2 * self.ndim, -(2**62))

    def forward(self, input: Any) -> Any:
        most = float("inf") if self.mode == "constant" else self.ndim + 2
        if not self.ndim + 1 <= input.ndim <= most:
            raise ValueError(
                f"{type(self).__name__}: input of shape {input.shape} must have {self.ndim + 2} "
                f"axes, or {self.ndim + 1} without a batch"
            )
        return pad(input, self.padding, self.mode, self.value)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class _ConstantPad(_Pad):
    def __init__(self, padding: Any, value: float) -> None:
        super().__init__(padding)
        self.value = value

    def extra_repr(self) -> str:
        return f"padding={self.padding}, value={self.value}"


def _family(kind: str, base: type, mode: str, text: str) -> list[type]:
    """The 1-d, 2-d and 3-d layers of one kind."""
    classes = []
    for ndim, axes in ((1, "L"), (2, "H, W"), (3, "D, H, W")):
        body = {
            "__doc__": f"{text} (N, C, {axes}) or (C, {axes}); sizes last axis first.",
            "__module__": __name__, "mode": mode, "ndim": ndim,
        }  # fmt: skip
        classes.append(type(f"{kind}{ndim}d", (base,), body))
    return classes


class _ZeroPad(_Pad):
    value = 0.0


ConstantPad1d, ConstantPad2d, ConstantPad3d = _family(
    "ConstantPad", _ConstantPad, "constant", "A constant around"
)
ZeroPad1d, ZeroPad2d, ZeroPad3d = _family("ZeroPad", _ZeroPad, "constant", "Zeros around")
ReflectionPad1d, ReflectionPad2d, ReflectionPad3d = _family(
    "ReflectionPad", _Pad, "reflect", "Mirror images around"
)
ReplicationPad1d, ReplicationPad2d, ReplicationPad3d = _family(
    "ReplicationPad", _Pad, "replicate", "Edge values around"
)
CircularPad1d, CircularPad2d, CircularPad3d = _family(
    "CircularPad", _Pad, "circular", "Wrapped values around"
)
