"""Reverse-mode transforms: grad, value_and_grad, vjp."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

import numpy as np

from tilegrad.autograd.modes import enable_grad, is_grad_enabled
from tilegrad.autograd.tensor import Tensor
from tilegrad.func import variables
from tilegrad.func.forward import tangents_are_watched
from tilegrad.func.pytree import Structure, tensors, tree_map, unflatten
from tilegrad.func.variables import Scope

Argnums = int | tuple[int, ...]


def chosen(args: Sequence[Any], argnums: Argnums, where: str) -> Any:
    """The arguments that ``argnums`` names: one, or a tuple of them."""
    count = len(args)
    for position in (argnums,) if isinstance(argnums, int) else argnums:
        if not isinstance(position, int) or isinstance(position, bool):
            raise TypeError(f"{where}: argnums must be an int or a tuple of ints, got {argnums!r}")
        if not -count <= position < count:
            raise ValueError(
                f"{where}: argnums={argnums!r}, but the function was called with {count} "
                "positional arguments"
            )
    if isinstance(argnums, int):
        return args[argnums]
    return tuple(args[position] for position in argnums)


def replaced(args: Sequence[Any], argnums: Argnums, values: Any) -> list[Any]:
    """``args`` with the ones that ``argnums`` names replaced."""
    result = list(args)
    for position, value in (
        ((argnums, values),) if isinstance(argnums, int) else zip(argnums, values, strict=True)
    ):
        result[position] = value
    return result


def with_aux(result: Any, has_aux: bool, where: str) -> tuple[Any, Any]:
    """A function's result and what it returned beside it."""
    if not has_aux:
        return result, None
    if not isinstance(result, tuple) or len(result) != 2:
        raise TypeError(f"{where}: with has_aux the function must return a pair (output, aux)")
    return result


class Pullback:
    """The linear map from cotangents of a function's results to gradients of its variables."""

    def __init__(
        self,
        outputs: list[Tensor],
        structure: Structure,
        inputs: list[Tensor],
        linked: bool,
        watched: bool,
    ) -> None:
        self.outputs = outputs
        self.structure = structure
        self.inputs = inputs
        self._linked = linked
        self._watched = watched

    def __call__(self, cotangents: Sequence[Any]) -> list[Tensor]:
        """One gradient per variable; zeros where the results do not depend on it."""
        create = self._linked and (
            self._watched
            or tangents_are_watched()
            or any(isinstance(g, Tensor) and g._requires_grad for g in cotangents)
        )
        plain = [
            g._array if isinstance(g, Tensor) and not (create or g._tangents is not None) else g
            for g in cotangents
        ]
        found = variables.pull(self.outputs, plain, self.inputs, create)
        return [self._finished(g, x, create) for g, x in zip(found, self.inputs, strict=True)]

    @staticmethod
    def _finished(g: Any, x: Tensor, create: bool) -> Tensor:
        if g is None:
            return Tensor(np.zeros(x.shape, x.dtype))
        if not isinstance(g, Tensor):
            # a gradient may be the cotangent itself, or one array shared by two variables
            return Tensor(np.array(g))
        return variables.settled(g) if create else g


def record(
    f: Callable[..., Any],
    args: Sequence[Any],
    argnums: Argnums,
    has_aux: bool,
    where: str,
    kwargs: dict[str, Any] | None = None,
) -> tuple[list[Tensor], Structure, Any, Structure, Pullback]:
    """Run ``f`` with variables in place of the chosen arguments.

    Returns:
        Results (leaves and structure), the auxiliary result, the structure of the chosen
        arguments, and the pullback.
    """
    leaves, inner = tensors(chosen(args, argnums, where), f"{where}: the arguments")
    linked = is_grad_enabled()
    with Scope() as scope, enable_grad():
        inputs = [variables.variable(x, scope, linked) for x in leaves]
        call = replaced(args, argnums, unflatten(inner, inputs))
        result, aux = with_aux(f(*call, **(kwargs or {})), has_aux, where)
        outputs, structure = tensors(result, f"{where}: the function's results")
    edges = [variables.edge(out) for out in outputs if out._requires_grad]
    watched = linked and variables.is_watched(edges)
    pullback = Pullback(outputs, structure, inputs, linked, watched)
    values = [variables.settled(out) if linked else variables.without_graph(out) for out in outputs]
    if has_aux:
        settle = variables.settled if linked else _plain
        aux = tree_map(settle, aux)
    return values, structure, aux, inner, pullback


def _plain(value: Any) -> Any:
    return variables.without_graph(value) if isinstance(value, Tensor) else value


def vjp(f: Callable[..., Any], *primals: Any, has_aux: bool = False) -> Any:
    """``f(*primals)`` and the function from cotangents of its results to those of its arguments.

    Args:
        f: takes and returns tensors, or dicts, lists and tuples of them.
        primals: the arguments; numbers and arrays become tensors.
        has_aux: ``f`` returns a pair whose second part is passed through.

    Returns:
        ``(output, vjp_fn)``, and aux as a third with ``has_aux``. ``vjp_fn(cotangents)``, which may
        be called any number of times, gives a tuple with one gradient per argument.

    >>> import numpy as np, tilegrad as tg
    >>> A, B = tg.tensor(np.eye(2)), tg.tensor(np.array([[1.0, 2.0], [3.0, 4.0]]))
    >>> product, pullback = tg.func.vjp(tg.matmul, A, B)
    >>> pullback(tg.ones_like(product))[0].numpy()
    array([[3., 7.],
           [3., 7.]])
    """
    argnums = tuple(range(len(primals)))
    values, structure, aux, inner, pullback = record(f, primals, argnums, has_aux, "vjp")

    def vjp_fn(*cotangents: Any) -> tuple[Any, ...]:
        tree = cotangents[0] if len(cotangents) == 1 else cotangents
        given, like = tensors(tree, "vjp: cotangents")
        _check_cotangents(given, like, values, structure)
        found: tuple[Any, ...] = unflatten(inner, pullback(given))
        return found

    output = unflatten(structure, values)
    return (output, vjp_fn, aux) if has_aux else (output, vjp_fn)


def _check_cotangents(
    given: list[Tensor], like: Structure, values: list[Tensor], structure: Structure
) -> None:
    if like != structure:
        raise ValueError(
            f"vjp: cotangents of structure {like} for results of structure {structure}"
        )
    for position, (g, value) in enumerate(zip(given, values, strict=True)):
        if g.shape != value.shape:
            raise ValueError(
                f"vjp: cotangent {position} has shape {g.shape}, the result {value.shape}"
            )
        if g.dtype != value.dtype:
            given[position] = g.to(value.dtype)


def value_and_grad(
    f: Callable[..., Any], argnums: Argnums = 0, has_aux: bool = False
) -> Callable[..., Any]:
    """A function that returns the scalar value of ``f`` and its gradient.

    Args:
        f: returns a tensor with one entry.
        argnums: by which arguments to differentiate; a tuple gives a tuple of gradients.
        has_aux: ``f`` returns ``(value, aux)``.

    Returns:
        A function with the arguments of ``f`` that returns ``(value, gradient)``, or
        ``((value, aux), gradient)``.

    >>> import tilegrad as tg
    >>> value, gradient = tg.func.value_and_grad(lambda x: x * x)(tg.tensor(3.0))
    >>> value.item(), gradient.item()
    (9.0, 6.0)
    """

    @wraps(f)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        values, structure, aux, inner, pullback = record(f, args, argnums, has_aux, "grad", kwargs)
        if structure.kind is not None or int(np.prod(values[0].shape)) != 1:
            shapes = values[0].shape if structure.kind is None else structure
            raise RuntimeError(
                f"grad: the function must return one tensor with one entry, it returned {shapes}; "
                "sum it, or use vjp or jacrev"
            )
        if values[0].dtype.kind != "f":
            raise RuntimeError(f"grad: the function returned {values[0].dtype}, not a float")
        one = np.ones(values[0].shape, values[0].dtype)
        gradient = unflatten(inner, pullback([one]))
        return ((values[0], aux) if has_aux else values[0]), gradient

    return wrapped


def grad(f: Callable[..., Any], argnums: Argnums = 0, has_aux: bool = False) -> Callable[..., Any]:
    """A function that returns the gradient of the scalar function ``f``.

    Args, as for :func:`value_and_grad`. With ``has_aux`` it returns ``(gradient, aux)``.

    >>> import tilegrad as tg
    >>> cube = lambda x: x * x * x
    >>> tg.func.grad(tg.func.grad(cube))(tg.tensor(2.0)).item()
    12.0
    """
    both = value_and_grad(f, argnums, has_aux)

    @wraps(f)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        value, gradient = both(*args, **kwargs)
        return (gradient, value[1]) if has_aux else gradient

    return wrapped


def grad_and_value(
    f: Callable[..., Any], argnums: Argnums = 0, has_aux: bool = False
) -> Callable[..., Any]:
    """As :func:`value_and_grad` with the two results in torch's order: ``(gradient, value)``."""
    both = value_and_grad(f, argnums, has_aux)

    @wraps(f)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        value, gradient = both(*args, **kwargs)
        return gradient, value

    return wrapped
