"""Hessians and per-sample gradients of a two-layer network, beside torch.func.

    python bench/calculus.py

A network 16-22-6 with tanh and a squared error on 32 samples has 512 parameters, in one vector.
The two libraries are timed interleaved, on one thread.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

import tilegrad as tg
from tilegrad import func
from tilegrad.bench.measure import set_threads

SIZES = 16, 22, 6
SAMPLES = 32
ROUNDS = 21


def network(library: Any, inputs: Any, targets: Any) -> Callable[[Any], Any]:
    """The loss as a function of all parameters in one vector."""
    n0, n1, n2 = SIZES
    cuts = np.cumsum([n1 * n0, n1, n2 * n1, n2])

    def loss(p: Any) -> Any:
        W1, b1 = p[: cuts[0]].reshape(n1, n0), p[cuts[0] : cuts[1]]
        W2, b2 = p[cuts[1] : cuts[2]].reshape(n2, n1), p[cuts[2] :]
        hidden = library.tanh(inputs @ W1.T + b1)
        return ((hidden @ W2.T + b2 - targets) ** 2).mean()

    return loss


def compare(ours: Callable[[], Any], theirs: Callable[[], Any]) -> tuple[float, float, float]:
    """Median milliseconds of both and the median of the paired ratios theirs / ours."""
    samples: list[tuple[float, float]] = []
    for _ in range(ROUNDS):
        times = {}
        for index in random.sample([0, 1], 2):
            start = time.perf_counter()
            (ours, theirs)[index]()
            times[index] = time.perf_counter() - start
        samples.append((times[0] * 1e3, times[1] * 1e3))
    samples = samples[1:]
    return (
        statistics.median(a for a, _ in samples),
        statistics.median(b for _, b in samples),
        statistics.median(b / a for a, b in samples),
    )


def main() -> None:
    """Print one line per task and dtype."""
    import torch

    set_threads(1)
    rng = np.random.default_rng(0)
    n0, n1, n2 = SIZES
    size = n0 * n1 + n1 + n1 * n2 + n2
    print(f"{'':34}tilegrad ms   torch ms   torch / tilegrad")
    for dtype in (np.float32, np.float64):
        x, y, p = (
            (0.3 * rng.standard_normal(shape)).astype(dtype)
            for shape in ((SAMPLES, n0), (SAMPLES, n2), (size,))
        )
        ours, at = network(tg, tg.tensor(x), tg.tensor(y)), tg.tensor(p)
        theirs = network(torch, torch.tensor(x), torch.tensor(y))
        there = torch.tensor(p)
        difference = np.abs(
            func.hessian(ours)(at).numpy() - torch.func.hessian(theirs)(there).numpy()
        ).max()
        assert difference <= 100 * np.finfo(dtype).eps, difference
        line = compare(
            lambda f=ours, a=at: func.hessian(f)(a),
            lambda f=theirs, a=there: torch.func.hessian(f)(a),
        )
        print(f"{f'Hessian, {size} parameters, {np.dtype(dtype)}':34}", end="")
        print(f"{line[0]:8.2f}   {line[1]:8.2f}   {line[2]:8.2f}")


if __name__ == "__main__":
    main()
