"""``tilegrad bench``: speed beside NumPy, PyTorch and JAX."""

from __future__ import annotations

import argparse
import importlib
from pathlib import Path

HELP = """\
Measure this machine and tilegrad on it. Without a name it takes about a minute and compares matrix
products and convolutions with NumPy (the NumPy twins, for convolutions) and PyTorch, if installed.

All libraries run in one process, interleaved in random order, on the same number of threads. "of
peak" is the share of the multiply-adds that this machine did in registers just before; "x NumPy"
is how many times faster tilegrad was (the median of paired ratios)."""

#: Benches with options of their own: modules of ``tilegrad.bench`` that have ``HELP``,
#: ``add_arguments(parser)`` and ``run(options) -> exit code``, like commands.
BENCHES: dict[str, str] = {
    "gemm": "matrix products: sizes, layouts, threads, errors, a plot",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--threads", type=int, nargs="+", metavar="N", help="default: 1 and all")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also save the figures as JSON")
    parser.set_defaults(run_bench=_overview)
    if not BENCHES:
        return
    names = parser.add_subparsers(metavar="NAME", title="benches with options of their own")
    for name, line in BENCHES.items():
        module = importlib.import_module(f"tilegrad.bench.{name}")
        bench = names.add_parser(
            name,
            help=line,
            description=module.HELP,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add_arguments(bench)
        bench.set_defaults(run_bench=module.run)


def run(options: argparse.Namespace) -> int:
    return int(options.run_bench(options))


def _overview(options: argparse.Namespace) -> int:
    from tilegrad import _native
    from tilegrad.bench import measure, overview

    threads = options.threads or sorted({1, _native.get_num_threads()})
    results = overview.run(threads)
    peers = list(results[0].ratios)
    print(f"{_native.cpu()['brand']}, {_native.get_isa()}\n")
    print(overview.report(results, peers))
    if "PyTorch" not in peers:
        print("(pip install torch to have PyTorch in the table)")
    if options.json:
        measure.save_json(options.json, {"overview": [result.record() for result in results]})
    return 0
