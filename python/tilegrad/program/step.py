"""``tg.compile``: a step recorded at the kernel boundary and replayed natively."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial, update_wrapper
from itertools import groupby
from typing import Any, cast

import numpy as np

from tilegrad import _native
from tilegrad.autograd import recording
from tilegrad.autograd.modes import is_grad_enabled
from tilegrad.autograd.node import Output
from tilegrad.autograd.tensor import Array, Tensor
from tilegrad.program.arena import move_into_arena
from tilegrad.program.chains import find_chains
from tilegrad.program.gradients import native_uses
from tilegrad.program.guards import Guards
from tilegrad.program.recorder import GradientCall, NativeCall, PythonCall, Recorder, Step

#: Recordings of one kind of call before it is left to eager execution for good.
MAX_ATTEMPTS = 6


class Program:
    """One recorded kind of call: its steps, where inputs go in and results come out."""

    def __init__(
        self,
        recorder: Recorder,
        inputs: list[Array],
        result: Any,
        guards: Guards,
        without_grad: list[Tensor],
    ) -> None:
        self.recorder = recorder
        self.result = result
        self.guards = guards
        self.replay = _native.Replay(recorder.native, inputs, is_grad_enabled())
        recorder.release()
        self.chains = [
            chain
            for native, steps in groupby(recorder.steps, lambda step: isinstance(step, NativeCall))
            if native
            for chain in find_chains(recorder.native, cast("Iterator[NativeCall]", steps))
        ]
        self.arena = move_into_arena(recorder, result, self.chains)
        guards.hand_over(self.replay)
        for tensor, _ in recorder.captured.values():
            self.replay.capture(tensor)
        for leaf in without_grad:
            self.replay.without_grad(leaf)
        self._add_steps(recorder.steps)
        if type(result) is Tensor and recorder.memory.number(result._array) in recorder.produced:
            self.replay.returns(result, None)
        elif result is not None:
            self.replay.returns(None, lambda: _fresh(result, recorder))

    def _add_steps(self, steps: list[Step]) -> None:
        first = last = 0
        for step in steps:
            if isinstance(step, NativeCall):
                if step.index != last:
                    self._add_native(first, last)
                    first = step.index
                last = step.index + 1
                continue
            self._add_native(first, last)
            first = last
            self._add_other(step)
        self._add_native(first, last)

    def _add_native(self, first: int, last: int) -> None:
        for chain in self.chains:
            if first <= chain.first < last:
                if chain.first > first:
                    self.replay.add_native(first, chain.first)
                self.replay.add_chain(chain.first, chain.last, chain.locals)
                first = chain.last
        if last > first:
            self.replay.add_native(first, last)

    def _add_other(self, step: PythonCall) -> None:
        if isinstance(step, GradientCall) and step.fresh:
            uses = native_uses(self.recorder, step, self.result)
            if uses is not None:
                memory = self.recorder.memory
                memory.roots[memory.number(step.array)] = np.empty(0)  # its leaf's alone now
                shared = Tensor(step.array)
                step.array = np.empty(0)
                self.replay.add_gradient(step.leaf, shared, uses)
                return
        if type(step) is PythonCall and not step.results:
            self.replay.add_call(partial(step.function, *step.args, **step.kwargs))
        else:
            self.replay.add_call(step)


def _fresh(value: Any, recorder: Recorder) -> Any:
    """The result of a replay: tensors of their own for what the steps wrote."""
    if isinstance(value, Tensor):
        if recorder.memory.number(value._array) not in recorder.produced:
            return value
        return Tensor(np.array(value._array))
    if isinstance(value, (tuple, list)):
        items = [_fresh(item, recorder) for item in value]
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    if isinstance(value, dict):
        return {key: _fresh(item, recorder) for key, item in value.items()}
    return value


def _flatten(value: Any, arrays: list[Tensor], key: list[Any]) -> Any:
    """Collect the tensors in ``value``; what the others are becomes part of the key."""
    if isinstance(value, np.ndarray):
        value = Tensor(value)
    if isinstance(value, Tensor):
        arrays.append(value)
        key.append((value._array.shape, value._array.strides, value._array.dtype.str))
        return None
    if isinstance(value, (tuple, list)):
        key.append((type(value), len(value)))
        for item in value:
            _flatten(item, arrays, key)
    elif isinstance(value, dict):
        key.append((dict, *value))
        for item in value.values():
            _flatten(item, arrays, key)
    elif isinstance(value, (int, float, bool, str)) or value is None:
        key.append((type(value), value))
    else:
        key.append(id(value))
    return None


def _rebuild(value: Any, tensors: list[Tensor]) -> Any:
    """``value`` with its tensors and arrays replaced, in order."""
    if isinstance(value, np.ndarray):
        return tensors.pop(0)._array
    if isinstance(value, Tensor):
        return tensors.pop(0)
    if isinstance(value, (tuple, list)):
        items = [_rebuild(item, tensors) for item in value]
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    if isinstance(value, dict):
        return {key: _rebuild(item, tensors) for key, item in value.items()}
    return value


class _Entry:
    """What is known of one kind of call."""

    def __init__(self) -> None:
        self.previous: tuple[Any, Recorder] | None = None
        #: Leaves that got gradients in the previous recording.
        self.leaves: list[Tensor] = []
        self.program: Program | None = None
        self.attempts = 0
        self.reason: str | None = None
        self._past_replays = 0

    @property
    def replays(self) -> int:
        """How many calls were replayed."""
        return self._past_replays + (self.program.replay.count if self.program else 0)

    def drop_program(self) -> None:
        """Forget what was recorded: it no longer holds."""
        assert self.program is not None
        self._past_replays += self.program.replay.count
        if self._past_replays > MAX_ATTEMPTS:  # it was worth recording
            self.attempts = 0
        self.program, self.previous = None, None


class CompiledStep:
    """A function whose calls are recorded and replayed; see :func:`compile`."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self._entries: dict[Any, _Entry] = {}
        #: The replay that served last, for calls whose arguments are all tensors.
        self._last: _native.Replay | None = None
        update_wrapper(self, function, updated=())

    @property
    def replays(self) -> int:
        """How many calls were replayed."""
        return sum(entry.replays for entry in self._entries.values())

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        replay = self._last
        if replay is not None and not kwargs:
            result = replay.attempt(args)
            if result is not NotImplemented:
                return result
        return self._find(args, kwargs)

    def _find(self, args: Any, kwargs: Any) -> Any:
        """The call by its key: replayed, recorded or eager."""
        tensors: list[Tensor] = []
        parts: list[Any] = [is_grad_enabled()]
        _flatten((args, kwargs), tensors, parts)
        if recording.current() is not None or _native.is_watched():
            return self.function(*args, **kwargs)
        entry = self._entries.setdefault(tuple(parts), _Entry())
        program = entry.program
        if program is not None:
            result = program.replay.attempt(tuple(tensors))
            if result is not NotImplemented:
                plain = len(tensors) == len(args) and not kwargs
                self._last = program.replay if plain else None
                return result
            if program.replay.holds():  # another thread replays it now
                return self.function(*args, **kwargs)
            entry.drop_program()
            self._last = None
        if entry.attempts >= MAX_ATTEMPTS:
            return self.function(*args, **kwargs)
        return self._record(entry, tensors, args, kwargs)

    def _record(self, entry: _Entry, tensors: list[Tensor], args: Any, kwargs: Any) -> Any:
        """Run the step eagerly under a recorder; trust what two runs recorded alike."""
        entry.attempts += 1
        reason = _unfit(tensors)
        if reason is not None:
            entry.reason = reason
            return self.function(*args, **kwargs)
        buffers = [np.array(tensor._array) for tensor in tensors]
        guards = Guards(self.function)
        recorder = Recorder(buffers, guards.tensors)
        args, kwargs = _rebuild((args, kwargs), [Tensor(buffer) for buffer in buffers])
        without_grad = [leaf for leaf in entry.leaves if leaf.grad is None]
        with recorder.watch():
            result = self.function(*args, **kwargs)
        recorder.check_contents()
        entry.reason = recorder.reason or _escaping_graph(result)
        if entry.reason is None and (name := guards.changed()) is not None:
            entry.reason = f"the step changes {name!r}, which a replay would not"
        if entry.reason is not None:
            entry.previous = None
            return result
        signature = recorder.signature()
        if entry.previous is not None and entry.previous[0] == signature:
            fresh = _fresh(result, recorder)
            entry.program = Program(recorder, buffers, result, guards, without_grad)
            entry.previous = None
            return fresh
        entry.previous = (signature, recorder)
        entry.leaves = recorder.leaves()
        return result

    def report(self) -> str:
        """What was recorded: kernels by name and count, memory, and why not, where it was not."""
        lines = [f"{getattr(self.function, '__qualname__', 'step')}: {self.replays} replays"]
        for entry in self._entries.values():
            program = entry.program
            if program is None:
                lines.append(f"  eager: {entry.reason or 'not yet recorded twice alike'}")
                continue
            lines.extend(_describe(program))
        return "\n".join(lines)


def _describe(program: Program) -> list[str]:
    steps = program.recorder.steps
    native = [step.name for step in steps if isinstance(step, NativeCall)]
    python = [step.name for step in steps if isinstance(step, PythonCall)]
    roots = program.recorder.memory.roots
    produced = sum(roots[number].nbytes for number in program.recorder.produced)
    lines = [
        f"  program: {len(native)} native kernel calls, {len(python)} Python calls, "
        f"{program.arena.nbytes} bytes of arena, {produced} of other memory"
    ]
    for title, names in (("native", native), ("Python", python)):
        counts = {name: names.count(name) for name in dict.fromkeys(names)}
        if counts:
            lines.append(f"    {title}: " + ", ".join(f"{n} x {k}" for k, n in counts.items()))
    called = {step.index: step.name for step in steps if isinstance(step, NativeCall)}
    for chain in program.chains:
        path = " > ".join(called[index] for index in range(chain.first, chain.last))
        kept = f"; {chain.kept} intermediates stay in cache" if chain.kept else ""
        lines.append(f"    fused: {path}, {chain.size} bytes each{kept}")
    return lines


def _unfit(tensors: list[Tensor]) -> str | None:
    for tensor in tensors:
        if tensor._requires_grad or tensor._tangents is not None:
            return "an argument requires gradients or carries tangents"
        flags = tensor._array.flags
        if not (flags.c_contiguous or flags.f_contiguous):
            return f"an argument of shape {tensor.shape} is not contiguous"
    return None


def _escaping_graph(result: Any) -> str | None:
    """Why ``result`` may still be differentiated, which a replay could not serve."""
    if isinstance(result, Tensor):
        edge = result.grad_fn
        node = edge.node if isinstance(edge, Output) else edge
        if node is not None and not node.released:
            return (
                "the result carries a graph that backward has not used; call backward inside the "
                "step, or compute inside no_grad"
            )
    elif isinstance(result, (tuple, list)):
        return next((why for item in result if (why := _escaping_graph(item))), None)
    elif isinstance(result, dict):
        return _escaping_graph(list(result.values()))
    elif isinstance(result, np.ndarray):
        return "the result is an array, not a tensor"
    return None


def compile(function: Callable[..., Any]) -> CompiledStep:
    """Record calls of ``function`` and replay them natively.

    The function is a training step (forward, backward, optimizer) or an inference function. Its
    first calls with given shapes and dtypes run eagerly and are recorded; once two runs recorded
    the same work, later calls replay it: one native call per stretch of kernels, without graph,
    records or Python in between, bit-identical to eager execution.

    Arguments may change in value; another shape, dtype, layout or Python argument is recorded
    anew. Optimizer steps, random numbers and fresh constants are executed each time, so the
    learning rate, the step count and random draws are live. Values of variables and modules that
    the function refers to are guarded: when one changes, the step is recorded again. A function
    that takes values out of tensors while it runs (``item``, ``bool``, ``numpy``), changes tensors
    in place, or returns a result that still has a graph stays eager:
    :meth:`CompiledStep.report` says why.

    A replay returns detached tensors; gradients are in ``.grad`` as ever.

    >>> import numpy as np, tilegrad as tg
    >>> w = tg.tensor(np.ones(3), requires_grad=True)
    >>> @tg.compile
    ... def step(x):
    ...     w.grad = None
    ...     loss = ((x * w) * (x * w)).sum()
    ...     loss.backward()
    ...     return loss
    >>> for k in range(4):
    ...     loss = step(tg.tensor(np.full(3, float(k))))
    >>> loss.item(), w.grad.numpy().tolist(), step.replays
    (27.0, [18.0, 18.0, 18.0], 2)
    """
    return CompiledStep(function)


__all__ = ["CompiledStep", "compile"]
