"""Datasets: arrays read by index, parts of them, and splits."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from tilegrad.autograd.tensor import Tensor
from tilegrad.functions.random import stream


class Dataset:
    """Anything with ``__getitem__`` and ``__len__``; a base for those who want one."""

    def __getitem__(self, index: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} has no __getitem__")

    def __add__(self, other: Any) -> ConcatDataset:
        return ConcatDataset([self, other])


class IterableDataset(Dataset):
    """A dataset that is read in one pass."""

    def __iter__(self) -> Iterator[Any]:
        raise NotImplementedError(f"{type(self).__name__} has no __iter__")


class TensorDataset(Dataset):
    """Arrays or tensors with one first axis: entry i holds row i of each.

    Raises:
        ValueError: the first axes differ.

    >>> import numpy as np
    >>> data = TensorDataset(np.zeros((5, 2)), np.arange(5))
    >>> data[3][1].item(), len(data)
    (3, 5)
    """

    def __init__(self, *tensors: Any) -> None:
        if not tensors:
            raise ValueError("TensorDataset: give at least one array")
        self.tensors = tuple(
            t if isinstance(t, Tensor) else Tensor(np.asarray(t)) for t in tensors
        )
        sizes = {t.shape[0] if t.ndim else None for t in self.tensors}
        if len(sizes) != 1 or None in sizes:
            shapes = ", ".join(str(t.shape) for t in self.tensors)
            raise ValueError(f"TensorDataset: arrays {shapes} must agree in their first axis")

    def __getitem__(self, index: Any) -> tuple[Tensor, ...]:
        """Rows by integer, slice or array of integers."""
        if isinstance(index, Tensor):
            index = index._array
        try:
            return tuple(Tensor(np.asarray(t._array[index])) for t in self.tensors)
        except IndexError as error:
            raise IndexError(f"TensorDataset of {len(self)} entries: {error}") from None

    def __len__(self) -> int:
        return self.tensors[0].shape[0]


#: The same under the name that says what it holds.
ArrayDataset = TensorDataset


class Subset(Dataset):
    """The entries of ``dataset`` that ``indices`` name."""

    def __init__(self, dataset: Any, indices: Sequence[int]) -> None:
        self.dataset = dataset
        self.indices = indices

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, (int, np.integer)):
            if not -len(self) <= index < len(self):
                raise IndexError(f"Subset: index {index} is out of range for {len(self)} entries")
            return self.dataset[self.indices[int(index)]]
        return self.dataset[np.asarray(self.indices)[index]]

    def __len__(self) -> int:
        return len(self.indices)


class ConcatDataset(Dataset):
    """Datasets one after the other."""

    def __init__(self, datasets: Sequence[Any]) -> None:
        self.datasets = list(datasets)
        if not self.datasets:
            raise ValueError("ConcatDataset: give at least one dataset")
        self.ends = np.cumsum([len(d) for d in self.datasets])

    def __getitem__(self, index: int) -> Any:
        at = index + len(self) if index < 0 else index
        if not 0 <= at < len(self):
            raise IndexError(f"ConcatDataset: index {index} is out of range for {len(self)}")
        which = int(np.searchsorted(self.ends, at, side="right"))
        return self.datasets[which][at - (int(self.ends[which - 1]) if which else 0)]

    def __len__(self) -> int:
        return int(self.ends[-1])


def _sizes(lengths: Sequence[float], total: int) -> list[int]:
    """Whole sizes from whole sizes or from fractions that sum to 1."""
    if any(not isinstance(n, (int, float, np.integer, np.floating)) for n in lengths):
        raise TypeError(f"random_split: lengths {list(lengths)} must be numbers")
    if any(n < 0 for n in lengths):
        raise ValueError(f"random_split: lengths {list(lengths)} must not be negative")
    whole = math.fsum(lengths)
    if math.isclose(whole, 1) and whole <= 1:
        sizes = [math.floor(total * share) for share in lengths]
        for i in range(total - sum(sizes)):
            sizes[i % len(sizes)] += 1
        return sizes
    if whole != total or any(n != int(n) for n in lengths):
        raise ValueError(
            f"random_split: lengths {list(lengths)} sum to {whole:g}, the dataset has {total} "
            "entries; give whole sizes that sum to it, or fractions that sum to 1"
        )
    return [int(n) for n in lengths]


def random_split(dataset: Any, lengths: Sequence[float], generator: Any = None) -> list[Subset]:
    """Split at random into parts of the given sizes, or fractions of the whole.

    >>> [len(part) for part in random_split(range(10), [0.7, 0.3])]
    [7, 3]
    """
    sizes = _sizes(lengths, len(dataset))
    order = stream(generator).permutation(len(dataset)).tolist()
    parts, start = [], 0
    for size in sizes:
        parts.append(Subset(dataset, order[start : start + size]))
        start += size
    return parts


def _test_rows(test_size: Any, total: int) -> int:
    """How many of ``total`` rows are for tests."""
    if isinstance(test_size, bool) or not isinstance(
        test_size, (int, float, np.integer, np.floating)
    ):
        raise TypeError(f"train_test_split: test_size must be a number, not {test_size!r}")
    share = isinstance(test_size, (float, np.floating))
    if not 0 <= test_size <= (1 if share else total):
        kind = "a fraction from 0 to 1" if share else f"from 0 to the {total} rows there are"
        raise ValueError(f"train_test_split: test_size {test_size} must be {kind}")
    return math.ceil(test_size * total) if share else int(test_size)


def train_test_split(
    *arrays: Any, test_size: float = 0.2, shuffle: bool = True, seed: int | None = None,
    generator: Any = None,
) -> tuple[Any, ...]:  # fmt: skip
    """Arrays split along their first axis into a training and a test part.

    Args:
        arrays: arrays or tensors of one length.
        test_size: a fraction, or a whole number of rows.
        shuffle: split at random; otherwise the test rows are the last.
        seed: of the shuffling; by default it draws from ``generator``.
        generator: a :class:`tilegrad.Generator`, or None for the default one.

    Returns:
        ``train, test`` of the first array, then of the second, and so on.

    Raises:
        ValueError: the arrays differ in length, or ``test_size`` is out of range.
        TypeError: a dataset instead of arrays; :func:`random_split` divides those.

    >>> import numpy as np
    >>> train, test = train_test_split(np.arange(10), test_size=0.3, shuffle=False)
    >>> test
    array([7, 8, 9])
    """
    if not arrays:
        raise ValueError("train_test_split: give at least one array")
    if any(isinstance(a, Dataset) for a in arrays):
        raise TypeError("train_test_split: divides arrays; use random_split for a dataset")
    several = [a if isinstance(a, Tensor) else np.asarray(a) for a in arrays]
    lengths = {a.shape[0] if a.ndim else None for a in several}
    if len(lengths) != 1 or None in lengths:
        shapes = ", ".join(str(a.shape) for a in several)
        raise ValueError(f"train_test_split: arrays {shapes} must agree in their first axis")
    total = several[0].shape[0]
    count = _test_rows(test_size, total)
    order = np.arange(total)
    if shuffle:
        draw = stream(generator) if seed is None else np.random.default_rng(seed)
        order = draw.permutation(total)
    parts: list[Any] = []
    for a in several:
        for rows in (order[: total - count], order[total - count :]):
            values = a._array[rows] if isinstance(a, Tensor) else a[rows]
            parts.append(Tensor(values) if isinstance(a, Tensor) else values)
    return tuple(parts)
