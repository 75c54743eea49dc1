"""Forward mode: tensors that carry tangents, one per level of nesting.

A level is opened by every ``jvp``; levels are numbered upwards, so an inner one is always higher.
A tensor inside level L carries ``_tangents[L]``. An operation computes its result and its graph
node from the tensors as they are, tangents included (so that a reverse pass through it yields
tangents of gradients), and then one tangent per level: the jvp rule at level L sees the primals
with the levels from L upwards taken off, and therefore differentiates again at the levels below.

Pearlmutter, Siskind, "Reverse-mode AD in a functional framework", TOPLAS 30 (2008) on why levels
must not be confused.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from itertools import count
from typing import TYPE_CHECKING, Any

import numpy as np

from tilegrad.autograd.node import Output
from tilegrad.autograd.tensor import Tensor
from tilegrad.autograd.vector_space import vector_space

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tilegrad.autograd.op import Op

_next_level = count(1).__next__


#: Levels that are always open, below all others: see :mod:`tilegrad.autograd.expansion`. Four of
#: them give limits of first and second derivatives: a second pass divides by the parameter twice,
#: and asks for as many coefficients more.
EXPANSION = tuple(_next_level() for _ in range(4))


class _Live(threading.local):
    def __init__(self) -> None:
        self.levels: set[int] = set(EXPANSION)


_live = _Live()


@contextmanager
def level() -> Iterator[int]:
    """Open a level of forward differentiation."""
    number = _next_level()
    _live.levels.add(number)
    try:
        yield number
    finally:
        _live.levels.discard(number)


def _alias(tensor: Tensor) -> Tensor:
    """The same value at the same place in the graph, without tangents."""
    alias = tensor._bare()
    alias._requires_grad = tensor._requires_grad
    node = tensor._node
    alias._node = tensor if node is None and tensor._requires_grad else node
    alias._version = tensor._version
    alias._seen = tensor._seen
    return alias


def dual(primal: Tensor, tangent: Tensor, number: int) -> Tensor:
    """``primal`` carrying ``tangent`` at level ``number``, beside the tangents it has."""
    result = _alias(primal)
    result._tangents = {**(primal._tangents or {}), number: tangent}
    return result


def below(value: Any, number: int) -> Any:
    """``value`` without the tangents of level ``number`` and above."""
    if not isinstance(value, Tensor) or not value._tangents:
        return value
    kept = {key: tangent for key, tangent in value._tangents.items() if key < number}
    result = _alias(value)
    result._tangents = kept or value._no_tangents
    return result


def without_dead_levels(value: Tensor) -> Tensor:
    """``value`` without tangents of levels that have been left."""
    if value._tangents is None or all(key in _live.levels for key in value._tangents):
        return value
    result = _alias(value)
    kept = {k: tangent for k, tangent in value._tangents.items() if k in _live.levels}
    result._tangents = kept or value._no_tangents
    return result


def tangent_of(value: Any, number: int) -> Tensor | None:
    """The tangent at level ``number``, None if there is none."""
    if not isinstance(value, Tensor) or value._tangents is None:
        return None
    return value._tangents.get(number)


def apply(op: Op, args: tuple[Any, ...], attrs: dict[str, Any]) -> Any:
    """Apply ``op`` where at least one argument carries tangents."""
    args = tuple(without_dead_levels(a) if isinstance(a, Tensor) else a for a in args)
    levels = sorted(
        {number for a in args if isinstance(a, Tensor) and a._tangents for number in a._tangents}
    )
    out = op.apply_value(args, attrs)
    several = isinstance(out, tuple)
    results = list(out) if several else [out]
    for number in levels:
        primals = tuple(below(a, number) for a in args)
        tangents = [tangent_of(a, number) for a in args]
        current = tuple(results) if several else results[0]
        pushed = op.push(primals, attrs, current, tangents)
        parts = pushed if several and pushed is not None else [pushed]
        for i, part in enumerate(parts):
            if part is not None and results[i]._array.dtype.kind == "f":
                results[i] = dual(results[i], _as_tensor(below(part, number), results[i]), number)
    if op.saves_out:
        _save_tangents(results)
    return tuple(results) if several else results[0]


def _save_tangents(results: list[Any]) -> None:
    """Let the graph node see its results with their tangents: its vjp rule may use them."""
    for result in results:
        if result is not None and result._requires_grad and not result.is_leaf:
            edge = result._node
            node = edge.node if type(edge) is Output else edge
            shadows = []
            for value in results:
                shadow = value._bare()
                shadow._tangents = value._tangents
                shadows.append(shadow)
            node.out = tuple(shadows) if type(node.dtype) is tuple else shadows[0]
            return


def _as_tensor(value: Any, like: Tensor) -> Tensor:
    tensor = value if isinstance(value, Tensor) else Tensor(np.asarray(value))
    if tensor.dtype != like.dtype:
        tensor = vector_space.cast(tensor, like.dtype)
    return tensor
