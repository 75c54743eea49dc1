r"""The identities of matrix calculus as a table that runs.

Every row is code: what is printed is what is evaluated. :func:`identities` checks all of them at
random points and ``docs/identities.md`` is made from the same rows:

    python -c "import tilegrad as tg; print(tg.calculus.identities().markdown(), end='')" \
        > docs/identities.md
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tilegrad import linalg
from tilegrad.autograd.tensor import Tensor
from tilegrad.calculus import matrices
from tilegrad.calculus.identity_rows import ROWS, Row, draw
from tilegrad.func import jvp, vjp
from tilegrad.functions import elementwise, products, reductions, shaping

#: What the code of a row can name.
NAMES: dict[str, Any] = {
    **{name: getattr(linalg, name) for name in linalg.__all__},
    **{
        name: getattr(matrices, name)
        for name in (
            "commutation_matrix", "duplication_matrix", "elimination_matrix", "hadamard",
            "khatri_rao", "kron", "unvec", "vec", "vech",
        )
    },
    **{name: getattr(elementwise, name) for name in ("exp", "sigmoid", "sin", "cos", "tanh")},
    "diag": shaping.diag, "diagonal": shaping.diagonal, "sum": reductions.sum,
    "logsumexp": reductions.logsumexp, "outer": products.outer, "tril": shaping.tril,
    "eye": lambda n: Tensor(np.eye(n)), "n": 3,
}  # fmt: skip

#: A row has to hold to this share of its largest entry, at float64.
TOLERANCE = 1e-12


@dataclass(frozen=True)
class CheckedIdentity:
    """One checked row: its code, and how far its sides are apart."""

    row: Row
    error: float

    @property
    def holds(self) -> bool:
        """Whether the sides agree to the tolerance."""
        return self.error <= TOLERANCE

    def __str__(self) -> str:
        mark = "ok" if self.holds else f"OFF BY {self.error:.1e}"
        return f"{self.row.left()}  =  {self.row.right}    [{mark}]"


class Identities(tuple[CheckedIdentity, ...]):
    """All rows; printed as a table, or as Markdown by :meth:`markdown`."""

    def __str__(self) -> str:
        return "\n".join(str(identity) for identity in self)

    def markdown(self) -> str:
        """The page ``docs/identities.md``."""
        lines = [
            "# Identities of matrix calculus",
            "",
            "Made by `tilegrad.calculus.identities().markdown()` "
            "from the table that the tests run.",
            "Every row is code; `calculus.identities()` evaluates both sides in float64 at random",
            "points, in reverse and in forward mode, and finds them equal to",
            f"{TOLERANCE:g} of the largest entry. `d` is the differential, "
            "`grad` the gradient of a",
            "scalar in the shape of its argument, `dX` any direction; `vec` stacks columns.",
        ]
        section = None
        for identity in self:
            row = identity.row
            if row.section != section:
                section = row.section
                lines += ["", f"## {section}", "", "| left | right | where |", "|---|---|---|"]
            lines.append(f"| `{row.left()}` | `{row.right}` | {row.where or ''} |")
        return "\n".join(lines) + "\n"


def _evaluate(code: str, values: dict[str, Any]) -> Any:
    return eval(code, {"__builtins__": {}}, {**NAMES, **values})


def _error(left: Any, right: Any) -> float:
    a, b = (np.asarray(x.detach() if isinstance(x, Tensor) else x) for x in (left, right))
    if a.shape != b.shape:
        return float("inf")
    scale = max(np.abs(a).max(initial=0.0), np.abs(b).max(initial=0.0), 1e-300)
    return float(np.abs(a - b).max(initial=0.0) / scale)


def _check(row: Row, rng: np.random.Generator) -> float:
    """How far apart the sides are, as a share of the largest entry."""
    values = {name: Tensor(draw(kind, rng)) for name, kind in row.arguments.items()}
    if row.kind == "equal":
        return _error(_evaluate(row.function, values), _evaluate(row.right, values))
    names = row.by.split()
    others = {name: value for name, value in values.items() if name not in names}

    def function(*xs: Any) -> Any:
        return _evaluate(row.function, {**others, **dict(zip(names, xs, strict=True))})

    primals = tuple(values[name] for name in names)
    out, pull = vjp(function, *primals)
    if row.kind == "grad":
        gradient = pull(Tensor(np.ones(out.shape)))
        return _error(gradient[0] if isinstance(gradient, tuple) else gradient,
                      _evaluate(row.right, values))  # fmt: skip
    tangents = tuple(Tensor(draw(row.direction or values[name].shape, rng)) for name in names)
    _, pushed = jvp(function, primals, tangents)
    named = {f"d{name}": t for name, t in zip(names, tangents, strict=True)}
    right = _evaluate(row.right, {**values, **named})
    # reverse mode: <G, df> = <vjp(G), dX>
    G = Tensor(rng.standard_normal(out.shape))
    pulled = pull(G)
    pulled = pulled if isinstance(pulled, tuple) else (pulled,)
    products = [g.detach().numpy() * t.numpy() for g, t in zip(pulled, tangents, strict=True)]
    expected = G.numpy() * right.detach().numpy()
    size = max(np.abs(expected).sum(), 1e-300)
    adjoint = abs(sum(p.sum() for p in products) - expected.sum()) / size
    return max(_error(pushed, right), float(adjoint))


def identities(seed: int = 0) -> Identities:
    """The table of identities, every row checked at a random point.

    >>> table = identities()
    >>> all(identity.holds for identity in table)
    True
    >>> print(table[0])
    d(X.T)  =  dX.T    [ok]
    """
    rng = np.random.default_rng(seed)
    return Identities(CheckedIdentity(row, _check(row, rng)) for row in ROWS)
