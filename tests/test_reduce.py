"""Reductions: every ISA, dtype, layout and choice of axes against the twin and exact sums."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from native_grid import FLOATS, ISAS, LAYOUTS, instruction_set

from tilegrad import _native, kernels
from tilegrad.kernels import reference

SHAPES = [(), (1,), (7,), (0,), (3, 0), (5, 3), (300, 7), (7, 300), (4, 5, 6), (2, 3, 4, 5), (9, 1)]
NAMES = ["sum", "mean", "prod", "amax", "amin"]


def axes_of(ndim: int) -> list[object]:
    """None and every set of axes, single ones also as negative numbers."""
    subsets = [s for n in range(ndim + 1) for s in itertools.combinations(range(ndim), n)]
    return [None, *subsets, *range(-ndim, 0)]


def numbers(shape: tuple[int, ...], dtype: type) -> np.ndarray:
    return np.random.default_rng(7).uniform(0.95, 1.05, shape).astype(dtype)


@pytest.mark.parametrize("isa", ISAS)
def test_every_reduction_agrees_with_its_twin(isa: str) -> None:
    checks = 0
    with instruction_set(isa):
        for dtype, shape, layout in itertools.product(FLOATS, SHAPES, LAYOUTS.values()):
            x = layout(numbers(shape, dtype))
            for name, axis, keepdims in itertools.product(NAMES, axes_of(x.ndim), (False, True)):
                kernel, twin = getattr(kernels, name), getattr(reference, name)
                try:
                    want = twin(x, axis, keepdims)
                except ValueError:
                    with pytest.raises(ValueError, match="no entry to choose from"):
                        kernel(x, axis, keepdims)
                    continue
                got = kernel.call_native(x, axis, keepdims)
                assert type(got) is np.ndarray
                assert (got.shape, got.dtype) == (want.shape, want.dtype)
                assert got.flags.c_contiguous
                # n additions of positive numbers in trees: at most log2(n) + 16 roundings
                rtol = 0 if name in ("amax", "amin") else 64 * np.finfo(dtype).eps
                if name == "prod":
                    rtol *= 8
                assert np.allclose(got, want, rtol=rtol, atol=0, equal_nan=True), (name, shape)
                checks += 1
    assert checks == 7920


@pytest.mark.parametrize("isa", ISAS)
def test_argmax_and_argmin(isa: str) -> None:
    rng = np.random.default_rng(8)
    with instruction_set(isa):
        for dtype, shape in itertools.product(FLOATS, [(1,), (7,), (40, 33), (3, 4, 100), ()]):
            x = rng.integers(0, 9, shape).astype(dtype)  # with ties: the first counts
            spoiled = x.copy()
            spoiled.reshape(-1)[-1] = np.nan
            for y, name in itertools.product((x, spoiled), ("argmax", "argmin")):
                for axis in (None, *range(-y.ndim, y.ndim)):
                    got, want = (getattr(m, name)(y, axis) for m in (kernels, reference))
                    assert got.dtype == np.int64
                    assert np.array_equal(got, want)


SUM_TO = [
    ((4, 3), (3,)), ((4, 3), (1, 3)), ((4, 3), (4, 1)), ((4, 3), ()), ((4, 3), (4, 3)),
    ((2, 3, 4), (3, 1)), ((5, 2, 3, 4), (2, 1, 4)), ((0, 3), (3,)), ((64, 130), (130,)),
    ((3,), (1,)),
]  # fmt: skip


@pytest.mark.parametrize("isa", ISAS)
def test_sum_to(isa: str) -> None:
    with instruction_set(isa):
        for (shape, target), dtype, layout in itertools.product(SUM_TO, FLOATS, LAYOUTS.values()):
            x = layout(np.random.default_rng(9).integers(-9, 9, shape).astype(dtype))
            got = kernels.sum_to(x, target)
            assert np.array_equal(got, reference.sum_to(x, target))
            assert got.shape == target
            assert not np.shares_memory(got, x)
    for shape, target in [((3, 4), (3,)), ((4,), (2, 4)), ((2, 3), (1, 2))]:
        for kernel in (kernels.sum_to, reference.sum_to):
            with pytest.raises(ValueError, match="does not broadcast"):
                kernel(np.ones(shape), target)


@pytest.mark.parametrize("name", ["amax", "amin", "sum"])
def test_nan_propagates_from_every_place(name: str) -> None:
    for isa, dtype, n in itertools.product(ISAS, FLOATS, (1, 5, 33, 200)):
        with instruction_set(isa):
            for place in range(0, n, 3):
                x = np.ones((n, 3), dtype)
                x[place, 1] = np.nan
                for axis in (0, 1, None):
                    got = getattr(kernels, name)(x, axis)
                    assert np.array_equal(np.isnan(got), np.isnan(np.sum(x, axis)))


def test_infinities_and_empty_axes() -> None:
    assert kernels.amax(np.array([-np.inf, -np.inf])) == -np.inf
    assert kernels.sum(np.zeros((0, 3)), 0).tolist() == [0, 0, 0]
    assert kernels.prod(np.zeros((0, 3)), 0).tolist() == [1, 1, 1]
    assert np.isnan(kernels.mean(np.zeros((0, 3)), 0)).all()
    with pytest.raises(ValueError, match="axis 2 is out of bounds"):
        kernels.sum(np.zeros((2, 2)), 2)
    with pytest.raises(ValueError, match="duplicate"):
        kernels.sum(np.zeros((2, 2)), (0, 0))


@pytest.mark.parametrize("isa", ISAS)
def test_sums_are_at_least_as_accurate_as_numpys(isa: str) -> None:
    rng = np.random.default_rng(10)
    with instruction_set(isa):
        for dtype, n in itertools.product(FLOATS, (1000, 100_000, 700_001)):
            x = rng.uniform(0, 1, n).astype(dtype)
            scale = math.fsum(x.tolist())
            error = abs(float(kernels.sum(x)) - scale) / scale
            assert error <= 4 * np.finfo(dtype).eps
            tall = np.ascontiguousarray(np.broadcast_to(x[: n // 10, None], (n // 10, 10)))
            want = math.fsum(x[: n // 10].tolist())
            error = np.max(np.abs(kernels.sum(tall, 0).astype(np.float64) - want)) / want
            assert error <= 4 * np.finfo(dtype).eps  # where NumPy adds row after row


def test_bits_do_not_depend_on_threads() -> None:
    rng = np.random.default_rng(11)
    before = _native.get_num_threads()
    for shape, axis in [((1_000_003,), 0), ((3, 400_000), 1), ((300_000, 5), 0), ((900, 900), 0)]:
        x = rng.normal(size=shape).astype(np.float32)
        results = []
        for threads in (1, 2, 3):
            _native.set_num_threads(threads)
            results.append(kernels.sum(x, axis))
        _native.set_num_threads(before)
        assert all(np.array_equal(r, results[0]) for r in results)
