"""Random numbers inside batches: drawn once for all members, or for each, or not at all."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, TypeVar

import numpy as np

from tilegrad.autograd.batching import BatchedTensor, Level
from tilegrad.autograd.tensor import Tensor

F = TypeVar("F", bound=Callable[..., Any])
RANDOMNESS = ("error", "same", "different")


class _Open(threading.local):
    def __init__(self) -> None:
        self.levels: list[Level] = []


_open = _Open()


@contextmanager
def inside(level: Level) -> Iterator[None]:
    """While the function of a batch runs."""
    _open.levels.append(level)
    try:
        yield
    finally:
        _open.levels.remove(level)


def check(name: str) -> None:
    """Raise where random numbers have no meaning that was asked for."""
    if any(level.randomness == "error" for level in _open.levels):
        raise RuntimeError(
            f"vmap: {name} inside the batch: say randomness='same' for the same random numbers in "
            "all members, or randomness='different' for their own in each"
        )
    if any(level.randomness == "different" for level in _open.levels):
        raise RuntimeError(
            f"vmap: {name} cannot draw for each member of the batch: draw outside, with an axis of "
            "members, and pass that as an argument"
        )


def per_member(function: F) -> F:
    """Let ``function``, which draws random numbers, draw for each member where that is asked."""

    @wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        level = next((one for one in _open.levels if one.randomness == "different"), None)
        if level is None:
            return function(*args, **kwargs)
        with _without(level):
            drawn = [
                wrapped(*(_member(x, level, i) for x in args), **kwargs) for i in range(level.size)
            ]
        return _batched(drawn, level)

    return wrapped  # type: ignore[return-value]


@contextmanager
def _without(level: Level) -> Iterator[None]:
    before = _open.levels
    _open.levels = [one for one in before if one is not level]
    try:
        yield
    finally:
        _open.levels = before


def _member(x: Any, level: Level, i: int) -> Any:
    """What ``x`` is for member ``i``."""
    if not isinstance(x, Tensor) or level not in x._batch:
        return x
    place = x._batch.index(level)
    array, rest = np.take(x._array, i, axis=place), (*x._batch[:place], *x._batch[place + 1 :])
    return BatchedTensor(array, rest) if rest else Tensor(array)


def _batched(drawn: list[Any], level: Level) -> BatchedTensor:
    """One batched tensor of the members' arrays or tensors."""
    first = drawn[0]
    batch = first._batch if isinstance(first, Tensor) else ()
    place = sum(other.number < level.number for other in batch)
    arrays = [x._array if isinstance(x, Tensor) else x for x in drawn]
    return BatchedTensor(np.stack(arrays, axis=place), (*batch[:place], level, *batch[place:]))
