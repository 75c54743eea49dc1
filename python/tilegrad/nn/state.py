"""State dicts of modules: taking them, and loading them from tensors or plain arrays."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from tilegrad.autograd.tensor import Tensor
from tilegrad.nn.hooks import RemovableHandle
from tilegrad.nn.parameter import Buffer, Parameter, UninitializedBuffer, UninitializedParameter


class IncompatibleKeys(NamedTuple):
    """What loading a state dict did not find, and what it could not use."""

    missing_keys: list[str]
    unexpected_keys: list[str]

    def __repr__(self) -> str:
        if not self.missing_keys and not self.unexpected_keys:
            return "<All keys matched successfully>"
        return (
            f"IncompatibleKeys(missing_keys={self.missing_keys!r}, "
            f"unexpected_keys={self.unexpected_keys!r})"
        )

    def __str__(self) -> str:
        return repr(self)


class StateDict(OrderedDict[str, Any]):
    """An ordered dict of tensors; ``_metadata`` is kept for torch's sake."""

    _metadata: dict[str, Any]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._metadata = {}


#: Under this key a module's ``get_extra_state`` stands in its state dict.
EXTRA_STATE = "_extra_state"


class StateMixin:
    """The part of :class:`tilegrad.nn.Module` that deals with state dicts."""

    _parameters: dict[str, Any]
    _buffers: dict[str, Any]
    _modules: dict[str, Any]
    _non_persistent_buffers: set[str]
    _state_dict_hooks: OrderedDict[int, Any]
    _state_dict_pre_hooks: OrderedDict[int, Any]
    _load_state_dict_pre_hooks: OrderedDict[int, Any]
    _load_state_dict_post_hooks: OrderedDict[int, Any]
    _version = 1

    def get_extra_state(self) -> Any:
        """What else belongs into the state dict; subclasses define it."""
        raise NotImplementedError

    def set_extra_state(self, state: Any) -> None:
        """Take back what :meth:`get_extra_state` gave; subclasses define it."""
        raise NotImplementedError

    # ---- taking -----------------------------------------------------------------------------
    def _persistent(self) -> Iterator[tuple[str, Tensor]]:
        yield from ((name, p) for name, p in self._parameters.items() if p is not None)
        yield from (
            (name, b)
            for name, b in self._buffers.items()
            if b is not None and name not in self._non_persistent_buffers
        )

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        for name, value in self._persistent():
            destination[prefix + name] = value if keep_vars else value.detach()
        if type(self).get_extra_state is not StateMixin.get_extra_state:
            destination[prefix + EXTRA_STATE] = self.get_extra_state()

    def state_dict(
        self, *args: Any, destination: Any = None, prefix: str = "", keep_vars: bool = False
    ) -> Any:
        """Parameters and persistent buffers by dotted name, sharing memory with the module."""
        if args:
            given: tuple[Any, ...] = (*args, *(destination, prefix, keep_vars)[len(args) :])
            destination, prefix, keep_vars = given
        if destination is None:
            destination = StateDict()
        metadata = {"version": self._version}
        if hasattr(destination, "_metadata"):
            destination._metadata[prefix[:-1]] = metadata
        for hook in self._state_dict_pre_hooks.values():
            hook(self, prefix, keep_vars)
        self._save_to_state_dict(destination, prefix, keep_vars)
        for name, module in self._modules.items():
            if module is not None:
                module.state_dict(
                    destination=destination, prefix=f"{prefix}{name}.", keep_vars=keep_vars
                )
        for hook in self._state_dict_hooks.values():
            replaced = hook(self, destination, prefix, metadata)
            if replaced is not None:
                destination = replaced
        return destination

    def register_state_dict_post_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call ``hook(module, state_dict, prefix, local_metadata)`` after the dict is made."""
        return RemovableHandle(self._state_dict_hooks).add(hook)

    _register_state_dict_hook = register_state_dict_post_hook

    def register_state_dict_pre_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call ``hook(module, prefix, keep_vars)`` before the dict is made."""
        return RemovableHandle(self._state_dict_pre_hooks).add(hook)

    # ---- loading ----------------------------------------------------------------------------
    def register_load_state_dict_pre_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call ``hook`` with all that :meth:`_load_from_state_dict` gets, the module first."""
        return RemovableHandle(self._load_state_dict_pre_hooks).add(hook)

    def register_load_state_dict_post_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call ``hook(module, incompatible_keys)`` after loading."""
        return RemovableHandle(self._load_state_dict_post_hooks).add(hook)

    def _load_from_state_dict(
        self,
        state_dict: Mapping[str, Any],
        prefix: str,
        local_metadata: Mapping[str, Any],
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        """Load this module's own entries; what is wrong is added to the three lists."""
        for hook in self._load_state_dict_pre_hooks.values():
            hook(
                self, state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys,
                error_msgs,
            )  # fmt: skip
        assign = bool(local_metadata.get("assign_to_params_buffers", False))
        own = dict(self._persistent())
        for name, value in own.items():
            key = prefix + name
            if key not in state_dict:
                if strict:
                    missing_keys.append(key)
                continue
            problem = self._load_entry(name, value, state_dict[key], assign)
            if problem:
                error_msgs.append(f"{key}: {problem}")
        extra = prefix + EXTRA_STATE
        if type(self).set_extra_state is not StateMixin.set_extra_state:
            if extra in state_dict:
                self.set_extra_state(state_dict[extra])
            elif strict:
                missing_keys.append(extra)
        elif strict and extra in state_dict:
            unexpected_keys.append(extra)
        if strict:
            for key in state_dict:
                if key.startswith(prefix) and key != extra:
                    head = key[len(prefix) :].split(".", 1)
                    known = head[0] in self._modules if len(head) > 1 else head[0] in own
                    if not known:
                        unexpected_keys.append(key)

    def _load_entry(self, name: str, value: Any, given: Any, assign: bool) -> str | None:
        """Copy ``given`` into ``value``; returns what is wrong, or None."""
        try:
            array = given._array if isinstance(given, Tensor) else as_array(given)
        except (TypeError, ValueError) as error:
            return f"expected a tensor or an array, got {type(given).__name__} ({error})"
        if isinstance(value, (UninitializedParameter, UninitializedBuffer)):
            value.materialize(array.shape, array.dtype)
        if array.shape != value.shape:
            if array.shape == (1,) and value.shape == ():  # what old torch versions saved
                array = array.reshape(())
            else:
                return f"shape {array.shape} in the state dict, {value.shape} in the module"
        if assign:
            if name in self._parameters:
                fresh = given if isinstance(given, Parameter) else None
                self._parameters[name] = (
                    Parameter(array, value.requires_grad) if fresh is None else fresh
                )
            else:
                self._buffers[name] = given if isinstance(given, Tensor) else Tensor(array)
            return None
        value._array[...] = array
        value._bump_version()
        return None

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> IncompatibleKeys:
        """Copy the entries of ``state_dict``, tensors or arrays, into parameters and buffers.

        Args:
            state_dict: by dotted name; tensors of another library are read as arrays.
            strict: raise unless the keys match.
            assign: put the given tensors in place of the module's own, dtype and all.

        Returns:
            The missing and the unexpected keys.

        Raises:
            TypeError: it is no mapping.
            RuntimeError: keys (when strict) or shapes do not match; the text lists every one, and
                nothing was changed.
        """
        if not isinstance(state_dict, Mapping):
            raise TypeError(
                f"load_state_dict: expected a mapping of names to tensors or arrays, got "
                f"{type(state_dict).__name__}"
            )
        missing: list[str] = []
        unexpected: list[str] = []
        errors: list[str] = []
        metadata = getattr(state_dict, "_metadata", {})
        entries = OrderedDict(state_dict)

        def load(module: Any, prefix: str) -> None:
            local = dict(metadata.get(prefix[:-1], {}))
            if assign:
                local["assign_to_params_buffers"] = True
            module._load_from_state_dict(
                entries, prefix, local, True, missing, unexpected, errors
            )
            for name, child in module._modules.items():
                if child is not None:
                    load(child, f"{prefix}{name}.")
            incompatible = IncompatibleKeys(missing, unexpected)
            for hook in module._load_state_dict_post_hooks.values():
                if hook(module, incompatible) is not None:
                    raise TypeError("a load_state_dict post-hook must return None")

        before = _Contents(self)
        try:
            load(self, "")
        except BaseException:
            before.restore()
            raise
        if strict:
            if unexpected:
                listed = ", ".join(f'"{key}"' for key in unexpected)
                errors.insert(0, f"Unexpected key(s) in state_dict: {listed}.")
            if missing:
                listed = ", ".join(f'"{key}"' for key in missing)
                errors.insert(0, f"Missing key(s) in state_dict: {listed}.")
        if errors:
            before.restore()
            lines = "\n\t".join(errors)
            raise RuntimeError(
                f"Error(s) in loading state_dict for {type(self).__name__}:\n\t{lines}"
            )
        return IncompatibleKeys(missing, unexpected)


class _Contents:
    """What a module and those in it held, to put back if a state dict turns out not to fit."""

    def __init__(self, module: Any) -> None:
        self._tables = [
            (table, dict(table))
            for part in module.modules()
            for table in (part._parameters, part._buffers)
        ]
        tensors = {id(t): t for _, held in self._tables for t in held.values() if t is not None}
        self._arrays = [
            (t, t._array.copy())
            for t in tensors.values()
            if not isinstance(t, (UninitializedParameter, UninitializedBuffer))
        ]

    def restore(self) -> None:
        """Put everything back."""
        for table, held in self._tables:
            table.update(held)
        for tensor, values in self._arrays:
            if not np.array_equal(tensor._array, values, equal_nan=True):
                tensor._array[...] = values
                tensor._bump_version()


def as_array(value: Any) -> np.ndarray[Any, Any]:
    """An array of numbers from an array, a number or another library's tensor."""
    detach = getattr(value, "detach", None)  # a torch tensor that requires gradients
    array = np.asarray(detach() if callable(detach) else value)
    if array.dtype.kind not in "fiub":
        raise TypeError(f"dtype {array.dtype}")
    return array


__all__ = ["EXTRA_STATE", "Buffer", "IncompatibleKeys", "StateDict", "StateMixin", "as_array"]
