"""Sums, products, quotients and powers, entry by entry."""

from __future__ import annotations

from tilegrad import kernels
from tilegrad.autograd.op import vector_space
from tilegrad.ops.define import elementwise

add = elementwise(
    "add", kernels.add, "x y", promotes=True,
    x=lambda g: g,
    y=lambda g: g,
)  # fmt: skip

subtract = elementwise(
    "subtract", kernels.subtract, "x y", promotes=True,
    x=lambda g: g,
    y=lambda g: negative(g),
)  # fmt: skip

multiply = elementwise(
    "multiply", kernels.multiply, "x y", promotes=True,
    x=lambda g, y: multiply(g, y),
    y=lambda g, x: multiply(g, x),
)  # fmt: skip

divide = elementwise(
    "divide", kernels.divide, "x y",
    x=lambda g, y: divide(g, y),
    # d(x / y) = -x / y^2 dy = -out / y dy
    y=lambda g, out, y: negative(divide(multiply(g, out), y)),
)  # fmt: skip

negative = elementwise("negative", kernels.negative, "x", promotes=True, x=lambda g: negative(g))

square = elementwise(
    "square", kernels.square, "x", promotes=True,
    x=lambda g, x: multiply(g, multiply(x, 2.0)),
)  # fmt: skip

reciprocal = elementwise(
    "reciprocal", kernels.reciprocal, "x",
    x=lambda g, out: negative(multiply(g, square(out))),
)  # fmt: skip

vector_space.add = add
