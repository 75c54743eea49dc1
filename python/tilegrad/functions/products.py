"""Products of matrices and vectors."""

from __future__ import annotations

from typing import Any

from tilegrad.ops import products as _products

matmul = _products.matmul


def _need(x: Any, ndim: int, name: str, what: str) -> None:
    if x.ndim != ndim:
        raise RuntimeError(f"{name}: {what} needs {ndim} dimensions, not shape {x.shape}")


def mm(a: Any, b: Any) -> Any:
    """The product of two matrices."""
    _need(a, 2, "mm", "the left operand")
    _need(b, 2, "mm", "the right operand")
    return matmul(a, b)


def mv(a: Any, x: Any) -> Any:
    """A matrix times a vector."""
    _need(a, 2, "mv", "the matrix")
    _need(x, 1, "mv", "the vector")
    return matmul(a, x)


def dot(a: Any, b: Any) -> Any:
    """The inner product of two vectors."""
    _need(a, 1, "dot", "the left operand")
    _need(b, 1, "dot", "the right operand")
    return matmul(a, b)


def bmm(a: Any, b: Any) -> Any:
    """Products of two stacks of matrices, pair by pair."""
    _need(a, 3, "bmm", "the left operand")
    _need(b, 3, "bmm", "the right operand")
    if a.shape[0] != b.shape[0]:
        raise RuntimeError(f"bmm: {a.shape[0]} matrices {a.shape} but {b.shape[0]} of {b.shape}")
    return matmul(a, b)

__all__ = [
    "bmm", "dot", "matmul", "mm", "mv",
]  # fmt: skip
