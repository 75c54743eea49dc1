"""Jacobian objects: closed forms, layouts, structure, chunks; Hessians, expansions, scores."""

from __future__ import annotations

import resource
import tracemalloc

import numpy as np
import pytest

import tilegrad as tg
from tilegrad import calculus, func


def randn(*shape, seed=0):
    return tg.tensor(np.random.default_rng([seed, *shape]).standard_normal(shape))


def array(value):
    return np.asarray(value.detach() if isinstance(value, tg.Tensor) else value)


def close(found, expected, tolerance=1e-12):
    found, expected = array(found), array(expected)
    assert found.shape == expected.shape
    scale = max(1.0, float(np.abs(expected).max(initial=0)))
    assert np.abs(found - expected).max(initial=0) <= tolerance * scale


A, X, B = randn(3, 4), randn(4, 2), randn(2, 5)


def axb(X):
    return A @ X @ B


# ---- closed forms -------------------------------------------------------


def differences(f, x, step=1e-6):
    """The Jacobian by central differences."""
    columns = []
    for k in range(x.numpy().size):
        move = np.zeros(x.numpy().size)
        move[k] = step
        move = move.reshape(x.shape)
        up, down = f(tg.tensor(x.numpy() + move)), f(tg.tensor(x.numpy() - move))
        columns.append((up.numpy() - down.numpy()) / (2 * step))
    return np.stack(columns, axis=-1).reshape(*columns[0].shape, *x.shape)


ROUTES = {
    "sin(Ax + b)": (lambda x: tg.sin(A @ x + randn(3)), randn(4)),
    "AXB": (axb, X),
    "X X^T": (lambda X: X @ X.T, X),
    "softmax(Ax)": (lambda x: (lambda e: e / e.sum())(tg.exp(A @ x)), randn(4)),
    "row sums of X o X": (lambda X: (X * X).sum(1), X),
    "x^T x": (lambda x: x @ x, randn(4)),
    "X x": (lambda X: X @ randn(2), X),
    "a vector by a number": (lambda t: randn(3) * t * t, tg.tensor(np.array(1.5))),
}


@pytest.mark.parametrize("name", ROUTES)
def test_routes_agree(name):
    f, x = ROUTES[name]
    reverse, forward = func.jacrev(f)(x), func.jacfwd(f)(x)
    close(reverse, forward)
    close(reverse, differences(f, x), 1e-8)
    found = calculus.jacobian(f, x)
    for other in (
        found,
        calculus.jacobian(f, x, structure="dense"),
        calculus.jacobian(f, x, mode="reverse", structure="dense"),
        calculus.jacobian(f, x, mode="forward", structure="dense", chunk_size=2),
    ):
        close(other.tensor(), reverse)
        assert other.shape == f(x).shape + x.shape


def test_matrix_by_matrix_in_four_axes():
    J = calculus.jacobian(axb, X)
    close(J, np.einsum("ip,qj->ijpq", A.numpy(), B.numpy()))
    close(J.flat(vec="row"), np.kron(A.numpy(), B.numpy().T))
    close(J.flat(vec="col"), np.kron(B.numpy().T, A.numpy()))


def test_three_exercises():
    x, b = randn(4), randn(3)
    z = A.numpy() @ x.numpy() + b.numpy()
    close(calculus.jacobian(lambda x: tg.sin(A @ x + b), x), np.cos(z)[:, None] * A.numpy())
    S = np.eye(4) * 2 + 0.3
    mu = randn(4, seed=1)
    inverse = tg.tensor(np.linalg.inv(S))

    def density(x):  # exp(-z / 2), z = y^T S^-1 y, y = x - mu
        y = x - mu
        return tg.exp(-(y @ (inverse @ y)) / 2)

    y = x.numpy() - mu.numpy()
    weight = np.exp(-(y @ np.linalg.solve(S, y)) / 2)
    close(func.grad(density)(x), -weight * np.linalg.solve(S, y))


def test_neuron_jacobians():
    """Parr & Howard: broadcasting, sums, a neuron with its threshold, the average error."""
    w, x = randn(4), randn(4, seed=1)
    close(calculus.jacobian(lambda w: w * x, w), np.diag(x.numpy()))
    close(calculus.jacobian(lambda x: x.sum(), x), np.ones(4))
    one = tg.tensor(np.array(2.0))
    close(calculus.jacobian(lambda z: x + z, one), np.ones(4))
    close(calculus.jacobian(lambda z: x * z, one), x.numpy())
    for bias in (10.0, -10.0):
        neuron = lambda w, b=bias: tg.maximum(w @ x + b, 0.0)  # noqa: E731
        expected = x.numpy() if w.numpy() @ x.numpy() + bias > 0 else np.zeros(4)
        close(func.grad(neuron)(w), expected)
    samples, targets = randn(6, 4), randn(6)
    active = (samples.numpy() @ w.numpy()) > 0
    error = np.where(active, samples.numpy() @ w.numpy(), 0) - targets.numpy()

    def cost(w):
        return ((targets - tg.maximum(samples @ w, 0.0)) ** 2).mean()

    close(func.grad(cost)(w), 2 / 6 * (samples.numpy() * (error * active)[:, None]).sum(0))


# ---- layouts -------------------------------------------------------

SCALAR, VECTOR, MATRIX = (), (3,), (3, 4)

#: (result, argument): shapes in numerator, denominator and mixed layout.
SHAPES = {
    (SCALAR, SCALAR): ((1, 1), (1, 1), (1, 1)),
    (SCALAR, (4,)): ((1, 4), (4, 1), (4, 1)),
    (SCALAR, (3, 4)): ((4, 3), (3, 4), (3, 4)),
    ((3,), SCALAR): ((3, 1), (1, 3), (3, 1)),
    ((3, 4), SCALAR): ((3, 4), (4, 3), (3, 4)),
    ((3,), (4,)): ((3, 4), (4, 3), (3, 4)),
    ((3, 4), (2, 5)): ((12, 10), (10, 12), (12, 10)),
    ((3,), (2, 5)): ((3, 10), (10, 3), (3, 10)),
}


@pytest.mark.parametrize("shapes", SHAPES, ids=str)
def test_layouts(shapes):
    out, arg = shapes
    J = calculus.Dense(randn(*out, *arg), out)
    assert J.layout() == "tensor"
    for name, expected in zip(("numerator", "denominator", "mixed"), SHAPES[shapes], strict=True):
        turned = J.to_layout(name)
        assert turned.layout() == name
        assert turned.numpy().shape == expected
        close(turned.numpy(), J.layout(name))
        close(turned.to_layout("tensor").numpy(), J.tensor())
    close(J.layout("denominator"), array(J.layout("numerator")).T)


def test_layout_entries():
    x = randn(4)
    J = calculus.jacobian(lambda x: tg.sin(A @ x), x)
    expected = np.cos(A.numpy() @ x.numpy())[:, None] * A.numpy()
    close(J.layout("numerator"), expected)
    close(J.layout("denominator"), expected.T)
    by_matrix = calculus.jacobian(lambda X: (X * X * X).sum(), X)
    close(by_matrix.layout("numerator"), 3 * X.numpy().T ** 2)
    close(by_matrix.layout("mixed"), 3 * X.numpy() ** 2)


def test_printed_shapes_and_layout():
    text = repr(calculus.jacobian(axb, X).to_layout("numerator"))
    assert text == (
        "Jacobian of a result 3 x 5 by an argument 4 x 2: kronecker, float64, "
        "numerator layout 15 x 8"
    )
    assert "scalar" in repr(calculus.jacobian(lambda x: x.sum(), randn(3)))


# ---- structure -------------------------------------------------------

STRUCTURED = {
    "elementwise": (lambda X: tg.exp(tg.sin(X)) * X + X / 3, "diagonal"),
    "negation": (lambda X: -X, "diagonal"),
    "shift": (lambda X: X + 1.0, "identity"),
    "reshape": (lambda X: X.reshape(8), "identity"),
    "two paths": (lambda X: tg.sin(X) + tg.cos(X), "diagonal"),
    "AXB": (axb, "kronecker"),
    "2 A X B": (lambda X: 2 * axb(X), "kronecker"),
    "A X": (lambda X: A @ X, "kronecker"),
    "A X + C X": (lambda X: A @ X + randn(3, 4, seed=5) @ X, "kronecker"),
    "A (-X) B": (lambda X: A @ (-X) @ B, "kronecker"),
    "sin(AXB)": (lambda X: tg.sin(axb(X)), "dense"),
    "X^T": (lambda X: X.T, "commutation"),
    "A X^T B": (lambda X: randn(3, 2, seed=6) @ X.T @ randn(4, 5, seed=7), "commuted kronecker"),
    "-(A X)^T": (lambda X: -(A @ X).T, "commuted kronecker"),
    "(A X^T)^T": (lambda X: (randn(3, 2, seed=6) @ X.T).T, "kronecker"),
    "X^T^T": (lambda X: X.T.T, "identity"),
    "C X + 2 X": (lambda X: randn(4, 4, seed=5) @ X + 2 * X, "kronecker"),
    "X X^T": (lambda X: X @ X.T, "commuted kronecker + kronecker"),
    "C X + sin X": (lambda X: randn(4, 4, seed=5) @ X + tg.sin(X), "diagonal + kronecker"),
    "vec(A X^T)": (lambda X: (randn(3, 2, seed=6) @ X.T).reshape(12), "commuted kronecker"),
    "sum": (lambda X: X.sum(), "dense"),
    "constant": (lambda X: tg.tensor(np.ones(2)), "dense"),
}


@pytest.mark.parametrize("name", STRUCTURED)
def test_structure_is_found(name):
    f, structure = STRUCTURED[name]
    J = calculus.jacobian(f, X)
    D = calculus.jacobian(f, X, structure="dense")
    assert J.structure == structure
    kind = {"commutation": "kronecker", "commuted kronecker": "kronecker"}.get(structure, structure)
    assert type(J).__name__.lower() == ("sum" if "+" in structure else kind)
    close(J.to_dense(), D.to_dense())
    v, g = randn(*J.input_shape, seed=2), randn(*J.output_shape, seed=3)
    close(J @ v, D @ v)
    close(J.T @ g, D.T @ g)
    close(J.T.T.to_dense(), D.to_dense())
    close((J.T.flat()), array(D.flat()).T)
    many = randn(*J.input_shape, 3)
    assert (J @ many).shape == (*J.output_shape, 3)
    close((J @ many)[..., 1], D @ many[..., 1])
    close((J + J).to_dense(), 2 * array(D.to_dense()))


def test_chain_rule_on_objects():
    maps = [
        calculus.Diagonal(randn(4)),
        calculus.Identity(4),
        calculus.Kronecker(randn(2, 2), randn(2, 2, seed=1)),
        calculus.Dense(randn(4, 4), (4,)),
        calculus.Diagonal(np.full(4, 3.0)),
        calculus.Kronecker(randn(2, 2), randn(2, 2, seed=1), commuted=True),
        calculus.Kronecker(2, 2, commuted=True),
        calculus.Diagonal(randn(4)) + calculus.Kronecker(randn(2, 2), randn(2, 2, seed=1)),
    ]
    for outer in maps:
        for inner in maps:
            chain = outer @ inner
            close(chain.to_dense(), array(outer.to_dense()) @ array(inner.to_dense()))
            close((outer + inner).to_dense(), array(outer.to_dense()) + array(inner.to_dense()))
    kinds = {(type(o).__name__, type(i).__name__): (o @ i).structure for o in maps for i in maps}
    assert kinds["Diagonal", "Diagonal"] == "diagonal"
    assert (maps[2] @ maps[2]).structure == (maps[1] @ maps[2]).structure == "kronecker"
    assert (maps[6] @ maps[6]).structure == "identity"  # K vec(K vec(A)) = vec(A)
    assert kinds["Dense", "Diagonal"] == "dense"


def test_structures_of_large_arguments_take_megabytes():
    """Not even the identity of a side's size: 2000 x 1000 entries, 10^12 partial derivatives."""
    X = tg.tensor(np.zeros((2000, 1000), np.float32))
    B = np.ones((1000, 3), np.float32)
    for f, structure in ((lambda X: X.T, "commutation"), (lambda X: X @ B, "kronecker")):
        tracemalloc.start()
        J = calculus.jacobian(f, X)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert J.structure == structure
        assert peak < 4 * 2**20
    assert calculus.jacobian(lambda X: tg.sin(X @ B), X).structure == "kronecker"  # cos 0 = 1
    uneven = tg.tensor(randn(4, 1000))
    assert calculus.jacobian(lambda X: tg.sin(X @ B), uneven).structure == "dense"


def test_elementwise_jacobian_of_a_million_entries_takes_megabytes():
    x = tg.tensor(np.random.default_rng(0).standard_normal(10**6))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    J = calculus.jacobian(lambda x: tg.sin(x) * x, x)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before  # KiB
    assert J.structure == "diagonal"
    assert J.shape == (10**6, 10**6)
    assert grown < 200 * 1024
    close(J @ tg.tensor(np.ones(10**6)), np.cos(x.numpy()) * x.numpy() + np.sin(x.numpy()))
    with pytest.raises(MemoryError, match="J @ v"):
        calculus.jacobian(lambda x: x * x.sum(), x).numpy()


def test_dense_jacobian_is_lazy():
    x, calls = randn(5), []

    def f(x):
        calls.append(1)
        return x * x.sum()

    J = calculus.jacobian(f, x)
    assert len(calls) == 1
    v = randn(5, seed=2)
    total, inner = x.numpy().sum() * v.numpy(), x.numpy() @ v.numpy()
    close(J.T @ v, total + inner)
    assert len(calls) == 1
    close(J @ v, total + x.numpy() * v.numpy().sum())
    assert len(calls) == 2


def test_jacobian_inside_a_transform_is_differentiable():
    x = randn(4)
    found = func.grad(lambda x: (calculus.jacobian(lambda x: x * x * x, x).tensor() ** 2).sum())(x)
    close(found, 36 * x.numpy() ** 3)


def test_jacobian_errors():
    for call, error, text in [
        (lambda: calculus.jacobian(axb, X, structure="sparse"), ValueError, "auto, dense"),
        (lambda: calculus.jacobian(axb, X, mode="both"), ValueError, "reverse"),
        (lambda: calculus.jacobian(axb, X).layout("column"), ValueError, "numerator"),
        (lambda: calculus.jacobian(axb, X).to_layout("column"), ValueError, "numerator"),
        (lambda: calculus.jacobian(axb, X).flat("diagonal"), ValueError, "'row'"),
        (lambda: calculus.jacobian(lambda X: (X, X), X), TypeError, "jacrev"),
        (lambda: calculus.jacobian(axb, X) @ randn(3), ValueError, r"\(4, 2\)"),
        (lambda: calculus.Kronecker(randn(2, 2), randn(2, 2), (5,), (4,)), ValueError, "4 x 4"),
        (lambda: calculus.Identity(3) @ calculus.Identity(4), ValueError, "chain rule"),
    ]:
        with pytest.raises(error, match=text):
            call()


# ---- second order and expansions -------------------------------------------------------


def test_hessians_of_quadratic_forms():
    M, b, x = randn(5, 4), randn(5), randn(4)
    close(func.hessian(lambda x: ((M @ x - b) ** 2).sum())(x), 2 * M.numpy().T @ M.numpy())
    Q = randn(4, 4)
    close(func.grad(lambda x: x @ (Q @ x))(x), (Q.numpy() + Q.numpy().T) @ x.numpy())
    close(func.hessian(lambda x: x @ (Q @ x))(x), Q.numpy() + Q.numpy().T)


def test_hessian_diagonal():
    x = randn(3, 2)
    close(calculus.hessian_diag(lambda x: (x**4).sum(), x), 12 * x.numpy() ** 2)
    Q, y = randn(6, 6), randn(6)
    for chunk in (None, 4):
        found = calculus.hessian_diag(lambda x: x @ (Q @ x), y, chunk_size=chunk)
        close(found, 2 * np.diag(Q.numpy()))


def paraboloid(x, y):
    return x**2 + y**2


def test_expansion_of_a_paraboloid():
    at = np.array(1.0), np.array(2.0)
    expansion = calculus.taylor(paraboloid, *at, order=2)
    close(expansion.value, 5.0)
    close(np.array([array(g) for g in expansion.gradient]), [2.0, 4.0])
    close(np.array([[array(h) for h in row] for row in expansion.hessian]), 2 * np.eye(2))
    there = np.array(-3.0), np.array(0.5)
    close(expansion(*there), 9.25)
    plane = calculus.tangent_plane(paraboloid, *at)
    close(plane.normal, [2.0, 4.0, -1.0])
    close(plane(*there), 5 + 2 * (-3 - 1) + 4 * (0.5 - 2))
    close(calculus.directional(paraboloid, at, (np.array(0.6), np.array(0.8))), 2 * 0.6 + 4 * 0.8)


@pytest.mark.parametrize("order", range(5))
def test_taylor_of_the_exponential(order):
    from math import factorial

    x, h = randn(3), 0.3
    terms = calculus.taylor(tg.exp, x, order=order).terms(tg.tensor(x.numpy() + h))
    assert len(terms) == order + 1
    for k, term in enumerate(terms):
        close(term, np.exp(x.numpy()) * h**k / factorial(k))


@pytest.mark.parametrize(
    ("f", "at", "kind"),
    [
        (lambda x: (x * x).sum(), [0.0, 0.0], "minimum"),
        (lambda x: -(x * x).sum(), [0.0, 0.0], "maximum"),
        (lambda x: x[0] ** 2 - x[1] ** 2, [0.0, 0.0], "saddle"),
        (lambda x: (x**4).sum(), [0.0, 0.0], "undecided"),
        (lambda x: (x * x).sum(), [0.0, 0.1], "not critical"),
    ],
)
def test_kinds_of_points(f, at, kind):
    x = tg.tensor(np.array(at))
    assert calculus.critical_point(f, x).kind == kind
    assert calculus.is_minimum(f, x) is (kind == "minimum")


# ---- scores -------------------------------------------------------


def logistic(parameters, x, y):
    z = parameters["w"] @ x + parameters["b"]
    return y * z - tg.log1p(tg.exp(z))


def logistic_data(count=400, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((count, 2))
    y = (rng.uniform(size=count) < 1 / (1 + np.exp(-(x @ [1.0, -0.5] + 0.3)))).astype(float)
    return x, y


def test_scores_and_their_covariance():
    x, y = logistic_data()
    parameters = {"w": np.array([0.5, 0.2]), "b": np.array(0.1)}
    p = 1 / (1 + np.exp(-(x @ parameters["w"] + 0.1)))
    expected = (y - p)[:, None] * np.column_stack([np.ones(len(x)), x])  # keys in order: b, w
    close(calculus.scores(logistic, parameters, x, y), expected)
    close(calculus.opg_covariance(logistic, parameters, x, y), np.linalg.inv(expected.T @ expected))
    with pytest.raises(ValueError, match="do not determine"):
        calculus.opg_covariance(logistic, parameters, x[:2], y[:2])


@pytest.mark.parametrize(("dtype", "within"), [("float32", 1e-3), ("float64", 1e-6)])
def test_bhhh_converges_in_both_precisions(dtype, within):
    start, counts = np.array(1.0, dtype), np.array([1.0, 2.0, 6.0, 2.0], dtype)
    found = tg.optim.bhhh(lambda rate, x: x * rate.log() - rate, start, counts)
    assert found.converged
    assert found.parameters.dtype == dtype
    assert abs(found.parameters.item() - 2.75) < within


def test_bhhh_finds_the_maximum():
    from scipy.optimize import minimize

    x, y = logistic_data()
    start = {"w": np.zeros(2), "b": np.array(0.0)}
    found = tg.optim.bhhh(logistic, start, x, y)
    assert found.converged
    design = np.column_stack([np.ones(len(x)), x])
    objective = lambda t: -(y * (design @ t) - np.log1p(np.exp(design @ t))).sum()  # noqa: E731
    expected = minimize(objective, np.zeros(3), method="BFGS", options={"gtol": 1e-9})
    estimate = np.r_[array(found.parameters["b"]), array(found.parameters["w"])]
    assert np.abs(estimate - expected.x).max() < 1e-5
    assert abs(found.log_likelihood + expected.fun) < 1e-8
    p = 1 / (1 + np.exp(-design @ estimate))
    s = (y - p)[:, None] * design
    close(found.covariance, np.linalg.inv(s.T @ s))
    close(found.standard_errors, np.sqrt(np.diag(np.linalg.inv(s.T @ s))))
