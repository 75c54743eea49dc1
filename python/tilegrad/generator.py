"""The source of random numbers: one seeded generator per process, and others where asked for.

Counter-based (Philox), so that a state is a few integers and a step can be replayed with fresh
numbers.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tilegrad.autograd.checkpoint import set_random_state


class Generator:
    """A stream of random numbers with torch's interface.

    >>> import tilegrad as tg
    >>> a = tg.Generator().manual_seed(3).numbers.random(2)
    >>> b = tg.Generator().manual_seed(3).numbers.random(2)
    >>> bool((a == b).all())
    True
    """

    def __init__(self, device: Any = "cpu") -> None:
        if str(device).split(":")[0] != "cpu":
            raise ValueError(f"Generator: there is no device {device!r}; tilegrad is on the CPU")
        self._seed = 0
        self._numbers: np.random.Generator | None = None

    @property
    def numbers(self) -> np.random.Generator:
        """The NumPy generator that draws; made on first use."""
        if self._numbers is None:
            self._numbers = np.random.Generator(np.random.Philox(self._seed))
        return self._numbers

    def manual_seed(self, seed: int) -> Generator:
        """Start the stream of ``seed``, any integer."""
        self._seed = int(seed) & (2**64 - 1)
        self._numbers = None
        return self

    def seed(self) -> int:
        """Start a stream that differs from run to run and return its seed."""
        self.manual_seed(int(np.random.SeedSequence().generate_state(1, np.uint64)[0]))
        return self._seed

    def initial_seed(self) -> int:
        """The seed of the stream."""
        return self._seed

    def get_state(self) -> dict[str, Any]:
        """Where the stream is: plain data for :meth:`set_state`."""
        return {"seed": self._seed, "stream": self.numbers.bit_generator.state}

    def set_state(self, state: dict[str, Any]) -> Generator:
        """Go back to where :meth:`get_state` was taken."""
        self.manual_seed(state["seed"])
        self.numbers.bit_generator.state = state["stream"]
        return self


default_generator = Generator()


def manual_seed(seed: int) -> Generator:
    """Seed the default generator, which every function without one draws from."""
    return default_generator.manual_seed(seed)


def seed() -> int:
    """Seed the default generator differently from run to run and return the seed."""
    return default_generator.seed()


def initial_seed() -> int:
    """The seed of the default generator."""
    return default_generator.initial_seed()


def get_rng_state() -> dict[str, Any]:
    """The state of the default generator."""
    return default_generator.get_state()


def set_rng_state(state: dict[str, Any]) -> None:
    """Put the default generator back into ``state``."""
    default_generator.set_state(state)


def numbers_of(generator: Generator | None) -> np.random.Generator:
    """The NumPy generator behind ``generator``, or behind the default one."""
    return (default_generator if generator is None else generator).numbers


class _Again:
    """Lets a block draw the numbers that were drawn after ``state`` was taken."""

    def __init__(self, state: dict[str, Any]) -> None:
        self.state = state

    def __enter__(self) -> None:
        self.now = get_rng_state()
        set_rng_state(self.state)

    def __exit__(self, *exc_info: object) -> None:
        set_rng_state(self.now)


def _capture() -> Any:
    state = get_rng_state()
    return lambda: _Again(state)


set_random_state(_capture)
