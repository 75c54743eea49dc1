"""What the operations of linear algebra ask of their operands, and how they say so."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from tilegrad.ops.products import bmm
from tilegrad.ops.shape import reshape

Array = npt.NDArray[Any]
LinAlgError = np.linalg.LinAlgError


class RepeatedValuesError(LinAlgError):
    """A derivative that does not exist where eigenvalues or singular values repeat."""


def floating(x: Any) -> Array:
    """``x`` as an array that LAPACK takes: float32 or float64."""
    array = np.asarray(x)
    if array.dtype.kind == "c":
        raise TypeError(f"linear algebra on real matrices, not {array.dtype}")
    if array.dtype.kind != "f":
        return array.astype(np.float64)
    return array.astype(np.float32) if array.dtype.itemsize < 4 else array


def matrices(name: str, x: Any) -> Array:
    """``x`` checked to be a stack of matrices with finite entries."""
    array = floating(x)
    if array.ndim < 2:
        raise LinAlgError(
            f"{name}: needs a matrix or a stack of matrices, got shape {array.shape}; "
            "a vector v is v[:, None] as a column"
        )
    if not np.isfinite(array).all():
        raise LinAlgError(f"{name}: the matrix of shape {array.shape} holds NaN or infinity")
    return array


def square(name: str, x: Any) -> Array:
    """``x`` checked to be a stack of square matrices with finite entries."""
    array = floating(x)
    if array.ndim >= 2 and array.shape[-1] != array.shape[-2]:
        raise LinAlgError(
            f"{name}: needs square matrices, got shape {array.shape}: "
            f"{array.shape[-2]} rows but {array.shape[-1]} columns"
        )
    return matrices(name, array)


def singular(name: str, x: Array) -> LinAlgError:
    """The error for a singular matrix where the result needs a regular one."""
    return LinAlgError(
        f"{name}: a matrix of shape {x.shape} is singular: it has no inverse; "
        "linalg.pinv and linalg.lstsq take any matrix"
    )


def outside(number: Any) -> Any:
    """A stack of numbers as a stack of 1 x 1 matrices: it broadcasts over the matrix axes."""
    return reshape(number, (*number.shape, 1, 1))


def chain(*factors: Any) -> Any:
    """The product of several stacks of matrices, left to right."""
    product = factors[0]
    for factor in factors[1:]:
        product = bmm(product, factor)
    return product
