"""What an operation is: one record of a forward function and its derivative rules.

A rule is a function whose *parameter names* say what it needs, and what it names is what the graph
saves:

``g``            the cotangent of the result (a tuple of them, with None, for several results)
``t``            in a jvp rule, the tangent of the input
``out``          the result
``x``            an input, by its name in the record
``x_shape``      the shape of an input, without keeping its values
``y``            one of several results, by its name in ``outputs``
``needs``        for a rule of several inputs, which of their gradients are asked for: bools
``inputs``       all inputs, in an operation that takes any number of them; ``i`` is the position
anything else    an attribute (axis, stride, ...) by its name in the forward function

A rule that yields several gradients at once stands under their names in one key,
``"x weight bias"``, and returns a tuple (None where there is no gradient); as a jvp rule it gets
the tuple of tangents.

Rules are written in operations. Called with arrays they run straight on kernels; called with
tensors they are recorded and differentiate again. A rule may return a gradient that still has the
broadcast shape or another floating dtype: the engine brings every gradient to the shape and dtype
of its edge.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from tilegrad.autograd import forward_mode
from tilegrad.autograd.modes import state
from tilegrad.autograd.node import Missing, Node, Output, Version
from tilegrad.autograd.tensor import Tensor, edge_of

Rule = Callable[..., Any]

#: Every operation by name. Tests walk it: an op without rule or test row cannot exist.
OPS: dict[str, Op] = {}


class _Plan(NamedTuple):
    """How a rule is called: where its arguments come from, which part of its result is meant."""

    rule: Rule
    sources: tuple[tuple[str, Any], ...]
    part: int | None


class Op:
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
        batch: how :func:`tilegrad.func.vmap` applies it; see there.
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
        self.discrete = discrete
        self.batch = batch
        self._bind_attributes(forward)
        self.vjp_rules = dict(vjp or {})
        self.jvp_rules: dict[str, Rule] = {}
        self.jvp_kind = "rules"
        if isinstance(jvp, str):
            self.jvp_kind = jvp
            if jvp == "elementwise":
                self.jvp_rules = self.vjp_rules
        elif jvp is not None:
            self.jvp_rules = dict(jvp)
        self._vjp = self._plans(self.vjp_rules)
        self._jvp = self._plans(self.jvp_rules)
        sources = [source for plan in self._vjp if plan for source in plan.sources]
        named = {kind for kind, _ in sources}
        self.saves_out = "out" in named or "result" in named
        #: Of several results, which are saved.
        self._saved_results = tuple(
            "out" in named or ("result", i) in sources for i in range(len(self.outputs))
        )
        self.saves_inputs = "input" in named or "inputs" in named
        self._saved_mask = tuple(("input", i) in sources for i in range(len(self.inputs)))
        OPS[name] = self

    # ---- reading the record -----------------------------------------------------------------
    def _bind_attributes(self, forward: Callable[..., Any]) -> None:
        parameters = list(inspect.signature(forward).parameters.values())
        if self.variadic:
            parameters = [p for p in parameters if p.kind is p.KEYWORD_ONLY]
        else:
            parameters = parameters[self.arity :]
        self.attributes = tuple(p.name for p in parameters if p.name != "out")
        self.defaults = {
            p.name: p.default for p in parameters if p.default is not p.empty and p.name != "out"
        }

    def _plans(self, rules: Mapping[str, Rule]) -> tuple[_Plan | None, ...]:
        """One plan per input; a rule for several inputs gives each of them its part."""
        if self.variadic:
            return (_Plan(rules["*"], self._sources(rules["*"]), None) if rules else None,)
        plans: dict[str, _Plan] = {}
        for key, rule in rules.items():
            names = key.split()
            for name in names:
                if name not in self.inputs:
                    raise TypeError(f"{self.name}: rule for {name!r}, which is no input")
            sources = self._sources(rule, tuple(map(self.inputs.index, names)))
            for part, name in enumerate(names):
                plans[name] = _Plan(rule, sources, part if len(names) > 1 else None)
        return tuple(plans.get(name) for name in self.inputs)

    def _sources(self, rule: Rule, positions: tuple[int, ...] = ()) -> tuple[tuple[str, Any], ...]:
        """Where each parameter of ``rule``, which serves the inputs at ``positions``, comes from."""
        sources: list[tuple[str, Any]] = []
        for name in inspect.signature(rule).parameters:
            if name in ("g", "t"):
                sources.append(("g", None))
            elif name in ("out", "inputs", "i"):
                sources.append((name, None))
            elif name in self.inputs:
                sources.append(("input", self.inputs.index(name)))
            elif name.endswith("_shape") and name[:-6] in self.inputs:
                sources.append(("shape", self.inputs.index(name[:-6])))
            elif name == "input_shapes":
                sources.append(("shapes", None))
            elif name in self.attributes:
                sources.append(("attribute", name))
            elif name in self.outputs:
                sources.append(("result", self.outputs.index(name)))
            elif name == "needs":
                sources.append(("needs", positions))
            else:
                raise TypeError(f"rule of {self.name}: cannot provide a parameter {name!r}")
        return tuple(sources)

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

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
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
            return self.forward(*args, **attrs)
        if special:
            return forward_mode.apply(self, args, attrs)
        if self.promotes and (mixed or dtype.kind != "f"):  # type: ignore[union-attr]
            arrays = promote(args, self.promotes == "float")
        return self._record(args, attrs, self.forward(*arrays, **attrs), needs_grad)

    def apply_value(self, args: tuple[Any, ...], attrs: dict[str, Any]) -> Any:
        """The result and its graph node for ``args``, whatever tangents they carry."""
        arrays = (
            promote(args, self.promotes == "float")
            if self.promotes
            else [value._array if isinstance(value, Tensor) else value for value in args]
        )
        needs_grad = any(isinstance(value, Tensor) and value._requires_grad for value in args)
        return self._record(args, attrs, self.forward(*arrays, **attrs), needs_grad)

    def _record(
        self, args: tuple[Any, ...], attrs: dict[str, Any], out: Any, needs_grad: bool
    ) -> Any:
        """Wrap ``out`` and, if gradients may be asked for, remember how it was computed."""
        several = type(out) is tuple
        if needs_grad and state.grad_enabled and not self.discrete:
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
                tensor._version = node.out_version[0]
        else:
            tensor = Tensor(out)
        if self.view:
            _share_memory(args[0], tensor)
        return tensor

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
            attrs = {**attrs, "input_shapes": tuple(_shape(value) for value in args)}
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
            dtype: Any = tuple(np.asarray(value).dtype for value in out)
        else:
            shape, dtype = out.shape, out.dtype
        node = Node(self, tuple(edges), saved, attrs, self._saved_part(out), shape, dtype)
        if versions is not None and self.saves_inputs:
            node.versions = tuple(versions)
        if self.saves_out:
            node.out_version = (Version(), 0)
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
                tensor._version = node.out_version[0]
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
                part = plan.rule(*self._pull_values(plan, node, (position,), g, as_tensors))
            else:
                if plan.rule not in joint:
                    values = self._pull_values(plan, node, positions, g, as_tensors)
                    joint[plan.rule] = plan.rule(*values)
                part = joint[plan.rule][plan.part]
            parts.append((position, part))
        return parts

    def _pull_values(
        self, plan: _Plan, node: Node, positions: Sequence[int], g: Any, as_tensors: bool
    ) -> list[Any]:
        values: list[Any] = []
        for source, key in plan.sources:
            if source == "g":
                values.append(g)
            elif source == "input":
                values.append(_saved_input(node, key, as_tensors))
            elif source == "out":
                values.append(_saved_out(node, as_tensors))
            elif source == "attribute":
                values.append(node.attrs[key])
            elif source == "shape":
                values.append(node.edges[key].shape)  # type: ignore[union-attr]
            elif source == "i":
                values.append(positions[0])
            elif source == "result":
                values.append(_saved_out(node, as_tensors)[key])
            elif source == "needs":
                values.append(tuple(position in positions for position in key))
            elif source == "inputs":
                values.append(
                    tuple(_saved_input(node, k, as_tensors) for k in range(len(node.edges)))
                )
            else:
                values.append(node.attrs["input_shapes"])
        return values

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
                replaced = (*args[:position], tangent, *args[position + 1 :])
                part = self(*replaced, **attrs)
            else:
                plan = self._jvp[0 if self.variadic else position]
                if plan is None:
                    raise NotImplementedError(f"{self.name} has no jvp rule for input {position}")
                if plan.part is not None:
                    if plan.rule in joint:
                        continue
                    joint.add(plan.rule)
                    tangent = tuple(
                        t for t, p in zip(tangents, self._jvp, strict=True)
                        if p is not None and p.rule is plan.rule
                    )  # fmt: skip
                part = plan.rule(*self._push_values(plan, position, tangent, args, attrs, out))
                if self.jvp_kind == "elementwise" and part.shape != out.shape:
                    part = vector_space.expand(part, out.shape)
            total = part if total is None else _add_tangents(total, part)
        return total

    def _push_values(
        self,
        plan: _Plan,
        position: int,
        tangent: Any,
        args: tuple[Any, ...],
        attrs: dict[str, Any],
        out: Any,
    ) -> list[Any]:
        values: list[Any] = []
        for source, key in plan.sources:
            if source == "g":
                values.append(tangent)
            elif source == "input":
                values.append(args[key])
            elif source == "out":
                values.append(out)
            elif source == "result":
                values.append(out[key])
            elif source == "attribute":
                values.append(attrs[key])
            elif source == "shape":
                values.append(_shape(args[key]))
            elif source == "i":
                values.append(position)
            elif source == "inputs":
                values.append(args)
            else:
                values.append(tuple(_shape(value) for value in args))
        return values


def _shape(value: Any) -> tuple[int, ...]:
    return value.shape if isinstance(value, Tensor) else np.shape(value)


def _zeros_like(value: Any) -> Any:
    if value is None:
        return None
    return Tensor(np.zeros_like(value._array if isinstance(value, Tensor) else value))


def _add_tangents(a: Any, b: Any) -> Any:
    if isinstance(a, tuple):
        return tuple(
            y if x is None else x if y is None else vector_space.add(x, y)
            for x, y in zip(a, b, strict=True)
        )
    return vector_space.add(a, b)


def _saved_input(node: Node, position: int, as_tensors: bool) -> Any:
    if type(node.inputs) is not tuple:
        node.inputs.restore(node)
    value = node.inputs[position]
    if isinstance(value, Tensor):
        version = value._version
        if version is not None:
            expected = 0 if node.versions is None else node.versions[position]
            if version.value != expected:
                raise RuntimeError(
                    f"input {position} of {node.op.name}, of shape {value.shape}, is needed for "
                    f"its gradient but was changed in place (version {version.value}, expected "
                    f"{expected}); clone it before the change"
                )
        if as_tensors or value._tangents is not None:
            return forward_mode.without_dead_levels(value)
        return value._array
    return value


def _saved_out(node: Node, as_tensors: bool) -> Any:
    if isinstance(node.out, Missing):
        node.out.restore(node)
    version, expected = node.out_version  # type: ignore[misc]
    if version.value != expected:
        raise RuntimeError(
            f"the result of {node.op.name} is needed for its gradient but was changed in place "
            f"(version {version.value}, expected {expected}); clone it before the change"
        )
    out = node.out
    if type(out) is tuple:
        return tuple(
            None
            if value is None
            else _restore(value, Output(node, i, value.shape, value.dtype), as_tensors)
            for i, value in enumerate(out)
        )
    return _restore(out, node, as_tensors)


def _restore(value: Any, edge: Any, as_tensors: bool) -> Any:
    """A saved result: an array, or the tensor it was where the rule has to be recorded."""
    if isinstance(value, Tensor):  # it carries tangents; its edge is left off to avoid a cycle
        result = Tensor(value._array, True, edge)
        result._tangents = value._tangents
        return forward_mode.without_dead_levels(result)
    if not as_tensors:
        return value
    return Tensor(value, True, edge) if value.dtype.kind == "f" else Tensor(value)


def _share_memory(source: Any, result: Tensor) -> None:
    """Let a view and its source count in-place changes together."""
    if isinstance(source, Tensor) and np.may_share_memory(source._array, result._array):
        result._version = source._share_version()
        result._seen = result._version.value


class _VectorSpace:
    """The vector-space operations that the engine itself needs; :mod:`tilegrad.ops` sets them."""

    add: Callable[[Any, Any], Any]
    #: Sum a value down to a shape that broadcasts to its own.
    sum_to: Callable[[Any, tuple[int, ...]], Any]
    #: Broadcast a value up to a shape.
    expand: Callable[[Any, tuple[int, ...]], Any]
    #: Convert to a dtype.
    cast: Callable[[Any, Any], Any]
    #: Bring a mixture of tensors, arrays and numbers to arrays of a common (floating) dtype.
    promote: Callable[[Sequence[Any], bool], list[Any]]


vector_space: Any = _VectorSpace()


def promote(args: Sequence[Any], to_float: bool = False) -> list[Any]:
    """Arrays of one dtype for the inputs of an operation that mixes dtypes, by torch's rules."""
    return vector_space.promote(args, to_float)  # type: ignore[no-any-return]


__all__ = ["OPS", "Op", "edge_of", "promote", "vector_space"]
