"""ONNX's node data: the inputs and expected outputs of single operators, as files of the wheel.

Skipped where ``onnx`` is not installed (1.20.1 is the last wheel that ships the data).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tilegrad as tg

onnx = pytest.importorskip("onnx")
numpy_helper = pytest.importorskip("onnx.numpy_helper")

DATA = Path(onnx.__file__).parent / "backend" / "test" / "data" / "node"
if not any(DATA.glob("*/model.onnx")):
    pytest.skip(f"onnx {onnx.__version__} comes without its nodes", allow_module_level=True)
F = tg.nn.functional


def _axes(a: dict[str, Any], given: Any = None) -> Any:
    """The axes of a reduction: an attribute in old versions, an input in new ones."""
    axes = a.get("axes") if given is None else given.numpy().tolist()
    return None if not axes else tuple(axes)


def _reduce(function: Callable[..., Any]) -> Callable[..., Any]:
    def run(a: dict[str, Any], x: Any, axes: Any = None) -> Any:
        over = _axes(a, axes)
        if over is None and a.get("noop_with_empty_axes"):
            over = ()
        return function(x, over, bool(a.get("keepdims", 1)))

    return run


def _split(a: dict[str, Any], x: Any, split: Any = None) -> Any:
    axis = a.get("axis", 0)
    if split is not None:
        return tg.split(x, split.numpy().tolist(), axis)
    size = x.shape[axis]
    return tg.split(x, math.ceil(size / a.get("num_outputs", a["outputs"])), axis)


def _slice(a: dict[str, Any], x: Any, starts: Any, ends: Any, axes: Any = None,
           steps: Any = None) -> Any:  # fmt: skip
    parts: list[Any] = [slice(None)] * x.ndim
    which = range(len(starts)) if axes is None else axes.numpy().tolist()
    stride = [1] * len(starts) if steps is None else steps.numpy().tolist()
    for axis, start, end, step in zip(which, starts.tolist(), ends.tolist(), stride, strict=True):
        parts[axis] = slice(start, None if step < 0 and end < -x.shape[axis] else end, step)
    return x[tuple(parts)]


def _gemm(a: dict[str, Any], x: Any, y: Any, z: Any = None) -> Any:
    x = x.T if a.get("transA") else x
    y = y.T if a.get("transB") else y
    z = tg.zeros((), dtype=x.dtype) if z is None else z
    return tg.addmm(z, x, y, alpha=a.get("alpha", 1.0), beta=a.get("beta", 1.0))


def _argument(function: Callable[..., Any]) -> Callable[..., Any]:
    def run(a: dict[str, Any], x: Any) -> Any:
        axis = a.get("axis", 0)
        keep = bool(a.get("keepdims", 1))
        if a.get("select_last_index"):
            found = function(tg.flip(x, axis), axis, keep)
            return x.shape[axis] - 1 - found
        return function(x, axis, keep)

    return run


def _top(a: dict[str, Any], x: Any, k: Any) -> Any:
    return tuple(tg.topk(x, int(k), a.get("axis", -1), bool(a.get("largest", 1))))


def _cumsum(a: dict[str, Any], x: Any, axis: Any) -> Any:
    axis = int(axis)
    x = tg.flip(x, axis) if a.get("reverse") else x
    out = tg.cumsum(x, axis)
    out = out - x if a.get("exclusive") else out
    return tg.flip(out, axis) if a.get("reverse") else out


def _gather(a: dict[str, Any], x: Any, index: Any) -> Any:
    return x[(slice(None),) * a.get("axis", 0) + (index,)]


def _scatter(a: dict[str, Any], x: Any, index: Any, updates: Any) -> Any:
    axis, how = a.get("axis", 0), a.get("reduction", "none")
    index = tg.where(index < 0, index + x.shape[axis], index)
    if how == "none":
        return tg.scatter(x, axis, index, updates)
    names = {"add": "sum", "mul": "prod", "max": "amax", "min": "amin"}
    return tg.scatter_reduce(x, axis, index, updates, names[how])


def _elements(a: dict[str, Any], x: Any, index: Any) -> Any:
    axis = a.get("axis", 0)
    return tg.gather(x, axis, tg.where(index < 0, index + x.shape[axis], index))


def _flatten(a: dict[str, Any], x: Any) -> Any:
    axis = a.get("axis", 1) % (x.ndim + 1) if a.get("axis", 1) < 0 else a.get("axis", 1)
    axis = a["axis"] + x.ndim if a.get("axis", 1) < 0 else axis
    return x.reshape(math.prod(x.shape[:axis]), -1)


def _reshape(a: dict[str, Any], x: Any, shape: Any) -> Any:
    sizes = shape.tolist()
    if not a.get("allowzero"):
        sizes = [x.shape[i] if n == 0 else n for i, n in enumerate(sizes)]
    return x.reshape(sizes)


def _several(function: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    def run(a: dict[str, Any], *xs: Any) -> Any:
        out = xs[0]
        for x in xs[1:]:
            out = function(out, x)
        return out

    return run


def _plain(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda a, *xs: function(*xs)


def _clip(a: dict[str, Any], x: Any, low: Any = None, high: Any = None) -> Any:
    return tg.clip(x, low, high)


def _integer_mod(a: dict[str, Any], x: Any, y: Any) -> Any:
    return tg.fmod(x, y) if a.get("fmod") else tg.remainder(x, y)


def _division(a: dict[str, Any], x: Any, y: Any) -> Any:
    return tg.div(x, y, rounding_mode=None if x.dtype.kind == "f" else "trunc")


def _infinite(a: dict[str, Any], x: Any) -> Any:
    if not a.get("detect_negative", 1):
        return tg.isposinf(x)
    return tg.isneginf(x) if not a.get("detect_positive", 1) else tg.isinf(x)


def _triangle(a: dict[str, Any], x: Any, k: Any = None) -> Any:
    return (tg.triu if a.get("upper", 1) else tg.tril)(x, 0 if k is None else int(k))


def _mean(*xs: Any) -> Any:
    return _several(tg.add)({}, *xs) / len(xs)


#: Operators whose lower-case name is our function's.
SAME_NAME = """
Abs Acos Acosh Add Asin Asinh Atan Atanh Ceil Cos Cosh Erf Exp Floor Greater Less Log MatMul Mul
Neg Pow Reciprocal Round Sigmoid Sign Sin Sinh Sqrt Sub Tan Tanh Where Det
"""

RUN: dict[str, Callable[..., Any]] = {
    **{
        name: _plain(getattr(tg, name.lower()))
        for name in SAME_NAME.split()
        if hasattr(tg, name.lower())
    },
    "And": _plain(tg.logical_and),
    "ArgMax": _argument(tg.argmax),
    "ArgMin": _argument(tg.argmin),
    "BitwiseAnd": _plain(tg.bitwise_and),
    "BitwiseNot": _plain(tg.bitwise_not),
    "BitwiseOr": _plain(tg.bitwise_or),
    "BitwiseXor": _plain(tg.bitwise_xor),
    "Clip": _clip,
    "Concat": lambda a, *xs: tg.cat(xs, a["axis"]),
    "CumSum": _cumsum,
    "Div": _division,
    "Einsum": lambda a, *xs: tg.einsum(a["equation"], *xs),
    "Elu": lambda a, x: F.elu(x, a.get("alpha", 1.0)),
    "Equal": _plain(tg.eq),
    "Expand": lambda a, x, shape: x.broadcast_to(
        np.broadcast_shapes(x.shape, tuple(shape.tolist()))
    ),
    "Flatten": _flatten,
    "Gather": _gather,
    "GatherElements": _elements,
    "Gelu": lambda a, x: F.gelu(x, approximate=a.get("approximate", "none")),
    "Gemm": _gemm,
    "GreaterOrEqual": _plain(tg.greater_equal),
    "Identity": _plain(tg.clone),
    "IsInf": _infinite,
    "IsNaN": _plain(tg.isnan),
    "LeakyRelu": lambda a, x: F.leaky_relu(x, a.get("alpha", 0.01)),
    "LessOrEqual": _plain(tg.less_equal),
    "LogSoftmax": lambda a, x: tg.log_softmax(x, a.get("axis", -1)),
    "Max": _several(tg.maximum),
    "Mean": lambda a, *xs: _mean(*xs),
    "Min": _several(tg.minimum),
    "Mod": _integer_mod,
    "Not": _plain(tg.logical_not),
    "Or": _plain(tg.logical_or),
    "PRelu": lambda a, x, slope: tg.where(x < 0, slope * x, x),
    "ReduceL1": _reduce(lambda x, axis, keep: tg.norm(x, 1, axis, keep)),
    "ReduceL2": _reduce(lambda x, axis, keep: tg.norm(x, 2, axis, keep)),
    "ReduceLogSum": _reduce(lambda x, axis, keep: tg.log(tg.sum(x, axis, keep))),
    "ReduceLogSumExp": _reduce(tg.logsumexp),
    "ReduceMax": _reduce(tg.amax),
    "ReduceMean": _reduce(tg.mean),
    "ReduceMin": _reduce(tg.amin),
    "ReduceProd": _reduce(tg.prod),
    "ReduceSum": _reduce(tg.sum),
    "ReduceSumSquare": _reduce(lambda x, axis, keep: tg.sum(tg.square(x), axis, keep)),
    "Relu": _plain(tg.relu),
    "Reshape": _reshape,
    "ScatterElements": _scatter,
    "Selu": lambda a, x: (
        a.get("gamma", 1.0507009873554805) * F.elu(x, a.get("alpha", 1.6732632423543772))
    ),
    "Slice": _slice,
    "Softmax": lambda a, x: tg.softmax(x, a.get("axis", -1)),
    "Softplus": _plain(F.softplus),
    "Split": _split,
    "Squeeze": lambda a, x, axes=None: tg.squeeze(x, _axes(a, axes)),
    "Sum": _several(tg.add),
    "Tile": lambda a, x, times: tg.tile(x, times.tolist()),
    "TopK": _top,
    "Transpose": lambda a, x: tg.transpose(x, a.get("perm")),
    "Trilu": _triangle,
    "Unsqueeze": lambda a, x, axes: tg.expand_dims(x, tuple(axes.tolist())),
    "Xor": _plain(tg.logical_xor),
}

#: The largest entry of nothing is -inf there, and an error here, as in NumPy and torch.
DIFFERENT = {"test_reduce_max_empty_set", "test_reduce_min_empty_set"}

DTYPES = {"float32", "float64", "bool", "int8", "int16", "int32", "int64",
          "uint8", "uint16", "uint32", "uint64"}  # fmt: skip


def _tensor(path: Path) -> Any:
    proto = onnx.TensorProto()
    proto.ParseFromString(path.read_bytes())
    return numpy_helper.to_array(proto)


def _load(folder: Path, operators: Any) -> tuple[Any, list[Any], list[Any]] | None:
    """The node of a model of one node with its inputs and outputs; None if it is no such thing."""
    graph = onnx.load(folder / "model.onnx").graph
    nodes = graph.node
    if len(nodes) != 1 or nodes[0].op_type not in operators or nodes[0].domain:
        return None
    if not all(value.type.HasField("tensor_type") for value in (*graph.input, *graph.output)):
        return None
    data = folder / "test_data_set_0"
    inputs = [_tensor(data / f"input_{i}.pb") for i in range(len(list(data.glob("input_*.pb"))))]
    outputs = [_tensor(data / f"output_{i}.pb") for i in range(len(list(data.glob("output_*.pb"))))]
    if any(str(x.dtype) not in DTYPES for x in (*inputs, *outputs)):
        return None
    given = iter(inputs)  # an input left out has an empty name
    return nodes[0], [next(given) if name else None for name in nodes[0].input], outputs


def cases(operators: Any, different: Any) -> dict[str, Any]:
    """The models of one of the operators, by name, without those that differ on purpose."""
    return {
        folder.name: loaded
        for folder in sorted(DATA.glob("test_*"))
        if folder.name not in different
        and (folder / "model.onnx").is_file()
        and (loaded := _load(folder, operators)) is not None
    }


def run(node: Any, inputs: list[Any], operators: dict[str, Callable[..., Any]]) -> list[Any]:
    """What our function makes of the inputs: a tensor per output."""
    attrs = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    attrs = {key: value.decode() if isinstance(value, bytes) else value
             for key, value in attrs.items()}  # fmt: skip
    attrs["outputs"] = len(node.output)
    out = operators[node.op_type](attrs, *(None if x is None else tg.tensor(x) for x in inputs))
    return list(out) if isinstance(out, (tuple, list)) else [out]


CASES = cases(RUN, DIFFERENT)


@pytest.mark.parametrize("name", CASES)
def test_node(name: str):
    node, inputs, expected = CASES[name]
    found = run(node, inputs, RUN)
    for value, wanted in zip(found, expected, strict=True):
        assert value.shape == wanted.shape
        np.testing.assert_allclose(value.numpy().astype(wanted.dtype), wanted, rtol=1e-5, atol=1e-6)


def test_enough_nodes_were_found():
    assert len(CASES) >= 530
