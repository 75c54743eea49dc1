"""Datasets, loaders, splits and MNIST's files."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

import tilegrad as tg
from tilegrad.data import (
    ConcatDataset,
    DataError,
    DataLoader,
    Dataset,
    IterableDataset,
    Subset,
    TensorDataset,
    random_split,
    read_idx,
    read_mnist,
    train_test_split,
)

X = np.arange(20.0).reshape(10, 2)
Y = np.arange(10)


def test_batches_in_order():
    loader = DataLoader(TensorDataset(X, Y), batch_size=4)
    batches = list(loader)
    assert len(loader) == len(batches) == 3
    assert [b[0].shape for b in batches] == [(4, 2), (4, 2), (2, 2)]
    assert np.array_equal(np.concatenate([b[1].numpy() for b in batches]), Y)
    assert len(DataLoader(TensorDataset(X), batch_size=4, drop_last=True)) == 2


def test_shuffling_is_seeded_and_fresh_every_pass():
    def orders(seed: int) -> list[list[int]]:
        generator = tg.Generator().manual_seed(seed)
        loader = DataLoader(TensorDataset(Y), batch_size=3, shuffle=True, generator=generator)
        return [[int(i) for (b,) in loader for i in b.numpy()] for _ in range(2)]

    first, second = orders(1)
    assert sorted(first) == sorted(second) == Y.tolist()
    assert first != second
    assert orders(1) == [first, second]
    assert orders(2) != [first, second]


def test_entries_of_any_kind():
    class Pairs(Dataset):
        def __len__(self) -> int:
            return 5

        def __getitem__(self, index: int) -> dict:
            return {"x": np.full(2, index), "name": str(index), "y": (index, float(index))}

    (batch, _) = list(DataLoader(Pairs(), batch_size=3))
    assert batch["x"].shape == (3, 2)
    assert batch["name"] == ["0", "1", "2"]
    assert batch["y"][0].numpy().tolist() == [0, 1, 2]

    class Stream(IterableDataset):
        def __iter__(self):
            return iter(range(5))

    assert [b.numpy().tolist() for b in DataLoader(Stream(), batch_size=2)] == [[0, 1], [2, 3], [4]]
    assert list(DataLoader([1, 2], batch_size=None)) == [1, 2]
    assert [b.numpy().tolist() for b in DataLoader(Y, batch_sampler=[[0, 5], [3]])] == [[0, 5], [3]]


def test_subsets_and_sums():
    data = TensorDataset(X, Y)
    part = Subset(data, [7, 3])
    assert part[1][1].item() == 3
    assert next(iter(DataLoader(part, batch_size=2)))[1].numpy().tolist() == [7, 3]
    both = ConcatDataset([data, part])
    assert len(both) == 12
    assert both[10][1].item() == 7
    assert both[-1][1].item() == 3
    with pytest.raises(IndexError, match="12"):
        both[12]


def test_splits():
    parts = random_split(range(10), [0.5, 0.3, 0.2], generator=tg.Generator().manual_seed(0))
    assert [len(p) for p in parts] == [5, 3, 2]
    assert sorted(p[i] for p in parts for i in range(len(p))) == list(range(10))
    with pytest.raises(ValueError, match="sum to 9"):
        random_split(range(10), [4, 5])
    a, b, c, d = train_test_split(X, Y, test_size=0.2, seed=1)
    assert (a.shape, b.shape, c.shape, d.shape) == ((8, 2), (2, 2), (8,), (2,))
    assert np.array_equal(a[:, 0] / 2, c)
    assert np.array_equal(train_test_split(Y, seed=1)[1], train_test_split(Y, seed=1)[1])
    with pytest.raises(ValueError, match="first axis"):
        train_test_split(X, Y[:3])


@pytest.mark.parametrize(("make", "error"), [
    (lambda: TensorDataset(X, Y[:3]), "first axis"),
    (lambda: DataLoader(TensorDataset(X), batch_size=0), "batch_size"),
    (lambda: DataLoader(TensorDataset(X), shuffle=True, sampler=[0]), "exclude"),
    (lambda: train_test_split(Y, test_size=-0.1), "test_size -0.1 must be a fraction from 0 to 1"),
    (lambda: train_test_split(Y, test_size=1.5), "test_size 1.5 must be a fraction"),
    (lambda: train_test_split(Y, test_size=float("nan")), "test_size nan"),
    (lambda: train_test_split(Y, test_size=11), "from 0 to the 10 rows"),
    (lambda: train_test_split(Y, test_size=-1), "test_size -1 must be from 0"),
    (lambda: random_split(Y, [12, -2]), "must not be negative"),
    (lambda: random_split(Y, [2.5, 7.5]), "whole sizes"),
    (lambda: list(DataLoader([np.ones(2), np.ones(3)], batch_size=2)), r"\(2,\) and \(3,\)"),
])  # fmt: skip
def test_bad_arguments(make, error):
    with pytest.raises(ValueError, match=error):
        make()


def test_bad_kinds_of_argument():
    class Stream(IterableDataset):
        def __iter__(self):
            return iter(range(5))

    with pytest.raises(TypeError, match="a generator is not read by index; give a dataset"):
        DataLoader(i for i in range(3))
    with pytest.raises(TypeError, match="DataLoader: a Stream has no length"):
        len(DataLoader(Stream()))
    with pytest.raises(TypeError, match="a generator has no length"):
        len(DataLoader(Y, sampler=(i for i in range(3))))
    with pytest.raises(TypeError, match="test_size must be a number, not 'a'"):
        train_test_split(Y, test_size="a")
    with pytest.raises(IndexError, match="TensorDataset of 10 entries: index 10"):
        TensorDataset(Y)[10]
    with pytest.raises(IndexError, match="Subset: index 2 is out of range for 2 entries"):
        Subset(Y, [3, 4])[2]


# ---- MNIST's files -------------------------------------------------------------------------------


def _idx(array: np.ndarray) -> bytes:
    head = struct.pack(">HBB", 0, 8, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape)
    return head + array.astype(np.uint8).tobytes()


def _write_mnist(folder: Path) -> None:
    rng = np.random.default_rng(0)
    for part, count in (("train", 5), ("t10k", 3)):
        images = rng.integers(0, 256, (count, 28, 28))
        (folder / f"{part}-images-idx3-ubyte").write_bytes(_idx(images))
        labels = _idx(rng.integers(0, 10, count))
        (folder / f"{part}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(labels))


def test_mnist_is_read(tmp_path: Path):
    _write_mnist(tmp_path)
    images, labels, test_images, test_labels = read_mnist(tmp_path)
    assert (images.shape, labels.shape) == ((5, 28, 28), (5,))
    assert (test_images.shape, test_labels.shape) == ((3, 28, 28), (3,))
    assert images.dtype == labels.dtype == np.uint8
    rng = np.random.default_rng(0)
    assert np.array_equal(images, rng.integers(0, 256, (5, 28, 28)))


def test_broken_mnist_says_what_was_expected(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match="no such folder; expected"):
        read_mnist(tmp_path / "nowhere")
    _write_mnist(tmp_path)
    path = tmp_path / "train-images-idx3-ubyte"
    whole = path.read_bytes()
    for data, text in (
        (b"", "0 bytes; expected an IDX header"),
        (whole[:8], "expected a header of 16"),
        (whole[:-1], "expected 3936"),
        (whole + b"x", "expected 3936"),
        (b"\x01\x02\x03\x04" + whole[4:], "starts with 01020304; expected the magic number"),
        (_idx(np.zeros(5)), "1 axes; expected 3"),
        (_idx(np.zeros((4, 28, 28))), "5 labels; expected 4"),
        (b"\x1f\x8b broken", "cannot be read"),
    ):
        path.write_bytes(data)
        with pytest.raises(DataError, match=text) as caught:
            read_mnist(tmp_path)
        assert "\n" not in str(caught.value)
    path.unlink()
    with pytest.raises(FileNotFoundError, match="expected MNIST's train-images"):
        read_mnist(tmp_path)


def test_idx_of_other_types(tmp_path: Path):
    values = np.array([[1.5, -2.0]], ">f4")
    head = struct.pack(">HBB", 0, 0x0D, 2) + struct.pack(">2I", 1, 2)
    (tmp_path / "f").write_bytes(head + values.tobytes())
    found = read_idx(tmp_path / "f")
    assert found.dtype == np.float32
    assert found.tolist() == [[1.5, -2.0]]


def test_a_dataset_is_not_split_as_an_array():
    dataset = tg.data.TensorDataset(tg.zeros(4, 2), tg.zeros(4))
    with pytest.raises(TypeError, match="random_split"):
        tg.data.train_test_split(dataset)
