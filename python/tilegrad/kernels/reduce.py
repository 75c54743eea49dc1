"""Reductions over any axes.

``axis`` is None (all axes), an integer or a tuple of them, negative ones counted from the end.
Results are fresh C-contiguous arrays, 0-d ones included. float32 and float64 run natively, every
other dtype on the twin. Sums are made of fixed chunks, so that the bits do not depend on the number
of threads and the error grows with the logarithm of the length, as with NumPy's pairwise sums. NaN
propagates.

>>> import numpy as np
>>> sum(np.ones((2, 3), np.float32), axis=0)
array([2., 2., 2.], dtype=float32)
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tilegrad.kernels.registry import kernel

Array = NDArray[Any]
Axis = int | tuple[int, ...] | None


@kernel
def sum(x: ArrayLike, axis: Axis = None, keepdims: bool = False) -> Array:
    """The sum over ``axis``; 0 over an empty one. Integers and booleans are summed in int64."""
    x = np.asarray(x)
    dtype = np.int64 if x.dtype.kind in "biu" else None
    with np.errstate(all="ignore"):
        return np.asarray(np.sum(x, axis=axis, dtype=dtype, keepdims=keepdims), order="C")


@kernel
def mean(x: ArrayLike, axis: Axis = None, keepdims: bool = False) -> Array:
    """The mean over ``axis``; NaN over an empty one. Integers give float64."""
    x = np.asarray(x)
    with np.errstate(all="ignore"):
        total = np.sum(x, axis=axis, keepdims=keepdims)
        # 0 / 0 = NaN says that an empty axis has no mean
        count = x.size / np.asarray(total).size if np.asarray(total).size else 1
        return np.asarray(total / np.asarray(count, np.result_type(total, np.float32)), order="C")


@kernel
def prod(x: ArrayLike, axis: Axis = None, keepdims: bool = False) -> Array:
    """The product over ``axis``; 1 over an empty one."""
    with np.errstate(all="ignore"):
        return np.asarray(np.prod(np.asarray(x), axis=axis, keepdims=keepdims), order="C")


@kernel
def amax(x: ArrayLike, axis: Axis = None, keepdims: bool = False) -> Array:
    """The largest element over ``axis``; NaN if there is one. ValueError over an empty axis."""
    return np.asarray(np.amax(np.asarray(x), axis=axis, keepdims=keepdims), order="C")


@kernel
def amin(x: ArrayLike, axis: Axis = None, keepdims: bool = False) -> Array:
    """The smallest element over ``axis``; NaN if there is one. ValueError over an empty axis."""
    return np.asarray(np.amin(np.asarray(x), axis=axis, keepdims=keepdims), order="C")


@kernel
def argmax(x: ArrayLike, axis: int | None = None, keepdims: bool = False) -> Array:
    """The int64 index of the first largest element (the first NaN, if there is one) along ``axis``.

    With ``axis=None`` the index is into the flattened array. ValueError over an empty axis.
    """
    return np.asarray(np.argmax(np.asarray(x), axis=axis, keepdims=keepdims), np.int64)


@kernel
def argmin(x: ArrayLike, axis: int | None = None, keepdims: bool = False) -> Array:
    """The int64 index of the first smallest element along ``axis``; else as :func:`argmax`."""
    return np.asarray(np.argmin(np.asarray(x), axis=axis, keepdims=keepdims), np.int64)


@kernel
def sum_to(x: ArrayLike, shape: tuple[int, ...]) -> Array:
    """Sum ``x`` down to ``shape``: the adjoint of broadcasting ``shape`` to ``x.shape``.

    Leading axes that ``shape`` lacks are summed away, axes where it has 1 are summed and kept.
    ValueError unless ``shape`` broadcasts to ``x.shape``.

    >>> import numpy as np
    >>> sum_to(np.ones((4, 3)), (3,))
    array([4., 4., 4.])
    """
    x = np.asarray(x)
    extra = x.ndim - len(shape)
    matches = extra >= 0 and all(
        want in (1, have) for want, have in zip(shape, x.shape[extra:], strict=True)
    )
    if not matches:
        raise ValueError(f"sum_to: shape {tuple(shape)} does not broadcast to {x.shape}")
    axes = tuple(range(extra)) + tuple(
        extra + i for i, want in enumerate(shape) if want == 1 and x.shape[extra + i] != 1
    )
    with np.errstate(all="ignore"):
        # a sum over no axis would promote small integers; there is nothing to sum then
        total = np.sum(x, axis=axes, keepdims=True) if axes else x.copy()
    return np.asarray(total.reshape(shape), order="C")
