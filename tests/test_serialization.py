"""Saving and loading states: what comes back is what went in, and broken files say so."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tilegrad as tg
from tilegrad import nn


def _net() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 3))


def _same(a: Any, b: Any) -> None:
    assert list(a) == list(b)
    for key in a:
        assert a[key].dtype == b[key].dtype
        assert np.array_equal(a[key].numpy(), b[key].numpy())


@pytest.mark.parametrize("ending", [".npz", ".safetensors"])
def test_state_of_a_network(tmp_path: Path, ending: str):
    if ending == ".safetensors":
        pytest.importorskip("safetensors")
    net, other = _net(), _net().double().float()
    net(tg.randn(4, 1, 4, 4))
    tg.save(net.state_dict(), tmp_path / f"net{ending}")
    state = tg.load(tmp_path / f"net{ending}")
    _same(dict(sorted(net.state_dict().items())), dict(sorted(state.items())))
    assert not other.load_state_dict(state).missing_keys
    x = tg.randn(2, 1, 4, 4)
    net.eval(), other.eval()
    assert np.array_equal(net(x).detach().numpy(), other(x).detach().numpy())
    assert os.listdir(tmp_path) == [f"net{ending}"]


def test_state_of_training(tmp_path: Path):
    net = _net()
    optimizer = tg.optim.AdamW(net.parameters(), lr=0.01)
    nn.functional.cross_entropy(net(tg.randn(4, 1, 4, 4)), tg.tensor([0, 1, 2, 0])).backward()
    optimizer.step()
    state = {"net": net.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 3, "tag": "x"}
    tg.save(state, tmp_path / "all.npz")
    found = tg.load(tmp_path / "all.npz")
    assert found["epoch"] == 3
    assert found["tag"] == "x"
    _same(found["net"], net.state_dict())
    fresh = tg.optim.AdamW(net.parameters(), lr=1.0)
    fresh.load_state_dict(found["optimizer"])
    assert fresh.param_groups[0]["betas"] == (0.9, 0.999)
    for p in net.parameters():
        for key, value in optimizer.state[p].items():
            assert np.array_equal(fresh.state[p][key].numpy(), value.numpy())


def test_plain_numpy_files_are_read(tmp_path: Path):
    np.savez(tmp_path / "plain.npz", w=np.arange(3.0), b=np.ones(2, np.int64))
    state = tg.load(tmp_path / "plain.npz")
    assert state["w"].dtype == np.float64
    assert state["b"].numpy().tolist() == [1, 1]


def test_numpy_reads_a_flat_state(tmp_path: Path):
    tg.save(nn.Linear(2, 3).state_dict(), tmp_path / "state.npz")
    with np.load(tmp_path / "state.npz", allow_pickle=False) as stored:
        assert stored["weight"].shape == (3, 2)


def test_missing_and_broken_files(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match="no such file"):
        tg.load(tmp_path / "none.npz")
    good = tmp_path / "good.npz"
    tg.save(nn.Linear(20, 30).state_dict(), good)
    for cut in (0, 10, good.stat().st_size // 2, good.stat().st_size - 1):
        bad = tmp_path / "bad.npz"
        bad.write_bytes(good.read_bytes()[:cut])
        with pytest.raises(ValueError, match=r"not a whole \.npz"):
            tg.load(bad)
    (tmp_path / "text.npz").write_text("hello")
    with pytest.raises(ValueError, match="not a whole"):
        tg.load(tmp_path / "text.npz")
    np.savez(tmp_path / "objects.npz", w=np.array([{}], dtype=object))
    with pytest.raises(ValueError, match="not a whole"):
        tg.load(tmp_path / "objects.npz")


@pytest.mark.parametrize(
    "key", ["file", "__structure__", "a.npy", "a\0b", "a/b", "a\\b", "", "\ud800"]
)
def test_any_name_comes_back(tmp_path: Path, key: str):
    tg.save({key: tg.arange(3), "a": tg.ones(1)}, tmp_path / "state.npz")
    found = tg.load(tmp_path / "state.npz")
    assert list(found) == [key, "a"]
    assert found[key].numpy().tolist() == [0, 1, 2]


def test_the_same_state_gives_the_same_bytes(tmp_path: Path):
    for name in ("one", "two"):
        tg.save({"w": tg.ones(2), "more": [1, 2.5]}, tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def _complains(path: Path) -> bool:
    try:
        tg.load(path)
    except ValueError as error:
        return str(error).startswith(f"load: {path}: not a whole .npz file")
    return False


def test_any_wrong_byte_is_survived_or_told(tmp_path: Path):
    """Encrypted, of an unknown compression, with broken headers: one kind of error for all."""
    tg.save({"w": tg.ones(2), "more": [1, tg.zeros(3)]}, tmp_path / "good.npz")
    good = (tmp_path / "good.npz").read_bytes()
    bad = tmp_path / "bad.npz"
    told = 0
    for at in range(0, len(good), 3):
        bad.write_bytes(good[:at] + bytes([good[at] ^ (0x80 if at % 2 else 1)]) + good[at + 1 :])
        told += _complains(bad)
    assert told > len(good) // 6


def test_objects_are_refused_without_advice_to_unpickle(tmp_path: Path):
    np.savez(tmp_path / "objects.npz", w=np.array([{}], dtype=object))
    with pytest.raises(ValueError, match="'w' holds Python objects") as caught:
        tg.load(tmp_path / "objects.npz")
    assert "pickle" not in str(caught.value)


def test_folders_are_no_files(tmp_path: Path):
    with pytest.raises(IsADirectoryError, match=r"is a folder; expected a \.npz"):
        tg.load(tmp_path)
    with pytest.raises(IsADirectoryError, match="is a folder"):
        tg.save({"w": tg.ones(2)}, tmp_path)
    with pytest.raises(FileNotFoundError, match=r"nowhere/x\.npz: there is no folder .*nowhere"):
        tg.save({"w": tg.ones(2)}, tmp_path / "nowhere" / "x.npz")
    with pytest.raises(OSError, match="File name too long") as caught:
        tg.save({"w": tg.ones(2)}, tmp_path / ("x" * 300))
    assert caught.value.filename == str(tmp_path / ("x" * 300))


def test_a_failed_save_leaves_the_file(tmp_path: Path):
    path = tmp_path / "state.npz"
    tg.save({"w": tg.ones(2)}, path)
    with pytest.raises(TypeError, match="cannot be saved"):
        tg.save({"w": tg.zeros(2), "bad": object()}, path)
    assert tg.load(path)["w"].numpy().tolist() == [1, 1]
    assert os.listdir(tmp_path) == ["state.npz"]


def test_a_broken_state_is_named():
    net = nn.Linear(2, 3)
    with pytest.raises(RuntimeError, match=r'Missing key.*"bias"'):
        net.load_state_dict({"weight": np.zeros((3, 2))})
    with pytest.raises(RuntimeError, match=r'Unexpected key.*"extra"'):
        net.load_state_dict({**net.state_dict(), "extra": np.zeros(1)})
    with pytest.raises(RuntimeError, match=r"weight: shape \(2, 2\).*\(3, 2\)"):
        net.load_state_dict({"weight": np.zeros((2, 2)), "bias": np.zeros(3)})
    with pytest.raises(TypeError, match="mapping"):
        net.load_state_dict([1])
    assert net.load_state_dict({}, strict=False).missing_keys == ["weight", "bias"]
