"""Matrix polynomials in nilpotent variables: derivatives of matrix functions of every order.

A jet of order k holds the coefficients of ``X(t) = sum over S of t_S X_S``, where S runs over the
subsets of k variables with ``t_i^2 = 0``, as a list of ``2^k`` stacks of matrices indexed by the
bit mask of S; None is zero. Whatever is computed on ``X + t_1 E_1 + ... + t_k E_k`` with the
operations here has the k-th Frechet derivative in the directions ``E_1 ... E_k`` as its last
coefficient. For k = 1 this is the simultaneous evaluation of a function and its derivative.

Plain arrays inside: these are the forward functions of operations in :mod:`tilegrad.ops.linalg_det`
and :mod:`tilegrad.ops.linalg_functions`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tilegrad import kernels

Array = npt.NDArray[Any]
Jet = list[Any]


def variable(x: Array, directions: Sequence[Array]) -> Jet:
    """``x + t_1 E_1 + ... + t_k E_k``."""
    jet: Jet = [None] * (1 << len(directions))
    jet[0] = x
    for i, direction in enumerate(directions):
        jet[1 << i] = direction
    return jet


def constant(x: Array, like: Jet) -> Jet:
    """``x`` without the variables."""
    return [x] + [None] * (len(like) - 1)


def subsets(mask: int) -> Iterator[int]:
    """All submasks of ``mask``, itself first, 0 last.

    >>> list(subsets(0b101))
    [5, 4, 1, 0]
    """
    part = mask
    while True:
        yield part
        if part == 0:
            return
        part = (part - 1) & mask


def _sum(parts: list[Any]) -> Any:
    total = None
    for part in parts:
        total = part if total is None else total + part
    return total


def matmul(a: Jet, b: Jet) -> Jet:
    """The product: coefficient S sums ``a_T b_(S without T)``."""
    return [
        _sum([
            kernels.matmul(a[part], b[mask ^ part])
            for part in subsets(mask)
            if a[part] is not None and b[mask ^ part] is not None
        ])
        for mask in range(len(a))
    ]  # fmt: skip


def scale(a: Jet, factor: float) -> Jet:
    """``factor a``."""
    return [None if part is None else part * factor for part in a]


def add(*jets: Jet) -> Jet:
    """The sum."""
    return [_sum([part for part in parts if part is not None]) for parts in zip(*jets, strict=True)]


def shift(a: Jet, amount: float) -> Jet:
    """``a + amount I``."""
    eye = np.eye(a[0].shape[-1], dtype=a[0].dtype)
    return [a[0] + amount * eye, *a[1:]]


def combine(weights: Sequence[float], jets: Sequence[Jet]) -> Jet:
    """``sum of weights[i] jets[i]``."""
    return add(*[scale(jet, weight) for weight, jet in zip(weights, jets, strict=True)])


def solve(a: Jet, b: Jet) -> Jet:
    """``a^-1 b``: from ``a x = b``, ``a_0 x_S = b_S - sum over T != 0 of a_T x_(S without T)``.

    LAPACK exchanges rows, which leaves upper triangles exact (expm of nilpotent matrices); our own
    elimination exchanges columns and was 1.1 times as fast here.
    """
    inverse = np.linalg.inv(a[0]) if len(a) > 1 else None
    result: Jet = []
    for mask in range(len(a)):
        rest = [
            -kernels.matmul(a[part], result[mask ^ part])
            for part in subsets(mask)
            if part and a[part] is not None and result[mask ^ part] is not None
        ]
        right = _sum(rest if b[mask] is None else [b[mask], *rest])
        if right is None:
            result.append(None)
        elif inverse is None:
            result.append(np.linalg.solve(a[0], right))
        else:
            result.append(kernels.matmul(inverse, right))
    return result


def inverse(a: Jet) -> Jet:
    """``a^-1``."""
    if len(a) == 1:
        return [np.linalg.inv(a[0])]
    return solve(a, constant(np.eye(a[0].shape[-1], dtype=a[0].dtype), a))


def trace(a: Jet) -> Jet:
    """Traces, as jets of numbers (stacks without the matrix axes)."""
    return [None if part is None else np.trace(part, axis1=-2, axis2=-1) for part in a]


def times(number: Jet, a: Jet) -> Jet:
    """A jet of numbers times a jet of matrices."""
    return [
        _sum([
            number[part][..., None, None] * a[mask ^ part]
            for part in subsets(mask)
            if number[part] is not None and a[mask ^ part] is not None
        ])
        for mask in range(len(a))
    ]  # fmt: skip


def transpose(a: Jet) -> Jet:
    """Transposed coefficients."""
    return [None if part is None else np.swapaxes(part, -1, -2) for part in a]


def block(a: Jet, rows: slice, columns: slice) -> Jet:
    """The same block of every coefficient."""
    return [None if part is None else part[..., rows, columns] for part in a]


def determinant(a: Jet) -> Jet:
    """Determinants of jets with regular ``a_0``, as a jet of numbers.

    ``d det a = det a tr(a^-1 da)`` gives the coefficients one variable at a time: for the highest
    variable i of S, ``d_S = sum over T within S without i of d_T tr(a^-1 d_i a)_(S without T)``.
    """
    inv = inverse(a)
    result: Jet = [np.linalg.det(a[0])]
    for mask in range(1, len(a)):
        top = 1 << (mask.bit_length() - 1)
        rest = mask ^ top
        terms = []
        for part in subsets(rest):
            # tr(a^-1 d_top a) at rest without part: sum of tr(inv_T a_(top + ...))
            left = rest ^ part
            for inner in subsets(left):
                x, y = inv[left ^ inner], a[top | inner]
                if result[part] is not None and x is not None and y is not None:
                    terms.append(result[part] * np.einsum("...ij,...ji->...", x, y))
        result.append(_sum(terms))
    return result


def last(a: Jet, shape: tuple[int, ...]) -> Array:
    """The coefficient of all variables: the k-th derivative."""
    return np.zeros(shape) if a[-1] is None else np.broadcast_to(a[-1], shape)
