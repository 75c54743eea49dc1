"""Networks learn: a convolutional network and a perceptron fit what they are shown."""

from __future__ import annotations

import numpy as np
import pytest

import tilegrad as tg
from tilegrad import nn


def _stripes(count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Noisy images of horizontal (0) and vertical (1) stripes."""
    labels = rng.integers(0, 2, count)
    wave = np.sin(np.arange(8) * np.pi / 2)
    images = np.where(labels[:, None, None] == 0, wave[:, None], wave[None, :])
    noisy = images[:, None] + 0.3 * rng.standard_normal((count, 1, 8, 8))
    return noisy.astype(np.float32), labels


def test_convolutional_network_learns():
    rng = np.random.default_rng(0)
    x, y = _stripes(256, rng)
    tg.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.BatchNorm2d(4),
        nn.Flatten(), nn.Linear(4 * 4 * 4, 2),
    )  # fmt: skip
    optimizer = tg.optim.Adam(net.parameters(), lr=1e-2)
    loader = tg.data.DataLoader(tg.data.TensorDataset(x, y), batch_size=32, shuffle=True)
    losses = []
    for _ in range(4):
        for images, labels in loader:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(net(images), labels)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    assert losses[-1] < 0.1 * losses[0]
    test_x, test_y = _stripes(128, rng)
    net.eval()
    with tg.no_grad():
        found = net(tg.tensor(test_x)).numpy().argmax(axis=1)
    assert np.mean(found == test_y) > 0.98


@pytest.mark.parametrize("make", [
    lambda p: tg.optim.SGD(p, lr=0.1, momentum=0.9),
    lambda p: tg.optim.AdamW(p, lr=1e-2),
    lambda p: tg.optim.RMSprop(p, lr=1e-2),
    lambda p: tg.optim.Adagrad(p, lr=0.1),
])  # fmt: skip
def test_perceptron_learns(make):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((64, 3)).astype(np.float32)
    y = np.sin(x.sum(axis=1, keepdims=True))
    tg.manual_seed(1)
    net = nn.Sequential(nn.Linear(3, 32), nn.Tanh(), nn.Linear(32, 1))
    optimizer = make(net.parameters())
    first = None
    for _ in range(200):
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(net(tg.tensor(x)), tg.tensor(y))
        loss.backward()
        optimizer.step()
        first = loss.item() if first is None else first
    assert loss.item() < 0.1 * first


def test_same_seed_same_training():
    def run() -> list[np.ndarray]:
        tg.manual_seed(5)
        net = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.3), nn.ReLU(), nn.Linear(8, 2))
        optimizer = tg.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
        x = tg.tensor(np.random.default_rng(0).standard_normal((16, 4)).astype(np.float32))
        for _ in range(5):
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(x), tg.tensor(np.arange(16) % 2)).backward()
            optimizer.step()
        return [p.detach().numpy().copy() for p in net.parameters()]

    for a, b in zip(run(), run(), strict=True):
        assert np.array_equal(a, b)
