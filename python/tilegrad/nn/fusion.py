"""Which neighbours in a row of modules run as one fused operation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tilegrad.nn.location import locate

#: (type, type of the next module) -> what runs both, given the first and its input. Only these
#: very classes: a subclass may have another forward. Layers register themselves.
FUSED: dict[tuple[type, type], Any] = {}


def run_in_order(modules: Mapping[str, Any], x: Any) -> Any:
    """Run ``modules`` one after the other, fused where possible."""
    waiting = None
    for module in modules.values():
        if waiting is not None:
            run = FUSED.get((type(waiting), type(module)))
            if run is not None and not waiting._hooked and not module._hooked:
                try:
                    x = run(waiting, x)
                except Exception as error:
                    locate(error, waiting)
                    raise
                waiting = None
                continue
            x = waiting(x)
        waiting = module
    return x if waiting is None else waiting(x)
