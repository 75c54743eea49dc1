"""Gradients of linear algebra beside PyTorch: ``python bench/linalg.py [--threads N]``.

Value and gradient together, in float64, interleaved; the last column says how many times faster.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import numpy as np

import tilegrad as tg
from tilegrad.bench.measure import interleave, paired_ratio, set_threads, table


def cases(torch: Any) -> dict[str, tuple[Callable[..., Any], Callable[..., Any], list[Any]]]:
    """Name, PyTorch's function, ours, and the arguments."""
    rng = np.random.default_rng(0)
    n = 256
    A, B = rng.standard_normal((2, n, n))
    A += 4 * np.eye(n)
    spd = A @ A.T / n + np.eye(n)
    theirs, ours = torch.linalg, tg.linalg
    return {
        "inv 256": (lambda a: theirs.inv(a).sum(), lambda a: ours.inv(a).sum(), [A]),
        "det 256": (theirs.det, ours.det, [A]),
        "logdet 256": (torch.logdet, ours.logdet, [spd]),
        "solve 256 x 256": (
            lambda a, b: theirs.solve(a, b).sum(), lambda a, b: ours.solve(a, b).sum(), [A, B]
        ),
        "solve 256 x 1": (
            lambda a, b: theirs.solve(a, b).sum(), lambda a, b: ours.solve(a, b).sum(), [A, B[0]]
        ),
        "expm 200": (
            lambda a: theirs.matrix_exp(a).sum(), lambda a: ours.expm(a).sum(),
            [rng.standard_normal((200, 200))],
        ),
    }  # fmt: skip


def step(function: Callable[..., Any], leaves: list[Any]) -> Callable[[], None]:
    """One value and gradient."""

    def run() -> None:
        for leaf in leaves:
            leaf.grad = None
        function(*leaves).backward()

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    threads = parser.parse_args().threads
    import torch

    set_threads(threads)
    torch.set_num_threads(threads)
    rows = []
    for name, (theirs, ours, arrays) in cases(torch).items():
        times = interleave({
            "torch": step(theirs, [torch.tensor(a, requires_grad=True) for a in arrays]),
            "tilegrad": step(ours, [tg.tensor(a, requires_grad=True) for a in arrays]),
        })  # fmt: skip
        ratio = paired_ratio(times["torch"], times["tilegrad"])
        medians = [f"{1e3 * float(np.median(times[key])):.2f} ms" for key in ("torch", "tilegrad")]
        rows.append([name, *medians, str(ratio)])
    print(table(["value and gradient", "PyTorch", "tilegrad", "faster"], rows))


if __name__ == "__main__":
    main()
