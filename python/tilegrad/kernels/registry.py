"""How a kernel's contract, its NumPy twin and its native implementation become one callable.

A kernel is written once, as a Python function: the signature and the docstring are the contract,
the body is the NumPy twin. :func:`kernel` hands it to the extension, which finds the native
implementation by name. Without one the twin is the implementation.
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, ParamSpec, TypeVar, cast

from tilegrad import _native
from tilegrad.kernels.failure import named

P = ParamSpec("P")
R = TypeVar("R")

#: Every kernel by name: a ``Kernel`` with ``.twin``, ``.native`` and ``.call_native``.
KERNELS: dict[str, Any] = {}

#: The NumPy twins under their kernels' names: ``reference.matmul`` and so on.
reference = SimpleNamespace()

_native.set_failure_namer(named)


def kernel(twin: Callable[P, R]) -> Callable[P, R]:
    """Register ``twin`` as the NumPy twin of the kernel of that name and return the kernel."""
    name = twin.__name__
    if name in KERNELS:
        raise ValueError(f"kernel {name!r} is defined twice")
    native = _native.Kernel(twin)
    KERNELS[name] = native
    setattr(reference, name, twin)
    return cast(Callable[P, R], native)
