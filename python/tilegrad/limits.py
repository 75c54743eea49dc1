"""What limits the kernels called from this thread: how many threads, and how far bits may vary."""

from __future__ import annotations

import operator
from collections.abc import Iterator
from contextlib import contextmanager

from tilegrad import _native


def _whole(threads: int) -> int:
    """A number of threads as the extension takes it; beyond any machine means all there are."""
    if isinstance(threads, bool) or not hasattr(threads, "__index__"):
        raise TypeError(f"set_num_threads: expected a whole number, got {threads!r}")
    return min(operator.index(threads), 2**31 - 1)


def set_num_threads(threads: int) -> None:
    """Let kernels called from this Python thread use at most ``threads`` threads.

    The default is ``TILEGRAD_NUM_THREADS``, or else every processor that the process may use
    (affinity mask and cgroup quota respected). Results do not depend on it, to the last bit.

    Raises:
        ValueError: ``threads`` is less than 1.
        TypeError: it is no whole number.
    """
    _native.set_num_threads(_whole(threads))


def get_num_threads() -> int:
    """Return how many threads kernels called from this Python thread may use.

    >>> with num_threads(2):
    ...     get_num_threads()
    2
    """
    return _native.get_num_threads()


@contextmanager
def num_threads(threads: int) -> Iterator[None]:
    """Limit the threads inside a ``with`` block."""
    before = _native.get_num_threads()
    set_num_threads(threads)
    try:
        yield
    finally:
        _native.set_num_threads(before)


@contextmanager
def batch_invariant() -> Iterator[None]:
    """Give each row of a product the same bits, however many other rows are in the batch.

    Inside the block, for this Python thread, products choose their way by the right operand and the
    layout alone. Outside it the fastest way for the size is taken, and a row computed alone may
    differ in its last bits from the same row within a batch.

    >>> import numpy as np
    >>> from tilegrad import kernels
    >>> x, w = np.random.default_rng(0).normal(size=(2, 64, 64))
    >>> with batch_invariant():
    ...     bool((kernels.matmul(x, w.T)[:1] == kernels.matmul(x[:1], w.T)).all())
    True
    """
    before = _native.set_batch_invariant(True)
    try:
        yield
    finally:
        _native.set_batch_invariant(before)
