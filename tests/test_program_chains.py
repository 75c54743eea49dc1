"""Elementwise kernels fused by blocks: the same bits whatever is shared, and seen in reports."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tilegrad as tg
from tilegrad import _native

UNARY: list[Callable[[Any], Any]] = [
    tg.tanh, tg.exp, tg.sigmoid, tg.square, tg.abs, tg.sin,
    tg.nn.functional.relu, tg.nn.functional.silu, tg.nn.functional.softplus,
    lambda x: x * 0.75, lambda x: 0.5 - x, lambda x: x / 3.0, lambda x: -x,
]  # fmt: skip
BINARY: list[Callable[[Any, Any], Any]] = [
    lambda a, b: a + b, lambda a, b: a - b, lambda a, b: a * b, tg.maximum,
    lambda a, b: a / (b * b + 1.0), lambda a, b: tg.where(a > 0, a, b),
]  # fmt: skip
#: Elements: within a vector, within a block, several blocks with a rest.
SIZES = (1, 7, 130, 700, 3001)


def random_program(rng: np.random.Generator) -> Callable[..., Any]:
    """A function of two tensors and a 0-d one, all of them used, made of elementwise operations."""
    kinds = rng.integers(0, 5, size=int(rng.integers(4, 14)))
    picks = rng.integers(0, 1000, size=(len(kinds), 3))

    def program(x: Any, y: Any, scale: Any) -> Any:
        values = [x, y, x * scale]
        for kind, (which, i, j) in zip(kinds, picks, strict=True):
            a, b = values[i % len(values)], values[j % len(values)]
            if kind < 2:
                values.append(UNARY[which % len(UNARY)](a))
            elif kind < 4:
                values.append(BINARY[which % len(BINARY)](a, b))
            else:  # views of what went before: they overlap without being the same
                values.append(tg.cat([a[1:] * b[:-1], a[:1]]))
        return sum(values[3:], x + y)

    return program


def gradients(program: Callable[..., Any], leaves: list[Any], inputs: tuple[Any, ...]) -> Any:
    """Value and gradients of ``program`` by ``leaves``, which multiply its inputs."""
    for leaf in leaves:
        leaf.grad = None
    scaled = [x * leaf for x, leaf in zip(inputs, leaves, strict=False)]
    loss = program(*scaled, inputs[-1]).sum()
    loss.backward()
    return loss.detach()


def fresh_inputs(rng: np.random.Generator, size: int, dtype: Any) -> tuple[Any, ...]:
    return tuple(
        tg.tensor(rng.uniform(-1.5, 1.5, shape).astype(dtype)) for shape in (size, size, ())
    )


@pytest.mark.parametrize("seed", range(200))
def test_random_elementwise_programs_replay_to_the_bit(seed: int) -> None:
    rng = np.random.default_rng(seed)
    dtype = (np.float32, np.float64)[seed % 2]
    size = SIZES[seed // 2 % len(SIZES)]
    program = random_program(rng)
    leaves = [tg.tensor(rng.normal(size=size).astype(dtype), requires_grad=True) for _ in range(2)]
    step = tg.compile(lambda *inputs: gradients(program, leaves, inputs))
    for _ in range(5):
        inputs = fresh_inputs(rng, size, dtype)
        found = step(*inputs).numpy().tobytes(), [leaf.grad.numpy().tobytes() for leaf in leaves]
        wanted = gradients(program, leaves, inputs).item()
        assert found[0] == np.asarray(wanted, dtype).tobytes()
        assert found[1] == [leaf.grad.numpy().tobytes() for leaf in leaves]
    assert step.replays >= 3, step.report()


def test_chains_are_reported_with_what_stays_in_cache() -> None:
    x = tg.tensor(np.linspace(-1, 1, 5000))

    def work(x: Any) -> Any:
        return tg.tanh(x * 2.0 + 1.0) * tg.exp(-x)

    step = tg.compile(work)
    for _ in range(3):
        result = step(x)
    assert result.numpy().tobytes() == work(x).numpy().tobytes()
    fused = [line for line in step.report().splitlines() if "fused" in line]
    assert fused == [
        "    fused: multiply > add > tanh > negative > exp > multiply, 40000 bytes each; "
        "5 intermediates stay in cache"
    ]
    (entry,) = step._entries.values()
    assert entry.program.arena.nbytes < 1000  # nothing lies there any more


def test_more_intermediates_than_buffers_go_to_the_arena() -> None:
    count = _native.MAX_CHAIN_LOCALS + 4
    x = tg.tensor(np.linspace(-1, 1, 2000))

    def work(x: Any) -> Any:
        parts = [tg.tanh(x * (k + 1.0)) for k in range(count)]
        return sum(reversed(parts[:-1]), parts[-1])

    step = tg.compile(work)
    for _ in range(3):
        result = step(x)
    assert result.numpy().tobytes() == work(x).numpy().tobytes()
    (entry,) = step._entries.values()
    assert 4 * 16000 <= entry.program.arena.nbytes < count * 16000


def test_a_gradient_that_somebody_keeps_is_left_alone() -> None:
    """The calls of a chain are pointed at new memory as those outside of one are."""
    w = tg.tensor(np.linspace(-1, 1, 3000), requires_grad=True)

    @tg.compile
    def step(x: Any) -> None:
        w.grad = None
        (tg.tanh(w * x) * x).sum().backward()

    kept = []
    for k in range(6):
        step(tg.tensor(np.full(3000, 1.0 + k)))
        kept.append((w.grad, w.grad.numpy().copy()))
    assert step.replays >= 4
    for gradient, copy in kept:
        assert np.array_equal(gradient.numpy(), copy)
    assert len({copy.tobytes() for _, copy in kept}) == 6


def test_threads_change_no_bit() -> None:
    x = tg.tensor(np.random.default_rng(3).normal(size=400_001).astype(np.float32))
    step = tg.compile(lambda x: tg.tanh(tg.exp(x * 0.5) - 1.0) * x)
    results = []
    for threads in (1, 2, 4):
        with tg.num_threads(threads):
            for _ in range(3):
                result = step(x)
            results.append(result.numpy().tobytes())
    assert len(set(results)) == 1
    assert step.replays > 0
