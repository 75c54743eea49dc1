"""The operations: one short record each, forward kernel and derivative rules."""

from tilegrad.autograd.op import OPS
from tilegrad.ops import (
    arithmetic,
    batched,
    comparison,
    cumulative,
    exponential,
    indexing,
    power,
    products,
    promotion,
    reduction,
    selection,
    shape,
    softmax,
    special,
    trigonometric,
)

__all__ = [
    "OPS",
    "arithmetic",
    "batched",
    "comparison",
    "cumulative",
    "exponential",
    "indexing",
    "power",
    "products",
    "promotion",
    "reduction",
    "selection",
    "shape",
    "softmax",
    "special",
    "trigonometric",
]
