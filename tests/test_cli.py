"""The command line: output, exit codes and one-line errors."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest

import tilegrad as tg
from tilegrad import _native
from tilegrad.cli import COMMANDS, main
from tilegrad.cli import check as check_command
from tilegrad.kernels.compare import KernelMismatchError


def run(*arguments, **environment):
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "tilegrad", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, **environment},
    )


def test_version_and_help():
    version = run("--version")
    assert (version.returncode, version.stdout.split()) == (0, ["tilegrad", _native.__version__])
    help_text = run("--help")
    assert help_text.returncode == 0
    assert all(name in help_text.stdout for name in COMMANDS)


def test_no_command_shows_the_help_and_fails(capsys):
    assert main([]) == 2
    assert "tilegrad check" in capsys.readouterr().out


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_teaches(command, capsys):
    with pytest.raises(SystemExit) as leaving:
        main([command, "--help"])
    assert leaving.value.code == 0
    assert len(capsys.readouterr().out.splitlines()) > 5


def test_unknown_command_and_option(capsys):
    for arguments in (["no-such-command"], ["info", "--no-such-option"]):
        with pytest.raises(SystemExit) as leaving:
            main(arguments)
        assert leaving.value.code == 2
        assert "usage: tilegrad" in capsys.readouterr().err


def test_help_imports_no_command_and_no_heavy_module():
    code = (
        "import sys; from tilegrad.cli import main; main(['--version'])\n"
        "heavy = {'torch', 'matplotlib', 'sklearn', 'tqdm', 'scipy', 'tilegrad.cli.check'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.splitlines()[-1] == "[]"


def test_info_tells_the_machine(capsys):
    assert main(["info", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["instruction set"] == _native.get_isa()
    assert facts["caches"]["l1d"] > 0
    tg.show_config()
    text = capsys.readouterr().out
    assert _native.__version__ in text
    assert "instruction set" in text


@pytest.mark.parametrize("isa", _native.available_isas())
def test_info_under_a_forced_instruction_set(isa):
    done = run("info", "--json", TILEGRAD_ISA=isa)
    assert json.loads(done.stdout)["instruction set"] == isa


def test_check_of_some_kernels(capsys):
    assert main(["check", "matmul", "softmax"]) == 0
    text = capsys.readouterr().out
    assert "gemm" in text
    assert all(isa in text for isa in _native.available_isas())
    assert main(["check", "-v", "--isa", "portable", "relu"]) == 0
    assert "relu" in capsys.readouterr().out


def test_check_names_an_unknown_kernel_and_a_near_one(capsys):
    assert main(["check", "matmull"]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert "matmul," in lines[0]


def test_check_fails_when_a_kernel_differs(monkeypatch, capsys):
    real = check_command.checked_call

    def broken(kernel, args, kwargs):
        if kernel.__name__ == "relu":
            raise KernelMismatchError("relu: result[0] is off")
        return real(kernel, args, kwargs)

    monkeypatch.setattr(check_command, "checked_call", broken)
    assert main(["check", "relu", "add"]) == 1
    text = capsys.readouterr().out
    assert "FAILED" in text
    assert "relu (float32, contiguous)" in text


def test_check_counts_what_native_code_declines(capsys):
    assert main(["check", "-v", "--isa", "portable", "softmax", "sin"]) == 0
    rows = {line.split()[0]: line.split() for line in capsys.readouterr().out.splitlines() if line}
    native, declined = map(int, rows["softmax"][4:6])
    assert native > 0
    assert declined > 0
    assert rows["sin"][4] == "0"
    assert rows["sin"][-1] == "-"


def test_check_fails_for_a_kernel_without_samples(monkeypatch, capsys):
    monkeypatch.delitem(check_command.ROWS, "relu")
    assert main(["check", "-v", "relu", "exp"]) == 1
    text = capsys.readouterr().out
    assert "1 FAILED" in text
    assert "relu: no sample arguments; add a row to tilegrad.kernels.samples" in text


def test_interrupt_is_not_a_traceback(monkeypatch, capsys):
    def interrupted(name):
        raise KeyboardInterrupt

    monkeypatch.setattr(check_command, "check_kernel", interrupted)
    assert main(["check", "relu"]) == 130
    assert "interrupted" in capsys.readouterr().err


def test_bench_measures_and_saves(monkeypatch, capsys, tmp_path):
    from tilegrad.bench import measure, overview

    small = [overview.product(8, 8, 8, "float32", None), overview.product(4, 4, 4, "float64", None)]
    small += overview.convolution(1, 2, 6, 3, 3, torch=None)
    monkeypatch.setattr(overview, "works", lambda torch: small)
    monkeypatch.setattr(overview, "ROUNDS", 2)
    # others' thread counts must not leak into the tests that follow
    monkeypatch.setattr(overview, "set_threads", measure.tilegrad_threads)
    saved = tmp_path / "bench.json"
    assert main(["bench", "--threads", "1", "--json", str(saved)]) == 0
    text = capsys.readouterr().out
    assert "matmul 8 x 8 x 8" in text
    assert "x NumPy" in text
    record = json.loads(saved.read_text())
    assert [row["threads"] for row in record["overview"]] == [1] * 4
    assert all(row["gflops"] > 0 for row in record["overview"])


def test_bench_compares_equal_work():
    """Everyone in a row computes the same numbers."""
    from tilegrad.bench import overview

    torch = overview.optional("torch")
    rows = [overview.product(5, 7, 6, "float64", torch)]
    rows += overview.convolution(2, 3, 6, 4, 3, torch=torch)
    for work in rows:
        results = {name: function() for name, function in work.functions.items()}
        expected = results.pop("NumPy" if "NumPy" in results else overview.TWIN)
        for result in results.values():
            pairs = (
                zip(result, expected, strict=True)
                if type(result) is tuple
                else [(result, expected)]
            )
            for mine, theirs in pairs:
                np.testing.assert_allclose(np.asarray(mine), theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["MLP 10-32-32-2", "CNN 28 x 28, batch 1"])
def test_bench_train_times_equal_work(name, monkeypatch, capsys, tmp_path):
    """Every contender computes the same losses: the bench itself raises otherwise."""
    from tilegrad.bench import measure, train

    monkeypatch.setattr(train, "set_threads", measure.tilegrad_threads)
    saved = tmp_path / "train.json"
    arguments = ["bench", "train", "--only", name, "--rounds", "2", "--json", str(saved)]
    assert main(arguments) == 0
    assert name in capsys.readouterr().out
    record = json.loads(saved.read_text())["train"]
    assert {"eager", "compiled"} <= set(record[0]["microseconds"])


@pytest.mark.parametrize("bench", [[], ["conv"], ["gemm"], ["layers"], ["train"]])
@pytest.mark.parametrize(
    ("option", "value", "expected"),
    [
        ("--threads", "99999", "a whole number from 1 to"),
        ("--threads", "0", "a whole number from 1 to"),
        ("--rounds", "0", "a whole number from 1, got '0'"),
        ("--json", "/no/such/folder/a.json", "its folder does not exist"),
    ],
)
def test_bench_refuses_before_it_measures(bench, option, value, expected, capsys):
    if not bench and option == "--rounds":
        return  # the overview has no such option
    with pytest.raises(SystemExit) as leaving:
        main(["bench", *bench, option, value])
    assert leaving.value.code == 2
    assert expected in capsys.readouterr().err.splitlines()[-1]


def test_an_argument_alone_is_an_expression(capsys):
    assert main(["explain", "x", "x:2"]) == 0
    assert "x" in capsys.readouterr().out


def test_too_little_memory_is_one_line(capsys):
    assert main(["explain", "x", "x:99999999999999"]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert "not enough memory" in lines[0]


def test_threads_are_whole_numbers():
    before = tg.get_num_threads()
    for wrong in ("2", 2.5, None, True):
        with pytest.raises(TypeError, match="set_num_threads: expected a whole number, got"):
            tg.set_num_threads(wrong)
    with pytest.raises(ValueError, match="at least 1, got 0"):
        tg.set_num_threads(0)
    with tg.num_threads(2**40):
        assert tg.get_num_threads() >= 1
    assert tg.get_num_threads() == before


def test_bench_names_what_it_does_not_know(capsys):
    assert main(["bench", "train", "--vs", "numpy"]) == 1
    assert main(["bench", "train", "--only", "nothing"]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert "torch.compile" in lines[0]
    assert "MLP" in lines[1]


@pytest.mark.parametrize(
    ("name", "value"), [("TILEGRAD_ISA", "AVX9"), ("TILEGRAD_NUM_THREADS", "many")]
)
def test_environment_without_effect_is_warned_of(name, value):
    found = subprocess.run(
        [sys.executable, "-c", "import tilegrad"],
        env={**os.environ, name: value},
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"{name}={value}" in found.stderr
