"""Where in a network an error arose: the layer and the way to it, added to the error's text."""

from __future__ import annotations

from typing import Any

from tilegrad.kernels.failure import KINDS, AxisError

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


def _step(name: str) -> str:
    return f"[{name}]" if name.isdigit() else f".{name}"
