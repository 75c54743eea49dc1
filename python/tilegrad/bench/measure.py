"""Measuring: peaks, interleaved timing, paired ratios, tables, JSON records and plots.

Competitors are timed in one process, interleaved in random order, so that a change of clock or a
busy neighbour hits all alike; what is reported is the median of the ratios of neighbouring samples.
"""

from __future__ import annotations

import ctypes
import gc
import json
import platform
import random
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tilegrad import _native

#: A timed sample lasts at least this long (seconds): 10^4 times the clock's resolution.
SAMPLE_SECONDS = 4e-4


def fma_peak(dtype: str, threads: int = 1) -> float:
    """Return the FLOP/s of multiply-adds in registers, measured now, on ``threads`` threads."""
    with tilegrad_threads(threads):
        return _native.fma_peak(dtype, threads)


@contextmanager
def tilegrad_threads(threads: int) -> Iterator[None]:
    """Limit tilegrad's threads inside the block."""
    before = _native.get_num_threads()
    _native.set_num_threads(threads)
    try:
        yield
    finally:
        _native.set_num_threads(before)


def set_threads(threads: int) -> None:
    """Limit the threads of tilegrad, NumPy's OpenBLAS and, where imported, PyTorch."""
    _native.set_num_threads(threads)
    _set_openblas_threads(threads)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(threads)


def _set_openblas_threads(threads: int) -> None:
    folder = Path(np.__file__).parent.with_name("numpy.libs")
    for library in folder.glob("*openblas*"):
        handle = ctypes.CDLL(str(library))
        for name in ("scipy_openblas_set_num_threads64_", "openblas_set_num_threads64_"):
            if hasattr(handle, name):
                getattr(handle, name)(threads)
                return


def interleave(
    functions: Mapping[str, Callable[[], object]],
    *,
    rounds: int = 20,
    seconds: float = SAMPLE_SECONDS,
    seed: int = 0,
) -> dict[str, list[float]]:
    """Time every function ``rounds`` times, in a random order within each round.

    Returns the seconds of one call, a list of ``rounds`` samples for each name. Each sample repeats
    the call until it lasts about ``seconds``; sample i of one name and sample i of another are
    neighbours in time.
    """
    repeats = {name: _calibrate(function, seconds) for name, function in functions.items()}
    times: dict[str, list[float]] = {name: [] for name in functions}
    order = list(functions)
    shuffle = random.Random(seed).shuffle
    collecting = gc.isenabled()
    gc.disable()
    try:
        for _ in range(rounds):
            shuffle(order)
            for name in order:
                times[name].append(_sample(functions[name], repeats[name]))
    finally:
        if collecting:
            gc.enable()
    return times


def _calibrate(function: Callable[[], object], seconds: float) -> int:
    function()  # warm: caches, threads, lazily made workspace
    repeats = 1
    while (elapsed := _sample(function, repeats) * repeats) < seconds:
        repeats = max(repeats + 1, int(repeats * min(10.0, 1.2 * seconds / max(elapsed, 1e-9))))
    return repeats


def _sample(function: Callable[[], object], repeats: int) -> float:
    span = range(repeats)
    start = time.perf_counter()
    for _ in span:
        function()
    return (time.perf_counter() - start) / repeats


@dataclass(frozen=True)
class Ratio:
    """How many times faster: the median of paired ratios, between its quartiles."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        """Read as ``1.25 (1.20-1.31)``."""
        return f"{self.median:.2f} ({self.low:.2f}-{self.high:.2f})"


def paired_ratio(theirs: Sequence[float], ours: Sequence[float]) -> Ratio:
    """Return how many times faster ``ours`` is than ``theirs``, sample by neighbouring sample."""
    ratios = sorted(t / o for t, o in zip(theirs, ours, strict=True))
    quartiles = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else [ratios[0]] * 3
    return Ratio(statistics.median(ratios), quartiles[0], quartiles[2])


def geometric_mean(values: Sequence[float]) -> float:
    """Return the geometric mean, 1 for no values."""
    return statistics.geometric_mean(values) if values else 1.0


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Lay out text in columns: the first aligned left, the others right."""
    widths = [max(len(line[i]) for line in (header, *rows)) for i in range(len(header))]

    def line(cells: Sequence[str]) -> str:
        first = cells[0].ljust(widths[0])
        rest = [cell.rjust(width) for cell, width in zip(cells[1:], widths[1:], strict=True)]
        return "  ".join([first, *rest]).rstrip()

    return "\n".join([line(header), line(["-" * width for width in widths]), *map(line, rows)])


def machine() -> dict[str, Any]:
    """Describe where a figure was measured: processor, caches, instruction set, versions."""
    versions = {"python": platform.python_version(), "numpy": np.__version__}
    for name in ("torch", "jax"):
        if name in sys.modules:
            versions[name] = sys.modules[name].__version__
    versions["tilegrad"] = _native.__version__
    return {**_native.cpu(), "isa": _native.get_isa(), "versions": versions}


def save_json(path: str | Path, record: Mapping[str, Any]) -> None:
    """Write a record of measurements, with the machine they come from beside them."""
    text = json.dumps({"machine": machine(), **record}, indent=1, default=str)
    Path(path).write_text(text + "\n", encoding="utf-8")


def progress(items: Sequence[Any], label: str) -> Iterator[Any]:
    """Iterate with a progress bar on the terminal, where tqdm is installed."""
    try:
        from tqdm import tqdm
    except ImportError:
        yield from items
        return
    yield from tqdm(items, desc=label, leave=False, disable=not sys.stderr.isatty())


def plot_rates(
    path: str | Path,
    sizes: Sequence[float],
    rates: Mapping[str, Sequence[float]],
    *,
    peak: float,
    title: str,
    xlabel: str = "m = n = k",
) -> None:
    """Draw GFLOP/s over sizes; the y axis ends at the measured peak: what is missing shows."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(8, 4.5), layout="constrained")
    for name, values in rates.items():
        axes.plot(sizes, values, marker="o", markersize=3, label=name)
    axes.set(xscale="log", ylim=(0, peak), title=title, xlabel=xlabel, ylabel="GFLOP/s")
    axes.set_xscale("log", base=2)
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    figure.savefig(path, dpi=150)
    plt.close(figure)
