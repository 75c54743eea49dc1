"""What the kernel tests share: instruction sets, memory layouts, errors in last places."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from tilegrad import _native

ISAS = tuple(_native.available_isas())
FLOATS = (np.float32, np.float64)


@contextmanager
def instruction_set(name: str) -> Iterator[None]:
    previous = _native.set_isa(name)
    try:
        yield
    finally:
        _native.set_isa(previous)


def _inside_nan(x: np.ndarray) -> np.ndarray:
    """A view of a larger array that is NaN all around."""
    around = np.full([n + 2 for n in x.shape], np.nan, x.dtype)
    view = around[(..., *(slice(1, 1 + n) for n in x.shape))]
    view[...] = x
    return view


def _every_second(x: np.ndarray) -> np.ndarray:
    around = np.full([2 * n for n in x.shape], np.nan, x.dtype)
    view = around[(..., *(slice(None, None, 2) for _ in x.shape))]
    view[...] = x
    return view


LAYOUTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "contiguous": np.copy,
    "transposed": lambda x: x.T.copy("C").T,
    "reversed": lambda x: np.flip(np.flip(x).copy("C"))[...],
    "strided": _every_second,
    "inside NaN": _inside_nan,
}


def ulps(got: Any, want: Any) -> float:
    """The largest error in units of ``got``'s last place; inf where special values differ.

    ``want`` is of higher precision. Denormal results are compared with the spacing they have.
    """
    got = np.asarray(got)
    want = np.asarray(want)
    with np.errstate(all="ignore"):
        rounded = want.astype(got.dtype)
        special = ~np.isfinite(rounded) | ~np.isfinite(got)
        same = (got == rounded) | (np.isnan(got) & np.isnan(rounded))
        # next to overflow either side of it is a rounding error away
        limit = np.finfo(got.dtype).max
        edge = (np.abs(np.nan_to_num(got)) >= limit) & (np.abs(want) > 0.999999 * limit)
        if np.any(special & ~same & ~edge):
            return np.inf
        unit = np.spacing(np.abs(np.where(special, 1, rounded)).astype(got.dtype))
        error = np.abs(got.astype(want.dtype) - want) / unit.astype(want.dtype)
    return float(np.max(np.where(special, 0, error), initial=0.0))
