"""What this installation is and what it found on this machine."""

from __future__ import annotations

import os
import platform
import sys
import warnings
from typing import Any

import numpy as np

from tilegrad import _native


def config() -> dict[str, Any]:
    """The facts that :func:`show_config` prints, as a dictionary of plain values.

    >>> config()["tilegrad"] == _native.__version__
    True
    """
    cpu = _native.cpu()
    from tilegrad.kernels import KERNELS

    native = [kernel for kernel in KERNELS.values() if kernel.native]
    return {
        "tilegrad": _native.__version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "system": f"{platform.system()} {platform.machine()}",
        "processor": cpu["brand"],
        "instruction set": _native.get_isa(),
        "available": _native.available_isas(),
        "caches": {name: cpu[name] for name in ("l1d", "l2", "l3")},
        "processors": {"usable": cpu["cpus"], "installed": os.cpu_count()},
        "threads": _native.get_num_threads(),
        "kernels": {"native": len(native), "all": len(KERNELS)},
        "extension": _native.__file__,
    }


def _size(count: int) -> str:
    if count <= 0:
        return "unknown"
    return f"{count / 2**20:g} MiB" if count >= 2**20 else f"{count / 2**10:g} KiB"


def check_environment() -> None:
    """Warn of values of the two environment variables that have no effect."""
    isa = os.environ.get("TILEGRAD_ISA")
    if isa and isa not in _native.available_isas():
        names = ", ".join(_native.available_isas())
        warnings.warn(
            f"TILEGRAD_ISA={isa} is not among this machine's instruction sets ({names}); "
            f"{_native.get_isa()} is used",
            RuntimeWarning,
            stacklevel=3,
        )
    threads = os.environ.get("TILEGRAD_NUM_THREADS")
    if threads and not (threads.isdecimal() and int(threads) >= 1):
        warnings.warn(
            f"TILEGRAD_NUM_THREADS={threads} is not a whole number from 1; "
            f"{_native.get_num_threads()} threads are used",
            RuntimeWarning,
            stacklevel=3,
        )


def show_config() -> None:
    """Print version, processor, instruction sets, caches and threads (``tilegrad info``)."""
    facts = config()
    caches = facts["caches"]
    lines = {
        "tilegrad": facts["tilegrad"],
        "python": f"{facts['python']} with numpy {facts['numpy']} on {facts['system']}",
        "processor": facts["processor"] or "unknown",
        "instruction set": f"{facts['instruction set']} (of {', '.join(facts['available'])})",
        "caches": ", ".join(f"{name.upper()} {_size(size)}" for name, size in caches.items()),
        "processors": "{usable} usable of {installed}".format(**facts["processors"]),
        "threads": f"{facts['threads']} at most",
        "kernels": "{native} native of {all}".format(**facts["kernels"]),
        "extension": facts["extension"],
    }
    for name in ("TILEGRAD_ISA", "TILEGRAD_NUM_THREADS"):
        if name in os.environ:
            lines[name] = os.environ[name]
    width = max(map(len, lines))
    for name, value in lines.items():
        sys.stdout.write(f"{name:<{width}}  {value}\n")
