"""Elementwise kernels that run as one pass over cache-sized blocks, and what never leaves a block.

Neighbouring elementwise calls on equally many elements need not finish one before the next begins:
the native replay runs all of them on one block, then on the next one (cpp/bindings/chains.cpp). An
array that only such neighbours touch is then needed for a block at a time: it gets a slot in a
buffer instead of memory.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from tilegrad import _native

if TYPE_CHECKING:
    from tilegrad.program.arena import Life
    from tilegrad.program.recorder import NativeCall


class Chain:
    """Native calls ``first`` ... ``last - 1``, each on operands of ``size`` bytes."""

    def __init__(self, first: int, last: int, size: int) -> None:
        self.first = first
        self.last = last
        self.size = size
        #: Addresses that stand for block buffers, by slot.
        self.locals: list[int] = []
        #: How many arrays live in those alone.
        self.kept = 0


def find_chains(recording: _native.Recording, calls: Iterable[NativeCall]) -> list[Chain]:
    """The chains among ``calls``, which follow each other without anything in between."""
    indices = [call.index for call in calls]
    if not indices:
        return []
    return [Chain(*found) for found in recording.chains(indices[0], indices[-1] + 1)]


def choose_locals(chain: Chain, lives: Iterable[Life]) -> dict[int, int]:
    """Slots of block buffers, by number of the block, for what nobody needs as a whole.

    ``lives`` are those of arrays that the calls of ``chain`` alone touch. Arrays of one block or
    less gain nothing.
    """
    if chain.size <= _native.CHAIN_BLOCK_BYTES:
        return {}
    slots: dict[int, int] = {}
    busy_until = [-1] * _native.MAX_CHAIN_LOCALS
    for life in sorted(lives, key=lambda life: life.first):
        if life.size != chain.size or any(offset for _, _, offset in life.uses):
            continue
        free = next((slot for slot, last in enumerate(busy_until) if last < life.first), None)
        if free is not None:
            busy_until[free] = life.last
            slots[life.number] = free
    return slots
