"""Nested dicts, lists and tuples of tensors as arguments and results of functions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from tilegrad.autograd.tensor import Tensor


class Structure:
    """How leaves were nested: the type, the keys and the structures of the children."""

    __slots__ = ("children", "keys", "kind", "order")

    def __init__(
        self,
        kind: type | None,
        keys: tuple[Any, ...] = (),
        children: Sequence[Structure] = (),
        order: tuple[Any, ...] = (),
    ) -> None:
        self.kind = kind
        self.keys = keys
        self.children = tuple(children)
        #: Keys of a dict as they came: results are given back so. It is no part of the structure.
        self.order = order

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Structure)
            and self.kind is other.kind
            and self.keys == other.keys
            and self.children == other.children
        )

    def __hash__(self) -> int:
        return hash((self.kind, self.keys, self.children))

    def __repr__(self) -> str:
        if self.kind is None:
            return "*"
        inside = ", ".join(
            f"{key!r}: {child}" if self.kind is dict else repr(child)
            for key, child in zip(self.keys, self.children, strict=True)
        )
        if self.kind is dict:
            return f"{{{inside}}}"
        return f"[{inside}]" if self.kind is list else f"({inside})"


_LEAF = Structure(None)


def flatten(tree: Any) -> tuple[list[Any], Structure]:
    """The leaves of ``tree`` in order, and the structure that :func:`unflatten` needs.

    Dicts (in sorted order of their keys where they sort), lists, tuples and named tuples are
    nodes; everything else is a leaf.

    >>> flatten({"w": 1, "b": [2, 3]})[0]
    [2, 3, 1]
    """
    leaves: list[Any] = []
    return leaves, _flatten(tree, leaves)


def _flatten(tree: Any, leaves: list[Any]) -> Structure:
    if isinstance(tree, dict):
        try:
            keys = tuple(sorted(tree))
        except TypeError:
            keys = tuple(tree)
        children = [_flatten(tree[key], leaves) for key in keys]
        return Structure(type(tree), keys, children, tuple(tree))
    if isinstance(tree, (list, tuple)):
        children = [_flatten(item, leaves) for item in tree]
        return Structure(type(tree), tuple(range(len(tree))), children)
    leaves.append(tree)
    return _LEAF


def unflatten(structure: Structure, leaves: Sequence[Any]) -> Any:
    """The inverse of :func:`flatten`."""
    return _unflatten(structure, iter(leaves))


def _unflatten(structure: Structure, leaves: Iterator[Any]) -> Any:
    kind: Any = structure.kind
    if kind is None:
        return next(leaves)
    items = [_unflatten(child, leaves) for child in structure.children]
    if issubclass(kind, dict):
        found = dict(zip(structure.keys, items, strict=True))
        return kind((key, found[key]) for key in structure.order)
    return kind(*items) if hasattr(kind, "_fields") else kind(items)


def tree_map(function: Callable[..., Any], tree: Any, *others: Any) -> Any:
    """``function`` of every leaf, together with the leaves at the same places of ``others``.

    >>> tree_map(lambda a, b: a + b, {"w": 1}, {"w": 10})
    {'w': 11}
    """
    leaves, structure = flatten(tree)
    columns = [leaves]
    for other in others:
        more, like = flatten(other)
        if like != structure:
            raise ValueError(f"the trees differ in structure: {structure} and {like}")
        columns.append(more)
    return unflatten(structure, [function(*row) for row in zip(*columns, strict=True)])


def as_tensor(value: Any) -> Any:
    """A tensor of an array or a number; anything else, tensors included, as it is."""
    if isinstance(value, Tensor):
        return value
    if isinstance(value, (np.ndarray, np.generic)):
        return Tensor(np.asarray(value))
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return Tensor(np.asarray(value, np.float32))
    return value


def tensors(tree: Any, where: str) -> tuple[list[Tensor], Structure]:
    """The leaves of ``tree``, all of which have to be tensors, arrays or numbers."""
    leaves, structure = flatten(tree)
    leaves = [as_tensor(leaf) for leaf in leaves]
    for leaf in leaves:
        if not isinstance(leaf, Tensor):
            raise TypeError(
                f"{where} must be tensors, arrays or numbers, or dicts, lists and tuples of them; "
                f"found a {type(leaf).__name__}"
            )
    return leaves, structure
