"""The kernel type: native or twin, hooks, introspection."""

from __future__ import annotations

import copy
import inspect
import pickle

import numpy as np
import pytest

from tilegrad import _native, kernels


def test_kernel_keeps_what_its_twin_says():
    matmul = kernels.matmul
    assert matmul.native
    assert matmul.__name__ == "matmul"
    assert matmul.__wrapped__ is matmul.twin is kernels.reference.matmul
    assert matmul.__doc__ == matmul.twin.__doc__
    assert inspect.signature(matmul) == inspect.signature(matmul.twin)
    assert pickle.loads(pickle.dumps(matmul)) is copy.deepcopy(matmul) is matmul


def test_kernel_without_native_code_is_its_twin():
    def no_such_kernel(x, *, y=2):
        return x * y

    kernel = _native.Kernel(no_such_kernel)
    assert not kernel.native
    assert kernel(3) == 6
    assert kernel(3, y=5) == kernel.call_native(3, y=5) == 15


def test_declined_arguments_go_to_the_twin():
    result = kernels.matmul(np.ones((2, 3), np.int64), np.ones((3, 2), np.int64))
    assert result.dtype == np.int64
    assert (result == 3).all()


def test_hook_sees_every_call():
    seen = []

    def hook(kernel, args, kwargs):
        seen.append((kernel.__name__, len(args), sorted(kwargs)))
        return kernel.call_native(*args, **kwargs)

    eye = np.eye(3)
    assert _native.set_dispatch_hook(hook) is None
    try:
        assert (kernels.matmul(eye, b=eye) == eye).all()
    finally:
        assert _native.set_dispatch_hook(None) is hook
    assert seen == [("matmul", 1, ["b"])]


@pytest.mark.parametrize(
    ("args", "kwargs", "text"),
    [
        ((1,), {}, "missing required argument 'b'"),
        ((1, 2, 3, 4), {}, "takes 3 positional arguments but 4 were given"),
        ((1, 2), {"a": 1}, "multiple values for argument 'a'"),
        ((1, 2), {"q": 1}, "unexpected keyword argument 'q'"),
    ],
)
def test_wrong_arguments(args, kwargs, text):
    with pytest.raises(TypeError, match=text):
        kernels.matmul(*args, **kwargs)
