"""The table of identities: every row holds, at several points, and its page is up to date."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import tilegrad as tg
from tilegrad.calculus import identity_table
from tilegrad.calculus.identity_rows import ROWS, Row

PAGE = Path(__file__).resolve().parents[1] / "docs" / "identities.md"


def test_the_table_is_whole():
    assert len(ROWS) >= 70
    assert {row.kind for row in ROWS} == {"d", "grad", "equal"}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.left()} {row.where}")
def test_row(row: Row):
    for seed in range(3):
        error = identity_table._check(row, np.random.default_rng(seed))
        # a random point may be ill-conditioned: the table itself is held to 1e-12 at seed 0
        assert error <= 1e-11, f"{row.left()} = {row.right} is off by {error:.2g}"


def test_the_table_checks_itself():
    table = tg.calculus.identities()
    assert len(table) == len(ROWS)
    assert [str(row) for row in table if not row.holds] == []


@pytest.mark.parametrize(
    "row",
    [
        Row("wrong", "d", "X @ Y", "dX @ Y", {"X": (2, 3), "Y": (3, 2)}, by="X Y"),
        Row("wrong", "grad", "trace(X @ X)", "2 * X", {"X": (3, 3)}),
        Row("wrong", "equal", "vec(X.T)", "vec(X)", {"X": (2, 3)}),
    ],
    ids=lambda row: row.kind,
)
def test_a_wrong_identity_is_seen(row: Row):
    checked = identity_table.CheckedIdentity(
        row, identity_table._check(row, np.random.default_rng(0))
    )
    assert checked.error > 1e-3
    assert not checked.holds
    assert "OFF BY" in str(checked)


def test_the_page_is_up_to_date():
    made = tg.calculus.identities().markdown()
    assert PAGE.read_text(encoding="utf-8") == made, (
        "docs/identities.md is not what the table says; write it anew with "
        "calculus.identities().markdown()"
    )
