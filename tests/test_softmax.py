"""Softmax and cross-entropy: every ISA, dtype and axis against twins and closed forms."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from native_grid import FLOATS, ISAS, LAYOUTS, instruction_set

from tilegrad import _native, kernels
from tilegrad.kernels import reference

SHAPES = [(1,), (10,), (5, 1), (5, 10), (3, 17, 4), (2, 3, 4, 5), (0, 4), (6, 1300)]


def logits(shape: tuple[int, ...], dtype: type) -> np.ndarray:
    return np.random.default_rng(12).normal(0, 4, shape).astype(dtype)


def close(got: np.ndarray, want: np.ndarray, scale: float = 1.0) -> bool:
    """Within a few roundings of numbers of size ``scale``."""
    eps = np.finfo(got.dtype).eps
    return bool(np.allclose(got, want, rtol=64 * eps, atol=16 * eps * scale, equal_nan=True))


@pytest.mark.parametrize("isa", ISAS)
def test_every_kernel_agrees_with_its_twin(isa: str) -> None:
    checks = 0
    with instruction_set(isa):
        for dtype, shape, layout in itertools.product(FLOATS, SHAPES, LAYOUTS.values()):
            x, g = layout(logits(shape, dtype)), layout(np.flip(logits(shape, dtype)))
            for axis in range(-x.ndim, x.ndim):
                for name in ("softmax", "log_softmax"):
                    got = getattr(kernels, name).call_native(x, axis)
                    assert close(got, getattr(reference, name)(x, axis), 40.0)
                    grad = getattr(kernels, name + "_grad").call_native(g, got, axis)
                    want = getattr(reference, name + "_grad")(g, got, axis)
                    assert close(grad, want, 40.0 * x.shape[axis] ** 0.5), (name, shape, axis)
                    assert got.dtype == grad.dtype == dtype
                    assert got.flags.c_contiguous
                    checks += 2
                for keepdims in (False, True):
                    got = kernels.logsumexp.call_native(x, axis, keepdims)
                    assert close(got, reference.logsumexp(x, axis, keepdims), 40.0)
                    checks += 1
    assert checks == 2 * 5 * 6 * sum(2 * len(shape) for shape in SHAPES) == 2040


@pytest.mark.parametrize("isa", ISAS)
def test_extreme_rows(isa: str) -> None:
    inf = np.inf
    rows = np.array([[1e4, 0, -1e4], [-inf, 0, 0], [-inf, -inf, -inf], [inf, 0, 0], [np.nan, 0, 0]])
    with instruction_set(isa):
        for dtype, n in itertools.product(FLOATS, (3, 40)):
            x = np.full((5, n), -inf, dtype)
            x[:, :3] = rows
            for name in ("softmax", "log_softmax", "logsumexp"):
                got, want = getattr(kernels, name)(x), getattr(reference, name)(x)
                assert close(got, want), name
            assert kernels.logsumexp(x)[:4].tolist() == [
                1e4,
                *np.log([2.0]).astype(dtype),
                -inf,
                inf,
            ]
            assert np.isnan(kernels.softmax(x)[2:]).all(axis=1).tolist() == [True, True, True]


def cases() -> list[tuple[dict[str, object], bool]]:
    return [
        ({"ignore_index": ignore, "label_smoothing": smooth, "reduction": reduction}, weighted)
        for ignore, smooth, reduction, weighted in itertools.product(
            (-100, 2), (0.0, 0.1), ("none", "sum", "mean"), (False, True)
        )
    ]


def closed_form(
    x: np.ndarray,
    target: np.ndarray,
    weight: np.ndarray | None,
    g: np.ndarray,
    *,
    ignore_index: int,
    label_smoothing: float,
    reduction: str,
) -> tuple[np.ndarray, np.ndarray]:
    """The loss and the gradient of ``sum(g * loss)``, row by row in long double.

    With ``onehot`` the label's unit vector, the row aims at ``q = w ((1 - s) onehot + s / C)``: it
    loses ``-sum(q log softmax(x))``, whose gradient is ``softmax(x) sum(q) - q``.
    """
    rows, classes = x.shape
    w = np.ones(classes, np.longdouble) if weight is None else weight.astype(np.longdouble)
    loss, grad = np.zeros(rows, np.longdouble), np.zeros((rows, classes), np.longdouble)
    for i, (row, label) in enumerate(zip(x.astype(np.longdouble), target, strict=True)):
        if label == ignore_index:
            continue
        onehot = (np.arange(classes) == label).astype(np.longdouble)
        q = w * ((1 - label_smoothing) * onehot + np.longdouble(label_smoothing) / classes)
        e = np.exp(row - row.max())
        loss[i] = -np.sum(q * (row - row.max() - np.log(e.sum())))
        grad[i] = e / e.sum() * q.sum() - q
    if reduction == "none":
        return loss, g[:, None] * grad
    counted = target[target != ignore_index]
    divisor = w[counted].sum() if reduction == "mean" else np.longdouble(1)
    with np.errstate(invalid="ignore"):  # the mean of no rows is NaN
        return loss.sum() / divisor, np.where(grad == 0, 0, g / divisor * grad)


@pytest.mark.parametrize("isa", ISAS)
def test_cross_entropy_and_its_gradient(isa: str) -> None:
    rng = np.random.default_rng(13)
    checks = 0
    with instruction_set(isa):
        for dtype, shape, (options, weighted) in itertools.product(
            FLOATS, [(1, 1), (4, 3), (33, 10), (3, 700)], cases()
        ):
            x = logits(shape, dtype)
            target = rng.integers(0, shape[1], shape[0])
            weight = rng.uniform(0.1, 2, shape[1]).astype(dtype) if weighted else None
            loss, p = kernels.cross_entropy.call_native(x, target, weight, **options)
            want, want_p = reference.cross_entropy(x, target, weight, **options)
            assert close(loss, want, 40.0 * shape[0])
            assert close(p, want_p)
            g = rng.normal(size=loss.shape).astype(dtype)
            grad = kernels.cross_entropy_grad.call_native(g, p, target, weight, **options)
            assert close(
                grad, reference.cross_entropy_grad(g, p, target, weight, **options), 2 * shape[1]
            )
            if dtype == np.float64:
                true_loss, true_grad = closed_form(x, target, weight, g, **options)
                assert close(loss, true_loss, 40.0 * shape[0])
                assert close(grad, true_grad, 2 * shape[1])
            checks += 1
    assert checks == 192


def test_labels_out_of_range_are_named() -> None:
    x = np.zeros((3, 4), np.float32)
    for kernel in (kernels.cross_entropy, reference.cross_entropy):
        with pytest.raises(ValueError, match=r"label 4 in row 1 is outside 0..3 \(4 classes\)"):
            kernel(x, np.array([0, 4, 9]))
        with pytest.raises(ValueError, match="label -1 in row 2"):
            kernel(x, np.array([0, 1, -1]))
        with pytest.raises(ValueError, match="3 rows of logits"):
            kernel(x, np.array([0, 1]))
        with pytest.raises(TypeError, match="integers"):
            kernel(x, np.array([0.0, 1.0, 2.0]))
        with pytest.raises(ValueError, match="reduction"):
            kernel(x, np.array([0, 1, 2]), reduction="max")
        with pytest.raises(ValueError, match="weight"):
            kernel(x, np.array([0, 1, 2]), np.ones(3, np.float32))
        loss, p = kernel(np.zeros((0, 4)), np.zeros(0, np.int64))
        assert (loss.shape, p.shape) == ((0,), (0, 4))
        loss, _ = kernel(x, np.array([-100] * 3))
        assert loss.tolist() == [0, 0, 0]


def test_bits_do_not_depend_on_threads() -> None:
    x = logits((400, 700), np.float32)
    target = np.arange(400) % 700
    before = _native.get_num_threads()
    results = []
    for threads in (1, 2, 3):
        _native.set_num_threads(threads)
        results.append((kernels.softmax(x), *kernels.cross_entropy(x, target, reduction="mean")))
    _native.set_num_threads(before)
    for other in results[1:]:
        assert all(np.array_equal(a, b) for a, b in zip(results[0], other, strict=True))
