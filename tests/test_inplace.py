"""Changes in place: the right gradient, or an error; never a silent wrong one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tilegrad as tg


def leaf(*shape: int, seed: int = 0) -> Any:
    return tg.tensor(np.random.default_rng(seed).standard_normal(shape), requires_grad=True)


def same_gradients(change: Any, meant: Any, *inputs: Any) -> None:
    """``change(x.clone(), ...)`` in place and ``meant(x, ...)`` agree, values and gradients."""
    weights = np.cos(np.arange(inputs[0]._array.size)).reshape(inputs[0].shape)
    results = []
    for function, first in ((change, lambda x: x.clone()), (meant, lambda x: x)):
        out = function(first(inputs[0]), *inputs[1:])
        found = tg.autograd.grad((out * weights).sum(), inputs, allow_unused=True)
        results.append((out.detach().numpy(), found))
    (value, gradients), (expected, wanted) = results
    np.testing.assert_allclose(value, expected, rtol=1e-14)
    for g, w in zip(gradients, wanted, strict=True):
        left = 0.0 if g is None else g.numpy()
        right = 0.0 if w is None else w.numpy()
        np.testing.assert_allclose(left + 0 * weights.sum(), right, rtol=1e-13, atol=1e-14)


ROWS = np.array([2, 0])
CHANGES: dict[str, tuple[Any, Any]] = {
    "mul_": (lambda x, y: x.mul_(y[0]), lambda x, y: x * y[0]),
    "mul_ by itself": (lambda x, y: x.mul_(x), lambda x, y: x * x),
    "exp_": (lambda x, y: x.exp_(), lambda x, y: x.exp()),
    "sin_": (lambda x, y: x.sin_(), lambda x, y: x.sin()),
    "pow_": (lambda x, y: x.pow_(3), lambda x, y: x**3),
    "augmented": (lambda x, y: x.__iadd__(y[1]), lambda x, y: x + y[1]),
    "copy_": (lambda x, y: x.copy_(y[0]), lambda x, y: y[0].expand(3, 4)),
    "zero_": (lambda x, y: x.zero_() + y[0], lambda x, y: 0 * x + y[0]),
    "assignment": (
        lambda x, y: assigned(x, (slice(None), 1), y[0, :3]),
        lambda x, y: tg.stack([x[:, 0], y[0, :3], x[:, 2], x[:, 3]], 1),
    ),
    "assignment by index arrays": (
        lambda x, y: assigned(x, ROWS, y),
        lambda x, y: tg.stack([y[1], x[1], y[0]]),
    ),
    "assignment by mask": (
        lambda x, y: assigned(x, np.eye(3, 4, dtype=bool), y[0, 0]),
        lambda x, y: tg.where(tg.eye(3, 4) > 0, y[0, 0], x),
    ),
    "assignment of a part of itself": (
        lambda x, y: assigned(x, 0, x[2]),
        lambda x, y: tg.stack([x[2], x[1], x[2]]),
    ),
    "row += ": (lambda x, y: row_added(x, y), lambda x, y: tg.stack([x[0] + y[0], x[1], x[2]])),
    "through a view": (
        lambda x, y: through(x, lambda v: v[1].mul_(y[0])),
        lambda x, y: tg.stack([x[0], x[1] * y[0], x[2]]),
    ),
    "through a view of a view": (
        lambda x, y: through(x, lambda v: v.T[1:3][:, 2].exp_()),
        lambda x, y: tg.cat([x[:2], tg.cat([x[2:, :1], x[2:, 1:3].exp(), x[2:, 3:]], 1)]),
    ),
    "masked_fill_": (
        lambda x, y: x.masked_fill_(tg.eye(3, 4) > 0, 2.0),
        lambda x, y: tg.where(tg.eye(3, 4) > 0, 2.0, x),
    ),
    "index_add_": (
        lambda x, y: x.index_add_(0, tg.tensor([1, 1]), y),
        lambda x, y: tg.stack([x[0], x[1] + y[0] + y[1], x[2]]),
    ),
}  # fmt: skip


def assigned(x: Any, index: Any, value: Any) -> Any:
    x[index] = value
    return x


def row_added(x: Any, y: Any) -> Any:
    x[0] += y[0]
    return x


def through(x: Any, change: Any) -> Any:
    change(x)
    return x


@pytest.mark.parametrize("name", CHANGES)
def test_gradient_is_right(name: str):
    change, meant = CHANGES[name]
    same_gradients(change, meant, leaf(3, 4), leaf(2, 4, seed=1))


def test_the_view_follows_its_own_change():
    x = leaf(3)
    y = x * 1
    v = y[1:]
    v.mul_(2)
    tg.autograd.backward((v * tg.tensor([1.0, 10.0])).sum())
    np.testing.assert_array_equal(x.grad.numpy(), [0, 2, 20])


def test_constant_memory_takes_a_history():
    w = leaf()
    buffer = tg.zeros(3, dtype=tg.float64)
    buffer[1] = w * 2
    buffer.sum().backward()
    assert w.grad.item() == 2


@pytest.mark.parametrize(
    "change",
    [
        lambda x: x.add_(1),
        lambda x: x.zero_(),
        lambda x: x.__setitem__(0, 1.0),
        lambda x: x[0].mul_(2),
        lambda x: x.T.copy_(x.T),
        lambda x: x.view(-1)[1:].fill_(0.0),
    ],
)
def test_leaf_that_requires_gradients_is_protected(change: Any):
    x = leaf(3, 3)
    before = x.detach().numpy().copy()
    with pytest.raises(RuntimeError, match="leaf that requires gradients"):
        change(x)
    np.testing.assert_array_equal(x.detach().numpy(), before)
    with tg.no_grad():
        change(x)
    assert x.is_leaf
    assert x.requires_grad


@pytest.mark.parametrize("how", ["detach", "no_grad", "in place", "view"])
def test_a_saved_input_that_was_changed_raises(how: str):
    x = leaf(3)
    y = x * 1
    z = (y * y).sum()
    if how == "detach":
        y.detach().zero_()
    elif how == "no_grad":
        with tg.no_grad():
            y.zero_()
    elif how == "in place":
        y.add_(1)
    else:
        y[1:].mul_(2)
    with pytest.raises(RuntimeError, match="changed in place"):
        z.backward()


def test_a_saved_result_that_was_changed_raises():
    x = leaf(3)
    y = x.exp()
    y.mul_(2)  # exp saved its result
    with pytest.raises(RuntimeError, match="changed in place"):
        y.sum().backward()


def test_a_sibling_view_is_stale():
    x = leaf(3)
    y = x * 1
    first, rest = y[0], y[1:]
    rest.mul_(2)
    with pytest.raises(RuntimeError, match="view of memory that was changed"):
        (first * 2).backward()


def test_read_only_memory_and_bad_shapes():
    with pytest.raises(RuntimeError, match="read-only"):
        tg.ones(1).expand(3).add_(1)
    with pytest.raises(RuntimeError, match="does not fit"):
        tg.ones(3).add_(tg.ones(2, 3))
    with pytest.raises(RuntimeError, match="cannot hold"):
        tg.arange(3).add_(0.5)
    x = tg.arange(3)
    with pytest.raises((ValueError, IndexError)):
        x[5] = 1


def test_dtype_and_identity_stay():
    x = tg.ones(3)
    y = x
    x += tg.ones(3, dtype=tg.float64)
    assert y is x
    assert x.dtype == tg.float32
    x.copy_(tg.arange(3))
    assert x.tolist() == [0, 1, 2]


def test_second_order_through_assignment():
    x = leaf(4)

    def f(x: Any) -> Any:
        y = x * 1
        y[1:3] = x[:2] ** 3
        y[0] *= x[3]
        return y * y

    assert tg.autograd.gradcheck(f, x)
    assert tg.autograd.gradgradcheck(f, x)
