"""explain: derivations, structures, gradients as formulas, expression strings, the command."""

from __future__ import annotations

import ast
import re
import subprocess

import numpy as np
import pytest
import scipy.linalg
import scipy.special

import tilegrad as tg
from tilegrad.cli import main
from tilegrad.explanation import algebra, notation
from tilegrad.explanation.expression import Expression, ExpressionError, sample


def values(**shapes):
    rng = np.random.default_rng(0)
    return {name: sample(shape, rng) for name, shape in shapes.items()}


def explained(source, wrt=None, **shapes):
    expression = Expression(source)
    given = values(**shapes)
    names = expression.names
    return tg.explain(
        lambda *tensors: expression(dict(zip(names, tensors, strict=True))),
        *(given[name] for name in names),
        wrt=wrt,
        names=names,
    )


M, V, N = (3, 3), (3,), ()

#: (expression, by, shapes, formula): the gradients that books print.
FORMULAS = [
    ("trace(A @ X @ B)", "X", {"A": (2, 3), "X": (3, 4), "B": (4, 2)}, "A.T @ B.T"),
    ("trace(A @ X)", "X", {"A": (2, 3), "X": (3, 2)}, "A.T"),
    ("trace(X)", "X", {"X": M}, "eye(3)"),
    ("x.T @ B @ x", "x", {"x": V, "B": M}, "(B + B.T) @ x"),
    ("x.T @ B @ x", "B", {"x": V, "B": M}, "x @ x.T"),
    ("sum((A@x-y)**2)", "x", {"A": (3, 2), "x": (2,), "y": V}, "2 * A.T @ (A @ x - y)"),
    ("sum((A@x-y)**2)", "A", {"A": (3, 2), "x": (2,), "y": V}, "2 * (A @ x - y) @ x.T"),
    ("sum((A@X)**2)", "X", {"A": M, "X": (3, 2)}, "2 * A.T @ A @ X"),
    ("logdet(X)", "X", {"X": M}, "inv(X).T"),
    ("det(X)", "X", {"X": M}, "cofactor(X)"),
    ("sum(solve(X, b))", "b", {"X": M, "b": V}, "solve(X.T, ones(3, 1))"),
    ("trace(expm(X))", "X", {"X": M}, "expm(X.T)"),
    ("-sum(t * log_softmax(X @ b, 0))", "X", {"X": M, "b": V, "t": V},
     "(softmax(X @ b) * sum(t) - t) @ b.T"),
    ("trace(inv(X))", "X", {"X": M}, "-inv(X).T @ inv(X).T"),
    ("a.T @ x", "x", {"a": V, "x": V}, "a"),
    ("sum(X)", "X", {"X": (2, 3)}, "ones(2, 3)"),
    ("sum(x**3)", "x", {"x": V}, "3 * x**2"),
    ("sum(exp(x))", "x", {"x": V}, "exp(x)"),
    ("norm(X)", "X", {"X": M}, "X / sqrt(sum(X**2))"),
    ("log(sum(exp(x)))", "x", {"x": V}, "exp(x) / sum(exp(x))"),
    ("sum(a * x)", "x", {"a": V, "x": V}, "a"),
    ("sum(t * X)", "t", {"t": N, "X": M}, "sum(X)"),
    ("A @ X @ B", "X", {"A": (2, 3), "X": (3, 4), "B": (4, 2)}, "A.T @ G @ B.T"),
    ("sin(A @ x + b)", "x", {"A": M, "x": V, "b": V}, "A.T @ (G * cos(A @ x + b))"),
    ("solve(A, b)", "b", {"A": M, "b": V}, "solve(A.T, G)"),
    ("inv(X)", "X", {"X": M}, "-inv(X).T @ G @ inv(X).T"),
    ("sum(A @ x) - sum(A @ x)", "x", {"A": M, "x": V}, "0"),
]


@pytest.mark.parametrize(
    ("source", "by", "shapes", "formula"), FORMULAS, ids=[f"{s} by {b}" for s, b, *_ in FORMULAS]
)
def test_formulas(source, by, shapes, formula):
    found = explained(source, by, **shapes)
    assert found.formula(by) == formula


def test_formula_of_one_of_several_results():
    found = tg.explain(lambda X: tg.linalg.slogdet(X)[1], tg.tensor(np.diag([1.0, -2.0, 3.0])))
    assert found.formula("X") == "inv(X).T"


@pytest.mark.parametrize(("source", "by", "shapes", "formula"), FORMULAS)
def test_formulas_give_the_gradient_in_numpy(source, by, shapes, formula):
    """The printed text itself, read by Python with NumPy's functions, against the gradient."""
    given = values(**shapes)
    (gradient,) = explained(source, by, **shapes).gradients
    matrices = {name: v.reshape(v.shape or (1, 1)) for name, v in given.items()}
    matrices = {n: v[:, None] if v.ndim == 1 else v for n, v in matrices.items()}
    expression = Expression(source)
    out = expression({name: tg.tensor(v) for name, v in given.items()})
    cotangent = np.random.default_rng(0).standard_normal(out.shape)
    names = {
        "ones": lambda *shape: np.ones(shape), "eye": np.eye, "inv": np.linalg.inv,
        "solve": np.linalg.solve, "expm": scipy.linalg.expm, "cofactor": tg.linalg.cofactor,
        "softmax": lambda x: scipy.special.softmax(x, 0), "exp": np.exp, "cos": np.cos,
        "sqrt": np.sqrt, "sum": np.sum,
        "G": cotangent[:, None] if cotangent.ndim == 1 else cotangent, **matrices,
    }  # fmt: skip
    code = compile(ast.parse(formula, mode="eval"), "formula", "eval")
    found = np.asarray(eval(code, {"__builtins__": {}}, names))
    shape = gradient.value.shape
    found = np.broadcast_to(found, shape) if found.size == 1 else found.reshape(shape)
    np.testing.assert_allclose(found, gradient.value, rtol=1e-12, atol=1e-13)
    assert gradient.error <= 1e-12


def test_gradients_are_those_of_grad():
    given = values(W=(3, 4), x=(4,), V=(2, 3), y=(2,))

    def loss(W, x, V, y):
        return ((V @ tg.tanh(W @ x) - y) ** 2).mean()

    found = tg.explain(loss, *given.values())
    expected = tg.func.grad(loss, (0, 1, 2, 3))(*map(tg.tensor, given.values()))
    for gradient, value in zip(found.gradients, expected, strict=True):
        np.testing.assert_allclose(gradient.value, value.numpy(), rtol=1e-13)
        assert gradient.formula is not None
    assert found.formula("V") == "(V @ tanh(W @ x) - y) @ tanh(x.T @ W.T)"


def test_a_formula_that_the_numbers_do_not_confirm_is_not_shown(monkeypatch):
    from tilegrad.explanation import convert

    monkeypatch.setitem(convert._RULES, "cos", lambda step, x: x[0])
    found = explained("sum(sin(x))", x=V)
    assert found.formula("x") is None
    assert found.gradients[0].error > 1e-3
    assert "no formula in matrix notation that the numbers confirm" in str(found)


# ---- the table ------------------------------------------------------


def test_table_of_the_first_exercise():
    """sin(Ax + b): every node, its local and accumulated Jacobians, and FLOPs."""
    found = explained("sin(A @ x + b)", A=(3, 4), x=(4,), b=(3,))
    table = {row.name: row for row in found.rows}
    assert list(table) == ["A", "x", "b", "v1", "v2", "v3"]
    assert [row.formula for row in found.rows[3:]] == ["A @ x", "v1 + b", "sin(v2)"]
    assert [row.shape for row in found.rows[3:]] == [(3,), (3,), (3,)]
    local = {(row.name, p.by): (p.shape, p.structure) for row in found.rows for p in row.partials}
    assert local == {
        ("v1", "A"): ((3, 12), "kronecker"),
        ("v1", "x"): ((3, 4), "dense"),
        ("v2", "v1"): ((3, 3), "identity"),
        ("v2", "b"): ((3, 3), "identity"),
        ("v3", "v2"): ((3, 3), "diagonal"),
    }
    assert table["A"].accumulated == (3, 12)
    assert table["v1"].accumulated == (3, 3)
    assert [row.flops for row in found.rows[3:]] == [24, 3, 3]
    assert found.total_flops == 30


def test_accumulated_jacobians_are_the_products_of_the_local_ones():
    """The chain rule with the table's dimensions: they fit, and the product is the Jacobian."""
    from tilegrad import calculus

    given = values(A=(3, 4), x=(4,), b=(3,))
    A, x, b = map(tg.tensor, given.values())
    v1 = A @ x
    chain = calculus.jacobian(lambda v: tg.sin(v), v1 + b) @ calculus.jacobian(
        lambda v: v + b, v1
    ) @ calculus.jacobian(lambda x: A @ x, x)  # fmt: skip
    whole = calculus.jacobian(lambda x: tg.sin(A @ x + b), x)
    np.testing.assert_allclose(chain.to_dense().numpy(), whole.to_dense().numpy(), rtol=1e-13)


def test_forms():
    found = explained("sum((A@x-y)**2)", "x", A=(3, 2), x=(2,), y=(3,))
    text = str(found)
    assert text.splitlines()[0].split() == [
        "node", "formula", "shape", "local", "Jacobians", "accumulated", "FLOPs",
    ]  # fmt: skip
    assert "dv4/dx = 2 * A.T @ (A @ x - y)    (2)" in text
    markdown = found.markdown()
    assert markdown.count("\n|") == 8
    assert "`v1 - y`" in markdown
    latex = found.latex()
    assert r"\frac{\partial v_{4}}{\partial x} &= 2 \, A^{\top} \, \left(A \, x - y\right)" in latex
    assert latex.count("{") == latex.count("}")
    dot = found.dot()
    assert dot.startswith("digraph {")
    assert dot.endswith("}")
    assert re.findall(r"(\w+) -> (\w+)", dot) == [
        ("A", "v1"), ("x", "v1"), ("v1", "v2"), ("y", "v2"), ("v2", "v3"), ("v3", "v4"),
    ]  # fmt: skip


def test_graphviz_accepts_the_dot_form():
    try:
        done = subprocess.run(
            ["dot", "-Tsvg"], input=explained("sum(x)", x=V).dot(), text=True, capture_output=True,
            check=False,
        )  # fmt: skip
    except FileNotFoundError:
        pytest.skip("Graphviz is not installed")
    assert done.returncode == 0, done.stderr


def test_tensors_of_three_dimensions_get_a_table_without_formula():
    found = tg.explain(lambda x: (x * x).sum(), np.ones((2, 3, 4)))
    assert found.formula("x") is None
    assert [row.shape for row in found.rows] == [(2, 3, 4), (2, 3, 4), ()]


def test_explain_errors():
    with pytest.raises(ValueError, match="no floating argument 'z'"):
        tg.explain(lambda x: x, np.ones(2), wrt="z")
    with pytest.raises(TypeError, match="one tensor"):
        tg.explain(lambda x: 1.0, np.ones(2))
    with pytest.raises(ValueError, match="different names"):
        tg.explain(lambda x, y: x, np.ones(2), np.ones(2), names=["a", "a"])


# ---- algebra ------------------------------------------------------


def test_algebra_keeps_values():
    """Random expressions: what the constructors simplify has the value of the plain computation."""
    rng = np.random.default_rng(0)
    base = {name: rng.uniform(0.5, 1.5, (3, 3)) for name in "ABC"}
    base["t"] = rng.uniform(0.5, 1.5, (1, 1))

    def build(depth):
        if depth == 0:
            name = str(rng.choice(["A", "B", "C", "A", "t", "eye", "ones"]))
            if name == "eye":
                return algebra.Eye((3, 3)), np.eye(3)
            if name == "ones":
                return algebra.Ones((3, 3)), np.ones((3, 3))
            return algebra.Name(base[name].shape, name), base[name]
        kind = int(rng.integers(6))
        x, a = build(depth - 1)
        if kind == 0:
            return algebra.transpose(x), a.T
        if kind == 1:
            c = float(rng.choice([-1.0, 0.5, 2.0]))
            return algebra.scale(c, x), c * a
        if kind == 2:
            return algebra.power(x, 2.0), a**2
        y, b = build(depth - 1)
        if kind == 3:
            return algebra.times(x, y), a * b
        if kind == 4 and x.shape == y.shape:
            return algebra.matmul(x, y), a @ b
        return algebra.add(x, algebra.scale(-1.0, y)), a - b

    for _ in range(400):
        expression, expected = build(int(rng.integers(1, 6)))
        found = algebra.evaluate(expression, base)
        scale = max(1.0, float(np.abs(expected).max()))
        assert np.abs(found - expected).max() <= 1e-10 * scale, notation.text(expression)
        text = notation.text(expression)
        names = {**base, "eye": np.eye, "ones": lambda *s: np.ones(s), "sqrt": np.sqrt}
        read = eval(compile(text, "text", "eval"), {"__builtins__": {}}, names)
        assert np.abs(read - expected).max() <= 1e-10 * scale, text


# ---- expressions and the command ------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("__import__('os')", "unknown function '__import__'"),
        ("x.__class__", "attribute .__class__"),
        ("(lambda: 1)()", "only functions by name"),
        ("[x]", "List is not understood"),
        ("x if x else y", "IfExp is not understood"),
        ("'a'", "is no number"),
        ("x ^ 2", r"write \*\*"),
        ("x'", "no expression"),
        ("frobnicate(x)", "unknown function 'frobnicate'"),
        ("sum(x, axis=0)", "keyword arguments"),
        ("x.tofile(y)", "a few methods"),
        ("_x", "underscore"),
        ("x := 3", "no expression"),
    ],
)
def test_expressions_are_refused(source, text):
    with pytest.raises(ExpressionError, match=text):
        Expression(source)


def test_command(capsys):
    assert main(["explain", "sum((A@x-y)**2)", "--wrt", "x", "A:3x2", "x:2", "y:3"]) == 0
    text = capsys.readouterr().out
    assert "dv4/dx = 2 * A.T @ (A @ x - y)" in text
    assert "dv4/dA" in text.splitlines()[2]
    assert main(["explain", "trace(A@X)", "A:2x3", "X:3x2", "--wrt", "X", "--format", "latex"]) == 0
    assert r"A^{\top}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["sum(A@x)", "A:3x2"], "no shape for x"),
        (["sum(x)", "x:2", "y:3"], "y does not occur"),
        (["sum(x)", "x:2", "--wrt", "z"], "--wrt z"),
        (["sum(x)", "x=2"], "write A:3x2"),
        (["A@x", "A:3x2", "x:4"], "2 columns"),
        (["import os"], "no expression"),
    ],
)
def test_command_errors(capsys, arguments, text):
    assert main(["explain", *arguments]) == 1
    assert text in capsys.readouterr().err
