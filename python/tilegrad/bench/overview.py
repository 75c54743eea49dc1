"""The default bench: products and convolutions beside NumPy and PyTorch in about a minute."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from tilegrad import kernels
from tilegrad.bench.measure import (
    fma_peak,
    geometric_mean,
    interleave,
    paired_ratio,
    progress,
    set_threads,
    table,
)

ROUNDS = 30  # enough for quartiles; the whole takes about a minute
TWIN = "twin"  # our own reference in NumPy: NumPy has no convolution of images

Functions = dict[str, Callable[[], object]]


@dataclass(frozen=True)
class Work:
    """Something to compute: its name, size and dtype, and who computes it how."""

    name: str
    dtype: str
    flops: float
    functions: Functions


@dataclass(frozen=True)
class Measured:
    """How fast tilegrad did a work, and how many times faster than each peer."""

    work: Work
    threads: int
    rate: float  # GFLOP/s
    share: float  # of the peak measured beside it
    ratios: dict[str, float]

    def record(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "work": self.work.name,
            "dtype": self.work.dtype,
            "threads": self.threads,
            "gflops": self.rate,
            "share of peak": self.share,
            "ratios": self.ratios,
        }


def optional(name: str) -> ModuleType | None:
    """A module if it is installed."""
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


def product(m: int, n: int, k: int, dtype: str, torch: Any) -> Work:
    """``(m, k) @ (k, n)`` into a fresh array."""
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((m, k)).astype(dtype), rng.standard_normal((k, n)).astype(dtype)
    functions: Functions = {
        "tilegrad": lambda: kernels.matmul(a, b),
        "NumPy": lambda: np.matmul(a, b),
    }
    if torch is not None:
        ta, tb = torch.from_numpy(a), torch.from_numpy(b)
        functions["PyTorch"] = lambda: torch.matmul(ta, tb)
    return Work(f"matmul {m} x {k} x {n}", dtype, 2.0 * m * n * k, functions)


def convolution(
    batch: int, channels: int, size: int, out_channels: int, taps: int, torch: Any
) -> Iterator[Work]:
    """A square convolution that keeps the image's size: forward, then all three gradients."""
    rng = np.random.default_rng(0)
    pad = taps // 2
    x = rng.standard_normal((batch, channels, size, size)).astype(np.float32)
    w = rng.standard_normal((out_channels, channels, taps, taps)).astype(np.float32)
    bias = rng.standard_normal(out_channels).astype(np.float32)
    g = rng.standard_normal((batch, out_channels, size, size)).astype(np.float32)
    how: dict[str, Any] = {"padding": pad}

    def gradients(of: Any) -> Callable[[], object]:
        return lambda: (
            of.conv_input_grad(g, w, x.shape, **how),
            of.conv_weight_grad(g, x, w.shape, **how),
            g.sum(axis=(0, 2, 3)) if of is kernels.reference else of.sum(g, (0, 2, 3)),
        )

    forward: Functions = {
        "tilegrad": lambda: kernels.conv(x, w, bias, **how),
        TWIN: lambda: kernels.reference.conv(x, w, bias, **how),
    }
    backward: Functions = {
        "tilegrad": gradients(kernels),
        TWIN: gradients(kernels.reference),
    }
    if torch is not None:
        tx, tw, tb, tg = (torch.from_numpy(array) for array in (x, w, bias, g))
        forward["PyTorch"] = lambda: torch.conv2d(tx, tw, tb, padding=pad)
        backward["PyTorch"] = lambda: torch.ops.aten.convolution_backward(
            tg, tx, tw, [out_channels], [1, 1], [pad, pad], [1, 1], False, [0, 0], 1, [True] * 3
        )
    name = f"{batch} x {channels} x {size}^2 -> {out_channels}, {taps} x {taps}"
    flops = 2.0 * batch * out_channels * size**2 * channels * taps**2
    yield Work(f"conv {name}", "float32", flops, forward)
    yield Work(f"conv gradients {name}", "float32", 2 * flops, backward)


def works(torch: Any) -> list[Work]:
    """What is measured: square products, a network's products, three kinds of convolution."""
    products = [
        product(n, n, n, dtype, torch) for dtype in ("float32", "float64") for n in (32, 128, 1024)
    ]
    layers = [product(32, 128, 784, "float32", torch), product(1, 1000, 4096, "float32", torch)]
    shapes = [(32, 1, 28, 8, 5), (64, 8, 14, 16, 3), (8, 64, 28, 64, 3)]
    convolutions = [work for shape in shapes for work in convolution(*shape, torch=torch)]
    return [*products, *layers, *convolutions]


def measure(work: Work, threads: int) -> Measured:
    """Time one work for everyone, interleaved, with the peak measured beside it."""
    set_threads(threads)
    peak = fma_peak(work.dtype, threads)
    times = interleave(work.functions, rounds=ROUNDS)
    ours = times.pop("tilegrad")
    rate = work.flops / float(np.median(ours))
    ratios = {name: paired_ratio(theirs, ours).median for name, theirs in times.items()}
    return Measured(work, threads, rate / 1e9, rate / peak, ratios)


def report(results: list[Measured], peers: list[str]) -> str:
    """The table, and below it each peer's geometric mean over the work that it does itself."""
    rows = [
        [
            result.work.name,
            result.work.dtype,
            str(result.threads),
            f"{result.rate:.1f}",
            f"{result.share:.0%}",
            *[f"{result.ratios[peer]:.2f}" if peer in result.ratios else "-" for peer in peers],
        ]
        for result in results
    ]
    header = ["work", "dtype", "threads", "GFLOP/s", "of peak", *[f"x {peer}" for peer in peers]]
    shared = {
        peer: [result.ratios[peer] for result in results if peer in result.ratios]
        for peer in peers
        if peer != TWIN
    }
    means = [f"{geometric_mean(own):.2f} times as fast as {peer}" for peer, own in shared.items()]
    return table(header, rows) + f"\n\ngeometric mean: {', '.join(means)}"


def run(threads: list[int]) -> list[Measured]:
    """Measure everything on each number of threads."""
    torch = optional("torch")
    todo = [(work, count) for count in threads for work in works(torch)]
    return [measure(work, count) for work, count in progress(todo, "bench")]
