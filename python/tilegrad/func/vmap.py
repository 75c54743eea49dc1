"""vmap: a function of one member becomes a function of a batch, without a loop in Python."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

import numpy as np

from tilegrad.autograd import batching, drawing
from tilegrad.autograd.batching import Level
from tilegrad.autograd.drawing import RANDOMNESS
from tilegrad.autograd.tensor import Tensor
from tilegrad.func.pytree import Structure, as_tensor, flatten, unflatten
from tilegrad.func.reverse import Argnums, grad


def vmap(
    f: Callable[..., Any],
    in_dims: Any = 0,
    out_dims: Any = 0,
    randomness: str = "error",
    *,
    chunk_size: int | None = None,
) -> Callable[..., Any]:
    """A function that applies ``f`` to every member of a batch at once.

    Every operation inside runs once for the whole batch, by the batched form in its record.
    Transforms nest: ``vmap(grad(f))`` gives one gradient per member. A gradient by something made
    outside is the sum over the members.

    Args:
        f: a function of one member.
        in_dims: for each argument the axis that counts the members, None for one that all share; an
            int for all arguments alike, or a tree that is a prefix of the argument's.
        out_dims: where the axis of members goes in the results; None for what is the same for all
            members and gets no axis.
        randomness: what random functions inside do: ``"error"``, ``"same"`` numbers for all
            members, or ``"different"`` ones.
        chunk_size: at most so many members at a time, to bound memory.

    Returns:
        A function of the same arguments with a further axis.

    Raises:
        NotImplementedError: an operation inside has no batched form.
        ValueError: the arguments have different numbers of members, or a result that differs by
            member has ``out_dims=None``.
        RuntimeError: random numbers are drawn inside, with ``randomness="error"``.

    >>> import numpy as np, tilegrad as tg
    >>> a, b = tg.tensor(np.ones((5, 3))), tg.tensor(np.ones((5, 3)))
    >>> tg.func.vmap(lambda a, b: a @ b)(a, b).numpy()
    array([3., 3., 3., 3., 3.])
    """
    if chunk_size is not None and chunk_size < 1:
        raise ValueError(f"vmap: chunk_size must be positive, got {chunk_size}")
    if randomness not in RANDOMNESS:
        raise ValueError(f"vmap: randomness={randomness!r}; one of {', '.join(RANDOMNESS)}")

    @wraps(f)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        if isinstance(in_dims, (tuple, list)) and len(in_dims) != len(args):
            raise ValueError(f"vmap: {len(in_dims)} in_dims for {len(args)} arguments")
        leaves, structure = flatten(args)
        leaves = [as_tensor(leaf) for leaf in leaves]
        axes = _spread(tuple(in_dims) if isinstance(in_dims, list) else in_dims, structure)
        axes = [_axis(axis, x, i) for i, (axis, x) in enumerate(zip(axes, leaves, strict=True))]
        size = _size(leaves, axes)
        step = max(size, 1) if chunk_size is None else chunk_size
        parts = []
        for start in range(0, max(size, 1), step):
            stop = min(start + step, size)
            piece = leaves
            if stop - start < size:
                piece = [_slice(x, axis, start, stop) for x, axis in zip(leaves, axes, strict=True)]
            call = _bind(f, structure, kwargs)
            part, inner, places = _run(call, piece, axes, out_dims, Level(stop - start, randomness))
            parts.append(part)
        columns = zip(zip(*parts, strict=True), places, strict=True)
        return unflatten(inner, [_joined(column, place) for column, place in columns])

    return wrapped


def _spread(dims: Any, structure: Structure) -> list[Any]:
    """One entry of ``dims``, a prefix of the tree, per leaf."""
    if dims is None or isinstance(dims, int):
        return [dims] * _count(structure)
    if structure.kind is None:
        raise ValueError(f"vmap: dims {dims!r} for a single tensor")
    items = [dims[key] for key in structure.keys] if isinstance(dims, dict) else list(dims)
    if len(items) != len(structure.children):
        raise ValueError(f"vmap: {len(items)} dims {dims!r} for {structure}")
    return [
        axis
        for item, child in zip(items, structure.children, strict=True)
        for axis in _spread(item, child)
    ]


def _count(structure: Structure) -> int:
    return 1 if structure.kind is None else sum(map(_count, structure.children))


def _axis(axis: int | None, x: Any, position: int) -> int | None:
    if axis is None:
        return None
    if not isinstance(x, Tensor):
        raise TypeError(
            f"vmap: leaf {position} of the arguments is a {type(x).__name__}, which has no axis "
            f"{axis}; its in_dims must be None"
        )
    if not -x.ndim <= axis < x.ndim:
        raise ValueError(
            f"vmap: in_dims {axis} for leaf {position} of the arguments, which has shape {x.shape}"
        )
    return axis % x.ndim


def _size(leaves: Sequence[Any], axes: Sequence[int | None]) -> int:
    sizes = {x.shape[axis] for x, axis in zip(leaves, axes, strict=True) if axis is not None}
    if not sizes:
        raise ValueError("vmap: at least one argument needs an axis of members (in_dims)")
    if len(sizes) > 1:
        shapes = [x.shape for x, axis in zip(leaves, axes, strict=True) if axis is not None]
        raise ValueError(
            f"vmap: arguments of shapes {shapes} have {sorted(sizes)} members along their in_dims "
            f"{[axis for axis in axes if axis is not None]}; the numbers must agree"
        )
    return int(sizes.pop())


def _bind(f: Callable[..., Any], structure: Structure, kwargs: dict[str, Any]) -> Any:
    return lambda leaves: f(*unflatten(structure, leaves), **kwargs)


def _run(
    call: Callable[..., Any],
    leaves: Sequence[Any],
    axes: Sequence[int | None],
    out_dims: Any,
    level: Level,
) -> tuple[list[Tensor], Structure, list[int | None]]:
    """Results with the members along the axes of ``out_dims``, which are returned by leaf."""
    try:
        inside = [
            x if axis is None else batching.enter(x, level=level, axis=axis)
            for x, axis in zip(leaves, axes, strict=True)
        ]
        with drawing.inside(level):
            results, inner = flatten(call(inside))
        places = _spread(tuple(out_dims) if isinstance(out_dims, list) else out_dims, inner)
        pairs = zip(map(_tensor, results), places, strict=True)
        return [_left(value, axis, level) for value, axis in pairs], inner, places
    finally:
        level.close()


def _tensor(value: Any) -> Tensor:
    tensor = as_tensor(value)
    if not isinstance(tensor, Tensor):
        raise TypeError(f"vmap: the function must return tensors, not a {type(value).__name__}")
    return tensor


def _left(x: Tensor, axis: int | None, level: Level) -> Tensor:
    """A result of the batch, with its members along ``axis``."""
    if axis is None:
        if level in x._batch:
            raise ValueError(
                "vmap: out_dims None for a result that differs by member; give it an axis"
            )
        return x
    if not -x.ndim - 1 <= axis <= x.ndim:
        raise ValueError(f"vmap: out_dims {axis} for a result of shape {x.shape}")
    return batching.leave(x, level=level, axis=axis % (x.ndim + 1))


def _slice(x: Any, axis: int | None, start: int, stop: int) -> Any:
    if axis is None:
        return x
    return x[(slice(None),) * axis + (slice(start, stop),)]


def _joined(parts: Sequence[Tensor], axis: int | None) -> Tensor:
    """The results of all chunks."""
    from tilegrad.ops.shape import concatenate

    if len(parts) == 1 or axis is None:
        return parts[0]
    return concatenate(*parts, axis=axis)  # type: ignore[no-any-return]


def per_sample_grad(
    f: Callable[..., Any],
    argnums: Argnums = 0,
    in_dims: Any = None,
    has_aux: bool = False,
    *,
    chunk_size: int | None = None,
    randomness: str = "error",
) -> Callable[..., Any]:
    """A function that returns one gradient of the scalar function ``f`` per sample of a batch.

    Args:
        f: ``f(parameters, *sample)``, the loss of one sample.
        argnums: by which arguments to differentiate.
        in_dims: which arguments have an axis of samples, as in :func:`vmap`; by default all but
            those of ``argnums``, along axis 0.
        has_aux: ``f`` returns ``(value, aux)``.
        chunk_size, randomness: as in :func:`vmap`.

    Returns:
        A function ``(parameters, *batch)`` of the gradients, samples along their first axis.

    >>> import numpy as np, tilegrad as tg
    >>> loss = lambda w, x, y: (w @ x - y) ** 2
    >>> w, X, y = tg.ones(2), tg.tensor(np.eye(2, dtype="f4")), tg.zeros(2)
    >>> tg.func.per_sample_grad(loss)(w, X, y).numpy()
    array([[2., 0.],
           [0., 2.]], dtype=float32)
    """

    @wraps(f)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        dims = in_dims
        if dims is None:
            shared = {i % len(args) for i in ((argnums,) if isinstance(argnums, int) else argnums)}
            dims = tuple(None if i in shared else 0 for i in range(len(args)))
        gradient = vmap(
            grad(f, argnums, has_aux), dims, randomness=randomness, chunk_size=chunk_size
        )
        return gradient(*args, **kwargs)

    return wrapped


def basis(sizes: Sequence[int], dtype: Any, start: int, stop: int, shape: Sequence[int]) -> Tensor:
    """Rows ``start`` to ``stop`` of the identity on all entries, for the part of ``shape``.

    The parts lie one after another; ``sizes`` are (entries before, entries of this part).
    """
    before, own = sizes
    rows = np.arange(start, stop)
    inside = (rows >= before) & (rows < before + own)
    array = np.zeros((stop - start, own), dtype)
    array[np.flatnonzero(inside), rows[inside] - before] = 1
    return Tensor(array.reshape(stop - start, *shape))
