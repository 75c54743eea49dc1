"""Regression with second derivatives: Newton's method against gradient descent.

    python examples/second_order.py

A network with one hidden layer fits a noisy curve. Its weights are one flat vector, so that its
Hessian is a matrix: every step solves ``(H + damping I) d = g``. The damping follows Levenberg and
Marquardt: less after a step that helped, more after one that did not.
"""

from __future__ import annotations

import argparse

import numpy as np

import tilegrad as tg


def curve(x: np.ndarray) -> np.ndarray:
    return np.sin(3 * x) + 0.3 * x**2


def model(weights, x, width: int):
    """``w2 . tanh(w1 x + b1) + b2`` at points x (N,), from one vector of 3 width + 1 weights."""
    w1, b1, w2 = (weights[i * width : (i + 1) * width] for i in range(3))
    hidden = tg.tanh(x[:, None] * w1 + b1)
    return hidden @ w2 + weights[3 * width]


def main(arguments: list[str] | None = None) -> tuple[float, float]:
    """Fit both ways, say what was learned, and return the losses (Newton's, descent's)."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--width", type=int, default=12)
    parser.add_argument("--steps", type=int, default=40, help="of Newton's method")
    parser.add_argument("--descent", type=int, default=2000, help="steps of gradient descent")
    options = parser.parse_args(arguments)

    rng = np.random.default_rng(0)
    points = np.sort(rng.uniform(-2, 2, 60))
    x, y = tg.tensor(points), tg.tensor(curve(points) + rng.normal(0, 0.05, points.size))
    start = rng.normal(0, 1, 3 * options.width + 1)

    def loss(weights):
        return ((model(weights, x, options.width) - y) ** 2).mean()

    gradient, hessian = tg.func.grad(loss), tg.func.hessian(loss)
    weights, damping = start, 1.0
    current = loss(tg.tensor(weights)).item()
    for step in range(1, options.steps + 1):
        at = tg.tensor(weights)
        g, h = gradient(at).numpy(), hessian(at).numpy()
        values, vectors = np.linalg.eigh(h)  # |H|: down, also where the curve bends the other way
        trial = weights - vectors @ ((vectors.T @ g) / (abs(values) + damping))
        new = loss(tg.tensor(trial)).item()
        if new < current:
            weights, current, damping = trial, new, damping / 3
        else:
            damping *= 4
        if step % max(1, options.steps // 5) == 0:
            print(f"Newton step {step:3}: loss {current:.6f}, damping {damping:.1e}")

    slow = start
    for _ in range(options.descent):
        slow = slow - 0.05 * gradient(tg.tensor(slow)).numpy()
    descended = loss(tg.tensor(slow)).item()
    print(
        f"learned the curve to a mean square error of {current:.5f} in {options.steps} Newton "
        f"steps (the noise is 0.0025); {options.descent} steps of descent came to {descended:.5f}"
    )
    return current, descended


if __name__ == "__main__":
    main()
