"""Changes in place, with the graph right: the tensor takes the history of its new value.

A change computes the new value out of place, copies it into the memory and moves the tensor's edge
to the node of the new value. What the change itself saved is a copy, so it stays differentiable. A
tensor that is a view hands its new part on to the tensor it views. Other tensors that were computed
from the old value raise in backward if they saved it (the version counter says so), and so do other
views of the memory when they are used. A leaf that requires gradients cannot be changed while a
graph is recorded.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tilegrad.autograd.modes import is_grad_enabled
from tilegrad.autograd.tensor import Array, Tensor, edge_of
from tilegrad.functions.indexing import normal_index
from tilegrad.ops import indexing as _indexing
from tilegrad.ops import shape as _shape


def _check_writable(x: Tensor, name: str) -> None:
    if is_grad_enabled():
        for tensor, what in ((x, "a leaf"), (x._base, "a view of a leaf")):
            if tensor is not None and tensor._requires_grad and tensor.is_leaf:
                raise RuntimeError(
                    f"{name}: {what} that requires gradients cannot be changed in place while a "
                    "graph is recorded; do it within no_grad(), or on a clone"
                )
    if not x._array.flags.writeable:
        raise RuntimeError(
            f"{name}: the memory of this tensor of shape {x.shape} is read-only, as after expand; "
            "clone it first"
        )


def _recorded(*values: Any) -> bool:
    """Whether an operation on ``values`` leaves a trace: a graph node or a tangent."""
    return any(
        isinstance(value, Tensor)
        and ((value._requires_grad and is_grad_enabled()) or value._tangents is not None)
        for value in values
    )


def _before(x: Tensor) -> Tensor:
    """``x`` as it is now, with its history, on memory of its own."""
    old = Tensor(x._array.copy(), x._requires_grad, x._node)
    old._tangents = x._tangents
    return old


def _take_history(x: Tensor, value: Tensor) -> None:
    """Let ``x``, whose memory holds ``value`` by now, have its history, and tell its base."""
    x._bump_version()
    x._tangents = value._tangents
    base = x._base
    if not is_grad_enabled():
        if base is not None:
            base._seen = x._seen
        return
    x._node = edge_of(value)
    x._requires_grad = value._requires_grad
    if base is None:
        return
    if value._requires_grad or base._requires_grad or value._tangents is not None:
        old = Tensor(base._array, base._requires_grad, base._node)
        old._tangents = base._tangents
        new = _indexing.replace(old, x, _places(x._array, base._array))
        base._node, base._requires_grad = edge_of(new), new._requires_grad
        base._tangents = new._tangents
    base._seen = x._seen


def _places(view: Array, base: Array) -> tuple[Array, ...]:
    """The index of the entries of ``base`` that ``view`` shows."""
    if not base.flags.c_contiguous:
        raise RuntimeError(
            f"a view of shape {view.shape} was changed in place, and the tensor it views, of shape "
            f"{base.shape}, is not contiguous: its history cannot follow; clone it first"
        )
    start = view.__array_interface__["data"][0] - base.__array_interface__["data"][0]
    flat = np.full(view.shape, start // base.itemsize)
    for axis, (size, stride) in enumerate(zip(view.shape, view.strides, strict=True)):
        steps = np.arange(size) * (stride // base.itemsize)
        flat += steps.reshape((-1,) + (1,) * (view.ndim - axis - 1))
    return np.unravel_index(flat, base.shape)


def store(x: Tensor, function: Any, args: tuple[Any, ...], kwargs: Any, name: str) -> Tensor:
    """``x = function(x, ...)`` in place."""
    _check_writable(x, name)
    source = _before(x) if _recorded(x, *args, *kwargs.values()) else x
    args = tuple(source if value is x else value for value in args)  # x.mul_(x)
    result = function(source, *args, **kwargs)
    if result.shape != x._array.shape:
        raise RuntimeError(
            f"{name}: the result has shape {result.shape}, which does not fit into {x.shape}"
        )
    if result.dtype != x._array.dtype:
        if not np.can_cast(result.dtype, x._array.dtype, "same_kind"):
            raise RuntimeError(
                f"{name}: the result has dtype {result.dtype}, which a tensor of {x.dtype} "
                "cannot hold"
            )
        result = _shape.cast(result, x._array.dtype)
    np.copyto(x._array, result._array)
    _take_history(x, result)
    return x


def setitem(self: Tensor, index: Any, value: Any) -> None:
    """``x[index] = value``; gradients flow to ``value`` and to the entries of x that stay."""
    _check_writable(self, "assignment")
    index = normal_index(index, self._array.shape)
    if not _recorded(self, value):
        self._array[index] = _fitting(value, self._array, index)
        self._bump_version()
        if self._base is not None:
            self._base._seen = self._seen
        return
    old = _before(self) if self._tangents or getattr(value, "_tangents", None) else self
    old = Tensor(old._array, self._requires_grad, self._node)
    old._tangents = self._tangents
    if isinstance(value, Tensor):
        target = self._array[index].ndim
        if value.ndim > target:
            extra = value.ndim - target
            if any(n != 1 for n in value.shape[:extra]):
                raise RuntimeError(
                    f"assignment: {value.shape} does not fit into {self._array[index].shape}"
                )
            value = _shape.reshape(value, value.shape[extra:])
        if np.shares_memory(value._array, self._array):
            value = _before(value)
    result = _indexing.replace(old, value, index)
    np.copyto(self._array, result._array)
    _take_history(self, result)


def _fitting(value: Any, array: Array, index: Any) -> Any:
    value = value._array if isinstance(value, Tensor) else value
    if isinstance(value, (list, tuple)):
        value = np.asarray([v._array if isinstance(v, Tensor) else v for v in value])
    return value


def _copied(x: Tensor, src: Any) -> Any:
    src = src if isinstance(src, Tensor) else Tensor(np.asarray(src))
    if src.dtype != x.dtype:
        src = _shape.cast(src, x.dtype)
    return _indexing.replace(x, src, Ellipsis)


def copy_(self: Tensor, src: Any, non_blocking: bool = False) -> Tensor:
    """The entries of ``src``, broadcast and converted, in place; gradients flow to ``src``."""
    return store(self, _copied, (src,), {}, "copy_")


def fill_(self: Tensor, value: Any) -> Tensor:
    """``value`` everywhere."""
    return store(self, _copied, (value,), {}, "fill_")


def zero_(self: Tensor) -> Tensor:
    """0 everywhere."""
    return store(self, _copied, (0,), {}, "zero_")


def detach_(self: Tensor) -> Tensor:
    """Forget the history."""
    if self._base is not None:
        raise RuntimeError("detach_: a view cannot forget its history in place; use detach()")
    self._node, self._requires_grad = None, False
    return self


def _variant(function: Any, name: str) -> Any:
    def method(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return store(self, function, args, kwargs, name)

    method.__name__ = name
    method.__doc__ = f"``{name[:-1]}`` in place."
    return method


#: Functions with an in-place method of the same name and an underscore.
NAMES = """
abs absolute acos acosh add addcdiv addcmul addmm addmv addbmm baddbmm addr arccos arccosh arcsin
arcsinh arctan arctan2 arctanh asin asinh atan atan2 atanh bitwise_and bitwise_left_shift
bitwise_not bitwise_or bitwise_right_shift bitwise_xor ceil clamp clamp_max clamp_min clip
copysign cos cosh cumprod cumsum deg2rad digamma div divide eq erf erfc erfinv exp exp2 expm1 fix
float_power floor floor_divide fmod frac gcd ge greater greater_equal gt heaviside hypot index_add
index_copy index_fill index_put lcm ldexp le lerp less less_equal lgamma log log10 log1p log2
logical_and logical_not logical_or logical_xor logit lt masked_fill masked_scatter mul multiply
nan_to_num ne neg negative nextafter not_equal polygamma pow put rad2deg reciprocal relu remainder
round rsqrt scatter scatter_add scatter_reduce sgn sigmoid sign sin sinc sinh sqrt square sub
subtract tan tanh tril triu true_divide trunc xlogy
"""

_OPERATORS = {
    "iadd": "add", "isub": "subtract", "imul": "multiply", "itruediv": "divide",
    "ifloordiv": "floor_divide", "imod": "remainder", "ipow": "pow", "iand": "bitwise_and",
    "ior": "bitwise_or", "ixor": "bitwise_xor", "ilshift": "bitwise_left_shift",
    "irshift": "bitwise_right_shift",
}  # fmt: skip


def attach(functions: dict[str, Any]) -> None:
    """Give :class:`Tensor` its in-place methods, operators and assignment."""
    for name in NAMES.split():
        setattr(Tensor, f"{name}_", _variant(functions[name], f"{name}_"))
    for operator, name in _OPERATORS.items():
        setattr(Tensor, f"__{operator}__", _variant(functions[name], f"__{operator}__"))
    for method in (copy_, fill_, zero_, detach_):
        setattr(Tensor, method.__name__, method)
    setattr(Tensor, "__setitem__", setitem)  # noqa: B010  (for the type checker)
