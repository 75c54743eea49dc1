"""What a recorded step took for granted: tensors it used in place, Python values it refers to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import FunctionType, MethodType, ModuleType
from typing import Any

from tilegrad import _native
from tilegrad.autograd.tensor import Tensor

_PLAIN = (bool, int, float, str, bytes, frozenset, type(None))
_MISSING = object()

#: A container with ``get``, a key, the value that was there.
Reference = tuple[Any, Any, Any]


class Guards:
    """Hold while the function would still do the same work.

    What the function refers to has to be what it was: variables of its closure, globals that it
    names, attributes of the objects among them (modules' ``training`` flags, rates, sizes), lengths
    of lists, in nested functions and objects too. Optimizers and schedulers are left out: they are
    executed in every replay.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        #: Tensors in reach of the function.
        self.tensors: list[Tensor] = []
        self.plain: list[Reference] = []
        self.objects: list[Reference] = []
        for container, key, value in _walk(function, self.tensors):
            (self.plain if isinstance(value, _PLAIN) else self.objects).append(
                (container, key, value)
            )

    def hand_over(self, replay: _native.Replay) -> None:
        """Let ``replay`` check the references, as often as it is asked to."""
        for references, plain in ((self.objects, False), (self.plain, True)):
            for container, key, value in references:
                if isinstance(container, _Cell):
                    replay.refer("cell", container.cell, key, value, plain)
                elif isinstance(container, _Length):
                    replay.refer("length", container.collection, key, value, plain)
                else:
                    replay.refer("item", container, key, value, plain)

    def changed(self) -> str | None:
        """The name of a reference that is not what it was."""
        for container, key, value in self.objects:
            if container.get(key, _MISSING) is not value:
                return str(key)
        for container, key, value in self.plain:
            now = container.get(key, _MISSING)
            if now is not value and (type(now) is not type(value) or now != value):
                return str(key)
        return None


class _Cell:
    """A closure cell, read like a dictionary."""

    def __init__(self, cell: Any) -> None:
        self.cell = cell

    def get(self, key: Any, default: Any) -> Any:
        """The content of the cell."""
        try:
            return self.cell.cell_contents
        except ValueError:
            return default


class _Length:
    """The length of a collection, read like a dictionary."""

    def __init__(self, collection: Any) -> None:
        self.collection = collection

    def get(self, key: Any, default: Any) -> Any:
        """How many items there are."""
        return len(self.collection)


def _walk(function: Any, tensors: list[Tensor]) -> Iterator[Reference]:
    """Every reference in reach of ``function``; tensors on the way are added to ``tensors``."""
    seen: set[int] = set()
    stack = [function]
    while stack:
        item = stack.pop()
        if isinstance(item, Tensor):
            tensors.append(item)
            continue
        if id(item) in seen or isinstance(item, (*_PLAIN, ModuleType, type)):
            continue
        seen.add(id(item))
        if isinstance(item, (list, tuple, set)):
            if not isinstance(item, tuple):
                yield _Length(item), "a list", len(item)
            stack.extend(item)
            continue
        for container, key, value in _references(item):
            yield container, key, value
            stack.append(value)


def _is_ours(item: Any, part: str = "") -> bool:
    return (getattr(item, "__module__", None) or "").startswith(f"tilegrad.{part}")


def _references(item: Any) -> Iterator[Reference]:
    """What ``item`` refers to by name."""
    if isinstance(item, MethodType):
        yield from _attributes(item.__self__)
        item = item.__func__
    if isinstance(item, FunctionType):
        if _is_ours(item):
            return
        for name, cell in zip(item.__code__.co_freevars, item.__closure__ or (), strict=True):
            reader = _Cell(cell)
            yield reader, name, reader.get(name, _MISSING)
        for name in item.__code__.co_names:
            if name in item.__globals__:
                yield item.__globals__, name, item.__globals__[name]
    elif isinstance(item, dict):
        yield _Length(item), "a dict", len(item)
        yield from ((item, key, value) for key, value in list(item.items()))
    elif not (_is_ours(type(item), "optim") or _is_ours(type(item), "program")):
        yield from _attributes(item)


def _attributes(item: Any) -> Iterator[Reference]:
    names = getattr(item, "__dict__", None)
    if isinstance(names, dict) and not isinstance(item, (ModuleType, type)):
        yield from ((names, key, value) for key, value in list(names.items()))
