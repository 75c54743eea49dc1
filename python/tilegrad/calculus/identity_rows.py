"""The rows of :func:`tilegrad.calculus.identities`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Row:
    """An identity in code.

    ``kind`` says what ``right`` is: ``"d"`` the differential of ``function`` by the names in ``by``
    in the directions dX ..., ``"grad"`` its gradient, ``"equal"`` the same value. ``arguments``
    maps names to shapes or to kinds of matrices, see :func:`draw`.
    """

    section: str
    kind: str
    function: str
    right: str
    arguments: dict[str, Any] = field(default_factory=dict)
    by: str = "X"
    where: str = ""
    #: Kind of the direction, if not any matrix of the argument's shape.
    direction: Any = None

    def left(self) -> str:
        """The left side as it is printed."""
        if self.kind == "equal":
            return self.function
        return f"d({self.function})" if self.kind == "d" else f"grad({self.function})"


def draw(kind: Any, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """A random array of a shape, or a 3 x 3 matrix of a kind.

    ``regular``, ``symmetric``, ``spd`` (positive definite), ``singular`` (rank 2), ``real`` (a real
    spectrum); ``labels`` is a probability vector.
    """
    if isinstance(kind, tuple):
        return rng.standard_normal(kind)
    a = rng.standard_normal((3, 3))
    if kind == "regular":
        return a + 3 * np.eye(3)
    if kind == "symmetric":
        return a + a.T
    if kind == "spd":
        return a @ a.T + np.eye(3)
    if kind == "singular":
        return a[:, :2] @ a[:2]
    if kind == "labels":
        return rng.dirichlet(np.ones(4))
    raise ValueError(f"unknown kind of matrix {kind!r}")


R, S, P = "regular", "symmetric", "spd"
XY = {"X": (2, 3), "Y": (3, 4)}
SAME = {"X": (2, 3), "Y": (2, 3)}
AXB = {"A": (2, 3), "X": (3, 4), "B": (4, 2)}


def _rows() -> list[Row]:
    rows: list[Row] = []

    def section(title: str, *entries: tuple[Any, ...]) -> None:
        for kind, function, right, arguments, *rest in entries:
            options = rest[0] if rest else {}
            rows.append(Row(title, kind, function, right, arguments, **options))

    both = {"by": "X Y"}
    section(
        "Sums and products",
        ("d", "X.T", "dX.T", {"X": (2, 3)}),
        ("d", "3 * X", "3 * dX", {"X": (2, 3)}),
        ("d", "X + Y", "dX + dY", SAME, both),
        ("d", "X @ Y", "dX @ Y + X @ dY", XY, both),
        ("d", "A @ X @ B", "A @ dX @ B", AXB),
        ("d", "X @ X.T", "dX @ X.T + X @ dX.T", {"X": (2, 3)}),
        ("d", "hadamard(X, Y)", "hadamard(dX, Y) + hadamard(X, dY)", SAME, both),
        ("d", "kron(X, Y)", "kron(dX, Y) + kron(X, dY)", XY, both),
        ("d", "khatri_rao(X, Y)", "khatri_rao(dX, Y) + khatri_rao(X, dY)",
         {"X": (2, 3), "Y": (4, 3)}, both),
        ("d", "outer(x, y)", "outer(dx, y) + outer(x, dy)", {"x": (3,), "y": (2,)}, {"by": "x y"}),
        ("d", "vec(X)", "vec(dX)", {"X": (2, 3)}),
        ("d", "diagonal(X)", "diagonal(dX)", {"X": (3, 3)}),
        ("d", "matrix_power(X, 3)", "dX @ X @ X + X @ dX @ X + X @ X @ dX", {"X": (3, 3)}),
    )  # fmt: skip
    section(
        "Traces and quadratic forms",
        ("d", "trace(X)", "trace(dX)", {"X": (3, 3)}),
        ("d", "trace(X @ Y)", "trace(dX @ Y) + trace(X @ dY)", {"X": (2, 3), "Y": (3, 2)}, both),
        ("grad", "trace(A @ X @ B)", "A.T @ B.T", AXB),
        ("grad", "trace(X.T @ A @ X)", "(A + A.T) @ X", {"A": (3, 3), "X": (3, 2)}),
        ("grad", "trace(A @ X.T @ B @ X @ C)", "B @ X @ C @ A + B.T @ X @ A.T @ C.T",
         {"A": (2, 2), "B": (3, 3), "C": (2, 2), "X": (3, 2)}),
        ("grad", "a @ X @ b", "outer(a, b)", {"a": (3,), "X": (3, 2), "b": (2,)}),
        ("grad", "x @ B @ x", "(B + B.T) @ x", {"B": (3, 3), "x": (3,)}, {"by": "x"}),
        ("grad", "sum((A @ x - b) ** 2)", "2 * A.T @ (A @ x - b)",
         {"A": (4, 3), "x": (3,), "b": (4,)}, {"by": "x"}),
        ("grad", "sum(X * X)", "2 * X", {"X": (2, 3)}),
        ("grad", "norm(X)", "X / norm(X)", {"X": (2, 3)}),
    )  # fmt: skip
    section(
        "Inverse and systems",
        ("d", "inv(X)", "-inv(X) @ dX @ inv(X)", {"X": R}),
        ("d", "solve(X, B)", "-solve(X, dX @ solve(X, B))", {"X": R, "B": (3, 2)}),
        ("d", "pinv(X)",
         "-pinv(X) @ dX @ pinv(X) + pinv(X) @ pinv(X).T @ dX.T @ (eye(4) - X @ pinv(X))",
         {"X": (4, 3)}, {"where": "independent columns"}),
        ("grad", "a @ inv(X) @ b", "-inv(X).T @ outer(a, b) @ inv(X).T",
         {"a": (3,), "X": R, "b": (3,)}),
        ("grad", "trace(inv(X))", "-(inv(X) @ inv(X)).T", {"X": R}),
    )  # fmt: skip
    section(
        "Determinants",
        ("d", "det(X)", "trace(adjugate(X) @ dX)", {"X": R}),
        ("d", "det(X)", "trace(adjugate(X) @ dX)", {"X": "singular"}, {"where": "singular X too"}),
        ("d", "det(X)", "det(X) * trace(inv(X) @ dX)", {"X": R}),
        ("grad", "det(X)", "cofactor(X)", {"X": "singular"}, {"where": "any X"}),
        ("grad", "logdet(X)", "inv(X).T", {"X": P}),
        ("grad", "det(A @ X @ B)", "det(A @ X @ B) * inv(X).T", {"A": R, "X": R, "B": R}),
        ("grad", "logdet(X.T @ X)", "2 * X @ inv(X.T @ X)", {"X": (4, 3)}),
        ("d", "adjugate(X)", "det(X) * (trace(inv(X) @ dX) * inv(X) - inv(X) @ dX @ inv(X))",
         {"X": R}),
        ("equal", "X @ adjugate(X)", "det(X) * eye(n)", {"X": R}),
    )  # fmt: skip
    section(
        "Entry by entry",
        ("d", "exp(X)", "exp(X) * dX", {"X": (2, 3)}),
        ("d", "sin(X)", "cos(X) * dX", {"X": (2, 3)}),
        ("d", "sigmoid(X)", "sigmoid(X) * (1 - sigmoid(X)) * dX", {"X": (2, 3)}),
        ("d", "tanh(X)", "(1 - tanh(X) ** 2) * dX", {"X": (2, 3)}),
        ("d", "sin(A @ x + b)", "cos(A @ x + b) * (A @ dx)",
         {"A": (4, 3), "x": (3,), "b": (4,)}, {"by": "x"}),
        ("grad", "logsumexp(x)", "exp(x - logsumexp(x))", {"x": (4,)}, {"by": "x"}),
        ("grad", "logsumexp(x) - y @ x", "exp(x - logsumexp(x)) - y",
         {"x": (4,), "y": "labels"}, {"by": "x", "where": "softmax cross-entropy, sum(y) = 1"}),
    )  # fmt: skip
    section(
        "Functions of matrices",
        ("d", "expm(X)", "expm_frechet(X, dX, False)", {"X": R}),
        ("grad", "trace(expm(X))", "expm(X).T", {"X": (3, 3)}),
        ("equal", "expm(X) @ expm(-X)", "eye(n)", {"X": (3, 3)}),
        ("grad", "sum(G * expm(X))", "expm_frechet(X.T, G, False)", {"G": (3, 3), "X": (3, 3)}),
        ("grad", "trace(logm(X))", "inv(X).T", {"X": R}),
        ("equal", "sqrtm(X) @ sqrtm(X)", "X", {"X": R}),
        ("grad", "trace(sqrtm(X))", "inv(sqrtm(X)).T / 2", {"X": R}),
        ("d", "inv(sqrtm(X))", "-inv(sqrtm(X)) @ unvec(solve(kron(eye(n), sqrtm(X)) "
         "+ kron(sqrtm(X), eye(n)), vec(dX)), (3, 3)) @ inv(sqrtm(X))", {"X": P},
         {"where": "symmetric positive definite X, symmetric dX", "direction": S}),
    )  # fmt: skip
    section(
        "Factorisations",
        ("d", "eigvalsh(X)", "diagonal(eigh(X)[1].T @ dX @ eigh(X)[1])", {"X": S},
         {"where": "symmetric X, distinct eigenvalues", "direction": S}),
        ("grad", "sum(eigvalsh(X) ** 2)", "2 * X", {"X": S}),
        ("d", "svdvals(X)", "diagonal(svd(X, False)[0].T @ dX @ svd(X, False)[2].T)",
         {"X": (4, 3)}, {"where": "distinct singular values"}),
        ("grad", "matrix_norm(X, 'nuc')", "svd(X, False)[0] @ svd(X, False)[2]", {"X": (4, 3)},
         {"where": "full rank"}),
        ("d", "cholesky(X)",
         "cholesky(X) @ (tril(inv(cholesky(X)) @ dX @ inv(cholesky(X)).T)"
         " + tril(inv(cholesky(X)) @ dX @ inv(cholesky(X)).T, -1)) / 2", {"X": P},
         {"where": "symmetric dX", "direction": S}),
    )  # fmt: skip
    AB, CD = {"A": (2, 3), "B": (4, 2)}, {"C": (3, 2), "D": (2, 3)}
    section(
        "vec, Kronecker and Hadamard",
        ("equal", "vec(A @ X @ B)", "kron(B.T, A) @ vec(X)", AXB),
        ("equal", "vec(A @ X @ B, 'row')", "kron(A, B.T) @ vec(X, 'row')", AXB),
        ("equal", "vec(X)", "unvec(vec(X), (2, 3)).T.reshape(-1)", {"X": (2, 3)}),
        ("equal", "commutation_matrix(2, 3) @ vec(X)", "vec(X.T)", {"X": (2, 3)}),
        ("equal", "commutation_matrix(4, 2) @ kron(A, B) @ commutation_matrix(3, 2)",
         "kron(B, A)", AB, {"where": "A 2 x 3, B 4 x 2"}),
        ("equal", "duplication_matrix(n) @ vech(X)", "vec(X)", {"X": S}, {"where": "symmetric X"}),
        ("equal", "elimination_matrix(n) @ vec(X)", "vech(X)", {"X": R}),
        ("equal", "kron(A, B) @ kron(C, D)", "kron(A @ C, B @ D)", {**AB, **CD}),
        ("equal", "inv(kron(A, B))", "kron(inv(A), inv(B))", {"A": R, "B": R}),
        ("equal", "det(kron(A, B))", "det(A) ** 3 * det(B) ** 3", {"A": R, "B": R}),
        ("equal", "trace(kron(A, B))", "trace(A) * trace(B)", {"A": R, "B": R}),
        ("equal", "trace(X.T @ Y)", "vec(X) @ vec(Y)", SAME),
        ("equal", "vec(outer(x, y))", "kron(y, x)", {"x": (3,), "y": (2,)}),
        ("equal", "vec(A @ diag(x) @ B)", "khatri_rao(B.T, A) @ x",
         {"A": (2, 3), "x": (3,), "B": (3, 4)}),
        ("equal", "x @ hadamard(X, Y) @ y", "trace(diag(x) @ X @ diag(y) @ Y.T)",
         {**SAME, "x": (2,), "y": (3,)}),
    )  # fmt: skip
    return rows


ROWS: tuple[Row, ...] = tuple(_rows())
