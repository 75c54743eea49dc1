"""vmap: places of results, random numbers, errors; transforms nested in any order."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

import tilegrad as tg
from tilegrad import func


def randn(*shape, seed=0):
    return tg.tensor(np.random.default_rng([seed, *shape]).standard_normal(shape))


# ---- where results go ----------------------------------------------------------------------------


@pytest.mark.parametrize("chunk_size", [None, 2, 7])
def test_out_dims(chunk_size):
    x = randn(5, 3, 2)
    for axis in (0, 1, 2, -1, -3):
        out = func.vmap(lambda m: m * 2, out_dims=axis, chunk_size=chunk_size)(x)
        np.testing.assert_array_equal(out.numpy(), np.moveaxis(2 * x.numpy(), 0, axis))
    shared = randn(4)
    both = func.vmap(lambda m: (m.sum(), shared * 3), out_dims=(0, None), chunk_size=chunk_size)
    total, same = both(x)
    np.testing.assert_allclose(total.numpy(), x.numpy().sum((1, 2)))
    np.testing.assert_array_equal(same.numpy(), 3 * shared.numpy())


def test_out_dims_that_do_not_fit():
    x = randn(5, 3)
    with pytest.raises(ValueError, match="out_dims None for a result that differs by member"):
        func.vmap(lambda m: m, out_dims=None)(x)
    with pytest.raises(ValueError, match=r"out_dims 2 for a result of shape \(3,\)"):
        func.vmap(lambda m: m, out_dims=2)(x)


# ---- random numbers ------------------------------------------------------------------------------

DRAWS = {
    "rand": lambda x: tg.rand(3), "randn_like": tg.randn_like,
    "bernoulli": lambda x: tg.bernoulli(x * 0 + 0.5), "randint": lambda x: tg.randint(0, 9, (3,)),
    "dropout": lambda x: tg.nn.functional.dropout(x * 0 + 1), "randperm": lambda x: tg.randperm(9),
}  # fmt: skip


@pytest.mark.parametrize("name", DRAWS)
def test_random_numbers_in_a_batch(name):
    draw, x = DRAWS[name], randn(40, 3)
    with pytest.raises(RuntimeError, match="randomness='same'"):
        func.vmap(draw)(x)
    tg.manual_seed(0)
    different = func.vmap(draw, randomness="different")(x).numpy()
    assert different.shape[0] == 40
    assert len(np.unique(different, axis=0)) > 5
    if name != "bernoulli":
        same = func.vmap(draw, randomness="same")(x).numpy()
        assert len(np.unique(same, axis=0)) == 1
    assert draw(x[0]).shape == different.shape[1:]  # no batch stays open


def test_random_numbers_of_nested_batches():
    tg.manual_seed(1)
    inner = func.vmap(lambda x: x + tg.rand(()), randomness="different")
    out = func.vmap(inner, randomness="different")(tg.zeros(4, 5))
    assert len(np.unique(out.numpy())) == 20
    inner = func.vmap(lambda x: x + tg.rand(()), randomness="same")
    out = func.vmap(inner, randomness="different")(tg.zeros(4, 5)).numpy()
    assert len(np.unique(out)) == 4
    assert (out == out[:, :1]).all()
    with pytest.raises(ValueError, match="one of error, same, different"):
        func.vmap(tg.sin, randomness="maybe")


def test_gradients_per_sample_with_dropout():
    def loss(w, x):
        return (tg.nn.functional.dropout(w) * x).sum()

    w, x = tg.ones(100), tg.ones(3, 100)
    with pytest.raises(RuntimeError, match="randomness"):
        func.per_sample_grad(loss)(w, x)
    g = func.per_sample_grad(loss, randomness="different")(w, x).numpy()
    assert set(np.unique(g)) == {0.0, 2.0}
    assert not (g[0] == g[1]).all()


# ---- nesting -------------------------------------------------------------------------------------

SLOPE = randn(3, seed=4)


def grad_of(f):
    return lambda x: func.grad(lambda y: f(y).sum())(x)


def jvp_of(f):
    return lambda x: func.jvp(f, (x,), (SLOPE,))[1]


def jacobian_of(f):
    return lambda x: func.jacrev(f)(x).sum(0)


def vmap_of(f):
    """A batch of three multiples, summed: 1 + 2 + 3 with the factors."""
    factors = tg.tensor(np.array([1.0, 2.0, 3.0]))
    return lambda x: func.vmap(lambda c: f(x) * c)(factors).sum(0)


@pytest.mark.parametrize("order", list(permutations(["grad", "jvp", "vmap"])), ids="-".join)
def test_three_transforms_in_any_order(order):
    wraps = {"grad": grad_of, "jvp": jvp_of, "vmap": vmap_of}
    f, x = tg.sin, randn(3, seed=5)
    for name in order:
        f = wraps[name](f)
    # all are linear and act entry by entry: 6 (batch) times the second derivative along the slope
    np.testing.assert_allclose(f(x).numpy(), -6 * np.sin(x.numpy()) * SLOPE.numpy(), rtol=1e-12)


@pytest.mark.parametrize("order", list(permutations(["jacobian", "jvp", "vmap"])), ids="-".join)
def test_jacobians_among_them(order):
    wraps = {"jacobian": jacobian_of, "jvp": jvp_of, "vmap": vmap_of}
    f, x = tg.exp, randn(3, seed=6)
    for name in order:
        f = wraps[name](f)
    np.testing.assert_allclose(f(x).numpy(), 6 * np.exp(x.numpy()) * SLOPE.numpy(), rtol=1e-12)


# ---- arguments of the transforms -----------------------------------------------------------------


def test_hessian_by_several_arguments():
    a, b = randn(2), randn(3, seed=1)
    (aa, ab), (ba, bb) = func.hessian(lambda a, b: (a**2).sum() * (b**3).sum(), argnums=(0, 1))(
        a, b
    )
    x, y = a.numpy(), b.numpy()
    np.testing.assert_allclose(aa.numpy(), 2 * np.eye(2) * (y**3).sum())
    np.testing.assert_allclose(ab.numpy(), np.outer(2 * x, 3 * y**2))
    np.testing.assert_allclose(ba.numpy(), np.outer(3 * y**2, 2 * x))
    np.testing.assert_allclose(bb.numpy(), np.diag(6 * y) * (x**2).sum())


@pytest.mark.parametrize("transform", [func.jacrev, func.jacfwd])
@pytest.mark.parametrize("chunk_size", [None, 1, 4])
def test_jacobians_with_aux_in_chunks(transform, chunk_size):
    A, x = randn(4, 3), randn(3, seed=2)
    jacobian, aux = transform(
        lambda x: (tg.sin(A @ x), {"norm": (x * x).sum()}), has_aux=True, chunk_size=chunk_size
    )(x)
    expected = np.cos(A.numpy() @ x.numpy())[:, None] * A.numpy()
    np.testing.assert_allclose(jacobian.numpy(), expected, rtol=1e-13)
    np.testing.assert_allclose(aux["norm"].item(), (x.numpy() ** 2).sum())
