"""The graph: one :class:`Node` per recorded operation, edges towards what it was computed from.

An edge points at whatever receives a gradient: the :class:`Node` that computed the input, an
:class:`Output` of a node with several results, or the leaf tensor itself. Nodes never point at the
tensors they produced, so a graph holds no reference cycle and is freed by reference counting.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from tilegrad import _native
from tilegrad._native import Version

if TYPE_CHECKING:
    import numpy as np


#: A :class:`Node`, an :class:`Output` or a leaf tensor.
Edge: TypeAlias = Any

next_sequence_number = _native.next_sequence_number


class Missing:
    """Stands where a node's saved values are not; :meth:`restore` puts them back or raises."""

    def restore(self, node: Node) -> None:
        """Fill ``node.inputs`` and ``node.out``; here, they were freed after use."""
        raise RuntimeError(
            f"backward through {node.op.name} a second time: its saved values were freed. "
            "Pass retain_graph=True to the first backward"
        )


FREED = Missing()


class Node(_native.NodeBase):
    """One recorded operation: what it was (``op``, ``attrs``), what it saved, where gradients go.

    ``edges[i]`` receives the gradient of input i, or is None. ``shape`` and ``dtype`` are the
    result's (tuples of them for an operation with several results): the gradient that arrives has
    this shape. ``versions`` are the in-place counters of ``inputs`` when they were saved, None if
    all were zero; ``out_version`` is the counter of the saved result. ``tensor_mode``: an input
    carried tangents, so the rules have to be evaluated on tensors.
    """

    __slots__ = ()

    @property
    def name(self) -> str:
        """The operation's name."""
        return str(self.op.name)

    @property
    def next_functions(self) -> tuple[Edge | None, ...]:
        """Where gradients go, one entry per input."""
        return self.edges

    def __repr__(self) -> str:
        return f"<{self.op.name} backward>"


__all__ = ["FREED", "Edge", "Missing", "Node", "Output", "Version", "next_sequence_number"]


class Output:
    """Result ``index`` of a node with several results."""

    __slots__ = ("dtype", "hooks", "index", "node", "shape")

    def __init__(
        self, node: Node, index: int, shape: tuple[int, ...], dtype: np.dtype[Any]
    ) -> None:
        self.node = node
        self.index = index
        self.shape = shape
        self.dtype = dtype
        self.hooks: list[Any] | None = None

    def __repr__(self) -> str:
        return f"<{self.node.op.name} backward, result {self.index}>"
