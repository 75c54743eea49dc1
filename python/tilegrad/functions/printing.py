"""How a tensor reads: its entries, its dtype where it is not the usual one, its place in a graph.

>>> import tilegrad as tg
>>> tg.tensor([1.0, 2.5], requires_grad=True)
tensor([1.0000, 2.5000], requires_grad=True)
>>> tg.tensor([[1, 2], [3, 4]])
tensor([[1, 2],
        [3, 4]])
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tilegrad.autograd.tensor import Tensor

_USUAL = (np.dtype(np.float32), np.dtype(np.int64), np.dtype(bool))


class _Format:
    """torch's way to print floats: whole numbers with a point, else four digits or exponents."""

    def __init__(self, array: Any) -> None:
        values = np.abs(array[np.isfinite(array)].astype(np.float64))
        nonzero = values[values > 0]
        self.whole = bool(np.all(values == np.floor(values)))
        low, high = (nonzero.min(), nonzero.max()) if nonzero.size else (1.0, 1.0)
        wide = high / low > 1000 or high > 1e8
        self.scientific = wide if self.whole else wide or low < 1e-4
        if self.whole:
            self.scientific = high / low > 1e5 * 1000 or high > 1e8

    def __call__(self, value: Any) -> str:
        if not np.isfinite(value):
            return str(float(value))
        if self.scientific:
            return f"{value:.4e}"
        return f"{value:.0f}." if self.whole else f"{value:.4f}"


def _text(array: Any, prefix: str) -> str:
    aligns = array.dtype.kind == "f" and array.size
    formatter: Any = {"float_kind": _aligned(array)} if aligns else None
    return np.array2string(
        array, separator=", ", prefix=prefix, threshold=1000, edgeitems=3, max_line_width=80,
        formatter=formatter,
    )  # fmt: skip


def _aligned(array: Any) -> Any:
    form = _Format(array)
    shown = (
        array.ravel()
        if array.size <= 1000
        else np.concatenate([array.ravel()[:50], array.ravel()[-50:]])
    )
    width = max(len(form(value)) for value in shown)
    return lambda value: form(value).rjust(width)


def representation(self: Tensor) -> str:
    """``repr`` of a tensor."""
    array = self._array
    if not array.size:
        parts = ["[]"] + ([f"size={array.shape}"] if array.shape != (0,) else [])
    else:
        parts = [_text(array, "tensor(")]
    if array.dtype not in _USUAL:
        parts.append(f"dtype={array.dtype}")
    if self.grad_fn is not None:
        node: Any = getattr(self.grad_fn, "node", self.grad_fn)
        parts.append(f"grad_fn=<{node.op.name}>")
    elif self._requires_grad:
        parts.append("requires_grad=True")
    return f"tensor({', '.join(parts)})"


def formatted(self: Tensor, spec: str) -> str:
    """``format`` of a tensor with one entry is its number's."""
    if spec and self._array.size == 1:
        return format(self._array.item(), spec)
    return format(representation(self), spec) if spec else representation(self)


def attach() -> None:
    """Give :class:`Tensor` its ``repr``."""
    methods: dict[str, Any] = {
        "__repr__": representation,
        "__str__": representation,
        "__format__": formatted,
    }
    for name, method in methods.items():
        setattr(Tensor, name, method)
