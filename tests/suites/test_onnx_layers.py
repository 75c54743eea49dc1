"""ONNX's node data for layers: convolution, pooling, normalisation, losses, recurrence, padding."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tilegrad as tg

pytest.importorskip("onnx")
nodes = pytest.importorskip("test_onnx")
F = tg.nn.functional
Pairs = list[tuple[int, int]]


def _named(name: str, ndim: int) -> Any:
    return getattr(F, f"{name}{ndim}d")


def _pairs(a: dict[str, Any], image: Any, kernel: Any, strides: Any, dilations: Any) -> Pairs:
    """Padding before and after each axis, as given or such that the strides divide the image."""
    mode, ndim = a.get("auto_pad", "NOTSET"), len(kernel)
    if mode in ("NOTSET", "VALID"):
        pads = a.get("pads", [0] * 2 * ndim)
        return list(zip(pads[:ndim], pads[ndim:], strict=True))
    pairs = []
    for n, k, s, d in zip(image, kernel, strides, dilations, strict=True):
        total = max((-(-n // s) - 1) * s + d * (k - 1) + 1 - n, 0)
        low = total // 2 if mode == "SAME_UPPER" else total - total // 2
        pairs.append((low, total - low))
    return pairs


def _padded(x: Any, pairs: Pairs, value: float = 0.0) -> Any:
    return F.pad(x, [n for pair in reversed(pairs) for n in pair], value=value)


def _window(a: dict[str, Any], x: Any, kernel: Any = None) -> tuple[Any, Any, Any, Pairs]:
    kernel = tuple(a.get("kernel_shape", kernel))
    strides = tuple(a.get("strides", [1] * len(kernel)))
    dilations = tuple(a.get("dilations", [1] * len(kernel)))
    return kernel, strides, dilations, _pairs(a, x.shape[2:], kernel, strides, dilations)


def _conv(a: dict[str, Any], x: Any, w: Any, b: Any = None) -> Any:
    kernel, strides, dilations, pairs = _window(a, x, w.shape[2:])
    conv = _named("conv", len(kernel))
    return conv(_padded(x, pairs), w, b, strides, 0, dilations, a.get("group", 1))


def _conv_transpose(a: dict[str, Any], x: Any, w: Any, b: Any = None) -> Any:
    kernel, strides, dilations, _ = _window({**a, "auto_pad": "NOTSET"}, x, w.shape[2:])
    ndim = len(kernel)
    extra = a.get("output_padding", [0] * ndim)
    pads = a.get("pads", [0] * 2 * ndim)
    same = a.get("auto_pad", "NOTSET").startswith("SAME")
    wanted = a.get("output_shape")
    if same and wanted is None:
        wanted = [n * s for n, s in zip(x.shape[2:], strides, strict=True)]
    full = _named("conv_transpose", ndim)(
        x, w, b, strides, 0, tuple(extra), a.get("group", 1), dilations
    )
    crops = list(zip(pads[:ndim], pads[ndim:], strict=True))
    if wanted is not None:
        totals = [n - m for n, m in zip(full.shape[2:], wanted[-ndim:], strict=True)]
        upper = a.get("auto_pad") == "SAME_UPPER"
        lows = [total // 2 if upper else total - total // 2 for total in totals]
        crops = [(low, total - low) for low, total in zip(lows, totals, strict=True)]
    return _padded(full, [(-low, -high) for low, high in crops])


def _max_pool(a: dict[str, Any], x: Any) -> Any:
    kernel, strides, dilations, pairs = _window(a, x)
    low = -np.inf if x.dtype.kind == "f" else np.iinfo(x.dtype).min
    pool = _named("max_pool", len(kernel))
    return pool(_padded(x, pairs, low), kernel, strides, 0, dilations, bool(a.get("ceil_mode")))


def _avg_pool(a: dict[str, Any], x: Any) -> Any:
    kernel, strides, _, pairs = _window(a, x)
    pool = _named("avg_pool", len(kernel))

    def mean(values: Any) -> Any:
        return pool(_padded(values, pairs), kernel, strides, 0, bool(a.get("ceil_mode")))

    return mean(x) if a.get("count_include_pad") else mean(x) / mean(tg.ones_like(x))


def _lp_pool(a: dict[str, Any], x: Any) -> Any:
    kernel, strides, _, pairs = _window(a, x)
    return _named("lp_pool", len(kernel))(_padded(abs(x), pairs), a.get("p", 2), kernel, strides)


def _global(reduce: Callable[..., Any]) -> Callable[..., Any]:
    return lambda a, x: reduce(x, tuple(range(2, x.ndim)), True)


def _layer_norm(a: dict[str, Any], x: Any, weight: Any, bias: Any = None) -> Any:
    shape = x.shape[a.get("axis", -1) :]
    return F.layer_norm(x, shape, weight, bias, a.get("epsilon", 1e-5))


def _rms_norm(a: dict[str, Any], x: Any, weight: Any) -> Any:
    return F.rms_norm(x, x.shape[a.get("axis", -1) :], weight, a.get("epsilon", 1e-5))


def _batch_norm(a: dict[str, Any], x: Any, weight: Any, bias: Any, mean: Any, var: Any) -> Any:
    training = bool(a.get("training_mode"))
    mean, var = mean.clone(), var.clone()  # training changes them
    return F.batch_norm(x, mean, var, weight, bias, training, 0.1, a.get("epsilon", 1e-5))


def _cross_entropy(a: dict[str, Any], x: Any, target: Any, weight: Any = None) -> Any:
    return F.cross_entropy(
        x, target.long(), weight, ignore_index=a.get("ignore_index", -100),
        reduction=a.get("reduction", "mean"),
    )  # fmt: skip


def _nll(a: dict[str, Any], x: Any, target: Any, weight: Any = None) -> Any:
    return F.nll_loss(
        x, target.long(), weight, ignore_index=a.get("ignore_index", -100),
        reduction=a.get("reduction", "mean"),
    )  # fmt: skip


def _recurrent(layer: Any, order: list[int]) -> Callable[..., Any]:
    """``order`` lists ONNX's gates in the order of ours."""

    def run(a: dict[str, Any], x: Any, w: Any, r: Any, b: Any = None, *more: Any) -> Any:
        size, gates = a["hidden_size"], len(order)

        def sorted_gates(value: Any) -> Any:
            parts = np.split(value.numpy()[0], gates)
            return np.concatenate([parts[i] for i in order])

        first = bool(a.get("layout"))
        net = layer(x.shape[2], size, bias=b is not None, batch_first=first)
        state = {"weight_ih_l0": sorted_gates(w), "weight_hh_l0": sorted_gates(r)}
        if b is not None:
            halves = np.split(b.numpy(), 2, axis=1)
            state |= {"bias_ih_l0": sorted_gates(tg.tensor(halves[0])),
                      "bias_hh_l0": sorted_gates(tg.tensor(halves[1]))}  # fmt: skip
        net.load_state_dict(state)
        y, hidden = net(x)
        hidden = hidden if isinstance(hidden, tuple) else (hidden,)
        if first:
            return y.unsqueeze(2), *(h.transpose(0, 1) for h in hidden)
        return y.unsqueeze(1), *hidden

    return run


def _pad(a: dict[str, Any], x: Any, pads: Any, value: Any = None, axes: Any = None) -> Any:
    which = range(x.ndim) if axes is None else [i % x.ndim for i in axes.tolist()]
    half = len(pads) // 2
    pairs = [(0, 0)] * x.ndim
    for axis, low, high in zip(which, pads.tolist()[:half], pads.tolist()[half:], strict=True):
        pairs[axis] = (low, high)
    flat = [n for pair in reversed(pairs) for n in pair]
    names = {"constant": "constant", "reflect": "reflect", "edge": "replicate", "wrap": "circular"}
    mode = names[a.get("mode", "constant")]
    return F.pad(x, flat, mode, None if mode != "constant" or value is None else value.item())


RUN: dict[str, Callable[..., Any]] = {
    "AveragePool": _avg_pool,
    "BatchNormalization": _batch_norm,
    "Celu": lambda a, x: F.celu(x, a.get("alpha", 1.0)),
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "DepthToSpace": lambda a, x: F.pixel_shuffle(x, a["blocksize"]),
    "GlobalAveragePool": _global(tg.mean),
    "GlobalMaxPool": _global(tg.amax),
    "GroupNormalization": lambda a, x, w, b: F.group_norm(
        x, a["num_groups"], w, b, a.get("epsilon", 1e-5)
    ),
    "HardSwish": lambda a, x: F.hardswish(x),
    "InstanceNormalization": lambda a, x, w, b: F.instance_norm(
        x, weight=w, bias=b, eps=a.get("epsilon", 1e-5)
    ),
    "LRN": lambda a, x: F.local_response_norm(
        x, a["size"], a.get("alpha", 1e-4), a.get("beta", 0.75), a.get("bias", 1.0)
    ),
    "LSTM": _recurrent(tg.nn.LSTM, [0, 2, 3, 1]),
    "LayerNormalization": _layer_norm,
    "LpNormalization": lambda a, x: F.normalize(x, a.get("p", 2), a.get("axis", -1), 0.0),
    "LpPool": _lp_pool,
    "MaxPool": _max_pool,
    "Mish": lambda a, x: F.mish(x),
    "NegativeLogLikelihoodLoss": _nll,
    "Pad": _pad,
    "RMSNormalization": _rms_norm,
    "RNN": _recurrent(tg.nn.RNN, [0]),
    "SoftmaxCrossEntropyLoss": _cross_entropy,
    "Softsign": lambda a, x: F.softsign(x),
    "SpaceToDepth": lambda a, x: F.pixel_unshuffle(x, a["blocksize"]),
}

#: What these models ask for is not among the things that our layers do, or is not torch's way.
DIFFERENT = {
    *(f"test_averagepool_3d_dilations_large_count_include_pad_is_{i}_ceil_mode_is_{mode}"
      for i in (0, 1) for mode in (True, False)),
    "test_averagepool_2d_dilations", "test_averagepool_3d_dilations_small",
    "test_lppool_2d_dilations",
    "test_averagepool_2d_ceil_last_window_starts_on_pad",  # such windows are left out
    "test_depthtospace_example", "test_spacetodepth",  # blocks before channels
    "test_lstm_with_peepholes",
}  # fmt: skip

CASES = nodes.cases(RUN, DIFFERENT)


@pytest.mark.parametrize("name", CASES)
def test_node(name: str):
    node, inputs, expected = CASES[name]
    found = nodes.run(node, inputs, RUN)
    kept = [value for value, output in zip(found, node.output, strict=False) if output]
    assert kept
    for value, wanted in zip(kept, expected, strict=False):  # statistics beside the result are not
        assert value.shape == wanted.shape
        np.testing.assert_allclose(
            value.detach().numpy().astype(wanted.dtype), wanted, rtol=1e-5, atol=1e-6
        )


def test_enough_nodes_were_found():
    assert len(CASES) >= 186
