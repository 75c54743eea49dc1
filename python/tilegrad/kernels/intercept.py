"""Seeing, replacing or checking kernel calls for the length of a ``with`` block.

The extension has one process-wide hook, which costs a kernel call nothing while it is unset. This
module sets it while at least one block is open anywhere, and looks up the interceptors of the
running context: a block never affects another thread or another asynchronous task.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from tilegrad import _native

Arguments = tuple[Any, ...]
Keywords = dict[str, Any]

#: Called with the kernel and its arguments in place of the kernel; returns the result.
Interceptor = Callable[[_native.Kernel, Arguments, Keywords], Any]

_stack: ContextVar[tuple[Interceptor, ...]] = ContextVar("tilegrad_interceptors", default=())
_lock = threading.Lock()
_open_blocks = 0
_outer_hook: _native.Hook | None = None


def _dispatch(kernel: _native.Kernel, args: Arguments, kwargs: Keywords) -> Any:
    """The process-wide hook: the innermost interceptor of this context, or what was there before.

    While an interceptor runs, the ones around it are in force: a kernel that it calls goes to them.
    """
    stack = _stack.get()
    if not stack:
        if _outer_hook is not None:
            return _outer_hook(kernel, args, kwargs)
        return kernel.call_native(*args, **kwargs)
    token = _stack.set(stack[:-1])
    try:
        return stack[-1](kernel, args, kwargs)
    finally:
        _stack.reset(token)


@contextmanager
def intercept(interceptor: Interceptor) -> Iterator[None]:
    """Send every kernel call of this context to ``interceptor`` until the block ends.

    >>> import numpy as np
    >>> from tilegrad import kernels
    >>> names = []
    >>> def note(kernel, args, kwargs):
    ...     names.append(kernel.__name__)
    ...     return kernel(*args, **kwargs)
    >>> with intercept(note):
    ...     _ = kernels.relu(kernels.add(np.ones(2), 1.0))
    >>> names
    ['add', 'relu']
    """
    global _open_blocks, _outer_hook
    with _lock:
        if _open_blocks == 0:
            _outer_hook = _native.set_dispatch_hook(_dispatch)
        _open_blocks += 1
    token = _stack.set((*_stack.get(), interceptor))
    try:
        yield
    finally:
        _stack.reset(token)
        with _lock:
            _open_blocks -= 1
            if _open_blocks == 0:
                _native.set_dispatch_hook(_outer_hook)
                _outer_hook = None
