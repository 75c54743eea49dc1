"""NumPy's own tests of matmul, run against ours in place."""

from __future__ import annotations

from typing import ClassVar

import pytest

from tilegrad import kernels

suite = pytest.importorskip("numpy._core.tests.test_multiarray")


class TestMatmul(suite.TestMatmul):
    """Every test of the suite, for float32 and float64 and for all the dtypes the twin takes."""

    matmul = staticmethod(kernels.matmul)


class TestNativeMatmul(TestMatmul):
    types: ClassVar[str] = "fd"


def test_the_suite_is_whole():
    tests = [name for name in dir(TestMatmul) if name.startswith("test_")]
    assert len(tests) >= 19, "NumPy's suite has shrunk, or is not found any more"
    assert TestMatmul.matmul is kernels.matmul
    assert TestMatmul.types == suite.TestMatmul.types != TestNativeMatmul.types
