"""Recording a step: which kernels it called on which memory, and what else has to happen.

While a step runs eagerly, every kernel call and every forward function passes through here. A
native kernel call is kept as data; any other function on arrays is kept as a call that is made
again on the same arrays, its results copied to where the first ones lay. All arrays seen stay
alive, so an address means one thing for as long as the recording is compared or replayed.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from tilegrad import _native
from tilegrad.autograd import recording
from tilegrad.autograd.tensor import Array, Tensor
from tilegrad.kernels.intercept import intercept
from tilegrad.program.witness import Witness


def root_of(array: Array) -> Array:
    """The array that owns the memory of ``array``."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


def bounds(array: Array) -> tuple[int, int]:
    """Lowest address of ``array`` and one past its highest."""
    low, high = np.lib.array_utils.byte_bounds(array)
    return int(low), int(high)


class Memory:
    """The memory blocks of a recording, found by address and numbered as they appear."""

    def __init__(self) -> None:
        self.roots: list[Array] = []
        self._starts: list[int] = []
        self._blocks: list[tuple[int, int, int]] = []  # low, high, number; sorted by low

    def number(self, array: Array) -> int:
        """The number of the block of ``array``, which becomes known."""
        root = root_of(array)
        low, high = bounds(root)
        found = self.at(low, max(high, low + 1))
        if found is not None:
            return found
        number = len(self.roots)
        self.roots.append(root)
        place = bisect_right(self._starts, low)
        self._starts.insert(place, low)
        self._blocks.insert(place, (low, max(high, low + 1), number))
        return number

    def at(self, low: int, high: int) -> int | None:
        """The number of the known block that holds ``low`` ... ``high``."""
        place = bisect_right(self._starts, low) - 1
        if place < 0:
            return None
        start, end, number = self._blocks[place]
        return number if start <= low and high <= end else None


class NativeCall:
    """A kernel call kept as data: call ``index`` of the native recording."""

    def __init__(self, name: str, index: int, signature: Any) -> None:
        self.name = name
        self.index = index
        self.signature = signature
        #: (array, address, low, high, is output) of its operands.
        self.arrays: list[tuple[int, int, int, int, bool]] = []


class PythonCall:
    """A function called again in every replay; array results are copied to where they lay."""

    def __init__(
        self, name: str, function: Callable[..., Any], args: Any, kwargs: Any, signature: Any
    ) -> None:
        self.name = name
        self.function = function
        self.args = args
        self.kwargs = kwargs
        self.signature = signature
        self.results: list[Array] = []

    def __call__(self) -> None:
        again = list(arrays_in(self.function(*self.args, **self.kwargs)))
        if len(again) != len(self.results):
            raise RuntimeError(f"replay: {self.name} returned {len(again)} arrays this time")
        for result, array in zip(self.results, again, strict=True):
            if array is not result:
                if array.shape != result.shape:
                    raise RuntimeError(
                        f"replay: {self.name} returned shape {array.shape} this time, it was "
                        f"{result.shape} when the step was recorded"
                    )
                np.copyto(result, array)


class GradientCall(PythonCall):
    """The gradient of a leaf arriving at its ``grad``."""

    def __init__(self, leaf: Tensor, g: Array, accumulate: Callable[..., None]) -> None:
        super().__init__("gradient", accumulate, (), {}, None)
        self.leaf = leaf
        self.array = g
        #: Whether it was the first gradient since ``leaf.grad`` was None.
        self.fresh = leaf.grad is None

    def __call__(self) -> None:
        if self.fresh:
            self.leaf.grad = Tensor(self.array.copy())
        else:
            self.function(self.leaf, self.array)


Step = NativeCall | PythonCall


def arrays_in(value: Any) -> Iterator[Array]:
    """Arrays and arrays of tensors in nested tuples, lists and dicts."""
    if isinstance(value, np.ndarray):
        yield value
    elif isinstance(value, Tensor):
        yield value._array
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from arrays_in(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from arrays_in(item)


def _is_data(value: Any) -> bool:
    """Whether ``value`` is nothing but arrays and plain Python values."""
    if isinstance(value, (tuple, list)):
        return all(map(_is_data, value))
    if isinstance(value, dict):
        return all(map(_is_data, value.values()))
    return value is None or isinstance(value, (np.ndarray, np.generic, bool, int, float, str))


class Recorder:
    """Watches one eager run of a step on this thread."""

    def __init__(self, inputs: list[Array], tensors: Iterable[Tensor] = ()) -> None:
        self.native = _native.Recording()
        self.memory = Memory()
        self.steps: list[Step] = []
        self.reason: str | None = None
        self._keep: list[Any] = []
        self._paused = False
        #: Blocks that a step wrote, or that are inputs; others were there before.
        self.produced: set[int] = set()
        #: Blocks that are not the steps' own: inputs and constants.
        self.pinned = {self.memory.number(array) for array in inputs}
        self.produced.update(self.pinned)
        #: Contents of the arrays that are the same in every run.
        self.constants: list[bytes] = []
        #: Blocks that recorded calls wrote into.
        self._written: set[int] = set()
        self._witness = Witness(tensors)
        #: Leaf tensors that operations used as they were, with their arrays.
        self.captured: dict[int, tuple[Tensor, Array]] = {}

    # ---- what the library calls ---------------------------------------------------------------
    def refuse(self, reason: str) -> None:
        """Give the recording up; the step goes on eagerly."""
        if not self._paused and self.reason is None:
            self.reason = reason

    def gradient(self, leaf: Tensor, g: Any, accumulate: Callable[..., None]) -> None:
        """Let a replay hand the gradient ``g`` to ``leaf`` as the engine does now."""
        if self._paused or not isinstance(g, np.ndarray):
            self.refuse("a gradient that is itself recorded (create_graph)")
            return
        self._see(g)
        step = GradientCall(leaf, g, accumulate)
        if leaf.grad is not None:
            self._written.add(self.memory.number(leaf.grad._array))
        step.signature = ("gradient", id(leaf), self._describe(g), step.fresh)
        self.steps.append(step)

    def leaves(self) -> list[Tensor]:
        """Leaves that gradients arrived at, where ``grad`` was None."""
        return [s.leaf for s in self.steps if isinstance(s, GradientCall) and s.fresh]

    def signature(self) -> tuple[Any, ...]:
        """What was recorded, for comparison with another recording of the same function."""
        return (*(step.signature for step in self.steps), tuple(self.constants))

    def release(self) -> None:
        """Let go of what only the comparison of two recordings needed."""
        self._keep.clear()

    def constant(self, array: Array) -> None:
        """An array that holds the same values in every run."""
        if not self._paused:
            number = self._see(array)
            self.produced.add(number)
            self.pinned.add(number)
            self.constants.append(array.tobytes())

    def changed(self, tensor: Tensor) -> None:
        """A tensor was changed in place by something that no replay would repeat."""
        self.refuse(f"a tensor of shape {tensor.shape} is changed in place")

    def call(self, function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """Call ``function`` unseen, now and in every replay."""
        if self._paused:
            return function(*args, **kwargs)
        self.check_contents()
        with self._pause():
            result = function(*args, **kwargs)
        self._witness.renew()  # what it changed, it changes in every replay
        name = getattr(function, "__qualname__", type(function).__name__)
        self._python_step(name, function, args, kwargs, result, ("call", name))
        return result

    def check_contents(self) -> None:
        """Refuse the recording if a tensor was written by code that no replay would repeat."""
        for array in self._witness.changed():
            if self.memory.number(array) not in self._written:
                self.refuse(f"code that is not seen changed an array of shape {array.shape}")

    def forward(self, op: Any, arrays: Any, attrs: dict[str, Any]) -> Any:
        """Run the forward function of ``op``; kernels in it arrive at :meth:`_kernel`."""
        if self._paused or isinstance(op.forward, _native.Kernel):
            return op.forward(*arrays, **attrs)
        start, native_start = len(self.steps), len(self.native)
        known = set(range(len(self.memory.roots)))
        for array in arrays_in(arrays):
            known.add(self._see(array))
        out = op.forward(*arrays, **attrs)
        if all(self.memory.number(array) in known for array in arrays_in(out)):
            self._keep.append(out)
            if len(self.steps) == start:
                return out  # a view: nothing was computed
        if len(self.steps) > start and self._all_known(start, known, out):
            return out
        del self.steps[start:]
        self.native.truncate(native_start)
        self._python_step(op.name, op.forward, arrays, attrs, out, ("op", op.name))
        return out

    def _all_known(self, start: int, known: set[int], out: Any) -> bool:
        """Whether the steps since ``start`` used known memory only, and made all of ``out``."""
        made = set(known)
        for step in self.steps[start:]:
            if isinstance(step, PythonCall):
                return False
            for _, _, low, high, is_output in step.arrays:
                number = self.memory.at(low, high)
                if is_output and number is not None:
                    made.add(number)
                elif number not in made:
                    return False
        return all(self.memory.number(array) in made for array in arrays_in(out))

    def _kernel(self, kernel: Any, args: Any, kwargs: Any) -> Any:
        """Run a kernel and keep its native call, or else the call as a whole."""
        if self._paused:
            return kernel.call_native(*args, **kwargs)
        signature = self._describe((kernel.__name__, args, kwargs))
        start = len(self.native)
        self.native.listen(True)
        try:
            result = kernel.call_native(*args, **kwargs)
        finally:
            self.native.listen(False)
        self._keep.append((args, kwargs, result))
        for array in arrays_in(result):
            self.produced.add(self.memory.number(array))
        if not all(isinstance(v, np.ndarray) for v in self._flat(result)):
            self.refuse(f"{kernel.__name__} returns a Python number")
        steps = [
            NativeCall(kernel.__name__, index, signature)
            for index in range(start, len(self.native))
        ]
        for step in steps:
            step.arrays = self.native.arrays(step.index)
            self._note_written(low for _, _, low, _, is_output in step.arrays if is_output)
            # A kernel may have copied an operand to lay it out: memory that nobody knows.
            if any(self.memory.at(low, high) is None for _, _, low, high, _ in step.arrays):
                steps = []
                break
        if not _is_data((args, kwargs)):  # a handle of packed weights, whose memory it holds
            steps = []
        if steps:
            self.steps.extend(steps)
        else:
            self.native.truncate(start)
            self._python_step(kernel.__name__, kernel.call_native, args, kwargs, result, signature)
        return result

    def _note_written(self, addresses: Iterable[int]) -> None:
        found = (self.memory.at(address, address + 1) for address in addresses)
        self._written.update(number for number in found if number is not None)

    def _operation(self, op: Any, args: Any, kwargs: Any) -> Any:
        """An operation is called: note the leaves among its operands, and go the Python way."""
        leaves = () if self._paused else args
        for value in leaves:
            if not isinstance(value, Tensor) or not value.is_leaf or id(value) in self.captured:
                continue
            if self.memory.number(value._array) not in self.produced:
                self.captured[id(value)] = (value, value._array)
        return op._call(*args, **kwargs)

    # ---- inside -------------------------------------------------------------------------------
    @staticmethod
    def _flat(result: Any) -> tuple[Any, ...]:
        return result if isinstance(result, tuple) else (result,)

    def _see(self, array: Array) -> int:
        self._keep.append(array)
        return self.memory.number(array)

    def _python_step(
        self,
        name: str,
        function: Callable[..., Any],
        args: Any,
        kwargs: Any,
        result: Any,
        signature: Any,
    ) -> None:
        arguments = self._describe((args, kwargs))
        step = PythonCall(name, function, args, kwargs, None)
        if "out" in kwargs:
            self._written.update(self.memory.number(array) for array in arrays_in(kwargs["out"]))
        step.results = list(arrays_in(result))
        for array in step.results:
            self.produced.add(self._see(array))
            if not array.flags.writeable:
                self.refuse(f"{name} returns a read-only array")
        step.signature = (signature, arguments, self._describe(result))
        self._keep.append((args, kwargs, result))
        self.steps.append(step)

    def _describe(self, value: Any) -> Any:
        """``value`` for comparison: arrays by block, place and layout, the rest by itself."""
        if isinstance(value, Tensor):
            value = value._array
        if isinstance(value, np.ndarray):
            number = self._see(value)
            offset = value.__array_interface__["data"][0] - bounds(self.memory.roots[number])[0]
            block: Any = number
            if number not in self.produced:
                block = ("captured", id(self.memory.roots[number]))
            return (block, offset, value.shape, value.strides, value.dtype.str)
        if isinstance(value, (tuple, list)):
            return tuple(self._describe(item) for item in value)
        if isinstance(value, dict):
            return tuple((key, self._describe(item)) for key, item in value.items())
        if isinstance(value, np.generic):
            return value.item()
        if value is None or isinstance(value, (bool, int, float, str, slice, np.dtype, type)):
            return repr(value)
        return id(value)

    @contextmanager
    def _pause(self) -> Iterator[None]:
        before, self._paused = self._paused, True
        try:
            yield
        finally:
            self._paused = before

    @contextmanager
    def watch(self) -> Iterator[None]:
        """Record what this thread does in the block."""
        outer = recording.set_current(self)
        observer = _native.set_op_observer(self._operation)
        try:
            with intercept(self._kernel):
                yield
        finally:
            _native.set_op_observer(observer)
            recording.set_current(outer)
