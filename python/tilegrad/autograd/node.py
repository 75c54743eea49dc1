"""The graph: one :class:`Node` per recorded operation, edges towards what it was computed from.

An edge points at whatever receives a gradient: the :class:`Node` that computed the input, an
:class:`Output` of a node with several results, or the leaf tensor itself. Nodes never point at the
tensors they produced, so a graph holds no reference cycle and is freed by reference counting.
"""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    from tilegrad.autograd.op import Op

next_sequence_number = count().__next__


class Version:
    """Counts the in-place changes of one memory block; shared by all tensors that view it."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0


class Missing:
    """Stands where a node's saved values are not; :meth:`restore` puts them back or raises."""

    def restore(self, node: Node) -> None:
        """Fill ``node.inputs`` and ``node.out``; here, they were freed after use."""
        raise RuntimeError(
            f"backward through {node.op.name} a second time: its saved values were freed. "
            "Pass retain_graph=True to the first backward"
        )


FREED = Missing()


class Node:
    """One recorded operation: what it was (``op``, ``attrs``), what it saved, where gradients go.

    ``edges[i]`` receives the gradient of input i, or is None. ``shape`` and ``dtype`` are the
    result's (tuples of them for an operation with several results): the gradient that arrives has
    this shape. ``versions`` are the in-place counters of ``inputs`` when they were saved, None if
    all were zero.
    """

    __slots__ = (
        "__weakref__",
        "attrs",
        "dtype",
        "edges",
        "hooks",
        "inputs",
        "op",
        "out",
        "out_version",
        "sequence",
        "shape",
        "tensor_mode",
        "versions",
    )  # fmt: skip

    op: Op
    edges: tuple[Edge | None, ...]
    inputs: Any
    attrs: dict[str, Any]
    out: Any
    out_version: tuple[Version, int] | None
    shape: Any
    dtype: Any
    versions: tuple[int, ...] | None
    tensor_mode: bool
    hooks: list[Any] | None

    def __init__(
        self,
        op: Op,
        edges: tuple[Edge | None, ...],
        inputs: Any,
        attrs: dict[str, Any],
        out: Any,
        shape: Any,
        dtype: Any,
    ) -> None:
        self.op = op
        self.edges = edges
        self.inputs = inputs
        self.attrs = attrs
        self.out = out
        self.shape = shape
        self.dtype = dtype
        self.versions = None
        self.out_version = None
        self.tensor_mode = False
        self.hooks = None
        self.sequence = next_sequence_number()

    @property
    def name(self) -> str:
        """The operation's name."""
        return self.op.name

    @property
    def next_functions(self) -> tuple[Edge | None, ...]:
        """Where gradients go, one entry per input."""
        return self.edges

    def __repr__(self) -> str:
        return f"<{self.op.name} backward>"


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


Edge = "Node | Output | Tensor"
