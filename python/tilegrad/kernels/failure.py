"""Errors of kernels and operations in the words of their caller.

NumPy says "axis 5 is out of bounds for array of dimension 2" without saying in what. The extension
hands every error that leaves a kernel or an operation to :func:`named`, which puts the name in
front and the arguments behind, unless the text begins with a name already. Nothing is paid while
nothing fails.
"""

from __future__ import annotations

import re
from typing import Any, NoReturn

import numpy as np

#: Kinds that are told again. Others (a user's own, LinAlgError, ...) pass as they are.
KINDS = (MemoryError, OverflowError, IndexError, TypeError, ValueError)

#: NumPy's texts that look as if they began with a name of ours.
_THEIRS = ("gufunc", "too many indices")

_NAMED = re.compile(r"\w[\w. ]*(\(.*?\))?: |\w+(\(\))? (takes|has|got|missing) ")

#: Pieces of NumPy's texts, and what they mean to somebody who called no NumPy function.
_MEANINGS = (
    ("array is too big", "the result would have more bytes than memory has addresses"),
    ("Maximum allowed dimension exceeded", "the result would have more bytes than there are"),
    ("did not contain a loop", "there is no such operation on these dtypes"),
    ("not supported for the input types", "there is no such operation on these dtypes"),
    ("loop of ufunc does not support", "there is no such operation on these dtypes"),
    ("resolved dtypes are not compatible", "there is no such operation on these dtypes"),
    ("return arrays must be of ArrayType", "out must be an array"),
    ("Output operand", "out does not have the shape of the result"),
    ("does not have enough dimensions", "every operand needs at least one dimension"),
    ("mismatch in its core dimension", "the inner sizes differ"),
    ("inhomogeneous shape", "nested sequences of different lengths; pad them to one length"),
    ("which has no identity", "there is no entry to choose from; the reduced axis is empty"),
    ("of an empty sequence", "there is no entry to choose from; the reduced axis is empty"),
    ("output array is read-only", "an array to be written is read-only; pass a copy"),
    ("assignment destination is read-only", "an array to be written is read-only; pass a copy"),
)


class AxisError(np.exceptions.AxisError):
    """NumPy's, which is an IndexError and a ValueError, with a plain text."""

    __str__ = IndexError.__str__


def describe(value: Any) -> str:
    """An argument in a few words.

    >>> describe(np.ones((3, 4))), describe(5), describe("a")
    ('float64 (3, 4)', '5', "'a'")
    """
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return f"{value.dtype} {tuple(value.shape)}"
    if isinstance(value, (list, tuple)) and any(hasattr(item, "shape") for item in value):
        return f"[{', '.join(map(describe, value[:4]))}{', ...' if len(value) > 4 else ''}]"
    text = repr(value)
    return text if len(text) <= 40 else type(value).__name__


def retold(error: BaseException, name: str, values: Any) -> BaseException:
    """``error`` with ``name`` and the arguments in its text; itself where it says them already."""
    kind = type(error)
    theirs = kind.__module__.startswith("numpy")
    if not (kind in KINDS or (theirs and kind is not np.linalg.LinAlgError)):
        return error
    text = str(error)
    if _NAMED.match(text) and not any(part in text for part in _THEIRS):
        return error
    meaning = next((ours for part, ours in _MEANINGS if part in text), text.removesuffix("."))
    if "more bytes" in meaning:
        kind = OverflowError
    elif isinstance(error, np.exceptions.AxisError):
        kind = AxisError
    else:
        kind = next((known for known in KINDS if isinstance(error, known)), kind)
    given = ", ".join(describe(value) for value in values)
    told = kind(f"{name}: {meaning.removeprefix(name + ': ')} (called with {given})")
    told.__cause__ = error.__cause__
    return told.with_traceback(error.__traceback__)


def raise_retold(error: BaseException, name: str, values: Any) -> NoReturn:
    """Raise ``error`` as :func:`retold`; for use in its except clause."""
    told = retold(error, name, values)
    if told is error:
        raise error
    raise told from None


def named(error: BaseException, callee: Any, values: Any) -> BaseException:
    """As :func:`retold`, for a kernel or an operation."""
    return retold(error, getattr(callee, "name", None) or callee.__name__, values)
