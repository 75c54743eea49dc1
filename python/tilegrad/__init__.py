"""tilegrad: matrix kernels, autograd and matrix calculus for small networks on a CPU."""

from typing import Any

from tilegrad import autograd, kernels, ops, utils
from tilegrad._native import __version__
from tilegrad.autograd import (
    enable_grad,
    inference_mode,
    is_grad_enabled,
    no_grad,
    set_grad_enabled,
)
from tilegrad.autograd.tensor import Tensor
from tilegrad.config import check_environment, show_config
from tilegrad.functions import *  # noqa: F403
from tilegrad.kernels.dispatch import backend, verify
from tilegrad.limits import batch_invariant, get_num_threads, num_threads, set_num_threads
from tilegrad.program import compile

__all__ = [
    "Tensor",
    "__version__",
    "autograd",
    "backend",
    "batch_invariant",
    "compile",
    "default_generator",  # noqa: F405
    "enable_grad",
    "get_num_threads",
    "inference_mode",
    "is_grad_enabled",
    "kernels",
    "load",
    "no_grad",
    "num_threads",
    "ops",
    "save",
    "set_grad_enabled",
    "set_num_threads",
    "show_config",
    "utils",
    "verify",
]

check_environment()

#: Imported when first asked for.
_LAZY = ("calculus", "data", "func", "linalg", "nn", "optim")


def save(obj: Any, f: Any) -> None:
    """Write a state dict to a file; see :func:`tilegrad.serialization.save`."""
    from tilegrad.serialization import save as write

    write(obj, f)


def load(f: Any, map_location: Any = None, weights_only: Any = True) -> Any:
    """Read a state dict from a file; see :func:`tilegrad.serialization.load`."""
    from tilegrad.serialization import load as read

    return read(f, map_location, weights_only)


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        import importlib

        return importlib.import_module(f"tilegrad.{name}")
    if name == "explain":
        from tilegrad.explanation import explain

        return explain
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
