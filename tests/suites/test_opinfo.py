"""PyTorch's OpInfo samples: values and gradients in float64; torch is the oracle.

Every OpInfo whose name we have as a function or a method is run on all its samples. The suite is
skipped where torch is not installed.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import tilegrad as tg

torch = pytest.importorskip("torch")
pytest.importorskip("expecttest")
common = pytest.importorskip("torch.testing._internal.common_methods_invocations")

RTOL = 1e-12

#: Random, uninitialised or of no meaning here: nothing to compare.
RANDOM = """
bernoulli empty empty_like empty_permuted empty_strided multinomial normal rand_like randint
randint_like randn randn_like new_empty new_empty_strided uniform exponential cauchy geometric
log_normal nn.functional.dropout nn.functional.dropout2d nn.functional.dropout3d
nn.functional.alpha_dropout nn.functional.feature_alpha_dropout nn.functional.rrelu
nn.functional.scaled_dot_product_attention
"""


#: Where torch computes weights in their own float32, differentiates what has no derivative, or
#: looks at memory outside of the tensor; or gives gradients to the triangle that is not read.
TORCH_DIFFERS = {
    "cov", "nextafter", "as_strided.partial_views", "cholesky_inverse", "cholesky_solve",
}  # fmt: skip

#: Where OpInfo's call has its arguments in another order than the function of that name.
REORDERED = {
    "einsum": lambda tensors, equation: tg.einsum(equation, *tensors),
    "zero_": lambda x: x.clone().zero_(),
    "where": lambda x, condition, other: tg.where(condition, x, other),
}


def counterpart(name: str) -> Any:
    """Our function for an OpInfo's name, None if there is none."""
    if name in REORDERED:
        return REORDERED[name]
    if name.startswith("__"):
        return getattr(operator, name, None) or getattr(tg.Tensor, name, None)
    if name in ("T", "H", "mT", "mH"):
        return operator.attrgetter(name)
    owner: Any = tg
    parts = name.removeprefix("special.").split(".")
    for part in parts:
        found = getattr(owner, part, None)
        if owner is tg and not callable(found) and not hasattr(found, "__path__"):
            found = getattr(tg.Tensor, part, None)
        owner = found
    return owner


def _converted(value: Any) -> Any:
    """A torch sample's argument as ours."""
    if isinstance(value, torch.Tensor):
        array = value.numpy(force=True).copy()
        return tg.tensor(array, requires_grad=value.requires_grad)
    if isinstance(value, torch.dtype):
        return np.dtype(str(value).removeprefix("torch."))
    if isinstance(value, torch.Size):
        return tuple(value)
    if isinstance(value, (list, tuple)) and not hasattr(value, "_fields"):
        return type(value)(_converted(item) for item in value)
    if isinstance(value, dict):
        return {key: _converted(item) for key, item in value.items()}
    return value


def _tensors(value: Any, kind: type) -> Iterator[Any]:
    """All tensors in nested containers, in order."""
    if isinstance(value, kind):
        yield value
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _tensors(item, kind)
    elif isinstance(value, dict):
        for item in value.values():
            yield from _tensors(item, kind)


def _close(found: Any, wanted: Any, what: str) -> None:
    assert found.shape == wanted.shape, f"{what}: shape {found.shape}, expected {wanted.shape}"
    assert found.dtype == wanted.dtype, f"{what}: dtype {found.dtype}, expected {wanted.dtype}"
    finite = np.abs(wanted[np.isfinite(wanted)]) if wanted.dtype.kind == "f" else wanted
    scale = float(finite.max(initial=1.0)) if wanted.dtype.kind == "f" else 1.0
    rtol = RTOL if wanted.dtype != np.float32 else 1e-5
    np.testing.assert_allclose(found, wanted, rtol=rtol, atol=rtol * scale, err_msg=what)


def check_sample(info: Any, function: Any, sample: Any) -> None:
    """Compare one sample: values, dtypes, and gradients of all inputs."""
    expected = info.op(sample.input, *sample.args, **sample.kwargs)
    ours = _converted((sample.input, list(sample.args), dict(sample.kwargs)))
    out = function(ours[0], *ours[1], **ours[2])
    wanted = list(_tensors(expected, torch.Tensor))
    found = list(_tensors(out, tg.Tensor))
    if not wanted:
        assert _plain(out) == _plain(expected)
        return
    assert len(found) == len(wanted), f"{len(found)} results, expected {len(wanted)}"
    for i, (a, b) in enumerate(zip(found, wanted, strict=True)):
        _close(a.detach().numpy(), b.numpy(force=True), f"result {i}")
    _check_gradients(ours, sample, found, wanted)


def _plain(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return (
        str(value).removeprefix("torch.") if isinstance(value, (torch.dtype, np.dtype)) else value
    )


def _check_gradients(ours: Any, sample: Any, found: list[Any], wanted: list[Any]) -> None:
    theirs = (sample.input, list(sample.args), dict(sample.kwargs))
    leaves = [x for x in _tensors(theirs, torch.Tensor) if x.requires_grad]
    mine = [x for x in _tensors(ours, tg.Tensor) if x.requires_grad]
    pairs = [(a, b) for a, b in zip(found, wanted, strict=True) if b.requires_grad]
    if not leaves or not pairs:
        return
    rng = np.random.default_rng(0)
    cotangents = [rng.standard_normal(tuple(b.shape)) for _, b in pairs]
    expected = torch.autograd.grad(
        [b for _, b in pairs], leaves,
        [torch.tensor(c, dtype=b.dtype) for c, (_, b) in zip(cotangents, pairs, strict=True)],
        allow_unused=True,
    )  # fmt: skip
    recorded = [(a, c) for (a, _), c in zip(pairs, cotangents, strict=True) if a.requires_grad]
    assert recorded or all(g is None or not g.any() for g in expected), "no result needs a gradient"
    got = tg.autograd.grad(
        [a for a, _ in recorded], mine, [c for _, c in recorded], allow_unused=True
    ) if recorded else [None] * len(mine)  # fmt: skip
    for i, (a, b) in enumerate(zip(got, expected, strict=True)):
        if b is None and a is None:
            continue
        shape = mine[i].shape
        left = np.zeros(shape) if a is None else a.numpy()
        right = np.zeros(shape) if b is None else b.numpy(force=True)
        _close(left, right, f"gradient {i}")


def samples(info: Any) -> Iterator[Any]:
    """The samples that torch itself computes on the CPU."""
    gradients = info.supports_autograd
    for sample in info.sample_inputs("cpu", torch.float64, requires_grad=gradients):
        try:
            info.op(sample.input, *sample.args, **sample.kwargs)
        except (RuntimeError, NotImplementedError):
            continue
        yield sample


def run(info: Any) -> tuple[int, list[str]]:
    """How many samples agree, and what was wrong with the others."""
    function = counterpart(info.name)
    agreed, failures = 0, []
    for number, sample in enumerate(samples(info)):
        try:
            check_sample(info, function, sample)
            agreed += 1
        except Exception as error:
            failures.append(f"sample {number}: {type(error).__name__}: {str(error)[:300]}")
    return agreed, failures


def _name(info: Any) -> str:
    return f"{info.name}.{info.variant_test_name}".rstrip(".")


def _infos(*families: str) -> list[Any]:
    """The OpInfos that we have a counterpart of, outside or inside of the named families."""
    named = ("linalg.", "nn.functional.")
    return [
        info
        for info in common.op_db
        if not {info.name, _name(info)} & {*RANDOM.split(), *TORCH_DIFFERS}
        and torch.float64 in info.dtypes
        and info.name.startswith(families or ("",))
        and (families or not info.name.startswith(named))
        and counterpart(info.name) is not None
        and (_name(info) not in ("norm.nuc", "pinverse") or hasattr(tg, "linalg"))
    ]


INFOS = _infos()
AGREED: dict[str, int] = {}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("info", INFOS, ids=_name)
def test_samples_agree(info: Any):
    agreed, failures = run(info)
    assert not failures, "\n".join(failures)
    AGREED[_name(info)] = agreed


def test_enough_samples_were_run(request: pytest.FixtureRequest):
    """A renamed function or a changed OpInfo would drop out of the suite silently."""
    chosen = [item for item in request.session.items if "test_samples_agree" in item.nodeid]
    if len(chosen) < len(INFOS):
        pytest.skip("only part of the suite was selected")
    assert len(INFOS) >= 340
    assert sum(AGREED.values()) >= 6400
