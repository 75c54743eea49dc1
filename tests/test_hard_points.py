"""Points where derivatives are easily NaN or wrong: zeros, ties, branches not taken."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tilegrad as tg
from tilegrad.autograd import gradcheck, gradgradcheck


def gradient(f: Any, *values: Any) -> list[Any]:
    xs = [tg.tensor(np.array(v, np.float64), requires_grad=True) for v in values]
    found = tg.autograd.grad(f(*xs).sum(), xs, allow_unused=True, materialize_grads=True)
    return [g.numpy() for g in found]


NOT_TAKEN = {
    "log": lambda x: tg.log(x), "sqrt": lambda x: tg.sqrt(x), "reciprocal": lambda x: 1 / x,
    "rsqrt": lambda x: tg.rsqrt(x), "quotient": lambda x: (x * 2) / x, "root": lambda x: x**0.5,
    "inverse power": lambda x: x**-1.5, "log2": lambda x: tg.log2(x), "log10": lambda x: x.log10(),
    "atanh": lambda x: tg.atanh(1 + x), "asin": lambda x: tg.asin(1 - x), "logit": tg.logit,
    "log1p": lambda x: tg.log1p(x - 1), "acosh": lambda x: tg.acosh(1 + x),
}  # fmt: skip


@pytest.mark.parametrize("name", NOT_TAKEN)
def test_branch_not_taken_gives_no_nan(name: str):
    function = NOT_TAKEN[name]
    x = tg.tensor(np.array([0.0, -1.0, 0.3]), requires_grad=True)
    taken = np.array([False, False, True])
    (g,) = tg.autograd.grad(tg.where(tg.tensor(taken), function(x), 5.0).sum(), x,
                            create_graph=True)  # fmt: skip
    assert np.all(g.detach().numpy()[:2] == 0), g
    if name not in ("reciprocal", "quotient"):  # a division by x has no second derivative there
        (h,) = tg.autograd.grad(g.sum(), x)
        assert h.numpy()[0] == 0, h
    alone = tg.tensor(np.array([0.3]), requires_grad=True)
    (expected,) = tg.autograd.grad(function(alone).sum(), alone)
    np.testing.assert_allclose(g.detach().numpy()[2], expected.numpy()[0], rtol=1e-13,
                               equal_nan=True)  # fmt: skip


#: Functions that are constant at 0 by a branch, with their derivatives elsewhere.
BY_BRANCH = {
    "quotient": (lambda x: tg.where(x != 0, 3.0 / x, 0.0), lambda x: (-3 / x**2, 6 / x**3)),
    "entropy": (lambda x: tg.where(x > 0, x * tg.log(x), 0.0), lambda x: (np.log(x) + 1, 1 / x)),
    "xlogy": (lambda x: tg.where(x > 0, tg.xlogy(x, x), 0.0), lambda x: (np.log(x) + 1, 1 / x)),
    "sinc": (lambda x: tg.where(x != 0, tg.sin(x) / x, 1.0),
             lambda x: (np.cos(x) / x - np.sin(x) / x**2,
                        -np.sin(x) / x - 2 * np.cos(x) / x**2 + 2 * np.sin(x) / x**3)),
    "oscillation": (lambda x: tg.where(x != 0, x * tg.sin(1 / x), 0.0),
                    lambda x: (np.sin(1 / x) - np.cos(1 / x) / x, -np.sin(1 / x) / x**3)),
    "bump": (lambda x: tg.where(x > 0, tg.exp(-1 / x), 0.0),
             lambda x: (np.exp(-1 / x) / x**2, np.exp(-1 / x) * (1 / x**4 - 2 / x**3))),
    "root": (lambda x: tg.where(x > 0, x**0.5, 0.0), lambda x: (0.5 / x**0.5, -0.25 / x**1.5)),
    "square of log": (lambda x: tg.where(x > 0, tg.log(x) ** 2, 0.0),
                      lambda x: (2 * np.log(x) / x, (2 - 2 * np.log(x)) / x**2)),
    "masked": (lambda x: (x.log() * x).masked_fill(x <= 0, 0.0),
               lambda x: (np.log(x) + 1, 1 / x)),
    "twice": (lambda x: tg.where(x != 0, 1 / (1 / x), 0.0), lambda x: (1 + 0 * x, 0 * x)),
}  # fmt: skip


@pytest.mark.parametrize("name", BY_BRANCH)
def test_branch_not_taken_to_second_order_in_every_mode(name: str):
    function, derivatives = BY_BRANCH[name]
    x, ones = tg.tensor(np.array([0.0, 0.7, -0.0])), tg.tensor(np.ones(3))

    def total(x: Any) -> Any:
        return function(x).sum()

    def along(f: Any) -> Any:
        return lambda x: tg.func.jvp(f, (x,), (ones,))[1]

    first, second = derivatives(0.7)
    leaf = tg.tensor(x.numpy(), requires_grad=True)
    (g,) = tg.autograd.grad(total(leaf), leaf, create_graph=True)
    (h,) = tg.autograd.grad(g.sum(), leaf, allow_unused=True, materialize_grads=True)
    found = {
        "reverse": (g.detach(), first), "forward": (along(function)(x), first),
        "reverse over reverse": (h, second), "forward over reverse": (
            along(tg.func.grad(total))(x), second),
        "forward over forward": (along(along(function))(x), second),
        "reverse over forward": (
            tg.func.grad(lambda x: along(function)(x).sum())(x), second),
        "Hessian": (tg.func.hessian(total)(x).diagonal(), second),
    }  # fmt: skip
    for mode, (value, expected) in found.items():
        np.testing.assert_allclose(value.numpy(), [0, expected, 0], rtol=1e-12, atol=1e-14,
                                   err_msg=mode)  # fmt: skip


def test_xlogy_at_zero():
    x, y = gradient(tg.xlogy, [0.0, 0.0, 0.0, 2.0], [0.0, 2.0, -1.0, 0.5])
    np.testing.assert_allclose(x, [0, np.log(2), 0, np.log(0.5)])
    np.testing.assert_allclose(y, [0, 0, 0, 4])


def test_guarded_division_keeps_second_derivatives():
    """(x / y - 2)^2 at its minimum: the gradient is 0, the Hessian is not."""
    x = tg.tensor(np.array(6.0), requires_grad=True)
    (g,) = tg.autograd.grad((x / tg.tensor(np.array(3.0)) - 2) ** 2, x, create_graph=True)
    assert g.item() == 0
    np.testing.assert_allclose(tg.autograd.grad(g, x)[0].item(), 2 / 9, rtol=1e-14)
    z = tg.tensor(np.array(np.e), requires_grad=True)
    (g,) = tg.autograd.grad((tg.log(z) - 1) ** 2, z, create_graph=True)
    np.testing.assert_allclose(tg.autograd.grad(g, z)[0].item(), 2 / np.e**2, rtol=1e-12)


@pytest.mark.parametrize("p", [2, 1, 3, 2.5, np.inf, "fro"])
def test_norm_at_zero_has_the_subgradient_zero(p: Any):
    (g,) = gradient(lambda x: tg.norm(x, p), [0.0, 0.0, 0.0])
    np.testing.assert_array_equal(g, 0)


@pytest.mark.parametrize("f", [tg.std, lambda x: tg.hypot(x, x), lambda x: tg.atan2(x, x),
                               lambda x: tg.cdist(x[None], x[None])])  # fmt: skip
def test_subgradient_zero_at_kinks(f: Any):
    (g,) = gradient(f, [0.0, 0.0])
    np.testing.assert_array_equal(g, 0)


def test_pow_at_zero():
    x, y = gradient(tg.pow, [0.0, 0.0, 0.0, 2.0], [0.0, 1.0, 2.0, 0.0])
    np.testing.assert_array_equal(x, [0, 1, 0, 0])
    np.testing.assert_allclose(y, [0, 0, 0, np.log(2)])
    base = tg.tensor(np.array([0.0, 0.0, 0.0]), requires_grad=True)
    for exponent, first, second in ((0, 0, 0), (1, 1, 0), (2, 0, 2), (3, 0, 0)):
        (g,) = tg.autograd.grad((base**exponent).sum(), base, create_graph=True)
        np.testing.assert_array_equal(g.detach().numpy(), first)
        if g.requires_grad:  # the gradient of x^0 depends on nothing
            (h,) = tg.autograd.grad(g.sum(), base, allow_unused=True, materialize_grads=True)
            np.testing.assert_array_equal(h.numpy(), second)


@pytest.mark.parametrize("values", [[0.0, 2.0, 3.0], [0.0, 0.0, 3.0], [0.0, 0.0, 0.0], [2.0, 1.0]])
@pytest.mark.parametrize("f", [tg.prod, lambda x: tg.cumprod(x, 0)], ids=["prod", "cumprod"])
def test_products_with_zeros_to_second_order(f: Any, values: list[float]):
    x = tg.tensor(np.array(values), requires_grad=True)
    assert gradcheck(f, x, rtol=1e-7, atol=1e-7)
    assert gradgradcheck(f, x, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("f", "expected"),
    [
        (tg.amax, [0.5, 0.0, 0.5]), (tg.max, [0.5, 0.0, 0.5]), (tg.amin, [0.0, 1.0, 0.0]),
        (lambda x: tg.max(x, 0).values, [1.0, 0.0, 0.0]),
        (lambda x: tg.maximum(x, tg.tensor(3.0)), [0.5, 0.0, 0.5]),
        (lambda x: tg.relu(x - 3), [0.0, 0.0, 0.0]), (lambda x: abs(x - 3), [0.0, -1.0, 0.0]),
        (lambda x: tg.clamp(x, 1.0, 3.0), [1.0, 1.0, 1.0]), (tg.median, [1.0, 0.0, 0.0]),
        (lambda x: tg.topk(x, 1).values, [1.0, 0.0, 0.0]),
    ],
)  # fmt: skip
def test_ties_as_in_torch(f: Any, expected: list[float]):
    (g,) = gradient(f, [3.0, 1.0, 3.0])
    np.testing.assert_array_equal(g, expected)


def test_logsumexp_and_softmax_of_infinities():
    (g,) = gradient(lambda x: tg.logsumexp(x), [-np.inf, 0.0, -np.inf])
    np.testing.assert_array_equal(g, [0, 1, 0])
    (g,) = gradient(lambda x: tg.logcumsumexp(x, 0), [-np.inf, 0.0, -np.inf])
    np.testing.assert_array_equal(g, [0, 2, 0])
    (g,) = gradient(lambda x: tg.logsumexp(x), [-np.inf, -np.inf])
    np.testing.assert_array_equal(g, [0, 0])
