"""Convolution beside PyTorch: the shapes of small networks, forward and with all three gradients.

Rates are GFLOP/s of the arithmetic; the peak of multiply-adds in registers is measured beside each.
Ratios are medians of interleaved pairs (see :mod:`tilegrad.bench.measure`).
"""

from __future__ import annotations

import argparse
import math
import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from tilegrad import kernels
from tilegrad.bench.measure import (
    fma_peak,
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


@dataclass(frozen=True)
class Shape:
    """A square convolution: batch x channels x size^2 -> out channels."""

    name: str
    batch: int
    channels: int
    size: int
    out_channels: int
    kernel: int
    stride: int = 1
    padding: int = 0
    groups: int = 1

    @property
    def label(self) -> str:
        """Read as ``32 x 64 x 56^2 -> 64, k3 p1``."""
        text = (
            f"{self.batch} x {self.channels} x {self.size}^2 -> {self.out_channels}, k{self.kernel}"
        )
        for letter, value, usual in (
            ("s", self.stride, 1),
            ("p", self.padding, 0),
            ("g", self.groups, 1),
        ):
            if value != usual:
                text += f" {letter}{value}"
        return text

    @property
    def flops(self) -> float:
        """Of one direction: two for each multiply-add."""
        out = (self.size + 2 * self.padding - self.kernel) // self.stride + 1
        taps = self.channels // self.groups * self.kernel**2
        return 2.0 * self.batch * self.out_channels * out**2 * taps


#: The eight shapes that convolution was planned with.
EIGHT = [
    Shape("LeNet first layer", 32, 1, 28, 8, 5, padding=2),
    Shape("small second layer", 64, 8, 14, 16, 3, padding=1),
    Shape("CIFAR first layer", 128, 3, 32, 32, 3, padding=1),
    Shape("CIFAR second layer", 32, 32, 32, 64, 3, padding=1),
    Shape("ResNet 56", 32, 64, 56, 64, 3, padding=1),
    Shape("ResNet 14", 8, 256, 14, 256, 3, padding=1),
    Shape("bottleneck 1 x 1", 8, 64, 56, 256, 1),
    Shape("ImageNet stem", 4, 3, 224, 64, 7, stride=2, padding=3),
]


def network_shapes(batch: int) -> list[Shape]:
    """The layers of four small networks: LeNet-5, a CIFAR CNN, ResNet-20, MobileNet blocks."""

    def shape(name: str, *sizes: int, **how: int) -> Shape:
        return Shape(name, batch, *sizes, **how)

    layers = [
        shape("LeNet-5 conv1", 1, 28, 6, 5, padding=2),
        shape("LeNet-5 conv2", 6, 14, 16, 5),
        shape("CIFAR conv1", 3, 32, 32, 3, padding=1),
        shape("CIFAR conv2", 32, 16, 64, 3, padding=1),
        shape("CIFAR conv3", 64, 8, 128, 3, padding=1),
        shape("ResNet-20 16", 16, 32, 16, 3, padding=1),
        shape("ResNet-20 32", 32, 16, 32, 3, padding=1),
        shape("ResNet-20 64", 64, 8, 64, 3, padding=1),
        shape("ResNet-20 down", 16, 32, 32, 3, stride=2, padding=1),
    ]
    for channels, size in ((32, 32), (64, 16), (128, 8)):
        layers += [
            shape(f"depthwise {channels}", channels, size, channels, 3, padding=1, groups=channels),
            shape(f"pointwise {channels}", channels, size, 2 * channels, 1),
        ]
    return layers


def forward_and_backward(
    shape: Shape, torch: Any
) -> Iterator[tuple[str, float, dict[str, Callable[[], object]]]]:
    """What is timed: its direction, its flops, and who computes it how."""
    rng = np.random.default_rng(0)
    s = shape
    x = rng.standard_normal((s.batch, s.channels, s.size, s.size), dtype=np.float32)
    w = rng.standard_normal(
        (s.out_channels, s.channels // s.groups, s.kernel, s.kernel), dtype=np.float32
    )
    bias = rng.standard_normal(s.out_channels, dtype=np.float32)
    how = (s.stride, s.padding, 1, s.groups)
    g = np.ones_like(kernels.conv(x, w, bias, *how))

    def forward() -> object:
        return kernels.conv(x, w, bias, *how)

    def both() -> object:
        kernels.conv(x, w, bias, *how)
        dx = kernels.conv_input_grad(g, w, x.shape, *how)
        return dx, kernels.conv_weight_grad(g, x, w.shape, *how), kernels.sum(g, (0, 2, 3))

    ours: dict[str, Callable[[], object]] = {"forward": forward, "forward + backward": both}
    theirs: dict[str, Callable[[], object]] = {}
    if torch is not None:
        tx, tw, tb, tg = (torch.from_numpy(a) for a in (x, w, bias, g))
        stride, padding = [s.stride] * 2, [s.padding] * 2

        def torch_forward() -> object:
            return torch.conv2d(tx, tw, tb, stride, padding, [1, 1], s.groups)

        def torch_both() -> object:
            torch_forward()
            return torch.ops.aten.convolution_backward(
                tg, tx, tw, [s.out_channels], stride, padding, [1, 1], False, [0, 0], s.groups,
                [True] * 3,
            )  # fmt: skip

        theirs = {"forward": torch_forward, "forward + backward": torch_both}
    for direction, factor in (("forward", 1), ("forward + backward", 3)):
        functions = {"tilegrad": ours[direction]}
        if theirs:
            functions["PyTorch"] = theirs[direction]
        yield direction, factor * s.flops, functions


def import_torch() -> Any:
    """PyTorch if it is installed, or None."""
    try:
        import torch
    except ImportError:
        return None
    return torch


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``tilegrad bench conv`` and ``bench/conv.py``."""
    parser.add_argument(
        "--batch", type=int, nargs="*", default=[], metavar="N",
        help="also the layers of four small networks at these batch sizes",
    )  # fmt: skip
    add_measuring_arguments(parser, rounds=20)


def run(options: argparse.Namespace) -> int:
    """Measure, print one table per set of shapes, and keep the figures where asked."""
    torch = import_torch()
    set_threads(options.threads)
    sets = [("the eight shapes", EIGHT)]
    sets += [(f"small networks, batch {n}", network_shapes(n)) for n in options.batch]
    records: list[dict[str, Any]] = []
    print(f"{machine()['brand']}, {options.threads} thread(s), float32")
    for title, shapes in sets:
        rows: list[list[str]] = []
        ratios: dict[str, list[float]] = {"forward": [], "forward + backward": []}
        for shape in progress(shapes, title):
            cells = [shape.name, shape.label]
            for direction, flops, functions in forward_and_backward(shape, torch):
                peak = fma_peak("float32", options.threads)
                times = interleave(functions, rounds=options.rounds)
                rate = flops / statistics.median(times["tilegrad"])
                record = {"shape": shape.label, "direction": direction, "threads": options.threads,
                          "gflops": rate / 1e9, "peak": peak / 1e9}  # fmt: skip
                cells += [f"{rate / 1e9:.0f}", f"{rate / peak:.0%}"]
                if torch is not None:
                    ratio = paired_ratio(times["PyTorch"], times["tilegrad"])
                    ratios[direction].append(ratio.median)
                    record["ratio"] = ratio.median
                    cells.append(str(ratio))
                else:
                    cells.append("-")
                records.append(record)
            rows.append(cells)
        header = [
            "",
            "shape",
            "forward",
            "of peak",
            "x PyTorch",
            "with backward",
            "of peak",
            "x PyTorch",
        ]
        print(
            f"\n{title}: GFLOP/s, share of the peak measured beside it, times faster than PyTorch"
        )
        print(table(header, rows))
        for direction, values in ratios.items():
            if values and not math.isnan(values[0]):
                print(
                    f"{direction}: geometric mean {geometric_mean(values):.2f}x, "
                    f"least {min(values):.2f}x"
                )
    if options.json:
        save_json(options.json, {"conv": records})
    return 0
