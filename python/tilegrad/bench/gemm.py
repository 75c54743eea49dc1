"""``tilegrad bench gemm``: matrix products beside NumPy, PyTorch and JAX, and the measured peak.

Every figure is a median over rounds in which all competitors were timed in random order; ratios are
medians of neighbouring samples with their quartiles; the peak of multiply-adds in registers is
measured beside the products of each table.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from tilegrad import _native
from tilegrad.bench import measure
from tilegrad.bench.gemm_cases import SETS, Case, calls, competitors, parse_sizes
from tilegrad.cli.arguments import add_measuring_arguments, output_file

HELP = """\
Compare matrix products with NumPy, PyTorch and JAX, size by size: GFLOP/s, share of the peak that
multiply-adds in registers reach, ratios (median and quartiles of paired samples), and the worst
error of each library in units of u |A||B|."""

DTYPES = {"f32": np.float32, "f64": np.float64}

#: Products above this many multiply-adds are not checked against a wider type: it takes too long.
CHECKED = 3e8


@dataclass
class Row:
    """One case: seconds per call and worst error (in u |A||B|) of each library; the peak."""

    case: Case
    times: dict[str, list[float]]
    errors: dict[str, float | None]
    peak: float

    @property
    def flops(self) -> float:
        return 2.0 * self.case.multiply_adds

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


def worst_error(case: Case, result: Any, a: Any, b: Any) -> float | None:
    """Return ``max |C' - C| / (u |A||B|)``, against a product in the next wider type."""
    if case.activation or case.multiply_adds > (CHECKED if a.dtype == np.float32 else 3e6):
        return None
    wide = np.float64 if a.dtype == np.float32 else np.longdouble
    left, right = a.astype(wide), b.astype(wide)
    scale = np.matmul(np.abs(left), np.abs(right)) * (np.finfo(a.dtype).eps / 2)
    return float(np.max(np.abs(np.asarray(result) - np.matmul(left, right)) / scale))


def measure_case(case: Case, args: argparse.Namespace) -> Row:
    """Time one case on every library, and the peak before and after."""
    dtype = np.dtype(DTYPES[args.dtype]).name
    before = measure.fma_peak(dtype, args.threads)
    a, b = case.operands(DTYPES[args.dtype], args.layout)
    timed = calls(case, a, b, args.vs.split(","))
    rounds = args.rounds if case.multiply_adds < 2e9 else max(5, args.rounds // 4)
    times = measure.interleave(timed, rounds=rounds)
    peak = max(before, measure.fma_peak(dtype, args.threads))
    errors = {name: worst_error(case, call(), a, b) for name, call in timed.items()}
    return Row(case, times, errors, peak)


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
                str(row.case),
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
    cases = parse_sizes(args.sizes)
    names = list(competitors(args.vs.split(",")))
    before = _native.set_isa(args.isa) if args.isa else _native.get_isa()
    threads = _native.get_num_threads()
    measure.set_threads(args.threads)
    try:
        rows = [measure_case(case, args) for case in measure.progress(cases, "bench gemm")]
    finally:
        _native.set_isa(before)
        measure.set_threads(threads)
    peak = max(row.peak for row in rows)
    print(
        f"{args.dtype} products, layout {args.layout}, {args.threads} thread(s), "
        f"{args.isa or before}, beside {', '.join(names) or 'nobody'}; GFLOP/s, "
        f"peak of multiply-adds {peak / 1e9:.1f}\n"
    )
    by_names = itertools.groupby(rows, key=lambda row: tuple(row.times))
    print("\n\n".join(report(list(group)) for _, group in by_names))
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
                **asdict(row.case),
                "seconds": row.times,
                "errors": row.errors,
                "peak": row.peak,
            }
            for row in rows
        ],
    }


def draw(path: str, rows: Sequence[Row], peak: float, args: argparse.Namespace) -> None:
    """Plot the square sizes."""
    square = sorted(
        (row for row in rows if row.case == Case(row.case.m, row.case.m, row.case.m)),
        key=lambda row: row.case.m,
    )
    if not square:
        raise ValueError("--plot draws square sizes, and --sizes names none")
    rates = {name: [row.rate(name) for row in square] for name in square[0].times}
    plural = "threads" if args.threads > 1 else "thread"
    measure.plot_rates(
        path,
        [row.case.m for row in square],
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
