"""Seeing changes that nobody announced: what tensors contained before a step, and after it."""

from __future__ import annotations

from collections.abc import Iterable

from tilegrad.autograd.tensor import Array, Tensor


def _root(array: Array) -> Array:
    while isinstance(array.base, type(array)):
        array = array.base
    return array


class Witness:
    """The contents of tensors at one moment: those in reach of the function that is recorded.

    A recording sees kernels, operations and announced calls. NumPy code that writes into a tensor's
    memory is seen by its traces alone: an array that changed although no recorded call wrote it.
    Costs a copy of these tensors, for the few runs that are recorded.
    """

    def __init__(self, tensors: Iterable[Tensor]) -> None:
        roots = {id(root): root for root in (_root(tensor._array) for tensor in tensors)}
        self._held = [(root, root.copy()) for root in roots.values()]

    def renew(self) -> None:
        """Take the contents of now as the ones to compare with."""
        self._held = [(root, root.copy()) for root, _ in self._held]

    def changed(self) -> list[Array]:
        """The arrays that are not what they were."""
        return [root for root, then in self._held if root.tobytes() != then.tobytes()]
