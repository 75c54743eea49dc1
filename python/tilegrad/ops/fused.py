"""Fused operations: kernels for the first order, a composition of elementary operations beyond it.

Such a record has a kernel that computes it and one that computes its gradients. Where the gradients
themselves are recorded, they are those of the composition, which differentiates to any order; that
both agree is what the tests of the record check.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tilegrad.autograd import forward_mode
from tilegrad.autograd.tensor import Tensor


def plain(values: Sequence[Any]) -> bool:
    """Whether no tensor is among ``values``: then kernels serve."""
    return not any(isinstance(value, Tensor) for value in values)


def _several(out: Any) -> tuple[Any, ...]:
    return out if isinstance(out, tuple) else (out,)


def pull_composed(
    composed: Callable[..., Any], inputs: Sequence[Any], g: Any, needs: Sequence[bool]
) -> tuple[Any, ...]:
    """Gradients of ``composed(*inputs)`` by those inputs that ``needs`` marks.

    They are recorded where tensors are involved, else arrays.
    """
    from tilegrad.autograd.api import grad
    from tilegrad.autograd.modes import enable_grad
    from tilegrad.ops.shape import alias

    recorded = not plain((*_several(g), *inputs))
    with enable_grad():
        # aliases cut the paths that lead from one input to another outside
        own = [
            alias(_leaf(x) if need else x) if x is not None else None
            for x, need in zip(inputs, needs, strict=True)
        ]
        outs = _several(composed(*own))
        pairs = [
            (out, _tensor(part))
            for out, part in zip(outs, _several(g), strict=False)
            if part is not None and isinstance(out, Tensor) and out.requires_grad
        ]
        targets: list[Any] = [x for x, need in zip(own, needs, strict=True) if need]
        found = iter(
            grad(
                [out for out, _ in pairs], targets, [part for _, part in pairs],
                create_graph=recorded, allow_unused=True,
            )
        )  # fmt: skip
    parts = [next(found) if need else None for need in needs]
    if recorded:
        return tuple(parts)
    return tuple(None if part is None else part._array for part in parts)


def _tensor(value: Any) -> Tensor:
    return value if isinstance(value, Tensor) else Tensor(np.asarray(value))


def _leaf(value: Any) -> Tensor:
    """A tensor that requires gradients: itself, or a leaf of the same value."""
    if isinstance(value, Tensor) and value.requires_grad:
        return value
    array = value._array if isinstance(value, Tensor) else np.asarray(value)
    leaf = Tensor(array, True)
    if isinstance(value, Tensor):
        leaf._tangents = value._tangents
    return leaf


def push_composed(
    composed: Callable[..., Any], inputs: Sequence[Any], tangents: Sequence[Any]
) -> tuple[Any, ...]:
    """Tangents of the results of ``composed(*inputs)``."""
    with forward_mode.level() as number:
        args = [
            x if t is None else forward_mode.dual(_tensor(x), _tensor(t), number)
            for x, t in zip(inputs, tangents, strict=True)
        ]
        outs = _several(composed(*args))
        return tuple(forward_mode.tangent_of(out, number) for out in outs)
