"""What the tests of the matrix product share: layouts, oracles, tolerances."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np

from tilegrad import _native

ISAS = _native.available_isas()
DTYPES = (np.float32, np.float64)


@contextmanager
def isa(name: str) -> Iterator[None]:
    before = _native.set_isa(name)
    try:
        yield
    finally:
        _native.set_isa(before)


@contextmanager
def blocking(**values: int) -> Iterator[None]:
    """Replace the chosen blocks inside the block."""
    _native.override_blocking(**values)
    try:
        yield
    finally:
        _native.override_blocking()


@contextmanager
def threads(count: int) -> Iterator[None]:
    before = _native.get_num_threads()
    _native.set_num_threads(count)
    try:
        yield
    finally:
        _native.set_num_threads(before)


def _inside(x: np.ndarray, steps: tuple[int, int], order: str) -> np.ndarray:
    """``x`` within a larger array of NaN, at the given steps: what is read past an edge shows."""
    rows, columns = (abs(step) * size + 6 for step, size in zip(steps, x.shape, strict=True))
    large = np.full((rows, columns), np.nan, x.dtype, order=order)
    view = large[3:-3, 3:-3][:: abs(steps[0]), :: abs(steps[1])][: x.shape[0], : x.shape[1]]
    view[...] = x[:: 1 if steps[0] > 0 else -1, :: 1 if steps[1] > 0 else -1]
    return view[:: 1 if steps[0] > 0 else -1, :: 1 if steps[1] > 0 else -1]


#: Every way a matrix may lie in memory; all keep NaN around it.
LAYOUTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "rows": lambda x: _inside(x, (1, 1), "C"),
    "columns": lambda x: _inside(x, (1, 1), "F"),
    "rows reversed": lambda x: _inside(x, (-1, 1), "C"),
    "columns reversed": lambda x: _inside(x, (1, -1), "F"),
    "backwards": lambda x: _inside(x, (-1, -1), "C"),
    "stepped": lambda x: _inside(x, (2, 3), "C"),
}


def exact_product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The product in the next wider type."""
    wide = np.float64 if a.dtype == np.float32 else np.longdouble
    return np.matmul(a.astype(wide), b.astype(wide))


def tolerance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """What ``|C' - C|`` may be, element by element, in the operands' unit roundoff u.

    A chain of k products and sums errs by at most about (k + 1) u |A||B|; the library promises 16.
    """
    unit = np.finfo(a.dtype).eps / 2
    factor = min(16.0, a.shape[-1] + 1.0) * unit
    wide = np.float64 if a.dtype == np.float32 else np.longdouble
    return factor * np.matmul(np.abs(a).astype(wide), np.abs(b).astype(wide))


def random(shape: tuple[int, ...], dtype: type, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def integers(shape: tuple[int, ...], dtype: type, seed: int = 0) -> np.ndarray:
    """Small integers: their products and sums are exact."""
    return np.random.default_rng(seed).integers(-8, 9, size=shape).astype(dtype)
