"""Convolution: exact on whole numbers, on every instruction set, type and layout."""

from __future__ import annotations

import itertools
import subprocess
import sys

import numpy as np
import pytest
from conv_cases import (
    CONVS,
    DTYPES,
    ISAS,
    LAYOUTS,
    Conv,
    instruction_set,
    integers,
    refusing,
    threads,
)
from scipy.signal import correlate, correlate2d

from tilegrad import _native, kernels
from tilegrad.kernels import reference


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_exact_on_whole_numbers(isa, dtype):
    """Native and twin agree to the last bit in all directions, and the three are adjoint."""
    rng = np.random.default_rng(0)
    checks = 0
    with instruction_set(isa):
        for case, layout in itertools.product(CONVS, LAYOUTS):
            x, w = integers(rng, case.x, dtype), integers(rng, case.w, dtype)
            bias = integers(rng, case.w[:1], dtype)
            y = reference.conv(x, w, None, *case.window)
            g = integers(rng, y.shape, dtype)
            lx, lw, lg = layout(x), layout(w), layout(g)
            message = f"{case} {layout.__name__}"

            plain = kernels.conv(lx, lw, None, *case.window)
            np.testing.assert_array_equal(plain, y, message)
            fused = kernels.conv(lx, lw, bias, *case.window, "relu")
            wanted = np.maximum(y + bias.reshape(-1, *[1] * (y.ndim - 2)), 0)
            np.testing.assert_array_equal(fused, wanted, message)
            dx = kernels.conv_input_grad(lg, lw, case.x, *case.window)
            np.testing.assert_array_equal(
                dx, reference.conv_input_grad(g, w, case.x, *case.window), message
            )
            dw = kernels.conv_weight_grad(lg, lx, case.w, *case.window)
            np.testing.assert_array_equal(
                dw, reference.conv_weight_grad(g, x, case.w, *case.window), message
            )
            form = [np.vdot(a.astype(float), b) for a, b in ((y, g), (x, dx), (w, dw))]
            assert form[0] == form[1] == form[2], message
            assert {plain.dtype, fused.dtype, dx.dtype, dw.dtype} == {np.dtype(dtype)}
            checks += 1
    assert checks == len(CONVS) * len(LAYOUTS)


def test_the_table_runs_natively():
    """A call that native code declines would test the twin against itself."""
    rng = np.random.default_rng(1)
    declined = []
    for case in CONVS:
        x, w = integers(rng, case.x, np.float32), integers(rng, case.w, np.float32)
        g = reference.conv(x, w, None, *case.window)
        rows = [
            ("conv", (x, w, None, *case.window)),
            ("conv_input_grad", (g, w, case.x, *case.window)),
            ("conv_weight_grad", (g, x, case.w, *case.window)),
        ]
        if min(case.x[2:]) > 0:
            how = case.w[2:], case.dilation, case.padding, case.stride
            rows.append(("unfold", (x, *how)))
            rows.append(("fold", (reference.unfold(x, *how), case.x[2:], *how)))
        for name, args in rows:
            stand_in = _native.Kernel(refusing(name))
            try:
                stand_in(*args)
            except AssertionError:
                declined.append((name, case))
    assert declined == []


@pytest.mark.parametrize("isa", ISAS)
def test_against_scipy(isa):
    """SciPy's correlation of float64 data, plane by plane."""
    rng = np.random.default_rng(2)
    checks = 0
    with instruction_set(isa):
        for case in CONVS:
            if case.window != (1, 0, 1, 1) or 0 in case.x + case.w:
                continue
            x, w = rng.standard_normal(case.x), rng.standard_normal(case.w)
            wanted = [[sum(map(_valid, image, kernel)) for kernel in w] for image in x]
            bound = 1e-15 * len(w[0].ravel()) * np.abs(x).max() * np.abs(w).max()
            np.testing.assert_allclose(kernels.conv(x, w), wanted, rtol=0, atol=bound)
            checks += 1
    assert checks == sum(case.window == (1, 0, 1, 1) for case in CONVS) - 2


@pytest.mark.parametrize("padding", [(0, 0), (1, 2), (4, 0)])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_against_scipy_in_two_axes(padding, stride):
    """scipy.signal.correlate2d of the padded plane, and every stride-th result of it."""
    rng = np.random.default_rng(9)
    x, w = rng.standard_normal((2, 3, 9, 14)), rng.standard_normal((5, 3, 4, 3))
    pairs = [(p, p + 1) for p in padding]
    padded = np.pad(x, [(0, 0), (0, 0), *pairs])
    wanted = [
        [sum(map(_valid2d, image, kernel))[::stride, ::stride] for kernel in w] for image in padded
    ]
    np.testing.assert_allclose(kernels.conv(x, w, None, stride, pairs), wanted, rtol=0, atol=1e-13)


def _valid2d(plane, kernel):
    return correlate2d(plane, kernel, mode="valid")


def _valid(plane, kernel):
    return correlate(plane, kernel, mode="valid", method="direct")


@pytest.mark.parametrize("dtype", DTYPES)
def test_rounding_error_is_bounded(dtype):
    """|y' - y| <= 16 u |w| * |x| element by element, also where thousands of products are added."""
    rng = np.random.default_rng(3)
    worst = 0.0
    for case in (
        Conv((1, 512, 6, 6), (20, 512, 3, 3), padding=1),
        Conv((8, 40, 20, 20), (24, 40, 3, 3)),
    ):
        x, w = rng.random(case.x, dtype), rng.random(case.w, dtype)
        g = rng.random(reference.conv(x, w, None, *case.window).shape, dtype)
        wide = [a.astype(np.longdouble) for a in (x, w, g)]
        for name, args, exact in (
            ("conv", (x, w, None), (wide[0], wide[1], None)),
            ("conv_input_grad", (g, w, case.x), (wide[2], wide[1], case.x)),
            ("conv_weight_grad", (g, x, case.w), (wide[2], wide[0], case.w)),
        ):
            wanted = getattr(reference, name)(*exact, *case.window)
            error = np.abs(getattr(kernels, name)(*args, *case.window) - wanted)
            worst = max(worst, float((error / np.abs(wanted)).max() / (np.finfo(dtype).eps / 2)))
    assert 0 < worst <= 16


@pytest.mark.parametrize("isa", ISAS)
def test_same_bits_for_any_number_of_threads(isa):
    rng = np.random.default_rng(4)
    cases = [
        Conv((8, 24, 28, 28), (32, 24, 3, 3), padding=1),
        Conv((4, 3, 40, 40), (16, 3, 5, 5), stride=2, padding=2),
        Conv((1, 32, 48, 48), (32, 32, 3, 3), padding=1),
        Conv((6, 64, 20, 20), (64, 64, 1, 1)),
        Conv((8, 32, 24, 24), (32, 1, 3, 3), padding=1, groups=32),
    ]
    with instruction_set(isa):
        for case in cases:
            x, w = rng.random(case.x, np.float32), rng.random(case.w, np.float32)
            g = np.ones_like(kernels.conv(x, w, None, *case.window))
            g *= rng.random(g.shape, np.float32)
            results = []
            for count in (1, 2, 3, 7):
                with threads(count):
                    results.append(
                        (
                            kernels.conv(x, w, None, *case.window),
                            kernels.conv_input_grad(g, w, case.x, *case.window),
                            kernels.conv_weight_grad(g, x, case.w, *case.window),
                        )
                    )
            for other in results[1:]:
                for a, b in zip(results[0], other, strict=True):
                    np.testing.assert_array_equal(a, b, str(case))


def test_infinities_stay_where_they_are_seen():
    """Only outputs whose window holds the infinite pixel change; tiles do not spread it."""
    rng = np.random.default_rng(5)
    for case in CONVS:
        if 0 in case.x + case.w:
            continue
        x, w = integers(rng, case.x, np.float32), integers(rng, case.w, np.float32) + 4
        g = integers(rng, reference.conv(x, w, None, *case.window).shape, np.float32)
        x.flat[x.size // 2] = np.inf
        x.flat[-1] = np.nan
        with np.errstate(invalid="ignore"):
            y, wanted = (f(x, w, None, *case.window) for f in (kernels.conv, reference.conv))
            np.testing.assert_array_equal(y, wanted, str(case))
            dw, wanted = (
                f(g, x, case.w, *case.window)
                for f in (kernels.conv_weight_grad, reference.conv_weight_grad)
            )
            np.testing.assert_array_equal(dw, wanted, str(case))
        relu = kernels.conv(x, w, None, *case.window, "relu")
        np.testing.assert_array_equal(np.isnan(relu), np.isnan(y), str(case))


def test_inputs_stay_as_they_are():
    rng = np.random.default_rng(6)
    x, w = rng.random((2, 3, 9, 9)), rng.random((4, 3, 3, 3))
    g = kernels.conv(x, w, None, 1, 1)
    before = [a.copy() for a in (x, w, g)]
    for a in (x, w, g):
        a.flags.writeable = False
    kernels.conv(x, w, np.zeros(4), 1, 1)
    kernels.conv_input_grad(g, w, x.shape, 1, 1)
    kernels.conv_weight_grad(g, x, w.shape, 1, 1)
    for a, b in zip((x, w, g), before, strict=True):
        np.testing.assert_array_equal(a, b)


def test_strides_and_dilations_beyond_the_image():
    """One window is left, however far the next one would be."""
    x, w = np.ones((1, 2, 4, 4)), np.ones((3, 2, 1, 1))
    for huge in (2**35, 2**62):
        np.testing.assert_array_equal(kernels.conv(x, w, None, huge), np.full((1, 3, 1, 1), 2.0))
        np.testing.assert_array_equal(kernels.conv(x, w, None, 1, 0, huge), kernels.conv(x, w))
        assert kernels.max_pool(x, 1, huge)[0].shape == (1, 2, 1, 1)


def test_other_types_go_to_the_twin():
    """Integers, half precision, mixed types and lists: what NumPy takes, the kernels take."""
    x, w = np.arange(25).reshape(1, 1, 5, 5), np.ones((1, 1, 3, 3), int)
    assert kernels.conv(x, w).dtype == np.int64
    assert kernels.conv(x.astype(np.float16), w.astype(np.float16)).dtype == np.float16
    assert kernels.conv(x.astype(np.float32), w.astype(np.float64)).dtype == np.float64
    np.testing.assert_array_equal(kernels.conv(x.tolist(), w.tolist()), kernels.conv(x, w))
    np.testing.assert_array_equal(
        kernels.conv(x.astype(">f4"), w.astype(np.float32)), kernels.conv(x, w)
    )


X, W = np.zeros((2, 6, 8, 8)), np.zeros((4, 6, 3, 3))
BAD_CALLS = [
    ("conv", (X, W[:, :5]), ValueError, "expects 5 input channels.*has 6"),
    ("conv", (X[0], W), ValueError, "axes"),
    ("conv", (np.zeros((2, 6)), W), ValueError, "x\\[None\\]"),
    ("conv", (X, W, np.zeros(3)), ValueError, r"bias of shape \(3,\).*\(4,\)"),
    ("conv", (X, W, None, 0), ValueError, "stride must be at least 1"),
    ("conv", (X, W, None, 1, 0, 0), ValueError, "dilation must be at least 1"),
    ("conv", (X, W, None, 1, 0, 1, 0), ValueError, "groups must be at least 1"),
    ("conv", (X, W, None, 1, 0, 1, 4), ValueError, "divisible by groups=4"),
    ("conv", (X, W, None, 1, 0, 1, 2), ValueError, "expects 12 input channels"),
    ("conv", (X, W, None, (1, 1, 1)), ValueError, "3 numbers for 2 spatial axes"),
    ("conv", (X, W, None, 1, ((1, 1),)), ValueError, "pairs"),
    ("conv", (X, W, None, 1, -9), ValueError, "crops more than the 8 pixels"),
    ("conv", (X[:, :, :2], W), ValueError, "spans 3 pixels.*has 2"),
    *[
        ("conv", (X, W, None, 1, padding), OverflowError, r"\(2, 6, 8, 8\).*overflows")
        for padding in (2**62, 2**70, (2**31, 2**31), ((2**62, 2**62), (0, 0)))
    ],
    ("conv", (X, W, None, 1, 0, 2**62), ValueError, "spans .* pixels"),
    ("conv_input_grad", (X, W, X.shape, 1, 2**62), OverflowError, "overflows"),
    ("conv_input_grad", (X, W, (2, 6, 2**60, 8)), OverflowError, "overflows"),
    ("conv_weight_grad", (X, X, W.shape, 1, 2**62), OverflowError, "overflows"),
    ("unfold", (X, 3, 1, 2**62), OverflowError, r"\(2, 6, 8, 8\).*overflows"),
    ("fold", (np.zeros((1, 9, 5)), (2**60, 4), 3), OverflowError, "overflows"),
    ("conv_max_pool", (X, W, None, 1, 2**62), OverflowError, "overflows"),
    ("conv_max_pool", (X, W, None, 1, 0, 1, 1, None, 7), ValueError, "spans 7 pixels"),
    ("conv", (X, W, None, 1.5), TypeError, "stride must be an integer"),
    ("conv", (X, W, None, 1, "same"), TypeError, "resolved"),
    ("conv", (X, W, None, 1, 0, 1, 1, "tanh"), ValueError, "activation"),
    ("conv_input_grad", (np.zeros((2, 4, 5, 6)), W, X.shape), ValueError, r"\(2, 4, 5, 6\)"),
    ("conv_weight_grad", (np.zeros((2, 4, 5, 6)), X, W.shape), ValueError, r"\(2, 4, 6, 6\)"),
    ("conv_weight_grad", (np.zeros((2, 4, 6, 6)), X, (4, 6, 0, 3)), ValueError, "no taps"),
    ("unfold", (X, 9), ValueError, "spans 9 pixels"),
    ("fold", (np.zeros((1, 9, 5)), (4, 4), 3), ValueError, "columns of shape"),
]


@pytest.mark.parametrize(("name", "args", "error", "text"), BAD_CALLS)
def test_bad_arguments_are_named(name, args, error, text):
    with pytest.raises(error, match=text) as raised:
        getattr(kernels, name)(*args)
    assert str(raised.value).startswith(("conv:", "max_pool:", f"{name}:"))


@pytest.mark.parametrize("dtype", DTYPES)
def test_unfold_and_fold_are_adjoint_and_make_convolution(dtype):
    """To the last bit, in every layout: unfolding copies, and folding adds in the twin's order."""
    rng = np.random.default_rng(7)
    checks = 0
    for case, layout in itertools.product(CONVS, LAYOUTS):
        if case.groups != 1 or 0 in case.w:
            continue
        message = f"{case} {layout.__name__}"
        x, w = integers(rng, case.x, dtype), integers(rng, case.w, dtype)
        window = case.w[2:], case.dilation, case.padding, case.stride
        columns = kernels.unfold(layout(x), *window)
        np.testing.assert_array_equal(columns, reference.unfold(x, *window), message)
        y = kernels.conv(x, w, None, *case.window)
        product = w.reshape(len(w), -1) @ columns
        np.testing.assert_array_equal(product.reshape(y.shape), y, message)
        c = rng.standard_normal(columns.shape).astype(dtype)
        folded = kernels.fold(layout(c), case.x[2:], *window)
        np.testing.assert_array_equal(folded, reference.fold(c, case.x[2:], *window), message)
        whole = integers(rng, columns.shape, dtype)
        folded = kernels.fold(whole, case.x[2:], *window)
        assert np.vdot(columns.astype(float), whole) == np.vdot(x.astype(float), folded), message
        checks += 1
    assert checks == 32 * len(LAYOUTS)


def test_unfold_has_the_same_bits_for_any_number_of_threads():
    x = np.random.default_rng(8).random((8, 16, 30, 30), np.float32)
    results = []
    for count in (1, 2, 5):
        with threads(count):
            columns = kernels.unfold(x, 3, 1, 1, 2)
            results.append((columns, kernels.fold(columns, (30, 30), 3, 1, 1, 2)))
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(a, b)


def test_workspace_is_bounded():
    """A fresh process' peak grows by the result and a few MiB, not by a column matrix (231 MB)."""
    program = """
import resource, numpy as np
from tilegrad import _native, kernels
_native.set_num_threads(1)
x, w = np.ones((32, 64, 56, 56), np.float32), np.ones((64, 64, 3, 3), np.float32)
y = np.ones_like(x); kernels.conv(x[:1, :, :9, :9].copy(), w, None, 1, 1)
def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
start = peak()
y = kernels.conv(x, w, None, 1, 1); forward = peak(); del y
y = kernels.conv_weight_grad(x, x, w.shape, 1, 1); weights = peak(); del y
y = kernels.conv_input_grad(x, w, x.shape, 1, 1); images = peak()
mib = x.nbytes / 2**20
print(forward - start - mib, weights - start - mib, images - start - mib)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    extra = [float(v) for v in done.stdout.split()]
    assert len(extra) == 3
    assert max(extra) <= 8, extra
