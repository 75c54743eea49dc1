"""The base class of optimizers: parameter groups, state, closures, hooks; torch's interface."""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from copy import deepcopy
from typing import Any

import numpy as np

from tilegrad import _native
from tilegrad.autograd.modes import enable_grad
from tilegrad.autograd.recording import opaque
from tilegrad.autograd.tensor import Tensor
from tilegrad.kernels.memory import aligned_zeros
from tilegrad.nn.hooks import RemovableHandle
from tilegrad.nn.module import clear_gradient
from tilegrad.nn.state import as_array

#: The value of an option that every parameter group has to name itself.
REQUIRED: Any = object()


class Optimizer:
    """Base class of optimizers.

    Args:
        params: tensors, pairs of names and tensors, or dicts (parameter groups) with ``params`` and
            options that differ from the defaults.
        defaults: options of groups that do not set their own.

    Raises:
        TypeError, ValueError: ``params`` is empty or holds something else.
    """

    #: Steps a group, given the state, natively; False, with nothing changed, where it is left to
    #: :meth:`_update`: the first step of a parameter, options or state of another kind.
    _step_group: Callable[[dict[str, Any], dict[Any, dict[str, Any]]], bool] = staticmethod(
        lambda group, state: False
    )

    def __init__(self, params: Any, defaults: dict[str, Any]) -> None:
        if isinstance(params, (Tensor, np.ndarray)):
            raise TypeError(
                "an optimizer takes an iterable of tensors or parameter groups, not a single "
                f"{type(params).__name__}; put it into a list"
            )
        self.defaults = defaults
        self.state: defaultdict[Any, dict[str, Any]] = defaultdict(dict)
        self.param_groups: list[dict[str, Any]] = []
        self._step_pre_hooks: OrderedDict[int, Any] = OrderedDict()
        self._step_post_hooks: OrderedDict[int, Any] = OrderedDict()
        self._state_dict_pre_hooks: OrderedDict[int, Any] = OrderedDict()
        self._state_dict_post_hooks: OrderedDict[int, Any] = OrderedDict()
        self._load_pre_hooks: OrderedDict[int, Any] = OrderedDict()
        self._load_post_hooks: OrderedDict[int, Any] = OrderedDict()
        if not isinstance(params, Iterable):
            raise TypeError(
                f"{type(self).__name__}: params must be a list of tensors or of parameter groups, "
                f"got {params!r}"
            )
        groups = list(params)
        if not groups:
            raise ValueError("optimizer got an empty parameter list")
        if not isinstance(groups[0], dict):
            groups = [{"params": groups}]
        for group in groups:
            self.add_param_group(group)

    # ---- groups -----------------------------------------------------------------------------
    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add parameters with options of their own."""
        if not isinstance(param_group, dict):
            raise TypeError(f"a parameter group must be a dict, not {type(param_group).__name__}")
        group = dict(param_group)
        if not isinstance(group.get("params"), Iterable):
            found = repr(group["params"]) if "params" in group else f"the keys {list(group)} only"
            raise TypeError(
                f"{type(self).__name__}: a parameter group needs 'params', a list of tensors; got "
                f"{found}"
            )
        params = group["params"]
        if isinstance(params, Tensor):
            params = [params]
        elif isinstance(params, (set, frozenset)):
            raise TypeError("parameters need an order: give a list, not a set")
        params = list(params)
        if params and isinstance(params[0], tuple):
            group["param_names"] = [name for name, _ in params]
            params = [param for _, param in params]
        for param in params:
            if not isinstance(param, Tensor):
                raise TypeError(f"an optimizer takes tensors, not {type(param).__name__}")
            if not param.is_leaf:
                raise ValueError("an optimizer takes leaf tensors, this one was computed")
        if len({id(p) for p in params}) != len(params):
            raise ValueError("a parameter group holds the same parameter twice")
        known = {id(p) for g in self.param_groups for p in g["params"]}
        if any(id(p) in known for p in params):
            raise ValueError("a parameter appears in more than one parameter group")
        group["params"] = params
        for name, default in self.defaults.items():
            if default is REQUIRED and name not in group:
                raise ValueError(f"the parameter group has no value for {name!r}")
            group.setdefault(name, default)
            if isinstance(default, (int, float)):
                option(type(self).__name__, name, group[name])
        self.param_groups.append(group)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "step" in cls.__dict__:  # a replay of a recorded step calls it again
            cls.step = opaque(cls.step)  # type: ignore[method-assign]

    @opaque
    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drop the gradients of all parameters, or fill them with zeros."""
        for group in self.param_groups:
            if set_to_none:
                _native.drop_gradients(group["params"])
                continue
            for param in group["params"]:
                clear_gradient(param, False)

    # ---- stepping ---------------------------------------------------------------------------
    @opaque
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update every parameter that has a gradient.

        Args:
            closure: computes the loss again, gradients included, and returns it.

        Returns:
            What the closure returned, or None.
        """
        hooked = self._step_pre_hooks or self._step_post_hooks
        if hooked:
            args: tuple[Any, ...] = (closure,)
            for hook in list(self._step_pre_hooks.values()):
                found = hook(self, args, {})
                if found is not None:
                    args, _ = found
            closure = args[0]
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        for number, group in enumerate(self.param_groups):
            try:
                if not self._step_group(group, self.state):
                    self._update(group)
            except GradientMismatchError as error:
                at = next(i for i, p in enumerate(group["params"]) if p is error.param)
                text = f"{type(self).__name__}: parameter {at} of group {number}: {error}"
                raise RuntimeError(text) from None
        if hooked:
            for hook in list(self._step_post_hooks.values()):
                hook(self, (closure,), {})
        return loss

    def _update(self, group: dict[str, Any]) -> None:
        """Step the parameters of one group; subclasses define it."""
        raise NotImplementedError(f"{type(self).__name__} has no step")

    def register_step_pre_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call ``hook(optimizer, args, kwargs)`` before each step."""
        return RemovableHandle(self._step_pre_hooks).add(hook)

    def register_step_post_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call ``hook(optimizer, args, kwargs)`` after each step."""
        return RemovableHandle(self._step_post_hooks).add(hook)

    def register_state_dict_pre_hook(
        self, hook: Callable[..., Any], prepend: bool = False
    ) -> RemovableHandle:
        """Call ``hook(optimizer)`` before a state dict is made."""
        return RemovableHandle(self._state_dict_pre_hooks, prepend=prepend).add(hook)

    def register_state_dict_post_hook(
        self, hook: Callable[..., Any], prepend: bool = False
    ) -> RemovableHandle:
        """Call ``hook(optimizer, state_dict)`` after it; it may return another."""
        return RemovableHandle(self._state_dict_post_hooks, prepend=prepend).add(hook)

    def register_load_state_dict_pre_hook(
        self, hook: Callable[..., Any], prepend: bool = False
    ) -> RemovableHandle:
        """Call ``hook(optimizer, state_dict)`` before loading; it may return another."""
        return RemovableHandle(self._load_pre_hooks, prepend=prepend).add(hook)

    def register_load_state_dict_post_hook(
        self, hook: Callable[..., Any], prepend: bool = False
    ) -> RemovableHandle:
        """Call ``hook(optimizer)`` after loading."""
        return RemovableHandle(self._load_post_hooks, prepend=prepend).add(hook)

    # ---- state dicts ------------------------------------------------------------------------
    def _numbers(self) -> dict[int, int]:
        """Each parameter's place in the order of all groups, by identity."""
        several = [p for group in self.param_groups for p in group["params"]]
        return {id(p): i for i, p in enumerate(several)}

    def state_dict(self) -> dict[str, Any]:
        """Options of the groups, and the state by number of the parameter."""
        for hook in list(self._state_dict_pre_hooks.values()):
            hook(self)
        numbers = self._numbers()
        groups = [
            {**{k: v for k, v in group.items() if k != "params"},
             "params": [numbers[id(p)] for p in group["params"]]}
            for group in self.param_groups
        ]  # fmt: skip
        state = {
            (numbers[id(p)] if isinstance(p, Tensor) else p): dict(entries)
            for p, entries in self.state.items()
        }
        result: dict[str, Any] = {"state": state, "param_groups": groups}
        for hook in list(self._state_dict_post_hooks.values()):
            found = hook(self, result)
            result = result if found is None else found
        return result

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over a state dict; tensors of another library are read as arrays.

        Raises:
            TypeError: ``state_dict`` is no dict.
            ValueError: the numbers of groups or parameters differ, or there are none.
        """
        name = type(self).__name__
        if not isinstance(state_dict, Mapping):
            raise TypeError(f"{name}: load_state_dict takes a dict, got {state_dict!r}")
        given: Any = dict(state_dict)
        for hook in list(self._load_pre_hooks.values()):
            found = hook(self, given)
            given = given if found is None else found
        for key in ("state", "param_groups"):
            if key not in given:
                raise ValueError(
                    f"{name}: the state dict has no {key!r}, only {list(given)}; is it of an "
                    "optimizer?"
                )
        groups = deepcopy(given["param_groups"])
        if len(groups) != len(self.param_groups):
            raise ValueError(
                f"the state dict has {len(groups)} parameter groups, the optimizer has "
                f"{len(self.param_groups)}"
            )
        by_number: dict[Any, Tensor] = {}
        for i, (saved, group) in enumerate(zip(groups, self.param_groups, strict=True)):
            if len(saved["params"]) != len(group["params"]):
                raise ValueError(
                    f"parameter group {i} of the state dict has {len(saved['params'])} parameters, "
                    f"that of the optimizer has {len(group['params'])}"
                )
            by_number.update(zip(saved["params"], group["params"], strict=True))
        state: defaultdict[Any, dict[str, Any]] = defaultdict(dict)
        for key, entries in given["state"].items():
            if key in by_number:
                param = by_number[key]
                state[param] = {name: _taken(name, v, param) for name, v in entries.items()}
            else:
                state[key] = deepcopy(entries)
        self.state = state
        self.param_groups = [
            {**saved, "params": group["params"]}
            for saved, group in zip(groups, self.param_groups, strict=True)
        ]
        for hook in list(self._load_post_hooks.values()):
            hook(self)

    def __repr__(self) -> str:
        lines = [f"{type(self).__name__} ("]
        for i, group in enumerate(self.param_groups):
            lines.append(f"Parameter Group {i}")
            lines += [f"    {key}: {group[key]}" for key in sorted(group) if key != "params"]
        return "\n".join([*lines, ")"])


def _taken(name: str, value: Any, param: Tensor) -> Any:
    """One entry of a loaded state, with its own memory: buffers in the parameter's dtype."""
    if isinstance(value, dict):
        return {key: _taken(key, v, param) for key, v in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_taken(name, v, param) for v in value)
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    array = value._array if isinstance(value, Tensor) else as_array(value)
    floating = name != "step" and array.dtype.kind == "f"
    return Tensor(np.array(array, dtype=param.dtype if floating else array.dtype))


def number(value: Any) -> float:
    """An option as a Python float; 0-d tensors are read."""
    return float(value.item()) if isinstance(value, Tensor) else float(value)


def option(optimizer: str, name: str, value: Any) -> float:
    """As :func:`number`, of an option given to a constructor; TypeError unless it is a number."""
    try:
        if not isinstance(value, str):
            return number(value)
    except (TypeError, ValueError):
        pass
    raise TypeError(f"{optimizer}: {name} must be a number, got {value!r}")


def at_least(optimizer: str, minimum: float, **options: Any) -> None:
    """Raise ValueError for an option below ``minimum``."""
    for name, value in options.items():
        if not option(optimizer, name, value) >= minimum:
            raise ValueError(f"{optimizer}: {name} must be at least {minimum}, got {value}")


def below_one(optimizer: str, **options: Any) -> None:
    """Raise ValueError for an option outside [0, 1)."""
    for name, value in options.items():
        if not 0.0 <= option(optimizer, name, value) < 1.0:
            raise ValueError(f"{optimizer}: {name} must be in [0, 1), got {value}")


class GradientMismatchError(RuntimeError):
    """A gradient does not fit its parameter, which was changed after backward."""

    def __init__(self, param: Tensor, gradient: Any) -> None:
        super().__init__(
            f"a parameter of shape {param.shape} and dtype {param.dtype} has a gradient of shape "
            f"{gradient.shape} and dtype {gradient.dtype}"
        )
        self.param = param


def gradient_of(param: Tensor) -> Any:
    """The gradient's array, None without one; it must fit the parameter."""
    g = param.grad
    if g is None:
        return None
    array = g._array
    if array.shape != param._array.shape or array.dtype != param._array.dtype:
        raise GradientMismatchError(param, array)
    return array


def with_gradients(params: list[Tensor]) -> Iterator[tuple[Tensor, Any]]:
    """The parameters that have a gradient, each with the gradient's array."""
    for param in params:
        g = gradient_of(param)
        if g is not None:
            yield param, g


def zeros_like(param: Tensor) -> Tensor:
    """A buffer of the parameter's shape and dtype."""
    return Tensor(aligned_zeros(param._array.shape, param._array.dtype))


def new_step() -> Tensor:
    """A step count, kept as torch keeps it: a 0-d float32."""
    return Tensor(np.zeros((), np.float32))


def advance(state: dict[str, Any]) -> int:
    """Count one step and return how many there were."""
    count = state["step"]
    if isinstance(count, Tensor):
        count._array += 1
        return int(count._array)
    state["step"] = count + 1
    return int(count + 1)


__all__ = ["REQUIRED", "Optimizer"]
