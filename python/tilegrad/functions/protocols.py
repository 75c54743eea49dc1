"""NumPy's protocols: its functions and operators on tensors are ours, so gradients survive them.

A function we have no operation for works on tensors that need no gradient, and raises ``TypeError``
on those that do: nothing cuts a gradient silently.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tilegrad.autograd.modes import is_grad_enabled
from tilegrad.autograd.tensor import Tensor
from tilegrad.functions import elementwise, numpy_names, products, reductions, shaping
from tilegrad.functions.numpy_functions import FUNCTIONS
from tilegrad.ops import arithmetic, comparison, cumulative, selection
from tilegrad.ops.power import power
from tilegrad.ops.selection import where

#: Ufuncs that we have under NumPy's name.
_SAME_NAME = """
absolute arccos arccosh arcsin arcsinh arctan arctan2 arctanh bitwise_and bitwise_or bitwise_xor
ceil copysign cos cosh equal exp exp2 expm1 floor floor_divide fmax fmin fmod gcd greater
greater_equal heaviside hypot isfinite isinf isnan lcm less less_equal log log10 log1p log2
logaddexp logaddexp2 logical_and logical_not logical_or logical_xor maximum minimum multiply
negative not_equal positive reciprocal remainder sign signbit sin sinh sqrt square tan tanh trunc
"""

_UFUNCS: dict[Any, Any] = {
    getattr(np, name): getattr(elementwise, name)
    for name in _SAME_NAME.split()
    if hasattr(elementwise, name)
}
_UFUNCS |= {
    np.add: arithmetic.add,
    np.subtract: arithmetic.subtract,
    np.divide: arithmetic.divide,
    np.equal: comparison.equal,
    np.power: power,
    np.float_power: power,
    np.matmul: products.matmul,
    np.rint: arithmetic.round,
    np.fabs: arithmetic.absolute,
    np.conjugate: arithmetic.positive,
    np.invert: comparison.bitwise_not,
    np.left_shift: comparison.left_shift,
    np.right_shift: comparison.right_shift,
    np.deg2rad: lambda x: x * (np.pi / 180),
    np.radians: lambda x: x * (np.pi / 180),
    np.rad2deg: lambda x: x * (180 / np.pi),
    np.degrees: lambda x: x * (180 / np.pi),
}


def _reduce_default(function: Any) -> Any:
    """A ufunc's ``reduce`` works along axis 0 unless told otherwise."""
    return lambda x, axis=0, keepdims=False: function(x, axis, keepdims)


_REDUCE = {
    np.add: _reduce_default(reductions.sum),
    np.multiply: _reduce_default(reductions.prod),
    np.maximum: _reduce_default(reductions.amax),
    np.minimum: _reduce_default(reductions.amin),
    np.logical_and: _reduce_default(reductions.all),
    np.logical_or: _reduce_default(reductions.any),
    np.logaddexp: _reduce_default(reductions.logsumexp),
}
_ACCUMULATE = {
    np.add: cumulative.cumsum,
    np.multiply: cumulative.cumprod,
    np.logaddexp: cumulative.logcumsumexp,
}


def _variance(function: Any) -> Any:
    """NumPy divides by ``n - ddof``, with ddof 0 by default."""

    def call(x: Any, axis: Any = None, ddof: float = 0, keepdims: bool = False,
             correction: float | None = None) -> Any:  # fmt: skip
        return function(
            x, axis, correction=ddof if correction is None else correction, keepdims=keepdims
        )

    return call


def _flat_or_along(op: Any) -> Any:
    """NumPy's running reductions flatten unless an axis is named."""
    return lambda x, axis=None: op(shaping.ravel(x), 0) if axis is None else op(x, axis)


_FUNCTIONS: dict[Any, Any] = {
    getattr(np, name): getattr(module, name)
    for module, names in (
        (reductions, "all amax amin any argmax argmin count_nonzero mean nanmean nansum prod sum"),
        (shaping, "atleast_1d atleast_2d atleast_3d broadcast_to column_stack concatenate "
         "diagonal dstack expand_dims flip fliplr flipud hstack meshgrid moveaxis "
         "ravel squeeze stack transpose tril triu vstack matrix_transpose unstack"),
    )
    for name in names.split()
    if hasattr(np, name)
}  # fmt: skip
_FUNCTIONS |= {
    np.max: reductions.amax,
    np.min: reductions.amin,
    np.std: _variance(reductions.std),
    np.var: _variance(reductions.var),
    np.cumsum: _flat_or_along(cumulative.cumsum),
    np.cumprod: _flat_or_along(cumulative.cumprod),
    np.reshape: lambda x, shape: shaping.reshape(x, shape),
    np.repeat: lambda x, repeats, axis=None: shaping.repeat_interleave(x, repeats, axis),
    np.array_split: lambda x, n, axis=0: shaping.tensor_split(x, n, axis),
    np.where: lambda c, x, y: where(c, x, y),
    np.clip: lambda x, a_min=None, a_max=None, min=None, max=None: selection.clip(
        x, min if a_min is None else a_min, max if a_max is None else a_max
    ),
    np.nan_to_num: lambda x, nan=0.0, posinf=None, neginf=None: selection.nan_to_num(
        x, nan=nan, posinf=posinf, neginf=neginf
    ),
    np.sinc: elementwise.sinc,
    np.copy: lambda x: x.clone(),
    np.ndim: lambda x: x.ndim,
    np.shape: lambda x: x.shape,
    np.size: lambda x, axis=None: x.numel() if axis is None else x.shape[axis],
    np.broadcast_arrays: lambda *xs: shaping.broadcast_tensors(*map(_tensor, xs)),
}


def _tensor(value: Any) -> Tensor:
    return value if isinstance(value, Tensor) else Tensor(np.asarray(value))


def _needs_gradient(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return any(map(_needs_gradient, value))
    if not isinstance(value, Tensor):
        return False
    return value._tangents is not None or (value._requires_grad and is_grad_enabled())


def _plain(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value._array
    if isinstance(value, (list, tuple)):
        return type(value)(_plain(item) for item in value)
    return value


def _wrapped(value: Any) -> Any:
    if isinstance(value, (np.ndarray, np.generic)) and value.dtype.kind in "fiub":
        return Tensor(np.asarray(value))
    if isinstance(value, (list, tuple)) and not hasattr(value, "_fields"):
        return type(value)(_wrapped(item) for item in value)
    return value


def _without_operation(name: str, function: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    if any(map(_needs_gradient, (*args, *kwargs.values()))):
        raise TypeError(
            f"{name}: no differentiable operation stands behind this call; use tilegrad's own "
            "functions, or detach the tensors if no gradient is meant"
        )
    return _wrapped(function(*map(_plain, args), **{k: _plain(v) for k, v in kwargs.items()}))


def _array_ufunc(self: Tensor, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
    table = {"__call__": _UFUNCS, "reduce": _REDUCE, "accumulate": _ACCUMULATE}.get(method, {})
    op = table.get(ufunc)
    if op is not None and not set(kwargs) - {"axis", "keepdims"}:
        return op(*inputs, **kwargs)
    name = f"numpy.{ufunc.__name__}" + ("" if method == "__call__" else f".{method}")
    out = kwargs.get("out")
    if out is not None and any(isinstance(target, Tensor) for target in out):
        raise TypeError(f"{name}: out= cannot be a tensor; use the tensor's own in-place methods")
    result = _without_operation(name, getattr(ufunc, method), inputs, kwargs)
    return result if out is None else out[0] if len(out) == 1 else out


#: Arguments of NumPy functions that say nothing when they have these values.
_SILENT = {
    "out": None, "dtype": None, "order": ("C", "K", None), "subok": (True, False),
    "casting": ("same_kind",),
}  # fmt: skip


def _array_function(self: Tensor, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
    op = _FUNCTIONS.get(func) or FUNCTIONS.get(func) or numpy_names.find(func)
    if op is not None:
        kept = {
            key: value
            for key, value in kwargs.items()
            if key not in _SILENT or (value != _SILENT[key] and value not in (_SILENT[key] or ()))
        }
        try:
            return op(*args, **kept)
        except TypeError as error:
            if "argument" not in str(error):
                raise
    name = f"{getattr(func, '__module__', 'numpy')}.{func.__name__}"
    return _without_operation(name, getattr(func, "_implementation", func), args, kwargs)


def _array(self: Tensor, dtype: Any = None, copy: bool | None = None) -> Any:
    if self._requires_grad:
        raise RuntimeError(
            "an array of a tensor that requires gradients would lose them: use "
            "tensor.detach().numpy()"
        )
    array = self._array
    if dtype is not None and array.dtype != dtype:
        if copy is False:
            raise ValueError(f"a tensor of {array.dtype} is no array of {dtype} without a copy")
        return array.astype(dtype)
    return array.copy() if copy else array


def _dlpack(
    self: Tensor,
    *,
    stream: Any = None,
    max_version: tuple[int, int] | None = None,
    dl_device: tuple[Any, int] | None = None,
    copy: bool | None = None,
) -> Any:
    return self.numpy().__dlpack__(
        stream=stream, max_version=max_version, dl_device=dl_device, copy=copy
    )


def attach() -> None:
    """Give :class:`Tensor` NumPy's protocols."""
    methods: dict[str, Any] = {
        "__array__": _array,
        "__array_ufunc__": _array_ufunc,
        "__array_function__": _array_function,
        "__dlpack__": _dlpack,
        "__dlpack_device__": lambda self: (1, 0),
    }
    for name, method in methods.items():
        setattr(Tensor, name, method)
