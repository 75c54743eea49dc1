"""Pooling and normalisation beside PyTorch and beside a copy of the bytes they must move.

The copy is ``np.copyto`` of as many bytes as forward and backward read and write at least, on the
same number of threads as PyTorch would use for it: one.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tilegrad import kernels
from tilegrad.bench.conv import import_torch
from tilegrad.bench.measure import (
    geometric_mean,
    interleave,
    machine,
    paired_ratio,
    progress,
    save_json,
    set_threads,
    table,
)
from tilegrad.cli.arguments import add_measuring_arguments

Function = Callable[[], object]


@dataclass(frozen=True)
class Layer:
    """Forward and backward of one layer, ours and theirs, and the bytes both must move."""

    name: str
    moved: int
    ours: Function
    theirs: Function | None


def copy_of(moved: int) -> Function:
    """A copy that reads and writes ``moved`` bytes in all."""
    source = np.ones(moved // 8, np.float32)
    target = np.empty_like(source)
    return lambda: np.copyto(target, source)


def pools(x: np.ndarray, torch: Any) -> list[Layer]:
    """Max and average pooling over (N, C, H, W)."""
    layers = []
    for kernel, stride, padding in ((2, 2, 0), (3, 2, 1), (3, 1, 1)):
        window = (kernel, stride, padding)
        y, at = kernels.max_pool(x, *window)
        g = np.ones_like(y)
        tx, tg = (None, None) if torch is None else (torch.from_numpy(x), torch.from_numpy(g))
        sizes = [[v, v] for v in window]

        def max_ours(window: Any = window, g: Any = g) -> object:
            y, at = kernels.max_pool(x, *window)
            return y, kernels.pool_scatter(g, at, x.shape)

        def max_theirs(sizes: Any = sizes, tx: Any = tx, tg: Any = tg) -> object:
            aten = torch.ops.aten
            y, at = aten.max_pool2d_with_indices(tx, *sizes)
            return y, aten.max_pool2d_with_indices_backward(tg, tx, *sizes, [1, 1], False, at)

        def avg_ours(window: Any = window, g: Any = g) -> object:
            return kernels.avg_pool(x, *window), kernels.avg_pool_grad(g, x.shape, *window)

        def avg_theirs(sizes: Any = sizes, tx: Any = tx, tg: Any = tg) -> object:
            aten = torch.ops.aten
            y = aten.avg_pool2d(tx, *sizes)
            return y, aten.avg_pool2d_backward(tg, tx, *sizes, False, True, None)

        label = f"{kernel} x {kernel}, stride {stride}"
        moved = 2 * (x.nbytes + y.nbytes)
        given = torch is not None
        layers += [
            Layer(
                f"max pool {label}", moved + 2 * at.nbytes, max_ours, max_theirs if given else None
            ),
            Layer(f"avg pool {label}", moved, avg_ours, avg_theirs if given else None),
        ]
    return layers


def batch_norm(x: np.ndarray, torch: Any) -> Layer:
    """Training batch norm over (N, C, H, W)."""
    w, g = np.ones(x.shape[1], np.float32), np.ones_like(x)

    def ours() -> object:
        y, mean, rstd, _ = kernels.batch_norm_train(x, w, w)
        return y, kernels.batch_norm_grad(g, x, mean, rstd, w)

    theirs = None
    if torch is not None:
        aten = torch.ops.aten
        tx, tw, tg = (torch.from_numpy(a) for a in (x, w, g))

        def theirs() -> object:
            y, mean, rstd = aten.native_batch_norm(tx, tw, tw, None, None, True, 0.1, 1e-5)
            return y, aten.native_batch_norm_backward(
                tg, tx, tw, None, None, mean, rstd, True, 1e-5, [True] * 3
            )

    return Layer(f"batch norm {x.shape}", 5 * x.nbytes, ours, theirs)


def layer_norm(rows: int, size: int, torch: Any) -> Layer:
    """Layer norm over (rows, size)."""
    x = np.random.default_rng(1).standard_normal((rows, size), dtype=np.float32)
    w, g = np.ones(size, np.float32), np.ones_like(x)

    def ours() -> object:
        y, mean, rstd = kernels.layer_norm(x, 1, w, w)
        return y, kernels.layer_norm_grad(g, x, mean, rstd, w, 1)

    theirs = None
    if torch is not None:
        aten = torch.ops.aten
        tx, tw, tg = (torch.from_numpy(a) for a in (x, w, g))

        def theirs() -> object:
            y, mean, rstd = aten.native_layer_norm(tx, [size], tw, tw, 1e-5)
            return y, aten.native_layer_norm_backward(
                tg, tx, [size], mean, rstd, tw, tw, [True] * 3
            )

    return Layer(f"layer norm ({rows}, {size})", 5 * x.nbytes, ours, theirs)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``tilegrad bench layers`` and ``bench/layers.py``."""
    add_measuring_arguments(parser, rounds=20)


def run(options: argparse.Namespace) -> int:
    """Measure forward + backward of every layer and print one table."""
    torch = import_torch()
    set_threads(options.threads)
    x = np.random.default_rng(0).standard_normal((32, 64, 28, 28), dtype=np.float32)
    layers = [*pools(x, torch), batch_norm(x, torch)]
    layers += [layer_norm(*sizes, torch) for sizes in ((4096, 64), (2048, 768), (256, 4096))]
    rows, ratios, records = [], [], []
    for layer in progress(layers, "layers"):
        functions = {"tilegrad": layer.ours, "copy": copy_of(layer.moved)}
        if layer.theirs is not None:
            functions["PyTorch"] = layer.theirs
        times = interleave(functions, rounds=options.rounds)
        ours = times["tilegrad"]
        copies = paired_ratio(ours, times["copy"]).median
        record = {"layer": layer.name, "seconds": statistics.median(ours), "copies": copies}
        cells = [layer.name, f"{record['seconds'] * 1e6:.0f}", f"{copies:.1f}"]
        if layer.theirs is not None:
            ratio = paired_ratio(times["PyTorch"], ours)
            ratios.append(ratio.median)
            record["ratio"] = ratio.median
        cells.append(str(ratio) if layer.theirs is not None else "-")
        rows.append(cells)
        records.append(record)
    print(f"{machine()['brand']}, {options.threads} thread(s), float32, forward + backward")
    print(table(["layer", "microseconds", "copies of the bytes", "x PyTorch"], rows))
    if ratios:
        print(f"geometric mean {geometric_mean(ratios):.2f}x, least {min(ratios):.2f}x")
    if options.json:
        save_json(options.json, {"layers": records})
    return 0
