"""Sequences of several lengths: packing, and recurrent layers on packed batches, beside torch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tilegrad as tg
from tilegrad import nn
from tilegrad.nn.utils import rnn

LENGTHS = [[4, 4, 2, 1], [1, 4, 2, 4], [3]]


def _rows(lengths: list[int], *shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((max(lengths) + 1, len(lengths), *shape))


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("lengths", LENGTHS)
def test_packing_is_torchs(lengths: list[int], batch_first: bool):
    torch = pytest.importorskip("torch")
    theirs = torch.nn.utils.rnn
    x = _rows(lengths, 2)
    x = np.ascontiguousarray(x.swapaxes(0, 1)) if batch_first else x
    how = {"batch_first": batch_first, "enforce_sorted": False}
    packed = rnn.pack_padded_sequence(tg.tensor(x), lengths, **how)
    wanted = theirs.pack_padded_sequence(torch.tensor(x), lengths, **how)
    for a, b in zip(packed, wanted, strict=True):
        assert np.array_equal(a.numpy(), b.numpy())
    for total in (None, 7):
        found, sizes = rnn.pad_packed_sequence(packed, batch_first, -1.0, total)
        there, there_sizes = theirs.pad_packed_sequence(wanted, batch_first, -1.0, total)
        assert np.array_equal(found.numpy(), there.numpy())
        assert sizes.tolist() == there_sizes.tolist() == lengths


@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_is_torchs(side: str):
    torch = pytest.importorskip("torch")
    parts = [np.arange(2.0 * n).reshape(n, 2) for n in (2, 3, 1)]
    found = rnn.pad_sequence([tg.tensor(p) for p in parts], True, 9.0, side)
    wanted = torch.nn.utils.rnn.pad_sequence([torch.tensor(p) for p in parts], True, 9.0, side)
    assert np.array_equal(found.numpy(), wanted.numpy())
    if side == "right":
        again = rnn.unpad_sequence(found, [2, 3, 1], batch_first=True)
        assert all(np.array_equal(a.numpy(), b) for a, b in zip(again, parts, strict=True))


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("lengths", LENGTHS)
@pytest.mark.parametrize(
    ("kind", "how"), [("RNN", {}), ("GRU", {}), ("LSTM", {}), ("LSTM", {"proj_size": 2})]
)
def test_layers_on_packed_batches_are_torchs(
    kind: str, how: dict[str, Any], lengths: list[int], bidirectional: bool
):
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    sizes = {"num_layers": 2, "bidirectional": bidirectional, **how}
    theirs = getattr(torch.nn, kind)(3, 4, **sizes).double()
    ours = getattr(nn, kind)(3, 4, **sizes).double()
    ours.load_state_dict({k: v.detach().numpy() for k, v in theirs.state_dict().items()})
    x, their_x = tg.tensor(_rows(lengths, 3), requires_grad=True), torch.tensor(_rows(lengths, 3))
    their_x.requires_grad_()
    start = np.random.default_rng(1).standard_normal((4 if bidirectional else 2, len(lengths), 4))
    hx, their_hx = tg.tensor(start), torch.tensor(start)
    if kind == "LSTM":
        h = start[..., : how.get("proj_size", 4)]
        hx, their_hx = (tg.tensor(h), hx), (torch.tensor(h), their_hx)
    packed = rnn.pack_padded_sequence(x, lengths, enforce_sorted=False)
    y, states = ours(packed, hx)
    wanted, their_states = theirs(
        torch.nn.utils.rnn.pack_padded_sequence(their_x, lengths, enforce_sorted=False), their_hx
    )
    found = [y.data, *(states if kind == "LSTM" else [states])]
    expected = [wanted.data, *(their_states if kind == "LSTM" else [their_states])]
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=1e-12, atol=1e-13)
    sum((a * a).sum() for a in found).backward()
    sum((b * b).sum() for b in expected).backward()
    np.testing.assert_allclose(x.grad.numpy(), their_x.grad.numpy(), rtol=1e-11, atol=1e-12)
    for name, parameter in theirs.named_parameters():
        own = dict(ours.named_parameters())[name].grad.numpy()
        np.testing.assert_allclose(own, parameter.grad.numpy(), rtol=1e-11, atol=1e-12)


def test_bad_lengths_are_named():
    x = tg.ones(3, 2)
    with pytest.raises(ValueError, match="expected one for each"):
        rnn.pack_padded_sequence(x, [3])
    with pytest.raises(ValueError, match=r"within 1\.\.3"):
        rnn.pack_padded_sequence(x, [4, 1])
    with pytest.raises(ValueError, match="enforce_sorted"):
        rnn.pack_padded_sequence(x, [1, 3])
    with pytest.raises(ValueError, match="total_length"):
        rnn.pad_packed_sequence(rnn.pack_padded_sequence(x, [3, 1]), total_length=2)
    with pytest.raises(ValueError, match="at least one"):
        rnn.pad_sequence([])
