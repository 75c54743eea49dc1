"""Softmax and its logarithm along one axis."""

from __future__ import annotations

from typing import Any

from tilegrad import kernels
from tilegrad.autograd.op import Op
from tilegrad.ops.arithmetic import multiply, subtract
from tilegrad.ops.exponential import exp
from tilegrad.ops.reduction import sum

#: y = softmax(x): dy = y (dx - sum(y dx)), which is its own adjoint.
softmax = Op(
    "softmax", kernels.softmax, inputs=["x"], promotes="float",
    vjp={"x": lambda g, out, axis: softmax_grad(g, out, axis)},
    jvp={"x": lambda t, out, axis: softmax_grad(t, out, axis)},
)  # fmt: skip


def _softmax_grad_by_y(g: Any, g0: Any, y: Any, axis: int) -> Any:
    # d[y (g0 - s)] = dy (g0 - s) - y sum(g0 dy), s = sum(g0 y); so by g:
    # g (g0 - s) - g0 sum(g y)
    s = sum(multiply(g0, y), axis, True)
    return subtract(
        multiply(g, subtract(g0, s)), multiply(g0, sum(multiply(g, y), axis, True))
    )


def _softmax_grad_push(t: Any, g0: Any, y: Any, axis: int) -> Any:
    s = sum(multiply(g0, y), axis, True)
    return subtract(
        multiply(t, subtract(g0, s)), multiply(y, sum(multiply(g0, t), axis, True))
    )


#: y (g0 - sum(g0 y)): symmetric in g0.
softmax_grad = Op(
    "softmax_grad", kernels.softmax_grad, batch="axis", inputs=["g0", "y"],
    vjp={"g0": lambda g, y, axis: softmax_grad(g, y, axis), "y": _softmax_grad_by_y},
    jvp={"g0": lambda t, y, axis: softmax_grad(t, y, axis), "y": _softmax_grad_push},
)  # fmt: skip

#: y = log softmax(x): dy = dx - sum(e^y dx), whose adjoint is g - e^y sum(g).
log_softmax = Op(
    "log_softmax", kernels.log_softmax, inputs=["x"], promotes="float",
    vjp={"x": lambda g, out, axis: log_softmax_grad(g, out, axis)},
    jvp={"x": lambda t, out, axis: subtract(t, sum(multiply(t, exp(out)), axis, True))},
)  # fmt: skip

#: g0 - e^y sum(g0)
log_softmax_grad = Op(
    "log_softmax_grad", kernels.log_softmax_grad, batch="axis", inputs=["g0", "y"],
    vjp={
        "g0": lambda g, y, axis: subtract(g, sum(multiply(g, exp(y)), axis, True)),
        "y": lambda g, g0, y, axis: multiply(
            multiply(g, exp(y)), multiply(sum(g0, axis, True), -1.0)
        ),
    },
    jvp={
        "g0": lambda t, y, axis: log_softmax_grad(t, y, axis),
        "y": lambda t, g0, y, axis: multiply(
            multiply(t, exp(y)), multiply(sum(g0, axis, True), -1.0)
        ),
    },
)  # fmt: skip
