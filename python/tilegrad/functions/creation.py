"""Tensors from data and from sizes.

Sizes may be given one by one or as one sequence. ``dtype`` is a NumPy dtype; floats are float32
unless the data say otherwise. ``device`` is accepted for the sake of programs that name the CPU.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from tilegrad.autograd.recording import opaque
from tilegrad.autograd.tensor import Tensor
from tilegrad.functions import shaping
from tilegrad.functions.axes import sizes_of
from tilegrad.kernels.failure import KINDS, raise_retold
from tilegrad.ops import shape as _shape
from tilegrad.ops.promotion import DEFAULT_DTYPE

#: What names a dtype, or None for the usual one.
DType = npt.DTypeLike | None


def check_device(device: Any) -> None:
    """Raise unless ``device`` is the CPU."""
    if device is not None and not str(device).startswith("cpu"):
        raise ValueError(f"tilegrad computes on the CPU only, not on {device!r}")


def _leaf(array: Any, requires_grad: bool) -> Tensor:
    if requires_grad and array.dtype.kind != "f":
        raise RuntimeError(
            f"only floating tensors can require gradients, this one has dtype {array.dtype}"
        )
    return Tensor(array, requires_grad)


def _array(data: Any, dtype: DType = None) -> Any:
    """The entries of ``data``: NumPy's dtypes stay, Python's floats become float32."""
    if isinstance(data, Tensor):
        array = data._array
        return array if dtype is None else array.astype(dtype, copy=False)
    if (
        isinstance(data, (np.ndarray, np.generic))
        or hasattr(data, "__array__")
        or hasattr(data, "__array_interface__")
    ):
        array = np.asarray(data, dtype=dtype)
    else:
        try:
            array = np.asarray(_plain(data), dtype=dtype)
        except KINDS as error:
            raise_retold(error, "tensor", (data,))
        if dtype is None and array.dtype.kind == "f" and not _has_array(data):
            array = array.astype(DEFAULT_DTYPE)
    if array.dtype.kind not in "fiub":
        raise TypeError(f"tensor: entries must be real numbers or bools, not {array.dtype}")
    return array


def _has_array(data: Any) -> bool:
    """Whether nested sequences contain arrays, whose dtype then counts."""
    if isinstance(data, (list, tuple)):
        return any(map(_has_array, data))
    return isinstance(data, (np.ndarray, np.generic, Tensor))


def holds_tensors(data: Any) -> bool:
    """Whether ``data`` is a tensor, or nested sequences with tensors in them."""
    if isinstance(data, (list, tuple)):
        return any(map(holds_tensors, data))
    return isinstance(data, Tensor)


def _stacked(data: Any) -> Tensor:
    """Nested sequences of tensors and numbers as one tensor, with their history."""
    if isinstance(data, Tensor):
        return data
    if not holds_tensors(data):
        return tensor(data)
    stack: Tensor = shaping.stack([_stacked(item) for item in data])
    return stack


def _plain(data: Any) -> Any:
    """Nested sequences with the tensors in them replaced by their arrays."""
    if isinstance(data, Tensor):
        return data._array
    if isinstance(data, (list, tuple)):
        return [_plain(item) for item in data]
    return data


def tensor(
    data: Any, dtype: DType = None, requires_grad: bool = False, *, device: Any = None
) -> Tensor:
    """A tensor of ``data``.

    Args:
        data: a NumPy array (its dtype is kept and its memory shared where possible), a number or
            nested sequences of numbers (floats become float32, integers int64), or a tensor.
        dtype: dtype of the entries, if it is to be another.
        requires_grad: make it a leaf that gradients are computed for.

    >>> import tilegrad as tg
    >>> tg.tensor([[1.0, 2.0]]).dtype
    dtype('float32')
    >>> tg.tensor(np.ones(3), requires_grad=True).dtype
    dtype('float64')
    """
    check_device(device)
    array = _array(data, dtype)
    if isinstance(data, Tensor) and array is data._array:
        array = array.copy()
    return _leaf(array, requires_grad)


def as_tensor(data: Any, dtype: DType = None, *, device: Any = None) -> Tensor:
    """``data`` as a tensor: a tensor stays what it is, with its history; so do those in lists."""
    check_device(device)
    if holds_tensors(data):
        whole = _stacked(data)
        same = dtype is None or whole.dtype == dtype
        result: Tensor = whole if same else _shape.cast(whole, np.dtype(dtype))
        return result
    return tensor(data, dtype)


def asarray(
    obj: Any, dtype: DType = None, *, device: Any = None, copy: bool | None = None,
    requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """:func:`as_tensor` with a say about copying: True always, False never, None where needed."""
    result = as_tensor(obj, dtype, device=device)
    if copy:
        result = _shape.copy(result)
    elif copy is False and dtype is not None and getattr(obj, "dtype", dtype) != dtype:
        raise ValueError(f"asarray: {obj.dtype} does not become {np.dtype(dtype)} without a copy")
    return result.requires_grad_() if requires_grad else result


def from_numpy(array: Any) -> Tensor:
    """A tensor on the memory of a NumPy array."""
    if not isinstance(array, np.ndarray):
        raise TypeError(f"from_numpy: needs a NumPy array, not {type(array).__name__}")
    return tensor(array)


def from_dlpack(x: Any, *, device: Any = None, copy: bool | None = None) -> Tensor:
    """A tensor on the memory of another library's CPU tensor."""
    check_device(device)
    array = np.from_dlpack(x, copy=copy) if copy is not None else np.from_dlpack(x)
    return Tensor(array)


@opaque
def scalar_tensor(
    value: Any, dtype: DType = None, requires_grad: bool = False, *, device: Any = None
) -> Tensor:
    """A number as a tensor without dimensions."""
    check_device(device)
    return _leaf(np.asarray(value, DEFAULT_DTYPE if dtype is None else dtype), requires_grad)


# ---- constant entries ----------------------------------------------------------------------------


def _filled(
    sizes: tuple[Any, ...], value: Any, dtype: DType, requires_grad: bool, device: Any
) -> Tensor:
    check_device(device)
    if dtype is None:
        dtype = _array(value).dtype
    entries = value._array if isinstance(value, Tensor) else value
    return _leaf(np.full(sizes_of(sizes), entries, dtype), requires_grad)


@opaque
def zeros(
    *size: Any, dtype: DType = None, requires_grad: bool = False, device: Any = None,
    shape: Any = None,
) -> Tensor:  # fmt: skip
    """Zeros.

    >>> import tilegrad as tg
    >>> tg.zeros(2, 3).shape == tg.zeros((2, 3)).shape == (2, 3)
    True
    """
    return _filled(size if shape is None else (shape,), 0.0, dtype, requires_grad, device)


@opaque
def ones(
    *size: Any, dtype: DType = None, requires_grad: bool = False, device: Any = None,
    shape: Any = None,
) -> Tensor:  # fmt: skip
    """Ones."""
    return _filled(size if shape is None else (shape,), 1.0, dtype, requires_grad, device)


@opaque
def empty(
    *size: Any, dtype: DType = None, requires_grad: bool = False, device: Any = None,
    shape: Any = None,
) -> Tensor:  # fmt: skip
    """Entries that mean nothing yet."""
    check_device(device)
    shape = sizes_of(size) if shape is None else sizes_of((shape,))
    return _leaf(np.empty(shape, DEFAULT_DTYPE if dtype is None else dtype), requires_grad)


@opaque
def full(
    size: Any,
    fill_value: Any = 0.0,
    *,
    dtype: DType = None,
    requires_grad: bool = False,
    device: Any = None,
) -> Tensor:
    """``fill_value`` everywhere; without ``dtype`` its own kind decides."""
    return _filled((size,), fill_value, dtype, requires_grad, device)


def _like(x: Any, dtype: Any) -> tuple[tuple[int, ...], Any]:
    return x.shape, x.dtype if dtype is None else np.dtype(dtype)


@opaque
def zeros_like(
    x: Any, dtype: DType = None, requires_grad: bool = False, *, device: Any = None
) -> Tensor:
    """Zeros in the shape and dtype of ``x``."""
    shape, dtype = _like(x, dtype)
    return _filled(shape, 0, dtype, requires_grad, device)


@opaque
def ones_like(
    x: Any, dtype: DType = None, requires_grad: bool = False, *, device: Any = None
) -> Tensor:
    """Ones in the shape and dtype of ``x``."""
    shape, dtype = _like(x, dtype)
    return _filled(shape, 1, dtype, requires_grad, device)


@opaque
def empty_like(
    x: Any, dtype: DType = None, requires_grad: bool = False, *, device: Any = None
) -> Tensor:
    """Entries that mean nothing yet, in the shape and dtype of ``x``."""
    shape, dtype = _like(x, dtype)
    return empty(shape, dtype=dtype, requires_grad=requires_grad, device=device)


@opaque
def full_like(
    x: Any, fill_value: Any, dtype: DType = None, requires_grad: bool = False, *,
    device: Any = None,
) -> Tensor:  # fmt: skip
    """``fill_value`` in the shape and dtype of ``x``."""
    shape, dtype = _like(x, dtype)
    return _filled(shape, fill_value, dtype, requires_grad, device)


# ---- sequences -----------------------------------------------------------------------------------


def _number(value: Any) -> Any:
    return value.item() if isinstance(value, (Tensor, np.ndarray, np.generic)) else value


@opaque
def arange(
    start: Any, end: Any = None, step: Any = 1, *, stop: Any = None, dtype: DType = None,
    requires_grad: bool = False, device: Any = None,
) -> Tensor:  # fmt: skip
    """Numbers from ``start`` (0) up to ``end``, exclusive: int64, or float32 if one is a float."""
    check_device(device)
    end = stop if end is None else end
    start, end = (0, start) if end is None else (start, end)
    start, end, step = _number(start), _number(end), _number(step)
    if step == 0:
        raise ValueError("arange: step must not be 0")
    whole = all(isinstance(value, (int, np.integer)) for value in (start, end, step))
    if dtype is None:
        dtype = np.int64 if whole else DEFAULT_DTYPE
    elif np.dtype(dtype) == np.int64 and not whole:
        return arange(int(start), int(end), int(step), dtype=dtype, requires_grad=requires_grad)
    count = max(-(-(end - start) // step) if whole else int(np.ceil((end - start) / step)), 0)
    return _leaf((start + np.arange(count) * step).astype(dtype), requires_grad)


@opaque
def linspace(
    start: Any, end: Any = None, steps: int = 100, *, stop: Any = None, num: int | None = None,
    dtype: DType = None, endpoint: bool = True, requires_grad: bool = False,
    device: Any = None,
) -> Tensor:  # fmt: skip
    """``steps`` numbers from ``start`` to ``end`` at equal distances."""
    check_device(device)
    dtype = np.dtype(DEFAULT_DTYPE if dtype is None else dtype)
    ends = _ends(start, stop if end is None else end, dtype)
    if dtype.kind == "b":
        raise TypeError("linspace: there are no steps between bools")
    array = np.linspace(*ends, steps if num is None else num, endpoint=endpoint)
    return _leaf(array.astype(dtype), requires_grad)


def _ends(start: Any, end: Any, dtype: np.dtype[Any]) -> tuple[Any, Any]:
    """Both ends in the dtype of the result, where that is one of integers."""
    start, end = _number(start), _number(end)
    return (int(start), int(end)) if dtype.kind in "iu" else (start, end)


@opaque
def logspace(
    start: Any, end: Any, steps: int = 100, base: float = 10.0, *, dtype: DType = None,
    requires_grad: bool = False, device: Any = None,
) -> Tensor:  # fmt: skip
    """``base`` to the powers of :func:`linspace`."""
    check_device(device)
    dtype = np.dtype(DEFAULT_DTYPE if dtype is None else dtype)
    array = np.logspace(*_ends(start, end, dtype), steps, base=base)
    return _leaf(array.astype(dtype), requires_grad)


@opaque
def eye(
    n: int, m: int | None = None, *, k: int = 0, dtype: DType = None,
    requires_grad: bool = False, device: Any = None,
) -> Tensor:  # fmt: skip
    """Ones on the (k-th) diagonal."""
    check_device(device)
    dtype = DEFAULT_DTYPE if dtype is None else dtype
    return _leaf(np.eye(n, m, k, dtype=dtype), requires_grad)


@opaque
def tril_indices(
    row: int, col: int | None = None, offset: int = 0, *, dtype: Any = None, device: Any = None
) -> Tensor:
    """Row and column numbers of the lower triangle, (2, count)."""
    check_device(device)
    found = np.tril_indices(row, offset, row if col is None else col)
    return Tensor(np.stack(found).astype(np.int64 if dtype is None else dtype))


@opaque
def triu_indices(
    row: int, col: int | None = None, offset: int = 0, *, dtype: Any = None, device: Any = None
) -> Tensor:
    """Row and column numbers of the upper triangle, (2, count)."""
    check_device(device)
    found = np.triu_indices(row, offset, row if col is None else col)
    return Tensor(np.stack(found).astype(np.int64 if dtype is None else dtype))


def vander(x: Any, N: int | None = None, increasing: bool = False) -> Any:
    """Columns of powers of ``x``, the highest first unless ``increasing``."""
    from tilegrad.functions.shaping import flip, stack
    from tilegrad.ops.arithmetic import multiply

    columns = x.shape[-1] if N is None else N
    if not columns:
        return empty((*x.shape, 0), dtype=x.dtype)
    powers = [ones_like(x)]
    for _ in range(columns - 1):
        powers.append(multiply(powers[-1], x))
    table = stack(powers, -1)
    return table if increasing else flip(table, -1)


__all__ = [
    "arange", "as_tensor", "asarray", "empty", "empty_like", "eye", "from_dlpack", "from_numpy",
    "full", "full_like", "linspace", "logspace", "ones", "ones_like", "scalar_tensor", "tensor",
    "tril_indices", "triu_indices", "vander", "zeros", "zeros_like",
]  # fmt: skip
