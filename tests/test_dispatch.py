"""What runs behind the kernels: ``backend``, ``verify`` and ``intercept``."""

from __future__ import annotations

import asyncio
import threading

import numpy as np
import pytest

import tilegrad as tg
from tilegrad import _native, kernels
from tilegrad.kernels.compare import KernelMismatchError
from tilegrad.kernels.intercept import intercept


def which(kernel):
    """Names of the code that runs: "native", "twin" or both, in order."""
    ran = []

    class Spy:
        __name__ = kernel.__name__
        native = True
        twin = staticmethod(lambda *args, **kwargs: ran.append("twin"))

        def call_native(self, *args, **kwargs):
            ran.append("native")

    return Spy(), ran


def dispatch(spy):
    """Call a stand-in for a kernel as the extension calls its hook."""
    hook = _native.set_dispatch_hook(None)
    _native.set_dispatch_hook(hook)
    return spy.call_native() if hook is None else hook(spy, (), {})


def test_backend_chooses_the_twin_or_native_code():
    spy, ran = which(kernels.matmul)
    dispatch(spy)
    with tg.backend("numpy"):
        dispatch(spy)
        with tg.backend("native"):
            dispatch(spy)
        dispatch(spy)
    dispatch(spy)
    assert ran == ["native", "twin", "native", "twin", "native"]


def test_unknown_backend_is_named():
    with pytest.raises(ValueError, match=r"'native', 'numpy'.*'cuda'"), tg.backend("cuda"):
        pass


def test_hook_is_gone_after_the_last_block_even_after_an_error():
    with pytest.raises(RuntimeError, match="inside"), tg.backend("numpy"):
        raise RuntimeError("inside")
    assert _native.set_dispatch_hook(None) is None


def test_outer_hook_is_kept():
    seen = []

    def hook(kernel, args, kwargs):
        seen.append(kernel.__name__)
        return kernel.call_native(*args, **kwargs)

    _native.set_dispatch_hook(hook)
    try:
        with tg.backend("numpy"):
            kernels.add(1.0, 2.0)  # the block's own
            thread = threading.Thread(target=lambda: kernels.exp(1.0))  # not of this context
            thread.start()
            thread.join()
        kernels.multiply(1.0, 2.0)
    finally:
        assert _native.set_dispatch_hook(None) is hook
    assert seen == ["exp", "multiply"]


def test_threads_do_not_see_each_others_blocks():
    inside, leave = threading.Event(), threading.Event()
    ran = {}

    def hold():
        spy, ran["holder"] = which(kernels.matmul)
        with tg.backend("numpy"):
            inside.set()
            assert leave.wait(10)
            dispatch(spy)

    holder = threading.Thread(target=hold)
    holder.start()
    assert inside.wait(10)
    spy, ran["other"] = which(kernels.matmul)
    dispatch(spy)
    leave.set()
    holder.join()
    assert ran == {"holder": ["twin"], "other": ["native"]}


def test_tasks_do_not_see_each_others_blocks():
    async def task(name):
        spy, ran = which(kernels.matmul)
        with tg.backend(name):
            await asyncio.sleep(0)
            dispatch(spy)
            await asyncio.sleep(0)
        return ran

    async def both():
        return await asyncio.gather(task("numpy"), task("native"))

    assert asyncio.run(both()) == [["twin"], ["native"]]


def test_many_threads_open_and_close_blocks():
    errors = []

    def work():
        try:
            for _ in range(200):
                with tg.backend("numpy"):
                    assert kernels.add(np.ones(3), 1.0).sum() == 6
                assert kernels.matmul(np.eye(2), np.eye(2)).sum() == 2
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert _native.set_dispatch_hook(None) is None


def test_interceptors_nest_and_may_call_kernels():
    order = []

    def named(name):
        def interceptor(kernel, args, kwargs):
            order.append(f"{name}:{kernel.__name__}")
            return kernel(*args, **kwargs)

        return interceptor

    with intercept(named("outer")), intercept(named("inner")):
        kernels.add(1.0, 2.0)
    assert order == ["inner:add", "outer:add"]


def test_verify_counts_what_it_checks():
    a = np.random.default_rng(0).standard_normal((20, 30)).astype(np.float32)
    with tg.verify() as checked:
        kernels.matmul(a, a.T)
        kernels.matmul(a.T, a)
    assert checked == {"matmul": 2}


def wrong_kernel(name, wrong):
    """A kernel whose native code is ``wrong`` and whose twin is right."""

    class Wrong:
        __name__ = name
        native = True
        twin = staticmethod(kernels.KERNELS[name].twin)

        def try_native(self, *args, **kwargs):
            return wrong(*args, **kwargs)

    return Wrong()


def verify_wrong(name, wrong, *args):
    hook_is_set = tg.verify()
    with hook_is_set:
        hook = _native.set_dispatch_hook(None)
        _native.set_dispatch_hook(hook)
        return hook(wrong_kernel(name, wrong), args, {})


def off_by(units):
    def wrong(a, b, out=None):
        result = np.matmul(a.astype(np.float64), b.astype(np.float64))
        scale = np.abs(a).astype(np.float64) @ np.abs(b)
        return (result + units * np.finfo(np.float32).eps / 2 * scale).astype(np.float32)

    return wrong


def test_verify_passes_rounding_and_finds_more():
    a = np.random.default_rng(0).standard_normal((5, 7)).astype(np.float32)
    verify_wrong("matmul", off_by(16), a, a.T)
    with pytest.raises(KernelMismatchError, match=r"matmul\(a=\(5, 7\), b=\(7, 5\)\).*allowed"):
        verify_wrong("matmul", off_by(64), a, a.T)


@pytest.mark.parametrize(
    ("name", "wrong", "args", "text"),
    [
        ("exp", lambda x: np.exp(x) * (1 + 1e-5), (np.ones(3, np.float32),), "result"),
        ("exp", lambda x: np.exp(x).astype(np.float64), (np.ones(3, np.float32),), "float64"),
        ("exp", lambda x: np.exp(x)[None], (np.ones(3),), r"\(1, 3\)"),
        ("relu", lambda x: np.where(x > 0, x, 0), (np.array([np.nan, 1.0]),), r"result\[0\]"),
        ("relu", lambda x: np.maximum(x, 0) + 1e-300, (np.ones(3) * 1e-290,), "result"),
        ("argmax", lambda x: np.argmin(x), (np.arange(4.0),), "result"),
        ("softmax", lambda x: x, (np.arange(4.0),), "result"),
    ],
)
def test_verify_finds(name, wrong, args, text):
    with pytest.raises(KernelMismatchError, match=text):
        verify_wrong(name, wrong, *args)


def test_verify_sees_arrays_changed_in_place():
    def forgets_the_state(p, g, buf, **kwargs):
        kernels.reference.sgd_step(p, g, buf.copy(), **kwargs)

    p, g, buf = np.ones(3), np.ones(3), np.ones(3)
    with tg.verify():
        hook = _native.set_dispatch_hook(None)
        _native.set_dispatch_hook(hook)
        kernel = wrong_kernel("sgd_step", forgets_the_state)
        with pytest.raises(KernelMismatchError, match="buf"):
            hook(kernel, (p, g, buf), {"lr": 0.1, "momentum": 0.5})


def test_verify_compares_errors():
    def never_raises(a, b, out=None):
        return np.zeros((2, 2))

    def wrong_kind(a, b, out=None):
        raise TypeError("no")

    a = np.ones((2, 3))
    with pytest.raises(ValueError, match="matmul"):
        verify_wrong("matmul", kernels.matmul.call_native, a, a)
    with pytest.raises(ValueError, match="mismatch"):
        verify_wrong("matmul", never_raises, a, a)
    with pytest.raises(KernelMismatchError, match="TypeError"):
        verify_wrong("matmul", wrong_kind, a, a)


def test_verify_leaves_results_and_arguments_alone():
    a = np.random.default_rng(1).standard_normal((6, 6))
    before, out = a.copy(), np.empty((6, 6))
    plain = kernels.matmul(a, a)
    with tg.verify():
        assert kernels.matmul(a, a, out=out) is out
    assert (out == plain).all()
    assert (a == before).all()
