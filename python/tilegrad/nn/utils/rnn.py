"""Sequences of several lengths: side by side with padding, or packed without it.

A packed batch holds the rows of all sequences step by step: those of the first step, the longest
sequence's first, then those of the second step of the sequences that have one, and so on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from tilegrad.autograd.tensor import Tensor
from tilegrad.ops.indexing import replace
from tilegrad.ops.shape import concatenate, flip, getitem, permute

Array = np.ndarray[Any, Any]


def _integers(name: str, values: Any) -> Array:
    found = np.asarray(values._array if isinstance(values, Tensor) else values)
    if found.ndim != 1 or (found.size and found.dtype.kind not in "iu"):
        raise ValueError(f"{name} must be a row of integers, not {found.dtype} {found.shape}")
    return found.astype(np.int64)


def _places(batch_sizes: Array) -> tuple[Array, Array]:
    """Step and sequence of every row of a packed batch."""
    steps = np.repeat(np.arange(batch_sizes.size), batch_sizes)
    starts = np.cumsum(batch_sizes) - batch_sizes
    return steps, np.arange(steps.size) - starts[steps]


def _picked(x: Any, indices: Any) -> Any:
    return x if indices is None else getitem(x, (slice(None), _integers("indices", indices)))


class PackedSequence(NamedTuple):
    """A packed batch, as recurrent layers take and return it.

    Attributes:
        data: (rows, *) all rows, step by step.
        batch_sizes: how many sequences have each step, int64.
        sorted_indices: the sequences from the longest to the shortest; None where they were given
            so.
        unsorted_indices: where each of them went.
    """

    data: Any
    batch_sizes: Any
    sorted_indices: Any = None
    unsorted_indices: Any = None

    def lengths(self) -> Array:
        """The lengths of the sequences, the longest first."""
        sizes = _integers("batch_sizes", self.batch_sizes)
        return np.bincount(_places(sizes)[1], minlength=int(sizes.max(initial=0)))

    def rows_by_step(self, padding: float = 0.0) -> Any:
        """(T, N, *), the longest sequence first, with padding behind the others."""
        sizes = _integers("batch_sizes", self.batch_sizes)
        shape = (sizes.size, int(sizes.max(initial=0)), *self.data.shape[1:])
        return replace(np.full(shape, padding, self.data.dtype), self.data, _places(sizes))

    def by_length(self, x: Any) -> Any:
        """(*, N, *) on axis 1 with the longest sequence first."""
        return _picked(x, self.sorted_indices)

    def as_given(self, x: Any) -> Any:
        """The inverse of :meth:`by_length`."""
        return _picked(x, self.unsorted_indices)

    def like(self, rows: Any) -> PackedSequence:
        """The same sequences with other rows, given as (T, N, *)."""
        sizes = _integers("batch_sizes", self.batch_sizes)
        return self._replace(data=getitem(rows, _places(sizes)))


class Order:
    """In which order the steps of a batch are walked backward, and where its sequences end."""

    def __init__(self, lengths: Array | None = None) -> None:
        self.lengths = lengths

    def turned(self, x: Any) -> Any:
        """(T, N, *) with each sequence from its end to its start."""
        if self.lengths is None:
            return flip(x, (0,))
        steps = np.arange(x.shape[0])[:, None]
        back = np.where(steps < self.lengths, self.lengths - 1 - steps, steps)
        return getitem(x, (back, np.arange(len(self.lengths))))

    def last(self, y: Any, start: Any) -> Any:
        """What (T, N, *) holds where each sequence ends; ``start`` where there is no step."""
        if not y.shape[0]:
            return start
        if self.lengths is None:
            return getitem(y, -1)
        return getitem(y, (self.lengths - 1, np.arange(len(self.lengths))))


def pack_padded_sequence(
    input: Any, lengths: Any, batch_first: bool = False, enforce_sorted: bool = True
) -> PackedSequence:
    """Pack sequences that stand side by side with padding.

    Args:
        input: (T, N, *), or (N, T, *) with ``batch_first``.
        lengths: (N,) integers from 1 to T.
        enforce_sorted: expect the longest first; else they are sorted, and sorted back later.

    Raises:
        ValueError: lengths do not fit the input, or are not sorted though they should be.

    >>> import tilegrad as tg
    >>> from tilegrad.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence
    >>> packed = pack_padded_sequence(tg.arange(6).reshape(3, 2), [3, 1])
    >>> packed.data.tolist(), packed.batch_sizes.tolist()
    ([0, 1, 2, 4], [2, 1, 1])
    >>> pad_packed_sequence(packed)[0].tolist()
    [[0, 1], [2, 0], [4, 0]]
    """
    sizes = _integers("pack_padded_sequence: lengths", lengths)
    rows = _exchanged(input) if batch_first else input
    if rows.ndim < 2 or sizes.size != rows.shape[1]:
        raise ValueError(
            f"pack_padded_sequence: {sizes.size} lengths for an input of shape {input.shape}: "
            "expected one for each sequence of the batch"
        )
    if sizes.size and not 1 <= sizes.min() <= sizes.max() <= rows.shape[0]:
        raise ValueError(
            f"pack_padded_sequence: lengths from {sizes.min()} to {sizes.max()} must be within "
            f"1..{rows.shape[0]}, the steps of the input"
        )
    order = np.argsort(-sizes, kind="stable")
    if enforce_sorted and (np.diff(sizes) > 0).any():
        raise ValueError(
            "pack_padded_sequence: lengths must fall from the first to the last sequence; give "
            "enforce_sorted=False to have them sorted"
        )
    batch_sizes = np.bincount(sizes - 1, minlength=1)[::-1].cumsum()[::-1]
    steps, members = _places(batch_sizes)
    data = getitem(rows, (steps, order[members]))
    if enforce_sorted:
        return PackedSequence(data, Tensor(batch_sizes.astype(np.int64)))
    back = Tensor(np.argsort(order))
    return PackedSequence(data, Tensor(batch_sizes.astype(np.int64)), Tensor(order), back)


def pad_packed_sequence(
    sequence: PackedSequence, batch_first: bool = False, padding_value: float = 0.0,
    total_length: int | None = None,
) -> tuple[Any, Tensor]:  # fmt: skip
    """The inverse of :func:`pack_padded_sequence`: the padded batch, and its lengths.

    Raises:
        ValueError: ``total_length`` is less than the longest sequence.
    """
    rows, lengths = sequence.rows_by_step(padding_value), sequence.lengths()
    if total_length is not None:
        missing = total_length - rows.shape[0]
        if missing < 0:
            raise ValueError(
                f"pad_packed_sequence: total_length {total_length} is less than the longest "
                f"sequence, {rows.shape[0]}"
            )
        rest = np.full((missing, *rows.shape[1:]), padding_value, rows.dtype)
        rows = concatenate(rows, rest, axis=0)
    rows, lengths = sequence.as_given(rows), sequence.as_given(lengths[None])[0]
    return (_exchanged(rows) if batch_first else rows), Tensor(lengths)


def pad_sequence(
    sequences: Sequence[Any], batch_first: bool = False, padding_value: float = 0.0,
    padding_side: str = "right",
) -> Any:  # fmt: skip
    """Sequences (T_i, *) side by side, (T, N, *), padded to the longest.

    Raises:
        ValueError: there is no sequence, or the side is neither "right" nor "left".
    """
    if not sequences:
        raise ValueError("pad_sequence: expected at least one sequence")
    if padding_side not in ("right", "left"):
        raise ValueError(
            f"pad_sequence: padding_side must be 'right' or 'left', not {padding_side!r}"
        )
    sizes = np.array([len(s) for s in sequences])
    members = np.repeat(np.arange(sizes.size), sizes)
    steps = np.concatenate([np.arange(size) for size in sizes])
    if padding_side == "left":
        steps += (sizes.max() - sizes)[members]
    first = sequences[0]
    shape = (int(sizes.max()), sizes.size, *first.shape[1:])
    rows = concatenate(*sequences, axis=0)
    padded = replace(np.full(shape, padding_value, rows.dtype), rows, (steps, members))
    return _exchanged(padded) if batch_first else padded


def unpad_sequence(padded: Any, lengths: Any, batch_first: bool = False) -> list[Any]:
    """The sequences of a padded batch."""
    rows = padded if batch_first else _exchanged(padded)
    sizes = _integers("unpad_sequence: lengths", lengths)
    return [getitem(rows, (i, slice(0, int(size)))) for i, size in enumerate(sizes)]


def pack_sequence(sequences: Sequence[Any], enforce_sorted: bool = True) -> PackedSequence:
    """Pack sequences (T_i, *)."""
    lengths = [len(s) for s in sequences]
    return pack_padded_sequence(pad_sequence(sequences), lengths, enforce_sorted=enforce_sorted)


def _exchanged(x: Any) -> Any:
    """The first two axes exchanged."""
    return permute(x, (1, 0, *range(2, x.ndim)))


__all__ = [
    "PackedSequence", "pack_padded_sequence", "pack_sequence", "pad_packed_sequence",
    "pad_sequence", "unpad_sequence",
]  # fmt: skip
