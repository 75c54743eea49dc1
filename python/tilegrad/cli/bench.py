"""``tilegrad bench``: speed beside NumPy, PyTorch and JAX."""

from __future__ import annotations

import argparse
import importlib
import pkgutil
from collections.abc import Iterator
from types import ModuleType

from tilegrad.cli import arguments
from tilegrad.cli.failure import Failure

HELP = """\
Measure this machine and tilegrad on it. Without a name it takes about a minute and compares matrix
products and convolutions with NumPy (the NumPy twins, for convolutions) and PyTorch, if installed.

All libraries run in one process, interleaved in random order, on the same number of threads. "of
peak" is the share of the multiply-adds that this machine did in registers just before; "x NumPy"
is how many times faster tilegrad was (the median of paired ratios)."""


def benches() -> Iterator[tuple[str, ModuleType]]:
    """Modules of ``tilegrad.bench`` that are commands: with ``add_arguments`` and ``run``."""
    package = importlib.import_module("tilegrad.bench")
    for info in pkgutil.iter_modules(package.__path__):
        module = importlib.import_module(f"tilegrad.bench.{info.name}")
        if hasattr(module, "add_arguments"):
            yield info.name, module


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--threads", type=arguments.threads, nargs="+", metavar="N", help="default: 1 and all"
    )
    parser.add_argument(
        "--json", type=arguments.output_file, metavar="FILE", help="also save the figures as JSON"
    )
    parser.set_defaults(run_bench=_overview)
    names = parser.add_subparsers(metavar="[NAME]", title="benches with options of their own")
    for name, module in benches():
        text = module.__doc__ or ""
        line = text.partition("\n")[0].removeprefix(f"``tilegrad bench {name}``: ")
        bench = names.add_parser(
            name,
            help=line,
            description=getattr(module, "HELP", text),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add_arguments(bench)
        bench.set_defaults(run_bench=module.run)


def run(options: argparse.Namespace) -> int:
    try:
        return int(options.run_bench(options) or 0)
    except ValueError as error:  # options that make no sense together
        raise Failure(str(error)) from error


def _overview(options: argparse.Namespace) -> int:
    from tilegrad import _native
    from tilegrad.bench import measure, overview

    threads = options.threads or sorted({1, _native.get_num_threads()})
    results = overview.run(threads)
    peers = list(dict.fromkeys(peer for result in results for peer in result.ratios))
    print(f"{_native.cpu()['brand']}, {_native.get_isa()}\n")
    print(overview.report(results, peers))
    if "PyTorch" not in peers:
        print("(pip install torch to have PyTorch in the table)")
    if options.json:
        measure.save_json(options.json, {"overview": [result.record() for result in results]})
    return 0
