"""Linear algebra at the points where others fail, and against closed forms."""

from __future__ import annotations

from fractions import Fraction
from itertools import permutations

import numpy as np
import pytest
import scipy.linalg

import tilegrad as tg
from tilegrad import linalg
from tilegrad.autograd import gradcheck, gradgradcheck
from tilegrad.calculus import jacobian
from tilegrad.ops import lu

LinAlgError = np.linalg.LinAlgError
rng = np.random.default_rng(0)
C = rng.standard_normal((3, 3))
Q = np.linalg.qr(rng.standard_normal((3, 3)))[0]


def tensor(x):
    return tg.tensor(np.array(x, float), requires_grad=True)


def gradient(function, X):
    x = tensor(X)
    (g,) = tg.autograd.grad(function(x), x)
    return g.numpy()


def hessian(function, X):
    """By reverse over reverse, entry by entry: X.shape + X.shape."""
    x = tensor(X)
    (g,) = tg.autograd.grad(function(x), x, create_graph=True)
    rows = []
    for k in range(x.numel()):
        e = np.zeros(x.numel())
        e[k] = 1.0
        (row,) = tg.autograd.grad(
            tg.sum(g * tg.tensor(e.reshape(x.shape))), x, retain_graph=True, allow_unused=True
        )
        rows.append(np.zeros(x.shape) if row is None else row.numpy())
    return np.reshape(rows, (*x.shape, *x.shape))


def close(a, b, rtol=1e-12, scale=0.0):
    scale = max(np.abs(b).max(initial=0.0), scale, 1e-300)
    np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=0, atol=rtol * scale)


# ---- determinants: exact derivatives from Leibniz's formula --------------------------------------


def sign(p):
    return (-1) ** sum(p[i] > p[j] for i in range(len(p)) for j in range(i + 1, len(p)))


def exact_derivative(X, order):
    """All partial derivatives of det of that order, over the rationals."""
    n = len(X)
    exact = [[Fraction(float(x)) for x in row] for row in X]
    out = np.zeros((n, n) * order)
    for p in permutations(range(n)):
        for rows in permutations(range(n), order):
            term = Fraction(sign(p))
            for i in range(n):
                if i not in rows:
                    term *= exact[i][p[i]]
            out[tuple(k for i in rows for k in (i, p[i]))] += float(term)
    return out


SINGULAR = {
    "identity": np.eye(4), "rank 4": np.diag([1.0, 2, 3, 4]), "rank 3": np.diag([1.0, 2, 3, 0]),
    "rank 2": np.diag([1.0, 2, 0, 0]), "rank 1": np.diag([1.0, 0, 0, 0]), "zero": np.zeros((4, 4)),
    "dense rank 2": rng.integers(-2, 3, (4, 2)) @ rng.integers(-2, 3, (2, 4)).astype(float),
    "dense rank 1": np.outer([1.0, -2, 3, 1], [2.0, 1, 0, -1]),
    "nearly singular": np.diag([1.0, 1e-3, 1e-9, 1e-15]),
    "negative": np.diag([1.0, 2, -3, 0]), "dense": rng.integers(-3, 4, (4, 4)).astype(float),
}  # fmt: skip


@pytest.mark.parametrize("X", SINGULAR.values(), ids=SINGULAR.keys())
def test_derivatives_of_det_at_every_rank(X):
    # rounding A moves a polynomial of degree 3 by |A|^3 u; at singular matrices the value is less
    s = np.linalg.svd(X, compute_uv=False)
    first, second = s[0] * s[0] * s[1], s[0] * s[0]
    close(gradient(linalg.det, X), exact_derivative(X, 1), 1e-14, first)
    close(linalg.adjugate(X), exact_derivative(X, 1).T, 1e-14, first)
    close(hessian(linalg.det, X), exact_derivative(X, 2), 1e-14, second)


@pytest.mark.parametrize("name", ["identity", "rank 2", "rank 1", "zero", "dense rank 2", "dense"])
def test_third_and_fourth_derivatives_of_det(name):
    X = SINGULAR[name]
    third, fourth = exact_derivative(X, 3), exact_derivative(X, 4)
    E, F, G = rng.standard_normal((3, 4, 4))
    close(linalg.cofactor(X, E, F), np.einsum("abcdij,ab,cd", third, E, F), 1e-13)
    close(linalg.cofactor(X, E, F, G), np.einsum("abcdefij,ab,cd,ef", fourth, E, F, G), 1e-13)
    assert not linalg.cofactor(X, E, F, G, E).any()  # a polynomial of degree 4 in all


def test_adjugate_of_a_singular_matrix_is_exact():
    X = [[1.0, 2.0], [2.0, 4.0]]
    np.testing.assert_array_equal(linalg.adjugate(X), [[4, -2], [-2, 1]])
    np.testing.assert_array_equal(gradient(linalg.det, X), [[4, -2], [-2, 1]])


def test_large_cofactors_take_the_inverse():
    X = rng.standard_normal((100, 100))
    close(linalg.cofactor(X), np.linalg.det(X) * np.linalg.inv(X).T, 1e-11)
    singular = X.copy()
    singular[-1] = singular[0]
    u, s, vh = np.linalg.svd(singular)
    alone = np.linalg.det(u) * np.linalg.det(vh) * np.prod(s[:-1]) * np.outer(u[:, -1], vh[-1])
    close(linalg.cofactor(singular), alone, 1e-11)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("n", [1, 5, 70])
def test_factors_serve_systems_inverses_and_determinants(dtype, n):
    X = (rng.standard_normal((2, n, n)) / np.sqrt(n) + np.eye(n)).astype(dtype)
    B = rng.standard_normal((n, 5)).astype(dtype)
    factors = lu.factor(X)
    exact, turned = X.astype(float), np.swapaxes(X, -1, -2).astype(float)
    sign, log = lu.sign_and_log(*factors)
    pairs = [
        (lu.solve(*factors, B), np.linalg.solve(exact, B)),
        (lu.solve(*factors, B, True), np.linalg.solve(turned, B)),
        (lu.inverse(*factors), np.linalg.inv(exact)),
        (lu.determinant(*factors), np.linalg.det(exact)),
        (sign * np.exp(log), np.linalg.det(exact)),
    ]
    for found, wanted in pairs:
        assert found.dtype == dtype
        close(found, wanted, 1e-12 if dtype == np.float64 else 1e-3)
    zero = np.zeros((n, n), dtype)
    assert lu.determinant(*lu.factor(zero)) == 0
    with pytest.raises(LinAlgError):
        lu.inverse(*lu.factor(zero))
    with pytest.raises(LinAlgError):
        lu.solve(*lu.factor(zero), zero)


def test_determinants_beyond_the_range_of_partial_products():
    entries = np.concatenate([np.full(300, 1e200), np.full(300, 1e-200)])
    close(linalg.det(np.diag(entries)), 1.0)
    assert linalg.det(np.diag(np.full(10, 1e200))) == np.inf


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_derivatives_at_sizes_with_blocks(scale):
    """The closed forms at n = 64, second order in both modes, where elimination goes by blocks."""
    X = scale * (rng.standard_normal((64, 64)) / 16 + 2 * np.eye(64))
    E, B = rng.standard_normal((64, 64)), rng.standard_normal((64, 3))
    inverse = np.linalg.inv(X)
    x, e, b = tensor(X), tg.tensor(E), tensor(B)
    plain = tg.tensor(X)
    close(gradient(linalg.logdet, X), inverse.T, 1e-11)
    det = np.linalg.det(X)
    close(gradient(linalg.det, X), det * inverse.T, 1e-11)
    along = tg.func.hvp(linalg.logdet, plain, e).numpy()
    close(along, -(inverse @ E @ inverse).T, 1e-11)
    solution = tg.func.jvp(lambda a: linalg.solve(a, b.detach()), (plain,), (e,))[1].numpy()
    close(solution, -inverse @ E @ inverse @ B, 1e-11)
    (by_x,) = tg.autograd.grad(linalg.solve(x, b).sum(), x, create_graph=True)
    close(by_x.detach().numpy(), -inverse.T @ np.ones((64, 3)) @ (inverse @ B).T, 1e-11)
    (second,) = tg.autograd.grad((by_x * e).sum(), b)
    close(second.numpy(), -(inverse @ E @ inverse).T @ np.ones((64, 3)), 1e-11)


def test_logdet():
    X = rng.standard_normal((4, 4))
    X = X @ X.T + np.eye(4)
    inverse = np.linalg.inv(X)
    close(gradient(linalg.logdet, X), inverse.T)
    close(hessian(linalg.logdet, X), -np.einsum("jk,li->ijkl", inverse, inverse))
    assert linalg.slogdet(np.zeros((2, 2)))[1] == -np.inf
    assert np.isnan(linalg.logdet(-np.eye(3)))
    with pytest.raises(LinAlgError, match=r"derivative of logdet.*\(2, 2\).*singular"):
        gradient(linalg.logdet, np.ones((2, 2)))


# ---- repeated eigenvalues and singular values ----------------------------------------------------

REPEATED = {
    "I": np.eye(3), "twice below": Q @ np.diag([1.0, 1, 2]) @ Q.T,
    "twice above": Q @ np.diag([-1.0, 3, 3]) @ Q.T, "distinct": Q @ np.diag([1.0, 2, 4]) @ Q.T,
}  # fmt: skip


def symmetrised(function):
    return lambda M: function((M + M.mT) / 2)


def by_vectors(f):
    def function(M):
        w, V = linalg.eigh(M)
        return tg.sum((V * f(w)) @ V.mT * tg.tensor(C))

    return function


@pytest.mark.parametrize("M", REPEATED.values(), ids=REPEATED.keys())
@pytest.mark.parametrize(
    ("function", "same"),
    [
        (by_vectors(lambda w: w**2), lambda M: tg.sum(M @ M * tg.tensor(C))),
        (by_vectors(tg.exp), lambda M: tg.sum(linalg.expm(M) * tg.tensor(C))),
        (lambda M: tg.sum(linalg.eigvalsh(M) ** 2), lambda M: tg.sum(M * M)),
        (lambda M: tg.sum(linalg.funm(M, tg.exp) ** 2), lambda M: linalg.trace(linalg.expm(2 * M))),
    ],
    ids=["square", "exp", "eigvalsh", "funm"],
)
def test_functions_of_symmetric_matrices(M, function, same):
    close(gradient(function, M), gradient(symmetrised(same), M))
    close(hessian(function, M), hessian(symmetrised(same), M), 1e-11)


@pytest.mark.parametrize("M", REPEATED.values(), ids=REPEATED.keys())
def test_svd_where_singular_values_repeat(M):
    def cube(M):
        U, S, Vh = linalg.svd(M)
        return tg.sum((U * S**3) @ Vh * tg.tensor(C))

    def same(M):
        return tg.sum(M @ M.mT @ M * tg.tensor(C))

    def polar(M):
        return linalg.trace(linalg.sqrtm(M.mT @ M))

    close(gradient(cube, M), gradient(same, M))
    close(hessian(cube, M), hessian(same, M), 1e-11)
    nuclear = lambda M: linalg.matrix_norm(M, "nuc")  # noqa: E731
    close(gradient(nuclear, M), gradient(polar, M), 1e-11)
    close(hessian(nuclear, M), hessian(polar, M), 1e-11)


def test_the_gradient_at_the_identity_is_2():
    M = tensor(np.eye(3))
    w, V = linalg.eigh(M)
    tg.sum(V @ tg.diag(w**2) @ V.T).backward()
    np.testing.assert_array_equal(M.grad.numpy(), np.full((3, 3), 2.0))


def test_transforms_where_eigenvalues_repeat():
    def function(M):
        w, V = linalg.eigh(M)
        return tg.sum((V * w**2) @ V.mT * tg.tensor(C))

    M, E = np.eye(3), tg.tensor(rng.standard_normal((3, 3)))
    same = symmetrised(lambda M: tg.sum(M @ M * tg.tensor(C)))
    expected = hessian(same, M)
    close(tg.func.hessian(function)(tg.tensor(M)).numpy(), expected)
    close(tg.func.jacrev(tg.func.jacrev(function))(tg.tensor(M)).numpy(), expected)
    product = tg.func.hvp(function, tg.tensor(M), E).numpy()
    close(product, np.einsum("ijkl,kl", expected, E.numpy()))


def square_by_vectors(M):
    w, V = linalg.eigh(M)
    return (V * w[..., None, :] ** 2) @ V.mT


def square_of_symmetric(M):
    S = (M + M.mT) / 2
    return S @ S


def cube_by_svd(M):
    U, S, Vh = linalg.svd(M)
    return (U * S**3) @ Vh


def test_jacobians_where_eigenvalues_repeat():
    """More than one row: each is a limit of its own."""
    M = tg.tensor(np.eye(2))
    for transform in (tg.func.jacrev, lambda f: tg.func.jacrev(tg.func.jacrev(f))):
        expected = transform(square_of_symmetric)(M).numpy()
        close(transform(square_by_vectors)(M).numpy(), expected)
    with pytest.raises(NotImplementedError, match="vmap: derivatives of eigh where values repeat"):
        tg.func.vmap(tg.func.grad(lambda M: square_by_vectors(M).sum()))(tg.tensor(np.eye(3)[None]))


@pytest.mark.parametrize("function", [square_by_vectors, cube_by_svd])
def test_third_derivatives_where_values_repeat_are_refused(function):
    M = tg.tensor(np.eye(3))
    third = tg.func.hessian(lambda M: (function(M) * M).sum())
    for transform in (lambda: tg.func.jvp(third, (M,), (M,)), lambda: tg.func.jacrev(third)(M)):
        with pytest.raises(LinAlgError, match="third order"):
            transform()


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (2, 0, 3), (2, 3, 0), (0, 3, 5), (0, 0)])
def test_svd_of_empty_matrices_has_empty_gradients(shape):
    def function(A):
        parts = linalg.svd(A, full_matrices=True)
        return sum(tg.sum(x * tg.tensor(rng.standard_normal(x.shape))) for x in parts)

    assert gradient(function, np.zeros(shape)).shape == shape


@pytest.mark.parametrize(
    "function",
    [*(lambda A, i=i: linalg.lu(A)[i] for i in range(3)), lambda A: linalg.matrix_norm(A, "nuc"),
     lambda A: linalg.lu_factor(A)[0], lambda A: linalg.lu_factor(A)[1],
     lambda A: linalg.lu_solve(*linalg.lu_factor(A), A), lambda A: linalg.lstsq(A, A)[2],
     lambda A: linalg.lstsq(A, A)[3]],
    ids=["P", "L", "U", "nuclear norm", "packed", "pivots", "lu_solve", "rank", "values"],
)  # fmt: skip
def test_vmap_of_what_decides_by_values(function):
    stack = tg.tensor(rng.standard_normal((3, 4, 4)))
    close(tg.func.vmap(function)(stack).numpy(), np.stack([function(A).numpy() for A in stack]))


@pytest.mark.parametrize("n", [2, 3])
def test_what_depends_on_the_choice_of_vectors_is_refused(n):
    weights = tg.tensor(np.arange(1.0, n * n + 1).reshape(n, n))
    for function in (
        lambda M: tg.sum(linalg.eigh(M)[1] * weights),
        lambda M: tg.sum(linalg.svd(M)[0] * weights),
        lambda M: linalg.eigvalsh(M)[0],
        lambda M: linalg.svdvals(M)[-1],
        lambda M: tg.sum(linalg.nullspace(M - tg.tensor(np.eye(n))) * weights),
    ):
        with pytest.raises(LinAlgError, match=r"depends|differently"):
            gradient(function, np.eye(n))


def test_eig():
    P = rng.standard_normal((3, 3)) + 2 * np.eye(3)
    A = P @ np.diag([1.0, 2.0, 4.0]) @ np.linalg.inv(P)
    w, V = linalg.eig(A)
    close(A @ V, V * w, 1e-12)

    def cube(A):
        w, V = linalg.eig(A)
        return tg.sum((V * w**3) @ linalg.inv(V) * tg.tensor(C))

    close(gradient(cube, A), gradient(lambda A: tg.sum(A @ A @ A * tg.tensor(C)), A), 1e-10)
    close(hessian(cube, A), hessian(lambda A: tg.sum(A @ A @ A * tg.tensor(C)), A), 1e-9)
    P, D = linalg.diagonalize(A)
    close(linalg.similar(A, P), D, 1e-12)
    with pytest.raises(LinAlgError, match="complex eigenvalues"):
        linalg.eig([[0.0, 1.0], [-1.0, 0.0]])


# ---- functions of matrices -----------------------------------------------------------------------

MATRICES = {
    "tiny": 1e-8 * C, "small": 0.1 * C, "medium": C, "large": 30 * C, "nilpotent": np.triu(C, 1),
    "large nilpotent": 1e6 * np.triu(C, 1), "zero": np.zeros((3, 3)), "identity": np.eye(3),
    "non-normal": np.array([[1.0, 1e6, 0], [0, -1, 0], [0, 0, 0.5]]), "symmetric": C + C.T,
}  # fmt: skip


@pytest.mark.parametrize("X", MATRICES.values(), ids=MATRICES.keys())
def test_expm(X):
    mpmath = pytest.importorskip("mpmath")
    E = rng.standard_normal((3, 3))
    with mpmath.workdps(60):
        block = mpmath.matrix(np.block([[X, E], [np.zeros((3, 3)), X]]).tolist())
        exact = np.array(mpmath.expm(block, method="taylor").tolist(), float)
    value, derivative = linalg.expm_frechet(X, E)
    # the condition of exp at X bounds what any algorithm can do: |X| units at most here
    tolerance = 1e-14 * max(1.0, min(np.linalg.norm(X), 100.0))
    close(value, exact[:3, :3], tolerance)
    close(derivative, exact[:3, 3:], 10 * tolerance)
    pulled = gradient(lambda x: tg.sum(linalg.expm(x) * tg.tensor(C)), X)
    close(pulled, linalg.expm_frechet(X.T, C, False))


def test_expm_of_large_matrices_agrees_with_scipy():
    X, E = rng.standard_normal((2, 60, 60))
    value, derivative = scipy.linalg.expm_frechet(X, E)
    close(linalg.expm(X), value)
    close(linalg.expm_frechet(X, E, compute_expm=False), derivative)
    close(linalg.expm(X) @ linalg.expm(-X), np.eye(60), 1e-7)
    close(linalg.expm(0.1 * X) @ linalg.expm(-0.1 * X), np.eye(60), 1e-12)


@pytest.mark.parametrize("batch", [(), (2,), (2, 3)])
def test_matrix_functions_of_stacks(batch):
    X = 0.3 * rng.standard_normal((*batch, 4, 4)) + 2 * np.eye(4)
    for ours, theirs in (
        (linalg.expm, scipy.linalg.expm), (linalg.sqrtm, scipy.linalg.sqrtm),
        (linalg.logm, scipy.linalg.logm),
    ):  # fmt: skip
        found = ours(X)
        for place in np.ndindex(batch):
            close(found[place], theirs(X[place]))
        single = ours(X.astype(np.float32))
        assert single.dtype == np.float32
        close(single, found, 1e-4)


def test_square_roots_and_logarithms():
    X = rng.standard_normal((5, 5)) + 4 * np.eye(5)
    close(linalg.sqrtm(X) @ linalg.sqrtm(X), X)
    close(linalg.expm(linalg.logm(X)), X)
    semidefinite = np.diag([4.0, 1.0, 0.0])
    close(linalg.sqrtm(semidefinite), np.diag([2.0, 1.0, 0.0]))
    with pytest.raises(LinAlgError, match="no derivative at a singular matrix"):
        gradient(lambda x: tg.sum(linalg.sqrtm(x)), semidefinite)
    for bad in (-np.eye(2), [[0.0, 1.0], [-1.0, 0.0]] @ np.diag([1.0, 1.0]) @ np.diag([1.0, -1.0])):
        with pytest.raises(LinAlgError, match="sqrtm"):
            linalg.sqrtm(bad)
    with pytest.raises(LinAlgError, match=r"logm.*logarithm"):
        linalg.logm(np.diag([1.0, -2.0, -3.0]) + np.triu(np.ones((3, 3)), 1))


# ---- inverse, systems, least squares -------------------------------------------------------------


def test_jacobian_of_the_inverse():
    X = rng.standard_normal((3, 3)) + 3 * np.eye(3)
    inverse = np.linalg.inv(X)
    J = jacobian(linalg.inv, tensor(X)).flat("row")
    close(J.detach().numpy(), -np.kron(inverse, inverse.T))


def test_normal_equations():
    A, b = rng.standard_normal((5, 3)), rng.standard_normal(5)
    x = linalg.lstsq(A, b).solution
    close(x, np.linalg.lstsq(A, b, rcond=None)[0])
    H = hessian(lambda x: tg.sum((tg.tensor(A) @ x - tg.tensor(b)) ** 2), x)
    close(H, 2 * A.T @ A)
    rank_deficient = A @ np.diag([1.0, 1.0, 0.0])
    close(linalg.lstsq(rank_deficient, b)[0], np.linalg.lstsq(rank_deficient, b, rcond=None)[0])


@pytest.mark.parametrize("shape", [(4, 4), (5, 3), (3, 5)])
def test_factorisations(shape):
    A = rng.standard_normal(shape)
    P, L, U = linalg.lu(A)
    close(P @ L @ U, A)
    theirs = scipy.linalg.lu(A)
    for ours, other in zip((P, L, U), theirs, strict=True):
        close(ours, other)

    def factors(a):
        return tuple(linalg.lu(a))[1:]

    gradcheck(factors, tensor(A))
    gradgradcheck(factors, tensor(A), rtol=1e-3, atol=1e-4)
    for mode in ("reduced", "complete"):
        Qr, R = linalg.qr(A, mode)
        close(Qr @ R, A)

        def parts(a, mode=mode):
            q, r = linalg.qr(a, mode)
            k = min(a.shape)
            rest = q[:, k:]
            return q[:, :k], rest @ rest.mT, r

        gradcheck(parts, tensor(A))


def test_rref_is_the_product_of_its_elementary_matrices():
    for A in (rng.standard_normal((3, 5)), rng.integers(-2, 3, (4, 3)), np.zeros((2, 2)),
              np.outer([1, 2, 3], [2, 4, 1])):  # fmt: skip
        R, pivots, steps = linalg.rref(A, steps=True)
        product = np.eye(len(A))
        for step in steps:
            product = step.matrix @ product
        np.testing.assert_allclose(product @ A, R, atol=1e-13)
        assert len(pivots) == np.linalg.matrix_rank(A)
        np.testing.assert_array_equal(R[:, pivots], np.eye(len(A))[:, : len(pivots)])
    sympy = pytest.importorskip("sympy")
    A = rng.integers(-3, 4, (3, 5))
    exact, exact_pivots = sympy.Matrix(A.tolist()).rref()
    R, pivots, _ = linalg.rref(A, steps=True)
    assert pivots == exact_pivots
    np.testing.assert_allclose(R, np.array(exact.tolist(), float), atol=1e-13)


def test_norms_at_zero():
    for ord in ("fro", 2, 1, np.inf, "nuc"):
        g = gradient(lambda x, ord=ord: linalg.matrix_norm(x, ord), np.zeros((2, 3)))
        assert np.isfinite(g).all()
    for ord in (2, 3, 1.5, 0.5, -1):
        assert not gradient(lambda x, ord=ord: linalg.vector_norm(x, ord), np.zeros(3)).any()


# ---- batches -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "function",
    [
        linalg.inv, linalg.det, linalg.logdet, linalg.adjugate, linalg.expm, linalg.sqrtm,
        linalg.cholesky, linalg.eigvalsh, linalg.svdvals, linalg.pinv,
        lambda a: linalg.solve(a, a[..., :1]), lambda a: linalg.qr(a)[1],
    ],
)  # fmt: skip
def test_vmap_and_batched_derivatives(function):
    X = rng.standard_normal((2, 3, 3))
    X = X @ np.swapaxes(X, -1, -2) + np.eye(3)
    mapped = tg.func.vmap(function)(tg.tensor(X)).numpy()
    close(mapped, np.stack([np.asarray(function(x)) for x in X]))
    one = tg.func.jacrev(function)(tg.tensor(X[0])).numpy()
    close(tg.func.jacfwd(function)(tg.tensor(X[0])).numpy(), one, 1e-11)


# ---- errors --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: linalg.inv(np.ones((2, 3))), r"inv: needs square.*\(2, 3\)"),
        (lambda: linalg.inv(np.ones((2, 2))), r"inv: .*\(2, 2\) is singular"),
        (lambda: linalg.det(np.ones(3)), r"det.*\(3,\)"),
        (lambda: linalg.det([[np.nan, 1], [1, 1]]), "det.*NaN or infinity"),
        (lambda: linalg.eigh([[np.inf, 1], [1, 1]]), "eigh.*NaN or infinity"),
        (lambda: linalg.solve(np.eye(3), np.ones((2, 2))), r"solve.*\(3, 3\).*\(2, 2\).*3.*2"),
        (lambda: linalg.cholesky(-np.eye(2)), "not positive definite"),
        (lambda: linalg.expm(np.ones((2, 3))), r"expm: needs square"),
        (lambda: linalg.expm_frechet(np.eye(2), np.eye(3)), r"expm: the direction.*\(3, 3\)"),
        (lambda: linalg.solve_triangular(np.zeros((2, 2)), np.eye(2), upper=True), "singular"),
        (lambda: linalg.qr(np.eye(2), "full"), "qr: mode"),
        (lambda: linalg.matrix_norm(np.eye(2), 3), "matrix_norm: ord"),
        (lambda: linalg.multi_dot([np.eye(2), np.eye(3)]), "multi_dot: factors 0 and 1"),
        (lambda: linalg.matrix_power(np.ones((2, 3)), 2), "matrix_power"),
        (lambda: linalg.funm(np.diag([1.0, -1.0]), tg.log), "funm.*not finite"),
    ],
)
def test_errors_name_the_operation_and_the_shapes(call, text):
    with pytest.raises(ValueError, match=text):
        call()


# ---- edges of the signatures ---------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(0, 0), (0, 3, 3), (2, 0, 0)])
def test_factorisations_of_nothing(shape):
    A = tensor(np.zeros(shape))
    for name in ("lu", "lu_factor", "qr", "svd", "eigh", "cholesky", "inv", "det", "slogdet"):
        out = getattr(linalg, name)(A)
        for part in out if isinstance(out, tuple) else (out,):
            assert part.shape[: len(shape) - 2] == shape[:-2]


@pytest.mark.parametrize("name", ["logdet", "adjugate", "eigvals", "inv", "solve", "expm"])
def test_errors_name_the_function_that_was_called(name):
    arguments = (np.ones((2, 3)), np.ones((2, 1)))[: 2 if name == "solve" else 1]
    with pytest.raises(LinAlgError, match=rf"^{name}: needs square matrices, got shape \(2, 3\)"):
        getattr(linalg, name)(*arguments)


def test_number_of_entries_is_a_norm_without_slope():
    x = tensor([0.0, 3.0, -1.0])
    count = linalg.vector_norm(x, 0)
    assert count.item() == 2
    (g,) = tg.autograd.grad(count, x)
    np.testing.assert_array_equal(g.numpy(), 0)


def test_arguments_as_in_torch():
    A = tensor(rng.standard_normal((4, 3)))
    assert linalg.svd(A, full_matrices=False, driver="gesvd").S.shape == (3,)
    assert linalg.svdvals(A, driver=None).shape == (3,)
    Q, R = linalg.qr(A, mode="r")
    assert Q.shape == (0,)
    assert R.shape == (3, 3)
    assert linalg.qr(A.detach().numpy(), mode="r").shape == (3, 3)
