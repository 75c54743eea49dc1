"""``tilegrad explain``: derivations and gradients of matrix expressions."""

from __future__ import annotations

import argparse

from tilegrad.cli.failure import Failure
from tilegrad.explanation import command
from tilegrad.explanation.expression import ExpressionError

HELP = command.HELP
add_arguments = command.add_arguments


def run(options: argparse.Namespace) -> int:
    """Explain the expression."""
    try:
        return command.run(options)
    except ExpressionError as error:
        raise Failure(str(error)) from None
