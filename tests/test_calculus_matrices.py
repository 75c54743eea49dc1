"""vec, its relatives, and gradients by symmetric matrices."""

from __future__ import annotations

import numpy as np
import pytest

import tilegrad as tg
from tilegrad import calculus
from tilegrad.autograd import gradcheck, gradgradcheck

rng = np.random.default_rng(0)
A = rng.standard_normal((2, 3))


def tensor(x, requires_grad=True):
    return tg.tensor(np.array(x, float), requires_grad=requires_grad)


def test_vec_stacks_columns_or_rows():
    np.testing.assert_array_equal(calculus.vec(A), A.T.reshape(-1))
    np.testing.assert_array_equal(calculus.vec(A, "row"), A.reshape(-1))
    for order in ("col", "row"):
        back = calculus.unvec(calculus.vec(A, order), (2, 3), order)
        np.testing.assert_array_equal(back, A)
    stack = rng.standard_normal((4, 2, 3))
    np.testing.assert_array_equal(calculus.vec(stack)[1], calculus.vec(stack[1]))


@pytest.mark.parametrize(("m", "n"), [(1, 1), (2, 3), (4, 2), (3, 3)])
def test_commutation_matrix(m, n):
    K = calculus.commutation_matrix(m, n).numpy()
    X = rng.standard_normal((m, n))
    np.testing.assert_array_equal(K @ calculus.vec(X), calculus.vec(X.T))
    np.testing.assert_array_equal(K.T @ K, np.eye(m * n))
    np.testing.assert_array_equal(calculus.commutation_matrix(n, m).numpy(), K.T)


@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_duplication_and_elimination(n):
    X = rng.standard_normal((n, n))
    X = X + X.T
    D, L = calculus.duplication_matrix(n).numpy(), calculus.elimination_matrix(n).numpy()
    np.testing.assert_array_equal(D @ calculus.vech(X), calculus.vec(X))
    np.testing.assert_array_equal(L @ calculus.vec(X), calculus.vech(X))
    np.testing.assert_array_equal(L @ D, np.eye(n * (n + 1) // 2))
    np.testing.assert_array_equal(calculus.unvech(calculus.vech(X)), X)


def test_products():
    B = rng.standard_normal((4, 3))
    np.testing.assert_allclose(calculus.kron(A, B), np.kron(A, B))
    columns = [np.kron(A[:, j], B[:, j]) for j in range(3)]
    np.testing.assert_allclose(calculus.khatri_rao(A, B), np.stack(columns, 1))
    np.testing.assert_array_equal(calculus.hadamard(A, A), A * A)
    lazy = calculus.Kronecker(A, B)
    x = rng.standard_normal(9)
    np.testing.assert_allclose(np.asarray(lazy @ x), np.kron(A, B) @ x)


@pytest.mark.parametrize(
    "function",
    [
        lambda a: calculus.vec(a) * calculus.vec(a),
        lambda a: calculus.unvech(calculus.vech(a @ a.mT)) @ a,
        lambda a: calculus.kron(a, a), lambda a: calculus.khatri_rao(a, a),
        lambda a: calculus.hadamard(a, a),
    ],
)  # fmt: skip
def test_they_differentiate(function):
    gradcheck(function, tensor(A))
    gradgradcheck(function, tensor(A))


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: calculus.vec(np.ones(3)), "vec.*\\(3,\\)"),
        (lambda: calculus.vec(A, "diag"), "unknown order 'diag'"),
        (lambda: calculus.unvec(np.ones(5), (2, 3)), "6 entries"),
        (lambda: calculus.vech(A), "square.*\\(2, 3\\)"),
        (lambda: calculus.unvech(np.ones(4)), "triangle"),
        (lambda: calculus.hadamard(A, A.T), "differ"),
        (lambda: calculus.khatri_rao(A, A.T), "3 columns and 2"),
        (lambda: calculus.commutation_matrix(-1, 2), "non-negative"),
        (lambda: calculus.grad(tg.sum, A, structure="symmetric"), "square"),
        (lambda: calculus.grad(tg.sum, np.triu(np.ones((2, 2))), structure="symmetric"), "not sym"),
        (lambda: calculus.grad(tg.sum, np.eye(2), structure="hermitian"), "unknown structure"),
        (lambda: calculus.grad(tg.sum, np.eye(2), convention="half"), "unknown convention"),
        (lambda: calculus.grad(lambda X: X, np.eye(2)), "scalar"),
    ],
)
def test_errors(call, text):
    with pytest.raises(ValueError, match=text):
        call()


# ---- symmetric arguments (arXiv 1911.06491) ------------------------------------------------------


def test_both_conventions_of_a_symmetric_gradient():
    X = rng.standard_normal((3, 3))
    X = X @ X.T + np.eye(3)
    C = rng.standard_normal((3, 3))

    def f(x):
        return tg.sum(tg.tensor(C) * x) + tg.linalg.logdet(x)

    G = C + np.linalg.inv(X).T
    free = calculus.grad(f, X).numpy()
    matrix = calculus.grad(f, X, structure="symmetric").numpy()
    half = calculus.grad(f, X, structure="symmetric", convention="half_vec").numpy()
    np.testing.assert_allclose(free, G, rtol=1e-12)
    np.testing.assert_allclose(matrix, (G + G.T) / 2, rtol=1e-12)
    np.testing.assert_allclose(half, G + G.T - G * np.eye(3), rtol=1e-12)


def test_half_vec_is_the_gradient_by_the_half_vectorised_coordinates():
    X = np.array([[2.0, 0.5], [0.5, 1.0]])

    def f(x):
        return tg.linalg.det(x) + tg.sum(x @ x @ x)

    coordinates = tensor(calculus.vech(X))
    f(calculus.unvech(coordinates)).backward()
    half = calculus.grad(f, X, structure="symmetric", convention="half_vec")
    np.testing.assert_allclose(calculus.vech(half.numpy()), coordinates.grad.numpy(), rtol=1e-12)
    # and D^T vec(G), G the gradient by free entries
    G = calculus.grad(f, X).numpy()
    D = calculus.duplication_matrix(2).numpy()
    np.testing.assert_allclose(D.T @ calculus.vec(G), coordinates.grad.numpy(), rtol=1e-12)


@pytest.mark.parametrize(
    ("structure", "projected"),
    [
        ("skew", lambda G: (G - G.T) / 2), ("diagonal", lambda G: G * np.eye(3)),
        ("lower", np.tril), ("upper", np.triu),
    ],
)  # fmt: skip
def test_other_structures(structure, projected):
    C = rng.standard_normal((3, 3))
    X = projected(rng.standard_normal((3, 3)))
    found = calculus.grad(lambda x: tg.sum(tg.tensor(C) * x * x), X, structure=structure)
    np.testing.assert_allclose(found.numpy(), projected(2 * C * X), atol=1e-15)


def test_the_symmetric_gradient_differentiates():
    X = tensor(np.array([[2.0, 0.5], [0.5, 1.0]]))
    G = calculus.grad(lambda x: tg.sum(x * x * x), X, structure="symmetric")
    (H,) = tg.autograd.grad(tg.sum(G), X)
    np.testing.assert_allclose(H.numpy(), 6 * X.detach().numpy(), rtol=1e-12)
