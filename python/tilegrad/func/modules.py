"""Modules as functions of their parameters, for the transforms of :mod:`tilegrad.func`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def functional_call(
    module: Any,
    parameters_and_buffers: Mapping[str, Any] | Sequence[Mapping[str, Any]],
    args: Any = None,
    kwargs: Mapping[str, Any] | None = None,
    *,
    tie_weights: bool = True,
    strict: bool = False,
) -> Any:
    """``module(*args, **kwargs)`` with other parameters and buffers, which are put back afterwards.

    Args:
        module: a :class:`tilegrad.nn.Module`.
        parameters_and_buffers: tensors by their names in the module, one dict or several.
        args: a tuple of arguments, or the only one.
        kwargs: keyword arguments.
        tie_weights: a parameter that the module has under several names is replaced under all.
        strict: the names must be all that the module has.

    Raises:
        KeyError: a name that the module does not have, or that several dicts have.
        RuntimeError: names are missing, with ``strict``.

    >>> import tilegrad as tg
    >>> layer = tg.nn.Linear(2, 1, bias=False)
    >>> x = tg.tensor([1.0, 2.0])
    >>> functional_call(layer, {"weight": tg.tensor([[3.0, 4.0]])}, (x,)).item()
    11.0
    >>> loss = lambda p: functional_call(layer, p, (x,)).sum()
    >>> tg.func.grad(loss)({"weight": tg.zeros(1, 2)})["weight"].numpy()
    array([[1., 2.]], dtype=float32)
    """
    given = _merged(parameters_and_buffers)
    places = _places(module)
    unknown = [name for name in given if name not in places]
    if unknown:
        raise KeyError(
            f"functional_call: {type(module).__name__} has no parameter or buffer "
            f"{', '.join(map(repr, unknown))}; it has {', '.join(places)}"
        )
    if tie_weights:
        given = _tied(given, places)
    missing = [name for name in places if name not in given]
    if strict and missing:
        raise RuntimeError(f"functional_call: strict, but {', '.join(missing)} are not given")
    before = [(registry, key, registry[key]) for registry, key in map(places.__getitem__, given)]
    try:
        for name, value in given.items():
            registry, key = places[name]
            registry[key] = value
        arguments = () if args is None else args if isinstance(args, tuple) else (args,)
        return module(*arguments, **(kwargs or {}))
    finally:
        for registry, key, value in before:
            registry[key] = value


def stack_module_state(modules: Sequence[Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Parameters and buffers of modules of one kind, stacked along a new first axis for vmap.

    >>> import tilegrad as tg
    >>> layers = [tg.nn.Linear(2, 3) for _ in range(4)]
    >>> parameters, buffers = stack_module_state(layers)
    >>> parameters["weight"].shape
    (4, 3, 2)
    """
    from tilegrad.ops.shape import concatenate, reshape

    def stacked(names: Sequence[str], states: Sequence[dict[str, Any]]) -> dict[str, Any]:
        return {
            name: concatenate(
                *(reshape(s[name].detach(), (1, *s[name].shape)) for s in states), axis=0
            )
            for name in names
        }

    if not modules:
        raise ValueError("stack_module_state: no modules")
    parameters = [dict(module.named_parameters()) for module in modules]
    buffers = [dict(module.named_buffers()) for module in modules]
    for state in (*parameters, *buffers):
        if list(state) not in (list(parameters[0]), list(buffers[0])):
            raise ValueError("stack_module_state: the modules have different parameters or buffers")
    return stacked(list(parameters[0]), parameters), stacked(list(buffers[0]), buffers)


def _merged(dicts: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for one in (dicts,) if isinstance(dicts, Mapping) else dicts:
        twice = sorted(set(one) & set(merged))
        if twice:
            raise KeyError(f"functional_call: {', '.join(twice)} in several dicts")
        merged.update(one)
    return merged


def _places(module: Any) -> dict[str, tuple[dict[str, Any], str]]:
    """Where each parameter and buffer stands: the registry and the key in it."""
    found: dict[str, tuple[dict[str, Any], str]] = {}
    for path, part in module.named_modules(remove_duplicate=False):
        for registry in (part._parameters, part._buffers):
            for key, value in registry.items():
                if value is not None:
                    found[f"{path}.{key}" if path else key] = (registry, key)
    return found


def _tied(given: dict[str, Any], places: Mapping[str, Any]) -> dict[str, Any]:
    """``given`` with the other names of the same tensors."""
    replaced = {id(places[name][0][places[name][1]]): value for name, value in given.items()}
    others = {
        name: replaced[id(registry[key])]
        for name, (registry, key) in places.items()
        if name not in given and id(registry[key]) in replaced
    }
    return {**given, **others}
