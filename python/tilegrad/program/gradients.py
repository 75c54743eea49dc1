"""Gradients that replays hand out."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from tilegrad import _native
from tilegrad.autograd.tensor import Tensor
from tilegrad.program.recorder import GradientCall, NativeCall, Recorder, arrays_in, bounds


class Handover:
    """Gradients that arrive one after the other, each in a tensor that leaf and program share."""

    def __init__(self, steps: list[GradientCall]) -> None:
        self.steps = steps
        self.entries: tuple[tuple[Tensor, Tensor | None, Any], ...] = ()
        self.refresh()

    def refresh(self) -> None:
        """Take over the tensors that the steps share now."""
        self.entries = tuple((step.leaf, step.shared, step.array) for step in self.steps)

    def __call__(self) -> None:
        _native.hand_gradients(self.entries)


class Gradient:
    """The gradient of one leaf, given to it without a copy.

    The program writes the gradient into memory of its own, and the leaf's ``grad`` shares it.
    Should somebody still hold the gradient, or its array, when the next replay begins, that replay
    writes elsewhere: the native calls are pointed at new memory. Where other steps than native ones
    use the memory, the leaf gets a copy each time.
    """

    def __init__(self, recorder: Recorder, step: GradientCall, result: Any) -> None:
        self.native = recorder.native
        self.step = step
        #: (call, array of the call, offset) of every use of the memory.
        self.places: list[tuple[int, int, int]] = []
        number = recorder.memory.number(step.array)
        if self._find_places(recorder, number, result):
            recorder.memory.roots[number] = np.empty(0)  # the step alone holds it now
            step.shared = Tensor(step.array)

    def _find_places(self, recorder: Recorder, number: int, result: Any) -> bool:
        """Collect the uses; False if some of them are not native."""
        memory = recorder.memory
        root = memory.roots[number]
        if root is not self.step.array or any(
            memory.number(a) == number for a in arrays_in(result)
        ):
            return False
        base = bounds(root)[0]
        for step in recorder.steps:
            if isinstance(step, NativeCall):
                self.places += [
                    (step.index, i, address - base)
                    for i, address, low, high, _ in step.arrays
                    if memory.at(low, high) == number
                ]
            elif isinstance(step, GradientCall):
                if step is not self.step and memory.number(step.array) == number:
                    return False
            elif any(
                memory.number(a) == number
                for a in arrays_in((step.args, step.kwargs, step.results))
            ):
                return False
        return True

    def make_room(self) -> None:
        """Before a replay: write elsewhere if the last gradient is still held by somebody."""
        step = self.step
        shared = step.shared
        if shared is None:
            return
        # Ours: step.shared and `shared`; the call's argument; perhaps the leaf's.
        others = sys.getrefcount(shared) - 3 - (step.leaf.grad is shared)
        # Ours: step.array and the tensor's; the call's argument.
        if others == 0 and sys.getrefcount(step.array) == 3:
            return
        step.array = np.empty_like(step.array)
        step.shared = Tensor(step.array)
        base = bounds(step.array)[0]
        for call, array, offset in self.places:
            self.native.relocate(call, array, base + offset)
