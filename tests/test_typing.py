"""What a type checker and an editor see of tensors."""

from __future__ import annotations

import ast
import subprocess
import sys

import pytest
import tensor_stub

import tilegrad as tg

SCRIPT = """\
import tilegrad as tg
from tilegrad import nn, optim

x, w = tg.tensor([[1.0, 2.0]], requires_grad=True), tg.ones(2, 3)
y = (x @ w).relu().sum()
y.backward()
z: tg.Tensor = y
shape: tuple[int, ...] = (2 * x[0] - x.mean(dim=0, keepdim=True)).reshape(-1).T.shape
model = nn.Sequential(nn.Linear(2, 4), nn.ReLU())
optimizer = optim.SGD(model.parameters(), lr=0.1)
nn.functional.cross_entropy(model(x), tg.tensor([0])).backward()
optimizer.step()
print(x.no_such_method())
"""


def test_the_stub_of_tensor_methods_is_in_step():
    written = tensor_stub.STUB.read_text(encoding="utf-8")
    assert written == tensor_stub.stub(), "run python tests/tensor_stub.py"


def test_the_stub_lists_what_tensors_can_do():
    body = ast.parse(tensor_stub.STUB.read_text(encoding="utf-8")).body[-1].body
    names = {node.name for node in body}
    assert {"relu", "sum", "backward", "reshape", "T", "softmax", "add_", "numel"} <= names
    public = {n for n in dir(tg.ones(1)) if not n.startswith("_")}
    assert names <= public


@pytest.mark.slow
def test_a_strict_checker_takes_a_users_script_and_finds_a_wrong_name(tmp_path):
    pytest.importorskip("mypy")
    (tmp_path / "script.py").write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent", "script.py"],
        cwd=tmp_path,
        env={"MYPYPATH": str(tensor_stub.PACKAGE.parent), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    lines = done.stdout.splitlines()
    assert len(lines) == 2, done.stdout
    assert lines[0].startswith("script.py:13:")
    assert 'has no attribute "no_such_method"' in lines[0]
