"""The demo: reading MNIST's files, training to the promised accuracy, its report and its errors."""

from __future__ import annotations

import gzip
import re
import struct
import sys

import numpy as np
import pytest

from tilegrad.cli import main
from tilegrad.data import read_mnist
from tilegrad.demo.report import confusion, confusion_table


def idx_bytes(values):
    values = np.asarray(values, np.uint8)
    return struct.pack(f">HBB{values.ndim}I", 0, 8, values.ndim, *values.shape) + values.tobytes()


@pytest.fixture
def mnist(tmp_path):
    """A folder like MNIST's, of digits drawn as bars whose place says which digit they are."""
    rng = np.random.default_rng(0)
    for part, count in (("train", 400), ("t10k", 100)):
        labels = rng.integers(0, 10, count)
        images = rng.integers(0, 40, (count, 20, 20))
        images[np.arange(count), 2 * labels] += 200
        (tmp_path / f"{part}-images-idx3-ubyte").write_bytes(idx_bytes(images))
        (tmp_path / f"{part}-labels-idx1-ubyte").write_bytes(idx_bytes(labels))
    return tmp_path


def test_files_are_read_plain_gzipped_and_under_their_other_name(mnist):
    images, labels = read_mnist(mnist)[:2]
    assert (images.shape, labels.shape) == ((400, 20, 20), (400,))
    assert (images[np.arange(400), 2 * labels] >= 200).all()
    plain = mnist / "train-images-idx3-ubyte"
    (mnist / "train-images.idx3-ubyte.gz").write_bytes(gzip.compress(plain.read_bytes()))
    plain.unlink()
    assert (read_mnist(mnist)[0] == images).all()


BROKEN = {
    "missing": (None, "train-images-idx3-ubyte: no such file; expected"),
    "empty": (b"", "0 bytes; expected an IDX header"),
    "other format": (b"\x89PNG\r\n\x1a\n" * 4, "starts with 89504e47; expected the magic number"),
    "labels": (idx_bytes(np.zeros(99)), "IDX file of 1 axes; expected 3"),
    "floats": (b"\0\0\x0d\x03" + b"\0" * 12, r"float32 \(type code 0x0d\); expected uint8"),
    "cut short": (idx_bytes(np.zeros((400, 20, 20)))[:-1], "160015 bytes; expected 160016"),
    "too long": (idx_bytes(np.zeros((400, 20, 20))) + b"x", "160017 bytes; expected 160016"),
    "huge": (b"\0\0\x08\x03" + b"\xff" * 12, r"shape \(4294967295, 4294967295, 4294967295\)"),
    "other count": (idx_bytes(np.zeros((399, 20, 20))), "400 labels; expected 399"),
    "other size": (idx_bytes(np.zeros((400, 9, 9))), r"images of \(9, 9\) pixels.*one size"),
    "no pixels": (idx_bytes(np.zeros((400, 0, 20))), "one size"),
}


@pytest.mark.parametrize("how", BROKEN)
def test_broken_files_get_one_line(mnist, capsys, how):
    content, text = BROKEN[how]
    path = mnist / "train-images-idx3-ubyte"
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    assert main(["demo", "--data", str(mnist)]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("tilegrad demo: ")
    assert re.search(text, lines[0])


def test_broken_gzip_bad_label_and_no_folder(mnist, capsys):
    labels = mnist / "t10k-labels-idx1-ubyte"
    labels.write_bytes(idx_bytes(np.full(100, 10)))
    assert main(["demo", "--data", str(mnist)]) == 1
    assert "label 10; expected digits from 0 to 9" in capsys.readouterr().err
    labels.unlink()
    labels.with_name(labels.name + ".gz").write_bytes(gzip.compress(b"x" * 100)[:-9])
    assert main(["demo", "--data", str(mnist)]) == 1
    assert "cannot be read" in capsys.readouterr().err
    assert main(["demo", "--data", str(mnist / "nowhere")]) == 1
    assert "no such folder; expected one with" in capsys.readouterr().err


def test_confusion_counts_and_table():
    counts = confusion(np.array([0, 1, 1, 2]), np.array([0, 1, 2, 2]), 3)
    assert counts.tolist() == [[1, 0, 0], [0, 1, 1], [0, 0, 1]]
    lines = confusion_table(counts).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert lines[2].split() == ["1", ".", "1", "1", "50.0%"]


@pytest.mark.parametrize(
    ("option", "value", "expected"),
    [
        ("--epochs", "0", "a whole number from 1, got '0'"),
        ("--epochs", "1.5", "a whole number from 1, got '1.5'"),
        ("--batch-size", "-3", "a whole number from 1"),
        ("--seed", "x", "a whole number from 0 to"),
        ("--seed", "-1", "a whole number from 0 to"),
        ("--output", "no/such.png", "its folder does not exist"),
        ("--output", ".", "is a folder"),
    ],
)
def test_wrong_values_are_usage_errors(option, value, expected, capsys):
    with pytest.raises(SystemExit) as leaving:
        main(["demo", option, value])
    assert leaving.value.code == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith(f"tilegrad demo: error: argument {option}: ")
    assert expected in last


def test_the_demo_learns_to_read(tmp_path, capsys):
    picture = tmp_path / "curve.png"
    assert main(["demo", "--output", str(picture)]) == 0
    text = capsys.readouterr().out
    right, count = map(int, re.search(r"(\d+) of (\d+) held-out digits", text).groups())
    assert count == 359
    assert right / count >= 0.98
    assert "written\\read" in text
    assert "accuracy=" in text
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_the_demo_reads_a_folder(mnist, tmp_path, capsys):
    arguments = ["--data", str(mnist), "--epochs", "4", "--output", str(tmp_path / "out.png")]
    assert main(["demo", *arguments]) == 0
    assert "100 held out" in capsys.readouterr().out
    assert (tmp_path / "out.png").exists()


def test_a_picture_of_an_unknown_kind(mnist, capsys):
    assert main(["demo", "--data", str(mnist), "--output", str(mnist / "curve.txt")]) == 1
    assert "expected a file that ends in one of .png" in capsys.readouterr().err


def test_a_missing_package_is_named_with_its_cure(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "tqdm", None)
    assert main(["demo"]) == 1
    lines = capsys.readouterr().err.splitlines()
    expected = "needs tqdm, which is not installed; pip install 'tilegrad[demo]'"
    assert lines == [f"tilegrad demo: {expected}"]
