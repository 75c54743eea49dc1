"""Products of matrices, vectors and tensors, all on the matrix product kernel."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tilegrad.functions.arithmetic import add
from tilegrad.functions.axes import normal_axes, normal_axis
from tilegrad.functions.shaping import _same_dtype
from tilegrad.ops import arithmetic as _a
from tilegrad.ops import products as _products
from tilegrad.ops import reduction as _r
from tilegrad.ops import shape as _shape

matmul = _products.matmul


def _need(name: str, what: str, x: Any, ndim: int) -> None:
    if x.ndim != ndim:
        raise RuntimeError(f"{name}: {what} needs {ndim} dimensions, not shape {x.shape}")


def mm(a: Any, b: Any) -> Any:
    """The product of two matrices."""
    _need("mm", "the left operand", a, 2)
    _need("mm", "the right operand", b, 2)
    return matmul(a, b)


def mv(a: Any, x: Any) -> Any:
    """A matrix times a vector."""
    _need("mv", "the matrix", a, 2)
    _need("mv", "the vector", x, 1)
    return matmul(a, x)


def dot(a: Any, b: Any) -> Any:
    """The inner product of two vectors."""
    _need("dot", "the left operand", a, 1)
    _need("dot", "the right operand", b, 1)
    return matmul(a, b)


vdot = dot


def inner(a: Any, b: Any) -> Any:
    """Inner products over the last axes."""
    if not a.ndim or not b.ndim:
        return _a.multiply(a, b)
    return tensordot(a, b, ([-1], [-1]))


def vecdot(a: Any, b: Any, axis: int = -1, *, dim: int | None = None) -> Any:
    """Inner products along an axis, the others broadcast."""
    return _r.sum(_a.multiply(a, b), axis if dim is None else dim)


def bmm(a: Any, b: Any) -> Any:
    """Products of two stacks of matrices, pair by pair."""
    _need("bmm", "the left operand", a, 3)
    _need("bmm", "the right operand", b, 3)
    if a.shape[0] != b.shape[0]:
        raise RuntimeError(f"bmm: {a.shape[0]} matrices {a.shape} but {b.shape[0]} of {b.shape}")
    return matmul(a, b)


def _scaled_sum(x: Any, product: Any, beta: Any, alpha: Any) -> Any:
    """``beta x + alpha product``; with beta 0 the values of x are not looked at."""
    if product.dtype.kind in "iu" and x.dtype.kind in "iu":
        alpha, beta = int(alpha), int(beta)
    if alpha != 1:
        product = _a.multiply(product, alpha)
    if beta == 0:
        return _shape.expand(product, np.broadcast_shapes(x.shape, product.shape))
    return add(product, x, alpha=beta)


def addmm(x: Any, a: Any, b: Any, *, beta: Any = 1, alpha: Any = 1) -> Any:
    """``beta x + alpha a @ b``."""
    return _scaled_sum(x, mm(a, b), beta, alpha)


def addmv(x: Any, a: Any, v: Any, *, beta: Any = 1, alpha: Any = 1) -> Any:
    """``beta x + alpha a @ v``."""
    return _scaled_sum(x, mv(a, v), beta, alpha)


def addr(x: Any, u: Any, v: Any, *, beta: Any = 1, alpha: Any = 1) -> Any:
    """``beta x + alpha u v^T``."""
    return _scaled_sum(x, outer(u, v), beta, alpha)


def baddbmm(x: Any, a: Any, b: Any, *, beta: Any = 1, alpha: Any = 1) -> Any:
    """``beta x + alpha a @ b`` for stacks of matrices."""
    return _scaled_sum(x, bmm(a, b), beta, alpha)


def addbmm(x: Any, a: Any, b: Any, *, beta: Any = 1, alpha: Any = 1) -> Any:
    """``beta x + alpha`` times the sum of the products of two stacks of matrices."""
    return _scaled_sum(x, _r.sum(bmm(a, b), 0), beta, alpha)


def outer(a: Any, b: Any) -> Any:
    """All products of the entries of two vectors, (m, n)."""
    a, b = _shape.reshape(a, (math.prod(a.shape), 1)), _shape.reshape(b, (1, math.prod(b.shape)))
    return _a.multiply(a, b)


ger = outer


def kron(a: Any, b: Any) -> Any:
    """The Kronecker product: every entry of ``a`` times ``b``.

    >>> import tilegrad as tg
    >>> tg.kron(tg.eye(2), tg.ones(1, 2)).numpy()
    array([[1., 1., 0., 0.],
           [0., 0., 1., 1.]], dtype=float32)
    """
    ndim = max(a.ndim, b.ndim)
    left = (1,) * (ndim - a.ndim) + a.shape
    right = (1,) * (ndim - b.ndim) + b.shape
    a = _shape.reshape(a, tuple(n for size in left for n in (size, 1)))
    b = _shape.reshape(b, tuple(n for size in right for n in (1, size)))
    return _shape.reshape(_a.multiply(a, b), tuple(m * n for m, n in zip(left, right, strict=True)))


def tensordot(a: Any, b: Any, dims: Any = 2, *, axes: Any = None) -> Any:
    """Sums of products over pairs of axes: the last of ``a`` and the first of ``b``, or two lists.

    >>> import tilegrad as tg
    >>> tg.tensordot(tg.ones(2, 3, 4), tg.ones(4, 3, 5), ([1, 2], [1, 0])).shape
    (2, 5)
    """
    dims = dims if axes is None else axes
    if hasattr(dims, "__index__"):
        n = int(dims)
        left, right = tuple(range(a.ndim - n, a.ndim)), tuple(range(n))
    else:
        left = normal_axes(dims[0], a.ndim, "tensordot")
        right = normal_axes(dims[1], b.ndim, "tensordot")
    over = [_common(a.shape[i], b.shape[j]) for i, j in zip(left, right, strict=True)]
    if None in over:
        raise RuntimeError(
            f"tensordot: axes {left} of {a.shape} and {right} of {b.shape} have different sizes"
        )
    a, b = _stretched(a, left, over), _stretched(b, right, over)
    rows = [i for i in range(a.ndim) if i not in left]
    columns = [i for i in range(b.ndim) if i not in right]
    shape = tuple(a.shape[i] for i in rows) + tuple(b.shape[i] for i in columns)
    m, k = math.prod(a.shape[i] for i in rows), math.prod(over)
    n = math.prod(b.shape[i] for i in columns)
    a = _shape.reshape(_shape.permute(a, (*rows, *left)), (m, k))
    b = _shape.reshape(_shape.permute(b, (*right, *columns)), (k, n))
    return _shape.reshape(matmul(a, b), shape)


def _common(m: int, n: int) -> Any:
    """The size that two broadcast to, None if they do not."""
    return m if n in (1, m) else n if m == 1 else None


def _stretched(x: Any, axes: Sequence[int], sizes: Sequence[int]) -> Any:
    """``x`` broadcast to ``sizes`` along ``axes``."""
    shape = list(x.shape)
    for axis, size in zip(axes, sizes, strict=True):
        shape[axis] = size
    return x if tuple(shape) == x.shape else _shape.expand(x, tuple(shape))


def chain_matmul(*matrices: Any) -> Any:
    """The product of several matrices in the cheapest order."""
    xs = matrices[0] if len(matrices) == 1 and isinstance(matrices[0], (list, tuple)) else matrices
    if len(xs) == 1:
        return xs[0]
    names = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"[: len(xs) + 1]
    terms = ",".join(names[i : i + 2] for i in range(len(xs)))
    return einsum(f"{terms}->{names[0]}{names[-1]}", *xs)


def cross(a: Any, b: Any, dim: int | None = None, *, axis: int | None = None) -> Any:
    """The vector product of vectors of length 3 along an axis."""
    axis = dim if axis is None else axis
    if axis is None:
        axis = next((i for i, n in enumerate(a.shape) if n == 3), -1)
    shape = np.broadcast_shapes(a.shape, b.shape)
    a, b = _shape.expand(a, shape), _shape.expand(b, shape)
    axis = normal_axis(axis, len(shape), "cross")
    if shape[axis] != 3:
        raise RuntimeError(f"cross: axis {axis} of shape {shape} has {shape[axis]} entries, not 3")

    def turned(x: Any, by: int) -> Any:
        return _shape.roll(x, -by, axis)

    return _a.subtract(
        _a.multiply(turned(a, 1), turned(b, 2)), _a.multiply(turned(a, 2), turned(b, 1))
    )


def cdist(x: Any, y: Any, p: float = 2.0, compute_mode: str | None = None) -> Any:
    """All distances between two sets of points, (..., m, n)."""
    from tilegrad.functions.reductions import norm

    apart = _a.subtract(
        _shape.reshape(x, (*x.shape[:-1], 1, x.shape[-1])),
        _shape.reshape(y, (*y.shape[:-2], 1, *y.shape[-2:])),
    )
    return norm(apart, p, -1)


def dist(x: Any, y: Any, p: float = 2.0) -> Any:
    """The p-norm of the difference."""
    from tilegrad.functions.reductions import norm

    return norm(_a.subtract(x, y), p)


# ---- einsum --------------------------------------------------------------------------------------


def einsum(equation: str, *operands: Any, optimize: Any = "greedy") -> Any:
    """Sums of products in Einstein's notation, pair by pair on the matrix product.

    >>> import tilegrad as tg
    >>> tg.einsum("ij,jk->ik", tg.ones(2, 3), tg.ones(3, 4)).shape
    (2, 4)
    """
    if len(operands) == 1 and isinstance(operands[0], (list, tuple)):
        operands = tuple(operands[0])
    if not isinstance(equation, str):  # operands and lists of axis numbers in turn
        return einsum(*_from_sublists((equation, *operands)))
    xs = _same_dtype(operands)
    terms, result = _parse(equation, xs)
    _check_sizes(terms, xs, equation)
    labelled = [_without_repeats(x, term) for x, term in zip(xs, terms, strict=True)]
    if len(labelled) == 1:
        return _finish(*labelled[0], result)
    while len(labelled) > 1:
        first, second = _next_pair(labelled, result, optimize)
        b, a = labelled.pop(second), labelled.pop(first)
        kept = set(result).union(*(term for _, term in labelled))
        labelled.append(_contract(*a, *b, kept))
    return _finish(*labelled[0], result)


def _from_sublists(operands: Sequence[Any]) -> tuple[Any, ...]:
    """einsum(x, [0, 1], y, [1, 2], [0, 2]) as an equation."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

    def text(axes: Sequence[Any]) -> str:
        return "".join("..." if axis is Ellipsis else alphabet[axis] for axis in axes)

    tensors = operands[: len(operands) // 2 * 2 : 2]
    equation = ",".join(text(axes) for axes in operands[1::2])
    if len(operands) % 2:
        equation += "->" + text(operands[-1])
    return (equation, *tensors)


def _parse(equation: str, xs: Sequence[Any]) -> tuple[list[str], str]:
    """The labels of every operand and of the result; digits and others stand for ``...``."""
    left, arrow, result = equation.replace(" ", "").partition("->")
    terms = left.split(",")
    if len(terms) != len(xs):
        raise ValueError(f"einsum: {equation!r} names {len(terms)} operands, {len(xs)} were given")
    widths = [
        x.ndim - len(term.replace("...", "")) if "..." in term else 0
        for x, term in zip(xs, terms, strict=True)
    ]
    # Broadcast axes get labels no one types, counted from the right.
    broadcast = "".join(chr(0x100 + i) for i in range(max(widths, default=0)))
    full = []
    for x, term, width in zip(xs, terms, widths, strict=True):
        if width < 0 or ("..." not in term and len(term) != x.ndim):
            raise ValueError(f"einsum: {term!r} does not fit an operand of shape {x.shape}")
        full.append(term.replace("...", broadcast[len(broadcast) - width :]))
    labels = "".join(full)
    if not arrow:
        once = sorted(c for c in set(labels) - set(broadcast) if labels.count(c) == 1)
        return full, broadcast + "".join(once)
    result = result.replace("...", broadcast)
    if len(set(result)) != len(result) or not set(result) <= set(labels):
        raise ValueError(f"einsum: the result of {equation!r} repeats or invents a label")
    return full, result


def _check_sizes(terms: Sequence[str], xs: Sequence[Any], equation: str) -> None:
    sizes: dict[str, int] = {}
    for term, x in zip(terms, xs, strict=True):
        for label, size in zip(term, x.shape, strict=True):
            known = sizes.get(label, 1)
            if size != known and 1 not in (size, known):
                raise ValueError(
                    f"einsum: in {equation!r} the label {label!r} has sizes {known} and {size}"
                )
            sizes[label] = max(size, known) if 0 not in (size, known) else 0


def _without_repeats(x: Any, term: str) -> tuple[Any, str]:
    """The diagonal of axes that carry one label."""
    for label in dict.fromkeys(term):
        while term.count(label) > 1:
            first = term.index(label)
            second = term.index(label, first + 1)
            x = _shape.diagonal(x, 0, first, second)
            term = term[:first] + term[first + 1 : second] + term[second + 1 :] + label
    return x, term


def _next_pair(labelled: Sequence[tuple[Any, str]], result: str, optimize: Any) -> tuple[int, int]:
    """The pair to contract next, by NumPy's path; two operands leave no choice."""
    if len(labelled) == 2 or optimize is False:
        return 0, 1
    shapes = [np.broadcast_to(np.empty((), np.int8), x.shape) for x, _ in labelled]
    labels = dict.fromkeys("".join(term for _, term in labelled))
    plain = {c: chr(97 + i) if i < 26 else chr(39 + i) for i, c in enumerate(labels)}
    equation = ",".join("".join(plain[c] for c in term) for _, term in labelled)
    path, _ = np.einsum_path(
        f"{equation}->{''.join(plain[c] for c in result)}", *shapes,
        optimize="greedy" if optimize is True else optimize,
    )  # fmt: skip
    first, second = sorted(path[1])[:2] if len(path[1]) > 1 else (0, 1)
    return first, second


def _contract(a: Any, left: str, b: Any, right: str, kept: set[str]) -> tuple[Any, str]:
    """Two operands made one: batch, row, column and summed labels become one matrix product."""
    a, left = _sum_out(a, left, kept | set(right))
    b, right = _sum_out(b, right, kept | set(left))
    sizes: dict[str, int] = {}
    for term, x in ((left, a), (right, b)):
        for label, n in zip(term, x.shape, strict=True):
            sizes[label] = n if sizes.get(label, 1) == 1 else sizes[label]
    shared = [c for c in left if c in right]
    batch = [c for c in shared if c in kept]
    summed = [c for c in shared if c not in kept]
    rows = [c for c in left if c not in right]
    columns = [c for c in right if c not in left]
    a, b = (_broadcast(x, t, shared, sizes) for x, t in ((a, left), (b, right)))

    def size(labels: Sequence[str]) -> int:
        return math.prod(sizes[c] for c in labels)

    if not summed and not (rows and columns):  # nothing to add up: entry by entry
        order = batch + rows + columns
        return _a.multiply(_aligned(a, left, order), _aligned(b, right, order)), "".join(order)
    lead = tuple(sizes[c] for c in batch)
    a = _ordered(a, left, batch + rows + summed, (*lead, size(rows), size(summed)))
    b = _ordered(b, right, batch + summed + columns, (*lead, size(summed), size(columns)))
    order = batch + rows + columns
    out = _shape.reshape(matmul(a, b), tuple(sizes[c] for c in order))
    return out, "".join(order)


def _sum_out(x: Any, term: str, wanted: set[str]) -> tuple[Any, str]:
    """``x`` summed over labels that nobody else has."""
    lone = tuple(i for i, c in enumerate(term) if c not in wanted)
    if not lone:
        return x, term
    return _r.sum(x, lone), "".join(c for c in term if c in wanted)


def _broadcast(x: Any, term: str, labels: Sequence[str], sizes: dict[str, int]) -> Any:
    """``x`` with axes of size 1 among ``labels`` spread to the full size."""
    shape = tuple(sizes[c] if c in labels else n for c, n in zip(term, x.shape, strict=True))
    return x if shape == x.shape else _shape.expand(x, shape)


def _ordered(x: Any, term: str, order: Sequence[str], shape: tuple[int, ...]) -> Any:
    return _shape.reshape(_shape.permute(x, tuple(term.index(c) for c in order)), shape)


def _aligned(x: Any, term: str, order: Sequence[str]) -> Any:
    """``x`` with its axes in ``order`` and axes of size 1 for labels it lacks."""
    present = [c for c in order if c in term]
    x = _shape.permute(x, tuple(term.index(c) for c in present))
    sizes = iter(x.shape)
    return _shape.reshape(x, tuple(next(sizes) if c in term else 1 for c in order))


def _finish(x: Any, term: str, result: str) -> Any:
    x, term = _sum_out(x, term, set(result))
    return _shape.permute(x, tuple(term.index(c) for c in result))


__all__ = [
    "addbmm", "addmm", "addmv", "addr", "baddbmm", "bmm", "cdist", "chain_matmul", "cross",
    "dist", "dot", "einsum", "ger", "inner", "kron", "matmul", "mm", "mv", "outer", "tensordot",
    "vdot", "vecdot",
]  # fmt: skip
