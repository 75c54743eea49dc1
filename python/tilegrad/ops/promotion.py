"""Which dtype a mixture of tensors, arrays and Python numbers is computed in: torch's rules.

Three categories, bool < integer < floating. Tensors with dimensions decide; a 0-d tensor, and after
it a Python number, matters only where its category is higher. So float32 stays float32 beside
``2.0`` or a 0-d float64, and an integer tensor times ``0.5`` is float32.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tilegrad.autograd import recording
from tilegrad.autograd.op import vector_space
from tilegrad.autograd.tensor import Tensor

DEFAULT_DTYPE = np.dtype(np.float32)
_CATEGORY = {"b": 0, "u": 1, "i": 1, "f": 2, "c": 3}
_PYTHON = {bool: np.dtype(bool), int: np.dtype(np.int64), float: DEFAULT_DTYPE}


def category(dtype: np.dtype[Any]) -> int:
    """0 for bool, 1 for integers, 2 for floating, 3 for complex dtypes."""
    return _CATEGORY.get(dtype.kind, 4)


def _join(dtypes: Sequence[np.dtype[Any]]) -> np.dtype[Any]:
    """The dtype of the highest category among ``dtypes``, widest within it."""
    top = max(category(dtype) for dtype in dtypes)
    return np.result_type(*[dtype for dtype in dtypes if category(dtype) == top])


def result_dtype(*values: Any) -> np.dtype[Any]:
    """The dtype in which ``values`` are computed together.

    >>> result_dtype(np.ones(2, np.float32), 2.0, np.float64(1))
    dtype('float32')
    >>> result_dtype(np.ones(2, np.int64), 0.5)
    dtype('float32')
    """
    groups: tuple[list[np.dtype[Any]], ...] = ([], [], [])
    for value in values:
        if value is None:
            continue
        if isinstance(value, Tensor):
            value = value._array
        if isinstance(value, np.ndarray):
            groups[0 if value.ndim else 1].append(value.dtype)
        elif isinstance(value, np.generic):
            groups[2].append(DEFAULT_DTYPE if value.dtype.kind == "f" else value.dtype)
        elif type(value) in _PYTHON:
            groups[2].append(_PYTHON[type(value)])
        else:
            groups[0].append(np.asarray(value).dtype)
    result: np.dtype[Any] | None = None
    for group in groups:
        if group:
            joined = _join(group)
            if result is None or category(joined) > category(result):
                result = joined
    if result is None:
        raise TypeError("a dtype needs at least one operand")
    return result


def promote(args: Sequence[Any], to_float: bool = False) -> list[Any]:
    """Arrays of the common dtype for ``args``; None stays None."""
    dtype = result_dtype(*args)
    if to_float and dtype.kind in "biu":
        dtype = DEFAULT_DTYPE
    return [None if value is None else _convert(value, dtype) for value in args]


def _convert(value: Any, dtype: np.dtype[Any]) -> Any:
    array = value._array if isinstance(value, Tensor) else value
    recorder = recording.current()
    if isinstance(array, np.ndarray):
        if recorder is not None and array.dtype != dtype:
            return recorder.call(np.asarray, (array, dtype), {})
        return np.asarray(array, dtype=dtype)
    return recording.constant(np.asarray(array, dtype=dtype))


vector_space.promote = promote
