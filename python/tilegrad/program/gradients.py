"""Where gradients that replays hand out lie, and who else uses that memory."""

from __future__ import annotations

from typing import Any

from tilegrad.program.arena import Use
from tilegrad.program.recorder import GradientCall, NativeCall, Recorder, arrays_in, bounds


def native_uses(recorder: Recorder, gradient: GradientCall, result: Any) -> list[Use] | None:
    """Every use of the memory of ``gradient``, None if not all of them are native calls.

    A gradient that native calls alone write and read is given to its leaf without a copy: should
    somebody still hold it when the next replay begins, those calls are pointed at new memory.
    """
    memory = recorder.memory
    number = memory.number(gradient.array)
    root = memory.roots[number]
    if root is not gradient.array or not root.flags.owndata:
        return None
    if any(memory.number(array) == number for array in arrays_in(result)):
        return None
    base = bounds(root)[0]
    uses: list[Use] = []
    for step in recorder.steps:
        if isinstance(step, NativeCall):
            uses += [
                (step.index, i, address - base)
                for i, address, low, high, _ in step.arrays
                if memory.at(low, high) == number
            ]
        elif isinstance(step, GradientCall):
            if step is not gradient and memory.number(step.array) == number:
                return None
        elif any(
            memory.number(array) == number
            for array in arrays_in((step.args, step.kwargs, step.results))
        ):
            return None
    return uses
