"""Affine maps of the last axis, fused with their bias and, where asked, their activation.

With rows flattened to X (m, k) and W (n, k), ``Y = X W^T + b`` and

    <G, dY> = <G W, dX> + <G^T X, dW> + <1^T G, db>.
"""

from __future__ import annotations

from typing import Any

from tilegrad import kernels
from tilegrad.autograd.op import Op
from tilegrad.ops.activation import relu_grad
from tilegrad.ops.products import bmm, matmul, transpose
from tilegrad.ops.reduction import sum as sum_over
from tilegrad.ops.shape import expand, reshape


def check_linear(x: Any, weight: Any, bias: Any) -> None:
    """Raise where shapes or dtypes of an affine map do not fit."""
    if weight.ndim != 2:
        raise ValueError(
            f"linear: weight of shape {weight.shape} must be (out_features, in_features)"
        )
    if x.ndim == 0 or x.shape[-1] != weight.shape[1]:
        last = x.shape[-1] if x.ndim else "no"
        raise ValueError(
            f"linear: input of shape {x.shape} has {last} features, but weight of shape "
            f"{weight.shape} expects {weight.shape[1]}; the last axis of the input must be "
            "in_features"
        )
    if bias is not None and bias.shape != weight.shape[:1]:
        raise ValueError(
            f"linear: bias of shape {bias.shape} must be ({weight.shape[0]},), one number per "
            f"row of weight {weight.shape}"
        )
    if x.dtype != weight.dtype:
        raise TypeError(
            f"linear: input of dtype {x.dtype} and weight of dtype {weight.dtype} must have one "
            "dtype; convert the input with .to(dtype) or the layer with .to(dtype)"
        )


def _rows(x: Any) -> Any:
    """(*B, k) as (m, k)."""
    if x.ndim == 2:
        return x
    count = 1
    for size in x.shape[:-1]:
        count *= size
    return reshape(x, (count, x.shape[-1]))


def _affine(x: Any, weight: Any, bias: Any = None, activation: str | None = None) -> Any:
    check_linear(x, weight, bias)
    y = kernels.gemm(_rows(x), weight, transpose_b=True, bias=bias, activation=activation)
    return y if x.ndim == 2 else y.reshape(*x.shape[:-1], weight.shape[0])


def _pull(g: Any, x: Any, weight: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
    rows = _rows(g)  # (m, n)
    dx = matmul(g, weight) if needs[0] else None
    dw = bmm(transpose(rows), _rows(x)) if needs[1] else None
    db = sum_over(rows, 0) if needs[2] else None
    return dx, dw, db


def _pull_relu(
    g: Any, x: Any, weight: Any, out: Any, needs: tuple[bool, ...]
) -> tuple[Any, ...]:
    return _pull(relu_grad(g, out), x, weight, needs)


#: x (*B, in), weight (out, in), bias (out,) or None.
linear = Op(
    "linear", lambda x, weight, bias: _affine(x, weight, bias),
    inputs=["x", "weight", "bias"],
    vjp={"x weight bias": _pull},
    jvp={
        "x": lambda t, weight: linear(t, weight, None),
        "weight": lambda t, x: linear(x, t, None),
        "bias": lambda t, out: expand(t, out.shape),
    },
    batch="affine",
)  # fmt: skip

#: ``relu(linear(x, weight, bias))`` in one pass.
linear_relu = Op(
    "linear_relu",
    lambda x, weight, bias: _affine(x, weight, bias, "relu"),
    inputs=["x", "weight", "bias"],
    vjp={"x weight bias": _pull_relu},
    jvp={
        "x": lambda t, weight, out: relu_grad(linear(t, weight, None), out),
        "weight": lambda t, x, out: relu_grad(linear(x, t, None), out),
        "bias": lambda t, out: relu_grad(expand(t, out.shape), out),
    },
    batch="affine relu",
)  # fmt: skip

__all__ = ["check_linear", "linear", "linear_relu"]
