"""Optimizer steps, in place over flat arrays, and the norms that clip gradients.

Each step reads the gradient ``g`` and updates the parameter ``p`` and its state in place; it
returns nothing. All arrays have one shape and dtype. The formulas, and their order of rounding, are
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

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tilegrad.kernels.registry import kernel

Array = NDArray[Any]


def _direction(p: Array, g: Array, weight_decay: float, maximize: bool) -> Array:
    """The gradient to descend, with L2 decay added."""
    if p.shape != g.shape:
        raise ValueError(f"optimizer step: parameter {p.shape} and gradient {g.shape} differ")
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
        denominator = np.sqrt(second) / (1 - beta2**step) ** 0.5 + eps
        p -= (lr / (1 - beta1**step)) * (m / denominator)


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
    with np.errstate(all="ignore"):
        g = _direction(p, g, weight_decay, maximize)
        total += g * g
        p -= (lr / (1 + (step - 1) * lr_decay)) * (g / (np.sqrt(total) + eps))


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
    """Multiply every array by ``factor``, in place."""
    with np.errstate(all="ignore"):
        for a in arrays:
            a *= factor
