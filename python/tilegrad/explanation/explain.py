"""explain: the derivation of a function and its gradient, for people."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tilegrad.autograd.tensor import Array, Tensor
from tilegrad.explanation.table import COTANGENT, Gradient, Row, gradients_of, record, rows_of

#: A formula is shown if it agrees with the gradient to so many parts of its largest entry; the
#: check is in double precision, on the values given.
_TOLERANCE = 1e-8


def _size(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape)) if shape else "1"


def _of(shape: Sequence[int]) -> str:
    return f"({_size(shape)})" if len(shape) == 1 else _size(shape) if shape else "scalar"


@dataclass(frozen=True)
class Explanation:
    """What :func:`explain` found; ``str()`` of it is the text form.

    Attributes:
        rows: the intermediate variables, arguments first.
        gradients: one per argument asked for.
        value: the result.
        total_flops: of the forward computation.
    """

    rows: list[Row]
    gradients: list[Gradient]
    value: Array

    @property
    def total_flops(self) -> int:
        """Floating-point operations of all rows."""
        return sum(row.flops for row in self.rows)

    def formula(self, name: str) -> str | None:
        """The gradient by the argument ``name`` as a formula; None if matrix notation has none."""
        for gradient in self.gradients:
            if gradient.by == name:
                return gradient.formula
        raise KeyError(f"no gradient by {name!r} was asked for")

    # ---- cells -------------------------------------------------------------------------------
    _HEAD = ("node", "formula", "shape", "local Jacobians", "accumulated", "FLOPs")

    def _cells(self) -> list[tuple[str, ...]]:
        last = self.rows[-1].name
        return [
            (
                row.name,
                row.formula if row.flops or row.partials else "argument",
                _of(row.shape),
                "; ".join(
                    f"d{row.name}/d{p.by}: {_size(p.shape)} {p.structure}" for p in row.partials
                ),
                f"d{last}/d{row.name}: {_size(row.accumulated)}",
                f"{row.flops:,}",
            )
            for row in self.rows
        ]

    def _gradient_lines(self) -> list[str]:
        lines = []
        last = self.rows[-1].name
        for g in self.gradients:
            left = f"d{last}/d{g.by}" if self.value.ndim == 0 else f"d<{COTANGENT}, {last}>/d{g.by}"
            right = g.formula
            if right is None:
                right = "no formula in matrix notation"
                if g.error is not None:
                    right += " that the numbers confirm"
            lines.append(f"{left} = {right}    {_of(g.shape)}")
        return lines

    # ---- forms -------------------------------------------------------------------------------
    def text(self) -> str:
        """A table in plain text, and the gradients."""
        table = [self._HEAD, *self._cells()]
        widths = [max(len(line[i]) for line in table) for i in range(len(self._HEAD))]
        lines = [
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
            for line in table
        ]
        lines.insert(1, "  ".join("-" * width for width in widths))
        lines += ["", f"forward: {self.total_flops:,} FLOPs", "", *self._gradient_lines()]
        return "\n".join(lines)

    def markdown(self) -> str:
        """A Markdown table, and the gradients."""
        lines = [
            f"| {' | '.join(self._HEAD)} |",
            "|" + "---|" * len(self._HEAD),
            *(f"| {' | '.join(cell or ' ' for cell in line)} |" for line in self._marked()),
            "",
            *(f"- `{line.strip()}`" for line in self._gradient_lines()),
        ]
        return "\n".join(lines)

    def _marked(self) -> list[tuple[str, ...]]:
        return [(name, f"`{formula}`", *rest) for name, formula, *rest in self._cells()]

    def latex(self) -> str:
        """The derivation and the gradients as aligned equations."""
        lines = [
            rf"{_symbol(row.name)} &= {row.latex} "
            rf"&& \in \mathbb{{R}}^{{{_latex_size(row.shape)}}} \\"
            for row in self.rows
            if row.flops or row.partials
        ]
        last = _symbol(self.rows[-1].name)
        for g in self.gradients:
            if g.latex is not None:
                top = last if self.value.ndim == 0 else rf"\langle G, {last} \rangle"
                lines.append(
                    rf"\frac{{\partial {top}}}{{\partial {_symbol(g.by)}}} &= {g.latex} \\"
                )
        return "\n".join([r"\begin{align*}", *lines, r"\end{align*}"])

    def dot(self) -> str:
        """The data-flow graph for Graphviz: every edge carries its local Jacobian."""
        lines = ["digraph {", "  rankdir=LR;", "  node [shape=box];"]
        for row in self.rows:
            label = row.name if not (row.flops or row.partials) else f"{row.name} = {row.formula}"
            label = label.replace("\\", "\\\\").replace('"', '\\"')
            lines.append(f'  {row.name} [label="{label}\\n{_of(row.shape)}"];')
        for row in self.rows:
            for p in row.partials:
                label = f"{_size(p.shape)} {p.structure}"
                lines.append(f'  {p.by} -> {row.name} [label="{label}"];')
        return "\n".join([*lines, "}"])

    def __str__(self) -> str:
        return self.text()

    __repr__ = __str__

    def _repr_markdown_(self) -> str:
        return self.markdown()


def _symbol(name: str) -> str:
    from tilegrad.explanation.algebra import Name
    from tilegrad.explanation.notation import latex

    return latex(Name((1, 1), name))


def _latex_size(shape: Sequence[int]) -> str:
    return r" \times ".join(map(str, shape)) if shape else "1"


def _names(f: Callable[..., Any], count: int) -> list[str]:
    """Names of the first ``count`` parameters of ``f``."""
    try:
        parameters = list(inspect.signature(f).parameters.values())
    except (TypeError, ValueError):
        parameters = []
    plain = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return [plain[i] if i < len(plain) else f"x{i + 1}" for i in range(count)]


def explain(
    f: Callable[..., Any],
    *args: Any,
    wrt: str | Sequence[str] | None = None,
    names: Sequence[str] | None = None,
) -> Explanation:
    """The derivation of ``f(*args)`` by intermediate variables, and its gradient as a formula.

    ``f`` is run once and its operations recorded. For every intermediate variable the table holds
    its formula, the shape of its value, the shape and structure of its local Jacobians, the shape
    of the accumulated Jacobian of the result by it, and how many floating-point operations it
    took. The gradient formula is what the recorded backward pass did, simplified by the rules of
    matrix algebra; it is evaluated by NumPy alone and shown only if it gives the gradient's value.
    For a result that is not a number it is the gradient of <G, f>, G of the result's shape.

    Args:
        f: takes tensors, returns a tensor.
        args: its arguments; numbers and arrays become tensors.
        wrt: names of the arguments to differentiate by, all floating ones by default.
        names: of the arguments, by default those of the parameters of ``f``.

    Returns:
        An :class:`Explanation`: ``print`` it, or ask for ``.markdown()``, ``.latex()``, ``.dot()``.

    >>> import numpy as np, tilegrad as tg
    >>> rng = np.random.default_rng(0)
    >>> A, x, y = rng.normal(size=(3, 2)), rng.normal(size=2), rng.normal(size=3)
    >>> print(tg.explain(lambda A, x, y: ((A @ x - y) ** 2).sum(), A, x, y, wrt="x").formula("x"))
    2 * A.T @ (A @ x - y)
    """
    names = _names(f, len(args)) if names is None else list(names)
    if len(names) != len(args) or len(set(names)) != len(names):
        raise ValueError(f"explain: {len(args)} arguments need as many different names: {names}")
    values = {name: _array(value) for name, value in zip(names, args, strict=True)}
    floating = [name for name, value in values.items() if value.dtype.kind == "f"]
    wanted = tuple(floating if wrt is None else [wrt] if isinstance(wrt, str) else wrt)
    for name in wanted:
        if name not in floating:
            raise ValueError(
                f"explain: no floating argument {name!r} to differentiate by; there are "
                f"{', '.join(floating)}"
            )
    symbols, out = record(f, values)
    rows = rows_of(symbols, out)
    gradients = gradients_of(symbols, out, wanted, _TOLERANCE)
    return Explanation(rows, gradients, np.array(out._array))


def _array(value: Any) -> Array:
    """The values in double precision, so that the check of the formulas means something."""
    array = value._array if isinstance(value, Tensor) else np.asarray(value)
    if array.dtype.kind == "f" or isinstance(value, (int, float)):
        return np.array(array, np.float64)
    return np.array(array)
