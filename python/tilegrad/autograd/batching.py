"""Batches: tensors that stand for one member each of a batch, and how operations act on them all.

:func:`tilegrad.func.vmap` opens a :class:`Level` and hands its function :class:`BatchedTensor`
arguments. Such a tensor has the shape of one member; its ``_array`` has the batch axes in front,
one per level, outermost first. Everything above (graph nodes, saved values, tangents) deals in
members and need not know: a node's shape is a member's shape, a tangent may be batched where its
primal is not. Only the call of the forward function does, and there the ``batch`` of the op record
says how:

``"elementwise"``   operands are aligned as for broadcasting, the batch axes in front of them
``"each"``          the forward function is called member by member: right for every operation, and
                    what is done where the record says nothing
a function          ``rule(forward, operands, attrs, depth) -> result``; see :class:`Operand`

A gradient that reaches something made outside a level is summed over its batch, as everything
outside is shared by all members; what was made inside keeps one gradient per member. A node's
sequence number tells which it is.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tilegrad.autograd import forward_mode
from tilegrad.autograd.modes import is_grad_enabled
from tilegrad.autograd.node import Node, Output, next_sequence_number
from tilegrad.autograd.tensor import Array, Tensor
from tilegrad.autograd.vector_space import vector_space

if TYPE_CHECKING:
    from tilegrad.autograd.op import Op

_next_number = count(1).__next__


class NoBatchedFormError(NotImplementedError):
    """An operation has no batched form, or its arguments are batched where it cannot have one."""


class Level:
    """One batch: its size, its rank among levels, and since when nodes are made inside it."""

    __slots__ = ("number", "open", "randomness", "size", "start")

    def __init__(self, size: int, randomness: str = "same") -> None:
        self.number = _next_number()
        self.size = size
        #: What random numbers do inside: see :mod:`tilegrad.autograd.drawing`.
        self.randomness = randomness
        self.start = next_sequence_number()
        self.open = True

    def close(self) -> None:
        """Nodes made from now on are outside."""
        self.open = False

    def __repr__(self) -> str:
        return f"<batch {self.number} of {self.size}>"


class BatchedTensor(Tensor):
    """One member each of the batches in ``_batch``; ``_array`` has their axes in front."""

    __slots__ = ("_batch",)

    _batch: tuple[Level, ...]
    #: Not None, so that operations take the path where tangents and batches are looked for.
    _no_tangents: Any = MappingProxyType({})

    def __new__(cls, array: Array, batch: tuple[Level, ...]) -> BatchedTensor:
        """The array with ``len(batch)`` axes in front."""
        self = super().__new__(cls, array)
        self._batch = batch
        self._tangents = cls._no_tangents
        return self

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of one member."""
        return self._array.shape[len(self._batch) :]

    @property
    def ndim(self) -> int:
        """Number of dimensions of one member."""
        return self._array.ndim - len(self._batch)

    def _bare(self) -> BatchedTensor:
        return BatchedTensor(self._array, self._batch)

    def detach(self) -> Tensor:
        """The same values without history."""
        return self._bare()

    def __repr__(self) -> str:
        sizes = ", ".join(str(level.size) for level in self._batch)
        return f"<one of {sizes} tensors of shape {self.shape}, {self.dtype}>"

    @staticmethod
    def _interpret(op: Op, args: tuple[Any, ...], attrs: dict[str, Any]) -> Any:
        return apply(op, args, attrs)

    def _refuse(self, *args: Any, **kwargs: Any) -> Any:
        raise RuntimeError(
            "inside vmap a tensor stands for every member of the batch and has no single value: "
            "no numpy(), item(), bool() or float() of it; use where() instead of if"
        )

    numpy = item = tolist = _refuse
    __bool__ = __float__ = __int__ = __index__ = __array__ = _refuse


class Operand(NamedTuple):
    """An argument of a forward function under vmap: the array, and whether it is batched.

    A batched one has ``depth`` batch axes in front; along those of levels that it does not belong
    to, its size is 1.
    """

    array: Any
    batched: bool

    def ndim(self, depth: int) -> int:
        """Number of dimensions of one member."""
        return int(np.ndim(self.array)) - (depth if self.batched else 0)


Rule = Callable[[Callable[..., Any], list[Operand], dict[str, Any], int], Any]


# ---- applying an operation ---------------------------------------------------------------------
def apply(op: Op, args: tuple[Any, ...], attrs: dict[str, Any]) -> Any:
    """The result of ``op``, with its graph node, where some arguments are batched."""
    tensors_among = [value for value in attrs.values() if isinstance(value, Tensor)]
    levels = _levels_of((*args, *tensors_among))
    rule: Any = _RULES.get(op.batch, op.batch) or each
    operands = _operands(op, args, levels)
    try:
        if tensors_among:
            out = _with_batched_attributes(op, rule, operands, attrs, levels)
        else:
            out = rule(op.forward, operands, attrs, len(levels))
    except NoBatchedFormError as error:
        raise NoBatchedFormError(f"vmap: {op.name}: {error}") from None
    results = tuple(
        BatchedTensor(np.asarray(value), levels)
        for value in (out if isinstance(out, tuple) else (out,))
    )
    return op.attach(
        args, Attributes(attrs, levels), results if isinstance(out, tuple) else results[0]
    )


def _with_batched_attributes(
    op: Op, rule: Any, operands: list[Operand], attrs: dict[str, Any], levels: tuple[Level, ...]
) -> Any:
    """Values saved by another operation stand among the attributes, perhaps batched themselves."""
    found = {name: value for name, value in attrs.items() if isinstance(value, Tensor)}
    rest = {name: value for name, value in attrs.items() if name not in found}
    if not any(value._batch for value in found.values()):
        plain = {name: value._array for name, value in found.items()}
        return rule(op.forward, operands, {**rest, **plain}, len(levels))
    extra = [
        Operand(_spread_axes(v._array, v._batch, levels) if v._batch else v._array, bool(v._batch))
        for v in found.values()
    ]
    count = len(operands)

    def forward(*arrays: Any, **attributes: Any) -> Any:
        named = dict(zip(found, arrays[count:], strict=True))
        return op.forward(*arrays[:count], **attributes, **named)

    return each(forward, [*operands, *extra], rest, len(levels))


class Attributes(dict[str, Any]):
    """Attributes of a node whose result is batched, and its levels."""

    __slots__ = ("levels",)

    def __init__(self, attrs: Mapping[str, Any], levels: tuple[Level, ...]) -> None:
        super().__init__(attrs)
        self.levels = levels


def _levels_of(args: Sequence[Any]) -> tuple[Level, ...]:
    batches = {value._batch for value in args if isinstance(value, Tensor)}
    if len(batches) == 1:
        return batches.pop()
    found = {level for batch in batches for level in batch}
    return tuple(sorted(found, key=lambda level: level.number))


def _operands(op: Op, args: Sequence[Any], levels: tuple[Level, ...]) -> list[Operand]:
    dtype = _common_dtype(op, args) if op.promotes else None
    operands = []
    for value in args:
        array = value._array if isinstance(value, Tensor) else value
        batched = isinstance(value, Tensor) and bool(value._batch)
        if batched:
            array = _spread_axes(array, value._batch, levels)
        if dtype is not None and array is not None:
            array = np.asarray(array, dtype=dtype)
        operands.append(Operand(array, batched))
    return operands


def _common_dtype(op: Op, args: Sequence[Any]) -> Any:
    """The dtype in which members are computed together: a member's dimensions count, by value."""
    dtypes = {value.dtype if isinstance(value, Tensor) else None for value in args}
    if len(dtypes) == 1 and (common := dtypes.pop()) is not None and common.kind == "f":
        return None
    stand_ins = [
        np.empty((0,) * min(value.ndim, 1), value.dtype) if isinstance(value, Tensor) else value
        for value in args
    ]
    promoted = vector_space.promote(stand_ins, op.promotes == "float")
    return next(array.dtype for array in promoted if array is not None)


def _spread_axes(array: Array, have: tuple[Level, ...], want: tuple[Level, ...]) -> Array:
    """``array`` with batch axes of size 1 for the levels of ``want`` that it has not."""
    if have == want:
        return array
    index: list[Any] = [slice(None) if level in have else None for level in want]
    spread: Array = array[tuple(index)]
    return spread


# ---- the general rules -------------------------------------------------------------------------
def _elementwise(
    forward: Callable[..., Any], operands: list[Operand], attrs: dict[str, Any], depth: int
) -> Any:
    """Align members from the right; the batch axes stay in front."""
    ndim = max(operand.ndim(depth) for operand in operands if operand.array is not None)
    return forward(*(lift(operand, ndim, depth) for operand in operands), **attrs)


def lift(operand: Operand, ndim: int, depth: int) -> Any:
    """The operand's array, a batched member brought to ``ndim`` dimensions by ones in front."""
    array = operand.array
    missing = ndim - operand.ndim(depth) if operand.batched else 0
    if missing <= 0:
        return array
    return array.reshape(array.shape[:depth] + (1,) * missing + array.shape[depth:])


def batch_shape(operands: Sequence[Operand], depth: int) -> tuple[int, ...]:
    """Sizes of the batch axes."""
    return np.broadcast_shapes(*(o.array.shape[:depth] for o in operands if o.batched))


def filled(operand: Operand, shape: tuple[int, ...]) -> Array:
    """The operand's array with the batch axes of sizes ``shape`` in front, repeated if need be."""
    array: Array = np.asarray(operand.array)
    rest = array.shape[len(shape) :] if operand.batched else array.shape
    spread: Array = np.broadcast_to(array, shape + rest)
    return spread


def each(
    forward: Callable[..., Any], operands: list[Operand], attrs: dict[str, Any], depth: int
) -> Any:
    """Member by member, for kernels that have no other way."""
    sizes = batch_shape(operands, depth)
    spread = [filled(o, sizes) if o.batched else o.array for o in operands]
    results = [
        forward(*(a[i] if o.batched else a for a, o in zip(spread, operands, strict=True)), **attrs)
        for i in np.ndindex(*sizes)
    ]
    if not results:
        raise NoBatchedFormError("it runs member by member, and the batch is empty")

    def gathered(parts: Sequence[Any]) -> Array:
        shapes = {np.shape(part) for part in parts}
        if len(shapes) > 1:
            raise NoBatchedFormError(
                f"the members' results have different shapes {sorted(shapes)}, as they depend on "
                "the values; call it outside vmap"
            )
        stacked = np.stack([np.asarray(part) for part in parts])
        return stacked.reshape(sizes + stacked.shape[1:])

    if isinstance(results[0], tuple):
        return tuple(gathered(parts) for parts in zip(*results, strict=True))
    return gathered(results)


def folded(operand: Operand, sizes: tuple[int, ...]) -> Array:
    """The operand's array (batch, N, ...) as (batch * N, ...), repeated where members share it."""
    array = filled(operand, sizes)
    return array.reshape(-1, *array.shape[len(sizes) + 1 :])


def unfolded(out: Any, sizes: tuple[int, ...]) -> Any:
    """The inverse, for a result or several."""
    if isinstance(out, tuple):
        return tuple(unfolded(part, sizes) for part in out)
    return out.reshape(*sizes, -1, *out.shape[1:])


def on_members(function: Callable[..., Any], *values: Any) -> Any:
    """``function`` of the arrays of ``values``, member by member where some are batched.

    For constants that rules compute without an operation, as from integer labels.
    """
    levels = _levels_of(values)
    if not levels:
        return function(*(v._array if isinstance(v, Tensor) else v for v in values))
    operands = [
        Operand(_spread_axes(v._array, v._batch, levels), True)
        if isinstance(v, Tensor) and v._batch
        else Operand(v._array if isinstance(v, Tensor) else v, False)
        for v in values
    ]
    out = each(function, operands, {}, len(levels))
    if isinstance(out, tuple):
        return tuple(BatchedTensor(part, levels) for part in out)
    return BatchedTensor(out, levels)


_RULES: dict[Any, Rule] = {"elementwise": _elementwise, "each": each}


def define(name: str) -> Callable[[Rule], Rule]:
    """Name a rule, so that op records can say ``batch=name``."""

    def register(rule: Rule) -> Rule:
        _RULES[name] = rule
        return rule

    return register


# ---- into a batch, out of it, and summed over it -------------------------------------------------
class _Conversion:
    """A linear map between members and batches, in the place of an op record."""

    saves_out = False
    saves_inputs = False
    discrete = False

    def __init__(
        self, name: str, convert: Callable[..., Tensor], adjoint: Callable[..., Any]
    ) -> None:
        self.name = name
        self._convert = convert
        self._adjoint = adjoint

    def __call__(self, x: Tensor, **attrs: Any) -> Tensor:
        if x._tangents is not None:
            return forward_mode.apply(self, (x,), attrs)  # type: ignore[arg-type, no-any-return]
        return self.apply_value((x,), attrs)

    def apply_value(self, args: tuple[Any, ...], attrs: dict[str, Any]) -> Tensor:
        """Convert the value and record a node for it."""
        (x,) = args
        out = self._convert(x, **attrs)
        if x._requires_grad and is_grad_enabled():
            edge = x if x._node is None else x._node
            saved = Attributes(attrs, out._batch)
            node = Node(self, (edge,), None, saved, None, out.shape, out.dtype)
            node.tensor_mode = True
            out._requires_grad = True
            out._node = node
        return out

    def pull(
        self, node: Node, g: Any, positions: Sequence[int], as_tensors: bool
    ) -> list[tuple[int, Any]]:
        """The adjoint."""
        g = g if isinstance(g, Tensor) else Tensor(np.asarray(g))
        return [(position, self._adjoint(g, **node.attrs)) for position in positions]

    def push(
        self, args: tuple[Any, ...], attrs: dict[str, Any], out: Any, tangents: Sequence[Any]
    ) -> Any:
        """It is linear."""
        return self(tangents[0], **attrs)


def _wrap(array: Array, batch: tuple[Level, ...]) -> Tensor:
    return BatchedTensor(array, batch) if batch else Tensor(array)


def _enter(x: Tensor, level: Level, axis: int) -> Tensor:
    before = sum(other.number < level.number for other in x._batch)
    array = np.moveaxis(x._array, len(x._batch) + axis, before)
    return BatchedTensor(array, (*x._batch[:before], level, *x._batch[before:]))


def _leave(x: Tensor, level: Level, axis: int) -> Tensor:
    if level not in x._batch:
        array = np.expand_dims(x._array, len(x._batch) + axis)
        sizes = list(array.shape)
        sizes[len(x._batch) + axis] = level.size
        return _wrap(np.broadcast_to(array, tuple(sizes)), x._batch)
    place = x._batch.index(level)
    rest = (*x._batch[:place], *x._batch[place + 1 :])
    return _wrap(np.moveaxis(x._array, place, len(rest) + axis), rest)


def _total(x: Tensor, level: Level) -> Tensor:
    place = x._batch.index(level)
    rest = (*x._batch[:place], *x._batch[place + 1 :])
    return _wrap(np.asarray(np.add.reduce(x._array, axis=place)), rest)


#: Members along ``axis`` of ``x`` (counted from 0), as one batched tensor.
enter: _Conversion = _Conversion(
    "enter batch", _enter, lambda g, level, axis: leave(g, level=level, axis=axis)
)

#: The batch as a new axis; a value that is the same for all members is repeated.
leave: _Conversion = _Conversion(
    "leave batch", _leave, lambda g, level, axis: enter(g, level=level, axis=axis)
)

#: The sum over the members. Every member takes part alike, so the adjoint hands g to all of them.
total: _Conversion = _Conversion("sum over batch", _total, lambda g, level: g)


# ---- gradients ---------------------------------------------------------------------------------
def _is_inside(level: Level, edge: Any) -> bool:
    """Whether what ``edge`` stands for belongs to one member of ``level``.

    While the level is open, whatever was made in it does, even where all members share the value:
    each may be asked for its own gradient. Afterwards nobody can ask, and a shared value is
    shared by what else came of it outside: its gradient is the sum over the members.
    """
    if isinstance(edge, Tensor):
        return level in edge._batch
    node = edge.node if type(edge) is Output else edge
    return level in getattr(node.attrs, "levels", ()) or (
        level.open and bool(node.sequence >= level.start)
    )


class _Carried(threading.local):
    levels: frozenset[Level] = frozenset()


_carried = _Carried()


def is_plain(roots: Sequence[tuple[Any, Any]]) -> bool:
    """Whether a backward pass from ``roots`` carries no batch, inside or around it."""
    return not _carried.levels and all(type(g) is np.ndarray for _, g in roots)


class carrying:  # noqa: N801 - a context manager
    """Around a backward pass: the levels that enter it with the cotangents of things outside them.

    There the batch is one of cotangents: every gradient of the pass has one member for each.
    """

    def __init__(self, roots: Sequence[tuple[Any, Any]]) -> None:
        self._levels = frozenset(
            level
            for edge, g in roots
            if type(g) is not np.ndarray
            for level in g._batch
            if not _is_inside(level, edge)
        )

    def __enter__(self) -> None:
        self._before, _carried.levels = _carried.levels, self._levels

    def __exit__(self, *exc_info: object) -> None:
        _carried.levels = self._before


def outside(g: Tensor, edge: Any) -> Tensor:
    """``g``, summed over the levels that ``edge`` is outside of, save those the pass carries."""
    for level in g._batch:
        if level not in _carried.levels and not _is_inside(level, edge):
            g = total(g, level=level)
    return g
