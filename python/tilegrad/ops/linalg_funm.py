"""Functions of symmetric matrices by their eigenvalues, with all derivatives (Daleckii and Krein).

In the eigenbasis of X the k-th Frechet derivative of f is a sum of products weighted by divided
differences of f,

    ``L(X; E_1 ... E_k)_(i_0 i_k) = sum over orders of the E, over i_1 ... i_(k-1), of
    f[w_(i_0), ..., w_(i_k)] (E_1)_(i_0 i_1) ... (E_k)_(i_(k-1) i_k)``,

which exist for repeated eigenvalues as well: there they are derivatives of f. The form
``<G, L(X; E_1 ... E_k)>`` is symmetric in G and the E, so one record is closed under
differentiation, as in :mod:`tilegrad.ops.linalg_det`.
"""

from __future__ import annotations

import string
from collections.abc import Callable
from itertools import permutations
from typing import Any

import numpy as np

from tilegrad.autograd.api import grad
from tilegrad.autograd.modes import enable_grad
from tilegrad.autograd.op import Op
from tilegrad.autograd.tensor import Tensor
from tilegrad.ops.linalg_checks import Array, LinAlgError, square

#: Points nearer than this share of their size are integrated over instead of subtracted: a quotient
#: would lose log10(1 / NEAR) digits,
NEAR = 1e-2
#: and Gauss's rule with this many nodes per variable errs by about NEAR^(2 NODES).
NODES = 5


def derivative(f: Callable[[Any], Any], x: Array, order: int) -> Array:
    """The ``order``-th derivative of the elementwise function ``f`` at the entries of ``x``."""
    with enable_grad():
        variable = Tensor(np.array(x, dtype=np.float64), True)
        value = f(variable)
        if not isinstance(value, Tensor) or value.shape != variable.shape:
            raise TypeError("funm: the function has to map a tensor to one of the same shape")
        for _ in range(order):
            if not value._requires_grad:
                return np.zeros(x.shape)
            (value,) = grad(
                value, variable, np.ones(x.shape), create_graph=True, materialize_grads=True
            )
    return np.asarray(value._array)


def divided_difference(f: Callable[[Any], Any], points: Array) -> Array:
    """``f[x_0, ..., x_k]`` for every row of ``points`` (rows, k + 1).

    With points in ascending order, (f[x_1 ...] - f[... x_(k-1)]) / (x_k - x_0); where all are
    close, the integral of f^(k) over their simplex (Genocchi and Hermite).
    """
    order = points.shape[-1] - 1
    if order == 0:
        return derivative(f, points[:, 0], 0)
    points = np.sort(points, axis=-1)
    spread = points[:, -1] - points[:, 0]
    close = spread <= NEAR * (1e-300 + np.abs(points).max(axis=-1))
    result = np.empty(len(points))
    if close.any():
        result[close] = _over_simplex(f, points[close])
    far = points[~close]
    if len(far):
        upper, lower = divided_difference(f, far[:, 1:]), divided_difference(f, far[:, :-1])
        result[~close] = (upper - lower) / spread[~close]
    return result


def _over_simplex(f: Callable[[Any], Any], points: Array) -> Array:
    """The integral of f^(k)(sum t_i x_i) over t_0 + ... + t_k = 1, t >= 0, by collapsing a cube."""
    k = points.shape[-1] - 1
    nodes, weights = np.polynomial.legendre.leggauss(NODES)
    cube = np.stack(np.meshgrid(*[(nodes + 1) / 2] * k, indexing="ij"), -1).reshape(-1, k)
    mass = np.prod(np.stack(np.meshgrid(*[weights / 2] * k, indexing="ij"), -1).reshape(-1, k), -1)
    rest = np.ones(len(cube))
    shares = []
    for i in range(k):  # t_i takes its share of what is left
        shares.append(rest * cube[:, i])
        mass = mass * rest
        rest = rest * (1 - cube[:, i])
    t = np.stack([*shares, rest], -1)
    return np.asarray(derivative(f, points @ t.T, k) @ mass)


def _funm(x: Any, *directions: Any, f: Callable[[Any], Any]) -> Array:
    x = square("funm", x)
    dtype = np.result_type(x, *directions)
    shape = np.broadcast_shapes(x.shape, *(np.shape(e) for e in directions))
    stacks = [np.broadcast_to(part, shape).reshape(-1, *shape[-2:]) for part in (x, *directions)]
    result = np.empty_like(stacks[0], dtype=dtype)
    for i, (matrix, *others) in enumerate(zip(*stacks, strict=True)):
        result[i] = _one(matrix, others, f)
    return result.reshape(shape)


def _one(x: Array, directions: list[Array], f: Callable[[Any], Any]) -> Array:
    n, k = len(x), len(directions)
    w, v = np.linalg.eigh((x + x.T) / 2)
    index = np.stack(np.meshgrid(*[np.arange(n)] * (k + 1), indexing="ij"), -1).reshape(-1, k + 1)
    with np.errstate(all="ignore"):
        weights = divided_difference(f, w[index]).reshape((n,) * (k + 1))
    if not np.isfinite(weights).all():
        raise LinAlgError(
            f"funm: the function or its derivative of order {k} is not finite at an eigenvalue of "
            f"a matrix of shape {x.shape} (smallest {w[0]:.3g}, largest {w[-1]:.3g})"
        )
    if k == 0:
        return np.asarray((v * weights) @ v.T)
    turned = [v.T @ ((e + e.T) / 2) @ v for e in directions]
    letters = string.ascii_letters[: k + 1]
    pairs = ",".join(letters[i : i + 2] for i in range(k))
    formula = f"{letters},{pairs}->{letters[0]}{letters[-1]}"
    inner = sum(np.einsum(formula, weights, *order) for order in permutations(turned))
    return np.asarray(v @ inner @ v.T)


def _replaced(inputs: tuple[Any, ...], i: int, value: Any, f: Any) -> Any:
    """The family member for input ``i`` and the new direction ``value``."""
    others = inputs if i == 0 else inputs[:i] + inputs[i + 1 :]
    return funm(*others, value, f=f)


#: f of the symmetric part of X, and with directions its Frechet derivatives.
funm = Op(
    "funm", _funm, inputs="*", promotes="float", batch="stack",
    vjp={"*": lambda g, i, inputs, f: _replaced(inputs, i, g, f)},
    jvp={"*": lambda t, i, inputs, f: _replaced(inputs, i, t, f)},
)  # fmt: skip
