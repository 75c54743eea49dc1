"""Recurrent kernels: native against the twins, and the layers that use them."""

from __future__ import annotations

import numpy as np
import pytest

import tilegrad as tg
from tilegrad import kernels, nn
from tilegrad.kernels import reference

SIZES = [(1, 1, 1), (3, 2, 5), (4, 3, 16), (2, 7, 33), (5, 1, 64), (0, 2, 3), (2, 0, 3)]


def _inputs(size: tuple[int, int, int], dtype: type, gates: int) -> list[np.ndarray]:
    steps, batch, hidden = size
    rng = np.random.default_rng(0)
    shapes = [(steps, batch, gates * hidden), (batch, hidden), (batch, hidden)]
    shapes.append((gates * hidden, hidden))
    return [rng.standard_normal(shape).astype(dtype) for shape in shapes]


def _close(found: tuple, wanted: tuple, dtype: type) -> None:
    tolerance = 2e-5 if dtype is np.float32 else 1e-13
    for a, b in zip(found, wanted, strict=True):
        assert a.shape == b.shape
        assert a.dtype == b.dtype == dtype
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=10 * tolerance)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_lstm_is_its_twin(size: tuple[int, int, int], dtype: type):
    x, h0, c0, w = _inputs(size, dtype, 4)
    saved = reference.lstm(x, h0, c0, w)
    _close(kernels.lstm(x, h0, c0, w), saved, dtype)
    y, cells, gates = saved
    rng = np.random.default_rng(1)
    gy, gc = (rng.standard_normal(y.shape).astype(dtype) for _ in range(2))
    for pair in ((gy, gc), (gy, None), (None, gc)):
        args = (*pair, y, cells, gates, h0, c0, w)
        _close(kernels.lstm_grad(*args), reference.lstm_grad(*args), dtype)


def test_lstm_takes_any_layout():
    x, h0, c0, w = _inputs((3, 4, 5), np.float64, 4)
    wanted = kernels.lstm(x, h0, c0, w)
    found = kernels.lstm(x[::-1].copy()[::-1], h0.T.copy().T, c0, np.asfortranarray(w))
    _close(found, wanted, np.float64)
    with pytest.raises(ValueError, match="do not fit"):
        kernels.lstm(x, h0[:2], c0, w)


def test_lstm_bits_do_not_depend_on_threads():
    x, h0, c0, w = _inputs((4, 64, 96), np.float32, 4)
    results = []
    for threads in (1, 2):
        with tg.num_threads(threads):
            results.append(kernels.lstm(x, h0, c0, w))
    for a, b in zip(*results, strict=True):
        assert np.array_equal(a, b)


@pytest.mark.parametrize("kind", [nn.RNN, nn.GRU, nn.LSTM])
def test_gradcheck_of_layers(kind: type):
    tg.manual_seed(0)
    layer = kind(2, 3, num_layers=2, bidirectional=True).double()
    x = tg.tensor(np.random.default_rng(0).standard_normal((3, 2, 2)), requires_grad=True)
    assert tg.autograd.gradcheck(lambda x: layer(x)[0], (x,))
    assert tg.autograd.gradgradcheck(lambda x: layer(x)[0], (x,))
