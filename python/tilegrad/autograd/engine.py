"""Reverse mode: gradients flow from results to leaves, each node once, latest node first.

Nodes are numbered as they are made, so "latest first" is a topological order and no recursion is
needed: a chain of a million operations is one sorted list.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from operator import attrgetter
from typing import Any

import numpy as np

from tilegrad.autograd.modes import enable_grad, no_grad
from tilegrad.autograd.node import FREED, Node, Output
from tilegrad.autograd.tensor import Tensor
from tilegrad.autograd.vector_space import vector_space

_sequence = attrgetter("sequence")


def _node_of(edge: Any) -> Any:
    return edge.node if type(edge) is Output else edge


def reachable(edges: Iterable[Any]) -> list[Node]:
    """Every node that ``edges`` lead to, earliest first."""
    seen: set[Node] = set()
    stack = [_node_of(edge) for edge in edges]
    while stack:
        node = stack.pop()
        if type(node) is Node and node not in seen:
            seen.add(node)
            stack.extend(_node_of(edge) for edge in node.edges if edge is not None)
    return sorted(seen, key=_sequence)


def leaves(edges: Iterable[Any]) -> list[Tensor]:
    """Every leaf tensor that ``edges`` lead to."""
    edges = list(edges)
    found = {id(edge): edge for edge in edges if isinstance(edge, Tensor)}
    for node in reachable(edges):
        found.update((id(edge), edge) for edge in node.edges if isinstance(edge, Tensor))
    return list(found.values())


def run(
    roots: Sequence[tuple[Any, Any]],
    *,
    targets: Sequence[Any] | None = None,
    create_graph: bool = False,
    retain_graph: bool = False,
) -> list[Any]:
    """Send gradients from ``roots`` backwards.

    Args:
        roots: pairs of an edge and the gradient that enters there (array, or tensor).
        targets: edges whose gradients are returned; None accumulates into ``.grad`` of the leaves.
        create_graph: record the pass itself, so that it can be differentiated.
        retain_graph: keep saved values for another pass.

    Returns:
        One gradient per target, None where none arrived; an empty list without targets.
    """
    with enable_grad() if create_graph else no_grad():
        backward = _Pass(reachable(edge for edge, _ in roots), targets, create_graph, retain_graph)
        for edge, g in roots:
            backward.deposit(edge, g)
        del roots, g
        return backward.run()


class _Pass:
    """One backward pass: the nodes still to visit and the gradients that wait at edges."""

    def __init__(
        self,
        order: list[Node],
        targets: Sequence[Any] | None,
        create_graph: bool,
        retain_graph: bool,
    ) -> None:
        self.order = order
        self.targets = targets
        self.wanted = {_key(target) for target in targets or ()}
        self.on_path = None if targets is None else self._leading_to_targets()
        self.create_graph = create_graph
        self.retain_graph = retain_graph
        self.waiting: dict[Any, Any] = {}
        #: Edges whose waiting gradient this pass allocated itself: more can be added in place.
        self.owned: set[Any] = set()
        self.leaves: dict[int, Tensor] = {}

    def _leading_to_targets(self) -> set[Node]:
        on_path: set[Node] = set()
        for node in self.order:
            if any(
                edge is not None and (_key(edge) in self.wanted or _node_of(edge) in on_path)
                for edge in node.edges
            ):
                on_path.add(node)
        return on_path

    def deposit(self, edge: Any, g: Any) -> None:
        """Add ``g``, brought to the edge's shape and dtype, to what waits at ``edge``."""
        if g.shape != edge.shape:
            g = vector_space.sum_to(g, edge.shape)
        if g.dtype != edge.dtype:
            g = vector_space.cast(g, edge.dtype)
        if isinstance(edge, Tensor):
            self.leaves[id(edge)] = edge
        key = _key(edge)
        if key not in self.waiting:
            self.waiting[key] = g
        elif key in self.owned and type(g) is np.ndarray:
            self.waiting[key] += g
        else:
            total = vector_space.add(self.waiting[key], g)
            self.waiting[key] = total
            if type(total) is np.ndarray:
                self.owned.add(key)
            else:
                self.owned.discard(key)

    def run(self) -> list[Any]:
        order = self.order
        while order:
            node = order.pop()  # visited nodes are let go one by one
            g = self._collect(node)
            if g is not None and (self.on_path is None or node in self.on_path):
                self._visit(node, g)
            if not self.retain_graph:
                _free(node)
        for leaf in self.leaves.values():
            if leaf._hooks:
                self.waiting[id(leaf)] = call_hooks(leaf._hooks, self.waiting[id(leaf)])
        if self.targets is not None:
            return [self.waiting.get(_key(target)) for target in self.targets]
        for key, leaf in self.leaves.items():
            g = self.waiting.pop(key)
            self._accumulate(leaf, g, key in self.owned)
        return []

    def _collect(self, node: Node) -> Any:
        """The gradient of the node's result: a tuple for several results, None if none came."""
        if type(node.dtype) is not tuple:
            return self._take(node, node.hooks, None)
        parts = tuple(
            self._take((id(node), index), node.hooks, index) for index in range(len(node.dtype))
        )
        return parts if any(part is not None for part in parts) else None

    def _take(self, key: Any, hooks: Any, index: int | None) -> Any:
        g = self.waiting.get(key)
        if g is None:
            return None
        if hooks:
            g = call_hooks([hook for hook in hooks if hook.index == index], g)
            if key in self.wanted:
                self.waiting[key] = g
        if key not in self.wanted:
            del self.waiting[key]
        return g

    def _visit(self, node: Node, g: Any) -> None:
        as_tensors = self.create_graph or node.tensor_mode
        edges = node.edges
        on_path = self.on_path
        positions = [
            position
            for position, edge in enumerate(edges)
            if edge is not None
            and (on_path is None or _node_of(edge) in on_path or _key(edge) in self.wanted)
        ]
        for position, part in node.op.pull(node, g, positions, as_tensors):
            if part is not None:
                self.deposit(edges[position], part)

    def _accumulate(self, leaf: Tensor, g: Any, owned: bool) -> None:
        """Add ``g`` to ``leaf.grad``."""
        before = leaf.grad
        if isinstance(g, Tensor) and self.create_graph:
            leaf.grad = g if before is None else vector_space.add(before, g)
            return
        array = g._array if isinstance(g, Tensor) else np.asarray(g)
        if before is None:
            # Two leaves may have been handed one array (y = a + b): only a sole owner keeps it.
            # 3 references: the caller's g, the parameter g (or array), and getrefcount's own.
            sole = owned or (
                array.base is None and array.flags.writeable and sys.getrefcount(array) <= 4
            )
            leaf.grad = Tensor(array if sole else array.copy())
        elif before._requires_grad:
            leaf.grad = vector_space.add(before.detach(), Tensor(array))
        else:
            before._array += array


def _key(edge: Any) -> Any:
    """What a gradient waits under: leaves by identity, results of a node by their index."""
    if type(edge) is Node:
        return edge
    if type(edge) is Output:
        return (id(edge.node), edge.index)
    return id(edge)


def _free(node: Node) -> None:
    if node.inputs is not None:
        node.inputs = FREED
    if node.out is not None:
        node.out = FREED


def call_hooks(hooks: Iterable[Any], g: Any) -> Any:
    """Pass a gradient through ``hooks``; each may return a replacement."""
    plain = not isinstance(g, Tensor)
    tensor = Tensor(np.asarray(g)) if plain else g
    for hook in list(hooks):
        replaced = hook(tensor)
        if replaced is not None:
            tensor = replaced
    return tensor._array if plain else tensor
