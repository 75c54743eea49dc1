"""Indexing against NumPy, against torch's meaning of mixed indices, and its gradient."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tilegrad as tg

A = np.arange(2 * 3 * 4 * 5, dtype=np.float64).reshape(2, 3, 4, 5)
ROWS = np.array([1, 0, 1])
MASK = A[0, :, :, 0] % 3 == 0

INDICES: list[Any] = [
    0, -1, slice(1, None), slice(None, None, -1), None, Ellipsis, (0, 1), (0, ..., 2), (..., None),
    (slice(None), 1, slice(0, 3, 2)), (None, 0, None), (Ellipsis, slice(None), 0), (), True, False,
    ROWS, ROWS[:, None], (ROWS, ROWS), (ROWS, slice(None), ROWS), (slice(None), slice(1), ROWS),
    (slice(None), [0, 2]), (slice(None), MASK), (slice(None), MASK, ROWS[:1]), (..., [0, 1], None),
    A > 7, (ROWS, None, slice(2)), np.array([], dtype=np.int64), (None, ROWS), [1, 0],
    (slice(None), np.array([True, False, True])), np.int64(1), (np.array(1), slice(2)),
]  # fmt: skip


@pytest.mark.parametrize("index", INDICES, ids=lambda index: str(index)[:40].replace("\n", " "))
def test_same_as_numpy(index: Any):
    x = tg.tensor(A, requires_grad=True)
    out = x[index]
    expected = A[index]
    np.testing.assert_array_equal(out.detach().numpy(), expected)
    weights = np.random.default_rng(0).standard_normal(expected.shape)
    (g,) = tg.autograd.grad(out, x, weights)
    wanted = np.zeros_like(A)
    np.add.at(wanted, index, weights)
    np.testing.assert_allclose(g.numpy(), wanted, rtol=1e-14, atol=1e-15)


@pytest.mark.parametrize("index", INDICES, ids=lambda index: str(index)[:40].replace("\n", " "))
def test_assignment_same_as_numpy(index: Any):
    x, expected = tg.tensor(A.copy()), A.copy()
    x[index] = -1.0
    expected[index] = -1.0
    np.testing.assert_array_equal(x.numpy(), expected)


@pytest.mark.parametrize(
    "index",
    [
        (0, slice(None), [1, 2]), (0, slice(None), slice(None), [1, 2]), ([0, 1], slice(None), 2),
        (0, [0, 1], slice(None), [1, 2]), (..., 1, [0, 0]), (1, ..., [0, 1]), (0, MASK),
        (slice(None), 0, None, [3, 1]), ([1, 0], 1, ..., 0),
    ],
    ids=str,
)  # fmt: skip
def test_integers_pick_first_as_in_torch(index: Any):
    torch = pytest.importorskip("torch")
    theirs = tuple(torch.tensor(i) if isinstance(i, (list, np.ndarray)) else i for i in index)
    expected = torch.tensor(A)[theirs].numpy()
    np.testing.assert_array_equal(tg.tensor(A)[index].numpy(), expected)
    changed = torch.tensor(A)
    changed[theirs] = 7.0
    x = tg.tensor(A.copy())
    x[index] = 7.0
    np.testing.assert_array_equal(x.numpy(), changed.numpy())


def test_tensors_as_indices():
    x = tg.tensor(A)
    i, m = tg.tensor([1, 0]), tg.tensor(A > 50)
    np.testing.assert_array_equal(x[i].numpy(), A[[1, 0]])
    np.testing.assert_array_equal(x[m].numpy(), A[A > 50])
    np.testing.assert_array_equal(x[tg.tensor(1)].numpy(), A[1])
    np.testing.assert_array_equal(x[:, i, tg.tensor(2)].numpy(), A[:, [1, 0], 2])


def test_an_index_changed_later_does_not_matter():
    index = np.array([0, 1])
    x = tg.tensor(np.arange(3.0), requires_grad=True)
    y = x[index]
    index[:] = 2
    y.sum().backward()
    assert x.grad.tolist() == [1, 1, 0]


def test_views_share_memory():
    x = tg.zeros(2, 3)
    x[0][1] = 5
    assert x.tolist() == [[0, 5, 0], [0, 0, 0]]


@pytest.mark.parametrize("index", [5, (0, 0, 0, 0, 0), "a", 1.5, [5], np.ones(3, bool)])
def test_bad_indices_raise(index: Any):
    with pytest.raises((IndexError, TypeError)):
        tg.tensor(A)[index]


def test_iteration_length_and_membership():
    x = tg.tensor(A)
    assert len(x) == 2
    assert [row.shape for row in x] == [(3, 4, 5)] * 2
    assert 7 in x
    assert 7.5 not in x
    with pytest.raises(TypeError, match="without dimensions"):
        iter(tg.tensor(1.0))
    with pytest.raises(TypeError, match="without dimensions"):
        len(tg.tensor(1.0))
    assert [10, 20, 30][tg.tensor(1)] == 20


def test_indices_of_other_libraries_are_arrays():
    class Foreign:
        def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
            return np.array([[2], [0]])

    x = tg.arange(24).reshape(2, 3, 4)
    assert x[1, :, Foreign()].shape == (3, 2, 1)
    np.testing.assert_array_equal(x[1, :, Foreign()].numpy(), x.numpy()[1][:, [[2], [0]]])
    assert x[np.int64(1), np.int8(2)].shape == (4,)
