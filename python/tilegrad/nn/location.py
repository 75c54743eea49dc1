"""Where in a network an error arose: the layer and the way to it, added to the error's text.

A layer does not look at the kind of its arguments while nothing fails. Where it failed over one
that is no tensor, the error is raised again in these words.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from traceback import walk_tb
from typing import Any, NoReturn

import numpy as np

from tilegrad.autograd.tensor import Tensor
from tilegrad.kernels.failure import KINDS, AxisError, describe

#: Kinds of error whose text is added to; others pass as they are.
_KINDS = {*KINDS, AxisError, RuntimeError}


def locate(error: Exception, module: Any) -> None:
    """Name ``module`` in the text of an error that leaves it; called by each one on the way out.

    The innermost gives its own text, those around it the way: ``(in Net.head[2], Linear(...))``.
    """
    if type(error) not in _KINDS or len(error.args) != 1:
        return
    text, layer, last, way = getattr(error, "_tilegrad_trail", (error.args[0], None, None, ""))
    if layer is None:
        layer = f"{type(module).__name__}({module.extra_repr()})"
    else:
        names = [name for name, child in module._modules.items() if child is last]
        way = (_step(names[0]) if names else f" -> {type(last).__name__}") + way
    error._tilegrad_trail = (text, layer, module, way)  # type: ignore[attr-defined]
    whole = f"{type(module).__name__}{way}, " if way else ""
    error.args = (f"{text} (in {whole}{layer})",)


def raise_located(
    error: Exception, module: Any, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> NoReturn:
    """Raise ``error`` with ``module`` in its text; for use in the except clause of its call."""
    told = _of_kind(error, module, args, kwargs)
    locate(told, module)
    if told is error:
        raise error
    raise told from None


def _of_kind(
    error: Exception, module: Any, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> Exception:
    """A TypeError naming the argument that should be a tensor; ``error`` if it has other reasons.

    Lists and numbers may stand for some arguments, so that a TypeError over them has said more.
    """
    if type(error) not in (AttributeError, TypeError) or hasattr(error, "_tilegrad_trail"):
        return error
    if not _is_ours(error):
        return error
    for name, parameter in _parameters(module).items():
        given = args[0] if args else kwargs.get(name, parameter.default)
        args = args[1:]
        foreign = type(given).__module__.partition(".")[0] == "torch"
        misfit = foreign or given is None or isinstance(given, (str, bytes))
        if isinstance(error, AttributeError):
            misfit = misfit or not isinstance(given, (Tensor, np.ndarray, np.generic))
        if misfit and parameter.default is parameter.empty and given is not parameter.empty:
            kind = f"a torch tensor, {describe(given)}" if foreign else _kind(given)
            text = f"{type(module).__name__}: {name} must be a tensor, got {kind}"
            return TypeError(text).with_traceback(error.__traceback__)
    return error


def _parameters(module: Any) -> Mapping[str, inspect.Parameter]:
    """Those of the module's call; a loss passes its own on to its function."""
    found = inspect.signature(module.forward).parameters
    if "args" in found and hasattr(type(module), "function"):
        return inspect.signature(type(module).function).parameters
    return found


def _kind(value: Any) -> str:
    kind, text = type(value).__name__, describe(value)
    return text if value is None or text == kind else f"{kind} {text}"


def _is_ours(error: Exception) -> bool:
    """Whether nobody else's code ran between the call of the module and its failure."""
    names = (frame.f_globals.get("__name__", "") for frame, _ in walk_tb(error.__traceback__))
    return all(name.partition(".")[0] in ("tilegrad", "numpy") for name in names)


def _step(name: str) -> str:
    return f"[{name}]" if name.isdigit() else f".{name}"
