"""Test modules share their tables by plain import."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--fetch-testers",
        action="store_true",
        help="let the tests of the reference BLAS testers download their Debian packages",
    )
