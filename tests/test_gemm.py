"""Values of the matrix products: sizes around every edge, layouts, dtypes, instruction sets."""

from __future__ import annotations

import itertools

import gemm_cases as cases
import numpy as np
import pytest

from tilegrad import _native, kernels

matmul = kernels.matmul

# Around the tiles' rows (3, 6, 14), their vectors (1, 4, 8, 16 elements, 1 to 8 of them) and one
# block of small overridden sizes.
ROWS = (1, 2, 3, 4, 5, 6, 7, 13, 14, 15, 29, 43)
COLUMNS = (1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 48, 63, 65, 130)
DEPTHS = (1, 2, 3, 8, 17, 33)


def check(a: np.ndarray, b: np.ndarray, got: np.ndarray, want: np.ndarray) -> None:
    assert got.dtype == a.dtype
    assert got.shape == want.shape
    error = np.abs(got - want)
    bound = cases.tolerance(a, b)
    assert (error <= bound).all(), f"{a.shape} x {b.shape}: {np.max(error / bound)} of the bound"


@pytest.mark.parametrize("dtype", cases.DTYPES)
@pytest.mark.parametrize("isa", cases.ISAS)
def test_every_edge(isa, dtype):
    count = 0
    with cases.isa(isa):
        for m, n, k in itertools.product(ROWS, COLUMNS, DEPTHS):
            a, b = cases.random((m, k), dtype, 1), cases.random((k, n), dtype, 2)
            want = cases.exact_product(a, b)
            for a_layout, b_layout in (("rows", "rows"), ("rows", "columns"), ("columns", "rows")):
                got = matmul(cases.LAYOUTS[a_layout](a), cases.LAYOUTS[b_layout](b))
                check(a, b, got, want)
                count += 1
    assert count == 3 * 12 * 17 * 6


@pytest.mark.parametrize("dtype", cases.DTYPES)
@pytest.mark.parametrize("isa", cases.ISAS)
def test_every_layout(isa, dtype):
    count = 0
    layouts = cases.LAYOUTS.items()
    with cases.isa(isa):
        for m, n, k in ((1, 37, 21), (5, 1, 40), (9, 70, 33), (31, 35, 50)):
            a, b = cases.random((m, k), dtype, 3), cases.random((k, n), dtype, 4)
            want = cases.exact_product(a, b)
            for (_, lay_a), (_, lay_b), (name, lay_c) in itertools.product(layouts, repeat=3):
                out = lay_c(np.full((m, n), np.nan, dtype))
                base = out.base if out.base is not None else out
                before = np.isnan(base).sum()
                left, right = lay_a(a), lay_b(b)
                kept = left.copy(), right.copy()
                assert matmul(left, right, out=out) is out, name
                check(a, b, out, want)
                assert np.isnan(base).sum() == before - m * n, "written outside"
                assert (left == kept[0]).all(), "operand changed"
                assert (right == kept[1]).all(), "operand changed"
                count += 1
    assert count == 4 * 6**3


#: How an operand may lie in memory with strides of 0: all rows one, all columns one, one number.
REPEATED = {
    "rows": lambda x: np.broadcast_to(x[:1], x.shape),
    "columns": lambda x: np.broadcast_to(x[:, :1], x.shape),
    "all": lambda x: np.broadcast_to(x[0, 0], x.shape),
}


@pytest.mark.parametrize("dtype", cases.DTYPES)
@pytest.mark.parametrize("isa", cases.ISAS)
def test_strides_of_zero(isa, dtype):
    """Gradients of sums are such operands. On every path: small, dots, thin, blocked, packed."""
    others = (np.ascontiguousarray, np.asfortranarray)
    with cases.isa(isa):
        for m, n, k in ((2, 3, 2), (9, 9, 9), (17, 40, 33), (70, 70, 70), (130, 20, 150)):
            a, b = cases.integers((m, k), dtype), cases.integers((k, n), dtype)
            for repeat in REPEATED.values():
                for other in others:
                    left, right = (repeat(a), other(b)), (other(a), repeat(b))
                    for x, y in (left, right, (repeat(a), repeat(b))):
                        expected = np.ascontiguousarray(x) @ np.ascontiguousarray(y)
                        np.testing.assert_array_equal(matmul(x, y), expected)
                        np.testing.assert_array_equal(matmul(y.T, x.T), expected.T)


@pytest.mark.parametrize("dtype", cases.DTYPES)
@pytest.mark.parametrize("isa", cases.ISAS)
@pytest.mark.parametrize("threads", [1, 2, 5])
def test_blocks_of_every_size(isa, dtype, threads):
    """Tiny blocks walk through the five loops' edges; integers make every way exact."""
    count = 0
    with cases.isa(isa), cases.threads(threads):
        for m, n, k in ((37, 71, 23), (100, 40, 64), (1, 200, 9), (66, 3, 31)):
            a, b = cases.integers((m, k), dtype, 5), cases.integers((k, n), dtype, 6)
            want = a @ b
            for kc, mc, nc, pack_a, pack_b in itertools.product(
                (1, 5, 16), (1, 30), (1, 64), (1, 2), (1, 2)
            ):
                with cases.blocking(kc=kc, mc=mc, nc=nc, pack_a=pack_a, pack_b=pack_b):
                    for a_layout, b_layout in (("rows", "rows"), ("columns", "columns")):
                        left, right = cases.LAYOUTS[a_layout](a), cases.LAYOUTS[b_layout](b)
                        assert (matmul(left, right) == want).all()
                        count += 1
    assert count == 4 * 48 * 2


@pytest.mark.parametrize("dtype", cases.DTYPES)
@pytest.mark.parametrize("isa", cases.ISAS)
@pytest.mark.parametrize(
    ("m", "n", "k"),
    [
        (300, 300, 300),
        (511, 65, 777),
        (14, 1200, 900),
        (1, 3000, 700),
        (700, 1, 900),
        (600, 500, 1),
    ],
)
@pytest.mark.parametrize("threads", [1, 3])
def test_real_blocks(isa, dtype, m, n, k, threads):
    a, b = cases.integers((m, k), dtype, 7), cases.integers((k, n), dtype, 8)
    want = a @ b
    with cases.isa(isa), cases.threads(threads):
        assert (matmul(a, b) == want).all()
        assert (matmul(np.asfortranarray(a), np.asfortranarray(b)) == want).all()
        assert (matmul(b.T, a.T) == want.T).all()


@pytest.mark.parametrize("isa", cases.ISAS)
@pytest.mark.parametrize("shape", [(0, 3, 2), (3, 0, 2), (3, 2, 0), (0, 0, 0)])
def test_empty(isa, shape):
    m, n, k = shape
    with cases.isa(isa):
        out = np.full((m, n), np.nan)
        got = matmul(np.ones((m, k)), np.ones((k, n)), out=out)
        assert got is out
        assert (got == 0).all()


BATCHES = [
    ((7, 3, 4), (7, 4, 5)),
    ((7, 3, 4), (4, 5)),
    ((3, 4), (7, 4, 5)),
    ((2, 1, 3, 4), (1, 6, 4, 5)),
    ((2, 3, 5, 3, 4), (3, 1, 4, 2)),
    ((4,), (3, 4, 5)),
    ((3, 5, 4), (4,)),
    ((4,), (4,)),
    ((0, 3, 4), (4, 5)),
    ((130, 8, 8), (130, 8, 8)),
    ((5, 40, 40), (5, 40, 40)),
]


@pytest.mark.parametrize("dtype", cases.DTYPES)
@pytest.mark.parametrize("isa", cases.ISAS)
@pytest.mark.parametrize(("a_shape", "b_shape"), BATCHES)
@pytest.mark.parametrize("threads", [1, 2])
def test_batches(isa, dtype, a_shape, b_shape, threads):
    a, b = cases.integers(a_shape, dtype, 9), cases.integers(b_shape, dtype, 10)
    want = np.matmul(a, b)
    with cases.isa(isa), cases.threads(threads):
        got = matmul(a, b)
        assert type(got) is type(want) or got.ndim == 0
        assert got.shape == want.shape
        assert (got == want).all()
        backwards = b[..., ::-1].copy()[..., ::-1]
        swapped = matmul(np.swapaxes(np.swapaxes(a, 0, -1).copy(), 0, -1), backwards)
        assert (swapped == want).all()
        out = np.empty(want.shape, dtype)
        if want.ndim:
            assert matmul(a, b, out) is out
            assert (out == want).all()


GEMM_OPTIONS = list(
    itertools.product(
        (0.0, 1.0, -2.0),
        (0.0, 1.0, 3.0),
        (False, True),
        (False, True),
        (None, "n", "m", "mn"),
        (None, "relu"),
    )
)


@pytest.mark.parametrize("dtype", cases.DTYPES)
@pytest.mark.parametrize("isa", cases.ISAS)
@pytest.mark.parametrize("sizes", [(5, 7, 3), (1, 20, 33), (40, 1, 6), (70, 90, 50), (3, 4, 0)])
def test_gemm_options(isa, dtype, sizes):
    m, n, k = sizes
    a, b, c = (cases.integers(s, dtype, i) for i, s in enumerate(((m, k), (k, n), (m, n))))
    biases = {
        "n": cases.integers((n,), dtype, 11),
        "m": cases.integers((m, 1), dtype, 12),
        "mn": cases.integers((m, n), dtype, 13),
    }
    count = 0
    with cases.isa(isa):
        for alpha, beta, ta, tb, bias, activation in GEMM_OPTIONS:
            left, right = (a.T.copy() if ta else a), (b.T.copy() if tb else b)
            keywords = {
                "alpha": alpha,
                "beta": beta,
                "transpose_a": ta,
                "transpose_b": tb,
                "bias": biases.get(bias),
                "activation": activation,
            }
            want = kernels.reference.gemm(left, right, c, **keywords)
            got = kernels.gemm(left, right, c, **keywords)
            assert got.dtype == dtype
            assert (got == want).all(), keywords
            out = c.copy()
            assert kernels.gemm(left, right, out, out=out, **keywords) is out
            assert (out == want).all(), keywords
            count += 1
    assert count == 3 * 3 * 2 * 2 * 4 * 2


@pytest.mark.parametrize("dtype", cases.DTYPES)
@pytest.mark.parametrize("isa", cases.ISAS)
@pytest.mark.parametrize("activation", ["gelu", "silu", "sigmoid", "tanh"])
def test_fused_activations_on_every_path(isa, dtype, activation):
    """The same bits as the product followed by the kernel of the activation."""
    apply = getattr(kernels, activation)
    slack = 100 * np.finfo(dtype).eps  # the transposed product may sum in another order
    count = 0
    with cases.isa(isa):
        for m, n, k in ((5, 7, 3), (1, 300, 40), (60, 1, 9), (130, 90, 400), (9, 50, 1), (3, 4, 0)):
            a, b = cases.random((m, k), dtype, 1), cases.random((k, n), dtype, 2)
            bias = cases.random((n,), dtype, 3)
            for right in (b, np.asfortranarray(b)):
                got = kernels.gemm(a, right, bias=bias, activation=activation)
                want = apply(kernels.gemm(a, right, bias=bias))
                np.testing.assert_allclose(got, want, rtol=4 * np.finfo(dtype).eps, atol=0)
                count += 1
            out = np.asfortranarray(np.empty((m, n), dtype))
            kernels.gemm(a, b, bias=bias, activation=activation, out=out)
            np.testing.assert_allclose(
                out, apply(kernels.gemm(a, b, bias=bias)), rtol=slack, atol=slack
            )
    assert count == 12


@pytest.mark.parametrize("dtype", cases.DTYPES)
@pytest.mark.parametrize("isa", cases.ISAS)
def test_packed_operand(isa, dtype):
    with cases.isa(isa):
        for m, n, k in ((1, 70, 30), (20, 33, 400), (150, 129, 700), (3, 1, 5)):
            a, b = cases.integers((m, k), dtype, 1), cases.integers((k, n), dtype, 2)
            for source in (b, np.asfortranarray(b), b[::-1, ::-1].copy()[::-1, ::-1]):
                handle = kernels.pack(source)
                assert handle.shape == (k, n)
                assert handle.source is source
                assert (kernels.gemm(a, handle) == a @ b).all()
                assert (kernels.gemm(a, handle, bias=b[0], alpha=2) == 2 * (a @ b) + b[0]).all()
        b = cases.integers((k, n), dtype, 2)
        handle = kernels.pack(b)
        matmul(np.ones((k, 1), dtype), np.ones((1, n), dtype), out=b)
        assert handle.stale
        with pytest.raises(ValueError, match="changed in place"):
            kernels.gemm(np.ones((1, k), dtype), handle)
        handle = kernels.pack(b)
        _native.mark_written(b[1:])
        assert handle.stale
    eye = np.eye(3)
    handle = kernels.pack(eye)
    for other in cases.ISAS[1:]:
        with cases.isa(other), pytest.raises(ValueError, match="packed for"):
            kernels.gemm(eye, handle)


@pytest.mark.parametrize("dtype", cases.DTYPES)
@pytest.mark.parametrize("isa", cases.ISAS)
@pytest.mark.parametrize("threads", [1, 2])
def test_syrk_and_outer(isa, dtype, threads):
    with cases.isa(isa), cases.threads(threads):
        for m, k in ((1, 1), (5, 9), (130, 40), (400, 70), (300, 333)):
            a = cases.integers((m, k), dtype, 1)
            for x in (a, np.asfortranarray(a), a[::-1]):
                assert (kernels.syrk(x) == x @ x.T).all()
                assert (kernels.syrk(x, transpose=True, alpha=-2) == -2 * (x.T @ x)).all()
            noise = cases.random((m, k), dtype, 2)
            square = kernels.syrk(noise)
            assert (square == square.T).all()
            check(noise, noise.T, square, cases.exact_product(noise, noise.T))
            u, v = a[:, 0], a[0, ::-1]
            assert (kernels.outer(u, v) == np.outer(u, v)).all()


def test_bad_arguments_say_what_is_wrong():
    a, b = np.ones((3, 4)), np.ones((5, 6))
    with pytest.raises(
        ValueError, match=r"matmul: a of shape \(3, 4\) and b of shape \(5, 6\).*4 and 5"
    ):
        matmul(a, b)
    with pytest.raises(ValueError, match="scalar"):
        matmul(np.ones(()), b)
    with pytest.raises(ValueError, match="batch axis 0 has 2 and 3"):
        matmul(np.ones((2, 3, 4)), np.ones((3, 4, 5)))
    with pytest.raises(ValueError, match="gemm: expected two matrices"):
        kernels.gemm(np.ones(3), b)
    with pytest.raises(ValueError, match="inner sizes are 4 and 5"):
        kernels.gemm(a, b)
    with pytest.raises(ValueError, match="bias of shape"):
        kernels.gemm(a, a.T, bias=np.ones(7))
    with pytest.raises(ValueError, match="there is no c"):
        kernels.gemm(a, a.T, beta=1.0)
    with pytest.raises(ValueError, match="activation 'swoosh'"):
        kernels.gemm(a, a.T, activation="swoosh")
    with pytest.raises(TypeError, match="alpha: expected a number, got str"):
        kernels.gemm(a, a.T, alpha="two")
    with pytest.raises(ValueError, match="syrk: expected a matrix"):
        kernels.syrk(np.ones(3))
    with pytest.raises(ValueError, match="pack: expected a matrix"):
        kernels.pack(np.ones(3))
