"""Dropout layers; they drop in training only."""

from __future__ import annotations

from typing import Any

from tilegrad.nn import functional as F
from tilegrad.nn.module import Module


class _Dropout(Module):
    function: Any

    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        super().__init__()
        try:
            inside = 0 <= p <= 1
        except TypeError:
            raise TypeError(
                f"{type(self).__name__}: the probability p must be a number, got {p!r}"
            ) from None
        if not inside:
            raise ValueError(
                f"{type(self).__name__}: the probability p must be between 0 and 1, got {p}"
            )
        self.p = p
        self.inplace = inplace

    def forward(self, input: Any) -> Any:
        return type(self).function(input, self.p, self.training, self.inplace)

    def extra_repr(self) -> str:
        return f"p={self.p}, inplace={self.inplace}"


class Dropout(_Dropout):
    """Zeroes each entry with probability ``p`` and divides the others by ``1 - p``."""

    function = staticmethod(F.dropout)


class Dropout1d(_Dropout):
    """Zeroes whole channels of (N, C, L) or (C, L)."""

    function = staticmethod(F.dropout1d)


class Dropout2d(_Dropout):
    """Zeroes whole channels of (N, C, H, W) or (C, H, W)."""

    function = staticmethod(F.dropout2d)


class Dropout3d(_Dropout):
    """Zeroes whole channels of (N, C, D, H, W) or (C, D, H, W)."""

    function = staticmethod(F.dropout3d)


class AlphaDropout(_Dropout):
    """Dropout for SELU networks."""

    function = staticmethod(F.alpha_dropout)


class FeatureAlphaDropout(_Dropout):
    """Alpha dropout of whole channels."""

    function = staticmethod(F.feature_alpha_dropout)
