"""Reverse mode: gradients flow from results to leaves, each node once, latest node first.

Nodes are numbered as they are made, so "latest first" is a topological order and no recursion is
needed: a chain of a million operations is one sorted list. The walk itself is native
(cpp/bindings/engine.cpp); here is what it asks for, and what happens at the leaves.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from tilegrad import _native
from tilegrad.autograd import batching, expansion, recording
from tilegrad.autograd.modes import no_grad
from tilegrad.autograd.node import FREED, Node, Output
from tilegrad.autograd.tensor import Tensor
from tilegrad.autograd.vector_space import vector_space


def reachable(edges: Iterable[Any]) -> list[Node]:
    """Every node that ``edges`` lead to, earliest first."""
    return _native.reachable(tuple(edges))


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
    if expansion.seen and _divides_by_zero(roots):
        return _run_expanded(roots, targets, create_graph, retain_graph)
    before = _native.set_grad_enabled(create_graph)
    try:
        if batching.is_plain(roots):
            return _send(roots, targets, create_graph, retain_graph)
        with batching.carrying(roots):
            return _send(roots, targets, create_graph, retain_graph)
    finally:
        _native.set_grad_enabled(before)


def _send(
    roots: Sequence[tuple[Any, Any]], targets: Any, create_graph: bool, retain_graph: bool
) -> list[Any]:
    """The pass itself, and what happens at its leaves."""
    if targets is not None:
        targets = tuple(targets)
        found = _native.backward_pass(tuple(roots), targets, create_graph, retain_graph)
        if expansion.seen and not create_graph:
            found = [expansion.without_expansion(g) for g in found]
        return [_through_hooks(t, g) for t, g in zip(targets, found, strict=True)]
    arrived = _native.backward_pass(tuple(roots), None, create_graph, retain_graph)
    recorder = recording.current()
    if recorder is None and not create_graph:
        _native.accumulate_gradients(arrived)
    while arrived:
        leaf, g, owned = arrived.pop()
        g = _through_hooks(leaf, g)
        if recorder is not None:
            recorder.gradient(leaf, g, _accumulate)
        _accumulate(leaf, g, owned, create_graph)
    return []


def _divides_by_zero(roots: Sequence[tuple[Any, Any]]) -> bool:
    """Whether a pass from ``roots`` goes through quotients that are limits: a second derivative."""
    return any(
        getattr(node.op, "is_limit", False) and node.attrs.get("limit")
        for node in reachable(edge for edge, _ in roots)
    )


def _third_order() -> np.linalg.LinAlgError:
    return np.linalg.LinAlgError(
        "derivatives of third order where eigenvalues or singular values repeat: linalg.funm "
        "has them, eigh and svd have those of first and second order"
    )


def _run_expanded(
    roots: Sequence[tuple[Any, Any]], targets: Any, create_graph: bool, retain_graph: bool
) -> list[Any]:
    """As :func:`run`, by expansion in the small parameter."""
    if create_graph:
        raise _third_order()
    if any(isinstance(g, batching.BatchedTensor) for _, g in roots):
        raise batching.NoBatchedFormError("second derivatives where eigenvalues repeat, by batches")
    scaled = tuple((edge, expansion.raised(g)) for edge, g in roots)
    wanted = None if targets is None else tuple(targets)
    with no_grad():
        found = _native.backward_pass(scaled, wanted, False, retain_graph)
    arrived = [(a[0], a[1]) for a in found] if wanted is None else zip(wanted, found, strict=True)
    results = []
    for target, g in arrived:
        if expansion.carries_tangents(g):
            raise _third_order()
        # poles that cancel leave rounding behind, others are of the order of the gradient
        value, pole = expansion.lowered(g, negligible=1e-6)
        if pole:
            raise np.linalg.LinAlgError(
                "a second derivative where eigenvalues or singular values repeat depends on which "
                f"vectors were chosen (by {pole:.3g} / s), so it does not exist"
            )
        value = _through_hooks(target, value)
        if wanted is None:
            _accumulate(target, value, True, False)
        results.append(value)
    return [] if wanted is None else results


def _through_hooks(target: Any, g: Any) -> Any:
    """``g`` after the hooks of a leaf; those of nodes were called on the way."""
    if g is not None and isinstance(target, Tensor) and target._hooks:
        return _Helpers.call_hooks(target._hooks, g, None)
    return g


def _accumulate(leaf: Tensor, g: Any, owned: bool = False, create_graph: bool = False) -> None:
    """Add ``g`` to ``leaf.grad``."""
    before = leaf.grad
    if create_graph and isinstance(g, Tensor):
        leaf.grad = g if before is None else vector_space.add(before, g)
        return
    array = g._array if isinstance(g, Tensor) else np.asarray(g)
    if before is None:
        # Two leaves may have been handed one array (y = a + b): only a sole owner keeps it.
        # 4 references: g here and in the caller, array, and getrefcount's own argument.
        sole = owned or (
            array.base is None and array.flags.writeable and sys.getrefcount(array) <= 4
        )
        leaf.grad = Tensor(array if sole else array.copy())
    elif before._requires_grad:
        leaf.grad = vector_space.add(before.detach(), Tensor(array))
    else:
        before._array += array


def _checked(replaced: Any, gradient: Tensor) -> Tensor:
    """What a hook put in the place of ``gradient``."""
    if isinstance(replaced, np.ndarray):
        replaced = Tensor(replaced)
    if not isinstance(replaced, Tensor):
        raise TypeError(f"a hook must return a tensor or None, not {type(replaced).__name__}")
    if replaced.shape != gradient.shape:
        raise RuntimeError(
            f"a hook returned a gradient of shape {replaced.shape} for one of shape "
            f"{gradient.shape}"
        )
    return replaced


class _Helpers:
    """What the native pass asks of Python."""

    @staticmethod
    def fit(g: Any, edge: Any) -> Any:
        """``g`` brought to the shape and dtype of ``edge``."""
        if g.shape != edge.shape:
            g = vector_space.sum_to(g, edge.shape)
        if g.dtype != edge.dtype:
            g = vector_space.cast(g, edge.dtype)
        if isinstance(g, np.generic):  # NumPy's reductions and indexing give scalars
            g = np.asarray(g)
        if type(g) is not np.ndarray and g._batch:
            g = batching.outside(g, edge)
        return g

    @staticmethod
    def add(a: Any, b: Any) -> Any:
        """The sum of two gradients."""
        return vector_space.add(a, b)

    @staticmethod
    def add_into(a: Any, b: Any) -> None:
        """Add ``b`` to the array ``a``, which the pass owns."""
        vector_space.add_into(a, b)

    @staticmethod
    def call_hooks(hooks: Iterable[Any], g: Any, index: int | None) -> Any:
        """Pass a gradient through the hooks of result ``index``; each may replace it."""
        tensor = g if isinstance(g, Tensor) else Tensor(np.asarray(g))
        for hook in list(hooks):
            if hook.index == index:
                replaced = hook(tensor)
                tensor = tensor if replaced is None else _checked(replaced, tensor)
        return tensor if isinstance(g, Tensor) else tensor._array


_native.set_engine_helpers(_Helpers, Output, FREED)
