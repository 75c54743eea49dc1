"""Batched forms: every operation under vmap against a loop over the members."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from cases import CASES, Case

import tilegrad as tg
from tilegrad import func
from tilegrad.autograd.batching import Level, NoBatchedFormError, enter, leave
from tilegrad.ops import OPS

MEMBERS = 3


def _members(row: Case) -> list[tuple[Any, ...]]:
    """The row's inputs, and multiples of the floating ones: whatever the rows need, as symmetry or
    good conditioning, the multiples have too."""
    inputs = tuple(row.draw())
    members = [
        tuple(
            x * (1 - 0.2 * k) if isinstance(x, np.ndarray) and x.dtype.kind == "f" else x
            for x in inputs
        )
        for k in range(MEMBERS)
    ]
    return [(*xs, *row.derived(*xs)) for xs in members] if row.derived else members


def _floats(inputs: tuple[Any, ...]) -> list[int]:
    return [i for i, x in enumerate(inputs) if isinstance(x, np.ndarray) and x.dtype.kind in "fib"]


def _parts(out: Any) -> tuple[Any, ...]:
    return out if isinstance(out, tuple) else (out,)


def _compare(row: Case, batched: list[int]) -> None:
    members = _members(row)
    op = OPS[row.op]
    expected = []
    for member in members:
        chosen = [member[i] if i in batched else x for i, x in enumerate(members[0])]
        arrays = [tg.tensor(x) if isinstance(x, np.ndarray) else x for x in chosen]
        with np.errstate(all="ignore"):
            expected.append([np.asarray(part) for part in _parts(op(*arrays, **row.attrs))])
    level = Level(MEMBERS)
    inputs = []
    for i, x in enumerate(members[0]):
        if i in batched:
            stacked = tg.tensor(np.stack([member[i] for member in members], axis=-1))
            inputs.append(enter(stacked, level=level, axis=stacked.ndim - 1))
        else:
            inputs.append(tg.tensor(x) if isinstance(x, np.ndarray) else x)
    with np.errstate(all="ignore"):
        found = _parts(op(*inputs, **row.attrs))
    level.close()
    for k, part in enumerate(found):
        assert part.shape == expected[0][k].shape
        whole = np.asarray(leave(part, level=level, axis=0))
        for b in range(MEMBERS):
            np.testing.assert_allclose(whole[b], expected[b][k], rtol=1e-12, atol=1e-13)


ROWS = [row for row in CASES if _floats(tuple(row.draw()))]


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_batched_form(row):
    own = _floats(tuple(row.draw()))
    derived = _floats(_members(row)[0])[len(own) :]  # from the first input, with which they go
    choices = [own + derived]
    if len(own) > 1:
        choices += [[i, *derived] if i == 0 else [i] for i in own]
    for batched in choices:
        _compare(row, batched)


def test_rows_were_run():
    assert len(ROWS) >= 150


def test_levels_in_any_order():
    """A gradient of a later batch enters an earlier one: axes are kept in the order of levels."""
    x = tg.tensor(np.random.default_rng(0).standard_normal((4, 3)))
    W = tg.tensor(np.random.default_rng(1).standard_normal((2, 3)))
    f = func.vmap(lambda row: tg.sin(W @ row))
    jacobian = func.jacrev(f)(x)
    expected = np.zeros((4, 2, 4, 3))
    for i in range(4):
        expected[i, :, i] = np.cos(W.numpy() @ x.numpy()[i])[:, None] * W.numpy()
    np.testing.assert_allclose(np.asarray(jacobian), expected, rtol=1e-13)


def test_results_of_different_shapes_are_refused():
    from tilegrad.autograd.op import Op

    op = Op("positive_entries", lambda x: x[x > 0], inputs=["x"], discrete=True)
    del OPS["positive_entries"]
    with pytest.raises(NoBatchedFormError, match=r"positive_entries: .* different shapes"):
        func.vmap(op)(tg.tensor(np.array([[1.0, -1.0], [1.0, 1.0]])))


@pytest.mark.parametrize("jacobian", [func.jacrev, func.jacfwd])
def test_jacobians_differentiate_twice_where_members_share_values(jacobian: Any):
    """The second derivative of a Jacobian uses values that all rows share, a product's operands as
    well as a number, both inside the batch (one share per row) and after it (the whole sum)."""

    def total(x: Any) -> Any:
        return jacobian(lambda v: tg.sin(tg.outer(v, v)) + v * tg.cos(v @ v))(x).sin().sum()

    x = tg.tensor(np.array([0.3, 0.7]), requires_grad=True)
    assert tg.autograd.gradcheck(total, x)
    assert tg.autograd.gradgradcheck(total, x)


def test_transposed_members_keep_the_batch_apart() -> None:
    x = np.arange(30.0).reshape(5, 3, 2)
    found = tg.func.vmap(lambda a: a.T)(tg.tensor(x))
    assert np.array_equal(found.numpy(), x.transpose(0, 2, 1))
