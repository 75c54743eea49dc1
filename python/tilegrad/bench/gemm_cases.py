"""The rows of ``tilegrad bench gemm``: what is multiplied, and how each library is asked for it."""

from __future__ import annotations

import importlib
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tilegrad import kernels

SQUARE = (2, 4, 8, 16, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 2048)
ODD = (63, 65, 127, 129, 255, 257, 511, 513, 1000, 1023)


@dataclass(frozen=True)
class Case:
    """A product of ``(*a_batch, m, k)`` and ``(*b_batch, k, n)``.

    ``out`` writes into an array that is there already. ``activation`` adds a bias of n values and
    applies a function, in one call; the competitor is then tilegrad's product without them.
    """

    m: int
    n: int
    k: int
    a_batch: tuple[int, ...] = ()
    b_batch: tuple[int, ...] = ()
    out: bool = False
    activation: str | None = None

    @property
    def batch(self) -> tuple[int, ...]:
        """The batch axes of the result."""
        return np.broadcast_shapes(self.a_batch, self.b_batch)

    @property
    def multiply_adds(self) -> float:
        """How much work it is."""
        return float(np.prod([float(x) for x in (*self.batch, self.m, self.n, self.k)]))

    def __str__(self) -> str:
        """Read as ``16 x (128 x 128 x 128)``, with remarks behind."""
        text = f"{self.m} x {self.n} x {self.k}"
        if self.batch:
            text = f"{' x '.join(map(str, self.batch))} x ({text})"
        if self.a_batch != self.b_batch:
            text += " broadcast" if self.a_batch and self.b_batch else " one operand"
        text += " out=" if self.out else ""
        return f"{text} {self.activation}" if self.activation else text

    def operands(self, dtype: Any, layout: str) -> tuple[Any, Any]:
        """Random ``a`` and ``b``; a ``t`` in ``layout`` stores the transpose of each matrix."""
        rng = np.random.default_rng(self.m + self.n + self.k)

        def matrix(batch: tuple[int, ...], rows: int, columns: int, stored: str) -> Any:
            if stored == "n":
                return rng.normal(size=(*batch, rows, columns)).astype(dtype)
            return rng.normal(size=(*batch, columns, rows)).astype(dtype).swapaxes(-1, -2)

        a = matrix(self.a_batch, self.m, self.k, layout[0])
        return a, matrix(self.b_batch, self.k, self.n, layout[1])


#: The sets of sizes that ``--sizes`` names.
SETS: dict[str, tuple[Case, ...]] = {
    "square": tuple(Case(n, n, n) for n in SQUARE),
    "large": (Case(4096, 4096, 4096),),
    "odd": tuple(Case(n, n, n) for n in ODD),
    "network": tuple(
        Case(m, n, k)
        for (n, k), m in itertools.product(
            ((128, 784), (10, 128), (512, 512), (4096, 1000)), (1, 8, 32, 128)
        )
    ),
    "vectors": tuple(
        Case(*size)
        for size in ((512, 512, 1), (512, 1, 512), (1, 512, 512), (2000, 1, 2000), (1, 2000, 2000))
    ),
    "batched": (
        Case(8, 8, 8, (1024,), (1024,)),
        Case(32, 32, 32, (256,), (256,)),
        Case(128, 128, 128, (16,), (16,)),
        Case(32, 32, 32, (256,), ()),
        Case(32, 32, 32, (), (256,)),
        Case(32, 32, 32, (16, 1), (1, 16)),
    ),
    "out": tuple(Case(n, n, n, out=True) for n in (2, 4, 8, 16, 32, 64)),
    "fused": tuple(
        Case(n, n, n, activation=name) for n in (64, 256, 512) for name in ("relu", "gelu")
    ),
}


def parse_sizes(text: str) -> list[Case]:
    """Read ``"64,32x128x784,odd"``.

    >>> [str(case) for case in parse_sizes("64,32x128x784")]
    ['64 x 64 x 64', '32 x 128 x 784']
    """
    cases: list[Case] = []
    for word in text.split(","):
        if word in SETS:
            cases.extend(SETS[word])
            continue
        try:
            numbers = [int(number) for number in word.split("x")]
        except ValueError:
            numbers = []
        if len(numbers) not in (1, 3) or min(numbers) < 1:
            known = ", ".join(SETS)
            raise ValueError(f"size {word!r} is neither n, nor mxnxk, nor one of {known}")
        m, n, k = numbers * 3 if len(numbers) == 1 else numbers
        cases.append(Case(m, n, k))
    return cases


Maker = Callable[[Case, Any, Any], Callable[[], Any]]


def _result(case: Case, dtype: Any) -> Any:
    return np.empty((*case.batch, case.m, case.n), dtype)


def _numpy_call(case: Case, a: Any, b: Any) -> Callable[[], Any]:
    if not case.out:
        return lambda: np.matmul(a, b)
    out = _result(case, a.dtype)
    return lambda: np.matmul(a, b, out=out)


def _torch_call(case: Case, a: Any, b: Any) -> Callable[[], Any]:
    torch = importlib.import_module("torch")
    left, right = torch.from_numpy(a), torch.from_numpy(b)
    if not case.out:
        return lambda: torch.matmul(left, right)
    out = torch.from_numpy(_result(case, a.dtype))
    return lambda: torch.matmul(left, right, out=out)


def _jax_call(case: Case, a: Any, b: Any) -> Callable[[], Any]:
    jax = importlib.import_module("jax")
    jax.config.update("jax_enable_x64", True)
    left, right = jax.numpy.asarray(a), jax.numpy.asarray(b)
    multiply = jax.jit(jax.numpy.matmul)
    return lambda: multiply(left, right).block_until_ready()


_MAKERS: dict[str, Maker] = {"numpy": _numpy_call, "torch": _torch_call, "jax": _jax_call}


def competitors(names: Sequence[str]) -> dict[str, Maker]:
    """For each library that is installed: a case and its operands to a call without arguments."""
    found: dict[str, Maker] = {}
    for name in names:
        if name not in _MAKERS:
            raise ValueError(f"cannot compare with {name!r}: choose from {', '.join(_MAKERS)}")
        try:
            importlib.import_module(name)
        except ImportError:
            continue
        found[name] = _MAKERS[name]
    return found


def calls(case: Case, a: Any, b: Any, names: Sequence[str]) -> dict[str, Callable[[], Any]]:
    """What is timed, tilegrad first."""
    if case.activation is not None:
        bias = a[..., 0, :1].repeat(case.n)
        return {
            "tilegrad": lambda: kernels.gemm(a, b, bias=bias, activation=case.activation),
            "plain": lambda: kernels.gemm(a, b),
        }
    out = _result(case, a.dtype) if case.out else None
    ours = {"tilegrad": lambda: kernels.matmul(a, b, out)}
    return ours | {name: make(case, a, b) for name, make in competitors(names).items()}
