"""``tilegrad check``: every kernel against its NumPy twin on every instruction set."""

from __future__ import annotations

import argparse
import difflib
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tilegrad import _native
from tilegrad.bench.measure import table
from tilegrad.cli.failure import Failure
from tilegrad.kernels import KERNELS
from tilegrad.kernels.compare import checked_call
from tilegrad.kernels.samples import DTYPES, LAYOUTS, ROWS, samples

HELP = """\
Call every kernel on sample arguments (float32 and float64; contiguous, transposed, strided,
reversed and unaligned memory) on every instruction set this machine has, and compare it with its
NumPy twin. The allowed error is derived from each call's data; the table shows the largest error as
a share of it, over the calls that ran natively. Native code leaves some arguments to the twin (all
that are not aligned, for instance): those calls are counted as declined, and compare nothing. Exit
code 0 if all agree, 1 if any differs."""


@dataclass
class Tally:
    """What one kernel did on one instruction set."""

    native: int = 0  # calls that ran natively and were compared
    declined: int = 0  # calls that native code left to the twin
    worst: float = 0.0
    failures: list[str] = field(default_factory=list)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "kernels", nargs="*", metavar="KERNEL", help="check only these (default: all)"
    )
    parser.add_argument(
        "--isa",
        action="append",
        choices=_native.available_isas(),
        help="check only this instruction set (may be repeated)",
    )
    parser.add_argument("-v", "--verbose", action="store_true", help="one line for every kernel")


@contextmanager
def use_isa(name: str) -> Iterator[None]:
    """Run kernels on one instruction set."""
    previous = _native.set_isa(name)
    try:
        yield
    finally:
        _native.set_isa(previous)


def check_kernel(name: str) -> Tally:
    """All samples of one kernel in all dtypes and layouts, on the instruction set in use."""
    tally = Tally()
    if name not in ROWS:
        tally.failures.append(f"{name}: no sample arguments; add a row to {samples.__module__}")
        return tally
    for dtype in DTYPES:
        for layout in LAYOUTS:
            for sample in samples(name, dtype, layout):
                try:
                    done = checked_call(KERNELS[name], sample.args, sample.kwargs)
                except Exception as problem:  # a mismatch or a crash: a finding either way
                    text = f"{type(problem).__name__}: {problem}"
                    tally.failures.append(f"{name} ({dtype}, {layout}): {text}")
                    continue
                tally.native += done.native
                tally.declined += not done.native
                tally.worst = max(tally.worst, done.error)
    return tally


def family(name: str) -> str:
    """The file of ``tilegrad.kernels`` a kernel is defined in."""
    module: str = KERNELS[name].__module__
    return module.rpartition(".")[2]


def _cell(tallies: Sequence[Tally]) -> str:
    failed = sum(len(tally.failures) for tally in tallies)
    if failed:
        return f"{failed} FAILED"
    compared = any(tally.native for tally in tallies)
    return f"{max(tally.worst for tally in tallies):.0%}" if compared else "-"


def run(options: argparse.Namespace) -> int:
    for name in options.kernels:
        if name not in KERNELS:
            near = difflib.get_close_matches(name, KERNELS) or ["gemm", "conv", "softmax"]
            raise Failure(f"no kernel is called {name!r}; there are {', '.join(near)}, ...")
    names = options.kernels or list(KERNELS)
    isas = options.isa or _native.available_isas()
    tallies: dict[tuple[str, str], Tally] = {}
    for isa in isas:
        with use_isa(isa):
            for done, name in enumerate(names):
                if sys.stderr.isatty():
                    print(f"\r{isa}: {done}/{len(names)} {name:<30}", end="", file=sys.stderr)
                tallies[name, isa] = check_kernel(name)
    if sys.stderr.isatty():
        print("\r" + " " * 60 + "\r", end="", file=sys.stderr)

    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(name if options.verbose else family(name), []).append(name)
    rows = []
    for group, members in groups.items():
        native = [name for name in members if KERNELS[name].native]
        first = [tallies[name, isas[0]] for name in members]
        calls = [sum(tally.native for tally in first), sum(tally.declined for tally in first)]
        cells = [_cell([tallies[name, isa] for name in members]) for isa in isas]
        rows.append([group, f"{len(native)} of {len(members)}", *map(str, calls), *cells])
    print(table(["kernels", "native", "calls", "declined", *isas], rows))
    return _verdict(tallies, isas)


def _verdict(tallies: dict[tuple[str, str], Tally], isas: Sequence[str]) -> int:
    calls = sum(tally.native for tally in tallies.values())
    failures: list[Any] = [
        (isa, text) for (_, isa), tally in tallies.items() for text in tally.failures
    ]
    if failures:
        print(f"\n{len(failures)} failures beside {calls} calls that agree with their NumPy twins:")
        for isa, text in failures[:20]:
            print(f"  {isa}: {text}")
        if len(failures) > 20:
            print(f"  and {len(failures) - 20} more")
        return 1
    print(
        f"\nall {calls} native calls agree with their NumPy twins (largest error / allowed error "
        "above)"
    )
    return 0
