"""Variables: the values that a reverse transform differentiates by, and who else is watching.

A transform gives every argument a node of its own. The node lies between the argument's history
and the function, so a transform sees derivatives by its own variables only, while an outer one
still differentiates through them. While its scope is open a variable counts as someone who may ask
for gradients; afterwards it does not, and what depends on nothing else needs no graph any more.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from tilegrad.autograd import engine
from tilegrad.autograd.batching import Attributes
from tilegrad.autograd.node import Node, Output
from tilegrad.autograd.tensor import Tensor
from tilegrad.ops.shape import alias


class Scope:
    """The time during which a transform's variables may be asked for."""

    def __init__(self) -> None:
        self.open = True

    def __enter__(self) -> Scope:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.open = False


def variable(x: Tensor, scope: Scope, linked: bool = True) -> Tensor:
    """``x`` as a variable of ``scope``; linked to its history, if it has any."""
    edge = None
    if linked and x._requires_grad:
        edge = x if x._node is None else x._node
    result = x._bare()
    result._tangents = x._tangents
    if x.dtype.kind != "f":
        return result
    if not x._batch:
        version = x._share_version()
        result._version, result._seen = version, version.value
    attrs = Attributes({"scope": scope}, x._batch)
    node = Node(alias, (edge,), None, attrs, None, x.shape, x.dtype)
    if x._tangents is not None:
        node.tensor_mode = True
    result._requires_grad, result._node = True, node
    return result


def is_watched(edges: Iterable[Any]) -> bool:
    """Whether ``edges`` lead to a leaf or to a variable of an open scope."""
    seen: set[int] = set()
    stack = list(edges)
    while stack:
        edge = stack.pop()
        if isinstance(edge, Tensor):
            return True
        node = edge.node if type(edge) is Output else edge
        if id(node) in seen:
            continue
        seen.add(id(node))
        scope = node.attrs.get("scope") if node.op is alias else None
        if scope is not None and scope.open:
            return True
        stack.extend(edge for edge in node.edges if edge is not None)
    return False


def edge(x: Tensor) -> Any:
    """Where gradients for ``x`` go."""
    return x if x._node is None else x._node


def settled(x: Any) -> Any:
    """``x``, without its graph if no one can ask for gradients by it any more."""
    if not isinstance(x, Tensor) or not x._requires_grad:
        return x
    return x if is_watched([edge(x)]) else without_graph(x)


def without_graph(x: Tensor) -> Tensor:
    """The value and its tangents, without the graph."""
    result = x._bare()
    result._tangents = x._tangents
    result._version, result._seen = x._version, x._seen
    return result


def pull(
    outputs: Sequence[Tensor],
    cotangents: Sequence[Any],
    variables: Sequence[Tensor],
    create_graph: bool,
) -> list[Any]:
    """Gradients by ``variables`` (None where there is none); the graph stays for another time."""
    wanted = [v for v in variables if v._requires_grad]
    roots = [
        (edge(out), g)
        for out, g in zip(outputs, cotangents, strict=True)
        if isinstance(out, Tensor) and out._requires_grad
    ]
    if not roots or not wanted:
        return [None] * len(variables)
    targets = [v._node for v in wanted]
    found = iter(engine.run(roots, targets=targets, create_graph=create_graph, retain_graph=True))
    return [next(found) if v._requires_grad else None for v in variables]
