"""Writes the stub of the methods that tilegrad.functions attaches to Tensor, for type checkers.

``python tests/tensor_stub.py`` writes it again; a test compares. What a method returns is found by
calling it on a small matrix.
"""

from __future__ import annotations

import ast
import inspect
import warnings
from pathlib import Path

import tilegrad as tg
from tilegrad.autograd.op import Op
from tilegrad.autograd.tensor import Tensor

PACKAGE = Path(__file__).resolve().parents[1] / "python" / "tilegrad"
STUB = PACKAGE / "autograd" / "methods.pyi"

HEAD = '''\
"""The methods that tilegrad.functions attaches to Tensor; written by tests/tensor_stub.py."""

import builtins
from typing import Any

from tilegrad.autograd.tensor import Tensor

class TensorMethods:
'''

#: Methods whose kind of result depends on their arguments.
VARYING = {"max", "min", "median", "nanmedian", "size", "unique", "unique_consecutive", "where"}


#: Arguments to try: "x" stands for a matrix, "i" for indices.
CALLS: list[list[object]] = [
    [], [1], ["x"], ["x", "x"], [0, 1], [0, "x"], [(2, 2)], [0, "i"], [0, "i", "x"], ["i"],
]  # fmt: skip


def written_names() -> set[str]:
    """What the class says itself, without the part that only a type checker sees."""
    tree = ast.parse((PACKAGE / "autograd" / "tensor.py").read_text(encoding="utf-8"))
    body = next(n for n in tree.body if isinstance(n, ast.ClassDef) and n.name == "Tensor").body
    return {node.name for node in body if isinstance(node, ast.FunctionDef)}


def attached() -> dict[str, object]:
    """Public methods and properties of Tensor that stand neither in its class nor in its base."""
    known = written_names() | set(dir(Tensor.__mro__[1]))
    return {
        name: value
        for name, value in sorted(vars(Tensor).items())
        if not name.startswith("_") and name not in known
        and (callable(value) or isinstance(value, property))
    }  # fmt: skip


def result(name: str) -> str:
    """The kind of result, as an annotation."""
    if name in VARYING:
        return "Any"
    if name.endswith("_"):
        return "Tensor"  # changed in place
    kinds: dict[type, str] = {
        Tensor: "Tensor", type(None): "None", tuple: "tuple[Any, ...]", list: "list[Any]",
        bool: "builtins.bool", int: "builtins.int", float: "builtins.float",
    }  # fmt: skip
    for given in CALLS:
        x = tg.tensor([[0.25, 0.5], [0.5, 0.25]], requires_grad=name == "backward")
        named = {"x": x, "i": tg.tensor([[0, 1], [1, 0]])}
        values = [named[v] if isinstance(v, str) else v for v in given]
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found = getattr(x, name)(*values)
        except Exception:
            continue
        return kinds.get(type(found), "Any")
    return "Any"


def parameters(value: object) -> str:
    """The parameters after the tensor itself, all of type Any."""
    if isinstance(value, Op):
        names = [*value.inputs[1:], *value.attributes]
        return "".join(f", {n}: Any" + (" = ..." if n in value.defaults else "") for n in names)
    parts, starred = [], False
    for parameter in list(inspect.signature(value).parameters.values())[1:]:
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:
            parts.append(f"**{parameter.name}: Any")
            continue
        if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
            parts.append(f"*{parameter.name}: Any")
            starred = True
            continue
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY and not starred:
            parts.append("*")
            starred = True
        default = "" if parameter.default is inspect.Parameter.empty else " = ..."
        parts.append(f"{parameter.name}: Any{default}")
    return "".join(f", {part}" for part in parts)


def definition(name: str, given: str, kind: str) -> list[str]:
    """A method in one line, or in three."""
    line = f"    def {name}(self{given}) -> {kind}: ..."
    if len(line) <= 100:
        return [line]
    return [f"    def {name}(", f"        self{given}", f"    ) -> {kind}: ..."]


def stub() -> str:
    """The text of the stub."""
    lines = []
    for name, value in attached().items():
        if isinstance(value, property):
            found = getattr(tg.ones(2, 2), name, None)
            kind = "Tensor" if type(found) is Tensor else "Any"
            lines += ["    @property", f"    def {name}(self) -> {kind}: ..."]
        else:
            lines += definition(name, parameters(value), result(name))
    return HEAD + "\n".join(lines) + "\n"


if __name__ == "__main__":
    STUB.write_text(stub(), encoding="utf-8")
