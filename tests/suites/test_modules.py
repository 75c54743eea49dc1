"""PyTorch's module_db: our layers on its samples, state dicts moved across, torch as the oracle.

For every sample in float64, in training and in evaluation: the state dict of torch's module loads
into ours under the same keys; results, input gradients, parameter gradients and the state
afterwards agree to 1e-12. The suite is skipped where torch is not installed.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

import tilegrad as tg
from tilegrad import nn

torch = pytest.importorskip("torch")
pytest.importorskip("expecttest")
common = pytest.importorskip("torch.testing._internal.common_modules")
tree = torch.utils._pytree

TOLERANCE = 1e-12
#: Samples of module_db of torch 2.13 that torch itself runs; a drop means that some were lost.
EXPECTED = 3600
EXECUTED = {"samples": 0}
#: Layers with entries that no window covers: where the slope of such an entry is NaN (a power of a
#: negative number) torch's gradient is 0 times NaN, and ours is 0.
UNCOVERED = {"nn.LPPool1d", "nn.LPPool2d", "nn.LPPool3d"}


def _fresh(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.detach().clone().requires_grad_(value.requires_grad)
    return value


def _ours(value: Any) -> Any:
    """Our counterpart of one argument."""
    if isinstance(value, torch.Tensor):
        return tg.tensor(value.detach().numpy().copy(), requires_grad=value.requires_grad)
    if isinstance(value, torch.nn.TransformerEncoderLayer):
        return nn.TransformerEncoderLayer(
            value.self_attn.embed_dim, value.self_attn.num_heads, value.linear1.out_features,
            value.dropout.p, batch_first=value.self_attn.batch_first, norm_first=value.norm_first,
            bias=value.linear1.bias is not None,
            activation="gelu" if value.activation_relu_or_gelu == 2 else "relu",
        )  # fmt: skip
    if isinstance(value, torch.dtype):
        return str(value).removeprefix("torch.")
    if value is torch.nn.functional.relu or value is torch.nn.functional.gelu:
        return getattr(nn.functional, value.__name__)
    return value


def _map(function: Any, value: Any) -> Any:
    return tree.tree_map(function, value, is_leaf=lambda v: isinstance(v, torch.nn.Module))


def _tensors(value: Any) -> list[Any]:
    """All tensors, ours or theirs, in a nesting of containers."""
    if isinstance(value, (tg.Tensor, torch.Tensor)):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, (tuple, list)):
        return [t for part in value for t in _tensors(part)]
    return []


def _array(value: Any) -> np.ndarray:
    return value.detach().numpy()


def _close(ours: Any, theirs: Any, what: str) -> None:
    a, b = _array(ours), _array(theirs)
    assert a.shape == b.shape, what
    scale = 1.0
    if b.dtype.kind == "f":
        scale = max(scale, float(np.abs(b[np.isfinite(b)]).max(initial=0.0)))
    np.testing.assert_allclose(a, b, rtol=TOLERANCE, atol=TOLERANCE * scale, err_msg=what)


def _build(info: Any, sample: Any, training: bool) -> tuple[Any, Any]:
    """torch's module and ours, in float64."""
    ctor = sample.constructor_input
    theirs = info.module_cls(*ctor.args, **ctor.kwargs).double().train(training)
    layer = getattr(nn, info.name.split(".")[-1])
    ours = layer(*_map(_ours, ctor.args), **_map(_ours, ctor.kwargs))
    return theirs, ours.double().train(training)


def _check(info: Any, sample: Any, training: bool) -> bool:
    forward = sample.forward_input
    if forward is None:
        return False
    theirs, ours = _build(info, sample, training)
    args, kwargs = (tree.tree_map(_fresh, part) for part in (forward.args, forward.kwargs))
    mine, more = _map(_ours, args), _map(_ours, kwargs)
    if "Lazy" in info.name:
        theirs(*args, **kwargs)
        ours(*mine, **more)
    state = {key: _array(value).copy() for key, value in theirs.state_dict().items()}
    try:
        expected = _tensors(theirs(*args, **kwargs))
    except (RuntimeError, ValueError):
        return False  # samples of errors are not for comparison
    ours.load_state_dict(state)
    found = _tensors(ours(*mine, **more))
    assert len(found) == len(expected)
    for i, (a, b) in enumerate(zip(found, expected, strict=True)):
        _close(a, b, f"result {i}")
    roots = [(a, b) for a, b in zip(found, expected, strict=True) if b.requires_grad]
    if roots:
        cotangents = [torch.randn_like(b) for _, b in roots]
        torch.autograd.backward([b for _, b in roots], cotangents)
        tg.autograd.backward([a for a, _ in roots], [tg.tensor(g.numpy()) for g in cotangents])
    for a, b in zip(_tensors((mine, more)), _tensors((args, kwargs)), strict=True):
        if b.grad is not None:
            if info.name in UNCOVERED:
                b.grad[torch.isnan(b.grad) & (torch.from_numpy(_array(a.grad)) == 0)] = 0
            _close(a.grad, b.grad, "input gradient")
    parameters = dict(ours.named_parameters())
    for name, parameter in theirs.named_parameters():
        if parameter.grad is not None:
            _close(parameters[name].grad, parameter.grad, f"gradient of {name}")
    after = ours.state_dict()
    assert list(after) == list(theirs.state_dict())
    for name, value in theirs.state_dict().items():
        _close(after[name], value, f"state {name}")
    return True


@pytest.mark.parametrize("info", common.module_db, ids=lambda info: info.name)
def test_module(info: Any):
    torch.manual_seed(0)
    ran = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for training in (True, False):
            samples = info.module_inputs_func(
                info, device="cpu", dtype=torch.float64, requires_grad=True, training=training
            )
            ran += sum(_check(info, sample, training) for sample in samples)
    assert ran > 0, f"{info.name}: no sample ran"
    EXECUTED["samples"] += ran


def test_all_samples_ran(request: pytest.FixtureRequest):
    """The count of the whole suite; a part of it, chosen with -k, has none."""
    chosen = sum("test_module[" in item.nodeid for item in request.session.items)
    if chosen == len(common.module_db):
        assert EXECUTED["samples"] >= EXPECTED
