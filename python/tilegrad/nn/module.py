"""The base class of layers and networks, with torch's interface."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Self

import numpy as np

from tilegrad.autograd.recording import opaque
from tilegrad.autograd.tensor import Tensor
from tilegrad.nn.hooks import BackwardHooks, RemovableHandle
from tilegrad.nn.location import raise_located
from tilegrad.nn.parameter import Buffer, Parameter, UninitializedBuffer, UninitializedParameter
from tilegrad.nn.state import IncompatibleKeys, StateMixin


class Module(StateMixin):
    """Base class of everything that has parameters and a ``forward``.

    Parameters, buffers and modules assigned as attributes are registered under the attribute's
    name. Calling the module runs its hooks and ``forward``.

    >>> import tilegrad as tg
    >>> class Double(tg.nn.Module):
    ...     def forward(self, x):
    ...         return x * 2
    >>> Double()(tg.tensor([1.0])).item()
    2.0
    """

    training: bool
    _parameters: dict[str, Parameter | None]
    _buffers: dict[str, Tensor | None]
    _modules: dict[str, Module | None]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if args or kwargs:
            given = [*map(repr, args), *(f"{k}={v!r}" for k, v in kwargs.items())]
            raise TypeError(
                f"{type(self).__name__}: Module.__init__ takes no arguments, got "
                f"{', '.join(given)}"
            )
        put = super().__setattr__
        put("training", True)
        put("_parameters", {})
        put("_buffers", {})
        put("_modules", {})
        put("_non_persistent_buffers", set())
        put("_forward_hooks", OrderedDict())
        put("_forward_pre_hooks", OrderedDict())
        put("_backward_hooks", OrderedDict())
        put("_backward_pre_hooks", OrderedDict())
        put("_state_dict_hooks", OrderedDict())
        put("_state_dict_pre_hooks", OrderedDict())
        put("_load_state_dict_pre_hooks", OrderedDict())
        put("_load_state_dict_post_hooks", OrderedDict())
        #: True once any hook of a call was ever registered: calls without hooks skip the checks.
        put("_hooked", False)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Compute the module's result; subclasses define it."""
        raise NotImplementedError(f"{type(self).__name__} has no forward")

    # ---- calling ----------------------------------------------------------------------------
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        try:
            if not self._hooked:
                return self.forward(*args, **kwargs)
            return self._call_with_hooks(args, kwargs)
        except Exception as error:
            raise_located(error, self, args, kwargs)

    def _call_with_hooks(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        for hook, with_kwargs in list(self._forward_pre_hooks.values()):
            if with_kwargs:
                found = hook(self, args, kwargs)
                if found is not None:
                    args, kwargs = found
            else:
                found = hook(self, args)
                if found is not None:
                    args = found if isinstance(found, tuple) else (found,)
        backward = None
        if self._backward_hooks or self._backward_pre_hooks:
            backward = BackwardHooks(
                self, list(self._backward_hooks.values()), list(self._backward_pre_hooks.values())
            )
            args = backward.wrap_inputs(args)
        always = [entry for entry in self._forward_hooks.values() if entry[2]]
        try:
            result = self.forward(*args, **kwargs)
            for hook, with_kwargs, _ in list(self._forward_hooks.values()):
                found = (
                    hook(self, args, kwargs, result) if with_kwargs else hook(self, args, result)
                )
                if found is not None:
                    result = found
        except Exception:
            for hook, with_kwargs, _ in always:
                if with_kwargs:
                    hook(self, args, kwargs, None)
                else:
                    hook(self, args, None)
            raise
        return result if backward is None else backward.wrap_output(result)

    def register_forward_pre_hook(
        self, hook: Callable[..., Any], *, prepend: bool = False, with_kwargs: bool = False
    ) -> RemovableHandle:
        """Call ``hook(module, args)`` before forward; it may return new arguments."""
        self._hooked = True
        return RemovableHandle(self._forward_pre_hooks, prepend=prepend).add((hook, with_kwargs))

    def register_forward_hook(
        self,
        hook: Callable[..., Any],
        *,
        prepend: bool = False,
        with_kwargs: bool = False,
        always_call: bool = False,
    ) -> RemovableHandle:
        """Call ``hook(module, args, output)`` after forward; it may return a new output."""
        self._hooked = True
        handle = RemovableHandle(self._forward_hooks, prepend=prepend)
        return handle.add((hook, with_kwargs, always_call))

    def register_full_backward_hook(
        self, hook: Callable[..., Any], prepend: bool = False
    ) -> RemovableHandle:
        """Call ``hook(module, grad_input, grad_output)``; it may return new input gradients."""
        self._hooked = True
        return RemovableHandle(self._backward_hooks, prepend=prepend).add(hook)

    register_backward_hook = register_full_backward_hook

    def register_full_backward_pre_hook(
        self, hook: Callable[..., Any], prepend: bool = False
    ) -> RemovableHandle:
        """Call ``hook(module, grad_output)`` first; it may return new output gradients."""
        self._hooked = True
        return RemovableHandle(self._backward_pre_hooks, prepend=prepend).add(hook)

    # ---- attributes -------------------------------------------------------------------------
    def __setattr__(self, name: str, value: Any) -> None:
        entries = self.__dict__
        if isinstance(value, (Parameter, Module, Buffer)):
            if "_modules" not in entries:
                raise AttributeError(
                    f"assign {name!r} after super().__init__() of {type(self).__name__}"
                )
            entries.pop(name, None)
            for registry in (self._parameters, self._buffers, self._modules):
                registry.pop(name, None)
            if isinstance(value, Parameter):
                self._parameters[name] = value
            elif isinstance(value, Module):
                self._modules[name] = value
            else:
                self.register_buffer(name, value, value.persistent)
            return
        kinds: tuple[tuple[Any, str], ...] = (
            (entries.get("_parameters"), "a Parameter"),
            (entries.get("_modules"), "a Module"),
            (entries.get("_buffers"), "a tensor"),
        )
        for table, kind in kinds:
            if table and name in table:
                allowed = value is None or (kind == "a tensor" and isinstance(value, Tensor))
                if not allowed:
                    raise TypeError(
                        f"{type(self).__name__}.{name} is registered: assign {kind} or None, not "
                        f"{type(value).__name__}"
                    )
                table[name] = value
                return
        super().__setattr__(name, value)

    def __getattr__(self, name: str) -> Any:
        entries = self.__dict__
        for registry in ("_parameters", "_buffers", "_modules"):
            found = entries.get(registry)
            if found is not None and name in found:
                return found[name]
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __delattr__(self, name: str) -> None:
        for registry in (self._parameters, self._buffers, self._modules):
            if name in registry:
                del registry[name]
                self._non_persistent_buffers.discard(name)
                return
        super().__delattr__(name)

    def __dir__(self) -> list[str]:
        names = {*super().__dir__(), *self._parameters, *self._buffers, *self._modules}
        return sorted(name for name in names if name.isidentifier())

    def _check_new_name(self, name: str, registry: Mapping[str, Any], what: str) -> None:
        if "_parameters" not in self.__dict__:
            raise AttributeError(
                f"register {what} {name!r} after super().__init__() of {type(self).__name__}"
            )
        if not isinstance(name, str):
            raise TypeError(f"the name of a {what} must be a string, not {type(name).__name__}")
        if "." in name or not name:
            raise KeyError(f"the name of a {what} must not be empty nor contain a dot: {name!r}")
        if hasattr(self, name) and name not in registry:
            raise KeyError(f"attribute {name!r} already exists in {type(self).__name__}")

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """List ``param`` under ``name``; None keeps the name without a parameter."""
        self._check_new_name(name, self._parameters, "parameter")
        if param is not None and not isinstance(param, Parameter):
            raise TypeError(
                f"register_parameter {name!r}: needs a Parameter or None, not "
                f"{type(param).__name__}; wrap it in tg.nn.Parameter"
            )
        if param is not None and param.grad_fn is not None:
            raise ValueError(
                f"register_parameter {name!r}: a parameter must be a leaf, this one was computed"
            )
        self._parameters[name] = param

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """List ``tensor`` as state that does not learn; persistent ones join the state dict."""
        self._check_new_name(name, self._buffers, "buffer")
        if tensor is not None and not isinstance(tensor, Tensor):
            raise TypeError(
                f"register_buffer {name!r}: needs a tensor or None, not {type(tensor).__name__}"
            )
        self._buffers[name] = tensor
        if persistent:
            self._non_persistent_buffers.discard(name)
        else:
            self._non_persistent_buffers.add(name)

    def add_module(self, name: str, module: Module | None) -> None:
        """List ``module`` as a child under ``name``."""
        if module is not None and not isinstance(module, Module):
            raise TypeError(f"add_module {name!r}: {type(module).__name__} is not a Module")
        self._check_new_name(name, self._modules, "module")
        self._modules[name] = module

    register_module = add_module

    # ---- walking ----------------------------------------------------------------------------
    def named_modules(
        self, memo: set[Any] | None = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Module]]:
        """This module and all below it, with dotted names, parents first."""
        seen: set[Any] = set() if memo is None else memo
        if self in seen:
            return
        if remove_duplicate:
            seen.add(self)
        yield prefix, self
        for name, module in self._modules.items():
            if module is not None:
                below = f"{prefix}.{name}" if prefix else name
                yield from module.named_modules(seen, below, remove_duplicate)

    def modules(self) -> Iterator[Module]:
        """This module and all below it."""
        for _, module in self.named_modules():
            yield module

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """Direct children with their names, each once."""
        seen: set[Module] = set()
        for name, module in self._modules.items():
            if module is not None and module not in seen:
                seen.add(module)
                yield name, module

    def children(self) -> Iterator[Module]:
        """Direct children."""
        for _, module in self.named_children():
            yield module

    def _named_members(
        self, registry: str, prefix: str, recurse: bool, remove_duplicate: bool
    ) -> Iterator[tuple[str, Any]]:
        seen: set[int] = set()
        modules = (
            self.named_modules(prefix=prefix, remove_duplicate=remove_duplicate)
            if recurse
            else [(prefix, self)]
        )
        for path, module in modules:
            for name, value in getattr(module, registry).items():
                if value is None or (remove_duplicate and id(value) in seen):
                    continue
                seen.add(id(value))
                yield (f"{path}.{name}" if path else name), value

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """Parameters with dotted names; shared ones once."""
        return self._named_members("_parameters", prefix, recurse, remove_duplicate)

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """Parameters of this module and, with ``recurse``, of all below it."""
        for _, parameter in self.named_parameters(recurse=recurse):
            yield parameter

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Tensor]]:
        """Buffers with dotted names."""
        return self._named_members("_buffers", prefix, recurse, remove_duplicate)

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """Buffers of this module and, with ``recurse``, of all below it."""
        for _, buffer in self.named_buffers(recurse=recurse):
            yield buffer

    def get_submodule(self, target: str) -> Module:
        """The module at a dotted path; the empty path is this module."""
        module: Module = self
        for name in target.split(".") if target else ():
            found = module._modules.get(name)
            if found is None:
                raise AttributeError(
                    f"{type(module).__name__} has no submodule {name!r} (of path {target!r})"
                )
            module = found
        return module

    def _get_member(self, target: str, registry: str, what: str) -> Any:
        path, _, name = target.rpartition(".")
        members = getattr(self.get_submodule(path), registry)
        if name not in members:
            raise AttributeError(f"{type(self).__name__} has no {what} {target!r}")
        return members[name]

    def get_parameter(self, target: str) -> Parameter:
        """The parameter at a dotted path."""
        return self._get_member(target, "_parameters", "parameter")  # type: ignore[no-any-return]

    def get_buffer(self, target: str) -> Tensor:
        """The buffer at a dotted path."""
        return self._get_member(target, "_buffers", "buffer")  # type: ignore[no-any-return]

    # ---- changing all of it -----------------------------------------------------------------
    def apply(self, fn: Callable[[Module], Any]) -> Self:
        """Call ``fn`` on every module below and then on this one."""
        for module in self.children():
            module.apply(fn)
        fn(self)
        return self

    def train(self, mode: bool = True) -> Self:
        """Set training mode (dropout drops, batch norm takes batch statistics) everywhere below."""
        if not isinstance(mode, bool):
            raise ValueError("train: mode must be a bool")
        self.training = mode
        for module in self.children():
            module.train(mode)
        return self

    def eval(self) -> Self:
        """Set evaluation mode everywhere below."""
        return self.train(False)

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Let all parameters learn, or hold them."""
        for parameter in self.parameters():
            parameter.requires_grad = requires_grad
        return self

    @opaque
    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drop the gradients of all parameters, or fill them with zeros."""
        for parameter in self.parameters():
            clear_gradient(parameter, set_to_none)

    def _convert(self, dtype: Any) -> Self:
        """Bring floating parameters and buffers to ``dtype``, in place of their old memory."""
        wanted = np.dtype(dtype)
        if wanted.kind != "f":
            raise TypeError(f"to: parameters can take floating dtypes only, not {wanted}")
        for module in self.modules():
            for values in (module._parameters.values(), module._buffers.values()):
                for value in values:
                    if value is None or value._array.dtype.kind != "f":
                        continue
                    if value._array.dtype != wanted:
                        value._array = value._array.astype(wanted)
                        value._bump_version()
                    if value.grad is not None and value.grad._array.dtype != wanted:
                        value.grad = Tensor(value.grad._array.astype(wanted))
        return self

    def to(self, *args: Any, dtype: Any = None, **ignored: Any) -> Self:
        """Convert floating parameters and buffers to a dtype (or to that of a tensor).

        torch's ``device``, ``non_blocking`` and ``memory_format`` are accepted where they mean the
        CPU, and change nothing.
        """
        for name in ignored:
            if name not in ("device", "non_blocking", "memory_format", "copy"):
                raise TypeError(f"to: unknown argument {name!r}")
        for value in (*args, ignored.get("device")):
            if value is None or isinstance(value, bool):
                continue
            if isinstance(value, Tensor):
                dtype = value.dtype
            elif str(value).split(":")[0] == "cpu":
                continue
            elif isinstance(value, str) and value.split(":")[0] in ("cuda", "mps", "meta", "xpu"):
                raise ValueError(f"to: there is no device {value!r}; tilegrad computes on the CPU")
            else:
                dtype = value
        return self if dtype is None else self._convert(dtype)

    def float(self) -> Self:
        """Convert floating parameters and buffers to float32."""
        return self._convert(np.float32)

    def double(self) -> Self:
        """Convert floating parameters and buffers to float64."""
        return self._convert(np.float64)

    def half(self) -> Self:
        """Convert floating parameters and buffers to float16, which runs on the NumPy twins."""
        return self._convert(np.float16)

    def type(self, dst_type: Any) -> Self:
        """Convert floating parameters and buffers to ``dst_type``."""
        return self._convert(dst_type)

    def cpu(self) -> Self:
        """This module, which is on the CPU already."""
        return self

    def share_memory(self) -> Self:
        """This module: threads share its memory as it is."""
        return self

    # ---- showing ----------------------------------------------------------------------------
    def extra_repr(self) -> str:
        """What stands between the parentheses of the module's line."""
        return ""

    def _get_name(self) -> str:
        return type(self).__name__

    def __repr__(self) -> str:
        extra = self.extra_repr().split("\n") if self.extra_repr() else []
        children = []
        for name, module in self._modules.items():
            lines = repr(module).split("\n")
            children.append(f"({name}): " + "\n  ".join(lines))
        head = self._get_name() + "("
        if len(extra) == 1 and not children:
            return head + extra[0] + ")"
        if not extra and not children:
            return head + ")"
        return head + "\n  " + "\n  ".join([*extra, *children]) + "\n)"

    # ---- copying ----------------------------------------------------------------------------
    def __setstate__(self, entries: dict[str, Any]) -> None:
        self.__dict__.update(entries)


def clear_gradient(parameter: Tensor, set_to_none: bool) -> None:
    """Drop a gradient, or fill it with zeros and cut it from its graph."""
    if parameter.grad is None:
        return
    if set_to_none:
        parameter.grad = None
    elif parameter.grad._requires_grad:
        parameter.grad = Tensor(np.zeros_like(parameter.grad._array))
    else:
        parameter.grad._array[...] = 0


__all__ = [
    "IncompatibleKeys",
    "Module",
    "RemovableHandle",
    "UninitializedBuffer",
    "UninitializedParameter",
    "clear_gradient",
]
