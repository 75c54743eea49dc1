"""Operations that users write: forward, backward and jvp as static methods of a class."""

from __future__ import annotations

from collections.abc import Sequence
from functools import wraps
from typing import Any

import numpy as np

from tilegrad.autograd import forward_mode
from tilegrad.autograd.modes import is_grad_enabled, no_grad
from tilegrad.autograd.node import FREED, Missing, Node, Output
from tilegrad.autograd.tensor import Tensor


class NoForwardModeError(NotImplementedError):
    """A Function was written without jvp."""


class FunctionContext:
    """What ``forward`` leaves for ``backward`` and ``jvp``."""

    def __init__(self) -> None:
        self.needs_input_grad: tuple[bool, ...] = ()
        self.materialize_grads = True
        self._to_save: tuple[Any, ...] = ()
        self._non_differentiable: set[int] = set()
        self._dirty: tuple[Tensor, ...] = ()
        self._node: Node | None = None
        self._outside: tuple[Any, ...] = ()

    def save_for_backward(self, *tensors: Tensor | None) -> None:
        """Keep inputs, outputs or other tensors for ``backward`` (as ``ctx.saved_tensors``)."""
        self._to_save = tensors

    save_for_forward = save_for_backward

    def mark_non_differentiable(self, *tensors: Tensor) -> None:
        """Say that these outputs have no gradient."""
        self._non_differentiable.update(id(tensor) for tensor in tensors)

    def mark_dirty(self, *tensors: Tensor) -> None:
        """Refused: in-place functions would have to rewrite the history of their inputs."""
        raise NotImplementedError("mark_dirty: custom functions must not change inputs in place")

    def set_materialize_grads(self, value: bool) -> None:
        """Whether missing cotangents reach ``backward`` as zeros (the default) or as None."""
        self.materialize_grads = value

    @property
    def saved_tensors(self) -> tuple[Any, ...]:
        """The tensors of :meth:`save_for_backward`."""
        if self._node is not None and isinstance(self._node.inputs, Missing):
            self._node.inputs.restore(self._node)
        return tuple(self._restored(entry) for entry in self._outside)

    def _restored(self, entry: Any) -> Any:
        kind, value, version = entry
        if kind == "output":
            index, result = value
            node = self._node
            if node is None:
                tensor = result._bare()
            else:
                tensor = result._bare()
                tensor._requires_grad = True
                tensor._node = Output(node, index, result.shape, result.dtype)
                if type(node.out) is tuple:  # the results as they were, with their tangents
                    tensor._tangents = node.out[index]._tangents
            return tensor
        if kind == "tensor" and value._version is not None and value._version.value != version:
            raise RuntimeError(
                f"a tensor of shape {value.shape} saved for backward was changed in place "
                f"(version {value._version.value}, expected {version}); clone it before"
            )
        return value

    def _store(self, originals: dict[int, Tensor], outputs: Sequence[Tensor]) -> None:
        """Turn what was saved into entries that refer to no output tensor: no reference cycle."""
        places = {id(out): i for i, out in enumerate(outputs)}
        entries: list[Any] = []
        for tensor in self._to_save:
            if tensor is not None and id(tensor) in places:
                index = places[id(tensor)]
                entries.append(("output", (index, tensor._bare()), 0))
            elif isinstance(tensor, Tensor):
                original = originals.get(id(tensor), tensor)
                version = original._version.value if original._version is not None else 0
                entries.append(("tensor", original, version))
            else:
                entries.append(("other", tensor, 0))
        self._outside = tuple(entries)
        self._to_save = ()


class _Call:
    """One application of a :class:`Function`, in the place of an op record."""

    saves_out = True
    discrete = False

    def __init__(self, function: type[Function], args: tuple[Any, ...]) -> None:
        self.function = function
        self.name = function.__name__
        self.args = args
        self.ctx = FunctionContext()
        self.several = False

    def apply_value(self, args: tuple[Any, ...], attrs: dict[str, Any]) -> Any:
        """Run ``forward`` without a graph and record one node for it."""
        ctx = self.ctx
        ctx.needs_input_grad = tuple(isinstance(a, Tensor) and a._requires_grad for a in args)
        inside = [_inside(a) for a in args]
        originals = {id(i): a for i, a in zip(inside, args, strict=True) if isinstance(a, Tensor)}
        function = self.function
        with no_grad():
            if function.setup_context is not Function.setup_context:
                result = function.forward(*inside)
                function.setup_context(ctx, tuple(inside), result)
            else:
                result = function.forward(ctx, *inside)
        self.several = isinstance(result, (tuple, list))
        outputs = tuple(result) if self.several else (result,)
        for position, out in enumerate(outputs):
            if out is not None and not isinstance(out, Tensor):
                raise TypeError(
                    f"{self.name}.forward must return tensors, result {position} is a "
                    f"{type(out).__name__}"
                )
        ctx._store(originals, outputs)
        wrapped = self._record(args, outputs)
        return wrapped if self.several else wrapped[0]

    def _record(self, args: tuple[Any, ...], outputs: tuple[Any, ...]) -> tuple[Any, ...]:
        ctx = self.ctx
        if not (is_grad_enabled() and any(ctx.needs_input_grad)):
            return tuple(None if out is None else out._bare() for out in outputs)
        edges = tuple(
            (a._node if a._node is not None else a) if needs else None
            for a, needs in zip(args, ctx.needs_input_grad, strict=True)
        )
        shapes = tuple((0,) if out is None else out.shape for out in outputs)
        dtypes = tuple(np.dtype(float) if out is None else out.dtype for out in outputs)
        node = Node(self, edges, (), {}, None, shapes, dtypes)
        node.tensor_mode = True
        ctx._node = node
        wrapped: list[Any] = []
        for index, out in enumerate(outputs):
            differentiable = (
                out is not None
                and out._array.dtype.kind == "f"
                and id(out) not in ctx._non_differentiable
            )
            if differentiable:
                tensor = out._bare()
                tensor._requires_grad = True
                tensor._node = Output(node, index, out.shape, out.dtype)
                wrapped.append(tensor)
            else:
                wrapped.append(None if out is None else out._bare())
        return tuple(wrapped)

    def pull(
        self, node: Node, g: Any, positions: Sequence[int], as_tensors: bool
    ) -> list[tuple[int, Any]]:
        """Call the user's ``backward``."""
        if node.inputs is FREED:
            FREED.restore(node)
        cotangents = []
        for part, shape, dtype in zip(g, node.shape, node.dtype, strict=True):
            if part is None and self.ctx.materialize_grads:
                part = np.zeros(shape, dtype)
            if part is not None and not isinstance(part, Tensor):
                part = Tensor(np.asarray(part))
            cotangents.append(part)
        found = self.function.backward(self.ctx, *cotangents)
        gradients = tuple(found) if isinstance(found, (tuple, list)) else (found,)
        count = len(node.edges)
        if len(gradients) < count or any(extra is not None for extra in gradients[count:]):
            raise RuntimeError(
                f"{self.name}.backward returned {len(gradients)} gradients for {count} inputs; "
                "return one per input of forward, None for those without"
            )
        parts = []
        for position in positions:
            gradient = gradients[position]
            if gradient is not None:
                self._check_gradient(position, gradient, node)
                if isinstance(gradient, Tensor) and not (
                    gradient._requires_grad or gradient._tangents is not None
                ):
                    gradient = gradient._array
            parts.append((position, gradient))
        return parts

    def _check_gradient(self, position: int, gradient: Any, node: Node) -> None:
        expected = node.edges[position].shape
        try:
            fits = np.broadcast_shapes(gradient.shape, expected) == gradient.shape
        except ValueError:
            fits = False
        if not fits:
            raise RuntimeError(
                f"{self.name}.backward returned a gradient of shape {gradient.shape} for input "
                f"{position} of shape {expected}"
            )

    def push(
        self, args: tuple[Any, ...], attrs: dict[str, Any], out: Any, tangents: Sequence[Any]
    ) -> Any:
        """Call the user's ``jvp``."""
        found = self.function.jvp(self.ctx, *tangents)
        if self.several and not isinstance(found, (tuple, list)):
            return (found,)
        return tuple(found) if self.several else found


def _inside(value: Any) -> Any:
    """What ``forward`` sees of an argument: its value, without history or tangents."""
    if not isinstance(value, Tensor):
        return value
    if value._batch:
        return value._bare()
    inside = Tensor(value._array)
    inside._version = value._share_version()
    inside._seen = inside._version.value
    return inside


class Function:
    """Base of custom operations, used through :meth:`apply`; the interface is torch's.

    ``forward(ctx, *args)`` computes with tensors (no graph is recorded inside), saves what the
    derivative needs with ``ctx.save_for_backward`` and returns one tensor or several.
    ``backward(ctx, *cotangents)`` returns one gradient per argument. ``jvp(ctx, *tangents)`` is for
    forward mode. With a ``setup_context(ctx, inputs, output)``, ``forward`` takes no ``ctx``.

    >>> import tilegrad as tg
    >>> class Cube(tg.autograd.Function):
    ...     @staticmethod
    ...     def forward(ctx, x):
    ...         ctx.save_for_backward(x)
    ...         return x * x * x
    ...     @staticmethod
    ...     def backward(ctx, g):
    ...         (x,) = ctx.saved_tensors
    ...         return g * 3 * x * x
    >>> x = tg.tensor([2.0], requires_grad=True)
    >>> Cube.apply(x).backward()
    >>> x.grad.item()
    12.0
    """

    @staticmethod
    def forward(*args: Any, **kwargs: Any) -> Any:
        """Compute the result; see the class."""
        raise NotImplementedError("a Function needs a forward")

    @staticmethod
    def setup_context(ctx: FunctionContext, inputs: tuple[Any, ...], output: Any) -> None:
        """Save for backward, where ``forward`` takes no ``ctx``."""
        raise NotImplementedError

    @staticmethod
    def backward(ctx: FunctionContext, *cotangents: Any) -> Any:
        """Turn cotangents of the results into gradients of the arguments."""
        raise NotImplementedError("this Function has no backward")

    vjp = backward

    @staticmethod
    def jvp(ctx: FunctionContext, *tangents: Any) -> Any:
        """Turn tangents of the arguments into tangents of the results."""
        raise NoForwardModeError("this Function has no jvp, which forward mode needs")

    @classmethod
    def apply(cls, *args: Any) -> Any:
        """Run ``forward`` on ``args`` and record it as one node."""
        call = _Call(cls, args)
        if any(isinstance(a, Tensor) and a._tangents is not None for a in args):
            return forward_mode.apply(call, args, {})  # type: ignore[arg-type]
        return call.apply_value(args, {})


def once_differentiable(backward: Any) -> Any:
    """Mark a ``backward`` that cannot be differentiated: its gradients carry no graph."""

    @wraps(backward)
    def wrapped(ctx: Any, *cotangents: Any) -> Any:
        recorded = is_grad_enabled()
        with no_grad():
            found = backward(ctx, *cotangents)
        if recorded and any(ctx.needs_input_grad):
            return _refuse_twice(backward.__qualname__, found)
        return found

    return wrapped


def _refuse_twice(name: str, found: Any) -> Any:
    class Refusal(Function):
        @staticmethod
        def forward(ctx: FunctionContext, anchor: Tensor, value: Tensor) -> Tensor:
            return Tensor(value._array)

        @staticmethod
        def backward(ctx: FunctionContext, *cotangents: Any) -> Any:
            raise RuntimeError(f"{name} is once_differentiable: it has no second derivative")

    def wrap(value: Any) -> Any:
        if not isinstance(value, Tensor):
            return value
        return Refusal.apply(Tensor(np.zeros(()), True), value)

    return tuple(map(wrap, found)) if isinstance(found, (tuple, list)) else wrap(found)
