"""Attention: native against its twin on every instruction set, PyTorch's rules, and its memory."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest
from native_grid import FLOATS, ISAS, LAYOUTS, instruction_set

import tilegrad as tg
from tilegrad import kernels, nn
from tilegrad.kernels import reference

F = nn.functional

#: Samples, heads, key heads, queries, keys, features, value features.
SIZES = [
    (1, 1, 1, 1, 1, 1, 1), (2, 3, 3, 5, 7, 4, 6), (1, 4, 2, 64, 128, 16, 16),
    (1, 2, 2, 65, 129, 33, 1), (1, 2, 1, 130, 200, 8, 40), (1, 1, 1, 70, 20, 400, 3),
    (1, 2, 2, 3, 0, 4, 4), (1, 2, 2, 0, 3, 4, 4), (0, 2, 2, 3, 3, 4, 4), (1, 1, 1, 2, 3, 0, 2),
]  # fmt: skip


def _heads(size: tuple[int, ...], dtype: Any = np.float64, seed: int = 0) -> list[np.ndarray]:
    samples, heads, groups, queries, keys, features, values = size
    rng = np.random.default_rng(seed)
    shapes = [
        (samples, heads, queries, features), (samples, groups, keys, features),
        (samples, groups, keys, values),
    ]  # fmt: skip
    return [rng.standard_normal(shape).astype(dtype) for shape in shapes]


def _masks(size: tuple[int, ...], dtype: Any) -> list[Any]:
    samples, heads, _, queries, keys, *_ = size
    rng = np.random.default_rng(1)
    seen = rng.random((queries, keys)) < 0.7
    seen[: queries // 2] &= rng.random(keys) < 0.5
    seen[:1] = False  # a query that sees nothing
    return [
        None, seen, rng.random((samples, 1, 1, keys)) < 0.6,
        rng.standard_normal((samples, heads, queries, keys)).astype(dtype),
        np.where(seen, 0, -np.inf).astype(dtype), rng.standard_normal((queries, 1)).astype(dtype),
    ]  # fmt: skip


def _same(found: Any, wanted: Any, dtype: Any) -> None:
    tolerance = 2e-5 if dtype == np.float32 else 1e-12
    for a, b in zip(found, wanted, strict=True):
        assert a.shape == b.shape
        assert a.dtype == dtype
        finite = np.isfinite(b)
        scale = max(1.0, float(np.abs(b[finite]).max(initial=0)))
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance * scale)


def _check(args: tuple[Any, ...], options: tuple[Any, ...], dtype: Any) -> None:
    q, k, v, mask, seed = args
    y, log_sum = reference.attention(*args, *options)
    _same(kernels.attention(*args, *options), (y, log_sum), dtype)
    g = np.random.default_rng(2).standard_normal(y.shape).astype(dtype)
    back = (g, q, k, v, mask, seed, y, log_sum, *options)
    _same(kernels.attention_grad(*back), reference.attention_grad(*back), dtype)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_native_is_its_twin(size: tuple[int, ...], dtype: Any, isa: str):
    seed = np.array([-5])
    with instruction_set(isa):
        for mask in _masks(size, dtype):
            for causal in (False, True):
                _check((*_heads(size, dtype), mask, None), (causal, 0.4, 0.0), dtype)
        _check((*_heads(size, dtype), None, seed), (True, 0.4, 0.3), dtype)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_any_layout(layout: str):
    size = (2, 4, 2, 5, 7, 3, 6)
    lay = LAYOUTS[layout]
    q, k, v = map(lay, _heads(size))
    for mask in _masks(size, np.float64):
        _check((q, k, v, None if mask is None else lay(mask), None), (False, 0.7, 0.0), np.float64)


def test_fewer_axes():
    q, k, v = _heads((1, 2, 2, 5, 4, 3, 2))
    whole, _ = kernels.attention(q, k, v)
    for lead in ((0,), (0, 1)):
        part, log_sum = kernels.attention(q[lead], k[lead], v[lead])
        assert np.array_equal(part, whole[lead])
        assert log_sum.shape == part.shape[:-1]
    with pytest.raises(ValueError, match="do not fit"):
        kernels.attention(q, k[..., :2], v)
    with pytest.raises(ValueError, match="multiple of"):
        kernels.attention(np.ones((3, 2, 2)), np.ones((2, 2, 2)), np.ones((2, 2, 2)))


def test_heads_are_not_copied():
    """Results lie in memory as the operands do: merging the heads again is a view."""
    packed = np.random.default_rng(0).standard_normal((2, 5, 3, 4, 6))  # N, T, 3, H, d
    q, k, v = (packed[:, :, i].transpose(0, 2, 1, 3) for i in range(3))
    y, log_sum = kernels.attention(q, k, v)
    assert y.transpose(0, 2, 1, 3).flags.c_contiguous
    for part in kernels.attention_grad(y, q, k, v, None, None, y, log_sum):
        assert part.transpose(0, 2, 1, 3).flags.c_contiguous


def test_bits_do_not_depend_on_threads():
    q, k, v = _heads((2, 4, 2, 700, 600, 16, 16), np.float32)
    results = []
    for threads in (1, 2):
        with tg.num_threads(threads):
            y, log_sum = kernels.attention(q, k, v, causal=True, scale=0.25)
            back = kernels.attention_grad(y, q, k, v, None, None, y, log_sum, True, 0.25)
            results.append((y, log_sum, *back))
    for a, b in zip(*results, strict=True):
        assert np.array_equal(a, b)


def test_dropout_keeps_the_mean_and_depends_on_the_seed():
    ones = np.ones((1, 1, 400, 400))
    drawn = [
        kernels.attention(ones, ones, ones, None, np.array([seed]), False, 1.0, 0.25)[0]
        for seed in (1, 1, 2)
    ]
    assert np.array_equal(drawn[0], drawn[1])
    assert not np.array_equal(drawn[0], drawn[2])
    rows = drawn[0][0, 0, :, 0]  # each the share of 400 weights that is kept, over 0.75
    assert abs(rows.mean() - 1) < 5 * np.sqrt(0.25 / 0.75 / 400**2)
    assert 0.5 < rows.std() / np.sqrt(0.25 / 0.75 / 400) < 2


def test_no_array_of_queries_times_keys():
    """4096 queries and keys: one array of scores would be 64 MiB."""
    arrays = _heads((1, 1, 1, 4096, 4096, 8, 8), np.float32)
    q, k, v = (tg.tensor(a, requires_grad=True) for a in arrays)
    tracemalloc.start()
    try:
        F.scaled_dot_product_attention(q, k, v, is_causal=True).sum().backward()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4 * 2**20


def test_dropout_is_drawn_anew_in_replays():
    q = tg.tensor(_heads((1, 2, 2, 8, 8, 4, 4), np.float32)[0], requires_grad=True)
    step = tg.compile(lambda: F.scaled_dot_product_attention(q, q, q, dropout_p=0.5).detach().sum())
    found = {step().item() for _ in range(8)}
    assert len(found) == 8


def test_gradcheck():
    q, k, v = (tg.tensor(a, requires_grad=True) for a in _heads((2, 2, 1, 3, 4, 2, 3)))
    mask = np.array([[True, False, True, True], [False] * 4, [True] * 4])
    floats = tg.tensor(np.random.default_rng(3).standard_normal((3, 4)), requires_grad=True)
    for how in ({}, {"is_causal": True}, {"attn_mask": tg.tensor(mask)}):
        def attend(q: Any, k: Any, v: Any, how: Any = how) -> Any:
            return F.scaled_dot_product_attention(q, k, v, enable_gqa=True, **how)

        assert tg.autograd.gradcheck(attend, (q, k, v), check_forward_ad=True)
        assert tg.autograd.gradgradcheck(attend, (q, k, v))
    assert tg.autograd.gradcheck(
        lambda q, m: F.scaled_dot_product_attention(q, k, v, m, enable_gqa=True), (q, floats)
    )


def test_third_derivatives_and_vmap():
    q, k, v = (tg.tensor(a) for a in _heads((1, 1, 1, 2, 3, 2, 2)))

    def along(t: Any) -> Any:
        return F.scaled_dot_product_attention(q * t, k, v).sum()

    def at(function: Any, t: float) -> float:
        return function(tg.tensor(np.array(t))).item()

    second = tg.func.grad(tg.func.grad(along))
    slope = (at(second, 0.7001) - at(second, 0.6999)) / 2e-4
    assert abs(at(tg.func.grad(second), 0.7) - slope) < 1e-6

    many = [tg.tensor(a) for a in _heads((4, 2, 2, 3, 5, 2, 2))]
    wanted = F.scaled_dot_product_attention(*many).numpy()
    found = tg.func.vmap(F.scaled_dot_product_attention)(*many).numpy()
    np.testing.assert_allclose(found, wanted, rtol=1e-14, atol=1e-15)


def _torch_cases() -> list[dict[str, Any]]:
    seen = np.random.default_rng(0).random((2, 1, 5, 5)) < 0.6
    seen[0, 0, 2] = False
    return [
        {}, {"is_causal": True}, {"scale": 0.3}, {"attn_mask": seen},
        {"attn_mask": np.where(seen, 0.5, -np.inf)},
    ]  # fmt: skip


@pytest.mark.parametrize("how", _torch_cases(), ids=lambda how: "-".join(how) or "plain")
def test_agrees_with_torch(how: dict[str, Any]):
    torch = pytest.importorskip("torch")
    size = (2, 4, 4, 5, 5, 3, 3)
    own = [tg.tensor(a, requires_grad=True) for a in _heads(size)]
    theirs = [torch.tensor(a, requires_grad=True) for a in _heads(size)]
    g = np.random.default_rng(5).standard_normal((2, 4, 5, 3))
    mine = {key: tg.tensor(x) if isinstance(x, np.ndarray) else x for key, x in how.items()}
    ref = {key: torch.tensor(x) if isinstance(x, np.ndarray) else x for key, x in how.items()}
    y = F.scaled_dot_product_attention(*own, **mine)
    wanted = torch.nn.functional.scaled_dot_product_attention(*theirs, **ref)
    np.testing.assert_allclose(y.detach().numpy(), wanted.detach().numpy(), rtol=1e-12, atol=1e-12)
    y.backward(tg.tensor(g))
    wanted.backward(torch.tensor(g))
    for a, b in zip(own, theirs, strict=True):
        np.testing.assert_allclose(a.grad.numpy(), b.grad.numpy(), rtol=1e-12, atol=1e-12)


def test_layers_make_no_array_of_queries_times_keys():
    """The gradient of one layer on 4096 steps; one array of scores would be 64 MiB."""
    tg.manual_seed(0)
    layer = nn.TransformerEncoderLayer(8, 1, 8, dropout=0.0, batch_first=True)
    x = tg.tensor(np.random.default_rng(0).standard_normal((1, 4096, 8)).astype(np.float32))
    tracemalloc.start()
    try:
        layer(x).sum().backward()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 8 * 2**20
