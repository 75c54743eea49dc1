"""NumPy functions that live in submodules of ours, found when first asked for."""

from __future__ import annotations

from typing import Any


def linear_algebra(name: str) -> Any:
    """The function ``tilegrad.linalg.<name>``."""
    import tilegrad

    return getattr(tilegrad.linalg, name)


def find(function: Any) -> Any:
    """Our counterpart of a function of ``numpy.linalg``, None if there is none."""
    if function.__module__ == "numpy.linalg":
        import tilegrad

        return getattr(getattr(tilegrad, "linalg", None), function.__name__, None)
    return None
