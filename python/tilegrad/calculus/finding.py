"""The structure of a Jacobian, read off the recorded operations without building any array.

Every operation has a local Jacobian by each input: elementwise ones a diagonal, reshapes an
identity, ``A @ X`` and ``X @ B`` Kronecker products with an identity, ``X.T`` the commutation
matrix. From the result back to the variable they are multiplied along paths and added where paths
meet. Where an operation has no structure that composes, the whole Jacobian is dense.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tilegrad.autograd import engine, rules
from tilegrad.autograd.node import Node, Output
from tilegrad.autograd.tensor import Tensor
from tilegrad.calculus.kronecker import Kronecker, simplified
from tilegrad.calculus.layouts import size_of
from tilegrad.calculus.structures import Dense, Diagonal, Identity, Jacobian, Sum, total

#: Operations that keep entries and their order.
_KEEPING = frozenset({"alias", "cast", "copy", "expand", "reshape", "sum_to"})


def find(output: Tensor, variable: Tensor) -> Jacobian | None:
    """The Jacobian of ``output`` by ``variable``, both with their graph; None if it is dense."""
    target = variable._node
    root = output._node
    if root is None or isinstance(root, (Tensor, Output)):
        return None
    found: dict[Node, Jacobian] = {root: Identity(output.shape, dtype=output.dtype)}
    for node in reversed(engine.reachable([root])):
        accumulated = found.pop(node, None) if node is not target else found.get(node)
        if accumulated is None:
            continue
        if node is target:
            return _worth_keeping(accumulated)
        for position, edge in enumerate(node.edges):
            if edge is None:
                continue
            if type(edge) is Output:
                return None
            local = local_structure(node, position)
            if local is None:
                return None
            product = accumulated._composed(local)
            if product is None or isinstance(product, Dense):
                return None
            if isinstance(edge, Node):
                before = found.get(edge)
                summed = product if before is None else total([before, product])
                if summed is None:
                    return None
                found[edge] = summed
    return None


def _worth_keeping(jacobian: Jacobian) -> Jacobian | None:
    """None for a sum with a Kronecker product with a number, which is a matrix, among its terms."""
    terms = jacobian.terms if isinstance(jacobian, Sum) else ()
    if any(isinstance(term, Kronecker) and term.is_matrix for term in terms):
        return None
    return simplified(jacobian)


def local_structure(node: Node, position: int) -> Jacobian | None:
    """The Jacobian of one operation by one of its inputs, where it has a structure."""
    op, edge = node.op, node.edges[position]
    if type(node.dtype) is tuple:
        return None
    if op.name in _KEEPING or (op.name == "permute" and _keeps_order(node, edge.shape)):
        if size_of(edge.shape) == size_of(node.shape):
            return Identity(edge.shape, node.shape, node.dtype)
        return None
    if op.name == "permute" and len(node.shape) == 2:
        m, n = node.shape
        return Kronecker(m, n, (m, n), edge.shape, commuted=True, dtype=node.dtype)
    if op.name == "bmm" and len(node.shape) == 2:
        return _product(node, position)
    if getattr(op, "jvp_kind", None) != "elementwise":
        return None
    if size_of(edge.shape) != size_of(node.shape):  # broadcast: an entry goes to several places
        return None
    # a diagonal is its own transpose: the gradient of the sum of the result
    ((_, entries),) = op.pull(node, np.ones(node.shape, node.dtype), [position], False)
    array = entries._array if isinstance(entries, Tensor) else np.asarray(entries)
    if array.shape != node.shape:
        array = np.broadcast_to(array, node.shape)
    if bool(np.all(array == 1)):
        return Identity(edge.shape, node.shape, node.dtype)
    return Diagonal(array, node.shape, edge.shape)


def _keeps_order(node: Node, shape: tuple[int, ...]) -> bool:
    """Whether a permutation of axes moves none of size above 1 past another."""
    long = [a % len(shape) for a in node.attrs["axes"] if shape[a % len(shape)] != 1]
    return long == sorted(long)


def _product(node: Node, position: int) -> Jacobian | None:
    """vec_r(A X B) = (A kron B^T) vec_r(X), with an identity in place of A or of B."""
    (m, n), edge = node.shape, node.edges[position]
    if len(edge.shape) != 2:
        return None
    other: Any = rules.saved_input(node, 1 - position, False)
    array = other._array if isinstance(other, Tensor) else np.asarray(other)
    if array.ndim != 2:
        return None
    if position == 0:
        return Kronecker(m, array.T, node.shape, edge.shape)
    return Kronecker(array, n, node.shape, edge.shape)
