"""Where a running recording can be asked for, by what it must see beside kernels and operations.

:mod:`tilegrad.program` records a step to replay it natively. Most of a step is kernel calls, which
it sees by itself. Three kinds of work have to be told to it: functions that act on Python objects
and are simply called again (:func:`opaque`: optimizer steps, random numbers, fresh constants),
values that leave the world of tensors (:func:`leaving`), and memory changed in place.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import wraps
from typing import Any, Protocol, TypeVar

from tilegrad.kernels.failure import KINDS, raise_retold

F = TypeVar("F", bound=Callable[..., Any])


class Recorder(Protocol):
    """What a recording offers to the rest of the library."""

    def call(self, function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """Call ``function`` now, unseen, and again at this place of every replay."""

    def forward(self, op: Any, arrays: Any, attrs: dict[str, Any]) -> Any:
        """Compute the forward function of ``op``."""

    def gradient(self, leaf: Any, g: Any, accumulate: Callable[..., None]) -> None:
        """The gradient ``g`` arrives at ``leaf``."""

    def changed(self, tensor: Any) -> None:
        """The memory of ``tensor`` was changed in place."""

    def constant(self, array: Any) -> None:
        """``array`` was made here and holds the same values every time."""

    def refuse(self, reason: str) -> None:
        """This step cannot be replayed."""


class _Current(threading.local):
    recorder: Recorder | None = None


_current = _Current()


def current() -> Recorder | None:
    """The recording that runs on this thread."""
    return _current.recorder


def set_current(recorder: Recorder | None) -> Recorder | None:
    """Make ``recorder`` the one of this thread; the one before."""
    before = _current.recorder
    _current.recorder = recorder
    return before


def opaque(function: F) -> F:
    """Let recordings call ``function`` again as a whole instead of looking into it."""

    @wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        recorder = _current.recorder
        if recorder is not None:
            return recorder.call(function, args, kwargs)
        try:
            return function(*args, **kwargs)
        except KINDS as error:
            raise_retold(error, function.__name__, (*args, *kwargs.values()))

    return wrapped  # type: ignore[return-value]


def constant(array: Any) -> Any:
    """``array``, which holds the same values in every run of the step, wherever it lies."""
    recorder = _current.recorder
    if recorder is not None:
        recorder.constant(array)
    return array


def leaving(what: str) -> None:
    """Say that a tensor's value goes where no recording can follow, such as a Python number."""
    recorder = _current.recorder
    if recorder is not None:
        recorder.refuse(f"{what} takes a value out of the step while it runs")
