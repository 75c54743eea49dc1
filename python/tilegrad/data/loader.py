"""Batches from datasets."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from tilegrad.autograd.tensor import Tensor
from tilegrad.data.dataset import IterableDataset, Subset, TensorDataset
from tilegrad.functions.random import stream


def default_collate(batch: Any) -> Any:
    """A batch from a list of entries: arrays and numbers stacked, tuples and dicts entry by entry.

    >>> default_collate([(1, 2.0), (3, 4.0)])[0].numpy()
    array([1, 3])
    """
    first = batch[0]
    if isinstance(first, (Tensor, np.ndarray, np.generic)):
        return Tensor(_stack([np.asarray(entry) for entry in batch]))
    if isinstance(first, float):
        return Tensor(np.array(batch, np.float64))
    if isinstance(first, (bool, int)):
        return Tensor(np.array(batch))
    if isinstance(first, (str, bytes)):
        return list(batch)
    if isinstance(first, Mapping):
        return {key: default_collate([entry[key] for entry in batch]) for key in first}
    if isinstance(first, tuple) and hasattr(first, "_fields"):
        return type(first)(*(default_collate(list(part)) for part in zip(*batch, strict=True)))
    if isinstance(first, (tuple, list)):
        if any(len(entry) != len(first) for entry in batch):
            raise RuntimeError("DataLoader: entries of a batch have different lengths")
        return [default_collate(list(part)) for part in zip(*batch, strict=True)]
    raise TypeError(
        f"DataLoader: cannot make a batch of {type(first).__name__}; pass collate_fn"
    )


def _stack(entries: list[np.ndarray[Any, Any]]) -> np.ndarray[Any, Any]:
    odd = next((entry for entry in entries if entry.shape != entries[0].shape), None)
    if odd is not None:
        raise ValueError(
            f"DataLoader: entries of shapes {entries[0].shape} and {odd.shape} do not make one "
            "batch; pad them, or pass collate_fn"
        )
    return np.stack(entries)


class DataLoader:
    """Batches of a dataset, in order or shuffled.

    Args:
        dataset: anything with ``__getitem__`` and ``__len__``, or an iterable. Arrays and their
            subsets are read a whole batch at a time.
        batch_size: entries per batch; None gives single entries.
        shuffle: a new order every pass.
        sampler: gives the order instead.
        batch_sampler: gives lists of indices instead.
        num_workers: accepted; batches are made in the calling thread.
        collate_fn: makes a batch of a list of entries.
        drop_last: leave an incomplete last batch out.
        generator: where orders come from; the default one if None.
        pin_memory, timeout, worker_init_fn, multiprocessing_context, prefetch_factor,
        persistent_workers: accepted for torch's sake.

    >>> import numpy as np
    >>> data = TensorDataset(np.arange(5))
    >>> [batch[0].numpy().tolist() for batch in DataLoader(data, batch_size=2)]
    [[0, 1], [2, 3], [4]]
    """

    def __init__(
        self, dataset: Any, batch_size: int | None = 1, shuffle: bool | None = None,
        sampler: Iterable[int] | None = None, batch_sampler: Iterable[list[int]] | None = None,
        num_workers: int = 0, collate_fn: Callable[[Any], Any] | None = None,
        pin_memory: bool = False, drop_last: bool = False, timeout: float = 0,
        worker_init_fn: Any = None, multiprocessing_context: Any = None, generator: Any = None, *,
        prefetch_factor: int | None = None, persistent_workers: bool = False,
    ) -> None:  # fmt: skip
        if batch_size is not None and (
            isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1
        ):
            raise ValueError(f"DataLoader: batch_size must be a positive integer, got {batch_size}")
        if sampler is not None and shuffle:
            raise ValueError("DataLoader: sampler and shuffle exclude each other")
        if batch_sampler is not None and (batch_size != 1 or shuffle or sampler or drop_last):
            raise ValueError(
                "DataLoader: batch_sampler excludes batch_size, shuffle, sampler and drop_last"
            )
        if batch_size is None and drop_last:
            raise ValueError("DataLoader: batch_size=None excludes drop_last")
        if isinstance(dataset, IterableDataset) and (shuffle or sampler is not None):
            raise ValueError("DataLoader: an iterable dataset cannot be shuffled or sampled")
        if not isinstance(dataset, IterableDataset) and not hasattr(dataset, "__getitem__"):
            raise TypeError(
                f"DataLoader: a {type(dataset).__name__} is not read by index; give a dataset with "
                "__getitem__ and __len__, an IterableDataset, or a list"
            )
        self.dataset = dataset
        self.batch_size = batch_size if batch_sampler is None else None
        self.shuffle = bool(shuffle)
        self.sampler = sampler
        self.batch_sampler = batch_sampler
        self.num_workers = num_workers
        self.collate_fn = collate_fn
        self.drop_last = drop_last
        self.generator = generator

    def _count(self, counted: Any) -> int:
        try:
            return len(counted)
        except TypeError:
            raise TypeError(f"DataLoader: a {type(counted).__name__} has no length") from None

    def _order(self) -> Any:
        if self.sampler is not None:
            return list(self.sampler)
        count = self._count(self.dataset)
        return stream(self.generator).permutation(count) if self.shuffle else np.arange(count)

    def _batches(self) -> Iterator[Any]:
        """Lists of indices."""
        if self.batch_sampler is not None:
            yield from self.batch_sampler
            return
        order, size = self._order(), self.batch_size
        assert size is not None
        stop = len(order) - len(order) % size if self.drop_last else len(order)
        for start in range(0, stop, size):
            yield order[start : start + size]

    def __iter__(self) -> Iterator[Any]:
        if isinstance(self.dataset, IterableDataset):
            yield from self._from_iterable()
            return
        if self.batch_size is None and self.batch_sampler is None:
            for i in self._order():
                entry = self.dataset[int(i)]
                yield entry if self.collate_fn is None else self.collate_fn(entry)
            return
        whole = self.collate_fn is None and _reads_rows(self.dataset)
        collate = self.collate_fn or default_collate
        for indices in self._batches():
            if whole:
                yield list(self.dataset[np.asarray(indices)])
            else:
                yield collate([self.dataset[int(i)] for i in indices])

    def _from_iterable(self) -> Iterator[Any]:
        if self.batch_size is None:
            yield from self.dataset
            return
        collate = self.collate_fn or default_collate
        waiting: list[Any] = []
        for entry in self.dataset:
            waiting.append(entry)
            if len(waiting) == self.batch_size:
                yield collate(waiting)
                waiting = []
        if waiting and not self.drop_last:
            yield collate(waiting)

    def __len__(self) -> int:
        if self.batch_sampler is not None:
            return self._count(self.batch_sampler)
        count = self._count(self.dataset if self.sampler is None else self.sampler)
        if self.batch_size is None:
            return count
        return count // self.batch_size if self.drop_last else -(-count // self.batch_size)


def _reads_rows(dataset: Any) -> bool:
    """Whether a batch can be read with one array of indices."""
    while type(dataset) is Subset:
        dataset = dataset.dataset
    return type(dataset) is TensorDataset
