"""What an operation is: one record of a forward function and its derivative rules.

A rule is a function whose *parameter names* say what it needs, and what it names is what the graph
saves; the names are listed in :mod:`tilegrad.autograd.rules`. A rule that yields several gradients
at once stands under their names in one key, ``"x weight bias"``, and returns a tuple (None where
there is no gradient); as a jvp rule it gets the tuple of tangents.

Rules are written in operations. Called with arrays they run straight on kernels; called with
tensors they are recorded and differentiate again. A rule may return a gradient that still has the
broadcast shape or another floating dtype: the engine brings every gradient to the shape and dtype
of its edge.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from types import MethodType
from typing import Any

import numpy as np

from tilegrad import _native
from tilegrad.autograd import forward_mode, recording, rules
from tilegrad.autograd.node import Node, Output, Version
from tilegrad.autograd.rules import Rule
from tilegrad.autograd.tensor import Tensor, edge_of
from tilegrad.autograd.vector_space import vector_space
from tilegrad.kernels.failure import KINDS, raise_retold

#: Every operation by name. Tests walk it: an op without rule or test row cannot exist.
OPS: dict[str, Op] = {}


class Op(_native.OpBase):
    """An operation on tensors: ``forward`` on arrays, and how derivatives pass through it.

    Args:
        name: unique name, used in errors, graphs and tests.
        forward: the function on arrays, usually a kernel. Its leading parameters are the inputs,
            the others are attributes.
        inputs: names of the inputs; ``"*"`` for an operation on any number of tensors, whose
            attributes are keyword-only.
        vjp: for each differentiable input, the rule that turns ``g`` into its gradient. For a
            ``"*"`` operation the single rule under ``"*"``.
        jvp: ``"elementwise"`` (the Jacobian is diagonal: the vjp rules serve, fed with tangents),
            ``"linear"`` (jointly linear in all differentiable inputs: the operation itself, on
            tangents), ``"multilinear"`` (linear in each: the sum over inputs of the operation with
            that input replaced by its tangent), or one rule of ``t`` per input.
        view: the result may share memory with the first input.
        promotes: inputs of different dtypes are brought to a common one first; ``"float"``: to a
            floating one.
        discrete: the result is piecewise constant or not floating: no gradient flows, by nature.
        batch: how :func:`tilegrad.func.vmap` applies it; see :mod:`tilegrad.autograd.batching`.
        outputs: names of several results, by which rules can ask for one of them alone.
    """

    def __init__(
        self,
        name: str,
        forward: Callable[..., Any],
        *,
        inputs: str | Sequence[str],
        vjp: Mapping[str, Rule] | None = None,
        jvp: str | Mapping[str, Rule] | None = None,
        view: bool = False,
        promotes: bool | str = False,
        discrete: bool = False,
        batch: Any = None,
        doc: str | None = None,
        outputs: Sequence[str] = (),
    ) -> None:
        if name in OPS:
            raise ValueError(f"operation {name!r} is defined twice")
        self.name = self.__name__ = name
        self.__doc__ = doc or forward.__doc__
        self.forward = forward
        self.variadic = inputs == "*"
        self.inputs: tuple[str, ...] = () if self.variadic else tuple(inputs)
        self.arity = -1 if self.variadic else len(self.inputs)
        self.outputs = tuple(outputs)
        self.view = view
        self.promotes = promotes
        self._promotes = bool(promotes)
        self.discrete = discrete
        self._read_attributes()
        # one input and an axis: the batched form is plain; see tilegrad.ops.batched
        self.batch = "axis" if batch is None and self._has_axis() else batch
        self.vjp_rules = dict(vjp or {})
        self.jvp_kind = jvp if isinstance(jvp, str) else "rules"
        self.jvp_rules: dict[str, Rule] = (
            self.vjp_rules
            if jvp == "elementwise"
            else {}
            if isinstance(jvp, str)
            else dict(jvp or {})
        )
        self._vjp = rules.plans(self, self.vjp_rules)
        self._jvp = rules.plans(self, self.jvp_rules)
        self._choose_saved()
        self._native_rules = None if self.variadic else rules.native_form(self._vjp)
        OPS[name] = self

    # ---- reading the record -----------------------------------------------------------------
    def _read_attributes(self) -> None:
        found = list(rules.parameters(self.forward).items())
        skipped = max(self.arity, 0)  # a "*" operation has keyword-only parameters alone
        self.attributes = tuple(name for name, _ in found[skipped:] if name != "out")
        self.defaults = {
            name: default
            for name, default in found[skipped:]
            if default is not inspect.Parameter.empty and name != "out"
        }

    def _has_axis(self) -> bool:
        return self.arity == 1 and "axis" in self.attributes

    def _choose_saved(self) -> None:
        """Decide from the vjp rules which inputs and results a node saves."""
        sources = set()
        for position, plan in enumerate(self._vjp):
            for kind, key in plan.sources if plan else ():
                # The shape of an input is that of its own edge; for another's the input is kept.
                own = kind == "shape" and (key == position or plan.part is not None)  # type: ignore[union-attr]
                sources.add(("input", key) if kind == "shape" and not own else (kind, key))
        kinds = {kind for kind, _ in sources}
        self.saves_out = bool(kinds & {"out", "result"})
        self._saved_results = tuple(
            "out" in kinds or ("result", i) in sources for i in range(len(self.outputs))
        )
        kept = self._saved_results if self.outputs else (True,) * 32
        self._saved_out_bits = sum(1 << i for i, saved in enumerate(kept) if saved)
        self.saves_inputs = bool(kinds & {"input", "inputs"})
        self._saved_mask = tuple(("input", i) in sources for i in range(len(self.inputs)))
        self._saved_bits = sum(1 << i for i, saved in enumerate(self._saved_mask) if saved)
        self._rule_bits = sum(1 << i for i, plan in enumerate(self._vjp) if plan)

    #: Whether the result may be found as a limit: see :mod:`tilegrad.autograd.expansion`.
    is_limit = False

    def has_vjp(self, position: int) -> bool:
        """Whether there is a derivative rule for input ``position``."""
        return self._vjp[0 if self.variadic else position] is not None

    # ---- calling ----------------------------------------------------------------------------
    def bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        """Sort a call into its inputs and its attributes, defaults filled in."""
        if self.variadic:
            return args, {**self.defaults, **kwargs}
        extra = args[self.arity :]
        inputs = list(args[: self.arity])
        attrs = dict(self.defaults)
        if len(extra) > len(self.attributes):
            raise TypeError(
                f"{self.name} takes at most {self.arity + len(self.attributes)} arguments, "
                f"{len(args)} were given"
            )
        attrs.update(zip(self.attributes, extra, strict=False))
        inputs.extend(kwargs.pop(name, None) for name in self.inputs[len(inputs) :])
        for name, value in kwargs.items():
            if name not in self.attributes:
                raise TypeError(f"{self.name} has no argument {name!r}")
            attrs[name] = value
        return tuple(inputs), attrs

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        """An operation that stands in a class is a method of its tensors."""
        return self if instance is None else MethodType(self, instance)

    def _call(self, *args: Any, **kwargs: Any) -> Any:
        """The call in Python, for whatever the native one leaves: see cpp/bindings/op.cpp."""
        if kwargs or len(args) != self.arity:
            args, attrs = self.bind(args, kwargs)
        else:
            attrs = self.defaults
        arrays = []
        found = needs_grad = special = mixed = False
        dtype = None
        for value in args:
            if isinstance(value, Tensor):
                found = True
                array = value._array
                if value._requires_grad:
                    needs_grad = True
                if value._tangents is not None:
                    special = True
                if dtype is not array.dtype:
                    if dtype is not None:
                        mixed = True
                    dtype = array.dtype
                arrays.append(array)
            else:
                if type(value) is not float and type(value) is not int:
                    mixed = True
                arrays.append(value)
        if not found:
            return self._forward(args, attrs)
        if special:
            return forward_mode.apply(self, args, attrs)
        if self.promotes and (mixed or dtype.kind != "f"):  # type: ignore[union-attr]
            arrays = vector_space.promote(args, self.promotes == "float")
        return self._record(args, attrs, self._forward(arrays, attrs), needs_grad)

    def _forward(self, arrays: Sequence[Any], attrs: dict[str, Any]) -> Any:
        recorder = recording.current()
        if recorder is not None:
            return recorder.forward(self, arrays, attrs)
        try:
            return self.forward(*arrays, **attrs)
        except KINDS as error:
            raise_retold(error, self.name, arrays)

    def apply_value(self, args: tuple[Any, ...], attrs: dict[str, Any]) -> Any:
        """The result and its graph node for ``args``, whatever tangents they carry."""
        for value in args:
            if isinstance(value, Tensor) and value._interpret is not None:
                return value._interpret(self, args, attrs)
        arrays = (
            vector_space.promote(args, self.promotes == "float")
            if self.promotes
            else [value._array if isinstance(value, Tensor) else value for value in args]
        )
        needs_grad = any(isinstance(value, Tensor) and value._requires_grad for value in args)
        return self._record(args, attrs, self._forward(arrays, attrs), needs_grad)

    def _record(
        self, args: tuple[Any, ...], attrs: dict[str, Any], out: Any, needs_grad: bool
    ) -> Any:
        """Wrap ``out`` and, if gradients may be asked for, remember how it was computed."""
        several = type(out) is tuple
        if needs_grad and _native.is_grad_enabled() and not self.discrete:
            node = self._node(args, attrs, out, several)
        else:
            node = None
        if several:
            return tuple(self._wrap_output(node, i, value, args) for i, value in enumerate(out))
        if type(out) is not np.ndarray:
            out = np.asarray(out)
        if node is not None and out.dtype.kind == "f":
            tensor = Tensor(out, True, node)
            if node.out_version is not None:
                tensor._version = node.out_version
        else:
            tensor = Tensor(out)
        if self.view:
            _share_memory(args[0], tensor)
        return tensor

    def attach(self, args: tuple[Any, ...], attrs: dict[str, Any], out: Any) -> Any:
        """Give ``out``, tensors of a subclass that stands for other values, their graph node."""
        needs_grad = any(isinstance(value, Tensor) and value._requires_grad for value in args)
        if self.discrete or not needs_grad or not _native.is_grad_enabled():
            return out
        several = type(out) is tuple
        node = self._node(args, attrs, out, several)
        attached = []
        for index, value in enumerate(out if several else (out,)):
            tensor = value._bare()  # the node may keep ``value``: a cycle, if that had the edge
            if value.dtype.kind == "f":
                tensor._requires_grad = True
                tensor._node = Output(node, index, value.shape, value.dtype) if several else node
            attached.append(tensor)
        return tuple(attached) if several else attached[0]

    def _node(self, args: tuple[Any, ...], attrs: dict[str, Any], out: Any, several: bool) -> Node:
        edges = []
        versions: list[int] | None = None
        tensor_mode = False
        for position, value in enumerate(args):
            edge = None
            if isinstance(value, Tensor):
                if value._version is not None:
                    value._check_current()
                    if versions is None:
                        versions = [0] * len(args)
                    versions[position] = value._version.value
                if value._requires_grad:
                    if not self.has_vjp(position):
                        raise NotImplementedError(
                            f"{self.name} has no derivative for its input "
                            f"{self.inputs[position] if self.inputs else position!r}, "
                            "which requires one; detach it if none is meant"
                        )
                    edge = value._node
                    if edge is None:
                        edge = value
                if value._tangents is not None:
                    tensor_mode = True
            edges.append(edge)
        if self.variadic:
            attrs = {**attrs, "input_shapes": tuple(rules.shape_of(value) for value in args)}
        saved: Any = None
        if self.saves_inputs:
            saved = (
                args
                if self.variadic
                else tuple(
                    value if keep else None
                    for value, keep in zip(args, self._saved_mask, strict=True)
                )
            )
        if several:
            shape: Any = tuple(np.shape(value) for value in out)
            dtype: Any = tuple(
                value.dtype if isinstance(value, Tensor) else np.asarray(value).dtype
                for value in out
            )
        else:
            shape, dtype = out.shape, out.dtype
        node = Node(self, tuple(edges), saved, attrs, self._saved_part(out), shape, dtype)
        if versions is not None and self.saves_inputs:
            node.versions = tuple(versions)
        if self.saves_out:
            node.out_version = Version()
        node.tensor_mode = tensor_mode
        return node

    def _saved_part(self, out: Any) -> Any:
        """What of the result the rules ask for."""
        if not self.saves_out:
            return None
        if not self.outputs or all(self._saved_results):
            return out
        return tuple(
            value if keep else None for value, keep in zip(out, self._saved_results, strict=True)
        )

    def _wrap_output(self, node: Node | None, index: int, value: Any, args: Any) -> Tensor:
        array = value if type(value) is np.ndarray else np.asarray(value)
        if node is None or array.dtype.kind != "f":
            tensor = Tensor(array)
        else:
            tensor = Tensor(array, True, Output(node, index, array.shape, array.dtype))
            if node.out_version is not None and node.out[index] is not None:
                tensor._version = node.out_version
        if self.view:
            _share_memory(args[0], tensor)
        return tensor

    def __repr__(self) -> str:
        return f"<op {self.name}>"

    # ---- derivatives ------------------------------------------------------------------------
    def pull(
        self, node: Node, g: Any, positions: Sequence[int], as_tensors: bool
    ) -> list[tuple[int, Any]]:
        """The gradients of the inputs at ``positions`` from the cotangent ``g`` of the result."""
        parts = []
        joint: dict[Rule, Any] = {}
        for position in positions:
            plan = self._vjp[0 if self.variadic else position]
            assert plan is not None
            if plan.part is None:
                part = plan.rule(*rules.pull_values(plan, node, g, (position,), as_tensors))
            else:
                if plan.rule not in joint:
                    values = rules.pull_values(plan, node, g, positions, as_tensors)
                    joint[plan.rule] = plan.rule(*values)
                part = joint[plan.rule][plan.part]
            parts.append((position, part))
        return parts

    def push(
        self, args: tuple[Any, ...], attrs: dict[str, Any], out: Any, tangents: Sequence[Any]
    ) -> Any:
        """The tangent of ``out`` from the tangents of the inputs (None where there is none)."""
        if self.discrete:
            return None
        if self.jvp_kind == "linear":
            filled = [
                tangent if tangent is not None else _zeros_like(value)
                for value, tangent in zip(args, tangents, strict=True)
            ]
            return self(*filled, **attrs)
        total: Any = None
        joint: set[Rule] = set()
        for position, tangent in enumerate(tangents):
            if tangent is None:
                continue
            if self.jvp_kind == "multilinear":
                part = self(*args[:position], tangent, *args[position + 1 :], **attrs)
            else:
                plan = self._jvp[0 if self.variadic else position]
                if plan is None:
                    raise NotImplementedError(f"{self.name} has no jvp rule for input {position}")
                if plan.part is not None:
                    if plan.rule in joint:
                        continue
                    joint.add(plan.rule)
                    tangent = tuple(
                        t
                        for t, other in zip(tangents, self._jvp, strict=True)
                        if other is not None and other.rule is plan.rule
                    )
                part = plan.rule(*rules.push_values(plan, position, tangent, args, attrs, out))
                if self.jvp_kind == "elementwise" and part.shape != out.shape:
                    part = vector_space.expand(part, out.shape)
            total = part if total is None else _add_tangents(total, part)
        return total


def _zeros_like(value: Any) -> Any:
    if value is None:
        return None
    if isinstance(value, Tensor):
        return Tensor(np.zeros(value.shape, value.dtype))
    return Tensor(np.zeros_like(value))


def _add_tangents(a: Any, b: Any) -> Any:
    if isinstance(a, tuple):
        return tuple(
            y if x is None else x if y is None else vector_space.add(x, y)
            for x, y in zip(a, b, strict=True)
        )
    return vector_space.add(a, b)


def _share_memory(source: Any, result: Tensor) -> None:
    """Let a view and its source count in-place changes together."""
    if isinstance(source, Tensor) and np.may_share_memory(source._array, result._array):
        result._version = source._share_version()
        result._seen = result._version.value
        result._base = source if source._base is None else source._base


__all__ = ["OPS", "Op", "edge_of", "vector_space"]
