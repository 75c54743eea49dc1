"""Printing matrix expressions: Python's notation and LaTeX."""

from __future__ import annotations

from tilegrad.explanation.algebra import (
    Apply,
    Entrywise,
    Expr,
    Eye,
    Name,
    Ones,
    Product,
    Sum,
    Transpose,
)

#: How tightly an expression holds together: sums, products, powers, atoms.
_SUM, _PRODUCT, _POWER, _ATOM = range(4)

_LATEX_FUNCTIONS = {
    "exp": r"\exp", "log": r"\log", "sin": r"\sin", "cos": r"\cos", "tan": r"\tan",
    "tanh": r"\tanh", "det": r"\det", "trace": r"\operatorname{tr}", "sigmoid": r"\sigma",
}  # fmt: skip


def _coefficient(value: float) -> str:
    if value == int(value) and abs(value) < 1e15:
        return str(int(value))
    return f"{value:.12g}"


class _Printer:
    """Python's notation."""

    def show(self, x: Expr, level: int = _SUM) -> str:
        """``x``, in brackets if it holds less tightly than ``level``."""
        text, own = self.parts(x)
        return self.bracket(text) if own < level else text

    def bracket(self, text: str) -> str:
        return f"({text})"

    def parts(self, x: Expr) -> tuple[str, int]:
        if isinstance(x, Name):
            return self.name(x.name), _ATOM
        if isinstance(x, Ones):
            return ("1", _ATOM) if x.shape == (1, 1) else (self.ones(x.shape), _ATOM)
        if isinstance(x, Eye):
            return self.eye(x.shape[0]), _ATOM
        if isinstance(x, Sum):
            return self.sum(x)
        if isinstance(x, Product):
            return self.product(x), _PRODUCT
        if isinstance(x, Entrywise):
            return self.entrywise(x)
        if isinstance(x, Transpose):
            return self.transposed(self.show(x.body, _ATOM)), _ATOM
        assert isinstance(x, Apply)
        return self.apply(x), _ATOM

    def sum(self, x: Sum) -> tuple[str, int]:
        if not x.terms:
            return "0", _ATOM
        sizes = {abs(c) for c, _ in x.terms}
        if len(x.terms) > 1 and len(sizes) == 1 and sizes != {1.0}:
            size = sizes.pop()
            inner = Sum(x.shape, tuple((c / size, body) for c, body in x.terms))
            return self.term(size, inner), _PRODUCT
        if len(x.terms) > 1 and all(isinstance(body, Transpose) for _, body in x.terms):
            inner = Sum(x.shape[::-1], tuple((c, b.body) for c, b in x.terms))  # type: ignore[attr-defined]
            return self.transposed(self.bracket(self.show(inner))), _ATOM
        text = ""
        # no sign in front; a matrix before its transpose
        for c, body in sorted(x.terms, key=lambda t: (t[0] < 0, isinstance(t[1], Transpose))):
            sign = " - " if c < 0 else " + "
            if len(x.terms) > 1 and isinstance(body, Ones):  # a number beside a matrix
                body = Ones((1, 1))
            text += (sign if text else "-" if c < 0 else "") + self.term(abs(c), body)
        own = _PRODUCT if len(x.terms) == 1 and x.terms[0][0] > 0 else _SUM
        return text, own

    def term(self, size: float, body: Expr) -> str:
        if isinstance(body, Ones) and body.shape == (1, 1):
            return _coefficient(size)
        if size == 1:
            return self.show(body, _PRODUCT)
        inverse = 1 / size
        if size < 1 and abs(inverse - round(inverse)) < 1e-12 * inverse:
            return self.quotient(self.show(body, _PRODUCT), str(round(inverse)))
        return self.multiple(_coefficient(size), self.show(body, _PRODUCT))

    def factor(self, x: Expr, alone: bool) -> str:
        """A factor of a matrix product: entrywise products among them need brackets."""
        return self.show(x, _PRODUCT if isinstance(x, Product) and alone else _POWER)

    def entrywise(self, x: Entrywise) -> tuple[str, int]:
        above = [(b, p) for b, p in x.factors if p > 0]
        below = [(b, -p) for b, p in x.factors if p < 0]
        over = self.hadamard([self.powered(b, p) for b, p in above]) or "1"
        if not below:
            return over, _PRODUCT if len(above) > 1 else _POWER
        parts = [self.powered(b, p) for b, p in below]
        under = parts[0] if len(parts) == 1 else self.bracket(self.hadamard(parts))
        return self.quotient(over, under), _PRODUCT

    def powered(self, base: Expr, exponent: float) -> str:
        if exponent == 1:
            return self.show(base, _POWER)
        if exponent == 0.5:
            return self.root(base)
        return self.raised(self.show(base, _ATOM), _coefficient(exponent))

    def name(self, name: str) -> str:
        return name

    def ones(self, shape: tuple[int, int]) -> str:
        return f"ones({shape[0]}, {shape[1]})"

    def eye(self, n: int) -> str:
        return f"eye({n})"

    def product(self, x: Product) -> str:
        return " @ ".join(self.factor(f, False) for f in x.factors)

    def hadamard(self, parts: list[str]) -> str:
        return " * ".join(parts)

    def multiple(self, size: str, body: str) -> str:
        return f"{size} * {body}"

    def quotient(self, over: str, under: str) -> str:
        return f"{over} / {under}"

    def raised(self, base: str, exponent: str) -> str:
        return f"{base}**{exponent}"

    def root(self, base: Expr) -> str:
        return f"sqrt({self.show(base)})"

    def transposed(self, body: str) -> str:
        return f"{body}.T"

    def apply(self, x: Apply) -> str:
        return f"{x.function}({', '.join(self.show(a) for a in x.arguments)})"


class _Latex(_Printer):
    """LaTeX."""

    def bracket(self, text: str) -> str:
        return rf"\left({text}\right)"

    def name(self, name: str) -> str:
        head, digits = name.rstrip("0123456789"), name[len(name.rstrip("0123456789")) :]
        head = head if len(head) == 1 else rf"\mathrm{{{head}}}"
        return f"{head}_{{{digits}}}" if digits else head

    def ones(self, shape: tuple[int, int]) -> str:
        return rf"\mathbf{{1}}_{{{shape[0]} \times {shape[1]}}}"

    def eye(self, n: int) -> str:
        return f"I_{{{n}}}"

    def product(self, x: Product) -> str:
        return r" \, ".join(self.factor(f, False) for f in x.factors)

    def hadamard(self, parts: list[str]) -> str:
        return r" \odot ".join(parts)

    def multiple(self, size: str, body: str) -> str:
        return rf"{size} \, {body}"

    def quotient(self, over: str, under: str) -> str:
        return rf"\frac{{{over}}}{{{under}}}"

    def raised(self, base: str, exponent: str) -> str:
        return rf"{base}^{{\circ {exponent}}}"

    def root(self, base: Expr) -> str:
        return rf"\sqrt{{{self.show(base)}}}"

    def transposed(self, body: str) -> str:
        return rf"{body}^{{\top}}"

    def apply(self, x: Apply) -> str:
        inside = ", ".join(self.show(a) for a in x.arguments)
        if x.function == "inv":
            return rf"{self.show(x.arguments[0], _ATOM)}^{{-1}}"
        plain = x.function.replace("_", r"\_")
        function = _LATEX_FUNCTIONS.get(x.function, rf"\operatorname{{{plain}}}")
        return rf"{function}\left({inside}\right)"


def text(x: Expr) -> str:
    """In Python's notation.

    >>> from tilegrad.explanation.algebra import Name, add, matmul, transpose
    >>> B, x = Name((2, 2), "B"), Name((2, 1), "x")
    >>> text(add(matmul(B, x), matmul(transpose(B), x)))
    '(B + B.T) @ x'
    """
    return _Printer().show(x)


def latex(x: Expr) -> str:
    """In LaTeX."""
    return _Latex().show(x)
