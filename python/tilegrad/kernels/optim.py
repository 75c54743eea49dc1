"""Optimizer steps, in place over flat arrays, and the norms that clip gradients.

Each step reads the gradient ``g`` and updates the parameter ``p`` and its state in place; it
returns nothing. All arrays have one shape and floating-point dtype: TypeError or ValueError says
which has not, before anything is written. The formulas, and their order of rounding, are
those of ``torch.optim``, so that trajectories agree to the last few bits. float32 and float64 run
natively, and may take subnormal numbers for zero: those that a dead unit's momentum decays to cost
the processor a hundred times an ordinary number.

>>> import numpy as np
>>> p = np.array([1.0, 2.0])
>>> sgd_step(p, np.array([10.0, 20.0]), lr=0.1)
>>> p
array([0., 0.])
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tilegrad.kernels.registry import kernel

Array = NDArray[Any]


def _check_written(kernel: str, name: str, a: Any) -> None:
    """Refuse an ``a`` that is no array of floats to write to."""
    if not isinstance(a, np.ndarray):
        raise TypeError(f"{kernel}: {name} must be an array, not {type(a).__name__}")
    if a.dtype.kind != "f":
        raise TypeError(f"{kernel}: {name} must be floating-point, not {a.dtype}")
    if not a.flags.writeable:
        raise ValueError(f"{kernel}: {name} is read-only; pass a copy")


def _check_numbers(kernel: str, numbers: dict[str, float]) -> None:
    """Refuse what is no number, and steps that do not count from 1."""
    for name, value in numbers.items():
        try:
            math.fabs(value)
        except TypeError:
            raise TypeError(
                f"{kernel}: {name} must be a number, not {type(value).__name__}"
            ) from None
    if not numbers.get("step", 1) >= 1:  # NaN is refused, too
        raise ValueError(f"{kernel}: step {numbers['step']} is less than 1: it counts from 1")


def _check(
    kernel: str, p: Array, g: Array, state: dict[str, Array | None], **numbers: float
) -> None:
    """Refuse what a step could fail at: once it writes, it must come to its end."""
    _check_numbers(kernel, numbers)
    given = {name: a for name, a in state.items() if a is not None}
    for name, a in {"p": p, **given}.items():
        _check_written(kernel, name, a)
    if not isinstance(g, np.ndarray):
        raise TypeError(f"{kernel}: g must be an array, not {type(g).__name__}")
    for name, a in {"g": g, **given}.items():
        if a.shape != p.shape:
            raise ValueError(f"{kernel}: p {p.shape} and {name} {a.shape} differ")
        if a.dtype != p.dtype:
            raise TypeError(f"{kernel}: p {p.dtype} and {name} {a.dtype} differ")


def _direction(p: Array, g: Array, weight_decay: float, maximize: bool) -> Array:
    """The gradient to descend, with L2 decay added."""
    g = -g if maximize else g
    return g + weight_decay * p if weight_decay else g


@kernel
def sgd_step(
    p: Array,
    g: Array,
    buf: Array | None = None,
    *,
    lr: float,
    momentum: float = 0.0,
    dampening: float = 0.0,
    weight_decay: float = 0.0,
    nesterov: bool = False,
    maximize: bool = False,
    first: bool = False,
) -> None:
    """One step of ``torch.optim.SGD``. ``buf`` is the momentum buffer, None without momentum.

    ``buf = momentum buf + (1 - dampening) g``, but ``buf = g`` on the ``first`` step; then ``p -=
    lr d`` with ``d = g + momentum buf`` (nesterov), ``buf`` or ``g``.
    """
    _check(
        "sgd_step", p, g, {"buf": buf}, lr=lr, momentum=momentum, dampening=dampening,
        weight_decay=weight_decay,
    )  # fmt: skip
    with np.errstate(all="ignore"):
        g = _direction(p, g, weight_decay, maximize)
        if buf is not None and momentum:
            if first:
                buf[...] = g
            else:
                buf *= momentum
                buf += (1 - dampening) * g
            g = g + momentum * buf if nesterov else buf
        p -= lr * g


@kernel
def adam_step(
    p: Array,
    g: Array,
    m: Array,
    v: Array,
    v_max: Array | None = None,
    *,
    step: int,
    lr: float,
    beta1: float = 0.9,
    beta2: float = 0.999,
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    decoupled: bool = False,
    maximize: bool = False,
) -> None:
    """One step of ``torch.optim.Adam``, or AdamW (``decoupled``); ``v_max`` asks for amsgrad.

    ``m += (1 - beta1) (g - m)``, ``v = beta2 v + (1 - beta2) g^2``, then ``p -= lr / (1 -
    beta1^step) m / (sqrt(v) / sqrt(1 - beta2^step) + eps)``. ``step`` counts from 1.
    """
    _check(
        "adam_step", p, g, {"m": m, "v": v, "v_max": v_max}, step=step, lr=lr, beta1=beta1,
        beta2=beta2, eps=eps, weight_decay=weight_decay,
    )  # fmt: skip
    rate, correction = lr / (1 - beta1**step), math.sqrt(1 - beta2**step)  # may fail: come first
    with np.errstate(all="ignore"):
        g = _direction(p, g, 0.0 if decoupled else weight_decay, maximize)
        if decoupled and weight_decay:
            p *= 1 - lr * weight_decay
        m += (1 - beta1) * (g - m)
        v *= beta2
        v += (1 - beta2) * (g * g)
        second = v
        if v_max is not None:
            second = np.maximum(v_max, v, out=v_max)
        p -= rate * (m / (np.sqrt(second) / correction + eps))


@kernel
def rmsprop_step(
    p: Array,
    g: Array,
    square: Array,
    buf: Array | None = None,
    average: Array | None = None,
    *,
    lr: float,
    alpha: float = 0.99,
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    momentum: float = 0.0,
    maximize: bool = False,
) -> None:
    """One step of ``torch.optim.RMSprop``; ``buf`` keeps momentum, ``average`` centers.

    ``square = alpha square + (1 - alpha) g^2``; ``d = g / (sqrt(square [- average^2]) + eps)``.
    """
    _check(
        "rmsprop_step", p, g, {"square": square, "buf": buf, "average": average}, lr=lr,
        alpha=alpha, eps=eps, weight_decay=weight_decay, momentum=momentum,
    )  # fmt: skip
    with np.errstate(all="ignore"):
        g = _direction(p, g, weight_decay, maximize)
        square *= alpha
        square += (1 - alpha) * (g * g)
        variance = square
        if average is not None:
            average += (1 - alpha) * (g - average)
            variance = square - average * average
        d = g / (np.sqrt(variance) + eps)
        if buf is not None and momentum:
            buf *= momentum
            buf += d
            d = buf
        p -= lr * d


@kernel
def adagrad_step(
    p: Array,
    g: Array,
    total: Array,
    *,
    step: int,
    lr: float,
    lr_decay: float = 0.0,
    eps: float = 1e-10,
    weight_decay: float = 0.0,
    maximize: bool = False,
) -> None:
    """One step of ``torch.optim.Adagrad``: ``total += g^2``, ``p -= rate g / (sqrt(total) + eps)``.

    The rate is ``lr / (1 + (step - 1) lr_decay)``; ``step`` counts from 1.
    """
    _check(
        "adagrad_step", p, g, {"total": total}, step=step, lr=lr, lr_decay=lr_decay, eps=eps,
        weight_decay=weight_decay,
    )  # fmt: skip
    rate = lr / (1 + (step - 1) * lr_decay)  # may fail: comes first
    with np.errstate(all="ignore"):
        g = _direction(p, g, weight_decay, maximize)
        total += g * g
        p -= rate * (g / (np.sqrt(total) + eps))


@kernel
def multi_norm(arrays: Sequence[Array]) -> float:
    """The Euclidean norm of all arrays taken as one vector; 0 for none. Accumulated in float64.

    >>> import numpy as np
    >>> multi_norm([np.array([3.0]), np.array([[4.0]])])
    5.0
    """
    with np.errstate(all="ignore"):
        squares = [np.sum(np.square(a, dtype=np.float64)) for a in arrays]
        return float(np.sqrt(np.sum(squares)))


@kernel
def multi_scale(arrays: Sequence[Array], factor: float) -> None:
    """Multiply every array by ``factor``, in place: all of them or, where one is refused, none."""
    _check_numbers("multi_scale", {"factor": factor})
    for i, a in enumerate(arrays):
        _check_written("multi_scale", f"arrays[{i}]", a)
    with np.errstate(all="ignore"):
        for a in arrays:
            a *= factor
