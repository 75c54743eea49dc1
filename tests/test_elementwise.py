"""Elementwise and activation kernels: each ISA, dtype and layout against twins and oracles."""

from __future__ import annotations

import itertools

import mpmath
import numpy as np
import pytest
from native_grid import FLOATS, ISAS, LAYOUTS, instruction_set, ulps

from tilegrad import _native, kernels
from tilegrad.kernels import reference

# name: (lowest, highest) of its arguments where the derivative is tame, for the layout grid
BINARY = ["absorb", "add", "subtract", "multiply", "divide", "maximum", "minimum"]
UNARY = [
    *("negative", "positive", "absolute", "sign", "floor", "ceil", "trunc", "round", "square"),
    *("sqrt", "rsqrt", "reciprocal", "exp", "expm1", "log", "log1p", "tanh", "erf", "erfc"),
    *("sigmoid", "log_sigmoid", "relu", "silu", "leaky_relu", "elu", "gelu", "softplus"),
]
GRADIENTS = [
    *("tanh_grad", "sigmoid_grad", "relu_grad", "log_sigmoid_grad", "silu_grad"),
    *("leaky_relu_grad", "elu_grad", "gelu_grad", "softplus_grad"),
]
#: Kernels that are the same arithmetic in the same order as their twins: equal to the bit.
EXACT = {
    *("absorb", "add", "subtract", "multiply", "divide", "maximum", "minimum", "negative"),
    "positive",
    *("absolute", "sign", "floor", "ceil", "trunc", "round", "square", "sqrt", "rsqrt"),
    *("reciprocal", "relu", "leaky_relu", "relu_grad", "leaky_relu_grad", "tanh_grad"),
    "sigmoid_grad",
}
SHAPES = [(), (0,), (1,), (7,), (33,), (3, 0), (5, 3), (2, 3, 70), (130, 9)]
SPECIAL = [0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 1e-300, 5e-324, 1e-42, 88.7, -87.4, 709.7]


def numbers(shape: tuple[int, ...], dtype: type, seed: int) -> np.ndarray:
    """Numbers of both signs with ties, halves and special values among them."""
    x = np.random.default_rng(seed).normal(0, 3, shape)
    flat = x.reshape(-1)
    if flat.size > 20:
        flat[:13] = SPECIAL
        flat[13:17] = [0.5, -1.5, 2.5, 3.0]
    return flat.reshape(shape).astype(dtype)


def close(got: np.ndarray, want: np.ndarray, name: str, dtype: type) -> bool:
    """Equality for exact kernels; else the forward error of a few roundings on the twin's scale."""
    if name in EXACT:
        return bool(np.array_equal(got, want, equal_nan=True))
    eps = np.finfo(dtype).eps
    # gelu_grad and silu_grad cancel near their roots: absolute error of a few roundings of O(1)
    floor = 16 * eps if name.endswith("_grad") else np.finfo(dtype).tiny
    return bool(np.allclose(got, want, rtol=64 * eps, atol=floor, equal_nan=True))


@pytest.mark.parametrize("isa", ISAS)
def test_every_kernel_layout_and_dtype_agrees_with_its_twin(isa: str) -> None:
    checks = 0
    with instruction_set(isa), np.errstate(all="ignore"):
        for dtype, shape, layout in itertools.product(FLOATS, SHAPES, LAYOUTS.values()):
            a, b = layout(numbers(shape, dtype, 1)), layout(np.flip(numbers(shape, dtype, 2)))
            for name in UNARY + BINARY + GRADIENTS:
                args = (a,) if name in UNARY else (a, b)
                kernel, twin = getattr(kernels, name), getattr(reference, name)
                got, want = kernel.call_native(*args), twin(*args)
                assert type(got) is np.ndarray
                assert got.dtype == want.dtype == dtype
                assert got.shape == want.shape == shape
                assert got.flags.c_contiguous
                assert close(got, want, name, dtype), (name, dtype, shape)
                poisoned = np.full(shape, np.nan, dtype)
                assert kernel(*args, out=poisoned) is poisoned
                assert np.array_equal(poisoned, got, equal_nan=True), (name, "out")
                checks += 1
    assert checks == 2 * 9 * 5 * (len(UNARY) + len(BINARY) + len(GRADIENTS)) == 3870


def test_all_of_them_are_native() -> None:
    for name in [*UNARY, *BINARY, *GRADIENTS, "where", "clip", "power"]:
        assert getattr(kernels, name).native, name


BROADCASTS = [
    ((4, 1), (1, 5)), ((3,), (2, 3)), ((), (4,)), ((2, 1, 3), (70, 1)), ((100, 10), (10,)),
    ((0, 3), (3,)), ((8, 1, 6, 1), (7, 1, 5)), ((1,), (1, 1, 1)), ((70, 65), (70, 1)),
]  # fmt: skip


@pytest.mark.parametrize("isa", ISAS)
def test_broadcasting(isa: str) -> None:
    with instruction_set(isa), np.errstate(all="ignore"):
        for (left, right), dtype in itertools.product(BROADCASTS, FLOATS):
            a, b = numbers(left, dtype, 3), numbers(right, dtype, 4)
            for x, y in ((a, b), (b, a)):
                got = kernels.subtract(x, y)
                assert np.array_equal(got, x - y, equal_nan=True)
                condition = np.asarray(y) > 0
                got = kernels.where(condition, x, y)
                assert np.array_equal(got, np.where(condition, x, y), equal_nan=True)
                got = kernels.clip(x, -1.0, np.abs(y))
                assert np.array_equal(got, reference.clip(x, -1.0, np.abs(y)), equal_nan=True)


def test_python_numbers_are_weak() -> None:
    x = np.float32([1, 2, 3])
    assert kernels.multiply(x, 2.0).dtype == np.float32
    assert kernels.subtract(1, x).tolist() == [0, -1, -2]
    assert kernels.add(x, np.float64(1)).dtype == np.float64  # a NumPy number is not
    assert kernels.add(2, 3) == 5
    assert kernels.where(x > 1, x, 0.0).dtype == np.float32
    assert kernels.clip(x, 2).tolist() == [2, 2, 3]
    assert kernels.power(x, 2).dtype == np.float32


def test_other_dtypes_are_left_to_the_twin() -> None:
    half = np.float16([0.5, 1])
    assert kernels.tanh(half).dtype == np.float16
    assert kernels.add(np.arange(3), 1).dtype == np.int64
    assert kernels.sigmoid(np.arange(3)).dtype == np.float64
    assert kernels.multiply(np.float32([1]), np.float64([2])).dtype == np.float64
    swapped = np.arange(4, dtype=">f8")
    assert kernels.exp(swapped).tolist() == np.exp(np.arange(4.0)).tolist()


def test_shapes_that_do_not_broadcast_are_named() -> None:
    with pytest.raises(ValueError, match=r"add: shapes \(2, 3\) and \(4,\) do not broadcast: 3"):
        kernels.add(np.ones((2, 3)), np.ones(4))
    with pytest.raises(TypeError, match="missing"):
        kernels.add(np.ones(3))
    with pytest.raises(ValueError, match="approximate"):
        kernels.gelu(np.ones(3), "exact")


def test_out_may_overlap_in_any_way() -> None:
    for dtype, n in itertools.product(FLOATS, (5, 100, 3000)):
        for begin, end, step in ((0, n, 1), (1, n, 1), (0, n - 1, 1), (n - 1, None, -1)):
            base = np.arange(n, dtype=dtype)
            view = base[begin:end:step] if end is not None else base[::-1]
            other = base[: view.size]
            want = other * 2 - 1 + view
            shifted = kernels.subtract(kernels.multiply(other, 2), 1)
            got = kernels.add(shifted, view, out=view)
            assert got is view
            assert np.array_equal(view, want)
            base = np.arange(n, dtype=dtype)
            view = base[begin:end:step] if end is not None else base[::-1]
            other = base[: view.size]
            want = np.negative(other)
            kernels.negative(other, out=view)
            assert np.array_equal(view, want)
    square = np.arange(16.0).reshape(4, 4)
    want = square.T + 1
    kernels.add(square.T, 1.0, out=square)
    assert np.array_equal(square, want)


def test_inputs_stay_as_they_are_and_read_only_ones_are_welcome() -> None:
    x = np.linspace(-3, 3, 50)
    x.flags.writeable = False
    before = x.copy()
    for name in UNARY:
        getattr(kernels, name)(x)
    assert np.array_equal(x, before)
    with pytest.raises(ValueError, match="read-only"):
        kernels.exp(x.copy(), out=x)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_bits_depend_neither_on_threads_nor_on_the_place_in_a_vector(threads: int) -> None:
    rng = np.random.default_rng(5)
    before = _native.get_num_threads()
    for dtype, name in itertools.product(FLOATS, ["exp", "gelu", "tanh", "log1p", "softplus"]):
        x = np.abs(rng.normal(0, 3, 400_001)).astype(dtype)
        kernel = getattr(kernels, name)
        whole = kernel(x)
        _native.set_num_threads(threads)
        assert np.array_equal(kernel(x), whole)
        _native.set_num_threads(before)
        for begin in range(1, 20):
            assert np.array_equal(kernel(x[begin : begin + 19]), whole[begin : begin + 19])


# ---- accuracy ------------------------------------------------------------------------------------

mp = mpmath.mp.clone()
mp.prec = 160

ORACLES = {
    "exp": mp.exp,
    "expm1": mp.expm1,
    "log": mp.log,
    "log1p": lambda x: mp.log1p(x) if x > -1 else mp.log(1 + x),
    "tanh": mp.tanh,
    "sigmoid": lambda x: 1 / (1 + mp.exp(-x)) if x > 0 else mp.exp(x) / (1 + mp.exp(x)),
    "log_sigmoid": lambda x: -mp.log1p(mp.exp(-x)) if x > -50 else x - mp.log1p(mp.exp(x)),
    "softplus": lambda x: x if x > 20 else mp.log1p(mp.exp(x)),
    "erf": mp.erf,
    "erfc": mp.erfc,
    "gelu": lambda x: x * mp.erfc(-x / mp.sqrt(2)) / 2 if abs(x) < 99 else max(x, mp.mpf(0)),
    "silu": lambda x: x / (1 + mp.exp(-x)),
}
#: The promise, in units of the last place.
ULPS = {
    **dict.fromkeys(["exp", "log", "log1p"], 1.1),
    **dict.fromkeys(["expm1", "erf"], 1.6),
    **dict.fromkeys(["log_sigmoid", "softplus"], 2.0),
    **dict.fromkeys(["tanh", "sigmoid", "silu"], 3.0),
    "erfc": 5.0,
    "gelu": 5.0,
}


def arguments(name: str, dtype: type) -> np.ndarray:
    """Points over the whole range: every binade, dense where the function bends, the specials."""
    rng = np.random.default_rng(6)
    info = np.finfo(dtype)
    exponents = rng.uniform(info.minexp - info.nmant, info.maxexp, 250)
    magnitudes = np.exp2(exponents).astype(dtype)
    near_one = 1 + np.ldexp(rng.uniform(-1, 1, 60), -rng.integers(1, 20, 60))
    bends = rng.uniform(-30, 30, 300)
    close_up = rng.normal(0, 1, 300)
    edges = np.array([88.72, -87.3, -103.9, 709.78, -708.3, -745.1, 9.0, 26.5, -38.4, -13.1])
    with np.errstate(over="ignore"):
        parts = [magnitudes, -magnitudes, near_one, bends, close_up, edges]
        x = np.concatenate([np.asarray(part, dtype) for part in parts])
    if name in ("log", "log1p"):
        x = np.where(x < (0 if name == "log" else -1), -x, x)
    if name == "erfc":  # mpmath's own series fails to end beyond
        x = x[np.abs(x) < 1e6]
    return x[np.isfinite(x)]


def exact(name: str, x: np.ndarray) -> np.ndarray:
    """The oracle's values, rounded to long double (float64's last place is far above its own)."""
    values = []
    for value in x.tolist():
        y = ORACLES[name](mp.mpf(value)) if name != "log" or value else mp.mpf("-inf")
        beyond = mp.isfinite(y) and y and abs(mp.log(abs(y))) > 2000  # for float64 as well
        limit = mp.mpf(0) if y < 1 else mp.inf
        values.append(np.longdouble(mp.nstr(limit if beyond else y, 25)))
    return np.array(values, np.longdouble)


@pytest.mark.parametrize("name", ORACLES)
def test_accuracy_over_the_whole_range(name: str) -> None:
    for dtype in FLOATS:
        x = arguments(name, dtype)
        want = exact(name, x)
        for isa in ISAS:
            with instruction_set(isa), np.errstate(all="ignore"):
                got = getattr(kernels, name).call_native(x)
            if name in ("gelu", "silu"):  # x times a denormal: half a place of it, times x
                slack = (np.abs(x) + 1) * np.finfo(dtype).smallest_subnormal
                slack = slack + 8 * np.finfo(dtype).eps * np.abs(want)
                inside = np.abs(want) < 1e4 * np.finfo(dtype).tiny
                assert np.all(np.abs(got - want)[inside] <= slack[inside])
                assert ulps(got[~inside], want[~inside]) <= ULPS[name]
            else:
                assert ulps(got, want) <= ULPS[name], (isa, dtype)


SPECIAL_VALUES = {
    "exp": [1, 1, np.inf, 0, np.nan],
    "expm1": [0.0, -0.0, np.inf, -1, np.nan],
    "log": [-np.inf, -np.inf, np.inf, np.nan, np.nan],
    "log1p": [0.0, -0.0, np.inf, np.nan, np.nan],
    "tanh": [0.0, -0.0, 1, -1, np.nan],
    "sigmoid": [0.5, 0.5, 1, 0, np.nan],
    "erf": [0.0, -0.0, 1, -1, np.nan],
    "erfc": [1, 1, 0, 2, np.nan],
    "relu": [0.0, -0.0, np.inf, 0, np.nan],
    "sign": [0, 0, 1, -1, np.nan],
    "floor": [0.0, -0.0, np.inf, -np.inf, np.nan],
    "ceil": [0.0, -0.0, np.inf, -np.inf, np.nan],
    "trunc": [0.0, -0.0, np.inf, -np.inf, np.nan],
    "round": [0.0, -0.0, np.inf, -np.inf, np.nan],
    "softplus": [np.log(2), np.log(2), np.inf, 0, np.nan],
    "sqrt": [0.0, -0.0, np.inf, np.nan, np.nan],
    "reciprocal": [np.inf, -np.inf, 0.0, -0.0, np.nan],
}


@pytest.mark.parametrize("isa", ISAS)
def test_special_values_and_signed_zeros(isa: str) -> None:
    x = np.array([0.0, -0.0, np.inf, -np.inf, np.nan])
    with instruction_set(isa):
        for (name, want), dtype in itertools.product(SPECIAL_VALUES.items(), FLOATS):
            got = getattr(kernels, name).call_native(x.astype(dtype))
            expected = np.asarray(want, dtype)
            assert np.allclose(got, expected, rtol=2 * np.finfo(dtype).eps, atol=0, equal_nan=True)
            zero = expected == 0
            if name not in ("sign", "exp", "sigmoid", "erfc", "softplus"):
                same = np.signbit(got) == np.signbit(expected)
                assert np.all(same[zero & (np.abs(x) < 1)]), name
