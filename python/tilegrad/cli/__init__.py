"""The command line: ``tilegrad`` and ``python -m tilegrad``.

Each subcommand is a module of this package with ``HELP``, ``add_arguments(parser)`` and
``run(options) -> exit code``, imported when it is named. Exit codes: 0 all is well, 1 the command
found something wrong (a kernel that differs, a missing file), 2 the command line is wrong, 130
interrupted.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

from tilegrad.cli.failure import Failure

#: Subcommand -> the line that ``tilegrad --help`` shows.
COMMANDS = {
    "info": "what this installation and this machine are",
    "check": "compare every kernel with its NumPy twin on every instruction set of this machine",
    "demo": "train a small network to read handwritten digits",
    "bench": "measure speed beside NumPy, PyTorch and JAX",
    "explain": "derive a matrix expression step by step, with its gradient as a formula",
}

EPILOG = """\
a first tour:
  tilegrad info                          which instruction set, caches and threads are used
  tilegrad check                         every kernel against its NumPy twin
  tilegrad demo                          train on 1,797 real digits, in seconds
  tilegrad bench                         one minute: how fast is this machine, and who uses it best
  tilegrad explain "sum((A@x-y)**2)" --wrt x A:3x2 x:2 y:3
"""


def _parser(command: str | None) -> argparse.ArgumentParser:
    """The whole parser, with the arguments of ``command`` only: the others stay unimported."""
    parser = argparse.ArgumentParser(
        prog="tilegrad",
        description="Matrix kernels, autograd and matrix calculus for small networks on a CPU.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="store_true", help="print the version and exit")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    for name, line in COMMANDS.items():
        if name == command:
            module = importlib.import_module(f"tilegrad.cli.{name}")
            sub = commands.add_parser(
                name,
                help=line,
                description=module.HELP,
                formatter_class=argparse.RawDescriptionHelpFormatter,
            )
            module.add_arguments(sub)
            sub.set_defaults(run=module.run)
        else:
            commands.add_parser(name, help=line)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code; errors a user can mend are one line each.

    >>> main(["--version"])  # doctest: +ELLIPSIS
    tilegrad ...
    0
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    command = next((word for word in arguments if word in COMMANDS), None)
    parser = _parser(command)
    options = parser.parse_args(arguments)
    if options.version:
        from tilegrad import _native

        print(f"tilegrad {_native.__version__}")
        return 0
    if options.command is None:
        parser.print_help()
        return 2
    try:
        return int(options.run(options))
    except Failure as failure:
        print(f"tilegrad {options.command}: {failure}", file=sys.stderr)
        return 1
    except MemoryError as error:
        print(f"tilegrad {options.command}: not enough memory: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"\ntilegrad {options.command}: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        sys.stderr.close()
        return 0
