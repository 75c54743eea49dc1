"""Normalisation: against float64, at large means and large elements, adjoints, threads, errors."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from conv_cases import DTYPES, ISAS, LAYOUTS, instruction_set, refusing, threads

from tilegrad import _native, kernels
from tilegrad.kernels import reference

#: Shapes normalised over their last axes; over the batch; and in groups.
LAYERS = [((5, 7), 1), ((3, 130), 1), ((2, 3, 4), 2), ((4, 5000), 1), ((6,), 1), ((0, 8), 1)]
BATCHES = [(6, 3), (64, 5), (5, 3, 4), (2, 5, 9, 11), (3, 2, 4, 5, 6), (2, 1, 70, 70)]
GROUPS = [((3, 6, 5), 2), ((2, 6, 9, 7), 3), ((2, 4, 70, 70), 1), ((2, 5, 6, 6), 5), ((4, 6), 2)]

#: What the elements look like: plain; far from zero; beyond the root of the largest float32; tiny.
DATA = {
    "plain": lambda n: n,
    "mean 1e4": lambda n: n + 1e4,
    "1e30": lambda n: n * 1e30,
    "1e-25": lambda n: n * 1e-25,
}


def close(got, wanted, message, scale=1.0):
    """Within a few units of the largest element: rounding of inputs and of partial sums."""
    assert got.dtype == wanted.dtype, message
    size = float(np.abs(wanted).max(initial=0)) * scale + np.finfo(got.dtype).tiny
    np.testing.assert_allclose(
        got, wanted, rtol=0, atol=16 * np.finfo(got.dtype).eps * size, err_msg=message
    )


def calls(dtype, make, rng):
    """(kernel, arguments) of every normalisation, forward and backward, on the tables above."""

    def draw(shape):
        return rng.standard_normal(shape).astype(dtype)

    for (shape, ndim), affine in itertools.product(LAYERS, (True, False)):
        x, g = make(rng.standard_normal(shape)).astype(dtype), draw(shape)
        w, b = (draw(shape[-ndim:]), draw(shape[-ndim:])) if affine else (None, None)
        yield "layer_norm", (x, ndim, w, b)
        _, mean, rstd = reference.layer_norm(x, ndim, w, b)
        yield "layer_norm_grad", (g, x, mean, rstd, w, ndim)
        yield "rms_norm", (x, ndim, w, 1e-6)
        yield "rms_norm_grad", (g, x, reference.rms_norm(x, ndim, w, 1e-6)[1], w, ndim)
    for shape, affine in itertools.product(BATCHES, (True, False)):
        x, g = make(rng.standard_normal(shape)).astype(dtype), draw(shape)
        w, b = (draw(shape[1]), draw(shape[1])) if affine else (None, None)
        yield "batch_norm_train", (x, w, b, 1e-3)
        _, mean, rstd, _ = reference.batch_norm_train(x, w, b, 1e-3)
        yield "batch_norm_apply", (x, mean, rstd, w, b)
        yield "batch_norm_grad", (g, x, mean, rstd, w)
    for (shape, groups), affine in itertools.product(GROUPS, (True, False)):
        x, g = make(rng.standard_normal(shape)).astype(dtype), draw(shape)
        w, b = (draw(shape[1]), draw(shape[1])) if affine else (None, None)
        yield "group_norm", (x, groups, w, b)
        _, mean, rstd = reference.group_norm(x, groups, w, b)
        yield "group_norm_grad", (g, x, mean, rstd, w, groups)


EPS = np.finfo(np.float32).eps

CALLS = 2 * (4 * len(LAYERS) + 3 * len(BATCHES) + 2 * len(GROUPS))


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("data", DATA)
def test_kernels_agree_with_their_twins(isa, dtype, data):
    rng = np.random.default_rng(0)
    checks = 0
    with instruction_set(isa), np.errstate(over="ignore", under="ignore"):
        for name, args in calls(dtype, DATA[data], rng):
            if data == "mean 1e4" and name == "batch_norm_apply":
                continue  # subtracts a rounded mean, whose error is not the kernel's
            got = getattr(kernels, name)(*args)
            wanted = getattr(reference, name)(*args)
            if not isinstance(got, tuple):
                got, wanted = (got,), (wanted,)
            if data == "1e30" and dtype == np.float32 and name == "batch_norm_train":
                got, wanted = got[:3], wanted[:3]  # the variance itself is beyond float32
            for i, (a, b) in enumerate(zip(got, wanted, strict=True)):
                assert np.isfinite(a).all(), (name, data, i)
                # Sums over rows and pixels hide in dw and db: their parts are larger than they are.
                close(a, b, f"{name}[{i}] {[getattr(v, 'shape', v) for v in args]}", 8 if i else 1)
            checks += 1
    skipped = 2 * len(BATCHES) if data == "mean 1e4" else 0
    assert checks == CALLS - skipped


@pytest.mark.parametrize("isa", ISAS)
def test_statistics_stand_large_means(isa):
    """At mean 1e4 the result is that of float64 to some units of float32, forward and backward."""
    rng = np.random.default_rng(1)
    x = (rng.standard_normal((4, 6, 20, 20)) + 1e4).astype(np.float32)
    g = rng.standard_normal(x.shape).astype(np.float32)
    wide, wide_g = x.astype(float), g.astype(float)
    ones = np.ones(6, np.float32)
    with instruction_set(isa):
        y, mean, rstd, var = kernels.batch_norm_train(x, ones, 0 * ones)
        exact, exact_mean, exact_rstd, exact_var = reference.batch_norm_train(wide)
        np.testing.assert_allclose(y, exact, rtol=4 * EPS, atol=4 * EPS)
        np.testing.assert_allclose(mean, exact_mean, rtol=EPS)
        np.testing.assert_allclose(var, exact_var, rtol=8 * EPS)
        dx, dw, _ = kernels.batch_norm_grad(g, x, mean, rstd, ones)
        wanted = reference.batch_norm_grad(wide_g, wide, exact_mean, exact_rstd)
        np.testing.assert_allclose(dx, wanted[0], rtol=16 * EPS, atol=16 * EPS)
        # 1600 products of some units each, added in float32 within blocks.
        np.testing.assert_allclose(dw, wanted[1], rtol=0, atol=1600 * EPS)
        y, mean, rstd = kernels.layer_norm(x, 3)
        exact = reference.layer_norm(wide, 3)[0]
        np.testing.assert_allclose(y, exact, rtol=4 * EPS, atol=4 * EPS)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_any_memory_layout(isa, layout):
    rng = np.random.default_rng(2)
    x, g = rng.standard_normal((2, 4, 18, 6, 7))[:, :, 1], rng.standard_normal((2, 4, 6, 7))
    w, b = rng.standard_normal((2, 4))
    with instruction_set(isa):
        for name, args in (
            ("layer_norm", (x, 2)),
            ("rms_norm", (x, 2)),
            ("group_norm", (x, 2, w, b)),
            ("batch_norm_train", (x, w, b)),
            ("batch_norm_grad", (g, x, w, b, w)),
            ("group_norm_grad", (g, x, g[:, :2, 0, 0], g[:, 2:, 0, 0], w, 2)),
        ):
            laid = [layout(a) if getattr(a, "ndim", 0) > 1 else a for a in args]
            got, wanted = getattr(kernels, name)(*laid), getattr(kernels, name)(*args)
            for a, c in zip(got, wanted, strict=True):
                np.testing.assert_array_equal(a, c, name)


@pytest.mark.parametrize("isa", ISAS)
def test_same_bits_for_any_number_of_threads(isa):
    rng = np.random.default_rng(3)
    x, g = (rng.random((32, 24, 20, 20), np.float32) for _ in range(2))
    w = rng.random(24, np.float32)
    rows, up = x.reshape(-1, 400), g.reshape(-1, 400)
    results = []
    with instruction_set(isa):
        for count in (1, 2, 5):
            with threads(count):
                y, mean, rstd, var = kernels.batch_norm_train(x, w, w)
                layer = kernels.layer_norm(rows, 1)
                group = kernels.group_norm(x, 3, w, w)
                results.append(
                    [
                        y,
                        mean,
                        var,
                        *kernels.batch_norm_grad(g, x, mean, rstd, w),
                        *layer,
                        *kernels.layer_norm_grad(up, rows, layer[1], layer[2], None, 1),
                        *kernels.group_norm_grad(g, x, group[1], group[2], w, 3),
                    ]
                )
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(a, b)


def test_every_kernel_runs_natively():
    rng = np.random.default_rng(4)
    declined = []
    for name, args in calls(np.float32, DATA["plain"], rng):
        try:
            _native.Kernel(refusing(name))(*args)
        except AssertionError:
            declined.append((name, args[0].shape))
    assert declined == []


def test_nan_and_infinity_are_not_hidden():
    x = np.ones((3, 8), np.float32)
    x[0, 3], x[1, 2] = np.nan, np.inf
    x[2] = np.arange(8)
    y, _, rstd = kernels.layer_norm(x, 1)
    assert np.isnan(y[:2]).all()
    assert np.isnan(rstd[:2]).all()
    assert np.isfinite(y[2]).all()
    assert np.isnan(kernels.rms_norm(x, 1)[0][0]).all()


X = np.zeros((2, 6, 4))
BAD_CALLS = [
    ("layer_norm", (X, 0), ValueError, "last 0 axes"),
    ("layer_norm", (X, 4), ValueError, "last 4 axes"),
    ("layer_norm", (X, 1, np.ones(6)), ValueError, r"weight of shape \(6,\).*\(4,\)"),
    ("layer_norm", (X, 1, None, np.ones(6)), ValueError, r"bias of shape \(6,\).*\(4,\)"),
    ("layer_norm", (X.astype(int), 1), TypeError, "floating point"),
    ("layer_norm_grad", (X, X, X, X, None, 1), ValueError, r"mean of shape.*\(2, 6, 1\)"),
    ("rms_norm", (X, 9), ValueError, "last 9 axes"),
    ("batch_norm_train", (X[0, 0],), ValueError, "batch and channels"),
    ("batch_norm_train", (X[:0],), ValueError, "no values"),
    ("batch_norm_train", (X, np.ones(5)), ValueError, r"\(5,\).*\(6,\)"),
    ("batch_norm_apply", (X, np.ones(5), np.ones(6)), ValueError, r"mean.*\(6,\)"),
    ("batch_norm_grad", (X[:1], X, np.ones(6), np.ones(6)), ValueError, "g of shape"),
    ("group_norm", (X, 4), ValueError, "6 channels.*4 groups"),
    ("group_norm", (X, 0), ValueError, "0 groups"),
    ("group_norm_grad", (X, X, X, X, None, 2), ValueError, r"mean.*\(2, 2\)"),
]


@pytest.mark.parametrize(("name", "args", "error", "text"), BAD_CALLS)
def test_bad_arguments_are_named(name, args, error, text):
    with pytest.raises(error, match=text):
        getattr(kernels, name)(*args)
