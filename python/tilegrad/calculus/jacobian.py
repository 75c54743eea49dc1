"""The Jacobian of a function as an object."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tilegrad import func
from tilegrad.autograd.batching import NoBatchedFormError
from tilegrad.autograd.tensor import Tensor
from tilegrad.calculus import finding
from tilegrad.calculus.layouts import size_of
from tilegrad.calculus.structures import Dense, Diagonal, Jacobian
from tilegrad.func.forward import tangents_are_watched
from tilegrad.func.pytree import as_tensor
from tilegrad.func.reverse import record

STRUCTURES = ("auto", "dense")
MODES = ("auto", "reverse", "forward")

#: Entries that the members of one chunk may hold in one intermediate value: 64 MiB of float64.
_CHUNK_ENTRIES = 1 << 23

#: A dense array beyond this many entries (32 GiB of float64) is surely meant as a map.
_DENSE_ENTRIES = 1 << 32


def jacobian(
    f: Callable[..., Any],
    *args: Any,
    argnums: int | tuple[int, ...] = 0,
    structure: str = "auto",
    mode: str = "auto",
    chunk_size: int | None = None,
) -> Any:
    """The Jacobian of ``f(*args)`` by an argument: a linear map that knows its structure.

    Args:
        f: returns one tensor.
        args: its arguments.
        argnums: by which argument; a tuple gives a tuple of Jacobians.
        structure: ``"auto"`` finds diagonals, identities and Kronecker products from the recorded
            operations, without ever building the dense array; ``"dense"`` does not look.
        mode: how a dense one is computed: ``"reverse"`` row by row, ``"forward"`` column by column,
            ``"auto"`` by the shorter side.
        chunk_size: how many rows or columns at a time; by default as many as 64 MiB hold.

    Returns:
        A :class:`~tilegrad.calculus.Jacobian`: ``Diagonal``, ``Identity``, ``Kronecker`` or
        ``Dense``. A dense one is computed when its entries are first asked for; before, ``J @ v``
        and ``J.T @ g`` are one forward or reverse sweep.

    Raises:
        TypeError: ``f`` returns something else than one floating tensor.
        ValueError: unknown structure, mode or layout names.

    >>> import numpy as np, tilegrad as tg
    >>> x = tg.tensor(np.array([1.0, 2.0]))
    >>> tg.calculus.jacobian(lambda x: x * x, x)
    Jacobian of a result (2) by an argument (2): diagonal, float64, tensor layout 2 x 2
    [[2. 0.]
     [0. 4.]]
    """
    if structure not in STRUCTURES:
        raise ValueError(f"jacobian: structure={structure!r}; one of {', '.join(STRUCTURES)}")
    if mode not in MODES:
        raise ValueError(f"jacobian: mode={mode!r}; one of {', '.join(MODES)}")
    if isinstance(argnums, tuple):
        return tuple(
            jacobian(
                f, *args, argnums=i, structure=structure, mode=mode, chunk_size=chunk_size
            )
            for i in argnums
        )  # fmt: skip
    values, outer, _, _, pullback = record(f, args, (argnums,), False, "jacobian")
    if outer.kind is not None or values[0].dtype.kind != "f":
        raise TypeError(
            "jacobian: the function must return one floating tensor; "
            "tilegrad.func.jacrev and jacfwd take trees of them"
        )
    x, output = as_tensor(args[argnums]), values[0]
    if not isinstance(x, Tensor) or x.dtype.kind != "f":
        raise TypeError(f"jacobian: argument {argnums} must be a floating tensor")
    watched = output._requires_grad or output._tangents is not None or tangents_are_watched()
    if structure == "auto" and not watched:
        found = finding.find(pullback.outputs[0], pullback.inputs[0])
        if found is not None:
            return found

    def of_argument(value: Tensor) -> Any:
        return f(*args[:argnums], value, *args[argnums:][1:])

    def compute() -> Tensor:
        return dense(of_argument, x, output.shape, mode, chunk_size)

    return Dense(
        compute,
        output.shape,
        x.shape,
        output.dtype,
        push=lambda v: func.jvp(of_argument, (x,), (v,))[1],
        pull=lambda g: pullback([g])[0],
    )


def dense(
    f: Callable[[Tensor], Any],
    x: Tensor,
    output_shape: tuple[int, ...],
    mode: str,
    chunk_size: int | None,
) -> Tensor:
    """All partial derivatives, by the shorter side, in chunks that keep memory bounded."""
    m, n = size_of(output_shape), size_of(x.shape)
    if m * n > _DENSE_ENTRIES:
        raise MemoryError(
            f"jacobian: {m} x {n} partial derivatives are {m * n * x.dtype.itemsize / 2**30:.3g} "
            "GiB; use J @ v and J.T @ g, which need no array of them"
        )
    reverse = mode == "reverse" or (mode == "auto" and m < n)
    if chunk_size is None:
        chunk_size = max(1, _CHUNK_ENTRIES // max(m, n, 1))
    transform = func.jacrev if reverse else func.jacfwd
    result: Tensor = transform(f, chunk_size=chunk_size)(x)
    return result


def hessian_diag(f: Callable[..., Any], x: Any, *, chunk_size: int | None = None) -> Tensor:
    """The diagonal of the Hessian of the scalar function ``f``, without the Hessian.

    If the gradient of each entry depends on this entry alone, it is one sweep; else Hessian-vector
    products with the unit vectors, a chunk of them at a time.

    Returns:
        A tensor of the shape of ``x``.

    >>> import numpy as np, tilegrad as tg
    >>> x = tg.tensor(np.array([1.0, 2.0]))
    >>> tg.calculus.hessian_diag(lambda x: (x * x * x).sum(), x).numpy()
    array([ 6., 12.])
    """
    from tilegrad.ops.reduction import sum as total
    from tilegrad.ops.shape import concatenate, reshape

    x = as_tensor(x)
    gradient = func.grad(f)
    found: Jacobian = jacobian(gradient, x)
    if isinstance(found, Diagonal):
        return reshape(found.entries, x.shape)  # type: ignore[no-any-return]
    n = size_of(x.shape)
    if chunk_size is None:
        chunk_size = max(1, _CHUNK_ENTRIES // max(n, 1))

    def entry(direction: Tensor) -> Tensor:
        return total(func.jvp(gradient, (x,), (direction,))[1] * direction)  # type: ignore[no-any-return]

    parts = []
    for start in range(0, n, chunk_size):
        units = func.basis((0, n), x.dtype, start, min(start + chunk_size, n), x.shape)
        try:
            parts.append(func.vmap(entry)(units))
        except NoBatchedFormError:
            rows = [reshape(entry(units[k]), (1,)) for k in range(units.shape[0])]
            parts.append(concatenate(*rows, axis=0))
    if not parts:
        return Tensor(x._array * 0)
    return reshape(concatenate(*parts, axis=0), x.shape)  # type: ignore[no-any-return]
