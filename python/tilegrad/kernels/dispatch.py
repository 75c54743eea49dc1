"""Choosing what runs behind the kernels: native code, the NumPy twins, or both compared."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from tilegrad import _native
from tilegrad.kernels.intercept import Arguments, Interceptor, Keywords, intercept

BACKENDS = ("native", "numpy")


def _run_native(kernel: _native.Kernel, args: Arguments, kwargs: Keywords) -> object:
    return kernel.call_native(*args, **kwargs)


def _run_twin(kernel: _native.Kernel, args: Arguments, kwargs: Keywords) -> object:
    return kernel.twin(*args, **kwargs)


@contextmanager
def backend(name: str) -> Iterator[None]:
    """Run kernels called in this block on ``"numpy"`` (their twins) or on ``"native"`` code.

    The block holds for the thread (or asynchronous task) that opens it, and blocks nest.

    Raises:
        ValueError: for another name.

    >>> import numpy as np
    >>> from tilegrad import kernels
    >>> with backend("numpy"):
    ...     kernels.relu(np.array([-1.0, 2.0]))
    array([0., 2.])
    """
    runners: dict[str, Interceptor] = {"native": _run_native, "numpy": _run_twin}
    if name not in runners:
        raise ValueError(f"backend: expected one of {BACKENDS}, got {name!r}")
    with intercept(runners[name]):
        yield


@contextmanager
def verify() -> Iterator[Counter[str]]:
    """Check every native kernel called in this block against its NumPy twin.

    A call runs natively, then on the twin (on copies of its arguments, at float64), and the two are
    compared by the rules of :mod:`tilegrad.kernels.compare`: results, arrays changed in place, and
    exceptions. Many times slower than normal work; the block holds for the thread that opens it.

    Yields:
        How many calls of each kernel were compared, counted as they happen; those that native code
        left to the twin count 0.

    Raises:
        KernelMismatchError: at the first call whose results differ by more than rounding explains.

    >>> import numpy as np
    >>> from tilegrad import kernels
    >>> with verify() as checked:
    ...     _ = kernels.matmul(np.eye(3), np.ones((3, 2)))
    >>> checked["matmul"]
    1
    """
    from tilegrad.kernels.compare import checked_call  # not needed by those who never verify

    checked: Counter[str] = Counter()

    def check(kernel: _native.Kernel, args: Arguments, kwargs: Keywords) -> object:
        done = checked_call(kernel, args, kwargs)
        if done.native:
            checked[kernel.__name__] += 1
        return done.result

    with intercept(check):
        yield checked
