"""One block of memory for all intermediate arrays: those that never live together share places.

An intermediate array lives from the first native call that touches it to the last. Arrays that
anything but native calls sees (inputs, results, gradients, arguments of Python calls, constants)
stay where they are. The others are placed largest first, each at the lowest offset that is free
for its whole life (the greedy-by-size order of Pisarchyk and Lee, arXiv 2001.03288). The calls of a
chain run block by block, as one step: what lives at some time in one lives through all of it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from tilegrad import _native
from tilegrad.autograd.tensor import Array
from tilegrad.program.chains import Chain, choose_locals
from tilegrad.program.recorder import GradientCall, NativeCall, Recorder, arrays_in, bounds

#: Offsets are multiples of a cache line, which is also the widest vector.
ALIGNMENT = 64

#: (call, array of the call, byte offset) of a use of a memory block.
Use = tuple[int, int, int]


class Life(NamedTuple):
    """A block: its number and size, the calls it lives through, where it is used."""

    number: int
    size: int
    first: int
    last: int
    uses: list[Use]

    def within(self, chain: Chain) -> bool:
        """Whether the calls of ``chain`` alone touch it."""
        return chain.first <= self.first and self.last < chain.last


def seen_elsewhere(recorder: Recorder, result: Any) -> set[int]:
    """Blocks that something besides native calls refers to."""
    memory = recorder.memory
    seen = set(recorder.pinned)
    seen.update(memory.number(array) for array in arrays_in(result))
    for step in recorder.steps:
        if isinstance(step, GradientCall):
            seen.add(memory.number(step.array))
        elif not isinstance(step, NativeCall):
            touched = (step.args, step.kwargs, step.results)
            seen.update(memory.number(array) for array in arrays_in(touched))
    return seen


def lives(recorder: Recorder, result: Any) -> list[Life]:
    """The life of every block that native calls alone write and read."""
    memory = recorder.memory
    candidates = recorder.produced - seen_elsewhere(recorder, result)
    found: dict[int, Life] = {}
    for step in recorder.steps:
        if not isinstance(step, NativeCall):
            continue
        for i, address, low, high, _ in step.arrays:
            number = memory.at(low, high)
            if number is None or number not in candidates:
                continue
            start, end = bounds(memory.roots[number])
            use = (step.index, i, address - start)
            life = found.get(number)
            if life is None:
                found[number] = Life(number, end - start, step.index, step.index, [use])
            else:
                found[number] = life._replace(last=step.index, uses=[*life.uses, use])
    return list(found.values())


def widened(life: Life, chains: list[Chain]) -> Life:
    """``life`` through the whole of every chain it touches."""
    for chain in chains:
        if life.first < chain.last and chain.first <= life.last:
            life = life._replace(
                first=min(life.first, chain.first), last=max(life.last, chain.last - 1)
            )
    return life


def place(blocks: list[Life]) -> tuple[dict[int, int], int]:
    """An offset for each block, and the size of the arena.

    >>> a, b, c = (Life(k, 64, k, k + 1, []) for k in range(3))
    >>> place([a, b, c])
    ({0: 0, 1: 64, 2: 0}, 128)
    """
    placed: list[tuple[int, Life]] = []
    offsets: dict[int, int] = {}
    total = 0
    for life in sorted(blocks, key=lambda life: (-life.size, life.first)):
        rivals = sorted(
            (offset, other.size)
            for offset, other in placed
            if other.first <= life.last and life.first <= other.last
        )
        offset = 0
        for start, size in rivals:
            if offset + life.size <= start:
                break
            offset = max(offset, _aligned(start + size))
        placed.append((offset, life))
        offsets[life.number] = offset
        total = max(total, offset + life.size)
    return offsets, total


def _aligned(offset: int) -> int:
    return -(-offset // ALIGNMENT) * ALIGNMENT


def move_into_arena(recorder: Recorder, result: Any, chains: list[Chain]) -> Array:
    """Point the native calls of ``recorder`` at one block of memory, which the caller keeps."""
    blocks = lives(recorder, result)
    slots: dict[int, tuple[Chain, int]] = {}
    for chain in chains:
        own = choose_locals(chain, [life for life in blocks if life.within(chain)])
        slots.update({number: (chain, slot) for number, slot in own.items()})
        chain.kept = len(own)
    offsets, total = place([widened(b, chains) for b in blocks if b.number not in slots])
    # behind the arrays one address for each slot: it stands for the buffer, nothing lies there
    arena = np.zeros(total + ALIGNMENT * (1 + _native.MAX_CHAIN_LOCALS), np.uint8)
    base = _aligned(bounds(arena)[0])
    stand_ins = [base + _aligned(total) + slot for slot in range(_native.MAX_CHAIN_LOCALS)]
    for chain, slot in slots.values():
        chain.locals = stand_ins[: max(slot + 1, len(chain.locals))]
    for life in blocks:
        start = base + offsets[life.number] if life.number in offsets else None
        for call, array, offset in life.uses:
            address = start + offset if start is not None else stand_ins[slots[life.number][1]]
            recorder.native.relocate(call, array, address)
        recorder.memory.roots[life.number] = np.empty(0)
    return arena
