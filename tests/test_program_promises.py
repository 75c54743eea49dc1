"""What ``tg.compile`` must not replay, what it must notice, and that replays leak nothing."""

from __future__ import annotations

import threading
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tilegrad as tg


def is_replayed(compiled: Any) -> bool:
    return compiled.replays > 0


def array(rng: np.random.Generator, *shape: int, dtype: Any = np.float32) -> np.ndarray:
    return rng.normal(size=shape).astype(dtype)


# ---- what must not be replayed -------------------------------------------------------------------


def stays_eager(function: Callable[..., Any], reason: str, calls: int = 5) -> None:
    rng = np.random.default_rng(1)
    compiled = tg.compile(function)
    for _ in range(calls):
        x = array(rng, 3, 4)
        got, want = compiled(tg.tensor(x)), function(tg.tensor(x))
        assert np.array_equal(np.asarray(got), np.asarray(want))
    assert not is_replayed(compiled)
    assert reason in compiled.report()


def test_numbers_read_from_tensors_keep_a_function_eager() -> None:
    stays_eager(lambda x: x * float(x.sum()), "float()")
    stays_eager(lambda x: x * x.sum().item(), "item")
    stays_eager(lambda x: x + 1 if bool(x.sum() > 0) else x - 1, "bool()")
    stays_eager(lambda x: tg.tensor(x.numpy() + 1) * 2, "numpy")
    stays_eager(lambda x: x.sum().item(), "item")


def test_arrays_that_numpy_made_keep_a_function_eager() -> None:
    rng = np.random.default_rng(2)
    data = array(rng, 3, 4)
    count = [0]

    def drifting(x: Any) -> Any:
        count[0] += 1
        return x * tg.tensor(data * (count[0] // 4))  # alike in the first three calls

    compiled = tg.compile(drifting)
    for call in range(1, 9):
        x = array(rng, 3, 4)
        assert np.array_equal(compiled(tg.tensor(x)).numpy(), x * (data * (call // 4)))
    assert not is_replayed(compiled)


def test_results_that_can_still_be_differentiated_stay_eager() -> None:
    w = tg.tensor([1.0, 2.0], requires_grad=True)
    compiled = tg.compile(lambda x: (x * w * w).sum())
    for _ in range(4):
        w.grad = None
        compiled(tg.tensor([3.0, 4.0])).backward()
        assert w.grad.tolist() == [6.0, 16.0]
    with tg.no_grad():  # another entry, which can be replayed
        for i in range(4):
            assert compiled(tg.tensor([float(i), 0.0])).item() == i
    assert "differentiated" in compiled.report()
    assert is_replayed(compiled)


def test_changes_in_place_that_nobody_saw_are_found() -> None:
    state = tg.tensor(np.zeros((3, 4), np.float32))
    memory = state.numpy()

    def running(x: Any) -> Any:
        memory[...] += 1.0
        return x + state

    compiled = tg.compile(running)
    for call in range(1, 6):
        assert compiled(tg.tensor(np.zeros((3, 4), np.float32))).numpy()[0, 0] == call
    assert "code that is not seen" in compiled.report()


# ---- guards --------------------------------------------------------------------------------------


def test_shapes_dtypes_strides_and_numbers_are_guarded() -> None:
    scale = 2.0

    def function(x: Any, factor: float = 1.0) -> Any:
        return x * scale * factor

    compiled = tg.compile(function)
    rng = np.random.default_rng(3)
    for round_ in range(4):
        scale = 2.0 + round_ // 2
        for x in (
            array(rng, 3),
            array(rng, 4),
            array(rng, 3, dtype=np.float64),
            array(rng, 8)[::2],
        ):
            for factor in (1.0, 3.0):
                got = compiled(tg.tensor(x), factor).numpy()
                assert np.array_equal(got, x * scale * factor)
                assert got.dtype == x.dtype


def test_captured_tensors_are_read_live_and_rebinding_records_again() -> None:
    w = tg.tensor(np.float32([1, 2, 3]))
    compiled = tg.compile(lambda x: x * w)
    x = tg.tensor(np.float32([1, 1, 1]))
    for _ in range(4):
        compiled(x)
    assert is_replayed(compiled)
    w.numpy()[...] = [4, 5, 6]
    assert compiled(x).tolist() == [4, 5, 6]
    w._array = np.float32([7, 8, 9])
    assert compiled(x).tolist() == [7, 8, 9]


def test_results_are_fresh_and_structures_kept() -> None:
    compiled = tg.compile(
        lambda x, more: {"a": x + 1, "b": [x * 2, (x - more["y"], "text")], "c": None}
    )
    x, y = tg.tensor(np.float32([1, 2])), tg.tensor(np.float32([3, 4]))
    for _ in range(4):
        result = compiled(x, {"y": y})
    kept = result["a"].numpy()
    other = compiled(tg.tensor(np.float32([10, 20])), {"y": y})
    assert kept.tolist() == [2, 3]
    assert other["a"].tolist() == [11, 21]
    assert other["b"][0].tolist() == [20, 40]
    assert other["b"][1][0].tolist() == [7, 16]
    assert (other["b"][1][1], other["c"]) == ("text", None)
    assert is_replayed(compiled)


def test_errors_are_those_of_the_function() -> None:
    compiled = tg.compile(lambda x: x @ x)
    with pytest.raises(ValueError, match="matmul"):
        compiled(tg.tensor(np.ones((2, 3), np.float32)))
    for _ in range(4):
        assert compiled(tg.tensor(np.eye(2))).tolist() == [[1, 0], [0, 1]]


def test_backends_are_respected() -> None:
    compiled = tg.compile(lambda x: x.tanh())
    x = tg.tensor(np.linspace(-1, 1, 7))
    for _ in range(4):
        compiled(x)
    with tg.backend("numpy"):
        assert np.array_equal(compiled(x).numpy(), np.tanh(x.numpy()))
    with tg.verify() as seen:
        compiled(x)
    assert seen["tanh"] == 1


# ---- training, threads, memory -------------------------------------------------------------------


def test_gradients_accumulate_as_they_do_eagerly() -> None:
    rng = np.random.default_rng(4)
    start = array(rng, 4, 3)
    w, v = (tg.tensor(start.copy(), requires_grad=True) for _ in range(2))

    def step(p: Any, x: Any) -> Any:
        loss = ((x @ p) ** 2).mean()
        loss.backward()
        return loss

    compiled = tg.compile(lambda x: step(w, x))
    for _ in range(6):
        x = array(rng, 2, 4)
        assert np.array_equal(
            compiled(tg.tensor(x)).detach().numpy(), step(v, tg.tensor(x)).detach().numpy()
        )
        assert np.array_equal(w.grad.numpy(), v.grad.numpy())
    assert is_replayed(compiled)


def test_two_threads_replay_at_once() -> None:
    rng = np.random.default_rng(5)
    x = array(rng, 40, 40)
    shared = tg.compile(lambda a: (a @ a).tanh() @ a)
    failures: list[str] = []

    def work(seed: int) -> None:
        own = tg.compile(lambda a: (a @ a * seed).tanh())
        mine = array(np.random.default_rng(seed), 40, 40)
        expected = [own(tg.tensor(mine)).numpy(), shared(tg.tensor(mine)).numpy()]
        for _ in range(200):
            found = [own(tg.tensor(mine)).numpy(), shared(tg.tensor(mine)).numpy()]
            if not all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True)):
                failures.append(f"thread {seed}")

    with tg.no_grad():
        shared(tg.tensor(x))
        threads = [threading.Thread(target=work, args=(seed,)) for seed in (1, 2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert failures == []


@pytest.mark.parametrize("replayed", [True, False], ids=["replayed", "eager"])
def test_ten_thousand_steps_do_not_grow_memory(replayed: bool) -> None:
    model = tg.nn.Sequential(tg.nn.Linear(30, 20), tg.nn.ReLU(), tg.nn.Linear(20, 4))
    optimizer = tg.optim.Adam(model.parameters())

    def train(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        loss = tg.nn.functional.cross_entropy(model(x).tanh() ** 2, y)
        loss.backward()
        optimizer.step()
        return loss

    step = tg.compile(train) if replayed else train
    x = tg.tensor(array(np.random.default_rng(7), 10, 30).astype(np.float32))
    y = tg.tensor(np.arange(10) % 4)
    for _ in range(10):
        step(x, y)
    tracemalloc.start()
    for _ in range(100):
        step(x, y)
    before = tracemalloc.get_traced_memory()[0]
    for _ in range(10_000):
        step(x, y)
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert not replayed or is_replayed(step)
    assert grown < 2**16
