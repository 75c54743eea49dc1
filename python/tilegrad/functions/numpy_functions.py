"""NumPy's functions where its arguments, defaults or results differ from our function's.

``FUNCTIONS`` maps each to one with NumPy's own signature, made of differentiable operations. What
only moves entries is one gather: NumPy itself says where, called on the indices of the entries.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tilegrad.autograd.tensor import Tensor
from tilegrad.functions import cumulative, indexing, products, reductions, shaping, sorting
from tilegrad.functions.arithmetic import allclose, isclose, round
from tilegrad.functions.creation import as_tensor, holds_tensors
from tilegrad.functions.more import gradient as _gradient
from tilegrad.ops import arithmetic as _arithmetic
from tilegrad.ops import shape as _shape
from tilegrad.ops.selection import where


def _tensor(x: Any) -> Any:
    if isinstance(x, Tensor):
        return x
    return as_tensor(x) if holds_tensors(x) else Tensor(np.asarray(x))


# ---- entries moved -------------------------------------------------------------------------------


def _moving(function: Callable[..., Any]) -> Callable[..., Any]:
    """A NumPy function whose result holds entries of its first argument."""

    def move(x: Any, *args: Any, **kwargs: Any) -> Any:
        places = function(np.arange(x.numel()).reshape(x.shape), *args, **kwargs)
        flat = shaping.ravel(x)
        if isinstance(places, (list, tuple)):
            return [_shape.getitem(flat, part) for part in places]
        return _shape.getitem(flat, places)

    return move


def _pad(array: Any, pad_width: Any, mode: Any = "constant", **kwargs: Any) -> Any:
    if mode == "constant":
        constant = kwargs.pop("constant_values", 0)
        flags = np.pad(np.zeros(array.shape, bool), pad_width, constant_values=True, **kwargs)
        edges = np.pad(np.zeros(array.shape, array.dtype), pad_width, constant_values=constant)
        places = np.pad(np.arange(array.numel()).reshape(array.shape), pad_width)
        if not array.numel():
            return Tensor(edges)
        return where(flags, edges, _shape.getitem(shaping.ravel(array), places))
    if mode in ("edge", "reflect", "symmetric", "wrap") and kwargs.get("reflect_type") != "odd":
        return _moving(np.pad)(array, pad_width, mode, **kwargs)
    raise TypeError(f"numpy.pad: mode argument {mode!r} has no differentiable operation")


def _split(ary: Any, indices_or_sections: Any, axis: int = 0) -> list[Any]:
    if isinstance(indices_or_sections, int) and ary.shape[axis] % indices_or_sections:
        raise ValueError("array split does not result in an equal division")
    return list(shaping.tensor_split(ary, indices_or_sections, axis))


def _append(arr: Any, values: Any, axis: int | None = None) -> Any:
    parts = [_tensor(arr), _tensor(values)]
    return shaping.cat([shaping.ravel(x) for x in parts] if axis is None else parts, axis or 0)


def _select(condlist: Sequence[Any], choicelist: Sequence[Any], default: Any = 0) -> Any:
    result = default
    for condition, choice in zip(reversed(condlist), reversed(choicelist), strict=True):
        result = where(condition, choice, result)
    return result


def _sort(a: Any, axis: int | None = -1, kind: Any = None, *, stable: Any = None) -> Any:
    return sorting.sort(shaping.ravel(a) if axis is None else a, -1 if axis is None else axis)[0]


def _partition(a: Any, kth: Any, axis: int | None = -1, kind: Any = "introselect") -> Any:
    a, axis = (shaping.ravel(a), -1) if axis is None else (a, axis)
    return indexing.take_along_dim(a, np.argpartition(_plain(a), kth, axis, kind), axis)


# ---- products ------------------------------------------------------------------------------------


def _dot(a: Any, b: Any) -> Any:
    if not (np.ndim(a) and np.ndim(b)):
        return a * b
    return products.tensordot(_tensor(a), _tensor(b), ([-1], [-1 if np.ndim(b) == 1 else -2]))


def _vdot(a: Any, b: Any) -> Any:
    return products.dot(shaping.ravel(_tensor(a)), shaping.ravel(_tensor(b)))


def _inner(a: Any, b: Any) -> Any:
    return products.inner(_tensor(a), _tensor(b))


def _outer(a: Any, b: Any) -> Any:
    return products.outer(shaping.ravel(_tensor(a)), shaping.ravel(_tensor(b)))


def _tensordot(a: Any, b: Any, axes: Any = 2) -> Any:
    return products.tensordot(_tensor(a), _tensor(b), axes)


def _kron(a: Any, b: Any) -> Any:
    return products.kron(_tensor(a), _tensor(b))


def _einsum(*operands: Any, optimize: Any = False) -> Any:
    return products.einsum(*operands)


def _cross(a: Any, b: Any, axisa: int = -1, axisb: int = -1, axisc: int = -1,
           axis: int | None = None) -> Any:  # fmt: skip
    if axis is not None:
        axisa = axisb = axisc = axis
    a = shaping.movedim(_tensor(a), axisa, -1)
    b = shaping.movedim(_tensor(b), axisb, -1)
    if a.shape[-1] == 3 == b.shape[-1]:
        return shaping.movedim(products.cross(a, b, -1), -1, axisc)
    raise TypeError(f"numpy.cross: arguments of shapes {a.shape} and {b.shape} need 3 entries each")


# ---- reductions and differences ------------------------------------------------------------------


def _trace(a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
    return reductions.sum(shaping.diagonal(a, offset, axis1, axis2), -1)


def _average(a: Any, axis: Any = None, weights: Any = None, *, keepdims: bool = False) -> Any:
    if weights is None:
        return reductions.mean(a, axis, keepdims)
    if np.ndim(weights) != np.ndim(a):
        at = axis % np.ndim(a)
        weights = np.reshape(weights, [-1 if i == at else 1 for i in range(np.ndim(a))])
    total = reductions.sum(_tensor(a * weights), axis, keepdims)
    return total / reductions.sum(shaping.broadcast_to(_tensor(weights), np.shape(a)), axis,
                                  keepdims)  # fmt: skip


def _ptp(a: Any, axis: Any = None, keepdims: bool = False) -> Any:
    return reductions.amax(a, axis, keepdims) - reductions.amin(a, axis, keepdims)


def _median(a: Any, axis: Any = None, overwrite_input: bool = False, keepdims: bool = False) -> Any:
    return sorting.quantile(a, 0.5, axis, keepdims)


def _diff(a: Any, n: int = 1, axis: int = -1, prepend: Any = None, append: Any = None) -> Any:
    """Python numbers and arrays of one entry stand for a whole slice."""
    shape = list(a.shape)
    shape[axis] = 1
    ends = [
        end if end is None or np.ndim(end) else shaping.broadcast_to(_tensor(end), shape)
        for end in (prepend, append)
    ]
    return cumulative.diff(a, n, axis, *(None if end is None else _tensor(end) for end in ends))


def _gradient_of(f: Any, *varargs: Any, axis: Any = None, edge_order: int = 1) -> Any:
    spacing = varargs[0] if len(varargs) == 1 else list(varargs) or None
    parts = _gradient(f, spacing=spacing, dim=axis, edge_order=edge_order)
    return parts[0] if len(parts) == 1 else list(parts)


def _trapezoid(y: Any, x: Any = None, dx: float = 1.0, axis: int = -1) -> Any:
    return cumulative.trapezoid(y, None if x is None else _tensor(x), dx=dx, dim=axis)


def _linspace(start: Any, stop: Any, num: int = 50, endpoint: bool = True, retstep: bool = False,
              dtype: Any = None, axis: int = 0, *, device: Any = None) -> Any:  # fmt: skip
    if retstep or axis:
        raise TypeError("numpy.linspace: the arguments retstep and axis have no operation")
    ndim = max(np.ndim(start), np.ndim(stop))
    steps = np.linspace(0.0, 1.0, num, endpoint).reshape((-1,) + (1,) * ndim)
    return start * (1 - steps) + stop * steps


def _square_values(a: Any, full_matrices: bool = True, compute_uv: bool = True,
                   hermitian: bool = False) -> Any:  # fmt: skip
    from tilegrad import linalg

    return linalg.svd(a, full_matrices) if compute_uv else linalg.svdvals(a)


# ---- without derivatives -------------------------------------------------------------------------


def _plain(value: Any) -> Any:
    return value.detach()._array if isinstance(value, Tensor) else value


def _discrete(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function with integer or bool results, which have no derivative."""

    def call(*args: Any, **kwargs: Any) -> Any:
        out = function(*map(_plain, args), **{key: _plain(v) for key, v in kwargs.items()})
        if isinstance(out, tuple):
            return tuple(map(Tensor, out))
        return Tensor(np.asarray(out)) if isinstance(out, (np.ndarray, np.generic)) else out

    return call


def _filled(function: Callable[..., Any]) -> Callable[..., Any]:
    """``zeros_like`` and its kin: shape and dtype of a tensor, whatever its history."""

    def call(a: Any, *args: Any, subok: bool = True, **kwargs: Any) -> Any:
        return Tensor(function(_plain(a), *map(_plain, args), **kwargs))

    return call


def _identity(x: Any) -> Any:
    return x


FUNCTIONS: dict[Any, Callable[..., Any]] = {
    **{f: _moving(f) for f in (np.delete, np.resize, np.rollaxis, np.roll, np.rot90, np.tile)},
    **{
        f: _discrete(f)
        for f in (np.argsort, np.argpartition, np.argwhere, np.nonzero, np.flatnonzero,
                  np.searchsorted, np.digitize, np.array_equal, np.nanargmax, np.nanargmin,
                  np.lexsort, np.isneginf, np.isposinf, np.iscomplexobj, np.isrealobj)
    },
    **{f: _filled(f) for f in (np.zeros_like, np.ones_like, np.full_like, np.empty_like)},
    np.allclose: lambda a, b, rtol=1e-5, atol=1e-8, equal_nan=False: allclose(
        _tensor(a), _tensor(b), rtol, atol, equal_nan
    ),
    np.isclose: lambda a, b, rtol=1e-5, atol=1e-8, equal_nan=False: isclose(
        _tensor(a), _tensor(b), rtol, atol, equal_nan
    ),
    np.angle: lambda z, deg=False: _arithmetic.angle(z) * (180 / np.pi if deg else 1),
    np.append: _append,
    np.average: _average,
    np.cross: _cross,
    np.diag: lambda v, k=0: shaping.diag(v, k),
    np.diagflat: lambda v, k=0: shaping.diagflat(v, k),
    np.diff: _diff,
    np.dot: _dot,
    np.ediff1d: lambda ary: cumulative.diff(shaping.ravel(ary)),
    np.einsum: _einsum,
    np.gradient: _gradient_of,
    np.inner: _inner,
    np.kron: _kron,
    np.linspace: _linspace,
    np.median: _median,
    np.outer: _outer,
    np.pad: _pad,
    np.partition: _partition,
    np.ptp: _ptp,
    np.real: _identity,
    np.real_if_close: lambda a, tol=100: a,
    np.imag: lambda val: val * 0,
    np.round: lambda a, decimals=0: round(a, decimals=decimals),
    np.around: lambda a, decimals=0: round(a, decimals=decimals),
    np.select: _select,
    np.sort: _sort,
    np.split: _split,
    np.hsplit: lambda ary, parts: _split(ary, parts, 1 if ary.ndim > 1 else 0),
    np.vsplit: lambda ary, parts: _split(ary, parts, 0),
    np.dsplit: lambda ary, parts: _split(ary, parts, 2),
    np.swapaxes: lambda a, axis1, axis2: shaping.swapaxes(a, axis1, axis2),
    np.take: lambda a, indices, axis=None, mode="raise": _moving(np.take)(
        a, _plain(indices), axis, mode=mode
    ),
    np.take_along_axis: lambda arr, indices, axis=-1: _moving(np.take_along_axis)(
        arr, _plain(indices), axis
    ),
    np.tensordot: _tensordot,
    np.trace: _trace,
    np.vdot: _vdot,
    np.linalg.svd: _square_values,
    **({np.trapezoid: _trapezoid} if hasattr(np, "trapezoid") else {}),
}  # fmt: skip
