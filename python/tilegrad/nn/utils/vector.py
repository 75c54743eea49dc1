"""All parameters as one vector, and back."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tilegrad.autograd.tensor import Tensor
from tilegrad.ops.shape import concatenate, reshape


def parameters_to_vector(parameters: Iterable[Tensor]) -> Any:
    """All entries of ``parameters`` one after the other; gradients flow back."""
    parts = [reshape(p, (-1,)) for p in parameters]
    if not parts:
        raise ValueError("parameters_to_vector: there are no parameters")
    return concatenate(*parts, axis=0)


def vector_to_parameters(vec: Tensor, parameters: Iterable[Tensor]) -> None:
    """Write the entries of ``vec`` into ``parameters``, in place."""
    if not isinstance(vec, Tensor):
        raise TypeError(f"vector_to_parameters: needs a tensor, got {type(vec).__name__}")
    several = list(parameters)
    total = sum(p._array.size for p in several)
    if vec.shape != (total,):
        raise ValueError(
            f"vector_to_parameters: the vector has shape {vec.shape}, the parameters have "
            f"{total} entries in all"
        )
    start = 0
    for p in several:
        stop = start + p._array.size
        p._array[...] = vec._array[start:stop].reshape(p.shape)
        p._bump_version()
        start = stop
