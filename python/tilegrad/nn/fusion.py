"""Which neighbours in a row of modules run as one fused operation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tilegrad.nn.location import raise_located

#: Type of a module -> the rows of types that begin with it, longest first, and what runs each: it
#: is given the input and the modules. Only these very classes: a subclass may have another forward.
_FUSED: dict[type, list[tuple[list[type], Callable[..., Any]]]] = {}


def fuse(run: Callable[..., Any], *types: type) -> None:
    """Let ``run(x, *modules)`` stand for neighbours of these types."""
    rows = _FUSED.setdefault(types[0], [])
    rows.append((list(types), run))
    rows.sort(key=lambda row: -len(row[0]))


def run_in_order(modules: Mapping[str, Any], x: Any) -> Any:
    """Run ``modules`` one after the other, fused where possible."""
    row = list(modules.values())
    kinds = [type(module) for module in row]
    at = 0
    while at < len(row):
        for types, run in _FUSED.get(kinds[at], ()):
            end = at + len(types)
            if kinds[at:end] == types and not any(module._hooked for module in row[at:end]):
                try:
                    x = run(x, *row[at:end])
                except Exception as error:
                    raise_located(error, row[at], (x,), {})
                break
        else:
            end = at + 1
            x = row[at](x)
        at = end
    return x
