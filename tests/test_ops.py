"""Every operation: values against an oracle, first and second derivatives in both modes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from cases import CASES, WITHOUT_ROW, Case

import tilegrad as tg
from tilegrad.autograd import forward_mode
from tilegrad.autograd.gradcheck import gradcheck, gradgradcheck
from tilegrad.ops import OPS

EXECUTED: dict[str, int] = {"value": 0, "first": 0, "adjoint": 0, "second": 0}


def _is_float(x: Any) -> bool:
    return isinstance(x, np.ndarray) and x.dtype == np.float64


def _differentiable(row: Case) -> list[int]:
    op = OPS[row.op]
    if op.discrete:
        return []
    return [i for i, x in enumerate(row.draw()) if _is_float(x) and op.has_vjp(i)]


SMOOTH = [row for row in CASES if _differentiable(row)]


def _tensors(row: Case, requires_grad: bool) -> list[Any]:
    chosen = _differentiable(row)
    return [
        tg.tensor(x, requires_grad=requires_grad and i in chosen)
        if isinstance(x, np.ndarray)
        else x
        for i, x in enumerate(row.draw())
    ]


def _call(row: Case) -> Any:
    def call(*xs: Any) -> Any:
        arrays = [x.detach().numpy() if isinstance(x, tg.Tensor) else x for x in xs]
        derived = row.derived(*arrays) if row.derived else ()
        return OPS[row.op](*xs, *derived, **row.attrs)

    return call


def _several(out: Any) -> tuple[Any, ...]:
    return out if isinstance(out, tuple) else (out,)


def test_no_operation_without_row():
    assert not WITHOUT_ROW, f"operations without a row in tests/cases*.py: {WITHOUT_ROW}"


def _covered(rules: Any) -> set[str]:
    """The inputs that rules serve: a key may name several."""
    return {name for key in rules for name in key.split()}


def test_no_operation_without_rules():
    for name, op in OPS.items():
        if op.discrete:
            continue
        assert op.vjp_rules, f"{name} has no vjp rule and is not discrete"
        if op.jvp_kind == "rules":
            assert _covered(op.jvp_rules) == _covered(op.vjp_rules), f"{name}: vjp and jvp differ"


#: Inputs that have no rule, and why. Every other one must have.
INTEGERS = "indices, labels or a seed"
CONSTANT = "computed from the input beside it, whose rule counts for both"
WITHOUT_RULE = {
    ("where", "c"): "a condition",
    ("heaviside", "x"): "the result is piecewise constant in it",
    ("attention", "seed"): INTEGERS,
    ("self_attention", "seed"): INTEGERS,
    ("pool_scatter", "indices"): INTEGERS,
    ("pool_gather", "indices"): INTEGERS,
    ("cross_entropy", "target"): INTEGERS,
    ("cross_entropy", "weight"): "class weights are constants of the loss",
    ("cross_entropy_grad", "target"): INTEGERS,
    ("cross_entropy_grad", "weight"): "class weights are constants of the loss",
    ("embedding", "indices"): INTEGERS,
    ("embedding_grad", "indices"): INTEGERS,
    ("gather", "index"): INTEGERS,
    ("scatter_add", "index"): INTEGERS,
    ("scatter", "index"): INTEGERS,
    ("known_inv", "factors"): CONSTANT,
    ("known_inv", "pivots"): CONSTANT,
    ("known_solve", "factors"): CONSTANT,
    ("known_solve", "pivots"): CONSTANT,
    ("known_cofactor", "factors"): CONSTANT,
    ("known_cofactor", "pivots"): CONSTANT,
    ("batch_norm_apply", "mean"): CONSTANT,
    ("batch_norm_apply", "rstd"): CONSTANT,
}


def _inputs(op: Any) -> set[str]:
    return {"*"} if op.variadic else set(op.inputs)


def test_every_input_has_a_rule_or_a_reason():
    """The rows differentiate where there is a rule: one that is lost would not be missed there."""
    without = {
        (name, missing)
        for name, op in OPS.items()
        if not op.discrete
        for missing in _inputs(op) - _covered(op.vjp_rules)
    }
    assert without == set(WITHOUT_RULE)


def test_every_rule_is_differentiated_in_some_row():
    run = {
        (row.op, "*" if OPS[row.op].variadic else OPS[row.op].inputs[position])
        for row in SMOOTH
        for position in _differentiable(row)
    }
    rules = {
        (name, covered)
        for name, op in OPS.items()
        if not op.discrete
        for covered in _covered(op.vjp_rules)
    }
    assert rules == run


@pytest.mark.parametrize("row", CASES, ids=str)
def test_value(row: Case):
    expected = _several(row.oracle(*row.draw(), **row.attrs))
    outs = {
        "arrays": _call(row)(*row.draw()),
        "tensors": _call(row)(*_tensors(row, False)),
        "recorded": _call(row)(*_tensors(row, True)),
    }
    for how, out in outs.items():
        assert len(_several(out)) == len(expected)
        for value, wanted in zip(_several(out), expected, strict=True):
            assert value.shape == np.shape(wanted), how
            np.testing.assert_allclose(
                np.asarray(value.detach() if how != "arrays" else value), wanted, rtol=row.rtol,
                atol=row.rtol,
            )  # fmt: skip
    single = [x.astype(np.float32) if _is_float(x) else x for x in row.draw()]
    out = _several(_call(row)(*single))[0]
    assert out.dtype != np.float64 or "dtype" in row.attrs, "float32 does not stay float32"
    EXECUTED["value"] += 1


@pytest.mark.parametrize("row", SMOOTH, ids=str)
def test_first_derivatives(row: Case):
    gradcheck(_call(row), _tensors(row, True), rtol=1e-6, atol=1e-6)
    EXECUTED["first"] += 1


@pytest.mark.parametrize("row", SMOOTH, ids=str)
def test_reverse_and_forward_are_adjoint(row: Case):
    """<vjp g, t> = <g, jvp t>: far sharper than differences."""
    rng = np.random.default_rng(1)
    xs = _tensors(row, True)
    chosen = _differentiable(row)
    outs = [out for out in _several(_call(row)(*xs)) if out.dtype.kind == "f"]
    cotangents = [rng.standard_normal(out.shape) for out in outs]
    gradients = tg.autograd.grad(
        outs, [xs[i] for i in chosen], cotangents, allow_unused=True, materialize_grads=True
    )
    tangents = {i: rng.standard_normal(xs[i].shape) for i in chosen}
    with forward_mode.level() as level:
        args = [
            forward_mode.dual(x, tg.tensor(tangents[i]), level) if i in tangents else x
            for i, x in enumerate(xs)
        ]
        pushed = [out for out in _several(_call(row)(*args)) if out.dtype.kind == "f"]
        found = [forward_mode.tangent_of(out, level) for out in pushed]
    left = sum(np.sum(g.numpy() * tangents[i]) for i, g in zip(chosen, gradients, strict=True))
    parts = [
        c * t.detach().numpy() for c, t in zip(cotangents, found, strict=True) if t is not None
    ]
    right = sum(np.sum(part) for part in parts)
    scale = max(sum(np.sum(np.abs(part)) for part in parts), 1.0)
    assert abs(left - right) <= 1e-13 * scale
    EXECUTED["adjoint"] += 1


@pytest.mark.parametrize("row", [row for row in SMOOTH if row.second_order], ids=str)
def test_second_derivatives(row: Case):
    gradgradcheck(_call(row), _tensors(row, True), rtol=1e-5, atol=1e-5)
    EXECUTED["second"] += 1


def test_the_table_has_not_shrunk():
    """A table that silently shrinks would pass every test above. Raise these with the table."""
    assert len(CASES) >= 354
    assert len(SMOOTH) >= 292


def test_all_of_the_table_was_run(request: pytest.FixtureRequest):
    rows = [item for item in request.session.items if "test_ops.py::test_" in item.nodeid]
    second = sum(row.second_order for row in SMOOTH)
    if len(rows) < len(CASES) + 2 * len(SMOOTH) + second:
        pytest.skip("only part of this file was selected")
    assert EXECUTED["value"] == len(CASES)
    assert EXECUTED["first"] == EXECUTED["adjoint"] == len(SMOOTH)
    without = {row.op for row in SMOOTH if not row.second_order}
    assert EXECUTED["second"] == second
    assert not without, f"operations without a second-order check: {sorted(without)}"
