"""``tilegrad explain``: the command behind the function."""

from __future__ import annotations

import argparse

import numpy as np

from tilegrad.explanation.explain import explain
from tilegrad.explanation.expression import Expression, ExpressionError, parse_shape, sample

HELP = """\
Explain an expression in matrix notation: its derivation by intermediate variables, with the
dimensions of every partial derivative, and its gradient as a matrix formula.

  tilegrad explain "sum((A@x-y)**2)" --wrt x A:3x2 x:2 y:3
  tilegrad explain "trace(A@X@B)" --wrt X A:2x3 X:3x4 B:4x2 --format latex
"""

FORMATS = ("text", "markdown", "latex", "dot")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("expression", help="such as 'sum((A@x-y)**2)'")
    parser.add_argument(
        "shapes", nargs="*", metavar="NAME:SHAPE", help="A:3x2 a matrix, x:2 a vector, t: a number"
    )
    parser.add_argument(
        "--wrt", nargs="+", default=[], metavar="NAME", help="differentiate by these (default: all)"
    )
    parser.add_argument("--format", choices=FORMATS, default="text", help="form of the output")
    parser.add_argument("--seed", type=int, default=0, help="of the values formulas are checked at")


def run(options: argparse.Namespace) -> int:
    """Print the explanation and return the exit code.

    Raises:
        ExpressionError: the expression or a shape is not understood, or does not fit.
    """
    expression = Expression(options.expression)
    # argparse hands words after an option to the option: those with a colon are shapes
    given = [*options.shapes, *(word for word in options.wrt if ":" in word)]
    named = [word for word in options.wrt if ":" not in word]
    shapes = dict(parse_shape(text) for text in given)
    missing = [name for name in expression.names if name not in shapes]
    if missing:
        example = " ".join(f"{name}:3x2" for name in missing)
        raise ExpressionError(f"no shape for {', '.join(missing)}; add {example}, or as it is")
    unused = [name for name in shapes if name not in expression.names]
    if unused:
        raise ExpressionError(f"{', '.join(unused)} does not occur in {expression.source!r}")
    wanted = named or expression.names
    for name in wanted:
        if name not in expression.names:
            raise ExpressionError(f"--wrt {name}: it does not occur in {expression.source!r}")
    rng = np.random.default_rng(options.seed)
    values = [sample(shapes[name], rng) for name in expression.names]
    names = expression.names
    try:
        found = explain(
            lambda *tensors: expression(dict(zip(names, tensors, strict=True))),
            *values,
            wrt=wanted,
            names=names,
        )
    except (ValueError, RuntimeError, TypeError) as error:
        raise ExpressionError(f"{expression.source!r}: {error}") from error
    print(getattr(found, options.format)())
    return 0
