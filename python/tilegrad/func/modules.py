"""Modules as functions of their parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tilegrad.autograd.tensor import Tensor


def _registry(module: Any, name: str) -> tuple[dict[str, Any], str]:
    """The dict of the module that ``name`` with its dots names, and the name in it."""
    path, _, last = name.rpartition(".")
    for part in path.split(".") if path else ():
        module = getattr(module, "_modules", {}).get(part)
    for registry in (getattr(module, "_parameters", {}), getattr(module, "_buffers", {})):
        if last in registry:
            return registry, last
    raise KeyError(f"functional_call: the module has no parameter or buffer {name!r}")


def functional_call(
    module: Any,
    parameters_and_buffers: Mapping[str, Tensor],
    args: Any = (),
    kwargs: Mapping[str, Any] | None = None,
) -> Any:
    """``module(*args, **kwargs)`` with tensors in place of its parameters and buffers.

    Args:
        module: a :class:`tilegrad.nn.Module`; it is the same again afterwards.
        parameters_and_buffers: tensors by the names of ``named_parameters()`` and
            ``named_buffers()``; those left out keep their values.
        args: the arguments, or the only one.
        kwargs: arguments by name.

    Raises:
        KeyError: there is no such parameter or buffer.

    >>> import tilegrad as tg
    >>> layer, x = tg.nn.Linear(2, 1, bias=False), tg.tensor([[1.0, 2.0]])
    >>> loss = lambda w: tg.func.functional_call(layer, {"weight": w}, x).sum()
    >>> tg.func.grad(loss)(tg.zeros(1, 2)).numpy()
    array([[1., 2.]], dtype=float32)
    """
    places = [_registry(module, name) for name in parameters_and_buffers]
    before = [registry[name] for registry, name in places]
    try:
        for (registry, name), value in zip(places, parameters_and_buffers.values(), strict=True):
            registry[name] = value
        return module(*(args if isinstance(args, tuple) else (args,)), **(kwargs or {}))
    finally:
        for (registry, name), value in zip(places, before, strict=True):
            registry[name] = value


__all__ = ["functional_call"]
