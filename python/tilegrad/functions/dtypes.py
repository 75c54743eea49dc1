"""Names of dtypes, and what can be asked about them."""

from __future__ import annotations

from typing import Any

import numpy as np

from tilegrad.autograd.tensor import Tensor
from tilegrad.ops.promotion import DEFAULT_DTYPE

float32 = float = np.dtype(np.float32)
float64 = double = np.dtype(np.float64)
float16 = half = np.dtype(np.float16)
int8 = np.dtype(np.int8)
int16 = short = np.dtype(np.int16)
int32 = int = np.dtype(np.int32)
int64 = long = np.dtype(np.int64)
uint8 = np.dtype(np.uint8)
uint16 = np.dtype(np.uint16)
uint32 = np.dtype(np.uint32)
uint64 = np.dtype(np.uint64)
bool = np.dtype(np.bool_)

finfo = np.finfo
iinfo = np.iinfo
isdtype = np.isdtype
promote_types = np.promote_types

pi = np.pi
e = np.e
inf = np.inf
nan = np.nan
newaxis = None


def can_cast(from_: Any, to: Any) -> Any:
    """Whether values of one dtype can become another without changing kind."""
    if isinstance(from_, Tensor):
        from_ = from_.dtype
    return np.can_cast(from_, to, "same_kind")


def get_default_dtype() -> Any:
    """The dtype that Python's floats become."""
    return DEFAULT_DTYPE


__all__ = [
    "bool",
    "can_cast",
    "double",
    "e",
    "finfo",
    "float",
    "float16",
    "float32",
    "float64",
    "get_default_dtype",
    "half",
    "iinfo",
    "inf",
    "int",
    "int8",
    "int16",
    "int32",
    "int64",
    "isdtype",
    "long",
    "nan",
    "newaxis",
    "pi",
    "promote_types",
    "short",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
]  # fmt: skip
