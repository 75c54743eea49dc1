"""Elementwise, reduction and softmax kernels beside NumPy and PyTorch, interleaved in one process.

    python bench/elementwise.py [--threads N] [--json FILE]

Prints microseconds of a call, GB/s of memory touched, and how many times faster than the others.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from typing import Any

import numpy as np

from tilegrad import kernels
from tilegrad.bench import measure

SIZES = (8, 1_000, 100_000, 4_000_000)  # call overhead, L1, L2, memory

UNARY: dict[str, tuple[Callable[..., Any] | None, str | None]] = {
    "exp": (np.exp, "exp"),
    "log": (np.log, "log"),
    "tanh": (np.tanh, "tanh"),
    "sigmoid": (None, "sigmoid"),
    "erf": (None, "erf"),
    "gelu": (None, "nn.functional.gelu"),
    "silu": (None, "nn.functional.silu"),
    "softplus": (None, "nn.functional.softplus"),
    "relu": (lambda x: np.maximum(x, 0), "relu"),
    "sqrt": (np.sqrt, "sqrt"),
    "sum": (np.sum, "sum"),
    "amax": (np.amax, "amax"),
}
BINARY: dict[str, tuple[Callable[..., Any], str]] = {
    "add": (np.add, "add"),
    "multiply": (np.multiply, "mul"),
    "divide": (np.divide, "div"),
}


def _torch() -> Any:
    try:
        import torch
    except ImportError:
        return None
    return torch


def _find(torch: Any, path: str) -> Callable[..., Any]:
    for name in path.split("."):
        torch = getattr(torch, name)
    return torch  # type: ignore[no-any-return]


def _case(torch: Any, name: str, arrays: list[Any], numpy: Any, theirs: str | None) -> dict:
    ours = getattr(kernels, name)
    functions = {"tilegrad": lambda: ours(*arrays)}
    if numpy is not None:
        functions["numpy"] = lambda: numpy(*arrays)
    if torch is not None and theirs is not None:
        tensors = [torch.from_numpy(a) for a in arrays]
        function = _find(torch, theirs)
        functions["torch"] = lambda: function(*tensors)
    return functions


def cases(torch: Any, dtype: Any) -> dict[str, tuple[dict, int]]:
    """Functions to time and bytes touched, by a label."""
    rng = np.random.default_rng(0)
    rows: dict[str, tuple[dict, int]] = {}
    for size in SIZES:
        x, y = (np.abs(rng.normal(size=size)).astype(dtype) + 0.1 for _ in range(2))
        for name, (numpy, theirs) in BINARY.items():
            rows[f"{name} {size}"] = (_case(torch, name, [x, y], numpy, theirs), 3 * x.nbytes)
        for name, (numpy, theirs) in UNARY.items():
            touched = x.nbytes * (1 if name in ("sum", "amax") else 2)
            rows[f"{name} {size}"] = (_case(torch, name, [x], numpy, theirs), touched)
    for n, c in ((32, 10), (128, 128), (4096, 1000)):
        x = rng.normal(size=(n, c)).astype(dtype)
        bias = x[0].copy()
        rows[f"add bias {n}x{c}"] = (_case(torch, "add", [x, bias], np.add, "add"), 2 * x.nbytes)
        sums = {
            "tilegrad": lambda x=x, c=c: kernels.sum_to(x, (c,)),
            "numpy": lambda x=x: np.sum(x, axis=0),
        }
        if torch is not None:
            tensor = torch.from_numpy(x)
            sums["torch"] = lambda t=tensor: t.sum(0)
        rows[f"bias gradient {n}x{c}"] = (sums, x.nbytes)
        soft = {"tilegrad": lambda x=x: kernels.softmax(x)}
        if torch is not None:
            soft["torch"] = lambda t=tensor: t.softmax(-1)
        rows[f"softmax {n}x{c}"] = (soft, 2 * x.nbytes)
    return rows


def main() -> None:
    """Measure, print a table, keep the samples."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--dtype", default="float32", choices=("float32", "float64"))
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--json")
    options = parser.parse_args()
    torch = _torch()
    measure.set_threads(options.threads)
    lines, record = [], {}
    for label, (functions, touched) in measure.progress(
        list(cases(torch, options.dtype).items()), "kernels"
    ):
        times = measure.interleave(functions, rounds=options.rounds)
        record[label] = times
        seconds = statistics.median(times["tilegrad"])
        ratios = [
            str(measure.paired_ratio(times[peer], times["tilegrad"])) if peer in times else "-"
            for peer in ("numpy", "torch")
        ]
        lines.append([label, f"{seconds * 1e6:.2f}", f"{touched / seconds / 1e9:.1f}", *ratios])
    print(measure.table(["kernel", "us", "GB/s", "NumPy / ours", "torch / ours"], lines))
    if options.json:
        measure.save_json(options.json, {"times": record, "dtype": options.dtype})


if __name__ == "__main__":
    main()
