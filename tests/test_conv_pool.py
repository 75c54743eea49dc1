"""Convolution, ReLU and max pooling in one pass: the bits of the three one after the other."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from conv_cases import CONVS, DTYPES, ISAS, LAYOUTS, Conv, instruction_set, refusing, threads

import tilegrad as tg
from tilegrad import _native, kernels, nn
from tilegrad.ops import convolution

#: kernel_size, stride, padding, dilation, ceil_mode.
WINDOWS = [(2, None, 0, 1, False), (3, 2, 1, 1, True), (2, 1, 1, 2, False)]


def cases():
    """Every convolution of the table whose output a window fits, with every window that does."""
    for case, window in itertools.product(CONVS, WINDOWS):
        shape = kernels.conv(np.zeros(case.x), np.zeros(case.w), None, *case.window).shape
        size, _, padding, dilation, _ = window
        if min(shape[2:]) + 2 * padding > dilation * (size - 1):
            yield case, window


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_same_bits_as_one_after_the_other(isa, dtype):
    rng = np.random.default_rng(0)
    checks = 0
    with instruction_set(isa):
        for (case, window), layout in itertools.product(cases(), LAYOUTS[:2]):
            x, w = (rng.standard_normal(shape).astype(dtype) for shape in (case.x, case.w))
            if x.size:
                x.flat[-1] = np.nan
            bias = rng.standard_normal(len(w)).astype(dtype)
            for b, activation in ((bias, "relu"), (None, None)):
                got = kernels.conv_max_pool(layout(x), w, b, *case.window, activation, *window)
                y = kernels.conv(x, w, b, *case.window, activation)
                for a, wanted in zip(got, kernels.max_pool(y, *window), strict=True):
                    np.testing.assert_array_equal(a, wanted, f"{case} {window}")
                    assert a.dtype == wanted.dtype
                checks += 1
    assert checks > 200


def test_blocks_of_channels_and_groups_have_the_same_bits():
    """Outputs too large for a block of one image, on any number of threads."""
    rng = np.random.default_rng(1)
    for case in (
        Conv((2, 3, 200, 210), (40, 3, 3, 3), padding=1),
        Conv((3, 12, 180, 200), (36, 2, 3, 3), padding=1, groups=6),
        Conv((40, 3, 20, 20), (8, 3, 3, 3)),
    ):
        x, w = (rng.random(shape, np.float32) for shape in (case.x, case.w))
        y = kernels.conv(x, w, None, *case.window)
        for count in (1, 2, 5):
            with threads(count):
                got = kernels.conv_max_pool(x, w, None, *case.window)
                for a, wanted in zip(got, kernels.max_pool(y, 2), strict=True):
                    np.testing.assert_array_equal(a, wanted, str(case))


def test_it_runs_natively():
    declined = []
    for case, window in cases():
        x, w = np.zeros(case.x, np.float32), np.zeros(case.w, np.float32)
        try:
            _native.Kernel(refusing("conv_max_pool"))(x, w, None, *case.window, None, *window)
        except AssertionError:
            declined.append((case, window))
    assert declined == []


def networks():
    """Rows of layers that fuse, or must not; each with an input."""
    rng = np.random.default_rng(2)
    image = rng.standard_normal((3, 2, 11, 12)).astype(np.float32)
    return {
        "pool": ([nn.Conv2d(2, 5, 3), nn.MaxPool2d(2)], image),
        "relu, pool": ([nn.Conv2d(2, 5, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)], image),
        "no bias": ([nn.Conv2d(2, 5, 3, bias=False), nn.ReLU(), nn.MaxPool2d(3, 2, 1)], image),
        "groups": ([nn.Conv2d(2, 4, 3, 2, groups=2), nn.ReLU(), nn.MaxPool2d(2, 1)], image),
        "circular": (
            [nn.Conv2d(2, 3, 3, padding=1, padding_mode="circular"), nn.ReLU(), nn.MaxPool2d(2)],
            image,
        ),
        "unbatched": ([nn.Conv2d(2, 5, 3), nn.ReLU(), nn.MaxPool2d(2)], image[0]),
        "one axis": ([nn.Conv1d(2, 5, 3), nn.ReLU(), nn.MaxPool1d(2)], image[:, :, 0]),
        "three axes": (
            [nn.Conv3d(2, 3, 2), nn.ReLU(), nn.MaxPool3d(2)],
            rng.standard_normal((2, 2, 5, 6, 7)).astype(np.float32),
        ),
        "large weights": ([nn.Conv2d(2, 4096, 3), nn.ReLU(), nn.MaxPool2d(2)], image[:1]),
        "twice": (
            [nn.Conv2d(2, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 3, 2), nn.ReLU()],
            image,
        ),
    }


def gradients(run, layers, x):
    """The output of ``run(x)`` and all gradients of a weighted sum of it."""
    x = tg.tensor(x, requires_grad=True)
    for layer in layers:
        layer.zero_grad()
    y = run(x)
    weights = np.random.default_rng(3).standard_normal(y.shape).astype(np.float32)
    (y * tg.tensor(weights)).sum().backward()
    parameters = [p for layer in layers for p in layer.parameters()]
    return [y.detach().numpy(), x.grad.numpy(), *[p.grad.numpy() for p in parameters]]


@pytest.mark.parametrize("name", networks())
def test_a_row_of_layers_gives_what_its_layers_give(name):
    """Output and every gradient, to the bit."""
    layers, x = networks()[name]

    def one_by_one(x):
        for layer in layers:
            x = layer(x)
        return x

    fused = gradients(nn.Sequential(*layers), layers, x)
    for a, wanted in zip(fused, gradients(one_by_one, layers, x), strict=True):
        np.testing.assert_array_equal(a, wanted)


def test_a_row_of_layers_takes_the_fused_kernel(monkeypatch):
    """Unless weights are large, or something must see what passes between its layers."""
    taken = []
    op = convolution.conv_max_pool
    monkeypatch.setattr(convolution, "conv_max_pool", lambda *a: taken.append(a) or op(*a))
    for name, (layers, x) in networks().items():
        taken.clear()
        nn.Sequential(*layers)(tg.tensor(x))
        assert len(taken) == (name != "large weights"), name
        for layer in layers[:2]:
            taken.clear()
            handle = layer.register_forward_hook(lambda *_: None)
            nn.Sequential(*layers)(tg.tensor(x))
            handle.remove()
            assert not taken, name


def test_a_recorded_step_replays_it():
    layers, x = networks()["relu, pool"]
    net = nn.Sequential(*layers)

    @tg.compile
    def step(x):
        loss = (net(x) ** 2).sum()
        loss.backward()
        return loss

    losses = []
    for scale in (1.0, 2.0, 1.0):
        net.zero_grad()
        losses.append(step(tg.tensor(x * np.float32(scale))).item())
        wanted = (net(tg.tensor(x * np.float32(scale))) ** 2).sum().item()
        assert losses[-1] == wanted
    assert losses[0] == losses[2] != losses[1]
