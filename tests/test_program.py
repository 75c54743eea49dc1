"""Recorded steps: a replay does what eager execution does, to the bit, or is not trusted."""

from __future__ import annotations

import threading

import numpy as np
import pytest

import tilegrad as tg
from tilegrad.program.arena import ALIGNMENT, Life, place

PROGRAMS = 200


def leaf(array: np.ndarray) -> tg.Tensor:
    return tg.tensor(array, requires_grad=True)


def value(tensor: tg.Tensor) -> np.ndarray:
    return tensor.detach().numpy()


class RandomProgram:
    """A step of random operations on random shapes, some of them without a native kernel."""

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        dtype = (np.float32, np.float64)[seed % 2]
        self.n, self.m = (int(k) for k in rng.integers(1, 9, 2))
        self.dtype = dtype
        self.parameters = [
            leaf(rng.standard_normal(shape).astype(dtype))
            for shape in ((self.m, self.m), (self.m,), (self.n, self.m))
        ]
        self.choices = rng.integers(0, 12, int(rng.integers(3, 12)))
        self.rng = rng

    def input(self) -> tg.Tensor:
        return tg.tensor(self.rng.standard_normal((self.n, self.m)).astype(self.dtype))

    def __call__(self, x: tg.Tensor) -> tg.Tensor:
        w, b, c = self.parameters
        for p in self.parameters:
            p.grad = None
        h = x
        for choice in self.choices:
            h = (
                lambda h: h @ w,
                lambda h: h + b,
                lambda h: h * c,
                lambda h: tg.tanh(h),
                lambda h: h - h.mean(),
                lambda h: h / (1.0 + h * h),
                lambda h: tg.exp(-h * h),
                lambda h: h.reshape(-1).reshape(h.shape),
                lambda h: (h.T @ c).sum(0) + h,
                lambda h: h[:, ::-1] if h.shape[1] > 1 else h,
                lambda h: tg.atan(h) + tg.cat([h, h], 0)[: h.shape[0]],
                lambda h: tg.maximum(h, x),
            )[choice](h)
        loss = (h * h).sum() + sum((p * p).sum() for p in self.parameters) * 1e-3
        loss.backward()
        return loss


def test_random_programs_replay_to_the_bit():
    replays = 0
    for seed in range(PROGRAMS):
        program = RandomProgram(seed)
        step = tg.compile(program)
        for _ in range(5):
            x = program.input()
            expected = program(x)
            gradients = [value(p.grad).copy() for p in program.parameters]
            found = step(x)
            assert np.array_equal(value(found), value(expected)), step.report()
            for p, g in zip(program.parameters, gradients, strict=True):
                assert np.array_equal(value(p.grad), g), step.report()
        replays += step.replays
    assert replays == 3 * PROGRAMS


class TestGuards:
    def test_shapes_and_dtypes_are_recorded_apart(self):
        w = tg.tensor(np.ones(3, np.float32))
        step = tg.compile(lambda x: (x * w).sum())
        for _ in range(4):
            for shape in ((3,), (2, 3)):
                for dtype in (np.float32, np.float64):
                    found = step(tg.tensor(np.ones(shape, dtype)))
                    assert found.item() == np.prod(shape)
                    assert found.dtype == dtype
        assert step.replays == 4 * 2

    def test_changed_closure_and_attribute(self):
        class Scale:
            factor = 1.0

        scale = Scale()
        scale.factor = 2.0
        step = tg.compile(lambda x: x * scale.factor)
        x = tg.tensor(np.ones(2))
        for _ in range(4):
            assert step(x).sum().item() == 4.0
        scale.factor = 3.0
        for _ in range(4):
            assert step(x).sum().item() == 6.0
        assert step.replays == 4

    def test_values_of_captured_tensors_are_live(self):
        w = tg.tensor(np.ones(2))
        step = tg.compile(lambda x: x * w)
        x = tg.tensor(np.ones(2))
        for k in range(5):
            with tg.no_grad():
                w._array[...] = k
            assert step(x).sum().item() == 2 * k
        assert step.replays == 3

    def test_replaced_memory_is_noticed(self):
        w = tg.tensor(np.ones(2))
        step = tg.compile(lambda x: x * w)
        x = tg.tensor(np.ones(2))
        for _ in range(3):
            step(x)
        w._array = np.full(2, 7.0)
        assert step(x).sum().item() == 14.0

    def test_gradient_state_at_the_start(self):
        w = leaf(np.ones(2))

        def accumulate(x):
            loss = (x * w).sum()
            loss.backward()
            return loss

        step = tg.compile(accumulate)
        x = tg.tensor(np.ones(2))
        for k in range(1, 8):
            step(x)
            assert value(w.grad).tolist() == [k, k]
        w.grad = None
        for k in range(1, 8):
            step(x)
            assert value(w.grad).tolist() == [k, k]

    def test_kept_gradients_are_not_overwritten(self):
        w = leaf(np.ones(2))

        def function(x):
            w.grad = None
            (x * w).sum().backward()

        step = tg.compile(function)
        kept = []
        for k in range(6):
            step(tg.tensor(np.full(2, float(k))))
            kept.append(w.grad)
        assert [value(g)[0] for g in kept] == [0, 1, 2, 3, 4, 5]
        assert step.replays == 4

    def test_a_global_step_beside_an_optimizer_step(self):
        """The name of the method is also that of a global, which is the recorded step itself."""
        names = {"tg": tg, "w": leaf(np.ones(2))}
        names["optimizer"] = tg.optim.SGD([names["w"]], lr=0.1)
        source = """
@tg.compile
def step(x):
    optimizer.zero_grad()
    loss = (w * x).sum()
    loss.backward()
    optimizer.step()
    return loss
"""
        exec(source, names)
        for _ in range(5):
            names["step"](tg.tensor(np.ones(2)))
        assert names["step"].replays == 3

    def test_changed_arguments_of_python(self):
        step = tg.compile(lambda x, k: x * k)
        x = tg.tensor(np.ones(2))
        for k in (2, 3, 2.5):
            for _ in range(3):
                assert step(x, k).sum().item() == 2 * k
        assert step.replays == 3


class TestLeftEager:
    def check(self, function, *args, match):
        step = tg.compile(function)
        for _ in range(4):
            step(*args)
        assert step.replays == 0
        assert match in step.report()
        return step

    def test_value_taken_out(self):
        def function(x):
            return x * 2.0 if x.sum().item() > 0 else x * 3.0

        step = self.check(function, tg.tensor(np.ones(2)), match="item()")
        assert step(tg.tensor(-np.ones(2))).sum().item() == -6.0
        self.check(lambda x: x * x.numpy(), tg.tensor(np.ones(2)), match="numpy()")
        self.check(lambda x: x if x.sum() > 0 else -x, tg.tensor(np.ones(2)), match="bool")
        self.check(lambda x: x * float(x.sum()), tg.tensor(np.ones(2)), match="float")

    def test_graph_that_is_still_wanted(self):
        w = leaf(np.ones(2))
        step = self.check(lambda x: x * w, tg.tensor(np.ones(2)), match="graph")
        step(tg.tensor(np.ones(2))).sum().backward()
        assert value(w.grad).tolist() == [1.0, 1.0]

    def test_fresh_arrays_of_unknown_content(self):
        rng = np.random.default_rng(0)
        self.check(
            lambda x: x * tg.tensor(rng.standard_normal(2)), tg.tensor(np.ones(2)), match="alike"
        )

    def test_python_state(self):
        class Counter:
            def __init__(self):
                self.count = 0

            def __call__(self, x):
                self.count += 1
                return x * 2.0

        self.check(Counter(), tg.tensor(np.ones(2)), match="count")
        seen = []
        self.check(lambda x: seen.append(x) or x * 2.0, tg.tensor(np.ones(2)), match="list")
        assert len(seen) == 4

    def test_argument_with_gradient(self):
        x = leaf(np.ones(2))

        def function(x):
            y = (x * x).sum()
            y.backward()
            return y

        self.check(function, x, match="requires gradients")
        assert value(x.grad).tolist() == [8.0, 8.0]


def test_errors_of_a_replay_reach_the_caller():
    step = tg.compile(lambda x, i: x[i])
    x = tg.tensor(np.arange(3.0))
    for _ in range(3):
        assert step(x, tg.tensor(np.array([0, 2]))).sum().item() == 2.0
    with pytest.raises(IndexError):
        step(x, tg.tensor(np.array([0, 5])))


def test_two_threads_replay_two_programs_and_one():
    def work(k: int) -> None:
        w = leaf(np.full((40, 40), float(k)))

        def function(x):
            w.grad = None
            loss = ((x @ w) * (x @ w)).sum()
            loss.backward()
            return loss

        own = tg.compile(function)
        x = tg.tensor(np.ones((40, 40)))
        expected = function(x).item()
        for _ in range(50):
            if own(x).item() != expected or shared(x).sum().item() != 3200.0:
                failures.append(k)  # noqa: PERF401

    failures: list[int] = []
    shared = tg.compile(lambda x: x * 2.0)
    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def test_packed_weights_are_read_anew():
    w = np.random.default_rng(0).standard_normal((8, 8))
    handles = {"w": tg.kernels.pack(w)}
    step = tg.compile(lambda x: tg.tensor(tg.kernels.gemm(x._array, handles["w"])) + 0.0)
    x = tg.tensor(np.ones((2, 8)))
    for scale in (1.0, 2.0):
        handles["w"] = tg.kernels.pack(scale * w)
        for _ in range(4):
            expected = np.ones((2, 8)) @ (scale * w)
            np.testing.assert_allclose(value(step(x)), expected, rtol=1e-12)
    assert step.replays == 4


def test_arena_shares_places_of_what_never_lives_together():
    rng = np.random.default_rng(0)
    for _ in range(50):
        lives = []
        for number in range(int(rng.integers(1, 30))):
            first = int(rng.integers(0, 40))
            last = first + int(rng.integers(0, 8))
            lives.append(Life(number, int(rng.integers(1, 5000)), first, last, []))
        offsets, total = place(lives)
        for a in lives:
            assert offsets[a.number] % ALIGNMENT == 0
            assert offsets[a.number] + a.size <= total
            for b in lives:
                together = a.first <= b.last and b.first <= a.last
                if a is not b and together:
                    start, end = offsets[a.number], offsets[a.number] + a.size
                    assert end <= offsets[b.number] or offsets[b.number] + b.size <= start
        at_once = max(
            sum(life.size for life in lives if life.first <= k <= life.last) for k in range(48)
        )
        assert at_once <= total <= sum(life.size + ALIGNMENT for life in lives)


def test_arena_is_smaller_than_what_it_replaces():
    step = tg.compile(chain)
    x = tg.tensor(np.ones(1000))
    for _ in range(3):
        found = step(x)
    np.testing.assert_array_equal(value(found), value(chain(x)))
    (entry,) = step._entries.values()
    assert entry.program.arena.nbytes < 3 * x.detach().numpy().nbytes


def chain(x: tg.Tensor) -> tg.Tensor:
    for _ in range(20):
        x = tg.tanh(x) * 1.5
    return x


def test_report_names_kernels():
    w = tg.tensor(np.ones((3, 3)))
    step = tg.compile(lambda x: tg.tanh(x @ w))
    for _ in range(3):
        step(tg.tensor(np.ones((2, 3))))
    assert "1 x matmul, 1 x tanh" in step.report()
