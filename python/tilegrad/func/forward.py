"""Forward-mode transforms: jvp and linearize."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tilegrad.autograd import forward_mode
from tilegrad.autograd.tensor import Tensor
from tilegrad.func.pytree import Structure, tensors, tree_map, unflatten

#: Live levels whose tangents someone may differentiate by: there the primals' graph does not tell.
_watched_levels: set[int] = set()


def tangents_are_watched() -> bool:
    """Whether some live tangent has a graph of its own."""
    return bool(_watched_levels)


def _pairs(primals: Any, tangents: Any, where: str) -> tuple[list[Tensor], list[Tensor], Structure]:
    xs, structure = tensors(primals, f"{where}: primals")
    ts, like = tensors(tangents, f"{where}: tangents")
    if structure != like:
        raise ValueError(f"{where}: tangents of structure {like} for primals of {structure}")
    for i, (x, t) in enumerate(zip(xs, ts, strict=True)):
        if x.shape != t.shape:
            raise ValueError(f"{where}: tangent {i} has shape {t.shape}, its primal {x.shape}")
        if x.dtype.kind == "f" and t.dtype != x.dtype:
            ts[i] = t.to(x.dtype)
    return xs, ts, structure


def jvp(f: Callable[..., Any], primals: Any, tangents: Any, *, has_aux: bool = False) -> Any:
    """``f(*primals)`` and its directional derivative along ``tangents``, in one forward sweep.

    Args:
        f: takes and returns tensors, or dicts, lists and tuples of them.
        primals: tuple of the arguments.
        tangents: tuple of directions, of the same structure and shapes.
        has_aux: ``f`` returns a pair whose second part is passed through.

    Returns:
        ``(output, tangent of the output)``, and aux as a third with ``has_aux``.

    >>> import tilegrad as tg
    >>> x = tg.tensor([1.0, 2.0])
    >>> value, slope = tg.func.jvp(lambda x: x * x, (x,), (tg.tensor([1.0, 0.0]),))
    >>> slope.numpy()
    array([2., 0.], dtype=float32)
    """
    if not isinstance(primals, tuple) or not isinstance(tangents, tuple):
        raise TypeError("jvp: primals and tangents must be tuples, one entry per argument")
    xs, ts, structure = _pairs(primals, tangents, "jvp")
    with forward_mode.level() as number:
        watched = any(t._requires_grad for t in ts)
        if watched:
            _watched_levels.add(number)
        try:
            duals = [
                forward_mode.dual(x, t, number) if x.dtype.kind == "f" else x
                for x, t in zip(xs, ts, strict=True)
            ]
            result = f(*unflatten(structure, duals))
        finally:
            _watched_levels.discard(number)
        if has_aux and (not isinstance(result, tuple) or len(result) != 2):
            raise TypeError("jvp: with has_aux the function must return a pair (output, aux)")
        result, aux = result if has_aux else (result, None)
        outputs, out_structure = tensors(result, "jvp: the function's results")
        pushed = [_tangent(out, number) for out in outputs]
        values = [forward_mode.below(out, number) for out in outputs]
        aux = tree_map(lambda leaf: forward_mode.below(leaf, number), aux) if has_aux else None
    output, tangent = unflatten(out_structure, values), unflatten(out_structure, pushed)
    return (output, tangent, aux) if has_aux else (output, tangent)


def _tangent(out: Tensor, number: int) -> Tensor:
    tangent = forward_mode.tangent_of(out, number)
    if tangent is None:
        return Tensor(np.zeros(out.shape, out.dtype))
    return forward_mode.below(tangent, number)  # type: ignore[no-any-return]
