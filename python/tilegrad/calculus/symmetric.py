"""Gradients by matrices whose entries are tied together: symmetric ones and their relatives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tilegrad.autograd.api import grad as _grad
from tilegrad.autograd.modes import enable_grad
from tilegrad.autograd.tensor import Tensor
from tilegrad.ops.arithmetic import add, multiply, subtract
from tilegrad.ops.products import transpose
from tilegrad.ops.shape import alias, tril, triu

STRUCTURES = ("general", "symmetric", "skew", "diagonal", "lower", "upper")
CONVENTIONS = ("matrix", "half_vec")


def _diagonal_part(G: Any) -> Any:
    return tril(triu(G))


def _tied(G: Any, structure: str, convention: str) -> Any:
    """The gradient by matrices of ``structure`` from the gradient ``G`` by free entries."""
    if structure == "general":
        return G
    if structure == "diagonal":
        return _diagonal_part(G)
    if structure in ("lower", "upper"):
        return tril(G) if structure == "lower" else triu(G)
    if structure == "skew":
        return multiply(subtract(G, transpose(G)), 0.5)
    if convention == "half_vec":
        return subtract(add(G, transpose(G)), _diagonal_part(G))
    return multiply(add(G, transpose(G)), 0.5)


def grad(
    f: Callable[[Any], Any],
    X: Any,
    structure: str = "general",
    convention: str = "matrix",
) -> Tensor:
    """The gradient of a scalar function of one matrix, within a set of structured matrices.

    For symmetric matrices two answers are in use, and books disagree because they answer different
    questions (Srinivasan & Panda, "What is the gradient of a scalar function of a symmetric
    matrix?", arXiv 1911.06491). With G the gradient by free entries:

    ``convention="matrix"``    ``(G + G^T) / 2``, the symmetric matrix S with
        ``df = <S, dX> = sum of S_ij dX_ij`` for every symmetric dX: the gradient in the space of
        symmetric matrices with its usual inner product. Steps and projections use this one.
    ``convention="half_vec"``  ``G + G^T - G o I``, the partial derivatives by the n(n+1)/2 entries
        of the half-vectorised matrix, laid out as a symmetric one: an entry off the diagonal moves
        two entries of X, so it counts twice. It is not a gradient with respect to that inner
        product; in it ``df = sum over i >= j of S_ij dX_ij``.

    Args:
        f: maps a tensor to a scalar tensor, by differentiable operations.
        X: the matrix (..., n, n) at which the gradient is taken.
        structure: ``"general"``, ``"symmetric"``, ``"skew"``, ``"diagonal"``, ``"lower"`` or
            ``"upper"`` (triangular).
        convention: ``"matrix"`` or ``"half_vec"``; the latter for symmetric matrices.

    Raises:
        ValueError: X is not a square matrix or not of the structure, or a name is unknown.

    >>> import numpy as np, tilegrad as tg
    >>> X, a = np.eye(2), np.array([[1.0], [2.0]])
    >>> f = lambda X: (a.T @ X @ a).sum()
    >>> grad(f, X, structure="symmetric").numpy()
    array([[1., 2.],
           [2., 4.]])
    >>> grad(f, X, structure="symmetric", convention="half_vec").numpy()
    array([[1., 4.],
           [4., 4.]])
    """
    if structure not in STRUCTURES:
        raise ValueError(f"unknown structure {structure!r}; known are {', '.join(STRUCTURES)}")
    if convention not in CONVENTIONS:
        raise ValueError(f"unknown convention {convention!r}; known are {', '.join(CONVENTIONS)}")
    if convention == "half_vec" and structure != "symmetric":
        raise ValueError("convention 'half_vec' is about symmetric matrices: structure='symmetric'")
    x = X if isinstance(X, Tensor) else Tensor(np.asarray(X, dtype=np.result_type(X, np.float32)))
    _check(x, structure)
    with enable_grad():
        variable = alias(x) if x._requires_grad else Tensor(x._array, True)
        value = f(variable)
        if not isinstance(value, Tensor) or value.shape != ():
            shape = getattr(value, "shape", type(value).__name__)
            raise ValueError(f"grad: the function has to return a scalar tensor, not {shape}")
        if value._requires_grad:
            (G,) = _grad(value, variable, create_graph=x._requires_grad, materialize_grads=True)
        else:
            G = Tensor(np.zeros_like(x._array))
        return _tied(G, structure, convention)  # type: ignore[no-any-return]


def _check(x: Tensor, structure: str) -> None:
    if structure == "general":
        return
    if x.ndim < 2 or x.shape[-1] != x.shape[-2]:
        raise ValueError(f"grad: structure {structure!r} needs a square matrix, got {x.shape}")
    array = x._array
    turned = np.swapaxes(array, -1, -2)
    wanted = {
        "symmetric": turned, "skew": -turned, "lower": np.tril(array), "upper": np.triu(array),
        "diagonal": np.tril(np.triu(array)),
    }[structure]  # fmt: skip
    apart = np.abs(array - wanted).max(initial=0.0)
    # rounding of a product of n terms, as in A @ A.T
    if apart > 8 * array.shape[-1] * np.finfo(array.dtype).eps * np.abs(array).max(initial=0.0):
        raise ValueError(
            f"grad: the matrix of shape {x.shape} is not {structure}: entries are off by "
            f"{apart:.3g}"
        )
