"""Directional derivatives, Taylor polynomials, tangent planes, and what kind of point one is at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import factorial
from typing import Any

import numpy as np

from tilegrad import func
from tilegrad.autograd.tensor import Tensor
from tilegrad.func.pytree import tensors, tree_map, unflatten


def _differences(point: tuple[Any, ...], base: tuple[Any, ...]) -> tuple[Any, ...]:
    given, like = tensors(point, "taylor: the point")
    start, structure = tensors(base, "taylor: the base point")
    if like != structure:
        raise ValueError(f"taylor: a point of structure {like} where {structure} was expanded")
    for x, a in zip(given, start, strict=True):
        if x.shape != a.shape:
            raise ValueError(f"taylor: an argument of shape {x.shape}, expanded at {a.shape}")
    steps = [
        (x if x.dtype == a.dtype else x.to(a.dtype)) - a
        for x, a in zip(given, start, strict=True)
    ]
    return unflatten(structure, steps)  # type: ignore[no-any-return]


def directional(f: Callable[..., Any], x: Any, v: Any) -> Any:
    """The directional derivative of ``f`` at ``x`` along ``v``: d/dt f(x + t v) at t = 0.

    Args:
        f: a function of one argument, or of several if ``x`` is a tuple.
        x: where.
        v: the direction; it is not normalised.

    >>> import numpy as np, tilegrad as tg
    >>> x, v = tg.tensor(np.array([1.0, 2.0])), tg.tensor(np.array([3.0, 4.0]) / 5)
    >>> round(tg.calculus.directional(lambda x: (x * x).sum(), x, v).item(), 12)
    4.4
    """
    if isinstance(x, tuple):
        return func.jvp(f, x, tuple(v))[1]
    return func.jvp(f, (x,), (v,))[1]


class Taylor:
    """The Taylor polynomial of ``f`` at a point; call it with another point.

    Attributes:
        order: its degree.
        value: ``f`` at the point.
        gradient: the first derivative there (:func:`tilegrad.func.jacrev`).
        hessian: the second.
    """

    def __init__(self, f: Callable[..., Any], base: tuple[Any, ...], order: int) -> None:
        self.order = order
        self._f = f
        leaves, structure = tensors(base, "taylor: the arguments")
        self._base = unflatten(structure, leaves)
        self.value = f(*self._base)

    @property
    def gradient(self) -> Any:
        """The first derivative by the argument, by all arguments if there are several."""
        return func.jacrev(self._f, self._argnums)(*self._base)

    @property
    def hessian(self) -> Any:
        """The second derivative by the argument, by all pairs if there are several."""
        return func.hessian(self._f, self._argnums)(*self._base)

    @property
    def _argnums(self) -> int | tuple[int, ...]:
        return 0 if len(self._base) == 1 else tuple(range(len(self._base)))

    def terms(self, *point: Any) -> list[Any]:
        """The terms of the polynomial at ``point``, from the constant one upwards.

        The one of degree k is d^k/dt^k f(base + t (point - base)) / k! at t = 0, by k nested
        forward sweeps: no array of k-th derivatives is built.
        """
        step = _differences(point, self._base)
        derivative: Callable[..., Any] = self._f
        found = [self.value]
        for k in range(1, self.order + 1):
            derivative = _along(derivative, step)
            scale = 1.0 / factorial(k)
            found.append(tree_map(lambda term, s=scale: term * s, derivative(*self._base)))
        return found

    def __call__(self, *point: Any) -> Any:
        """The polynomial at ``point``."""
        terms = self.terms(*point)
        total = terms[0]
        for term in terms[1:]:
            total = tree_map(lambda a, b: a + b, total, term)
        return total

    def __repr__(self) -> str:
        return f"<Taylor polynomial of degree {self.order} at {self._base}>"


def _along(f: Callable[..., Any], step: tuple[Any, ...]) -> Callable[..., Any]:
    return lambda *x: func.jvp(f, x, step)[1]


def taylor(f: Callable[..., Any], *args: Any, order: int = 2) -> Taylor:
    """The Taylor polynomial of ``f`` at ``args``.

    Args:
        f: takes tensors or trees of them, returns tensors.
        args: the point; numbers and arrays become tensors.
        order: degree of the polynomial.

    >>> import numpy as np, tilegrad as tg
    >>> p = tg.calculus.taylor(lambda x, y: x**2 + y**2, np.array(1.0), np.array(2.0))
    >>> p.value.item(), [g.item() for g in p.gradient], p(np.array(2.0), np.array(4.0)).item()
    (5.0, [2.0, 4.0], 20.0)
    """
    if not isinstance(order, int) or order < 0:
        raise ValueError(f"taylor: order must be an int >= 0, got {order!r}")
    return Taylor(f, args, order)


@dataclass(frozen=True)
class TangentPlane:
    """The plane that touches the graph of a scalar function at a point.

    ``normal`` is (gradient, -1) in the space of (arguments, value); calling the plane gives its
    height over a point.
    """

    expansion: Taylor
    normal: Tensor

    def __call__(self, *point: Any) -> Any:
        return self.expansion(*point)


def tangent_plane(f: Callable[..., Any], *args: Any) -> TangentPlane:
    """The tangent plane of the graph of the scalar function ``f`` at ``args``.

    >>> import numpy as np, tilegrad as tg
    >>> plane = tg.calculus.tangent_plane(lambda x, y: x**2 + y**2, np.array(1.0), np.array(2.0))
    >>> plane.normal.numpy()
    array([ 2.,  4., -1.])
    >>> plane(np.array(1.5), np.array(2.0)).item()
    6.0
    """
    from tilegrad.ops.shape import concatenate, reshape

    expansion = taylor(f, *args, order=1)
    if not isinstance(expansion.value, Tensor) or expansion.value.shape != ():
        raise ValueError("tangent_plane: the function must return a scalar")
    parts, _ = tensors(expansion.gradient, "tangent_plane: the gradient")
    pieces = [reshape(part, (-1,)) for part in parts]
    last = Tensor(np.full(1, -1.0, pieces[0].dtype))
    return TangentPlane(expansion, concatenate(*pieces, last, axis=0))


@dataclass(frozen=True)
class CriticalPoint:
    """What gradient and Hessian say about a point.

    Attributes:
        kind: ``"minimum"``, ``"maximum"``, ``"saddle"``, ``"undecided"`` (the Hessian is
            semidefinite: higher derivatives decide) or ``"not critical"``.
        gradient: the gradient, flat.
        eigenvalues: of the Hessian, ascending.
    """

    kind: str
    gradient: np.ndarray[Any, Any]
    eigenvalues: np.ndarray[Any, Any]


def critical_point(
    f: Callable[..., Any], x: Any, *, gradient_tolerance: float = 1e-8, tolerance: float = 1e-10
) -> CriticalPoint:
    """Whether the scalar function ``f`` has a minimum, a maximum or a saddle at ``x``.

    Args:
        f: of one tensor argument.
        x: where.
        gradient_tolerance: the point is critical if no entry of the gradient is larger, relative
            to the largest of 1 and the value.
        tolerance: eigenvalues below this part of the largest in magnitude count as zero.
    """
    ((x,), structure) = tensors(x, "critical_point: the argument")
    if structure.kind is not None:
        raise TypeError("critical_point: one tensor argument; put several in one vector")
    gradient, value = func.grad_and_value(f)(x)
    slope = np.asarray(gradient.detach()).reshape(-1)
    hessian = np.asarray(func.hessian(f)(x).detach()).reshape(slope.size, slope.size)
    if not (np.isfinite(slope).all() and np.isfinite(hessian).all()):
        raise ValueError("critical_point: the gradient or the Hessian is not finite there")
    eigenvalues = np.linalg.eigvalsh((hessian + hessian.T) / 2)
    scale = max(1.0, abs(float(value.detach().item())))
    if np.abs(slope).max(initial=0.0) > gradient_tolerance * scale:
        return CriticalPoint("not critical", slope, eigenvalues)
    bound = tolerance * np.abs(eigenvalues).max(initial=0.0)
    up, down = bool((eigenvalues > bound).any()), bool((eigenvalues < -bound).any())
    flat = bool((np.abs(eigenvalues) <= bound).any())
    if up and down:
        kind = "saddle"
    elif flat:
        kind = "undecided"
    else:
        kind = "minimum" if up else "maximum"
    return CriticalPoint(kind, slope, eigenvalues)


def is_minimum(f: Callable[..., Any], x: Any, **tolerances: float) -> bool:
    """Whether ``x`` is a strict local minimum of the scalar function ``f``: the gradient vanishes
    and the Hessian is positive definite. Tolerances as for :func:`critical_point`.

    >>> import numpy as np, tilegrad as tg
    >>> bowl, saddle = lambda x: (x * x).sum(), lambda x: x[0] * x[1]
    >>> origin = tg.tensor(np.zeros(2))
    >>> tg.calculus.is_minimum(bowl, origin), tg.calculus.is_minimum(saddle, origin)
    (True, False)
    """
    return critical_point(f, x, **tolerances).kind == "minimum"
