"""The network that reads digits, and its training loop."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

import tilegrad as tg
from tilegrad import nn, optim
from tilegrad.demo.digits import Digits

Array = NDArray[Any]

CLASSES = 10
LEARNING_RATE = 4e-3  # at the top of its course
WARM_UP = 0.3  # of all steps
WEIGHT_DECAY = 1e-2
SMOOTHING = 0.05  # of labels: a little doubt, so that no weight grows for ever
AT_ONCE = 500  # images read without learning


@dataclass
class History:
    """What happened: one loss for each step, one held-out accuracy for each epoch."""

    losses: list[float] = field(default_factory=list)
    accuracies: list[float] = field(default_factory=list)
    seconds: float = 0.0


def network(height: int, width: int) -> nn.Sequential:
    """Two convolutions and two linear layers; images from 16 pixels on are pooled twice.

    >>> sum(p.numel() for p in network(8, 8).parameters())
    38346
    """
    first = nn.Conv2d(1, 16, 3, padding=1)
    early_pool = [nn.MaxPool2d(2)] if min(height, width) >= 16 else []
    height, width = (height // 2, width // 2) if early_pool else (height, width)
    return nn.Sequential(
        first,
        nn.ReLU(),
        *early_pool,
        nn.Conv2d(16, 32, 3, padding=1),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.3),
        nn.Linear(32 * (height // 2) * (width // 2), 64),
        nn.ReLU(),
        nn.Linear(64, CLASSES),
    )


def learning_rate(step: int, steps: int) -> float:
    """One cycle (L. Smith, "Super-convergence", 2018): up over the warm-up, down along a cosine."""
    share = step / steps
    if share < WARM_UP:
        return LEARNING_RATE * (0.04 + 0.96 * share / WARM_UP)
    return LEARNING_RATE * 0.5 * (1 + math.cos(math.pi * (share - WARM_UP) / (1 - WARM_UP)))


def batches(count: int, size: int, rng: np.random.Generator) -> Iterator[Array]:
    """The numbers below ``count`` in random order, ``size`` at a time."""
    order = rng.permutation(count)
    for start in range(0, count, size):
        yield order[start : start + size]


def read(model: nn.Module, images: Array) -> tuple[Array, Array]:
    """The digit that the network sees in each image, and how sure it is: (N,) integers, floats."""
    model.eval()
    with tg.no_grad():
        chances = [
            nn.functional.softmax(model(tg.tensor(images[start : start + AT_ONCE])), dim=1).numpy()
            for start in range(0, len(images), AT_ONCE)
        ]
    model.train()
    everything = np.concatenate(chances)
    return everything.argmax(axis=1), everything.max(axis=1)


def train(
    model: nn.Module,
    data: Digits,
    *,
    epochs: int,
    batch_size: int,
    seed: int,
    on_step: Callable[[History], None] = lambda history: None,
) -> History:
    """Train ``model`` on ``data``; ``on_step`` is called after every step.

    The course of the training is fixed by ``seed`` (and the model's weights).
    """
    history = History()
    rng = np.random.default_rng(seed)
    loss_function = nn.CrossEntropyLoss(label_smoothing=SMOOTHING)
    optimizer = optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    steps = epochs * math.ceil(len(data.train_labels) / batch_size)
    start = time.perf_counter()
    for _ in range(epochs):
        for rows in batches(len(data.train_labels), batch_size, rng):
            optimizer.param_groups[0]["lr"] = learning_rate(len(history.losses), steps)
            optimizer.zero_grad()
            scores = model(tg.tensor(data.train_images[rows]))
            loss = loss_function(scores, tg.tensor(data.train_labels[rows]))
            loss.backward()
            optimizer.step()
            history.losses.append(loss.item())
            on_step(history)
        right = read(model, data.test_images)[0] == data.test_labels
        history.accuracies.append(float(right.mean()))
    history.seconds = time.perf_counter() - start
    return history
