"""Transforms of functions: closed forms, torch.func as oracle, nesting, and who needs a graph."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

import tilegrad as tg
from tilegrad import func
from tilegrad.func import pytree


def randn(*shape, seed=0):
    return tg.tensor(np.random.default_rng([seed, *shape]).standard_normal(shape))


def close(found, expected, tolerance=1e-12):
    found, expected = np.asarray(found), np.asarray(expected)
    assert found.shape == expected.shape
    scale = max(1.0, float(np.abs(expected).max(initial=0)))
    assert np.abs(found - expected).max(initial=0) <= tolerance * scale


def cubes(x):
    return (x * x * x).sum()


# ---- first order -----------------------------------------------------------------------------


def test_grad_and_value():
    x = randn(4)
    close(func.grad(cubes)(x), 3 * x.numpy() ** 2)
    value, gradient = func.value_and_grad(cubes)(x)
    assert not value.requires_grad
    assert not gradient.requires_grad
    close(value, (x.numpy() ** 3).sum())
    gradient_first, _ = func.grad_and_value(cubes)(x)
    close(gradient_first, gradient)


def test_argnums_and_aux():
    a, b = randn(3), randn(3, seed=1)

    def f(a, b):
        return (a * a * b).sum(), {"sum": a + b}

    (by_a, by_b), aux = func.grad(f, argnums=(0, 1), has_aux=True)(a, b)
    close(by_a, 2 * a.numpy() * b.numpy())
    close(by_b, a.numpy() ** 2)
    close(aux["sum"], a.numpy() + b.numpy())
    assert not aux["sum"].requires_grad
    close(func.grad(f, argnums=-1, has_aux=True)(a, b)[0], by_b)


def test_trees():
    tree = {"w": randn(2, 3), "b": [randn(2), (randn(2, seed=1),)]}

    def f(tree, x):
        return ((tree["w"] @ x + tree["b"][0]) * tree["b"][1][0]).sum()

    x = randn(3)
    gradient = func.grad(f)(tree, x)
    close(gradient["w"], np.outer(tree["b"][1][0].numpy(), x.numpy()))
    close(gradient["b"][0], tree["b"][1][0].numpy())
    jacobian = func.jacrev(lambda t: {"y": t["w"] @ x})(tree)
    assert jacobian["y"]["w"].shape == (2, 2, 3)
    close(jacobian["y"]["b"][0], np.zeros((2, 2)))
    forward = func.jacfwd(lambda t: {"y": t["w"] @ x})(tree)
    for a, b in zip(pytree.flatten(jacobian)[0], pytree.flatten(forward)[0], strict=True):
        close(a, b)


def test_flatten_is_inverted_by_unflatten():
    tree = {"b": (1, [2, {"z": 3}]), "a": []}
    leaves, structure = pytree.flatten(tree)
    assert leaves == [1, 2, 3]
    assert pytree.unflatten(structure, leaves) == tree


def test_vjp_of_a_product():
    A, B, G = randn(3, 4), randn(4, 5), randn(3, 5)
    product, pullback = func.vjp(tg.matmul, A, B)
    close(product, A.numpy() @ B.numpy())
    for _ in range(2):
        by_a, by_b = pullback(G)
        close(by_a, G.numpy() @ B.numpy().T)
        close(by_b, A.numpy().T @ G.numpy())
    _, tangent = func.jvp(tg.matmul, (A, B), (A, B))
    close(tangent, 2 * A.numpy() @ B.numpy())


def test_pullback_of_a_composition_is_the_composition_of_pullbacks():
    W, x, g = randn(3, 4), randn(4), randn(3)
    inner, outer = (lambda x: W @ x), tg.tanh
    _, both = func.vjp(lambda x: outer(inner(x)), x)
    middle, first = func.vjp(inner, x)
    _, second = func.vjp(outer, middle)
    close(both(g)[0], first(second(g)[0])[0], 1e-15)


def test_pushforward_and_pullback_are_adjoint():
    W, x, t, g = randn(3, 4), randn(4), randn(4, seed=2), randn(3)
    f = lambda x: tg.sin(W @ x) * x[:3]  # noqa: E731
    _, pushed = func.jvp(f, (x,), (t,))
    _, pullback = func.vjp(f, x)
    close((pushed * g).sum(), (pullback(g)[0] * t).sum(), 1e-13)


def test_unused_argument_has_gradient_zero():
    close(func.grad(lambda a, b: (a * a).sum(), 1)(randn(3), randn(2)), np.zeros(2))
    close(func.jacfwd(lambda x: tg.tensor(np.ones(2)))(randn(3)), np.zeros((2, 3)))


def test_linearize_runs_the_function_once():
    calls = []
    W, x = randn(3, 4), randn(4)

    def f(x):
        calls.append(1)
        return tg.sin(W @ x)

    value, derivative = func.linearize(f, x)
    for seed in range(3):
        t = randn(4, seed=seed)
        close(derivative(t), np.cos(W.numpy() @ x.numpy()) * (W.numpy() @ t.numpy()))
    assert len(calls) == 1
    close(value, np.sin(W.numpy() @ x.numpy()))


def test_directional_derivatives_of_several_arguments():
    a, b = randn(3), randn(3, seed=1)
    _, derivative = func.linearize(lambda a, b: a * b, a, b)
    close(derivative(b, a), a.numpy() ** 2 + b.numpy() ** 2)


# ---- nesting -----------------------------------------------------------------------------------

SECOND = {
    "jacfwd(jacrev)": lambda f: func.jacfwd(func.jacrev(f)),
    "jacrev(jacfwd)": lambda f: func.jacrev(func.jacfwd(f)),
    "jacrev(jacrev)": lambda f: func.jacrev(func.jacrev(f)),
    "jacfwd(jacfwd)": lambda f: func.jacfwd(func.jacfwd(f)),
    "jacrev(grad)": lambda f: func.jacrev(func.grad(f)),
    "jacfwd(grad)": lambda f: func.jacfwd(func.grad(f)),
    "hessian": func.hessian,
    "chunked": lambda f: func.hessian(f, chunk_size=2),
    "linearize(grad)": lambda f: (
        lambda x: func.vmap(func.linearize(func.grad(f), x)[1])(tg.tensor(np.eye(x.shape[0])))
    ),
    "vmap(hvp)": lambda f: (
        lambda x: func.vmap(lambda t: func.hvp(f, x, t))(tg.tensor(np.eye(x.shape[0])))
    ),
}


@pytest.mark.parametrize("name", SECOND)
def test_second_derivatives(name):
    B, x = randn(4, 4), randn(4)

    def f(x):
        return x @ (B @ x) + cubes(x)

    hessian = SECOND[name](f)(x)
    assert not hessian.requires_grad
    close(hessian, B.numpy() + B.numpy().T + np.diag(6 * x.numpy()))


@pytest.mark.parametrize(
    "outer", list(itertools.product([func.jacrev, func.jacfwd], repeat=2)), ids=lambda o: "-".join(
        t.__name__ for t in o
    )
)  # fmt: skip
@pytest.mark.parametrize("inner", [func.jacrev, func.jacfwd, func.grad])
def test_third_derivatives(outer, inner):
    third = outer[0](outer[1](inner(cubes)))(randn(3))
    expected = np.zeros((3, 3, 3))
    expected[(range(3),) * 3] = 6
    close(third, expected)


def test_perturbations_are_not_confused():
    # d/dx [x d/dy (x y)] = d/dx x^2 = 2 x, by every combination of modes
    def forward(f, x):
        return func.jvp(f, (x,), (tg.tensor(np.ones(x.shape)),))[1]

    def reverse(f, x):
        return func.grad(f)(x)

    x, y = tg.tensor(np.array(3.0)), tg.tensor(np.array(5.0))
    for outer, inner in itertools.product([forward, reverse], repeat=2):
        close(outer(lambda x, inner=inner: x * inner(lambda y: x * y, y), x), 6.0)


def test_closures_over_outer_variables_and_leaves():
    x, t = randn(4), randn(4, seed=1)
    leaf = tg.tensor(np.ones(4), requires_grad=True)
    outer = func.grad(lambda x: func.grad(lambda y: (x * y * y).sum())(t).sum())
    close(outer(x), 2 * t.numpy())
    assert not outer(x).requires_grad
    gradient = func.grad(lambda y: (y * y * leaf).sum())(t)
    assert gradient.requires_grad
    gradient.sum().backward()
    close(leaf.grad, 2 * t.numpy())


def test_gradient_with_respect_to_a_tangent():
    x, t = randn(4), randn(4, seed=1)

    def f(a):  # a H t
        return func.jvp(func.grad(cubes), (x,), (t * a,))[1].sum()

    close(func.grad(f)(tg.tensor(np.array(2.0))), (6 * x.numpy() * t.numpy()).sum())
    leaf = tg.tensor(t.numpy(), requires_grad=True)
    func.jvp(func.grad(cubes), (x,), (leaf,))[1].sum().backward()
    close(leaf.grad, 6 * x.numpy())


def test_argument_that_is_a_leaf_stays_in_the_graph():
    leaf = tg.tensor(np.array([1.0, 2.0]), requires_grad=True)
    func.grad(cubes)(leaf).sum().backward()
    close(leaf.grad, 6 * leaf.detach().numpy())


def test_outer_no_grad_switches_the_outer_graph_off_only():
    leaf = tg.tensor(np.array([1.0, 2.0]), requires_grad=True)
    with tg.no_grad():
        gradient = func.grad(cubes)(leaf)
    assert not gradient.requires_grad
    close(gradient, 3 * leaf.detach().numpy() ** 2)


def test_no_graph_is_kept_where_none_is_needed(monkeypatch):
    from tilegrad.func import variables

    asked = []
    run = variables.engine.run

    def spy(roots, **kwargs):
        asked.append(kwargs["create_graph"])
        return run(roots, **kwargs)

    monkeypatch.setattr(variables.engine, "run", spy)
    func.grad(cubes)(randn(3))
    func.hessian(cubes)(randn(3))
    assert asked == [False] * len(asked)
    func.grad(lambda x: func.grad(cubes)(x).sum())(randn(3))
    assert asked[-2:] == [True, False]


# ---- vmap --------------------------------------------------------------------------------------


def test_vmap_dims():
    a, b = randn(5, 3), randn(3, 5, seed=1)
    close(func.vmap(lambda a, b: a @ b, in_dims=(0, 1))(a, b), (a.numpy() * b.numpy().T).sum(1))
    close(func.vmap(lambda a: a * 2, out_dims=1)(a), 2 * a.numpy().T)
    close(func.vmap(lambda a, b: a @ b, in_dims=(0, None))(a, b), a.numpy() @ b.numpy())
    dims = ({"a": 0, "b": None},)
    out = func.vmap(lambda t: {"s": t["a"].sum(), "p": t["a"] + t["b"]}, in_dims=dims)(
        {"a": a, "b": randn(3)}
    )
    assert out["p"].shape == (5, 3)
    close(out["s"], a.numpy().sum(1))
    close(func.vmap(lambda a: tg.tensor(1.5))(a), np.full(5, 1.5))


def test_vmap_nests():
    a, b = randn(4, 3), randn(5, 3, seed=1)
    outer = func.vmap(lambda x: func.vmap(lambda y: x @ y)(b))(a)
    close(outer, a.numpy() @ b.numpy().T)


def test_vmap_in_chunks():
    a = randn(7, 3)
    close(func.vmap(tg.sin, chunk_size=3)(a), np.sin(a.numpy()))


def network(W, V, x, y):
    return ((V * tg.tanh(W @ x)).sum() - y) ** 2


def torch_network(W, V, x, y):
    import torch

    return ((V * torch.tanh(W @ x)).sum() - y) ** 2


ARGUMENTS = [(5, 4), (5,), (7, 4), (7,)]


def test_per_sample_gradients():
    W, V, X, Y = (randn(*shape) for shape in ARGUMENTS)
    found = func.per_sample_grad(network, argnums=(0, 1))(W, V, X, Y)
    for i in range(7):
        one = func.grad(network, (0, 1))(W, V, X[i], Y[i])
        close(found[0][i], one[0])
        close(found[1][i], one[1])
    whole = func.grad(lambda W: func.vmap(network, (None, None, 0, 0))(W, V, X, Y).sum())(W)
    close(whole, found[0].numpy().sum(0))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch.func imports torch.jit
def test_derivatives_through_per_sample_gradients():
    torch = pytest.importorskip("torch")
    W, V, X, Y = (randn(*shape) for shape in ARGUMENTS)
    tW, tV, tX, tY = (torch.tensor(v.numpy()) for v in (W, V, X, Y))

    def ours(W):
        return (func.per_sample_grad(network, in_dims=(None, None, 0, 0))(W, V, X, Y) ** 2).sum()

    def theirs(W):
        each = torch.func.vmap(torch.func.grad(torch_network), (None, None, 0, 0))
        return (each(W, tV, tX, tY) ** 2).sum()

    close(func.grad(ours)(W), torch.func.grad(theirs)(tW))
    expected = torch.func.hessian(theirs)(tW)
    for transform in (func.hessian, lambda f: func.jacrev(func.jacfwd(f))):
        close(transform(ours)(W), expected)


def test_jvp_and_vmap_commute():
    W, x, t = randn(3, 4), randn(5, 4), randn(5, 4, seed=1)

    def f(x):
        return tg.sin(W @ x)

    one_by_one = func.vmap(lambda x, t: func.jvp(f, (x,), (t,))[1])(x, t)
    at_once = func.jvp(func.vmap(f), (x,), (t,))[1]
    close(one_by_one, at_once)


def test_custom_function_in_every_transform():
    class Cube(tg.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            y = x * x * x
            ctx.save_for_backward(x, y)
            return y

        @staticmethod
        def backward(ctx, g):
            x, _ = ctx.saved_tensors
            return g * 3 * x * x

        @staticmethod
        def jvp(ctx, t):
            x, _ = ctx.saved_tensors
            return 3 * x * x * t

    x = randn(4)
    f = lambda x: Cube.apply(x).sum()  # noqa: E731
    close(func.vmap(Cube.apply)(x), x.numpy() ** 3)
    close(func.vmap(func.grad(Cube.apply))(x), 3 * x.numpy() ** 2)
    close(func.jacrev(Cube.apply)(x), np.diag(3 * x.numpy() ** 2))
    close(func.jacrev(func.grad(f))(x), np.diag(6 * x.numpy()))


def test_an_operation_without_a_batched_form_runs_member_by_member():
    from tilegrad.autograd.op import OPS, Op

    op = Op("no_batched_form", lambda x: np.array(x), inputs=["x"], vjp={"x": lambda g: g})
    del OPS["no_batched_form"]
    close(func.vmap(op)(randn(3)), randn(3).numpy())
    close(func.jacrev(lambda x: op(x) * op(x))(randn(3)), np.diag(2 * randn(3).numpy()))


def test_cross_entropy_with_labels_of_each_member():
    net = tg.nn.Sequential(tg.nn.Linear(4, 5), tg.nn.ReLU(), tg.nn.Linear(5, 3)).double()
    x, y = randn(6, 4), tg.tensor(np.array([0, 1, 2, 1, 0, 2]))

    def loss(x, y):
        return tg.nn.functional.cross_entropy(net(x[None]), y[None])

    found = func.vmap(func.grad(loss))(x, y)
    for i in range(6):
        close(found[i].detach(), func.grad(loss)(x[i], y[i]).detach())


# ---- errors --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: func.grad(lambda x: x)(randn(3)), RuntimeError, "one entry"),
        (lambda: func.grad(cubes, argnums=2)(randn(3)), ValueError, "argnums=2"),
        (lambda: func.grad(cubes)("x"), TypeError, "found a str"),
        (lambda: func.vjp(tg.sin, randn(3))[1](randn(4)), ValueError, r"\(4,\)"),
        (lambda: func.jvp(tg.sin, (randn(3),), (randn(4),)), ValueError, r"\(4,\)"),
        (lambda: func.jvp(tg.sin, randn(3), randn(3)), TypeError, "tuples"),
        (lambda: func.vmap(tg.matmul)(randn(3), randn(4)), ValueError, r"\[3, 4\] members"),
        (lambda: func.vmap(tg.sin, in_dims=2)(randn(3)), ValueError, "in_dims 2"),
        (lambda: func.vmap(lambda x: x if x > 0 else -x)(randn(3)), RuntimeError, "where"),
        (lambda: func.vmap(lambda x: x.numpy())(randn(3)), RuntimeError, "no single value"),
    ],
)
def test_errors(call, error, text):
    with pytest.raises(error, match=text):
        call()


def test_a_module_is_a_function_of_its_parameters():
    network = tg.nn.Sequential(tg.nn.Linear(3, 4), tg.nn.BatchNorm1d(4), tg.nn.Linear(4, 1))
    network.double().eval()
    x = tg.tensor(np.random.default_rng(0).standard_normal((5, 3)))
    values = {name: p.detach().clone() for name, p in network.named_parameters()}
    before = {name: p.detach().numpy().copy() for name, p in network.state_dict().items()}

    def loss(parameters: dict[str, Any], sample: Any) -> Any:
        return func.functional_call(network, parameters, sample[None]).square().sum()

    found = func.vmap(func.grad(loss), in_dims=(None, 0))(values, x)
    for i in range(5):
        network.zero_grad()
        network(x[i : i + 1]).square().sum().backward()
        for name, parameter in network.named_parameters():
            np.testing.assert_allclose(found[name].numpy()[i], parameter.grad.numpy(), rtol=1e-12)
    for name, value in network.state_dict().items():
        np.testing.assert_array_equal(value.detach().numpy(), before[name])
    with pytest.raises(KeyError, match=r"9\.weight"):
        func.functional_call(network, {"9.weight": x}, x)
