"""A convolutional network learns to read handwritten digits (needs scikit-learn).

    python examples/digits.py

What `tilegrad demo` does with a progress bar and a picture, as one page of plain code.
"""

from __future__ import annotations

import argparse

import numpy as np
from sklearn.datasets import load_digits

import tilegrad as tg
from tilegrad import nn, optim


def network() -> nn.Sequential:
    """From images (N, 1, 8, 8) to scores (N, 10)."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.3),
        nn.Linear(32 * 4 * 4, 64),
        nn.ReLU(),
        nn.Linear(64, 10),
    )


def main(arguments: list[str] | None = None) -> float:
    """Train, say what was learned, and return the accuracy on images never trained on."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--batch-size", type=int, default=32)
    options = parser.parse_args(arguments)

    tg.manual_seed(0)
    rng = np.random.default_rng(0)
    digits = load_digits()
    order = rng.permutation(len(digits.target))
    images = (digits.images[order, None] / 16).astype(np.float32)
    labels = digits.target[order]
    held_out = len(labels) // 5

    model = network()
    optimizer = optim.Adam(model.parameters(), lr=1e-3)
    for epoch in range(options.epochs):
        model.train()
        losses = []
        rows = rng.permutation(np.arange(held_out, len(labels)))
        for start in range(0, len(rows), options.batch_size):
            batch = rows[start : start + options.batch_size]
            optimizer.zero_grad()
            scores = model(tg.tensor(images[batch]))
            loss = nn.functional.cross_entropy(scores, tg.tensor(labels[batch]))
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        model.eval()
        with tg.no_grad():
            read = model(tg.tensor(images[:held_out])).argmax(1).numpy()
        accuracy = float((read == labels[:held_out]).mean())
        print(f"epoch {epoch + 1:2}: loss {np.mean(losses):.4f}, held-out accuracy {accuracy:.2%}")

    wrong = np.flatnonzero(read != labels[:held_out])
    mistakes = ", ".join(f"{labels[i]} as {read[i]}" for i in wrong) or "none"
    print(f"learned to read {accuracy:.2%} of {held_out} unseen digits; mistakes: {mistakes}")
    return accuracy


if __name__ == "__main__":
    main()
