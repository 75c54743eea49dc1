"""Jacobians, Hessians and linearisations: sweeps over a basis, all of its members at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

import numpy as np

from tilegrad.autograd.batching import NoBatchedFormError
from tilegrad.autograd.tensor import Tensor
from tilegrad.func.forward import jvp
from tilegrad.func.pytree import Structure, tensors, unflatten
from tilegrad.func.reverse import Argnums, chosen, grad, record, replaced, vjp
from tilegrad.func.vmap import basis, vmap
from tilegrad.ops.linalg_checks import RepeatedValuesError


def _sweep(
    one: Callable[..., Any],
    parts: Sequence[Tensor],
    chunk_size: int | None,
    randomness: str = "same",
) -> list[Tensor]:
    """``one`` on every member of the standard basis of ``parts``: results stacked along axis 0."""
    sizes = [int(np.prod(part.shape)) for part in parts]
    total = sum(sizes)
    chunk = total if chunk_size is None else max(1, min(chunk_size, total))
    pieces: list[list[Tensor]] = []
    for start in range(0, total, chunk) if total else ():
        stop = min(start + chunk, total)
        directions = [
            basis((sum(sizes[:i]), sizes[i]), part.dtype, start, stop, part.shape)
            for i, part in enumerate(parts)
        ]
        try:
            pieces.append(list(vmap(one, randomness=randomness)(*directions)))
        except NoBatchedFormError:  # one by one then
            rows = [one(*(d[k] for d in directions)) for k in range(stop - start)]
            pieces.append([_stack(column) for column in zip(*rows, strict=True)])
    if len(pieces) == 1:
        return pieces[0]
    return [_join(column) for column in zip(*pieces, strict=True)]


def _stack(rows: Sequence[Tensor]) -> Tensor:
    from tilegrad.ops.shape import reshape

    return _join([reshape(row, (1, *row.shape)) for row in rows])


def _join(pieces: Sequence[Tensor]) -> Tensor:
    from tilegrad.ops.shape import concatenate

    return concatenate(*pieces, axis=0)  # type: ignore[no-any-return]


def _cut(stacked: Tensor, parts: Sequence[Tensor]) -> list[Tensor]:
    """The rows that belong to each part, back in the part's shape."""
    from tilegrad.ops.shape import getitem, reshape

    pieces, start = [], 0
    for part in parts:
        size = int(np.prod(part.shape))
        rows = stacked if len(parts) == 1 else getitem(stacked, slice(start, start + size))
        pieces.append(reshape(rows, (*part.shape, *stacked.shape[1:])))
        start += size
    return pieces


def _tree_of_blocks(blocks: Sequence[Sequence[Tensor]], outer: Structure, inner: Structure) -> Any:
    """``blocks[i][j]``, result i by argument j, as a tree of results of trees of arguments."""
    return unflatten(outer, [unflatten(inner, row) for row in blocks])


def jacrev(
    f: Callable[..., Any],
    argnums: Argnums = 0,
    has_aux: bool = False,
    *,
    chunk_size: int | None = None,
) -> Callable[..., Any]:
    """A function that returns the Jacobian of ``f``, by one batched reverse sweep.

    The choice for functions with fewer results than arguments. A result of shape s and an argument
    of shape r give a Jacobian of shape s + r; trees of results hold trees of arguments.

    Args:
        f: takes and returns tensors or trees of them.
        argnums: by which arguments to differentiate.
        has_aux: ``f`` returns ``(output, aux)``; the function then returns ``(Jacobian, aux)``.
        chunk_size: at most so many rows at a time, to bound memory.

    >>> import numpy as np, tilegrad as tg
    >>> tg.func.jacrev(lambda x: x * x)(tg.tensor(np.array([1.0, 2.0]))).numpy()
    array([[2., 0.],
           [0., 4.]])
    """

    @wraps(f)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        values, outer, aux, inner, pullback = record(f, args, argnums, has_aux, "jacrev", kwargs)
        columns = _sweep(lambda *cotangents: pullback(cotangents), values, chunk_size)
        cut = [_cut(stacked, values) for stacked in columns]
        blocks = [[column[i] for column in cut] for i in range(len(values))]
        jacobian = _tree_of_blocks(blocks, outer, inner)
        return (jacobian, aux) if has_aux else jacobian

    return wrapped


def jacfwd(
    f: Callable[..., Any],
    argnums: Argnums = 0,
    has_aux: bool = False,
    *,
    chunk_size: int | None = None,
    randomness: str = "error",
) -> Callable[..., Any]:
    """A function that returns the Jacobian of ``f``, by one batched forward sweep.

    The choice for functions with at least as many results as arguments; else as :func:`jacrev`.
    ``randomness`` is that of :func:`vmap`: ``f`` runs inside a batch of directions.

    >>> import numpy as np, tilegrad as tg
    >>> tg.func.jacfwd(lambda x: x * x)(tg.tensor(np.array([1.0, 2.0]))).numpy()
    array([[2., 0.],
           [0., 4.]])
    """

    @wraps(f)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        xs, inner = tensors(chosen(args, argnums, "jacfwd"), "jacfwd: the arguments")
        seen: dict[str, Any] = {}

        def of_leaves(*leaves: Any) -> Any:
            call = replaced(args, argnums, unflatten(inner, leaves))
            result = f(*call, **kwargs)
            result, aux = result if has_aux else (result, None)
            outputs, seen["outer"] = tensors(result, "jacfwd: the function's results")
            return outputs, aux

        def one(*directions: Tensor) -> list[Tensor]:
            _, pushed, seen["aux"] = jvp(of_leaves, tuple(xs), directions, has_aux=True)
            return list(pushed)

        stacked = _sweep(one, xs, chunk_size, randomness)
        blocks = [
            [_turned(part, x) for part, x in zip(_cut(s, xs), xs, strict=True)] for s in stacked
        ]
        jacobian = _tree_of_blocks(blocks, seen["outer"], inner)
        return (jacobian, seen["aux"]) if has_aux else jacobian

    return wrapped


def _turned(block: Tensor, x: Tensor) -> Tensor:
    """Axes (argument, result) exchanged for (result, argument)."""
    from tilegrad.ops.shape import permute

    return permute(block, (*range(x.ndim, block.ndim), *range(x.ndim)))  # type: ignore[no-any-return]


def hessian(
    f: Callable[..., Any], argnums: Argnums = 0, *, chunk_size: int | None = None
) -> Callable[..., Any]:
    """A function that returns the Hessian of ``f``: forward over reverse, all columns at once.

    The gradient is computed once, with a batch of tangents beside it.

    >>> import numpy as np, tilegrad as tg
    >>> tg.func.hessian(lambda x: (x * x * x).sum())(tg.tensor(np.array([1.0, 2.0]))).numpy()
    array([[ 6.,  0.],
           [ 0., 12.]])
    """
    forward = jacfwd(jacrev(f, argnums), argnums, chunk_size=chunk_size)

    def function(*args: Any, **kwargs: Any) -> Any:
        try:
            return forward(*args, **kwargs)
        except RepeatedValuesError:  # eigenvectors have no tangent there, gradients are limits
            return jacrev(jacrev(f, argnums), argnums, chunk_size=chunk_size)(*args, **kwargs)

    return function


def hvp(f: Callable[..., Any], primals: Any, tangents: Any) -> Any:
    """The Hessian of the scalar function ``f`` times a vector, without the Hessian.

    Args:
        f: a function of one argument, or of several if ``primals`` is a tuple.
        primals: where; a tensor or tree, or a tuple of the arguments.
        tangents: the vector, alike.

    Returns:
        The product, of the same structure.

    >>> import numpy as np, tilegrad as tg
    >>> x, v = tg.tensor(np.array([1.0, 2.0])), tg.tensor(np.array([1.0, 1.0]))
    >>> tg.func.hvp(lambda x: (x * x * x).sum(), x, v).numpy()
    array([ 6., 12.])
    """
    if isinstance(primals, tuple):
        gradient = grad(f, tuple(range(len(primals))))
        return jvp(gradient, primals, tuple(tangents))[1]
    try:
        return jvp(grad(f), (primals,), (tangents,))[1]
    except RepeatedValuesError:  # as in hessian; the Hessian is symmetric
        return vjp(grad(f), primals)[1](tangents)[0]


def linearize(f: Callable[..., Any], *primals: Any) -> tuple[Any, Callable[..., Any]]:
    """``f(*primals)`` and its derivative there as a function of tangents.

    The derivative is the transpose of the pullback: the pullback is linear in its cotangent u, so
    the gradient of <pullback(u), t> by u is the tangent of the result. ``f`` runs once, however
    often the derivative is called.

    Townsend, "A new trick for calculating Jacobian vector products", 2017.

    >>> import tilegrad as tg
    >>> value, derivative = tg.func.linearize(lambda x: x * x * x, tg.tensor(2.0))
    >>> value.item(), derivative(tg.tensor(1.0)).item()
    (8.0, 12.0)
    """
    argnums = tuple(range(len(primals)))
    values, outer, _, inner, pullback = record(f, primals, argnums, False, "linearize")
    cotangents = tuple(Tensor(np.zeros(value.shape, value.dtype)) for value in values)
    pulled, _, _, _, transpose = record(
        lambda *u: pullback(u), cotangents, tuple(range(len(values))), False, "linearize"
    )

    def derivative(*tangents: Any) -> Any:
        given, like = tensors(tangents, "linearize: tangents")
        if like != inner:
            raise ValueError(f"linearize: tangents of structure {like} for arguments {inner}")
        for i, (t, x) in enumerate(zip(given, pulled, strict=True)):
            if t.shape != x.shape:
                raise ValueError(f"linearize: tangent {i} has shape {t.shape}, not {x.shape}")
        return unflatten(outer, transpose(given))

    return unflatten(outer, values), derivative
