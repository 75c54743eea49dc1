"""The table of convolutions: every kind that is easy to get wrong, small enough for all ISAs."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from tilegrad import _native

ISAS = _native.available_isas()
DTYPES = [np.float32, np.float64]


@dataclass(frozen=True)
class Conv:
    """A convolution of x (N, C, *S) with w (O, C / groups, *K)."""

    x: tuple[int, ...]
    w: tuple[int, ...]
    stride: Any = 1
    padding: Any = 0
    dilation: Any = 1
    groups: int = 1

    @property
    def window(self) -> tuple[Any, ...]:
        return self.stride, self.padding, self.dilation, self.groups


CONVS = [
    # one to three axes, plain
    Conv((2, 3, 11), (4, 3, 3)),
    Conv((2, 3, 9, 8), (4, 3, 3, 2)),
    Conv((2, 2, 5, 6, 7), (3, 2, 2, 3, 2)),
    # first layers, tall and wide tiles, prime channels
    Conv((3, 1, 28, 28), (8, 1, 5, 5), padding=2),
    Conv((2, 3, 17, 19), (31, 3, 3, 3), padding=1),
    Conv((2, 16, 14, 14), (33, 16, 3, 3), padding=1),
    Conv((2, 37, 7, 7), (29, 37, 3, 3), padding=1),
    Conv((1, 64, 9, 9), (64, 64, 3, 3), padding=1),
    Conv((1, 130, 5, 5), (15, 130, 2, 2)),  # more products than one chain
    # 1x1: direct, strided, padded, on planes smaller than a tile
    Conv((2, 17, 12, 12), (19, 17, 1, 1)),
    Conv((2, 17, 3, 3), (19, 17, 1, 1)),
    Conv((2, 33, 13, 13), (20, 33, 1, 1), stride=2),
    Conv((2, 5, 6, 6), (4, 5, 1, 1), padding=1),
    Conv((3, 40, 50), (23, 40, 1)),
    # stride, also beyond the kernel, and per axis
    Conv((2, 4, 15, 16), (6, 4, 3, 3), stride=2, padding=1),
    Conv((2, 3, 20, 21), (5, 3, 7, 7), stride=2, padding=3),
    Conv((2, 3, 20, 21), (5, 3, 2, 2), stride=3),
    Conv((2, 3, 20, 21), (5, 3, 3, 2), stride=(1, 4), padding=(1, 0)),
    Conv((1, 2, 9, 10, 11), (3, 2, 3, 2, 3), stride=(2, 1, 3), padding=(1, 0, 2)),
    # dilation, also beyond the image
    Conv((2, 3, 13, 12), (4, 3, 3, 3), dilation=2, padding=2),
    Conv((2, 3, 5, 5), (4, 3, 2, 2), dilation=7, padding=4),
    Conv((2, 3, 30), (4, 3, 3), dilation=4, stride=3, padding=5),
    # kernel larger than the image
    Conv((2, 3, 2, 3), (4, 3, 5, 4), padding=2),
    Conv((2, 3, 1), (4, 3, 6), padding=3),
    # groups, to depthwise and with several outputs each
    Conv((2, 9, 8, 8), (6, 3, 3, 3), padding=1, groups=3),
    Conv((2, 10, 8, 8), (15, 2, 3, 3), groups=5),
    Conv((2, 24, 10, 10), (24, 1, 3, 3), padding=1, groups=24),
    Conv((2, 24, 10, 10), (48, 1, 3, 3), padding=1, stride=2, groups=24),
    Conv((1, 64, 5, 5), (64, 32, 1, 1), groups=2),
    # pairs of paddings, and crops
    Conv((2, 3, 8, 9), (4, 3, 3, 3), padding=((0, 2), (3, 1))),
    Conv((2, 3, 8, 9), (4, 3, 3, 3), padding=((-2, 1), (2, -3))),
    Conv((2, 3, 8, 9), (4, 3, 2, 2), padding=-1, stride=2),
    # padding wider than the kernel: outputs that see only zeros
    Conv((1, 2, 4, 4), (3, 2, 2, 2), padding=6),
    # small images in large batches, and one pixel
    Conv((9, 20, 4, 4), (34, 20, 3, 3), padding=1),
    Conv((17, 6, 1, 1), (5, 6, 1, 1)),
    Conv((5, 3, 7), (4, 3, 7)),
    # empty things
    Conv((0, 3, 8, 8), (4, 3, 3, 3), padding=1),
    Conv((2, 3, 8, 8), (0, 3, 3, 3)),
    Conv((2, 0, 4, 4), (3, 0, 2, 2)),
]


def integers(rng: np.random.Generator, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """Small whole numbers: sums of their products are exact in float32."""
    return rng.integers(-3, 4, shape).astype(dtype)


def contiguous(a: np.ndarray) -> np.ndarray:
    return a


def reversed_axes(a: np.ndarray) -> np.ndarray:
    """The same elements with negative strides along every axis."""
    flip = (slice(None, None, -1),) * a.ndim
    return a[flip].copy()[flip]


def spread(a: np.ndarray) -> np.ndarray:
    """The same elements as a part of a larger array full of NaN, or of a wild integer."""
    poison = np.nan if a.dtype.kind == "f" else 10**15
    wide = np.full([2 * n + 1 for n in a.shape], poison, a.dtype)
    view = wide[tuple(slice(1, None, 2) for _ in a.shape)]
    view[...] = a
    return view


def channels_last(a: np.ndarray) -> np.ndarray:
    """The same elements with the channel axis stored last, read-only."""
    view = np.moveaxis(np.ascontiguousarray(np.moveaxis(a, 1, -1)), -1, 1)
    view.flags.writeable = False
    return view


LAYOUTS = [contiguous, reversed_axes, spread, channels_last]


@contextlib.contextmanager
def instruction_set(name: str) -> Iterator[None]:
    previous = _native.set_isa(name)
    try:
        yield
    finally:
        _native.set_isa(previous)


@contextlib.contextmanager
def threads(count: int) -> Iterator[None]:
    previous = _native.get_num_threads()
    _native.set_num_threads(count)
    try:
        yield
    finally:
        _native.set_num_threads(previous)


def refusing(name: str) -> Callable[..., Any]:
    """A twin that fails when it is called: native code declined."""

    def twin(*args: Any, **kwargs: Any) -> Any:
        raise AssertionError("the twin was called")

    twin.__name__ = name
    return twin
