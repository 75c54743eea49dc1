"""Activation functions, with torch's signatures."""

from __future__ import annotations

from typing import Any

import numpy as np

from tilegrad.autograd.tensor import Tensor
from tilegrad.functions.inplace import store
from tilegrad.functions.random import stream
from tilegrad.ops import activation as ops
from tilegrad.ops.arithmetic import absolute, add, divide, multiply, negative, subtract
from tilegrad.ops.exponential import sigmoid, tanh
from tilegrad.ops.selection import clip, where
from tilegrad.ops.shape import cast, getitem, reshape
from tilegrad.ops.softmax import log_softmax as _log_softmax
from tilegrad.ops.softmax import softmax as _softmax

# Klambauer, Unterthiner, Mayr, Hochreiter, "Self-normalizing neural networks", 2017
SELU_ALPHA = 1.6732632423543772848170429916717
SELU_SCALE = 1.0507009873554804934193349852946


def apply(function: Any, x: Any, inplace: bool, *args: Any) -> Any:
    """``function(x, *args)``, written back into ``x`` where ``inplace``."""
    if not inplace:
        return function(x, *args)
    if isinstance(x, Tensor):
        return store(x, function, args, {}, getattr(function, "__name__", "activation"))
    x[...] = function(x, *args)
    return x


def relu(input: Any, inplace: bool = False) -> Any:
    """``max(x, 0)``, entry by entry."""
    return ops.relu(input) if not inplace else apply(ops.relu, input, True)


def relu_(input: Any) -> Any:
    """:func:`relu` in place."""
    return relu(input, True)


def relu6(input: Any, inplace: bool = False) -> Any:
    """``min(max(x, 0), 6)``."""
    return hardtanh(input, 0.0, 6.0, inplace)


def leaky_relu(input: Any, negative_slope: float = 0.01, inplace: bool = False) -> Any:
    """``x`` where positive, else ``negative_slope * x``."""
    return apply(ops.leaky_relu, input, inplace, negative_slope)


def elu(input: Any, alpha: float = 1.0, inplace: bool = False) -> Any:
    """``x`` where positive, else ``alpha * (exp(x) - 1)``."""
    return apply(ops.elu, input, inplace, alpha)


def selu(input: Any, inplace: bool = False) -> Any:
    """ELU with the constants that keep mean 0 and variance 1."""
    return apply(lambda x: multiply(ops.elu(x, SELU_ALPHA), SELU_SCALE), input, inplace)


def celu(input: Any, alpha: float = 1.0, inplace: bool = False) -> Any:
    """``max(0, x) + min(0, alpha * (exp(x / alpha) - 1))``."""
    if alpha == 0:
        raise ValueError("celu: alpha must not be 0")
    return apply(
        lambda x: multiply(ops.elu(divide(x, alpha), 1.0), alpha), input, inplace
    )


def gelu(input: Any, approximate: str = "none") -> Any:
    """``x Phi(x)`` with the normal distribution function, or its ``"tanh"`` approximation."""
    return ops.gelu(input, approximate)


def silu(input: Any, inplace: bool = False) -> Any:
    """``x sigmoid(x)``, also called swish."""
    return apply(ops.silu, input, inplace)


def mish(input: Any, inplace: bool = False) -> Any:
    """``x tanh(log(1 + exp(x)))``."""
    return apply(lambda x: multiply(x, tanh(ops.softplus(x))), input, inplace)


def softplus(input: Any, beta: float = 1.0, threshold: float = 20.0) -> Any:
    """``log(1 + exp(beta x)) / beta``, and ``x`` where ``beta x > threshold``."""
    return ops.softplus(input, beta, threshold)


def logsigmoid(input: Any) -> Any:
    """``log(sigmoid(x))``."""
    return ops.log_sigmoid(input)


def softsign(input: Any) -> Any:
    """``x / (1 + |x|)``."""
    return divide(input, add(absolute(input), 1.0))


def tanhshrink(input: Any) -> Any:
    """``x - tanh(x)``."""
    return subtract(input, tanh(input))


def _test(holds: Any, x: Any) -> np.ndarray[Any, Any]:
    """Where ``holds`` is true of the values of ``x``: a plain array of bools."""
    return np.asarray(holds(x._array if isinstance(x, Tensor) else np.asarray(x)))


def _hardtanh(x: Any, low: float, high: float) -> Any:
    inside = _test(lambda v: (v > low) & (v < high), x)
    return where(inside, x, _constant(clip(x, low, high)))


def hardtanh(
    input: Any, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False
) -> Any:
    """``x`` between the bounds, which hold outside; at the bounds the gradient is 0."""
    if min_val > max_val:
        raise ValueError(f"hardtanh: min_val {min_val} must not exceed max_val {max_val}")
    return apply(_hardtanh, input, inplace, min_val, max_val)


def _constant(value: Any) -> Any:
    return value.detach() if isinstance(value, Tensor) else value


def hardsigmoid(input: Any, inplace: bool = False) -> Any:
    """``min(max(x / 6 + 1 / 2, 0), 1)``."""
    return apply(
        lambda x: divide(_hardtanh(add(x, 3.0), 0.0, 6.0), 6.0), input, inplace
    )


def hardswish(input: Any, inplace: bool = False) -> Any:
    """``x min(max(x + 3, 0), 6) / 6``."""
    return apply(
        lambda x: multiply(x, divide(clip(add(x, 3.0), 0.0, 6.0), 6.0)), input, inplace
    )


def hardshrink(input: Any, lambd: float = 0.5) -> Any:
    """``x`` where ``|x| > lambd``, else 0."""
    return where(_test(lambda v: ~((v >= -lambd) & (v <= lambd)), input), input, 0.0)


def softshrink(input: Any, lambd: float = 0.5) -> Any:
    """``x`` moved towards 0 by ``lambd``, and 0 within it."""
    if lambd < 0:
        raise ValueError(f"softshrink: lambd must not be negative, got {lambd}")
    low = where(_test(lambda v: v < -lambd, input), add(input, lambd), multiply(input, 0.0))
    return where(_test(lambda v: v > lambd, input), subtract(input, lambd), low)


def threshold(input: Any, threshold: float, value: float, inplace: bool = False) -> Any:
    """``x`` where it exceeds ``threshold``, else ``value``."""
    return apply(
        lambda x: where(_test(lambda v: ~(v <= threshold), x), x, value), input, inplace
    )


def prelu(input: Any, weight: Any) -> Any:
    """``x`` where positive, else ``weight * x``; one weight, or one per channel (axis 1)."""
    if weight.ndim > 1:
        raise ValueError(f"prelu: weight must have one axis or none, not shape {weight.shape}")
    count = 1 if weight.ndim == 0 else weight.shape[0]
    if count != 1:
        channels = input.shape[1] if input.ndim > 1 else 1
        if channels != count:
            raise ValueError(
                f"prelu: weight of shape {weight.shape} has {count} slopes, but the input of shape "
                f"{input.shape} has {channels} channels on axis 1"
            )
        weight = reshape(weight, (count, *[1] * (input.ndim - 2)))
    elif weight.ndim and input.ndim == 0:
        weight = reshape(weight, ())
    return where(_test(lambda v: v > 0, input), input, multiply(weight, input))


def rrelu(
    input: Any, lower: float = 1.0 / 8, upper: float = 1.0 / 3, training: bool = False,
    inplace: bool = False, generator: Any = None,
) -> Any:  # fmt: skip
    """Leaky ReLU whose slope is drawn from [lower, upper) in training, and their mean otherwise."""
    if lower > upper:
        raise ValueError(f"rrelu: lower {lower} must not exceed upper {upper}")
    if not training:
        return leaky_relu(input, (lower + upper) / 2, inplace)
    slopes = stream(generator).uniform(lower, upper, input.shape).astype(input.dtype)
    negative_part = _test(lambda v: v <= 0, input)
    rates = np.where(negative_part, slopes, np.ones_like(slopes))
    return apply(lambda x: multiply(x, rates), input, inplace)


def glu(input: Any, dim: int = -1) -> Any:
    """The first half along ``dim`` times the sigmoid of the second."""
    size = input.shape[dim]
    if size % 2:
        raise ValueError(
            f"glu: axis {dim} of input {input.shape} has {size} entries; halving needs an even size"
        )
    first = [slice(None)] * input.ndim
    second = list(first)
    first[dim], second[dim] = slice(0, size // 2), slice(size // 2, size)
    return multiply(getitem(input, tuple(first)), sigmoid(getitem(input, tuple(second))))


def _softmax_axis(dim: int | None, ndim: int) -> int:
    """torch's choice for a missing ``dim``."""
    return dim if dim is not None else (0 if ndim in (0, 1, 3) else 1)


def softmax(input: Any, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None) -> Any:
    """``exp(x) / sum(exp(x))`` along ``dim``."""
    x = input if dtype is None else cast(input, dtype)
    return _softmax(x, _softmax_axis(dim, x.ndim))


def log_softmax(input: Any, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None) -> Any:
    """``x - log(sum(exp(x)))`` along ``dim``."""
    x = input if dtype is None else cast(input, dtype)
    return _log_softmax(x, _softmax_axis(dim, x.ndim))


def softmin(input: Any, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None) -> Any:
    """The softmax of ``-x``."""
    return softmax(negative(input), dim, dtype=dtype)


def gumbel_softmax(
    logits: Any, tau: float = 1.0, hard: bool = False, eps: float = 1e-10, dim: int = -1,
    generator: Any = None,
) -> Any:  # fmt: skip
    """A differentiable sample of the categorical distribution of ``logits``.

    ``hard`` gives one-hot values with the gradient of the soft sample. Jang, Gu, Poole,
    "Categorical reparameterization with Gumbel-softmax", 2017.
    """
    noise = stream(generator).gumbel(size=logits.shape).astype(logits.dtype)
    soft = softmax(divide(add(logits, noise), tau), dim)
    if not hard:
        return soft
    values = soft._array if isinstance(soft, Tensor) else soft
    one_hot = np.zeros_like(values)
    np.put_along_axis(one_hot, np.expand_dims(values.argmax(axis=dim), dim), 1, axis=dim)
    return add(soft, one_hot - values)


__all__ = [
    "celu", "elu", "gelu", "glu", "gumbel_softmax", "hardshrink", "hardsigmoid", "hardswish",
    "hardtanh", "leaky_relu", "log_softmax", "logsigmoid", "mish", "prelu", "relu", "relu6",
    "relu_", "rrelu", "selu", "sigmoid", "silu", "softmax", "softmin", "softplus", "softshrink",
    "softsign", "tanh", "tanhshrink", "threshold",
]  # fmt: skip
