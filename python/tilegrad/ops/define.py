"""Short ways to write the records of :class:`tilegrad.autograd.op.Op`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tilegrad.autograd.op import Op
from tilegrad.autograd.rules import Rule, parameters


def elementwise(
    name: str,
    forward: Callable[..., Any],
    inputs: str,
    *,
    promotes: bool | str = "float",
    batch: Any = None,
    **rules: Rule,
) -> Op:
    """An operation on corresponding entries, broadcasting: its Jacobian by each input is diagonal.

    A diagonal is its own transpose, so the one rule per input serves reverse and forward mode.
    """
    return Op(
        name, forward, inputs=inputs.split(), vjp=rules, jvp="elementwise", promotes=promotes,
        batch=batch or "elementwise",
    )  # fmt: skip


def linear(
    name: str,
    forward: Callable[..., Any],
    inputs: str,
    *,
    view: bool = False,
    promotes: bool | str = False,
    batch: Any = None,
    **rules: Rule,
) -> Op:
    """An operation jointly linear in all its differentiable inputs; ``"*"`` takes any number."""
    if inputs == "*":
        rules = {"*": rules["each"]}
    return Op(
        name, forward, inputs=inputs if inputs == "*" else inputs.split(), vjp=rules, jvp="linear",
        view=view, promotes=promotes, batch=batch,
    )  # fmt: skip


def multilinear(
    name: str,
    forward: Callable[..., Any],
    inputs: str,
    *,
    promotes: bool | str = False,
    batch: Any = None,
    **rules: Rule,
) -> Op:
    """An operation linear in each differentiable input while the others are held."""
    return Op(
        name, forward, inputs=inputs.split(), vjp=rules, jvp="multilinear", promotes=promotes,
        batch=batch,
    )  # fmt: skip


def discrete(name: str, forward: Callable[..., Any], inputs: str, *, batch: Any = None) -> Op:
    """An operation with a piecewise constant or non-floating result: no gradient, by nature."""
    return Op(
        name, forward, inputs=inputs if inputs == "*" else inputs.split(), discrete=True,
        promotes=True, batch=batch or ("axis" if "axis" in parameters(forward) else "elementwise"),
    )  # fmt: skip


def flat(
    name: str, forward: Callable[..., Any], inputs: str, promotes: bool | str = True
) -> Op:
    """A floating operation on entries that is piecewise constant: its derivative is 0, not absent.

    The result stays in the graph, so that ``backward`` through a rounding fills zeros.
    """
    rules = {parameter: lambda g: vanish(g) for parameter in inputs.split()}
    return elementwise(name, forward, inputs, promotes=promotes, **rules)


#: Zeros in place of a gradient.
vanish = elementwise(
    "vanish", lambda x: np.zeros_like(x), "x", promotes=True, x=lambda g: vanish(g)
)
