"""Keeping gradients small, in place."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from tilegrad import kernels
from tilegrad.autograd.recording import opaque
from tilegrad.autograd.tensor import Tensor


def _gradients(parameters: Any) -> list[Any]:
    several = [parameters] if isinstance(parameters, Tensor) else parameters
    return [p.grad for p in several if p.grad is not None]


def get_total_norm(
    tensors: Any, norm_type: float = 2.0, error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:  # fmt: skip
    """The norm of all tensors taken as one vector."""
    several = [tensors] if isinstance(tensors, Tensor) else list(tensors)
    arrays = [t._array for t in several]
    if not arrays:
        return Tensor(np.zeros((), np.float32))
    p = float(norm_type)
    if p == 2:
        total = kernels.multi_norm(arrays)
    elif math.isinf(p):
        total = max((float(np.abs(a).max()) for a in arrays if a.size), default=0.0)
    else:
        total = sum(float((np.abs(a.astype(np.float64)) ** p).sum()) for a in arrays) ** (1 / p)
    if error_if_nonfinite and not math.isfinite(total):
        raise RuntimeError(
            f"the total norm of order {p} is {total}: a gradient is not finite; pass "
            "error_if_nonfinite=False to scale by it nevertheless"
        )
    return Tensor(np.asarray(total, np.result_type(*arrays)))


@opaque
def clip_grads_with_norm_(
    parameters: Any, max_norm: float, total_norm: Any, foreach: bool | None = None
) -> None:
    """Scale gradients by ``max_norm / total_norm`` where that is less than 1."""
    # torch's slack, which also keeps a norm of 0 from dividing
    factor = float(max_norm) / (float(np.asarray(total_norm.item())) + 1e-6)
    if factor >= 1:
        return
    grads = _gradients(parameters)
    kernels.multi_scale([g._array for g in grads], factor)
    for g in grads:
        g._bump_version()


@opaque
def clip_grad_norm_(
    parameters: Tensor | Iterable[Tensor], max_norm: float, norm_type: float = 2.0,
    error_if_nonfinite: bool = False, foreach: bool | None = None,
) -> Tensor:  # fmt: skip
    """Scale all gradients so that their common norm is at most ``max_norm``.

    Returns:
        The norm before.

    Raises:
        RuntimeError: it is not finite and ``error_if_nonfinite`` asks to know.
    """
    several = [parameters] if isinstance(parameters, Tensor) else list(parameters)
    total = get_total_norm(_gradients(several), norm_type, error_if_nonfinite)
    clip_grads_with_norm_(several, max_norm, total)
    return total


@opaque
def clip_grad_value_(
    parameters: Tensor | Iterable[Tensor], clip_value: float, foreach: bool | None = None
) -> None:
    """Bound every entry of all gradients to ``[-clip_value, clip_value]``."""
    for g in _gradients(parameters):
        np.clip(g._array, -clip_value, clip_value, out=g._array)
        g._bump_version()
