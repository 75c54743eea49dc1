"""What the matrix product promises: NaN rules, accuracy, bits, threads, interrupts, memory."""

from __future__ import annotations

import collections
import itertools
import os
import signal
import subprocess
import sys
import threading
import time

import gemm_cases as cases
import numpy as np
import pytest

from tilegrad import _native, kernels

matmul = kernels.matmul


@pytest.mark.parametrize("dtype", cases.DTYPES)
@pytest.mark.parametrize("isa", cases.ISAS)
def test_alpha_and_beta_zero_read_nothing(isa, dtype):
    nan = np.full((20, 20), np.nan, dtype)
    c = cases.integers((20, 20), dtype)
    with cases.isa(isa):
        assert (kernels.gemm(nan, nan, c, alpha=0.0, beta=2.0) == 2 * c).all()
        assert (kernels.gemm(nan, nan, alpha=0.0) == 0).all()
        assert (kernels.gemm(c, c, nan, beta=0.0) == c @ c).all()
        out = nan.copy()
        assert (kernels.gemm(c, c, out, beta=0.0, out=out) == c @ c).all()


@pytest.mark.parametrize("dtype", cases.DTYPES)
@pytest.mark.parametrize("isa", cases.ISAS)
@pytest.mark.parametrize("size", [3, 17, 70])
def test_nan_and_infinity_propagate(isa, dtype, size):
    """No zero is skipped, no padding leaks: special values land where arithmetic puts them."""
    count = 0
    with cases.isa(isa), np.errstate(all="ignore"):
        for value, side, order in itertools.product((np.nan, np.inf, -np.inf), "ab", "CF"):
            for row, column in ((0, 0), (size - 1, size // 2), (size // 2, size - 1)):
                a, b = (
                    cases.integers((size, size), dtype, 1),
                    cases.integers((size, size), dtype, 2),
                )
                a[1] = 0  # zero times infinity is NaN
                (a if side == "a" else b)[row, column] = value
                got = matmul(np.array(a, order=order), np.array(b, order=order))
                want = np.zeros((size, size), dtype)
                for p in range(size):
                    want = want + a[:, p, None] * b[p]
                np.testing.assert_array_equal(got, want)
                count += 1
    assert count == 36
    with cases.isa(isa):
        a = cases.integers((size, size), dtype, 1)
        c = np.full((size, size), np.inf, dtype)
        c[0, 0] = np.nan
        got = kernels.gemm(a, a, c, beta=1.0, activation="relu")
        assert np.isnan(got[0, 0])
        assert np.isinf(got).sum() == size * size - 1


@pytest.mark.parametrize("isa", cases.ISAS)
@pytest.mark.parametrize("kind", ["normal", "uniform", "graded"])
@pytest.mark.parametrize("k", [100, 384, 1000, 8192])
@pytest.mark.parametrize("layout", ["nn", "nt"])
def test_accuracy(isa, kind, k, layout):
    """The worst error is at most 16 u |A||B|, for every path."""
    rng = np.random.default_rng(k)
    count = 0
    for dtype, m, n in ((np.float32, 61, 67), (np.float32, 3, 67), (np.float64, 20, 19)):
        a, b = rng.normal(size=(m, k)), rng.normal(size=(k, n))
        if kind == "uniform":
            a, b = np.abs(rng.uniform(size=(m, k))), np.abs(rng.uniform(size=(k, n)))
        if kind == "graded":
            a, b = a * np.geomspace(1, 1e-6, k), b * np.geomspace(1, 1e6, k)[:, None]
        a, b = a.astype(dtype), b.astype(dtype)
        if layout == "nt":
            b = np.asfortranarray(b)
        with cases.isa(isa):
            error = np.abs(matmul(a, b) - cases.exact_product(a, b))
        unit = np.finfo(dtype).eps / 2
        wide = np.float64 if dtype == np.float32 else np.longdouble
        scale = unit * np.matmul(np.abs(a).astype(wide), np.abs(b).astype(wide))
        assert np.max(error / scale) <= 16
        count += 1
    assert count == 3


SHAPES = [
    (700, 650, 300),
    (64, 2000, 500),
    (3, 4000, 600),
    (1, 3000, 900),
    (2000, 1, 900),
    (5, 5, 5),
]


@pytest.mark.parametrize("dtype", cases.DTYPES)
@pytest.mark.parametrize("isa", cases.ISAS)
def test_same_bits_for_any_number_of_threads(isa, dtype):
    count = 0
    with cases.isa(isa):
        for m, n, k in SHAPES:
            a, b = cases.random((m, k), dtype, 1), cases.random((k, n), dtype, 2)
            for right in (b, np.asfortranarray(b)):
                with cases.threads(1):
                    want = matmul(a, right)
                for threads in (2, 3, 7):
                    with cases.threads(threads):
                        assert matmul(a, right).tobytes() == want.tobytes()
                        count += 1
    assert count == 6 * 2 * 3


@pytest.mark.parametrize("dtype", cases.DTYPES)
@pytest.mark.parametrize("isa", cases.ISAS)
@pytest.mark.parametrize("layout", ["nn", "nt", "tn", "packed"])
def test_same_bits_for_any_number_of_rows_when_asked(isa, dtype, layout):
    count = 0
    before = _native.set_batch_invariant(True)
    try:
        with cases.isa(isa):
            for n, k in ((40, 30), (130, 700), (1, 500), (3, 400), (700, 900)):
                a, b = cases.random((97, k), dtype, 1), cases.random((k, n), dtype, 2)
                right = np.asfortranarray(b) if layout == "nt" else b
                handle = kernels.pack(b)

                def product(rows, right=right, handle=handle):
                    if layout == "packed":
                        return kernels.gemm(rows, handle)
                    return matmul(np.asfortranarray(rows) if layout == "tn" else rows, right)

                want = product(a)
                for m in (1, 2, 5, 6, 7, 14, 15, 40):
                    assert product(a[:m]).tobytes() == want[:m].tobytes(), (m, n, k)
                    count += 1
    finally:
        _native.set_batch_invariant(before)
    assert count == 5 * 8


@pytest.mark.parametrize("dtype", cases.DTYPES)
@pytest.mark.parametrize("isa", cases.ISAS)
def test_out_may_overlap_an_operand(isa, dtype):
    with cases.isa(isa):
        for n in (4, 33, 120):
            a, b = cases.integers((n, n), dtype, 1), cases.integers((n, n), dtype, 2)
            want = a @ b
            x = a.copy()
            assert (matmul(x, b, out=x) == want).all()
            x = b.copy()
            assert (matmul(a, x, out=x) == want).all()
            x = b.copy()
            assert (matmul(x, x, out=x) == b @ b).all()
            x = a.copy()
            assert (matmul(x, b, out=x.T) == want).all()
            shared = np.zeros((n + 1, n), dtype)
            shared[:n] = a
            assert (matmul(shared[:n], b, out=shared[1:]) == want).all()
            x = a.copy()
            assert (kernels.gemm(x, x, x, beta=1.0, out=x) == a @ a + a).all()


def test_32_threads_at_once():
    a, b = cases.random((300, 200), np.float32, 1), cases.random((200, 310), np.float32, 2)
    want = matmul(a, b).tobytes()
    wrong = []

    def work():
        wrong.extend(i for i in range(20) if matmul(a, b).tobytes() != want)

    workers = [threading.Thread(target=work) for _ in range(32)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong


def test_thread_limits_are_per_thread():
    here = _native.get_num_threads()
    seen = []

    def work():
        _native.set_num_threads(3)
        seen.append(_native.get_num_threads())

    worker = threading.Thread(target=work)
    worker.start()
    worker.join()
    assert seen == [3]
    assert _native.get_num_threads() == here


def run(code: str, **environment: str) -> str:
    """Run a program of its own; its output."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_200_forks_with_a_hot_pool():
    """A child forgets its parent's threads and starts its own."""
    code = """
import os, numpy as np
from tilegrad import _native, kernels
_native.set_num_threads(4)
a = np.random.default_rng(0).normal(size=(160, 160))
want = kernels.matmul(a, a).tobytes()
failed = 0
for _ in range(200):
    kernels.matmul(a, a)
    child = os.fork()
    if child == 0:
        os._exit(0 if kernels.matmul(a, a).tobytes() == want else 1)
    failed += os.waitpid(child, 0)[1] != 0
print("failed", failed)
"""
    assert run(code) == "failed 0\n"


@pytest.mark.parametrize("threads", [1, 2])
def test_interrupt_is_answered_within_250_ms(threads):
    """Ctrl-C in the middle of a product that would take seconds."""
    n = 1600
    a = np.ones((n, n))
    with cases.isa("portable"), cases.threads(threads):
        raised = []

        def interrupt():
            time.sleep(0.1)
            raised.append(time.monotonic())
            os.kill(os.getpid(), signal.SIGINT)

        helper = threading.Thread(target=interrupt)
        helper.start()
        start = time.monotonic()
        endless = (matmul(a, a) for _ in range(100))
        with pytest.raises(KeyboardInterrupt):
            collections.deque(endless, maxlen=0)
        answered = time.monotonic()
        helper.join()
    assert answered - start > 0.1
    assert answered - raised[0] < 0.25
    assert (matmul(np.eye(30), a[:30, :30]) == 1).all()  # and everything still works


def test_environment_limits_threads_and_instruction_set():
    code = "from tilegrad import _native; print(_native.get_num_threads(), _native.get_isa())"
    assert run(code, TILEGRAD_NUM_THREADS="3", TILEGRAD_ISA="portable") == "3 portable\n"
    assert run(code, TILEGRAD_ISA="no such").split()[1] == cases.ISAS[0]


def test_large_results_are_ordinary_arrays():
    """They come from recycled memory, and behave like any other array."""
    a = cases.integers((300, 300), np.float64)
    first = matmul(a, a)
    assert first.flags.owndata
    assert first.flags.c_contiguous
    address = first.ctypes.data
    kept = first.copy()
    del first
    second = matmul(a, a)
    assert second.ctypes.data == address, "the memory was not used again"
    assert (second == kept).all()
    second.resize((600, 300))
    assert (second[:300] == kept).all()
    assert (second[300:] == 0).all()


def test_nothing_leaks():
    """10^4 calls of every kind leave the process as large as it was."""
    import resource

    a, big = np.ones((20, 20), np.float32), np.ones((260, 260))

    def work(times):
        for _ in range(times):
            kernels.gemm(a, kernels.pack(a), a, beta=1.0, bias=a[0], activation="relu")
            matmul(a[:, ::2], a[::2], out=a)
            kernels.outer(a[0], a[1])
        for _ in range(times // 20):
            matmul(big, big)

    work(1000)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    work(10000)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 4 << 10
