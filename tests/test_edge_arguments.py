"""Arguments at the edges of what functions take: values by hand, and errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tilegrad as tg

F = tg.nn.functional
ROW = tg.arange(4.0).reshape(1, 1, 4)

VALUES: dict[str, tuple[Callable[[], Any], Any]] = {
    "circular padding wraps what is left": (
        lambda: F.pad(ROW, (-1, 2), "circular"), [[[1, 2, 3, 1, 2]]],
    ),
    "0-norm counts": (lambda: F.normalize(tg.tensor([[3.0, 0.0, 4.0]]), 0.0), [[1.5, 0, 2]]),
    "of maxima sent to one place the last stays": (
        lambda: F.max_unpool1d(
            tg.tensor([[[5.0, 6.0, 7.0]]]), tg.tensor([[[1, 1, 3]]]), 2, 1, output_size=(4,)
        ),
        [[[0, 6, 0, 7]]],
    ),
    "output padding of a stride and more": (
        lambda: F.conv_transpose1d(
            tg.ones(1, 1, 2), tg.ones(1, 1, 2), stride=2, dilation=4, padding=1, output_padding=3
        ),
        [[[0, 1, 0, 1, 0, 1, 0, 0]]],
    ),
    "integers between ends cut to integers": (
        lambda: tg.linspace(4.3, -3, 8, dtype=np.int64), [4, 3, 2, 1, 0, -1, -2, -3],
    ),
    "steps cut to integers": (lambda: tg.arange(-0.9, 2.1, 2.0, dtype=np.int64), [0]),
    "unsigned integers sum to int64": (
        lambda: tg.sum(tg.tensor([200, 100], dtype=np.uint8)), np.int64(300),
    ),
    "differences of integers are floats": (
        lambda: tg.gradient(tg.tensor([1, 2, 4]))[0], np.float32([1, 1.5, 2]),
    ),
    "powers of integers by 2.0 are floats": (
        lambda: tg.tensor([1, 3]) ** 2.0, np.float32([1, 9]),
    ),
    "integer images are rounded": (
        lambda: F.interpolate(
            tg.tensor(np.uint8([[[0, 255]]])), 4, mode="linear", align_corners=True
        ),
        np.uint8([[[0, 85, 170, 255]]]),
    ),
    "type as in torch": (lambda: tg.tensor([1.9]).type(np.int32), np.int32([1])),
    "a trace in another dtype": (
        lambda: tg.linalg.trace(tg.ones(2, 2), dtype=np.float64), np.float64(2),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", VALUES)
def test_values(name: str):
    call, expected = VALUES[name]
    found = call().numpy()
    if isinstance(expected, (np.ndarray, np.generic)):
        assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)


X = tg.ones(3, 4)
ERRORS: dict[str, Callable[[], Any]] = {
    "batch_norm: negative eps": lambda: F.batch_norm(X, None, None, training=True, eps=-1.0),
    "CircularPad1d: two axes too many": lambda: tg.nn.CircularPad1d(1)(tg.ones(1, 1, 2, 3)),
    "cross_entropy: probabilities of a label": lambda: F.cross_entropy(X, X, ignore_index=1),
    "RNN: no inputs": lambda: tg.nn.RNN(0, 3),
    "GRU: a bias that is a number": lambda: tg.nn.GRU(3, 3, bias=1),
    "cummax: no axis 1": lambda: tg.cummax(tg.tensor(1.0), 1),
    "gather: an index of fewer axes": lambda: tg.gather(X, 0, tg.tensor([1])),
    "linspace: bools": lambda: tg.linspace(0, 1, 3, dtype=bool),
    "vecdot: sizes 4 and 1": lambda: tg.linalg.vecdot(X, tg.ones(3, 1)),
    "cov: fractions of observations": lambda: tg.cov(X, fweights=tg.ones(4)),
    "cov: weights too few": lambda: tg.cov(X, aweights=tg.ones(1)),
    "cov: negative weights": lambda: tg.cov(X, aweights=-tg.ones(4)),
    "diff: order -1": lambda: tg.diff(X, -1),
    "flipud: no rows": lambda: tg.flipud(tg.tensor(1.0)),
    "fliplr: no columns": lambda: tg.fliplr(tg.ones(3)),
    "gradient: an axis twice": lambda: tg.gradient(X, dim=[1, 1]),
    "hsplit: no pieces": lambda: tg.hsplit(X, 0),
    "index_add: source without an axis": lambda: tg.index_add(
        X, 0, tg.tensor([0, 1]), tg.ones(2)
    ),
    "isclose: negative tolerance": lambda: tg.isclose(X, X, rtol=-1.0),
    "kthvalue: k = 3 of one": lambda: tg.kthvalue(tg.tensor(1.0), 3),
    "multinomial: integer weights": lambda: tg.multinomial(tg.tensor([1, 2]), 1),
    "roll: two shifts, one axis": lambda: tg.roll(X, (2, 1), 0),
    "rrelu: bounds exchanged": lambda: F.rrelu(X, 0.3, 0.1),
}  # fmt: skip


@pytest.mark.parametrize("name", ERRORS)
def test_errors(name: str):
    kinds = (ValueError, TypeError, RuntimeError, IndexError)
    with pytest.raises(kinds, match=name.split(":")[0][-5:]):
        ERRORS[name]()


@pytest.mark.parametrize(
    "function",
    [
        lambda x: F.pad(x, (-1, 2), "circular"),
        lambda x: F.conv_transpose1d(
            x, tg.ones(1, 1, 2, dtype=np.float64), stride=2, dilation=4, padding=1, output_padding=3
        ),
        lambda x: F.max_unpool1d(x, tg.tensor([[[1, 1, 3, 0]]]), 2, 1, output_size=(4,)),
    ],
)
def test_gradients(function: Callable[[Any], Any]):
    assert tg.autograd.gradcheck(function, ROW.double().requires_grad_())
