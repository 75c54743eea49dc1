"""Kinds of argument that commands share, checked before anything is measured or trained.

Each is a ``type=`` of argparse: text in, value out, or an error that says what was expected.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path


def whole_number(low: int, high: int | None = None) -> Callable[[str], int]:
    """A whole number from ``low`` on, and up to ``high`` if that is given.

    >>> whole_number(1)("3")
    3
    """
    wanted = f"a whole number from {low}" + ("" if high is None else f" to {high}")

    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = low - 1
        if value < low or (high is not None and value > high):
            raise argparse.ArgumentTypeError(f"expected {wanted}, got {text!r}")
        return value

    return read


#: At least one of something.
count = whole_number(1)

#: Threads: as many as this machine has processors.
threads = whole_number(1, os.cpu_count() or 1)

#: What a generator of random numbers starts from.
seed = whole_number(0, 2**63 - 1)


def output_file(text: str) -> Path:
    """A file to be written when the work is done: its folder must exist before."""
    path = Path(text)
    if path.is_dir():
        raise argparse.ArgumentTypeError(f"{text} is a folder; expected the name of a file")
    if not path.absolute().parent.is_dir():
        raise argparse.ArgumentTypeError(f"{text}: its folder does not exist")
    return path


def add_measuring_arguments(parser: argparse.ArgumentParser, rounds: int) -> None:
    """What every bench takes."""
    parser.add_argument(
        "--threads", type=threads, default=1, metavar="N", help="for everyone alike (default: 1)"
    )
    parser.add_argument(
        "--rounds", type=count, default=rounds, metavar="N",
        help=f"interleaved samples (default: {rounds})",
    )  # fmt: skip
    parser.add_argument(
        "--json", type=output_file, metavar="FILE", help="also save the figures as JSON"
    )
