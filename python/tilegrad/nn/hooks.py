"""Hooks of modules: ordered registries and the handles that remove entries from them."""

from __future__ import annotations

from collections import OrderedDict
from itertools import count
from typing import Any

from tilegrad.autograd.function import Function
from tilegrad.autograd.modes import is_grad_enabled
from tilegrad.autograd.tensor import Tensor

_next_id = count().__next__


class RemovableHandle:
    """What registering a hook returns: :meth:`remove` takes the hook away again."""

    def __init__(self, registry: OrderedDict[int, Any], *, prepend: bool = False) -> None:
        self.registry = registry
        self.id = _next_id()
        self.prepend = prepend

    def add(self, hook: Any) -> RemovableHandle:
        """Put ``hook`` into the registry."""
        self.registry[self.id] = hook
        if self.prepend:
            self.registry.move_to_end(self.id, last=False)
        return self

    def remove(self) -> None:
        """Stop calling the hook; a second time does nothing."""
        self.registry.pop(self.id, None)

    def __enter__(self) -> RemovableHandle:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.remove()


class _Watch(Function):
    """Identity on several tensors at once: one node, where all their gradients pass together."""

    @staticmethod
    def forward(ctx: Any, watcher: Any, *tensors: Tensor) -> tuple[Tensor, ...]:
        ctx.watcher = watcher
        ctx.set_materialize_grads(False)
        return tensors

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Any, ...]:
        return (None, *ctx.watcher(gradients))

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> tuple[Any, ...]:
        return tangents[1:]


def _watch(values: tuple[Any, ...], watcher: Any) -> tuple[tuple[Any, ...], bool]:
    """``values`` with one node around its tensors, and whether gradients will pass there.

    ``watcher`` gets and returns one gradient per entry of ``values``, None for what has none.
    """
    places = [i for i, value in enumerate(values) if isinstance(value, Tensor)]
    if not is_grad_enabled() or not any(values[i].requires_grad for i in places):
        return values, False

    def spread(gradients: tuple[Any, ...]) -> tuple[Any, ...]:
        full: list[Any] = [None] * len(values)
        for i, g in zip(places, gradients, strict=True):
            full[i] = g
        full = list(watcher(tuple(full)))
        return tuple(full[i] for i in places)

    results = list(values)
    for i, passed in zip(places, _Watch.apply(spread, *(values[i] for i in places)), strict=True):
        results[i] = passed
    return tuple(results), True


def _replaced(result: Any, before: tuple[Any, ...], who: str) -> tuple[Any, ...]:
    if result is None:
        return before
    after = result if isinstance(result, tuple) else (result,)
    if len(after) != len(before):
        raise RuntimeError(f"{who} returned {len(after)} gradients, {len(before)} are needed")
    return after


class BackwardHooks:
    """One call of a module with full backward hooks: watches its inputs and its outputs."""

    def __init__(self, module: Any, hooks: list[Any], pre_hooks: list[Any]) -> None:
        self.module = module
        self.hooks = hooks
        self.pre_hooks = pre_hooks
        self.grad_output: tuple[Any, ...] = ()
        self.inputs = 0
        self.watched = False

    def wrap_inputs(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """``args`` with a watched node in front."""
        self.inputs = len(args)
        if self.hooks:
            args, self.watched = _watch(args, self._inputs_arrived)
        return args

    def wrap_output(self, result: Any) -> Any:
        """``result`` with a watched node behind."""
        several = isinstance(result, tuple)
        wrapped, _ = _watch(result if several else (result,), self._outputs_arrived)
        return wrapped if several else wrapped[0]

    def _outputs_arrived(self, gradients: tuple[Any, ...]) -> tuple[Any, ...]:
        for hook in self.pre_hooks:
            gradients = _replaced(hook(self.module, gradients), gradients, "a backward pre-hook")
        self.grad_output = gradients
        if not self.watched:  # no input takes a gradient: the hooks learn of the outputs' alone
            self._inputs_arrived((None,) * self.inputs)
        return gradients

    def _inputs_arrived(self, gradients: tuple[Any, ...]) -> tuple[Any, ...]:
        for hook in self.hooks:
            found = hook(self.module, gradients, self.grad_output)
            gradients = _replaced(found, gradients, "a backward hook")
        return gradients
