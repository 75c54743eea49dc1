"""Functions of square matrices: exp, square root, log, and all their Frechet derivatives.

For analytic f, the k-th Frechet derivative ``L(X; E_1, ..., E_k)`` is symmetric and linear in the
E, and by the power series of f its adjoint in every argument is a derivative again:

    ``<G, L(X; E_1, ..., E_k)>  =  <L(X^T; G, E_1^T, ..., without E_j^T, ...), E_j>``

so one record per function, on any number of directions, is closed under differentiation: the
gradient by E_j as above, the gradient by X with the new direction added to all the others. The
values come from :mod:`tilegrad.ops.jets`: function and derivatives in one go, without 2n blocks.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tilegrad import kernels
from tilegrad.autograd.op import Op
from tilegrad.ops import jets
from tilegrad.ops.jets import Jet
from tilegrad.ops.linalg_checks import Array, LinAlgError, square
from tilegrad.ops.products import transpose


def matrix_function(name: str, of_jet: Callable[[Jet], Jet]) -> Op:
    """The operation ``name(X, E_1, ..., E_k)``: the k-th derivative of the function of a jet."""

    def forward(x: Any, *directions: Any) -> Array:
        x = square(name, x)
        for direction in directions:
            if np.shape(direction)[-2:] != x.shape[-2:]:
                raise LinAlgError(
                    f"{name}: the direction of shape {np.shape(direction)} does not fit the matrix "
                    f"of shape {x.shape}"
                )
        dtype = np.result_type(x, *directions)
        shape = np.broadcast_shapes(x.shape, *(np.shape(e) for e in directions))
        if 0 in shape:
            return np.zeros(shape, dtype)
        stacks = [
            np.broadcast_to(part, shape).reshape(-1, *shape[-2:]) for part in (x, *directions)
        ]
        result = np.empty_like(stacks[0], dtype=dtype)
        for i, (matrix, *others) in enumerate(zip(*stacks, strict=True)):
            result[i] = jets.last(of_jet(jets.variable(matrix, others)), shape[-2:])
        return result.reshape(shape)

    def vjp(g: Any, i: int, inputs: tuple[Any, ...]) -> Any:
        others = [transpose(e) for j, e in enumerate(inputs) if j not in (0, i)]
        return op(transpose(inputs[0]), *others, g)

    def jvp(t: Any, i: int, inputs: tuple[Any, ...]) -> Any:
        return op(inputs[0], *(e for j, e in enumerate(inputs) if j not in (0, i)), t)

    op = Op(
        name, forward, inputs="*", promotes="float", batch="stack", vjp={"*": vjp}, jvp={"*": jvp}
    )
    return op


# ---- exponential ---------------------------------------------------------------------------------

#: Padé degrees m and the largest norms at which r_m = exp and L_r = L_exp to double precision: the
#: smaller of theta_m (Al-Mohy, Higham, "A new scaling and squaring algorithm for the matrix
#: exponential", 2009, Table 3.1) and ell_m ("Computing the Frechet derivative of the matrix
#: exponential", 2009, Table 6.1).
DEGREES = {3: 1.08e-2, 5: 2.00e-1, 7: 7.83e-1, 9: 1.78, 13: 4.25}

#: Numerator coefficients of the [m/m] Padé approximants, constant first; the denominator's are the
#: same with alternating signs.
PADE = {
    m: [
        math.factorial(2 * m - j) * math.factorial(m)
        / (math.factorial(2 * m) * math.factorial(m - j) * math.factorial(j))
        for j in range(m + 1)
    ]
    for m in DEGREES
}  # fmt: skip


def _norm(x: Array) -> float:
    return float(np.abs(x).sum(axis=-2).max())


def _balance(x: Jet) -> list[float]:
    """Factors by subset that bring every direction to the norm of X: derivatives are linear."""
    size = _norm(x[0])
    factors = [1.0] * len(x)
    for mask in range(1, len(x)):
        low = mask & -mask
        norm = 0.0 if x[low] is None else _norm(x[low])
        factors[mask] = factors[mask ^ low] * (size / norm if size and norm else 1.0)
    return factors


def _weighted(x: Jet, factors: Sequence[float]) -> Jet:
    return [None if part is None else part * f for part, f in zip(x, factors, strict=True)]


def _jet_norm(x: Jet) -> float:
    """The norm of the block triangular matrix that a jet stands for, from above."""
    return sum(_norm(part) for part in x if part is not None)


def _extra_squarings(x: Jet, m: int) -> int:
    """More halvings where the powers of X are much smaller than those of |X| (ibid., (3.10)).

    The backward error's first term is c | |X|^(2m+1) |, c = m!^2 / ((2m)! (2m+1)!).
    """
    size = [None if part is None else np.abs(part) for part in x]
    vector = jets.constant(np.ones((1, x[0].shape[-1])), x)
    log_power = 0.0
    for _ in range(2 * m + 1):
        vector = jets.matmul(vector, size)
        largest = max(part.max() for part in vector if part is not None)
        if largest == 0.0:
            return 0
        log_power += math.log2(largest)
        vector = jets.scale(vector, 1.0 / largest)
    c = math.factorial(m) ** 2 / (math.factorial(2 * m) * math.factorial(2 * m + 1))
    alpha = math.log2(c) + log_power - math.log2(_jet_norm(x))
    return max(0, math.ceil((alpha + 53) / (2 * m)))


def _halvings(x: Jet) -> tuple[int, int, list[Jet]]:
    """The Padé degree, how often X has to be halved, and its powers 2, 4, 6.

    |X^k|^(1/k) bounds what enters the backward error; the larger of k = 4, 6 serves (ibid.,
    Theorem 4.2) and is far below the norm for matrices like nilpotent ones. ``x`` is balanced, so
    that the same is said of the derivatives.
    """
    x2 = jets.matmul(x, x)
    x4 = jets.matmul(x2, x2)
    x6 = jets.matmul(x4, x2)
    eta = max(_jet_norm(x4) ** 0.25, _jet_norm(x6) ** (1 / 6))
    for m, theta in DEGREES.items():
        if m < 13 and eta <= theta and _extra_squarings(x, m) == 0:
            return m, 0, [x2, x4, x6]
    s = max(0, math.ceil(math.log2(eta / DEGREES[13]))) if eta > 0 else 0
    return 13, s + _extra_squarings(jets.scale(x, 2.0**-s), 13), [x2, x4, x6]


def _pade(x: Jet, powers: list[Jet], m: int) -> Jet:
    """r_m(x) from the even ``powers`` x^2, x^4, ...: (V - U)^-1 (V + U), U odd and V even in x."""
    b = PADE[m]
    if m < 13:
        odd = jets.shift(jets.combine(b[3::2], powers), b[1])
        even = jets.shift(jets.combine(b[2::2], powers), b[0])
    else:
        x2, x4, x6 = powers
        high = jets.matmul(x6, jets.combine([b[13], b[11], b[9]], [x6, x4, x2]))
        odd = jets.shift(jets.add(high, jets.combine([b[7], b[5], b[3]], [x6, x4, x2])), b[1])
        high = jets.matmul(x6, jets.combine([b[12], b[10], b[8]], [x6, x4, x2]))
        even = jets.shift(jets.add(high, jets.combine([b[6], b[4], b[2]], [x6, x4, x2])), b[0])
    odd = jets.matmul(x, odd)
    return jets.solve(jets.add(even, jets.scale(odd, -1.0)), jets.add(even, odd))


def _expm(x: Jet) -> Jet:
    """Scaling and squaring: exp(x) = r_m(x / 2^s)^(2^s)."""
    factors = _balance(x)
    x = _weighted(x, factors)
    m, s, powers = _halvings(x)
    if s:
        x = jets.scale(x, 2.0**-s)
        powers = [jets.scale(power, 2.0 ** (-s * (2 + 2 * i))) for i, power in enumerate(powers)]
    if m == 9:
        powers.append(jets.matmul(powers[1], powers[1]))
    result = _pade(x, powers if m == 13 else powers[: m // 2], m)
    for _ in range(s):
        result = jets.matmul(result, result)
    return _weighted(result, [1.0 / factor for factor in factors])


#: exp(X), and with directions its Frechet derivatives.
expm = matrix_function("expm", _expm)

# ---- square root ---------------------------------------------------------------------------------


def _is_symmetric(x: Array) -> bool:
    return bool(np.array_equal(x, x.T))


def _sylvester_symmetric(root: Jet, x: Jet) -> Jet:
    """Coefficients S != 0 of r with r r = x, r_0 symmetric: r_0 r_S + r_S r_0 = right side."""
    w, v = np.linalg.eigh(root[0])
    total = w[:, None] + w
    for mask in range(1, len(x)):
        right = 0.0 if x[mask] is None else x[mask]
        for part in jets.subsets(mask):
            if part not in (0, mask) and root[part] is not None and root[mask ^ part] is not None:
                right = right - kernels.matmul(root[part], root[mask ^ part])
        if np.ndim(right):
            if not (total > 0).all():
                raise LinAlgError(
                    "sqrtm: the square root has no derivative at a singular matrix: like that of a "
                    "number at 0 it is infinite"
                )
            turned = kernels.matmul(kernels.matmul(v.T, right), v)
            root[mask] = kernels.matmul(kernels.matmul(v, turned / total), v.T)
    return root


def _sqrtm_symmetric(x: Jet) -> Jet:
    w, v = np.linalg.eigh(x[0])
    if w[0] < -len(w) * np.finfo(w.dtype).eps * np.abs(w).max():
        raise LinAlgError(
            f"sqrtm: a matrix of shape {x[0].shape} has the negative eigenvalue {w[0]:.3g}: its "
            "principal square root is not real"
        )
    root = kernels.matmul(v * np.sqrt(np.maximum(w, 0.0)), v.T)
    return _sylvester_symmetric(jets.constant((root + root.T) / 2, x), x)


#: Scaling is dropped, and quadratic convergence counted on, once |M - I| is below this.
NEAR = 1e-2
#: Newton's iteration with scaling needs about 10 steps even at condition 1/u.
MAX_STEPS = 50


def _sqrtm(x: Jet) -> Jet:
    """The principal square root by the product form of Denman and Beavers' iteration.

    ``M <- (2 I + M + M^-1) / 4``, ``X <- X (I + M^-1) / 2`` from M = X = A; M tends to I and X to
    the root (Higham, "Functions of Matrices", 2008, (6.29)), determinants being scaled to 1 first.
    On jets the derivatives converge with the values; symmetric matrices take their eigenvectors.
    """
    if _is_symmetric(x[0]):
        return _sqrtm_symmetric(x)
    n = x[0].shape[-1]
    eye = np.eye(n)
    tolerance = n * np.finfo(x[0].dtype).eps
    m: Jet = [None if part is None else part.astype(np.float64, copy=False) for part in x]
    root = m
    extra = len(x).bit_length() - 1  # each order of derivative converges one step later
    try:
        for _ in range(MAX_STEPS):
            distance = np.linalg.norm(m[0] - eye)
            if not np.isfinite(distance):
                break
            if distance > NEAR:
                factor = math.exp(-np.linalg.slogdet(m[0])[1] / (2 * n))
                root, m = jets.scale(root, factor), jets.scale(m, factor * factor)
            inverse = jets.inverse(m)
            root = jets.scale(jets.matmul(root, jets.shift(inverse, 1.0)), 0.5)
            m = jets.scale(jets.add(jets.shift(m, 2.0), inverse), 0.25)
            if distance <= tolerance:
                if extra == 0:
                    return root
                extra -= 1
            elif distance < math.sqrt(tolerance) * NEAR and extra == 0:
                return root
    except LinAlgError:
        pass
    raise LinAlgError(
        f"sqrtm: a matrix of shape {x[0].shape} has no real principal square root, or none that "
        "can be computed: it is singular or has an eigenvalue on the negative real axis"
    )


#: The principal square root, and with directions its Frechet derivatives.
sqrtm = matrix_function("sqrtm", _sqrtm)

# ---- logarithm -----------------------------------------------------------------------------------

#: The [m/m] Padé approximant of log(I + X) is exact to double precision for |X| up to this with
#: m = 7 (Higham 2008, Table 11.1).
LOG_DEGREE, LOG_THETA = 7, 0.264
#: A matrix needs about log2 of the log of its condition: 100 roots bring any to I.
MAX_ROOTS = 100


def _logm(x: Jet) -> Jet:
    """Inverse scaling and squaring: log(x) = 2^s log(x^(2^-s)) (Higham 2008, Algorithm 11.9).

    The Padé approximant in partial fractions is Gauss and Legendre's rule for the integral of
    X (I + t X)^-1 over [0, 1].
    """
    if _is_symmetric(x[0]) and len(x) == 1:
        w, v = np.linalg.eigh(x[0])
        if w[0] <= 0:
            raise _no_logarithm(x[0])
        return [kernels.matmul(v * np.log(w), v.T)]
    roots = 0
    try:
        while _norm(x[0] - np.eye(len(x[0]))) > LOG_THETA:
            x = _sqrtm(x)
            roots += 1
            if roots > MAX_ROOTS:
                raise _no_logarithm(x[0])
    except LinAlgError:
        raise _no_logarithm(x[0]) from None
    nodes, weights = np.polynomial.legendre.leggauss(LOG_DEGREE)
    near = jets.shift(x, -1.0)
    terms = [
        jets.scale(jets.solve(jets.shift(jets.scale(near, float(t)), 1.0), near), float(w))
        for t, w in zip((nodes + 1) / 2, weights / 2, strict=True)
    ]
    return jets.scale(jets.add(*terms), 2.0**roots)


def _no_logarithm(x: Array) -> LinAlgError:
    return LinAlgError(
        f"logm: a matrix of shape {x.shape} has no real principal logarithm: it is singular or has "
        "an eigenvalue on the negative real axis"
    )


#: The principal logarithm, and with directions its Frechet derivatives.
logm = matrix_function("logm", _logm)
