"""Random tensors from seeded generators; NumPy's global state is never used.

>>> import tilegrad as tg
>>> _ = tg.manual_seed(0)
>>> first = tg.rand(3)
>>> _ = tg.manual_seed(0)
>>> bool((tg.rand(3) == first).all())
True
"""

from __future__ import annotations

import operator
import os
from functools import cached_property
from typing import Any

import numpy as np

from tilegrad.autograd import drawing
from tilegrad.autograd.checkpoint import set_random_state
from tilegrad.autograd.recording import opaque
from tilegrad.autograd.tensor import Tensor
from tilegrad.functions.axes import sizes_of
from tilegrad.functions.creation import DType, _leaf, check_device
from tilegrad.ops.promotion import DEFAULT_DTYPE


class Generator:
    """A stream of random numbers with a seed of its own: NumPy's PCG64.

    >>> g = Generator().manual_seed(7)
    >>> g.initial_seed()
    7
    """

    def __init__(self, seed: int | str | None = None) -> None:
        if isinstance(seed, str):  # torch's generators name a device
            check_device(seed)
            seed = None
        self.manual_seed(0 if seed is None else seed)

    def manual_seed(self, seed: int) -> Generator:
        """Start anew from ``seed``, any whole number."""
        if not hasattr(seed, "__index__"):
            raise TypeError(f"manual_seed: the seed must be a whole number, not {seed!r}")
        self._seed = operator.index(seed)
        self.__dict__.pop("numpy", None)
        return self

    @cached_property
    def numpy(self) -> np.random.Generator:
        """The stream, made when first drawn from: numpy.random takes some 10 ms to import."""
        return np.random.Generator(np.random.PCG64(self._seed % 2**64))

    def initial_seed(self) -> int:
        """The seed it was started from."""
        return self._seed

    def seed(self) -> int:
        """Start anew from entropy of the system; returns the seed."""
        return self.manual_seed(_entropy())._seed

    def get_state(self) -> dict[str, Any]:
        """Where the stream stands: a plain dict."""
        return {"seed": self._seed, "stream": self.numpy.bit_generator.state}

    def set_state(self, state: dict[str, Any]) -> None:
        """Go where another stood."""
        self._seed = state["seed"]
        self.numpy.bit_generator.state = state["stream"]


def _entropy() -> int:
    return int.from_bytes(os.urandom(8), "little") % 2**63


#: The generator used where none is named.
default_generator = Generator(_entropy())


def manual_seed(seed: int) -> Generator:
    """Seed the default generator."""
    return default_generator.manual_seed(seed)


def seed() -> int:
    """Seed the default generator from entropy of the system; returns the seed."""
    return default_generator.seed()


def initial_seed() -> int:
    """The seed of the default generator."""
    return default_generator.initial_seed()


def get_rng_state() -> dict[str, Any]:
    """Where the default generator stands."""
    return default_generator.get_state()


def set_rng_state(state: dict[str, Any]) -> None:
    """Put the default generator where it stood."""
    default_generator.set_state(state)


class _Again:
    """Lets a block draw the numbers that were drawn after ``state`` was taken."""

    def __init__(self, state: dict[str, Any]) -> None:
        self.state = state
        self.now: dict[str, Any] = {}

    def __enter__(self) -> None:
        self.now = get_rng_state()
        set_rng_state(self.state)

    def __exit__(self, *exc_info: object) -> None:
        set_rng_state(self.now)


def _capture() -> Any:
    state = get_rng_state()
    return lambda: _Again(state)


set_random_state(_capture)


def stream(generator: Any = None) -> np.random.Generator:
    """The NumPy generator behind ``generator``: ours, NumPy's own, or the default one."""
    drawing.check("drawing random numbers")
    if generator is None:
        return default_generator.numpy
    return generator.numpy if isinstance(generator, Generator) else generator


def _uniform(shape: tuple[int, ...], dtype: Any, generator: Any) -> Any:
    dtype = np.dtype(DEFAULT_DTYPE if dtype is None else dtype)
    draw = dtype if dtype in (np.float32, np.float64) else np.dtype(np.float64)
    return stream(generator).random(shape, draw).astype(dtype, copy=False)


def _normal(shape: tuple[int, ...], dtype: Any, generator: Any) -> Any:
    dtype = np.dtype(DEFAULT_DTYPE if dtype is None else dtype)
    draw = dtype if dtype in (np.float32, np.float64) else np.dtype(np.float64)
    return stream(generator).standard_normal(shape, draw).astype(dtype, copy=False)


@drawing.per_member
@opaque
def rand(
    *size: Any, generator: Any = None, dtype: DType = None, requires_grad: bool = False,
    device: Any = None,
) -> Tensor:  # fmt: skip
    """Uniform on [0, 1)."""
    check_device(device)
    return _leaf(np.asarray(_uniform(sizes_of(size), dtype, generator)), requires_grad)


@drawing.per_member
@opaque
def randn(
    *size: Any, generator: Any = None, dtype: DType = None, requires_grad: bool = False,
    device: Any = None,
) -> Tensor:  # fmt: skip
    """Standard normal."""
    check_device(device)
    return _leaf(np.asarray(_normal(sizes_of(size), dtype, generator)), requires_grad)


@drawing.per_member
@opaque
def randint(
    low: int, high: Any = None, size: Any = None, *, generator: Any = None,
    dtype: DType = None, requires_grad: bool = False, device: Any = None,
) -> Tensor:  # fmt: skip
    """Integers from ``low`` (0 if left out) up to ``high``, exclusive."""
    check_device(device)
    if size is None:  # randint(high, size)
        low, high, size = 0, low, high
    elif high is None:
        low, high = 0, low
    drawn = stream(generator).integers(low, high, sizes_of((size,)))
    return _leaf(np.asarray(drawn, np.int64 if dtype is None else dtype), requires_grad)


@drawing.per_member
@opaque
def randperm(
    n: int, *, generator: Any = None, dtype: DType = None, device: Any = None
) -> Tensor:
    """The integers below ``n`` in random order."""
    check_device(device)
    return Tensor(stream(generator).permutation(n).astype(np.int64 if dtype is None else dtype))


@drawing.per_member
@opaque
def rand_like(x: Any, *, dtype: DType = None, generator: Any = None,
              requires_grad: bool = False, device: Any = None) -> Tensor:  # fmt: skip
    """Uniform on [0, 1) in the shape and dtype of ``x``."""
    return rand(x.shape, generator=generator, dtype=dtype or x.dtype, requires_grad=requires_grad)


@drawing.per_member
@opaque
def randn_like(x: Any, *, dtype: DType = None, generator: Any = None,
               requires_grad: bool = False, device: Any = None) -> Tensor:  # fmt: skip
    """Standard normal in the shape and dtype of ``x``."""
    return randn(x.shape, generator=generator, dtype=dtype or x.dtype, requires_grad=requires_grad)


@drawing.per_member
@opaque
def randint_like(x: Any, low: int, high: int | None = None, *, dtype: DType = None,
                 generator: Any = None) -> Tensor:  # fmt: skip
    """Integers in the shape and dtype of ``x``."""
    return randint(low, high, x.shape, generator=generator, dtype=dtype or x.dtype)


def _values(x: Any) -> Any:
    return x._array if isinstance(x, Tensor) else np.asarray(x)


@drawing.per_member
@opaque
def normal(
    mean: Any = 0.0, std: Any = 1.0, size: Any = None, *, generator: Any = None,
    dtype: DType = None,
) -> Tensor:  # fmt: skip
    """Normal with the given means and standard deviations."""
    mean, std = _values(mean), _values(std)
    if dtype is None:
        known = [v.dtype for v in (mean, std) if v.ndim and v.dtype.kind == "f"]
        dtype = np.result_type(*known) if known else DEFAULT_DTYPE
    shape = np.broadcast_shapes(mean.shape, std.shape) if size is None else sizes_of((size,))
    return Tensor(np.asarray(_normal(shape, dtype, generator) * std + mean, dtype))


@drawing.per_member
@opaque
def bernoulli(x: Any, p: float | None = None, *, generator: Any = None) -> Tensor:
    """1 with probability ``x`` (or ``p``), else 0, in the dtype of ``x``."""
    chance = _values(x) if p is None else p
    drawn = stream(generator).random(x.shape) < chance
    return Tensor(np.asarray(drawn).astype(x.dtype))


@drawing.per_member
@opaque
def multinomial(
    weights: Any, num_samples: int, replacement: bool = False, *, generator: Any = None
) -> Tensor:
    """Positions drawn with probabilities proportional to ``weights``, (..., num_samples)."""
    if _values(weights).dtype.kind != "f":
        raise TypeError(f"multinomial: weights must be floating, got {_values(weights).dtype}")
    rows = np.atleast_2d(_values(weights)).astype(np.float64)
    if (rows < 0).any() or not np.isfinite(rows).all() or (rows.sum(1) <= 0).any():
        raise ValueError("multinomial: weights must be finite, not negative and not all zero")
    if not replacement and (np.count_nonzero(rows, axis=1) < num_samples).any():
        raise ValueError(f"multinomial: fewer than {num_samples} positions have a weight")
    source = stream(generator)
    drawn = [
        source.choice(rows.shape[1], num_samples, replace=replacement, p=row / row.sum())
        for row in rows
    ]
    result = np.stack(drawn).astype(np.int64)
    return Tensor(result if _values(weights).ndim > 1 else result[0])


def _refill(tensor: Tensor, values: Any) -> Tensor:
    tensor.copy_(Tensor(np.asarray(values).astype(tensor.dtype)))
    return tensor


@opaque
def uniform_(self: Tensor, low: float = 0.0, high: float = 1.0, *, generator: Any = None) -> Tensor:
    """Uniform on [low, high), in place."""
    return _refill(self, low + (high - low) * _uniform(self.shape, self.dtype, generator))


@opaque
def normal_(self: Tensor, mean: float = 0.0, std: float = 1.0, *, generator: Any = None) -> Tensor:
    """Normal, in place."""
    return _refill(self, mean + std * _normal(self.shape, self.dtype, generator))


@opaque
def bernoulli_(self: Tensor, p: Any = 0.5, *, generator: Any = None) -> Tensor:
    """1 with probability ``p``, else 0, in place."""
    return _refill(self, stream(generator).random(self.shape) < _values(p))


@opaque
def random_(
    self: Tensor, low: int = 0, high: int | None = None, *, generator: Any = None
) -> Tensor:
    """Integers in place: below ``low`` if it stands alone, below 2^24 (float32's range) if none."""
    if high is None:
        low, high = 0, low or 2**24
    return _refill(self, stream(generator).integers(low, high, self.shape))


@opaque
def exponential_(self: Tensor, lambd: float = 1.0, *, generator: Any = None) -> Tensor:
    """Exponential with rate ``lambd``, in place."""
    return _refill(self, stream(generator).exponential(1 / lambd, self.shape))


METHODS = (bernoulli, bernoulli_, exponential_, multinomial, normal_, random_, uniform_)

__all__ = [
    "Generator", "bernoulli", "default_generator", "get_rng_state", "initial_seed", "manual_seed",
    "multinomial", "normal", "rand", "rand_like", "randint", "randint_like", "randn", "randn_like",
    "randperm", "seed", "set_rng_state",
]  # fmt: skip
