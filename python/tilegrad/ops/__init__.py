"""The operations: one short record each, forward kernel and derivative rules."""

from tilegrad.autograd.op import OPS
from tilegrad.ops import arithmetic, products, reduction, shape

__all__ = ["OPS", "arithmetic", "products", "reduction", "shape"]
