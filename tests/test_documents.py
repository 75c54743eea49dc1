"""What the documents say is true: their code runs, their commands and links exist."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
import re
from pathlib import Path

import numpy as np
import pytest

import tilegrad
from tilegrad.cli import COMMANDS

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("**/*.md")])
FLAGS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS


def modules():
    """Every module of the package; ``__main__`` would run the command line."""
    names = [info.name for info in pkgutil.walk_packages(tilegrad.__path__, "tilegrad.")]
    return ["tilegrad", *(name for name in names if not name.endswith(("__main__", "_native")))]


def relative(path):
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("name", modules())
def test_examples_in_docstrings(name):
    module = importlib.import_module(name)
    with np.printoptions():  # an example may change how arrays are shown
        results = doctest.testmod(module, optionflags=FLAGS)
    assert results.failed == 0


def test_docstring_examples_are_many():
    finder = doctest.DocTestFinder()
    examples = sum(
        len(test.examples)
        for name in modules()
        for test in finder.find(importlib.import_module(name))
    )
    assert examples >= 200


@pytest.mark.parametrize("path", DOCUMENTS, ids=relative)
def test_python_in_documents_runs(path):
    """Blocks of a page run in order and share their names; sessions are checked as doctests."""
    text = path.read_text(encoding="utf-8")
    names = {"__name__": "document"}
    for block in re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        if block.lstrip().startswith(">>>"):
            test = doctest.DocTestParser().get_doctest(block, names, str(path), str(path), 0)
            runner = doctest.DocTestRunner(optionflags=FLAGS)
            runner.run(test, clear_globs=False)
            names.update(test.globs)
            assert runner.summarize(verbose=False).failed == 0
        else:
            exec(compile(block, str(path), "exec"), names)


PLACEHOLDER = re.compile(
    r"\b(TODO|TBD|FIXME|XXX|lorem ipsum|coming soon|to be (?:done|written|measured))\b"
    r"|<(?:your|insert|fill)[^>]*>|\?\?\?|[|] *[|] *[|]",
    re.IGNORECASE,
)


@pytest.mark.parametrize("path", DOCUMENTS, ids=relative)
def test_nothing_is_left_to_fill_in(path):
    text = re.sub(r"^```.*?^```", "", path.read_text(encoding="utf-8"), flags=re.M | re.S)
    found = PLACEHOLDER.search(text)
    assert not found, f"{relative(path)}: {found[0]!r}"


@pytest.mark.parametrize("text", ["TBD", "is to be measured", "| a | | |", "<your name>"])
def test_placeholders_are_recognised(text):
    assert PLACEHOLDER.search(text)


@pytest.mark.parametrize("path", DOCUMENTS, ids=relative)
def test_links_and_paths_exist(path):
    text = path.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text):
        if "://" not in target:
            assert (path.parent / target).exists(), f"{relative(path)} links to {target}"


@pytest.mark.parametrize("path", DOCUMENTS, ids=relative)
def test_commands_exist(path):
    for command in re.findall(r"`(?:\$ )?tilegrad (\w+)", path.read_text(encoding="utf-8")):
        assert command in COMMANDS, f"{relative(path)} names `tilegrad {command}`"
