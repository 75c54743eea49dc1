"""What a command raises when the user can mend it."""

from __future__ import annotations

import importlib
from types import ModuleType


class Failure(Exception):  # noqa: N818  (not an error of the program)
    """Ends a command with exit code 1 and one line of text that says what was expected."""


def need(module: str, package: str, extra: str) -> ModuleType:
    """Import an optional dependency, or fail with the command that installs it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise Failure(
            f"needs {package}, which is not installed; pip install 'tilegrad[{extra}]'"
        ) from error
