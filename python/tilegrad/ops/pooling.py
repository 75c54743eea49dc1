"""Pooling: maxima are gathered and their gradients scattered; averages are linear."""

from __future__ import annotations

from typing import Any

from tilegrad import kernels
from tilegrad.autograd.op import Op
from tilegrad.ops.define import linear, multilinear


def _scatter_first(g: tuple[Any, Any], indices: Any, x_shape: tuple[int, ...]) -> Any:
    return None if g[0] is None else pool_scatter(g[0], indices, x_shape)


def _max_pool(name: str, forward: Any) -> Op:
    """A pooling that returns maxima and where they were: near a point it only selects entries."""
    return Op(
        name, forward, inputs=["x"], outputs=["y", "indices"], batch="samples",
        vjp={"x": _scatter_first},
        jvp={"x": lambda t, indices: (pool_gather(t, indices), None)},
    )  # fmt: skip


max_pool = _max_pool("max_pool", kernels.max_pool)
adaptive_max_pool = _max_pool("adaptive_max_pool", kernels.adaptive_max_pool)

#: Entries of ``y`` added to the pixels that ``indices`` name.
pool_scatter = multilinear(
    "pool_scatter", kernels.pool_scatter, "y indices",
    y=lambda g, indices: pool_gather(g, indices),
    batch="planes",
)  # fmt: skip

#: The pixels of ``x`` that ``indices`` name.
pool_gather = multilinear(
    "pool_gather", kernels.pool_gather, "x indices",
    x=lambda g, indices, x_shape: pool_scatter(g, indices, x_shape),
    batch="planes",
)  # fmt: skip

avg_pool = linear(
    "avg_pool", kernels.avg_pool, "x",
    x=lambda g, x_shape, kernel_size, stride, padding, ceil_mode, count_include_pad,
    divisor_override: avg_pool_grad(
        g, x_shape, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
    ),
    batch="samples",
)  # fmt: skip

avg_pool_grad = linear(
    "avg_pool_grad", kernels.avg_pool_grad, "y",
    y=lambda g, kernel_size, stride, padding, ceil_mode, count_include_pad,
    divisor_override: avg_pool(
        g, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
    ),
    batch="samples",
)  # fmt: skip

adaptive_avg_pool = linear(
    "adaptive_avg_pool", kernels.adaptive_avg_pool, "x",
    x=lambda g, x_shape: adaptive_avg_pool_grad(g, x_shape),
    batch="samples",
)  # fmt: skip

adaptive_avg_pool_grad = linear(
    "adaptive_avg_pool_grad", kernels.adaptive_avg_pool_grad, "y",
    y=lambda g, y_shape: adaptive_avg_pool(g, y_shape[2:]),
    batch="samples",
)  # fmt: skip
