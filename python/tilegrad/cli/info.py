"""``tilegrad info``: what this installation and this machine are."""

from __future__ import annotations

import argparse
import json

from tilegrad.config import config, show_config

HELP = """\
Print the version, the processor, the instruction set in use, cache sizes and threads.

TILEGRAD_ISA=avx2 (or portable) uses a lower instruction set than the best this machine has;
TILEGRAD_NUM_THREADS=1 limits the threads."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print the same as JSON")


def run(options: argparse.Namespace) -> int:
    if options.json:
        print(json.dumps(config(), indent=2))
    else:
        show_config()
    return 0
