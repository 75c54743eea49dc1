"""Dual numbers: forward mode by hand, with the names of torch.autograd.forward_ad.

>>> import tilegrad as tg
>>> with dual_level():
...     x = make_dual(tg.tensor(2.0), tg.tensor(1.0))
...     unpack_dual(x * x * x)
UnpackedDualTensor(primal=tensor(8.), tangent=tensor(12.))
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from tilegrad.autograd import forward_mode
from tilegrad.autograd.tensor import Tensor


class UnpackedDualTensor(NamedTuple):
    """A value and its tangent, None where there is none."""

    primal: Tensor
    tangent: Tensor | None


class _Open(threading.local):
    def __init__(self) -> None:
        self.levels: list[int] = []


_open = _Open()


@contextmanager
def dual_level() -> Iterator[int]:
    """Open a level of forward differentiation; levels nest, tangents end with their level."""
    with forward_mode.level() as number:
        _open.levels.append(number)
        try:
            yield number
        finally:
            _open.levels.remove(number)


def _level(level: int | None, name: str) -> int:
    if not _open.levels:
        raise RuntimeError(f"{name}: outside of dual_level(): there is no level to work at")
    if level is not None and level not in _open.levels:
        raise RuntimeError(f"{name}: level {level} is not open; open are {_open.levels}")
    return _open.levels[-1] if level is None else level


def make_dual(tensor: Tensor, tangent: Tensor, *, level: int | None = None) -> Tensor:
    """``tensor`` with ``tangent`` at the innermost level, or at ``level``.

    Raises:
        RuntimeError: no level is open.
        TypeError: the tensor is not floating.
        ValueError: the shapes differ.
    """
    number = _level(level, "make_dual")
    if tensor.dtype.kind != "f":
        raise TypeError(f"make_dual: a tensor of {tensor.dtype} has no tangent, only floating ones")
    if tensor.shape != tangent.shape:
        raise ValueError(f"make_dual: tangent of shape {tangent.shape} for {tensor.shape}")
    if tangent.dtype != tensor.dtype:
        tangent = tangent.to(tensor.dtype)
    return forward_mode.dual(tensor, tangent, number)


def unpack_dual(tensor: Tensor, *, level: int | None = None) -> UnpackedDualTensor:
    """The value without the level's tangent, and the tangent."""
    number = _level(level, "unpack_dual")
    tangent = forward_mode.tangent_of(tensor, number)
    return UnpackedDualTensor(
        forward_mode.below(tensor, number),
        None if tangent is None else forward_mode.below(tangent, number),
    )


__all__ = ["UnpackedDualTensor", "dual_level", "make_dual", "unpack_dual"]
