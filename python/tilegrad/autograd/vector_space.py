"""The few operations that the engine itself needs, to add gradients and fit them to their edges.

The engine knows no operation: :mod:`tilegrad.ops` puts them here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any


class VectorSpace:
    """Addition, and the maps between an operand's shape and dtype and those of the result."""

    add: Callable[[Any, Any], Any]
    #: Add an array to another in place.
    add_into: Callable[[Any, Any], None]
    #: Sum a value down to a shape that broadcasts to its own.
    sum_to: Callable[[Any, tuple[int, ...]], Any]
    #: Broadcast a value up to a shape.
    expand: Callable[[Any, tuple[int, ...]], Any]
    #: Convert to a dtype.
    cast: Callable[[Any, Any], Any]
    #: Bring a mixture of tensors, arrays and numbers to arrays of a common (floating) dtype.
    promote: Callable[[Sequence[Any], bool], list[Any]]


vector_space: Any = VectorSpace()
