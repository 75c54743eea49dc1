"""Recording a computation step by step, forwards and backwards.

A :class:`Symbol` is a tensor that remembers which step computed it. Operations on symbols compute
as ever and note themselves; as derivative rules are written in operations, a backward pass over
symbols notes the gradient's derivation in the same way.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import count
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from tilegrad.autograd.tensor import Array, Tensor
from tilegrad.autograd.vector_space import vector_space

if TYPE_CHECKING:
    from tilegrad.autograd.op import Op

_number = count().__next__


@dataclass(eq=False)
class Step:
    """One value: a variable, a constant, or result ``index`` of an operation on earlier steps."""

    op: Op | None
    operands: tuple[Step, ...]
    attrs: dict[str, Any]
    value: Array
    name: str = ""
    index: int = 0
    #: The graph node of the operation, if gradients flow through it.
    node: Any = None
    number: int = field(default_factory=_number)

    @property
    def is_variable(self) -> bool:
        """Whether it is an argument."""
        return self.op is None and bool(self.name)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the value."""
        return self.value.shape


class Symbol(Tensor):
    """A tensor with the step that computed it."""

    __slots__ = ("_step",)

    _step: Step
    _no_tangents: Any = MappingProxyType({})

    def __new__(cls, array: Array, step: Step) -> Symbol:
        """The value of ``step``."""
        self = super().__new__(cls, array)
        self._step = step
        self._tangents = cls._no_tangents
        return self

    def _bare(self) -> Symbol:
        return Symbol(self._array, self._step)

    @staticmethod
    def _interpret(op: Op, args: tuple[Any, ...], attrs: dict[str, Any]) -> Any:
        arrays = (
            vector_space.promote(args, op.promotes == "float")
            if op.promotes
            else [a._array if isinstance(a, Tensor) else a for a in args]
        )
        plain = {k: v._array if isinstance(v, Tensor) else v for k, v in attrs.items()}
        out = op.forward(*arrays, **plain)
        several = isinstance(out, tuple)
        operands = tuple(step_of(a) for a in args if a is not None)
        symbols = tuple(
            Symbol(value, Step(op, operands, plain, value, index=i))
            for i, value in enumerate(map(np.asarray, out if several else (out,)))
        )
        attached = op.attach(args, attrs, symbols if several else symbols[0])
        for symbol in attached if several else (attached,):
            edge = symbol._node
            symbol._step.node = getattr(edge, "node", edge)
        return attached


def step_of(value: Any) -> Step:
    """The step of a symbol; a constant for anything else."""
    if isinstance(value, Symbol):
        return value._step
    array = value._array if isinstance(value, Tensor) else np.asarray(value)
    return Step(None, (), {}, array)


def variable(name: str, value: Array) -> Symbol:
    """An argument."""
    return Symbol(value, Step(None, (), {}, value, name))


def steps_to(last: Step) -> list[Step]:
    """Every step that ``last`` was computed from, earliest first."""
    found: dict[int, Step] = {}
    stack = [last]
    while stack:
        step = stack.pop()
        if id(step) not in found:
            found[id(step)] = step
            stack.extend(step.operands)
    return sorted(found.values(), key=lambda step: step.number)
