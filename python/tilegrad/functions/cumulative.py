"""Running sums, products and log-sum-exps, and differences."""

from __future__ import annotations

from typing import Any

import numpy as np

from tilegrad.functions.axes import normal_axis
from tilegrad.functions.reductions import _as, _floating
from tilegrad.ops import arithmetic as _a
from tilegrad.ops import cumulative as _cumulative
from tilegrad.ops import shape as _shape


def _axis(name: str, x: Any, axis: Any, dim: Any) -> int:
    axis = axis if dim is None else dim
    if axis is None:
        if x.ndim != 1:
            raise TypeError(f"{name}: the axis is missing")
        axis = 0
    return normal_axis(axis, x.ndim, name)


def _whole(x: Any, dtype: Any) -> Any:
    """Small integers and bools are accumulated in int64."""
    x = _as(x, dtype)
    return x if dtype is not None or x.dtype.kind == "f" else _as(x, np.int64)


def cumsum(x: Any, axis: int | None = None, *, dim: int | None = None, dtype: Any = None) -> Any:
    """The sum of the entries so far."""
    x = _whole(x, dtype)
    return _cumulative.cumsum(x, _axis("cumsum", x, axis, dim))


def cumprod(x: Any, axis: int | None = None, *, dim: int | None = None, dtype: Any = None) -> Any:
    """The product of the entries so far; derivatives are right at zeros."""
    x = _whole(x, dtype)
    return _cumulative.cumprod(x, _axis("cumprod", x, axis, dim))


def logcumsumexp(x: Any, axis: int | None = None, *, dim: int | None = None) -> Any:
    """``log(cumsum(exp(x)))`` without overflow."""
    return _cumulative.logcumsumexp(_floating(x), _axis("logcumsumexp", x, axis, dim))


def cumulative_sum(
    x: Any, *, axis: int | None = None, dtype: Any = None, include_initial: bool = False
) -> Any:
    """:func:`cumsum` by the array API's name; ``include_initial`` puts the empty sum first."""
    out = cumsum(x, axis, dtype=dtype)
    return _with_initial(out, axis, 0) if include_initial else out


def cumulative_prod(
    x: Any, *, axis: int | None = None, dtype: Any = None, include_initial: bool = False
) -> Any:
    """:func:`cumprod` by the array API's name; ``include_initial`` puts the empty product first."""
    out = cumprod(x, axis, dtype=dtype)
    return _with_initial(out, axis, 1) if include_initial else out


def _with_initial(x: Any, axis: int | None, value: float) -> Any:
    axis = normal_axis(0 if axis is None else axis, x.ndim, "cumulative_sum")
    first = np.full(tuple(1 if i == axis else n for i, n in enumerate(x.shape)), value, x.dtype)
    return _shape.concatenate(first, x, axis=axis)


def diff(
    x: Any, n: int = 1, dim: int = -1, prepend: Any = None, append: Any = None, *,
    axis: int | None = None,
) -> Any:  # fmt: skip
    """Differences of neighbours along an axis, taken ``n`` times."""
    if not x.ndim:
        raise RuntimeError("diff: needs at least one dimension")
    dim = normal_axis(dim if axis is None else axis, x.ndim, "diff")
    if n < 0:
        raise ValueError(f"diff: the order {n} must not be negative")
    if n == 0:
        return _shape.copy(x)
    ends = [part for part in (prepend, x, append) if part is not None]
    if len(ends) > 1:
        x = _shape.concatenate(*ends, axis=dim)
    lead = (slice(None),) * dim
    for _ in range(n):
        later, earlier = (*lead, slice(1, None)), (*lead, slice(None, -1))
        if x.dtype == bool:
            from tilegrad.ops.comparison import logical_xor

            x = logical_xor(_shape.getitem(x, later), _shape.getitem(x, earlier))
        else:
            x = _a.subtract(_shape.getitem(x, later), _shape.getitem(x, earlier))
    return x


def trapezoid(y: Any, x: Any = None, *, dx: float = 1.0, dim: int = -1) -> Any:
    """The integral along an axis by the trapezoidal rule."""
    from tilegrad.ops.reduction import sum

    return sum(_trapezes(y, x, dx, dim), dim)


def cumulative_trapezoid(y: Any, x: Any = None, *, dx: float = 1.0, dim: int = -1) -> Any:
    """The integral so far along an axis by the trapezoidal rule."""
    return cumsum(_trapezes(y, x, dx, dim), dim)


def _trapezes(y: Any, x: Any, dx: float, dim: int) -> Any:
    dim = normal_axis(dim, y.ndim, "trapezoid")
    lead = (slice(None),) * dim
    means = _a.divide(
        _a.add(
            _shape.getitem(y, (*lead, slice(1, None))), _shape.getitem(y, (*lead, slice(None, -1)))
        ),
        2.0,
    )
    if x is None:
        return _a.multiply(means, dx)
    if x.ndim == 1:
        return _a.multiply(
            means, _shape.reshape(diff(x), tuple(-1 if i == dim else 1 for i in range(y.ndim)))
        )
    return _a.multiply(means, diff(x, dim=dim if x.ndim == y.ndim else -1))


__all__ = [
    "cumprod", "cumsum", "cumulative_prod", "cumulative_sum", "cumulative_trapezoid", "diff",
    "logcumsumexp", "trapezoid",
]  # fmt: skip
