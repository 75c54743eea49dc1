"""The LU factorisation of NumPy's own LAPACK, for determinant and inverse from one elimination.

numpy.linalg solves for the identity to invert (8/3 n^3 operations) and factors once more for the
determinant. LAPACK's getri needs 4/3 n^3 after getrf's 2/3 n^3. NumPy's wheels carry both in the
library that numpy.linalg is linked to; where its symbols are not found, numpy.linalg is called.
"""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

#: Below this size the calls cost more than the arithmetic that they save.
SMALLEST = 32
#: Size of a block in getri: its workspace is n times this.
BLOCK = 64


@cache
def _library() -> Any:
    """LAPACK's functions by dtype character and name, None if NumPy's build does not show them."""
    from numpy.linalg import _umath_linalg

    try:
        library = ctypes.CDLL(_umath_linalg.__file__)
        return {
            kind + name: getattr(library, f"scipy_{kind}{name}_64_")
            for kind in "sd"
            for name in ("getrf", "getri")
        }
    except (AttributeError, OSError):
        return None


def inverse_and_det(a: Array) -> tuple[Array, Array]:
    """Inverses and determinants of a stack of square matrices (float32 or float64).

    Raises:
        LinAlgError: a pivot is 0.
    """
    functions = _library() if a.shape[-1] >= SMALLEST else None
    if functions is None:
        return np.linalg.inv(a), np.asarray(np.linalg.det(a))
    inverse = np.array(a, order="C")
    det = np.empty(a.shape[:-2], a.dtype)
    for place in np.ndindex(det.shape):
        det[place] = _invert(functions, inverse[place])
    return inverse, det


def _invert(functions: Any, a: Array) -> Any:
    """Invert the C-contiguous ``a`` in place and return its determinant.

    LAPACK reads the transpose, whose inverse is the transposed inverse.
    """
    n = len(a)
    kind = a.dtype.char.replace("f", "s")
    size, status = ctypes.c_int64(n), ctypes.c_int64(0)
    pivots = np.empty(n, np.int64)
    work = np.empty(n * BLOCK, a.dtype)
    matrix, row = a.ctypes.data_as(ctypes.c_void_p), pivots.ctypes.data_as(ctypes.c_void_p)
    at = ctypes.byref
    functions[kind + "getrf"](at(size), at(size), matrix, at(size), row, at(status))
    if status.value:
        raise np.linalg.LinAlgError("Singular matrix")
    swaps = int(np.count_nonzero(pivots != np.arange(1, n + 1)))
    diagonal = np.diagonal(a).astype(np.float64)
    with np.errstate(over="ignore", under="ignore"):  # as numpy.linalg.det does
        det = np.exp(np.log(np.abs(diagonal)).sum()) * np.prod(np.sign(diagonal)) * (-1.0) ** swaps
    length = ctypes.c_int64(len(work))
    space = work.ctypes.data_as(ctypes.c_void_p)
    functions[kind + "getri"](at(size), matrix, at(size), row, space, at(length), at(status))
    return det
