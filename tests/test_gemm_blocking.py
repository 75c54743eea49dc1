"""How products are cut: the blocks fit the caches, and packing is chosen where it pays."""

from __future__ import annotations

import itertools

import pytest

from tilegrad import _native

ZEN = {"l1": 48 << 10, "l2": 1 << 20, "l3": 32 << 20}
SMALL = {"l1": 32 << 10, "l2": 256 << 10, "l3": 2 << 20}
MR = 14


def blocking(m, n, k, item=4, *, a_rows=True, b_rows=True, caches=ZEN):
    return _native.blocking(m, n, k, item, a_rows, b_rows, **caches)


@pytest.mark.parametrize("caches", [ZEN, SMALL])
@pytest.mark.parametrize("item", [4, 8])
def test_blocks_fit_the_caches(caches, item):
    count = 0
    for m, n, k in itertools.product((1, 14, 100, 1000, 5000), repeat=3):
        cut = blocking(m, n, k, item, caches=caches)
        nr = 2 * 64 // item
        assert 1 <= cut["kc"] <= min(k, 384)
        assert cut["mc"] % MR == 0
        assert cut["nc"] % nr == 0
        nc = min(cut["nc"], -(-n // nr) * nr)
        assert cut["mc"] * (nc + cut["kc"]) * item <= caches["l2"] * 5 / 8 or cut["mc"] == MR
        assert cut["depth"] % cut["kc"] == 0
        packed = cut["depth"] * nc * item
        assert packed <= max(caches["l2"], caches["l3"] / 4) or cut["depth"] == cut["kc"]
        count += 1
    assert count == 125


def test_blocks_of_k_are_all_but_equal():
    longest = 352
    for item in (4, 8):
        for k in range(1, 3000, 7):
            kc = blocking(10, 10, k, item)["kc"]
            blocks = -(-k // kc)
            assert kc <= longest
            assert blocks == -(-k // longest), "as few blocks as accuracy and L1 allow"
            assert blocks * kc - k < blocks, "none much shorter than the others"
            assert blocking(3000, 9, k, item)["kc"] == kc, "a function of k alone"


def test_packing_is_chosen_where_lines_would_be_lost():
    assert not blocking(64, 64, 64)["pack_b"], "all of B stays in L1"
    assert not blocking(14, 1000, 1000)["pack_b"], "B is read once"
    assert blocking(512, 512, 512)["pack_b"]
    assert blocking(20, 20, 20, b_rows=False)["pack_b"], "tiles need rows of B"
    assert blocking(512, 512, 512)["pack_a"]
    assert not blocking(512, 256, 512)["pack_a"], "too few columns to pay for a transposition"
    assert blocking(512, 256, 512, a_rows=False)["pack_a"], "a plain copy"
    assert not blocking(512, 32, 512, a_rows=False)["pack_a"], "A is read once"


def test_large_operands_are_streamed_past_few_rows():
    assert blocking(1, 4096, 1000)["sliced"]
    assert blocking(14, 4096, 1000)["sliced"]
    assert not blocking(15, 4096, 1000)["sliced"]
    assert not blocking(8, 128, 784)["sliced"]


def test_override_is_taken_back():
    before = blocking(500, 500, 500)
    _native.override_blocking(kc=7, mc=28, nc=64, pack_a=2, pack_b=1)
    try:
        cut = blocking(500, 500, 500)
        assert (cut["kc"], cut["mc"], cut["nc"], cut["pack_a"], cut["pack_b"]) == (
            7,
            28,
            64,
            True,
            False,
        )
    finally:
        _native.override_blocking()
    assert blocking(500, 500, 500) == before
