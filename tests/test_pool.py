"""Pooling: native against twin on every instruction set, NaN, ties, edges, adjoints, errors."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from conv_cases import DTYPES, ISAS, LAYOUTS, instruction_set, integers, refusing, threads

from tilegrad import _native, kernels
from tilegrad.kernels import reference

#: Input shape and the window: kernel_size, stride, padding, dilation, ceil_mode.
WINDOWS = [
    ((2, 3, 11), (2, None, 0, 1, False)),
    ((2, 3, 12), (3, 2, 1, 1, True)),
    ((1, 2, 40), (5, 1, 2, 1, False)),
    ((2, 3, 8, 8), (2, None, 0, 1, False)),
    ((2, 3, 9, 71), (2, 2, 0, 1, False)),
    ((2, 3, 9, 71), (2, 2, 1, 1, True)),
    ((2, 3, 28, 28), (2, 2, 0, 1, False)),
    ((2, 2, 33, 34), (3, 2, 1, 1, False)),
    ((2, 2, 33, 34), (3, 1, 1, 1, False)),
    ((2, 2, 20, 50), ((3, 2), (1, 3), (1, 0), 1, True)),
    ((2, 2, 20, 50), ((2, 3), 4, 1, 1, True)),
    ((2, 2, 20, 50), (3, 2, 1, 2, False)),
    ((2, 2, 20, 50), (3, 5, ((0, 1), (1, 0)), 1, False)),
    ((1, 2, 3, 3), (3, 3, 1, 1, False)),
    ((1, 2, 7, 7), (7, 7, 0, 1, False)),
    ((1, 2, 1, 1), (2, 1, 1, 1, False)),
    ((1, 2, 6, 7, 8), (2, None, 0, 1, False)),
    ((1, 2, 6, 7, 20), (3, (2, 1, 2), 1, 1, True)),
    ((0, 3, 8, 8), (2, None, 0, 1, False)),
    ((2, 0, 8, 8), (2, None, 0, 1, False)),
]
#: A window that meets no pixel at all.
EMPTY_WINDOW = ((1, 1, 1), (2, 1, 2, 3, False))

ADAPTIVE = [
    ((2, 3, 10), 4),
    ((2, 3, 10), 10),
    ((2, 3, 7, 9), 1),
    ((2, 3, 7, 9), (3, 4)),
    ((2, 3, 7, 9), (None, 2)),
    ((2, 3, 4, 4), (8, 5)),
    ((1, 2, 5, 6, 7), (2, 3, 4)),
    ((0, 2, 5, 5), 2),
]


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_max_pool_agrees_with_its_twin(isa, dtype):
    """Values and indices, with many ties and some NaN; scatter and gather are adjoint."""
    rng = np.random.default_rng(0)
    checks = 0
    with instruction_set(isa):
        for (shape, window), layout, holes in itertools.product(
            [*WINDOWS, EMPTY_WINDOW], LAYOUTS, (False, True)
        ):
            x = integers(rng, shape, dtype)
            if holes:
                x[rng.random(shape) < 0.1] = np.nan
                x[rng.random(shape) < 0.2] = -np.inf
            message = f"{shape} {window} {layout.__name__}"
            y, at = kernels.max_pool(layout(x), *window)
            wanted, wanted_at = reference.max_pool(x, *window)
            np.testing.assert_array_equal(y, wanted, message)
            np.testing.assert_array_equal(at, wanted_at, message)
            assert y.dtype == dtype
            assert at.dtype == np.int64

            g, t = integers(rng, y.shape, dtype), integers(rng, shape, dtype)
            back = kernels.pool_scatter(layout(g), layout(at), shape)
            np.testing.assert_array_equal(back, reference.pool_scatter(g, at, shape), message)
            forth = kernels.pool_gather(layout(t), layout(at))
            np.testing.assert_array_equal(forth, reference.pool_gather(t, at), message)
            assert np.vdot(back, t) == np.vdot(g, forth), message
            checks += 1
    assert checks == (len(WINDOWS) + 1) * len(LAYOUTS) * 2


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_avg_pool_agrees_with_its_twin(isa, dtype):
    """All ways to divide; the gradient is the adjoint, exactly where the divisor is 4."""
    rng = np.random.default_rng(1)
    eps = np.finfo(dtype).eps
    checks = 0
    with instruction_set(isa):
        for (shape, window), layout, include, override in itertools.product(
            WINDOWS, LAYOUTS, (True, False), (None, -4)
        ):
            if window[3] != 1:
                continue
            rule = (*window[:3], window[4], include, override)
            x = integers(rng, shape, dtype)
            message = f"{shape} {rule} {layout.__name__}"
            y, wanted = kernels.avg_pool(layout(x), *rule), reference.avg_pool(x, *rule)
            # Whole sums are exact, one division is rounded.
            np.testing.assert_allclose(y, wanted, rtol=eps, atol=0, err_msg=message)
            assert y.dtype == dtype

            g = integers(rng, y.shape, dtype)
            dx = kernels.avg_pool_grad(layout(g), shape, *rule)
            wanted = reference.avg_pool_grad(g, shape, *rule)
            # At most so many shares of at most 3 are added to a pixel.
            shares = np.prod(window[0]) if not isinstance(window[0], int) else window[0] ** 3
            np.testing.assert_allclose(
                dx, wanted, rtol=0, atol=3 * eps * float(shares), err_msg=message
            )
            if override is not None:
                assert np.vdot(dx, x) == np.vdot(g, y), message
            checks += 1
    assert checks == (len(WINDOWS) - 1) * len(LAYOUTS) * 4


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_adaptive_pools_agree_with_their_twins(isa, dtype):
    rng = np.random.default_rng(2)
    eps = np.finfo(dtype).eps
    checks = 0
    with instruction_set(isa):
        for (shape, size), layout in itertools.product(ADAPTIVE, LAYOUTS):
            x = integers(rng, shape, dtype)
            y = kernels.adaptive_avg_pool(layout(x), size)
            np.testing.assert_allclose(
                y, reference.adaptive_avg_pool(x, size), rtol=4 * eps, atol=4 * eps
            )
            g = integers(rng, y.shape, dtype)
            np.testing.assert_allclose(
                kernels.adaptive_avg_pool_grad(layout(g), shape),
                reference.adaptive_avg_pool_grad(g, shape),
                rtol=0,
                atol=24 * eps,  # at most 8 windows with shares of at most 3
            )
            x[rng.random(shape) < 0.1] = np.nan
            got = kernels.adaptive_max_pool(layout(x), size)
            wanted = reference.adaptive_max_pool(x, size)
            np.testing.assert_array_equal(got[0], wanted[0])
            np.testing.assert_array_equal(got[1], wanted[1])
            checks += 1
    assert checks == len(ADAPTIVE) * len(LAYOUTS)


def test_closed_forms():
    """Values that can be seen by eye, from NumPy alone."""
    x = np.arange(2.0 * 6 * 8).reshape(1, 2, 6, 8)
    blocks = x.reshape(1, 2, 3, 2, 4, 2)
    np.testing.assert_array_equal(kernels.max_pool(x, 2)[0], blocks.max(axis=(3, 5)))
    np.testing.assert_array_equal(kernels.avg_pool(x, 2), blocks.mean(axis=(3, 5)))
    np.testing.assert_array_equal(kernels.adaptive_avg_pool(x, 1)[..., 0, 0], x.mean(axis=(2, 3)))
    y, at = kernels.max_pool(x, 2)
    np.testing.assert_array_equal(x.reshape(2, -1)[[[0], [1]], at.reshape(2, -1)], y.reshape(2, -1))
    nan = np.array([[[1.0, np.nan, 2.0, np.nan, 3.0, 0.0]]])
    y, at = kernels.max_pool(nan, 3)
    assert np.isnan(y).all()
    assert at.tolist() == [[[1, 3]]]
    y, at = kernels.max_pool(np.zeros((1, 1, 4, 4)), 2)
    assert at.tolist() == [[[[0, 2], [8, 10]]]]  # the first of equals


def test_the_table_runs_natively():
    declined = []

    def run(name, *args):
        try:
            _native.Kernel(refusing(name))(*args)
        except AssertionError:
            declined.append((name, args[1:]))

    for shape, window in WINDOWS:
        x = np.zeros(shape, np.float32)
        y, at = reference.max_pool(x, *window)
        run("max_pool", x, *window)
        run("pool_scatter", y, at, shape)
        run("pool_gather", x, at)
        if window[3] == 1:
            run("avg_pool", x, *window[:3], window[4])
            run("avg_pool_grad", y, shape, *window[:3], window[4], False, 3)
    for shape, size in ADAPTIVE:
        x = np.zeros(shape)
        run("adaptive_avg_pool", x, size)
        run("adaptive_max_pool", x, size)
        run("adaptive_avg_pool_grad", reference.adaptive_avg_pool(x, size), shape)
    assert declined == []


@pytest.mark.parametrize("isa", ISAS)
def test_same_bits_for_any_number_of_threads(isa):
    rng = np.random.default_rng(3)
    x = rng.random((8, 16, 56, 56), np.float32)
    g = rng.random((8, 16, 28, 28), np.float32)
    results = []
    with instruction_set(isa):
        for count in (1, 2, 5):
            with threads(count):
                y, at = kernels.max_pool(x, 3, 2, 1)
                results.append(
                    [
                        y,
                        at,
                        kernels.pool_scatter(g, at, x.shape),
                        kernels.avg_pool(x, 3, 2, 1),
                        kernels.avg_pool_grad(g, x.shape, 3, 2, 1),
                        kernels.adaptive_avg_pool(x, 5),
                    ]
                )
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(a, b)


def test_indices_beyond_what_float32_holds():
    """2^24 + 5 is no float32."""
    x = np.zeros((1, 1, 2**24 + 8), np.float32)
    x[..., -3] = 1
    _, at = kernels.max_pool(x, 2)
    assert (at[0, 0, -4:] - 2**24).tolist() == [0, 2, 5, 6]


def test_integers_pool_exactly():
    x = np.arange(16).reshape(1, 1, 4, 4)
    assert kernels.max_pool(x, 2)[0].dtype == x.dtype
    assert kernels.avg_pool(x, 2).dtype == np.float64


X = np.zeros((2, 3, 8, 8))
BAD_CALLS = [
    ("max_pool", (X[0, 0], 2), ValueError, "axes"),
    ("max_pool", (X, 0), ValueError, "kernel_size must be at least 1"),
    ("max_pool", (X, 2, 0), ValueError, "stride must be at least 1"),
    ("max_pool", (X, 2, 2, 2), ValueError, "half of what"),
    ("max_pool", (X, 2, 2, -1), ValueError, "half of what"),
    ("max_pool", (X, 2, 2, 0, 0), ValueError, "dilation must be at least 1"),
    ("max_pool", (X, (2, 2, 2)), ValueError, "3 numbers for 2 spatial axes"),
    ("max_pool", (X, 9), ValueError, "spans 9 pixels.*has 8"),
    ("max_pool", (np.zeros((1, 1, 0)), 1), ValueError, "no pixels"),
    ("max_pool", (X, 2.5), TypeError, "kernel_size must be an integer"),
    ("max_pool", (X.astype(complex), 2), TypeError, "real numbers"),
    ("avg_pool", (X, 2, None, 0, False, True, 0), ValueError, "divisor_override"),
    ("avg_pool", (X, 9), ValueError, "spans 9 pixels"),
    ("avg_pool", (X, 2**62, None, 2**61), OverflowError, r"\(2, 3, 8, 8\).*overflows"),
    ("max_pool", (X, 2**40, 1, 2**39), OverflowError, r"\(2, 3, 8, 8\).*overflows"),
    ("avg_pool_grad", (X, X.shape, 2**40, 1, 2**39), OverflowError, "overflows"),
    ("avg_pool_grad", (X, (2, 3, 2**60, 8), 2), OverflowError, "overflows"),
    ("pool_scatter", (X, np.zeros(X.shape, int), (2, 3, 2**60, 8)), OverflowError, "overflows"),
    ("adaptive_avg_pool", (X, 2**60), OverflowError, "overflows"),
    ("adaptive_max_pool", (X, 2**60), OverflowError, "overflows"),
    ("adaptive_avg_pool_grad", (X, (2, 3, 2**60, 8)), OverflowError, "overflows"),
    ("avg_pool_grad", (X, X.shape, 2), ValueError, r"\(2, 3, 8, 8\).*\(2, 3, 4, 4\)"),
    ("pool_scatter", (X, np.zeros((2, 3, 4, 4), int), X.shape), ValueError, r"\(2, 3, 4, 4\)"),
    ("pool_scatter", (X, np.full(X.shape, 64), X.shape), ValueError, "64.*plane of 64 pixels"),
    ("pool_scatter", (X, np.full(X.shape, -2), X.shape), ValueError, "-2.*plane of 64 pixels"),
    ("pool_gather", (X, np.full(X.shape, 64)), ValueError, "64.*plane of 64 pixels"),
    ("pool_gather", (X, X), TypeError, "indices must be integers"),
    ("pool_gather", (X, np.zeros((2, 4, 1, 1), int)), ValueError, "first two axes"),
    ("adaptive_avg_pool", (X, -1), ValueError, "output_size must be at least 0"),
    ("adaptive_avg_pool", (X, (1, 2, 3)), ValueError, "3 numbers for 2 spatial axes"),
    ("adaptive_avg_pool_grad", (X[:1], X.shape), ValueError, "first two axes"),
]


@pytest.mark.parametrize(("name", "args", "error", "text"), BAD_CALLS)
def test_bad_arguments_are_named(name, args, error, text):
    with pytest.raises(error, match=text):
        getattr(kernels, name)(*args)
