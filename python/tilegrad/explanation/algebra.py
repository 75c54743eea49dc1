"""Matrix expressions: built simplified, printed in Python's notation or LaTeX, evaluated by NumPy.

Every expression is a matrix: a vector is a column, a number is 1 x 1 and multiplies anything. The
constructors (:func:`add`, :func:`matmul`, :func:`times`, :func:`transpose`, ...) hold the rules of
simplification; the classes only store.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Shape = tuple[int, int]
Matrix = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Expr:
    """A matrix of ``shape``."""

    shape: Shape


@dataclass(frozen=True)
class Name(Expr):
    """A variable or a named constant."""

    name: str


@dataclass(frozen=True)
class Ones(Expr):
    """All entries 1."""


@dataclass(frozen=True)
class Eye(Expr):
    """The identity."""


@dataclass(frozen=True)
class Sum(Expr):
    """``sum(coefficient * body)``; one term is a multiple, none is zero."""

    terms: tuple[tuple[float, Expr], ...]


@dataclass(frozen=True)
class Product(Expr):
    """A matrix product of at least two factors, none of them a number."""

    factors: tuple[Expr, ...]


@dataclass(frozen=True)
class Entrywise(Expr):
    """An entry-by-entry product of powers; factors of shape 1 x 1 multiply every entry."""

    factors: tuple[tuple[Expr, float], ...]


@dataclass(frozen=True)
class Transpose(Expr):
    """The transpose of a name or of a function that is not entrywise."""

    body: Expr


@dataclass(frozen=True)
class Apply(Expr):
    """A function of matrices."""

    function: str
    arguments: tuple[Expr, ...]
    #: Entry by entry: it commutes with transposition.
    entrywise: bool
    #: On matrices of the arguments.
    evaluate: Callable[..., Matrix] = field(compare=False)
    #: What else tells it from others of its name.
    detail: str = ""


# ---- constructors ------------------------------------------------------
ONE = Ones((1, 1))


def number(value: float) -> Expr:
    """A number."""
    return scale(value, ONE)


def zero(shape: Shape) -> Expr:
    """All entries 0."""
    return Sum(shape, ())


def is_zero(x: Expr) -> bool:
    """Whether it is known to vanish."""
    return isinstance(x, Sum) and not x.terms


def _terms(x: Expr) -> tuple[tuple[float, Expr], ...]:
    return x.terms if isinstance(x, Sum) else ((1.0, x),)


def _multiple(x: Expr) -> tuple[float, Expr]:
    """``x`` as coefficient times body; terms that share a size share it as the coefficient."""
    if not isinstance(x, Sum) or not x.terms:
        return 1.0, x
    if len(x.terms) == 1:
        return x.terms[0]
    sizes = {abs(c) for c, _ in x.terms}
    if len(sizes) > 1:
        return 1.0, x
    size = sizes.pop()
    if all(c < 0 for c, _ in x.terms):
        size = -size
    return size, Sum(x.shape, tuple((c / size, body) for c, body in x.terms))


def scale(coefficient: float, x: Expr) -> Expr:
    """A multiple."""
    terms = tuple((coefficient * c, body) for c, body in _terms(x))
    if coefficient == 0:
        return zero(x.shape)
    if len(terms) == 1 and terms[0][0] == 1:
        return terms[0][1]
    return Sum(x.shape, terms)


def add(*parts: Expr) -> Expr:
    """A sum: like terms collected, common factors taken out."""
    shape = max((part.shape for part in parts), key=lambda s: s[0] * s[1])
    collected: dict[Expr, float] = {}
    for part in parts:
        for coefficient, body in _terms(part):
            if body.shape != shape:
                body = times(body, Ones(shape))
            collected[body] = collected.get(body, 0.0) + coefficient
    terms = tuple((c, body) for body, c in collected.items() if c != 0)
    if len(terms) == 1:
        return scale(*terms[0])
    return _factored(shape, terms) if terms else zero(shape)


def _factored(shape: Shape, terms: tuple[tuple[float, Expr], ...]) -> Expr:
    """``A x + B x = (A + B) x``, and the same on the left; equal coefficients go in front."""
    sizes = {abs(c) for c, _ in terms}
    if len(sizes) == 1 and sizes != {1.0}:
        size = sizes.pop()
        return scale(size, _factored(shape, tuple((c / size, body) for c, body in terms)))
    bodies = [body for _, body in terms]
    for side in (-1, 0):
        ends = {b.factors[side] if isinstance(b, Product) else b for b in bodies}
        if len(ends) == 1 and all(isinstance(b, Product) or b in ends for b in bodies):
            (end,) = ends
            if not all(isinstance(b, Product) for b in bodies):
                continue
            rests = [
                scale(c, matmul(*(b.factors[:-1] if side else b.factors[1:])))
                for c, b in terms
                if isinstance(b, Product)
            ]
            inner = add(*rests)
            product = matmul(inner, end) if side else matmul(end, inner)
            return product
    return Sum(shape, terms)


def matmul(*factors: Expr) -> Expr:
    """A matrix product."""
    coefficient = 1.0
    numbers: list[Expr] = []
    flat: list[Expr] = []
    for factor in factors:
        c, body = _multiple(factor)
        coefficient *= c
        if is_zero(body):
            return zero((factors[0].shape[0], factors[-1].shape[1]))
        flat.extend(body.factors if isinstance(body, Product) else [body])
    shape = (factors[0].shape[0], factors[-1].shape[1])
    rest: list[Expr] = []
    for factor in flat:
        scalars, body = _split_numbers(factor)
        numbers += scalars
        if body.shape == (1, 1):
            numbers.append(body)
        elif not isinstance(body, Eye):
            rest.append(body)
    rest = _without_ones(rest, numbers)
    if not rest:
        body = Eye(shape) if shape[0] == shape[1] != 1 else Ones(shape)
    elif len(rest) == 1:
        body = rest[0]
    else:
        body = Product(shape, tuple(rest))
    if numbers:
        body = times(*numbers, body)
    return scale(coefficient, body)


def _without_ones(factors: list[Expr], numbers: list[Expr]) -> list[Expr]:
    """Products of matrices of ones are multiples of one."""
    result: list[Expr] = []
    for factor in factors:
        last = result[-1] if result else None
        if isinstance(factor, Ones) and isinstance(last, Ones):
            numbers.append(number(float(factor.shape[0])))
            result[-1] = Ones((last.shape[0], factor.shape[1]))
            if result[-1].shape == (1, 1):
                result.pop()
        else:
            result.append(factor)
    return result


def _split_numbers(x: Expr) -> tuple[list[Expr], Expr]:
    """The 1 x 1 factors of an entrywise product, and what they multiply."""
    if not isinstance(x, Entrywise) or x.shape == (1, 1):
        return [], x
    scalars = [power(b, p) for b, p in x.factors if b.shape == (1, 1)]
    rest = [power(b, p) for b, p in x.factors if b.shape != (1, 1)]
    return scalars, times(*rest) if rest else Ones(x.shape)


def split_numbers(x: Expr) -> tuple[float, list[Expr], Expr]:
    """``x`` as a coefficient, factors of shape 1 x 1 and the rest."""
    coefficient, body = _multiple(x)
    scalars, rest = _split_numbers(body)
    return coefficient, scalars, rest


def times(*factors: Expr) -> Expr:
    """An entry-by-entry product."""
    shape = max((f.shape for f in factors), key=lambda s: s[0] * s[1])
    coefficient, powers = 1.0, dict[Expr, float]()
    for factor in factors:
        c, body = _multiple(factor)
        coefficient *= c
        if is_zero(body):
            return zero(shape)
        for base, exponent in body.factors if isinstance(body, Entrywise) else ((body, 1.0),):
            powers[base] = powers.get(base, 0.0) + exponent
    kept = [(b, p) for b, p in powers.items() if p != 0 and not isinstance(b, Ones)]
    if all(base.shape != shape for base, _ in kept):
        kept.append((Ones(shape), 1.0))
    if len(kept) > 1:  # ones beside numbers only
        full = [(b, p) for b, p in kept if b.shape == shape and not isinstance(b, Ones)]
        if full or shape == (1, 1):
            kept = [(b, p) for b, p in kept if not isinstance(b, Ones)]
    if len(kept) == 1 and kept[0][1] == 1:
        return scale(coefficient, kept[0][0])
    return scale(coefficient, Entrywise(shape, tuple(kept)))


def power(x: Expr, exponent: float) -> Expr:
    """Every entry to a power."""
    if exponent == 1 or (is_zero(x) and exponent > 0):
        return x
    c, body = _multiple(x)
    if isinstance(body, Ones):
        return scale(c**exponent, body)
    if c < 0 and exponent != int(exponent):
        return Entrywise(x.shape, ((x, exponent),))
    if isinstance(body, Entrywise) and float(exponent).is_integer():
        return scale(
            c**exponent, Entrywise(x.shape, tuple((b, p * exponent) for b, p in body.factors))
        )
    return scale(c**exponent, Entrywise(x.shape, ((body, exponent),)))


def transpose(x: Expr) -> Expr:
    """The transpose, moved inwards."""
    turned = x.shape[::-1]
    if x.shape == (1, 1) or isinstance(x, Eye):
        return x
    if isinstance(x, Apply) and x.function == "inv" and x.arguments[0] == transpose(x.arguments[0]):
        return x  # the inverse of a symmetric matrix
    if isinstance(x, Transpose):
        return x.body
    if isinstance(x, Ones):
        return Ones(turned)
    if isinstance(x, Sum):
        return add(*(scale(c, transpose(b)) for c, b in x.terms)) if x.terms else zero(turned)
    if isinstance(x, Product):
        return matmul(*(transpose(f) for f in reversed(x.factors)))
    if isinstance(x, Entrywise):
        return times(*(power(transpose(b), p) for b, p in x.factors))
    if isinstance(x, Apply) and x.entrywise:
        arguments = tuple(transpose(a) for a in x.arguments)
        return Apply(turned, x.function, arguments, True, x.evaluate, x.detail)
    return Transpose(turned, x)


# ---- evaluation ------------------------------------------------------
def evaluate(x: Expr, values: Mapping[str, Matrix]) -> Matrix:
    """The matrix, by NumPy alone."""
    if isinstance(x, Name):
        return values[x.name]
    if isinstance(x, Ones):
        return np.ones(x.shape)
    if isinstance(x, Eye):
        return np.eye(x.shape[0])
    if isinstance(x, Sum):
        total = np.zeros(x.shape)
        for c, body in x.terms:
            total = total + c * evaluate(body, values)
        return total
    if isinstance(x, Product):
        result = evaluate(x.factors[0], values)
        for factor in x.factors[1:]:
            result = result @ evaluate(factor, values)
        return result
    if isinstance(x, Entrywise):
        product = np.ones(x.shape)
        for base, exponent in x.factors:
            product = product * evaluate(base, values) ** exponent
        return product
    if isinstance(x, Transpose):
        return evaluate(x.body, values).T
    assert isinstance(x, Apply)
    return x.evaluate(*(evaluate(a, values) for a in x.arguments))
