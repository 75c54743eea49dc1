"""Layouts: how books arrange the partial derivatives of a result by an argument.

``tensor``        shape of the result, then shape of the argument: nothing is arranged
``numerator``     Jacobian formulation: a vector by a vector is m x n, a scalar by a vector a row,
                  a scalar by a p x q matrix is q x p, a vector by a scalar a column
``denominator``   the transposes of these: gradients of scalars have the shape of their argument
``mixed``         vectors by vectors as in numerator layout, scalars by anything as in denominator
                  layout (matrixcalculus.org)

A matrix by a vector or a matrix, and a vector by a matrix, have no arrangement as a matrix of their
own: they are flattened by column vec, vec(Y) by vec(X), as Magnus & Neudecker do.
"""

from __future__ import annotations

from typing import Any

from tilegrad.autograd.tensor import Tensor
from tilegrad.ops.products import transpose
from tilegrad.ops.shape import permute, reshape

LAYOUTS = ("tensor", "numerator", "denominator", "mixed")
VECS = ("row", "col")

Shape = tuple[int, ...]


def check_layout(name: Any) -> str:
    """``name`` if it is a layout's, else an error that lists them."""
    if name not in LAYOUTS:
        raise ValueError(f"unknown layout {name!r}; the layouts are {', '.join(LAYOUTS)}")
    return str(name)


def size_of(shape: Shape) -> int:
    """Number of entries of an array of ``shape``."""
    total = 1
    for n in shape:
        total *= n
    return total


def vec_order(x: Tensor, out: Shape, arg: Shape, vec: str) -> Tensor:
    """``x``, of shape ``out + arg``, as a matrix of vec(result) by vec(argument)."""
    if vec not in VECS:
        raise ValueError(f"unknown vec {vec!r}: 'row' stacks rows, 'col' stacks columns")
    if vec == "col":
        k, n = len(out), len(out) + len(arg)
        x = permute(x, (*reversed(range(k)), *reversed(range(k, n))))
    return reshape(x, (size_of(out), size_of(arg)))  # type: ignore[no-any-return]


def is_arranged(out: Shape, arg: Shape) -> bool:
    """Whether a layout has an arrangement for these shapes, other than by vec."""
    if not out or not arg:
        return len(out) + len(arg) <= 2
    return len(out) == len(arg) == 1


def arrange(x: Tensor, out: Shape, arg: Shape, name: str) -> Tensor:
    """``x``, of shape ``out + arg``, in the layout ``name``."""
    check_layout(name)
    if name == "tensor":
        return x
    if name == "denominator" or (name == "mixed" and not out):
        turned: Tensor = transpose(arrange(x, out, arg, "numerator"))
        return turned
    if not is_arranged(out, arg):
        return vec_order(x, out, arg, "col")
    if not out and len(arg) == 2:
        turned = transpose(x)
        return turned
    rows = size_of(out)
    if not arg and len(out) == 2:
        return x
    return reshape(x, (rows, size_of(arg)))  # type: ignore[no-any-return]


def arranged_shape(out: Shape, arg: Shape, name: str) -> Shape:
    """The shape that :func:`arrange` gives.

    >>> arranged_shape((), (3,), "numerator"), arranged_shape((), (3,), "mixed")
    ((1, 3), (3, 1))
    """
    check_layout(name)
    if name == "tensor":
        return out + arg
    if name == "denominator" or (name == "mixed" and not out):
        return arranged_shape(out, arg, "numerator")[::-1]
    if is_arranged(out, arg) and not out and len(arg) == 2:
        return arg[::-1]
    if is_arranged(out, arg) and not arg and len(out) == 2:
        return out
    return size_of(out), size_of(arg)
