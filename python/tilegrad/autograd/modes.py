"""Switches of the engine, one set per thread: is a graph recorded?"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from inspect import isgeneratorfunction
from typing import Any, TypeVar

from tilegrad import _native

F = TypeVar("F", bound=Callable[..., Any])


class _GradMode:
    """Context manager and decorator that sets whether operations record a graph."""

    def __new__(cls, *given: Any, **options: Any) -> Any:
        """A mode; given a function, as by ``@no_grad`` without a call, the function in it."""
        return cls()(*given) if given and callable(given[0]) else super().__new__(cls)  # type: ignore[call-arg]

    def __init__(self, mode: bool) -> None:
        self.mode = mode
        self._before: list[bool] = []

    def __enter__(self) -> None:
        self._before.append(_native.set_grad_enabled(self.mode))

    def __exit__(self, *exc_info: object) -> None:
        _native.set_grad_enabled(self._before.pop())

    def __call__(self, function: F) -> F:
        """``function`` run in this mode; a generator has it whenever it runs, its caller never."""
        mode = self.mode
        if isgeneratorfunction(function):
            return _stepwise(mode, function)  # type: ignore[return-value]

        @wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            with _GradMode(mode):
                return function(*args, **kwargs)

        return wrapped  # type: ignore[return-value]


def _stepwise(mode: bool, function: Callable[..., Any]) -> Callable[..., Any]:
    """A generator function whose steps run in ``mode``."""

    @wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        generator = function(*args, **kwargs)
        resume: Callable[[Any], Any] = generator.send
        sent: Any = None
        try:
            while True:
                with _GradMode(mode):
                    value = resume(sent)
                try:
                    resume, sent = generator.send, (yield value)
                except Exception as error:
                    resume, sent = generator.throw, error
        except StopIteration as stop:
            return stop.value
        finally:
            with _GradMode(mode):
                generator.close()

    return wrapped


class no_grad(_GradMode):  # noqa: N801 - the field's name
    """Operations inside record no graph: their results do not require gradients.

    >>> import tilegrad as tg
    >>> x = tg.tensor([1.0], requires_grad=True)
    >>> with tg.no_grad():
    ...     y = x * 2
    >>> y.requires_grad
    False
    """

    def __init__(self) -> None:
        super().__init__(False)


class inference_mode(_GradMode):  # noqa: N801 - the field's name
    """Like :class:`no_grad`, or with ``mode=False`` like :class:`enable_grad`.

    Its results are ordinary tensors: there is no second kind that a graph would refuse.

    >>> import tilegrad as tg
    >>> x = tg.tensor([1.0], requires_grad=True)
    >>> with tg.inference_mode():
    ...     y = x * 2
    >>> y.requires_grad
    False
    """

    def __init__(self, mode: bool = True) -> None:
        super().__init__(not mode)


class enable_grad(_GradMode):  # noqa: N801 - the field's name
    """Operations inside record a graph, also within :class:`no_grad`."""

    def __init__(self) -> None:
        super().__init__(True)


class set_grad_enabled(_GradMode):  # noqa: N801 - the field's name
    """Record a graph or not, by ``mode``: at once, and until the block ends if used as one."""

    def __init__(self, mode: bool) -> None:
        super().__init__(mode)
        self._before.append(_native.set_grad_enabled(mode))

    def __enter__(self) -> None:
        _native.set_grad_enabled(self.mode)


def is_grad_enabled() -> bool:
    """Whether operations of this thread record a graph now."""
    return _native.is_grad_enabled()
