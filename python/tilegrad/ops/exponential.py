"""Roots, exponentials and logarithms."""

from __future__ import annotations

import math

import numpy as np

from tilegrad import kernels
from tilegrad.ops.arithmetic import absorb, add, multiply, negative, quotient, square, subtract
from tilegrad.ops.define import elementwise

LOG_2 = math.log(2)
LOG_10 = math.log(10)

#: At 0 the derivative is infinite, as in torch; see :data:`root` for the one that is 0 there.
sqrt = elementwise("sqrt", kernels.sqrt, "x", x=lambda g, out: quotient(g, multiply(out, 2.0)))

rsqrt = elementwise(
    "rsqrt", kernels.rsqrt, "x",
    # d x^(-1/2) = -1/2 x^(-3/2) dx
    x=lambda g, x: quotient(g, multiply(multiply(x, sqrt(x)), -2.0)),
)  # fmt: skip

exp = elementwise("exp", kernels.exp, "x", x=lambda g, out: absorb(g, out))
exp2 = elementwise("exp2", kernels.exp2, "x", x=lambda g, out: absorb(g, multiply(out, LOG_2)))
expm1 = elementwise("expm1", kernels.expm1, "x", x=lambda g, out: absorb(g, add(out, 1.0)))

log = elementwise("log", kernels.log, "x", x=lambda g, x: quotient(g, x))
log2 = elementwise("log2", kernels.log2, "x", x=lambda g, x: quotient(g, multiply(x, LOG_2)))
log10 = elementwise("log10", kernels.log10, "x", x=lambda g, x: quotient(g, multiply(x, LOG_10)))
log1p = elementwise("log1p", kernels.log1p, "x", x=lambda g, x: quotient(g, add(x, 1.0)))

#: e^(x - out) is the share of x in the sum: a sigmoid of the difference.
logaddexp = elementwise(
    "logaddexp", kernels.logaddexp, "x y",
    x=lambda g, x, y: absorb(g, sigmoid(subtract(x, y))),
    y=lambda g, x, y: absorb(g, sigmoid(subtract(y, x))),
)  # fmt: skip


def _logaddexp2(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    with np.errstate(all="ignore"):
        return np.asarray(np.logaddexp2(x, y))


logaddexp2 = elementwise(
    "logaddexp2", _logaddexp2, "x y",
    x=lambda g, x, y: absorb(g, sigmoid(multiply(subtract(x, y), LOG_2))),
    y=lambda g, x, y: absorb(g, sigmoid(multiply(subtract(y, x), LOG_2))),
)  # fmt: skip

sigmoid = elementwise(
    "sigmoid", kernels.sigmoid, "x",
    x=lambda g, out: sigmoid_grad(g, out),
)  # fmt: skip

#: g y (1 - y); d/dy = g (1 - 2 y)
sigmoid_grad = elementwise(
    "sigmoid_grad", kernels.sigmoid_grad, "g0 y",
    g0=lambda g, y: sigmoid_grad(g, y),
    y=lambda g, g0, y: multiply(absorb(g, g0), subtract(1.0, multiply(y, 2.0))),
)  # fmt: skip

tanh = elementwise("tanh", kernels.tanh, "x", x=lambda g, out: tanh_grad(g, out))

#: g (1 - y^2); d/dy = -2 g y
tanh_grad = elementwise(
    "tanh_grad", kernels.tanh_grad, "g0 y",
    g0=lambda g, y: tanh_grad(g, y),
    y=lambda g, g0, y: multiply(absorb(g, g0), multiply(y, -2.0)),
)  # fmt: skip

#: log(x / (1 - x))
logit = elementwise(
    "logit", lambda x: kernels.log(kernels.divide(x, kernels.subtract(1, x))), "x",
    x=lambda g, x: quotient(g, multiply(x, subtract(1.0, x))),
)  # fmt: skip

INVERSE_ROOT_PI_2 = 2 / math.sqrt(math.pi)

#: d erf = 2 / sqrt(pi) e^(-x^2) dx
erf = elementwise(
    "erf", kernels.erf, "x",
    x=lambda g, x: absorb(g, multiply(exp(negative(square(x))), INVERSE_ROOT_PI_2)),
)  # fmt: skip
erfc = elementwise(
    "erfc", kernels.erfc, "x",
    x=lambda g, x: absorb(g, multiply(exp(negative(square(x))), -INVERSE_ROOT_PI_2)),
)  # fmt: skip
