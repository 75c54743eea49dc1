"""Recurrent kernels: native against the twins on every instruction set, and the layers on them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from native_grid import FLOATS, ISAS, LAYOUTS, instruction_set

import tilegrad as tg
from tilegrad import kernels, nn
from tilegrad.kernels import reference

#: Steps, batch, inputs, hidden: vector tails, several row tasks, several chunks of steps, nothing.
SIZES = [
    (1, 1, 1, 1), (3, 2, 4, 5), (4, 3, 7, 16), (2, 17, 1, 33), (5, 1, 3, 64), (40, 32, 30, 64),
    (0, 2, 2, 3), (2, 0, 2, 3), (2, 2, 0, 3),
]  # fmt: skip
GATES = {"rnn": 1, "gru": 3, "lstm": 4}


def _arguments(name: str, size: tuple[int, ...], dtype: Any) -> list[Any]:
    steps, batch, inputs, hidden = size
    rng = np.random.default_rng(0)
    rows = GATES[name] * hidden
    shapes = [(steps, batch, inputs), (batch, hidden)]
    shapes += [(batch, hidden)] * (name == "lstm")
    shapes += [(rows, inputs), (rows, hidden), (rows,)] + [(rows,)] * (name == "gru")
    # weights small enough for errors not to grow from step to step
    return [
        (rng.standard_normal(shape) / (1 + shape[-1]) ** 0.5).astype(dtype) for shape in shapes
    ]


def _calls(name: str, args: list[Any]) -> list[tuple[str, tuple[Any, ...]]]:
    """A forward call and the backward calls that belong to it."""
    out = getattr(reference, name)(*args)
    saved = out if isinstance(out, tuple) else (out,)
    x, *states = args[: 3 if name == "lstm" else 2]
    weights = args[len(states) + 1 : len(states) + 3]
    rng = np.random.default_rng(1)
    gy, gc = (rng.standard_normal(saved[0].shape).astype(x.dtype) for _ in range(2))
    pairs = {"lstm": [(gy, gc), (gy, None), (None, gc)]}.get(name, [(gy,)])
    calls = [(name, tuple(args))]
    calls += [(f"{name}_grad", (*given, x, *saved, *states, *weights)) for given in pairs]
    last = calls[-1][1]
    calls.append((f"{name}_grad", (*last, "relu") if name == "rnn" else (*last, False)))
    return calls


def _same(name: str, args: tuple[Any, ...], dtype: Any) -> None:
    found, wanted = getattr(kernels, name)(*args), getattr(reference, name)(*args)
    tolerance = 1e-4 if dtype == np.float32 else 1e-12
    pairs = zip(found, wanted, strict=True) if isinstance(wanted, tuple) else [(found, wanted)]
    for a, b in pairs:
        assert a.shape == b.shape
        assert a.dtype == b.dtype == dtype
        scale = max(1.0, float(np.abs(b).max(initial=0)))
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance * scale, err_msg=name)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("name", GATES)
def test_native_is_its_twin(name: str, size: tuple[int, ...], dtype: Any, isa: str):
    with instruction_set(isa):
        for kernel, args in _calls(name, _arguments(name, size, dtype)):
            _same(kernel, args, dtype)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", GATES)
def test_any_layout(name: str, layout: str):
    for kernel, args in _calls(name, _arguments(name, (3, 4, 5, 6), np.float64)):
        laid = tuple(LAYOUTS[layout](a) if isinstance(a, np.ndarray) else a for a in args)
        _same(kernel, laid, np.float64)


@pytest.mark.parametrize("name", GATES)
def test_no_biases(name: str):
    args = [a for a in _arguments(name, (3, 2, 4, 5), np.float64) if a.ndim > 1]
    _same(name, tuple(args), np.float64)


@pytest.mark.parametrize("name", GATES)
def test_bits_do_not_depend_on_threads(name: str):
    for kernel, args in _calls(name, _arguments(name, (6, 96, 40, 64), np.float32)):
        with tg.num_threads(1):
            alone = getattr(kernels, kernel)(*args)
        with tg.num_threads(2):
            together = getattr(kernels, kernel)(*args)
        pairs = zip(alone, together, strict=True) if type(alone) is tuple else [(alone, together)]
        assert all(np.array_equal(a, b) for a, b in pairs), kernel


@pytest.mark.parametrize("name", GATES)
def test_misfits_are_named(name: str):
    args = _arguments(name, (3, 2, 4, 5), np.float32)
    with pytest.raises(ValueError, match=f"{name}: .*do not fit"):
        getattr(kernels, name)(args[0], args[1][:1], *args[2:])
    with pytest.raises(ValueError, match=f"{name}: a bias of shape"):
        getattr(kernels, name)(*args[:-1], args[-1][:-1])


LAYERS: list[Callable[..., Any]] = [
    nn.RNN, lambda *a, **k: nn.RNN(*a, nonlinearity="relu", **k), nn.GRU, nn.LSTM,
    lambda *a, **k: nn.LSTM(*a, proj_size=2, **k),
]  # fmt: skip


@pytest.mark.parametrize("kind", LAYERS, ids=["tanh", "relu", "gru", "lstm", "projected"])
def test_gradcheck_of_layers(kind: Callable[..., Any]):
    tg.manual_seed(0)
    layer = kind(2, 3, num_layers=2, bidirectional=True).double()
    x = tg.tensor(np.random.default_rng(0).standard_normal((3, 2, 2)), requires_grad=True)
    assert tg.autograd.gradcheck(lambda x: layer(x)[0], (x,))
    assert tg.autograd.gradgradcheck(lambda x: layer(x)[0], (x,))


@pytest.mark.parametrize("kind", [nn.RNN, nn.GRU, nn.LSTM])
def test_forward_mode_agrees_with_reverse_mode(kind: Any):
    tg.manual_seed(0)
    layer = kind(3, 4, batch_first=True).double()
    rng = np.random.default_rng(0)
    x, t, g = (tg.tensor(rng.standard_normal(shape)) for shape in ((2, 5, 3), (2, 5, 3), (2, 5, 4)))
    _, along = tg.func.jvp(lambda x: layer(x)[0], (x,), (t,))
    _, pull = tg.func.vjp(lambda x: layer(x)[0], x)
    assert abs((along * g).sum().item() - (pull(g)[0] * t).sum().item()) < 1e-12


@pytest.mark.parametrize("kind", [nn.RNN, nn.GRU, nn.LSTM])
def test_recorded_steps_are_native_and_equal(kind: Any):
    tg.manual_seed(0)
    layer = kind(5, 6, num_layers=2)
    x = tg.tensor(np.random.default_rng(0).standard_normal((4, 3, 5)).astype(np.float32))

    def step() -> Any:
        layer.zero_grad()
        loss = layer(x)[0].sum()
        loss.backward()
        return loss

    wanted = step().item(), [p.grad.numpy().copy() for p in layer.parameters()]
    compiled = tg.compile(step)
    losses = [compiled().item() for _ in range(4)]
    assert compiled.replays > 0
    assert losses == [wanted[0]] * 4
    for parameter, gradient in zip(layer.parameters(), wanted[1], strict=True):
        assert np.array_equal(parameter.grad.numpy(), gradient)
