"""tilegrad's functions with the names and meanings of the Python array API standard.

``x.__array_namespace__()`` gives this module, so that libraries written against the standard take
tensors, and gradients pass through them. It differs from :mod:`tilegrad` where the standard differs
from torch: ``max`` along an axis gives values alone, ``std`` divides by n, ``sort`` gives no
indices. There are no complex dtypes.

>>> import tilegrad as tg
>>> x = tg.tensor([[1.0, 2.0], [3.0, 5.0]], requires_grad=True)
>>> xp = x.__array_namespace__()
>>> xp.max(x, axis=0)
tensor([3., 5.], grad_fn=<amax>)
"""

from __future__ import annotations

import builtins
from typing import Any, NamedTuple

import numpy as np

from tilegrad import functions as _f
from tilegrad.autograd.tensor import Tensor
from tilegrad.functions.axes import normal_axes as _normal_axes
from tilegrad.functions.creation import check_device as _check_device
from tilegrad.ops import indexing as _indexing
from tilegrad.ops import reduction as _reduction
from tilegrad.ops import shape as _shape
from tilegrad.ops.promotion import DEFAULT_DTYPE as _DEFAULT_DTYPE
from tilegrad.ops.promotion import result_dtype as _result_dtype

__array_api_version__ = "2024.12"

#: What means the same there and here.
_SAME = """
abs acos acosh asin asinh atan atanh bitwise_invert broadcast_shapes ceil cos cosh e empty_like exp
expm1 floor from_dlpack full_like inf isfinite isinf isnan log log10 log1p log2 logical_and
logical_not logical_or logical_xor matmul matrix_transpose moveaxis nan negative newaxis ones_like
outer pi positive reciprocal round sign signbit sin sinh sqrt square tan tanh trunc zeros_like bool
float32 float64 int8 int16 int32 int64 uint8 uint16 uint32 uint64
"""

#: What takes two arrays whose dtypes are joined, whatever their dimensions.
_JOINING = """
add atan2 bitwise_and bitwise_left_shift bitwise_or bitwise_right_shift bitwise_xor copysign divide
floor_divide greater greater_equal hypot less less_equal logaddexp maximum minimum multiply
nextafter not_equal pow remainder subtract
"""


def _in_one_dtype(*arrays: Any) -> list[Any]:
    dtype = np.result_type(*(x.dtype for x in arrays))
    return [astype(x, dtype, copy=False) for x in arrays]


def _joining(function: Any) -> Any:
    """A function of two arrays in their common dtype: a 0-d one counts here, unlike in torch."""

    def joined(x1: Any, x2: Any, /) -> Any:
        if isinstance(x1, Tensor) and isinstance(x2, Tensor):
            x1, x2 = _in_one_dtype(x1, x2)
        return function(x1, x2)

    joined.__name__, joined.__doc__ = function.__name__, function.__doc__
    return joined


for _name in _SAME.split():
    globals()[_name] = getattr(_f, _name)
for _name in _JOINING.split():
    globals()[_name] = _joining(getattr(_f, _name))
equal = _joining(_f.eq)


def __getattr__(name: str) -> Any:
    if name == "linalg":
        import tilegrad.linalg

        return tilegrad.linalg
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


# ---- dtypes and devices --------------------------------------------------------------------------


class FloatInfo(NamedTuple):
    """The limits of a floating dtype."""

    bits: int
    eps: float
    max: float
    min: float
    smallest_normal: float
    dtype: Any


class IntegerInfo(NamedTuple):
    """The limits of an integer dtype."""

    bits: int
    max: int
    min: int
    dtype: Any


def _dtype_of(type: Any) -> np.dtype[Any]:
    return type.dtype if isinstance(type, Tensor) else np.dtype(type)


def finfo(type: Any, /) -> FloatInfo:
    """The limits of a floating dtype."""
    dtype = _dtype_of(type)
    info = np.finfo(dtype)
    limits = (info.eps, info.max, info.min, info.smallest_normal)
    eps, largest, smallest, normal = map(float, limits)
    return FloatInfo(info.bits, eps, largest, smallest, normal, dtype=dtype)


def iinfo(type: Any, /) -> IntegerInfo:
    """The limits of an integer dtype."""
    dtype = _dtype_of(type)
    info = np.iinfo(dtype)
    return IntegerInfo(info.bits, int(info.max), int(info.min), dtype)


def astype(x: Tensor, dtype: Any, /, *, copy: bool = True, device: Any = None) -> Any:
    """``x`` in another dtype; a copy unless ``copy`` is false and nothing changes."""
    _check_device(device)
    if x.dtype == dtype:
        return _shape.copy(x) if copy else x
    return _shape.cast(x, np.dtype(dtype))


def can_cast(from_: Any, to: Any, /) -> bool:
    """Whether every value of one dtype is a value of the other."""
    return builtins.bool(np.can_cast(_dtype_of(from_), to))


def isdtype(dtype: Any, kind: Any) -> bool:
    """Whether a dtype is of a kind."""
    return builtins.bool(np.isdtype(np.dtype(dtype), kind))


def result_type(*arrays_and_dtypes: Any) -> Any:
    """The dtype that arrays, dtypes and Python numbers are computed in together."""
    if not builtins.any(isinstance(x, (Tensor, np.dtype)) for x in arrays_and_dtypes):
        raise ValueError("result_type: at least one array or dtype is needed")
    return _result_dtype(
        *(np.empty(1, x) if isinstance(x, np.dtype) else x for x in arrays_and_dtypes)
    )


class _Info:
    """What this namespace can do."""

    def capabilities(self) -> dict[str, Any]:
        """Boolean masks and shapes that depend on data work; there is no limit on dimensions."""
        return {"boolean indexing": True, "data-dependent shapes": True, "max dimensions": 64}

    def default_device(self) -> str:
        """The CPU."""
        return "cpu"

    def devices(self) -> list[str]:
        """The CPU alone."""
        return ["cpu"]

    def default_dtypes(self, *, device: Any = None) -> dict[str, Any]:
        """The dtypes of Python's numbers."""
        _check_device(device)
        integral = np.dtype(np.int64)
        return {"real floating": _DEFAULT_DTYPE, "integral": integral, "indexing": integral}

    def dtypes(self, *, device: Any = None, kind: Any = None) -> dict[str, Any]:
        """The dtypes there are, of a kind."""
        _check_device(device)
        names = [name for name in _SAME.split() if isinstance(globals()[name], np.dtype)]
        return {n: globals()[n] for n in names if kind is None or isdtype(globals()[n], kind)}


def __array_namespace_info__() -> _Info:  # noqa: N807 - the standard's name
    """What this namespace can do."""
    return _Info()


# ---- creation ------------------------------------------------------------------------------------


def asarray(
    obj: Any, /, *, dtype: Any = None, device: Any = None, copy: bool | None = None
) -> Tensor:
    """A tensor of ``obj``; nested sequences may hold tensors."""
    return _f.asarray(obj, dtype, device=device, copy=copy)


def arange(start: Any, /, stop: Any = None, step: Any = 1, *, dtype: Any = None,
           device: Any = None) -> Tensor:  # fmt: skip
    """Numbers from ``start`` up to ``stop``, exclusive."""
    return _f.arange(start, stop, step, dtype=dtype, device=device)


def linspace(start: Any, stop: Any, /, num: int, *, dtype: Any = None, device: Any = None,
             endpoint: bool = True) -> Tensor:  # fmt: skip
    """``num`` numbers at equal distances."""
    return _f.linspace(start, stop, num, dtype=dtype, device=device, endpoint=endpoint)


def zeros(shape: Any, *, dtype: Any = None, device: Any = None) -> Tensor:
    """Zeros."""
    return _f.zeros(shape, dtype=dtype, device=device)


def ones(shape: Any, *, dtype: Any = None, device: Any = None) -> Tensor:
    """Ones."""
    return _f.ones(shape, dtype=dtype, device=device)


def empty(shape: Any, *, dtype: Any = None, device: Any = None) -> Tensor:
    """Entries that mean nothing yet."""
    return _f.empty(shape, dtype=dtype, device=device)


def eye(n_rows: int, n_cols: int | None = None, /, *, k: int = 0, dtype: Any = None,
        device: Any = None) -> Tensor:  # fmt: skip
    """Ones on a diagonal."""
    return _f.eye(n_rows, n_cols, k=k, dtype=dtype, device=device)


def full(shape: Any, fill_value: Any, *, dtype: Any = None, device: Any = None) -> Tensor:
    """One value everywhere."""
    return _f.full(shape, fill_value, dtype=dtype, device=device)


def tril(x: Any, /, *, k: int = 0) -> Any:
    """Zeros above a diagonal."""
    return _shape.tril(x, k)


def triu(x: Any, /, *, k: int = 0) -> Any:
    """Zeros below a diagonal."""
    return _shape.triu(x, k)


def meshgrid(*arrays: Any, indexing: str = "xy") -> list[Any]:
    """Coordinates of a grid."""
    return list(_f.meshgrid(*arrays, indexing=indexing))


# ---- elementwise ---------------------------------------------------------------------------------


def clip(x: Any, /, min: Any = None, max: Any = None) -> Any:
    """``x`` kept between two bounds, in the dtype of ``x``."""
    bounds = [_shape.cast(b, x.dtype) if isinstance(b, Tensor) else b for b in (min, max)]
    return _f.clip(x, *bounds)


def real(x: Any, /) -> Any:
    """The real part."""
    return x


def conj(x: Any, /) -> Any:
    """The complex conjugate of a real array: itself."""
    return x


def imag(x: Any, /) -> Any:
    """The imaginary part of a real array: zeros."""
    return _f.zeros_like(x)


def where(condition: Any, x1: Any, x2: Any, /) -> Any:
    """``x1`` where the condition holds, ``x2`` elsewhere."""
    return _f.where(condition, x1, x2)


# ---- manipulation --------------------------------------------------------------------------------


def broadcast_arrays(*arrays: Any) -> list[Any]:
    """All broadcast to their common shape."""
    return list(_f.broadcast_tensors(*arrays))


def broadcast_to(x: Any, /, shape: Any) -> Any:
    """``x`` broadcast to ``shape``."""
    return _f.broadcast_to(x, shape)


def concat(arrays: Any, /, *, axis: int | None = 0) -> Any:
    """Arrays joined along an existing axis, or flattened."""
    return _f.cat(_in_one_dtype(*arrays), axis)


def stack(arrays: Any, /, *, axis: int = 0) -> Any:
    """Arrays joined along a new axis."""
    return _f.stack(arrays, axis)


def unstack(x: Any, /, *, axis: int = 0) -> tuple[Any, ...]:
    """The slices along an axis."""
    return tuple(_f.unbind(x, axis))


def expand_dims(x: Any, /, axis: Any) -> Any:
    """A new axis of size 1."""
    return _f.expand_dims(x, axis)


def squeeze(x: Any, /, axis: Any) -> Any:
    """Axes of size 1 removed; ValueError if one has another size."""
    for i in _normal_axes(axis, x.ndim, "squeeze"):
        if x.shape[i] != 1:
            raise ValueError(f"squeeze: axis {i} of shape {x.shape} has size {x.shape[i]}, not 1")
    return _f.squeeze(x, axis)


def flip(x: Any, /, *, axis: Any = None) -> Any:
    """The order along axes reversed."""
    return _f.flip(x, axis=axis)


def permute_dims(x: Any, /, axes: Any) -> Any:
    """The axes in another order."""
    return _f.permute(x, axes)


def repeat(x: Any, repeats: Any, /, *, axis: int | None = None) -> Any:
    """Every entry repeated."""
    return _f.repeat_interleave(x, repeats, axis)


def reshape(x: Any, /, shape: Any, *, copy: bool | None = None) -> Any:
    """The same entries in another shape."""
    if copy:
        return _f.reshape(_shape.copy(x), shape)
    out = _f.reshape(x, shape)
    if copy is False and x.numel() and not np.shares_memory(out._array, x._array):
        raise ValueError(f"reshape: {x.shape} does not become {tuple(shape)} without a copy")
    return out


def roll(x: Any, /, shift: Any, *, axis: Any = None) -> Any:
    """Entries moved cyclically."""
    if isinstance(axis, tuple) and not isinstance(shift, tuple):
        shift = (shift,) * len(axis)
    return _f.roll(x, shift, axis)


def tile(x: Any, repetitions: Any, /) -> Any:
    """Copies side by side."""
    return _f.tile(x, tuple(repetitions))


def diff(x: Any, /, *, axis: int = -1, n: int = 1, prepend: Any = None, append: Any = None) -> Any:
    """Differences of neighbours."""
    return _f.diff(x, n, axis, prepend, append)


# ---- reductions ----------------------------------------------------------------------------------


def _wide(x: Any, dtype: Any) -> Any:
    """The dtype sums are made in: 64 bits for integers, of the same sign."""
    if dtype is None and x.dtype.kind == "u":
        return np.dtype(np.uint64)
    return dtype


def sum(x: Any, /, *, axis: Any = None, dtype: Any = None, keepdims: bool = False) -> Any:
    """The sum over axes."""
    dtype = _wide(x, dtype)
    out = _f.sum(x, axis, keepdims, dtype=dtype)
    return out if dtype is None or out.dtype == dtype else _shape.cast(out, np.dtype(dtype))


def prod(x: Any, /, *, axis: Any = None, dtype: Any = None, keepdims: bool = False) -> Any:
    """The product over axes."""
    dtype = _wide(x, dtype)
    out = _f.prod(x, axis, keepdims, dtype=dtype)
    return out if dtype is None or out.dtype == dtype else _shape.cast(out, np.dtype(dtype))


def cumulative_sum(x: Any, /, *, axis: int | None = None, dtype: Any = None,
                   include_initial: bool = False) -> Any:  # fmt: skip
    """The sum so far."""
    dtype = _wide(x, dtype)
    return _f.cumulative_sum(x, axis=axis, dtype=dtype, include_initial=include_initial)


def cumulative_prod(x: Any, /, *, axis: int | None = None, dtype: Any = None,
                    include_initial: bool = False) -> Any:  # fmt: skip
    """The product so far."""
    dtype = _wide(x, dtype)
    return _f.cumulative_prod(x, axis=axis, dtype=dtype, include_initial=include_initial)


def max(x: Any, /, *, axis: Any = None, keepdims: bool = False) -> Any:
    """The largest entry over axes."""
    return _f.amax(x, axis, keepdims)


def min(x: Any, /, *, axis: Any = None, keepdims: bool = False) -> Any:
    """The smallest entry over axes."""
    return _f.amin(x, axis, keepdims)


def mean(x: Any, /, *, axis: Any = None, keepdims: bool = False) -> Any:
    """The mean over axes."""
    return _f.mean(x, axis, keepdims)


def var(x: Any, /, *, axis: Any = None, correction: float = 0.0, keepdims: bool = False) -> Any:
    """The variance over axes, divided by ``n - correction``."""
    return _f.var(x, axis, None, keepdims, correction=correction)


def std(x: Any, /, *, axis: Any = None, correction: float = 0.0, keepdims: bool = False) -> Any:
    """The standard deviation over axes, with ``n - correction``."""
    return _f.std(x, axis, None, keepdims, correction=correction)


def all(x: Any, /, *, axis: Any = None, keepdims: bool = False) -> Any:
    """Whether every entry is true."""
    return _reduction.all(x, axis, keepdims)


def any(x: Any, /, *, axis: Any = None, keepdims: bool = False) -> Any:
    """Whether some entry is true."""
    return _reduction.any(x, axis, keepdims)


def argmax(x: Any, /, *, axis: int | None = None, keepdims: bool = False) -> Any:
    """The index of the first largest entry."""
    return _reduction.argmax(x, axis, keepdims)


def argmin(x: Any, /, *, axis: int | None = None, keepdims: bool = False) -> Any:
    """The index of the first smallest entry."""
    return _reduction.argmin(x, axis, keepdims)


def count_nonzero(x: Any, /, *, axis: Any = None, keepdims: bool = False) -> Any:
    """How many entries are not zero."""
    return _reduction.count_nonzero(x, axis, keepdims)


# ---- order, indices, sets ------------------------------------------------------------------------


def argsort(x: Any, /, *, axis: int = -1, descending: bool = False, stable: bool = True) -> Any:
    """The indices that sort along an axis."""
    return _f.argsort(x, axis, descending)


def sort(x: Any, /, *, axis: int = -1, descending: bool = False, stable: bool = True) -> Any:
    """Entries in order along an axis."""
    return _f.sort(x, axis, descending).values


def nonzero(x: Any, /) -> tuple[Any, ...]:
    """The indices of the entries that are not zero, one tensor per axis."""
    if not x.ndim:
        raise ValueError("nonzero: an array without dimensions has no indices")
    return tuple(_f.nonzero(x, as_tuple=True))


def searchsorted(x1: Any, x2: Any, /, *, side: str = "left", sorter: Any = None) -> Any:
    """Where values would be inserted to keep ``x1`` sorted."""
    return _f.searchsorted(x1, x2, side=side, sorter=sorter)


def take(x: Any, indices: Any, /, *, axis: int | None = None) -> Any:
    """Slices along an axis."""
    if axis is None and x.ndim != 1:
        raise ValueError("take: the axis is missing")
    return _f.take(x, indices, 0 if axis is None else axis)


def take_along_axis(x: Any, indices: Any, /, *, axis: int = -1) -> Any:
    """Entries at indices along an axis."""
    return _f.take_along_dim(x, indices, axis)


class UniqueAll(NamedTuple):
    """Distinct values, where they first stood, which each entry is, and how often each occurs."""

    values: Any
    indices: Any
    inverse_indices: Any
    counts: Any


class UniqueCounts(NamedTuple):
    """Distinct values and how often each occurs."""

    values: Any
    counts: Any


class UniqueInverse(NamedTuple):
    """Distinct values and which of them each entry is."""

    values: Any
    inverse_indices: Any


def unique_all(x: Any, /) -> UniqueAll:
    """All that is to say about distinct values; every NaN is one."""
    _, first, inverse, counts = np.unique(
        x.detach()._array, return_index=True, return_inverse=True, return_counts=True,
        equal_nan=False,
    )  # fmt: skip
    values = _indexing.gather(_f.ravel(x), first, 0)
    inverse = inverse.reshape(x.shape)
    return UniqueAll(values, Tensor(first), Tensor(inverse), Tensor(counts))


def unique_counts(x: Any, /) -> UniqueCounts:
    """Distinct values and how often each occurs."""
    found = unique_all(x)
    return UniqueCounts(found.values, found.counts)


def unique_inverse(x: Any, /) -> UniqueInverse:
    """Distinct values and which of them each entry is."""
    found = unique_all(x)
    return UniqueInverse(found.values, found.inverse_indices)


def unique_values(x: Any, /) -> Any:
    """Distinct values."""
    return unique_all(x).values


def isin(x1: Any, x2: Any, /, *, invert: bool = False) -> Any:
    """Where an entry of ``x1`` is among those of ``x2``."""
    return _f.isin(x1, x2, invert=invert)


def tensordot(x1: Any, x2: Any, /, *, axes: Any = 2) -> Any:
    """Sums of products over pairs of axes."""
    return _f.tensordot(x1, x2, axes)


def vecdot(x1: Any, x2: Any, /, *, axis: int = -1) -> Any:
    """Inner products along an axis, in the dtype of the operands."""
    from tilegrad import linalg

    return linalg.vecdot(*_in_one_dtype(x1, x2), axis=axis)
