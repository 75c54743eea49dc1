"""``tilegrad bench gemm``: matrix products beside NumPy, PyTorch and JAX, and the measured peak.

Every figure is a median over rounds in which all competitors were timed in random order; ratios are
medians of neighbouring samples with their quartiles; the peak of multiply-adds in registers is
measured beside the products of each table.
"""

from __future__ import annotations

import argparse
import importlib
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tilegrad import _native, kernels
from tilegrad.bench import measure
from tilegrad.cli.arguments import add_measuring_arguments, output_file

HELP = """\
Compare matrix products with NumPy, PyTorch and JAX, size by size: GFLOP/s, share of the peak that
multiply-adds in registers reach, ratios (median and quartiles of paired samples), and the worst
error of each library in units of u |A||B|."""

DTYPES = {"f32": np.float32, "f64": np.float64}

SQUARE = (2, 4, 8, 16, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 2048)
ODD = (63, 65, 127, 129, 255, 257, 511, 513, 1000, 1023)
NETWORK = tuple(
    (m, n, k) for n, k in ((128, 784), (10, 128), (512, 512), (4096, 1000)) for m in (1, 8, 32, 128)
)
VECTORS = ((512, 512, 1), (512, 1, 512), (1, 512, 512), (2000, 1, 2000), (1, 2000, 2000))

#: The sets of sizes that ``--sizes`` names.
SETS: dict[str, tuple[tuple[int, int, int], ...]] = {
    "square": tuple((n, n, n) for n in SQUARE),
    "large": ((4096, 4096, 4096),),
    "odd": tuple((n, n, n) for n in ODD),
    "network": NETWORK,
    "vectors": VECTORS,
}

#: Products above this many multiply-adds are not checked against a wider type: it takes too long.
CHECKED = 3e8


@dataclass
class Row:
    """One size: seconds per call and worst error (in u |A||B|) of each library; the peak."""

    m: int
    n: int
    k: int
    times: dict[str, list[float]]
    errors: dict[str, float | None]
    peak: float

    @property
    def flops(self) -> float:
        return 2.0 * self.m * self.n * self.k

    def rate(self, name: str) -> float:
        """GFLOP/s."""
        return self.flops / statistics.median(self.times[name]) / 1e9

    def ratio(self, name: str) -> measure.Ratio:
        return measure.paired_ratio(self.times[name], self.times["tilegrad"])


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``tilegrad bench gemm``."""
    parser.add_argument(
        "--sizes",
        default="square,odd",
        help=f"comma-separated: n, mxnxk, or a set of {', '.join(SETS)} (default: square,odd)",
    )
    parser.add_argument("--dtype", choices=sorted(DTYPES), default="f32")
    parser.add_argument("--layout", choices=("nn", "nt", "tn", "tt"), default="nn")
    parser.add_argument("--vs", default="numpy,torch", help="numpy, torch, jax (those installed)")
    parser.add_argument("--isa", choices=_native.available_isas(), help="force an instruction set")
    add_measuring_arguments(parser, rounds=20)
    parser.add_argument(
        "--plot", type=output_file, metavar="F.png", help="draw GFLOP/s over the square sizes"
    )


def parse_sizes(text: str) -> list[tuple[int, int, int]]:
    """Read ``"64,32x128x784,odd"``.

    >>> parse_sizes("64,32x128x784")
    [(64, 64, 64), (32, 128, 784)]
    """
    sizes: list[tuple[int, int, int]] = []
    for word in text.split(","):
        if word in SETS:
            sizes.extend(SETS[word])
            continue
        try:
            numbers = [int(number) for number in word.split("x")]
        except ValueError:
            numbers = []
        if len(numbers) not in (1, 3) or min(numbers) < 1:
            known = ", ".join(SETS)
            raise ValueError(f"size {word!r} is neither n, nor mxnxk, nor one of {known}")
        m, n, k = numbers * 3 if len(numbers) == 1 else numbers
        sizes.append((m, n, k))
    return sizes


def competitors(names: Sequence[str]) -> dict[str, Callable[[Any, Any], Callable[[], Any]]]:
    """For each library that is installed: operands to a call without arguments."""

    def numpy_call(a: Any, b: Any) -> Callable[[], Any]:
        return lambda: np.matmul(a, b)

    def torch_call(a: Any, b: Any) -> Callable[[], Any]:
        torch = importlib.import_module("torch")
        left, right = torch.from_numpy(a), torch.from_numpy(b)
        return lambda: torch.matmul(left, right)

    def jax_call(a: Any, b: Any) -> Callable[[], Any]:
        jax = importlib.import_module("jax")
        jax.config.update("jax_enable_x64", True)
        left, right = jax.numpy.asarray(a), jax.numpy.asarray(b)
        multiply = jax.jit(jax.numpy.matmul)
        return lambda: multiply(left, right).block_until_ready()

    known = {"numpy": numpy_call, "torch": torch_call, "jax": jax_call}
    found: dict[str, Callable[[Any, Any], Callable[[], Any]]] = {}
    for name in names:
        if name not in known:
            raise ValueError(f"cannot compare with {name!r}: choose from {', '.join(known)}")
        try:
            importlib.import_module(name)
        except ImportError:
            continue
        found[name] = known[name]
    return found


def operands(m: int, n: int, k: int, dtype: Any, layout: str) -> tuple[Any, Any]:
    """Random ``a`` of (m, k) and ``b`` of (k, n); a ``t`` in ``layout`` stores the transpose."""
    rng = np.random.default_rng(m + n + k)
    a = rng.normal(size=(m, k) if layout[0] == "n" else (k, m)).astype(dtype)
    b = rng.normal(size=(k, n) if layout[1] == "n" else (n, k)).astype(dtype)
    return (a if layout[0] == "n" else a.T), (b if layout[1] == "n" else b.T)


def worst_error(result: Any, a: Any, b: Any) -> float | None:
    """Return ``max |C' - C| / (u |A||B|)``, against a product in the next wider type."""
    if float(a.shape[0]) * b.shape[1] * a.shape[1] > (CHECKED if a.dtype == np.float32 else 3e6):
        return None
    wide = np.float64 if a.dtype == np.float32 else np.longdouble
    left, right = a.astype(wide), b.astype(wide)
    scale = np.matmul(np.abs(left), np.abs(right)) * (np.finfo(a.dtype).eps / 2)
    return float(np.max(np.abs(np.asarray(result) - np.matmul(left, right)) / scale))


def measure_size(size: tuple[int, int, int], args: argparse.Namespace) -> Row:
    """Time one size on every library, and the peak before and after."""
    dtype = np.dtype(DTYPES[args.dtype]).name
    before = measure.fma_peak(dtype, args.threads)
    a, b = operands(*size, DTYPES[args.dtype], args.layout)
    calls: dict[str, Callable[[], Any]] = {"tilegrad": lambda: kernels.matmul(a, b)}
    for name, make in competitors(args.vs.split(",")).items():
        calls[name] = make(a, b)
    rounds = args.rounds if np.prod([float(x) for x in size]) < 2e9 else max(5, args.rounds // 4)
    times = measure.interleave(calls, rounds=rounds)
    peak = max(before, measure.fma_peak(dtype, args.threads))
    errors = {name: worst_error(call(), a, b) for name, call in calls.items()}
    return Row(*size, times, errors, peak)


def report(rows: Sequence[Row]) -> str:
    """The table: GFLOP/s of each library, share of the peak, ratios, errors."""
    names = list(rows[0].times)
    header = ["m x n x k", "us", *names, "% of peak"]
    header += [f"x {name}" for name in names[1:]] + ["errors / u|A||B|"]
    lines = []
    for row in rows:
        shown = ["-" if row.errors[name] is None else f"{row.errors[name]:.1f}" for name in names]
        lines.append(
            [
                f"{row.m} x {row.n} x {row.k}",
                f"{statistics.median(row.times['tilegrad']) * 1e6:.2f}",
                *(f"{row.rate(name):.1f}" for name in names),
                f"{100 * row.rate('tilegrad') * 1e9 / row.peak:.1f}",
                *(str(row.ratio(name)) for name in names[1:]),
                " ".join(shown),
            ]
        )
    text = measure.table(header, lines)
    for name in names[1:]:
        ratios = [row.ratio(name).median for row in rows]
        text += f"\n{measure.geometric_mean(ratios):.2f} times {name} (geometric mean)"
        text += f", at least {min(ratios):.2f} times"
    return text


def run(args: argparse.Namespace) -> int:
    """Measure, print the table, write the record and the plot."""
    sizes = parse_sizes(args.sizes)
    names = list(competitors(args.vs.split(",")))
    before = _native.set_isa(args.isa) if args.isa else _native.get_isa()
    threads = _native.get_num_threads()
    measure.set_threads(args.threads)
    try:
        rows = [measure_size(size, args) for size in measure.progress(sizes, "bench gemm")]
    finally:
        _native.set_isa(before)
        measure.set_threads(threads)
    peak = max(row.peak for row in rows)
    print(
        f"{args.dtype} products, layout {args.layout}, {args.threads} thread(s), "
        f"{args.isa or before}, beside {', '.join(names) or 'nobody'}; GFLOP/s, "
        f"peak of multiply-adds {peak / 1e9:.1f}\n"
    )
    print(report(rows))
    if args.json:
        measure.save_json(args.json, record(rows, peak, args))
    if args.plot:
        draw(args.plot, rows, peak, args)
    return 0


def record(rows: Sequence[Row], peak: float, args: argparse.Namespace) -> dict[str, Any]:
    """The measurements as plain data."""
    return {
        "bench": "gemm",
        "dtype": args.dtype,
        "threads": args.threads,
        "layout": args.layout,
        "peak": peak,
        "rows": [
            {
                "m": row.m,
                "n": row.n,
                "k": row.k,
                "seconds": row.times,
                "errors": row.errors,
                "peak": row.peak,
            }
            for row in rows
        ],
    }


def draw(path: str, rows: Sequence[Row], peak: float, args: argparse.Namespace) -> None:
    """Plot the square sizes."""
    square = sorted((row for row in rows if row.m == row.n == row.k), key=lambda row: row.m)
    if not square:
        raise ValueError("--plot draws square sizes, and --sizes names none")
    rates = {name: [row.rate(name) for row in square] for name in square[0].times}
    plural = "threads" if args.threads > 1 else "thread"
    measure.plot_rates(
        path,
        [row.m for row in square],
        rates,
        peak=peak / 1e9,
        title=f"{args.dtype} matrix product, {args.threads} {plural}, {_native.cpu()['brand']}",
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run from a command line of its own."""
    parser = argparse.ArgumentParser(prog="bench gemm", description=HELP)
    add_arguments(parser)
    return run(parser.parse_args(argv))


if __name__ == "__main__":
    raise SystemExit(main())
