"""The examples run, with small settings, and learn what they say they learn."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


def example(name):
    """The module of an example, imported from its file."""
    spec = importlib.util.spec_from_file_location(f"examples_{name}", EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_example_is_tested():
    here = Path(__file__).read_text(encoding="utf-8")
    for path in EXAMPLES.glob("*.py"):
        assert f'example("{path.stem}")' in here


def test_digits(capsys):
    pytest.importorskip("sklearn")
    accuracy = example("digits").main(["--epochs", "4"])
    assert accuracy > 0.9
    assert "learned to read" in capsys.readouterr().out


def test_characters(capsys):
    bits = example("characters").main(["--steps", "60", "--width", "48"])
    assert bits < 3.5  # a guesser needs 5.67, one who knows how often each character comes 4.4
    assert "Shall I comp" in capsys.readouterr().out


def test_characters_read_any_text(tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("abcab" * 40, encoding="utf-8")
    bits = example("characters").main(["--text", str(text), "--steps", "60", "--width", "16"])
    assert bits < 0.5


def test_cart_pole(capsys):
    length = example("cart_pole").main(["--rounds", "25"])
    assert length > 40  # pushing at random balances for some 20 intervals
    assert "learned to balance" in capsys.readouterr().out


def test_second_order(capsys):
    newton, descent = example("second_order").main(["--steps", "20", "--descent", "200"])
    assert newton < 0.01 < descent
    assert "learned the curve" in capsys.readouterr().out
