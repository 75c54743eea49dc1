"""Activation functions and the fused ``*_grad`` operations, closed under differentiation.

``relu_grad(d, y)`` and its kin are linear in ``d`` and elementwise, so each is its own derivative
by ``d``; their derivative by the other input carries the second derivative of the function.
"""

from __future__ import annotations

from typing import Any

from tilegrad import kernels
from tilegrad.kernels.activation import GELU_CUBIC, SQRT_2_OVER_PI
from tilegrad.ops.arithmetic import absorb, add, multiply, negative, square, subtract
from tilegrad.ops.define import elementwise, vanish
from tilegrad.ops.exponential import exp, sigmoid, sigmoid_grad, tanh


def one_minus(x: Any) -> Any:
    """``1 - x``."""
    return add(negative(x), 1.0)


def where_positive(value: Any, x: Any) -> Any:
    """``value`` where ``x`` is positive, else 0."""
    return relu_grad(value, x)


# ---- piecewise linear ----------------------------------------------------------------------------

relu = elementwise(
    "relu", kernels.relu, "x", promotes=True,
    x=lambda g, out: relu_grad(g, out),
)  # fmt: skip

#: ``d`` where ``y`` is positive: constant in ``y`` but for the kink.
relu_grad = elementwise(
    "relu_grad", kernels.relu_grad, "d y", promotes=True,
    d=lambda g, y: relu_grad(g, y),
    y=lambda d: vanish(d),
)  # fmt: skip

leaky_relu = elementwise(
    "leaky_relu", kernels.leaky_relu, "x",
    x=lambda g, x, slope: leaky_relu_grad(g, x, slope),
)  # fmt: skip

leaky_relu_grad = elementwise(
    "leaky_relu_grad", kernels.leaky_relu_grad, "d x",
    d=lambda g, x, slope: leaky_relu_grad(g, x, slope),
    x=lambda d: vanish(d),
)  # fmt: skip


# ---- exponential ---------------------------------------------------------------------------------

elu = elementwise(
    "elu", kernels.elu, "x",
    x=lambda g, x, alpha: elu_grad(g, x, alpha),
)  # fmt: skip

#: ``d`` right of zero, ``d alpha exp(x)`` left of it: there it is its own derivative by ``x``.
elu_grad = elementwise(
    "elu_grad", kernels.elu_grad, "d x",
    d=lambda g, x, alpha: elu_grad(g, x, alpha),
    x=lambda g, d, x, alpha: where_positive(elu_grad(absorb(g, d), x, alpha), negative(x)),
)  # fmt: skip

log_sigmoid = elementwise(
    "log_sigmoid", kernels.log_sigmoid, "x",
    x=lambda g, x: log_sigmoid_grad(g, x),
)  # fmt: skip

#: ``d s(-x)``, and ``s(-x)' = -s(x) (1 - s(x))``.
log_sigmoid_grad = elementwise(
    "log_sigmoid_grad", kernels.log_sigmoid_grad, "d x",
    d=lambda g, x: log_sigmoid_grad(g, x),
    x=lambda g, d, x: negative(sigmoid_grad(absorb(g, d), sigmoid(x))),
)  # fmt: skip

softplus = elementwise(
    "softplus", kernels.softplus, "x",
    x=lambda g, x, beta, threshold: softplus_grad(g, x, beta, threshold),
)  # fmt: skip


def _softplus_curvature(g: Any, d: Any, x: Any, beta: float, threshold: float) -> Any:
    z = multiply(x, beta)
    bent = multiply(sigmoid_grad(absorb(g, d), sigmoid(z)), beta)
    return where_positive(bent, add(negative(z), threshold))


#: ``d s(beta x)``, whose derivative is ``beta s (1 - s)`` and 0 beyond the threshold.
softplus_grad = elementwise(
    "softplus_grad", kernels.softplus_grad, "d x",
    d=lambda g, x, beta, threshold: softplus_grad(g, x, beta, threshold),
    x=_softplus_curvature,
)  # fmt: skip


# ---- gates ---------------------------------------------------------------------------------------

silu = elementwise(
    "silu", kernels.silu, "x",
    x=lambda g, x: silu_grad(g, x),
)  # fmt: skip


def _silu_curvature(g: Any, d: Any, x: Any) -> Any:
    # (x s)'' = 2 s' + x s'' = s (1 - s) (2 + x (1 - 2 s))
    s = sigmoid(x)
    bend = add(multiply(x, one_minus(multiply(s, 2.0))), 2.0)
    return multiply(sigmoid_grad(absorb(g, d), s), bend)


silu_grad = elementwise(
    "silu_grad", kernels.silu_grad, "d x",
    d=lambda g, x: silu_grad(g, x),
    x=_silu_curvature,
)  # fmt: skip

gelu = elementwise(
    "gelu", kernels.gelu, "x",
    x=lambda g, x, approximate: gelu_grad(g, x, approximate),
)  # fmt: skip


def _gelu_curvature(g: Any, d: Any, x: Any, approximate: str) -> Any:
    gd = absorb(g, d)
    squared = square(x)
    if approximate == "none":
        # (x Phi)'' = 2 phi + x phi' = phi (2 - x^2)
        density = multiply(exp(multiply(squared, -0.5)), 0.5 * SQRT_2_OVER_PI)
        return multiply(gd, multiply(density, add(negative(squared), 2.0)))
    # f = x / 2 (1 + t), t = tanh(u), u = a (x + b x^3):
    # f'' = (1 - t^2) (u' + x / 2 (u'' - 2 t u'^2))
    t = tanh(multiply(add(multiply(squared, multiply(x, GELU_CUBIC)), x), SQRT_2_OVER_PI))
    first = multiply(add(multiply(squared, 3 * GELU_CUBIC), 1.0), SQRT_2_OVER_PI)
    second = multiply(x, 6 * GELU_CUBIC * SQRT_2_OVER_PI)
    inner = subtract(second, multiply(multiply(t, square(first)), 2.0))
    bend = add(first, multiply(multiply(x, 0.5), inner))
    return multiply(gd, multiply(one_minus(square(t)), bend))


gelu_grad = elementwise(
    "gelu_grad", kernels.gelu_grad, "d x",
    d=lambda g, x, approximate: gelu_grad(g, x, approximate),
    x=_gelu_curvature,
)  # fmt: skip
