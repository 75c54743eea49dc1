"""Tensors among NumPy's functions, Python's builtins and other libraries."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest

import tilegrad as tg

A = np.array([[1.0, 2.0, 4.0], [3.0, 0.5, 0.25]])

NUMPY_CALLS: dict[str, Any] = {
    "sin": np.sin, "sum": np.sum, "mean of an axis": lambda x: np.mean(x, axis=0),
    "std": np.std, "var with ddof": lambda x: np.var(x, ddof=1, axis=1), "max": np.max,
    "concatenate": lambda x: np.concatenate([x, x], axis=1), "stack": lambda x: np.stack([x, x]),
    "scalar times tensor": lambda x: np.float64(2) * x, "array plus tensor": lambda x: A + x,
    "array matmul tensor": lambda x: A.T @ x, "tensor matmul array": lambda x: x @ A.T,
    "where": lambda x: np.where(A > 1, x, 0.0), "clip": lambda x: np.clip(x, 0.4, 2.2),
    "transpose": np.transpose, "reshape": lambda x: np.reshape(x, (3, 2)), "exp": np.exp,
    "power": lambda x: np.power(x, 3), "maximum": lambda x: np.maximum(x, 1.5),
    "add.reduce": lambda x: np.add.reduce(x), "cumsum": lambda x: np.cumsum(x, axis=1),
    "squeeze": lambda x: np.squeeze(x[None]), "tril": np.tril, "dot": lambda x: np.dot(A.T, x),
    "expand_dims": lambda x: np.expand_dims(x, 1), "flip": lambda x: np.flip(x, 0),
    "prod": lambda x: np.prod(x, axis=1), "broadcast_to": lambda x: np.broadcast_to(x, (2, 2, 3)),
    "append": lambda x: np.append(x, x[:1], axis=0), "append flat": lambda x: np.append(x, [1, 2]),
    "average": lambda x: np.average(x, 1, np.arange(1.0, 4.0)), "conjugate": np.conjugate,
    "cross": lambda x: np.cross(x, A[::-1]), "delete": lambda x: np.delete(x, 1, axis=1),
    "diag": lambda x: np.diag(x, 1), "diff": lambda x: np.diff(x, 1, 0, prepend=0.0),
    "dot of stacks": lambda x: np.dot(x[None], np.stack([A.T, 2 * A.T])), "einsum": lambda x:
    np.einsum("ij,kj->ik", x, A), "gradient": lambda x: np.gradient(x, 0.5, axis=1),
    "inner": lambda x: np.inner(x, A), "kron": lambda x: np.kron(x, A[:1]),
    "linspace": lambda x: np.linspace(x[0], x[1], 4), "median": lambda x: np.median(x, axis=1),
    "outer": lambda x: np.outer(x, A[0]), "pad": lambda x: np.pad(x, ((1, 0), (0, 2)),
    constant_values=3.0), "pad by edges": lambda x: np.pad(x, 1, "edge"), "ptp": np.ptp,
    "partition": lambda x: np.partition(x, 1), "rollaxis": lambda x: np.rollaxis(x, 1),
    "roll": lambda x: np.roll(x, 1, 0), "row of": lambda x: np.take(x, [1, 0, 1], axis=0),
    "select": lambda x: np.select([A > 2, A > 1], [x, 2 * x], 7.0), "sort": np.sort,
    "sort flat": lambda x: np.sort(x, None), "split": lambda x: np.split(x, 3, 1)[1],
    "svd without vectors": lambda x: np.linalg.svd(x, compute_uv=False), "tile": lambda x:
    np.tile(x, (2, 1)), "tensordot": lambda x: np.tensordot(x, A, axes=([0, 1], [0, 1])),
    "trace with offset": lambda x: np.trace(x, 1), "trapezoid": lambda x: np.trapezoid(x, dx=0.5),
    "vdot": lambda x: np.vdot(x, A), "vstack": lambda x: np.vstack([x, A]),
}  # fmt: skip


@pytest.mark.parametrize("name", NUMPY_CALLS)
def test_numpy_functions_stay_differentiable(name: str):
    call = NUMPY_CALLS[name]
    x = tg.tensor(A.copy(), requires_grad=True)
    out = call(x)
    assert isinstance(out, tg.Tensor)
    np.testing.assert_allclose(out.detach().numpy(), call(A), rtol=1e-14)
    assert tg.autograd.gradcheck(call, x)


def test_functions_without_an_operation_do_not_cut_gradients():
    x = tg.tensor(A.copy(), requires_grad=True)
    for call in (np.fft.fft, np.percentile, np.modf, np.add.outer):
        with pytest.raises(TypeError, match="no differentiable operation"):
            call(x, x) if call in (np.percentile, np.add.outer) else call(x)
    with pytest.raises(RuntimeError, match="requires gradients"):
        np.asarray(x)
    np.testing.assert_array_equal(np.percentile(x.detach(), 50).numpy(), np.percentile(A, 50))


def test_functions_without_a_derivative_take_any_tensor():
    x = tg.tensor(A.copy(), requires_grad=True)
    for call in (np.argsort, np.argwhere, np.zeros_like, np.isposinf, lambda x: np.nonzero(x > 1)):
        for found, wanted in zip(call(x), call(A), strict=True):
            assert isinstance(found, tg.Tensor)
            np.testing.assert_array_equal(found.numpy(), wanted)
    assert np.array_equal(x, A)
    assert np.allclose(x, A)


def test_a_copy_shares_memory_and_a_deep_one_does_not():
    x = tg.tensor(A.copy(), requires_grad=True)
    for y in (copy.copy(x), copy.copy(tg.nn.Parameter(x.detach())), copy.copy(x * 1)):
        assert y.requires_grad
    shallow, deep = copy.copy(x), copy.deepcopy(x)
    assert np.shares_memory(shallow.detach().numpy(), x.detach().numpy())
    assert not np.shares_memory(deep.detach().numpy(), x.detach().numpy())


def test_lists_of_tensors_keep_their_history():
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    tg.asarray([[x[0], 3.0], [x[1] * x[1], x[0]]]).sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), [2, 4])


def test_array_and_dlpack_share_memory():
    x = tg.tensor(A.copy())
    for array in (np.asarray(x), np.from_dlpack(x), x.numpy(), tg.from_dlpack(x.numpy()).numpy()):
        assert np.shares_memory(array, x.numpy())
        np.testing.assert_array_equal(array, A)


def test_an_array_takes_a_tensor_in_place():
    array = A.copy()
    array += tg.ones(2, 3)
    np.testing.assert_array_equal(array, A + 1)
    with pytest.raises(TypeError):
        array += tg.ones(2, 3, requires_grad=True)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (tg.tensor([1.0, 2.5]), "tensor([1.0000, 2.5000])"),
        (tg.tensor([1, 2]), "tensor([1, 2])"),
        (tg.tensor([1.0, 2.0], requires_grad=True), "tensor([1., 2.], requires_grad=True)"),
        (tg.tensor([1.0], requires_grad=True) * 2, "tensor([2.], grad_fn=<multiply>)"),
        (tg.tensor(np.array([0.5])), "tensor([0.5000], dtype=float64)"),
        (tg.zeros(0, 3), "tensor([], size=(0, 3))"),
        (tg.tensor(True), "tensor(True)"),
    ],
)  # fmt: skip
def test_repr(value: Any, text: str):
    assert repr(value) == text


def test_numbers_and_copies():
    x = tg.tensor(2.5)
    assert (float(x), int(x), bool(x), f"{x:.1f}") == (2.5, 2, True, "2.5")
    with pytest.raises(RuntimeError, match="only one entry"):
        bool(tg.ones(2))
    leaf = tg.ones(2, requires_grad=True)
    twin = copy.deepcopy(leaf)
    assert twin.requires_grad
    assert twin is not leaf
    assert len({leaf, twin, leaf}) == 2
    with pytest.raises(RuntimeError, match="leaf"):
        copy.deepcopy(leaf * 2)
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(leaf)


def test_random_numbers_are_seeded_and_leave_numpys_state_alone():
    before = np.random.get_state()[1].copy()
    draws = []
    for _ in range(2):
        tg.manual_seed(5)
        g = tg.Generator().manual_seed(3)
        draws.append([tg.rand(3), tg.randn(2, 2), tg.randint(0, 9, (4,)), tg.randperm(5),
                      tg.rand(2, generator=g), tg.bernoulli(tg.ones(4) * 0.5)])  # fmt: skip
    for a, b in zip(*draws, strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())
    assert (tg.rand(1000) < 1).all()
    assert abs(tg.randn(10_000).mean().item()) < 0.05
    np.testing.assert_array_equal(np.random.get_state()[1], before)
