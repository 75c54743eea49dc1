"""Optimizer steps: every ISA and dtype against the twins, and torch's trajectories in float64."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from native_grid import FLOATS, ISAS, instruction_set

from tilegrad import kernels
from tilegrad.kernels import reference

FLAGS = (False, True)


def options() -> list[tuple[str, str, dict[str, Any], dict[str, Any]]]:
    """Kernel, torch class, shared options, options of the kernel that choose its state arrays."""
    rows: list[tuple[str, str, dict[str, Any], dict[str, Any]]] = []
    for decay, up in itertools.product((0.0, 0.05), FLAGS):
        both = {"lr": 0.03, "weight_decay": decay, "maximize": up}
        rows.append(("sgd_step", "SGD", both, {"states": 0}))
        for nesterov, dampening in ((False, 0.0), (False, 0.3), (True, 0.0)):
            momentum = {"momentum": 0.9, "nesterov": nesterov, "dampening": dampening}
            rows.append(("sgd_step", "SGD", {**both, **momentum}, {"states": 1}))
        for amsgrad, name in itertools.product(FLAGS, ("Adam", "AdamW")):
            extra = {"states": 3 if amsgrad else 2, "decoupled": name == "AdamW"}
            rows.append(("adam_step", name, {**both, "eps": 1e-6}, extra))
        for momentum, centered in itertools.product((0.0, 0.8), FLAGS):
            extra = {"buffer": momentum > 0, "centered": centered}
            rows.append(("rmsprop_step", "RMSprop", {**both, "momentum": momentum}, extra))
        rows.append(("adagrad_step", "Adagrad", {**both, "lr_decay": 0.01}, {"states": 1}))
    return rows


class Trajectory:
    """A parameter and its state, moved by one kernel."""

    def __init__(self, kernel: Any, name: str, p: np.ndarray, shared: dict, extra: dict) -> None:
        self.kernel, self.name, self.p = kernel, name, p.copy()
        self.keywords, self.count = dict(shared), 0
        zeros = lambda: np.zeros_like(p)  # noqa: E731
        if name == "rmsprop_step":
            buffer, average = extra["buffer"], extra["centered"]
            self.state = [zeros(), zeros() if buffer else None, zeros() if average else None]
        else:
            self.state = [zeros() for _ in range(extra["states"])]
        if name == "adam_step":
            self.keywords["decoupled"] = extra["decoupled"]

    def step(self, g: np.ndarray) -> None:
        self.count += 1
        keywords = dict(self.keywords)
        if self.name in ("adam_step", "adagrad_step"):
            keywords["step"] = self.count
        if self.name == "sgd_step":
            keywords["first"] = self.count == 1
        self.kernel(self.p, g, *self.state, **keywords)


def gradient(p: np.ndarray, count: int) -> np.ndarray:
    return np.sin(3 * p + count).astype(p.dtype) + p / 2


@pytest.mark.parametrize("isa", ISAS)
def test_every_step_agrees_with_its_twin(isa: str) -> None:
    checks = 0
    with instruction_set(isa):
        for dtype, n, (name, _, shared, extra) in itertools.product(FLOATS, (0, 1, 37), options()):
            p = np.random.default_rng(14).normal(size=n).astype(dtype)
            native = Trajectory(getattr(kernels, name).call_native, name, p, shared, extra)
            twin = Trajectory(getattr(reference, name), name, p, shared, extra)
            for count in range(4):
                g = gradient(twin.p, count)
                before = g.copy()
                native.p[...] = twin.p  # one step at a time: errors do not add up
                native.step(g)
                twin.step(g)
                assert np.array_equal(g, before)
                eps = np.finfo(dtype).eps
                assert np.allclose(native.p, twin.p, rtol=8 * eps, atol=8 * eps)
                checks += 1
    assert checks == 2 * 3 * 4 * len(options()) == 1248


@pytest.mark.parametrize(("name", "theirs", "shared", "extra"), options())
def test_trajectories_equal_torchs(name: str, theirs: str, shared: dict, extra: dict) -> None:
    torch = pytest.importorskip("torch")
    p = np.random.default_rng(15).normal(size=23)
    ours = Trajectory(getattr(kernels, name), name, p, shared, extra)
    parameter = torch.nn.Parameter(torch.tensor(p))
    amsgrad = {"amsgrad": True} if extra.get("states") == 3 else {}
    centered = {"centered": True} if extra.get("centered") else {}
    optimizer = getattr(torch.optim, theirs)([parameter], **shared, **amsgrad, **centered)
    for count in range(100):
        ours.step(gradient(ours.p, count))
        parameter.grad = torch.tensor(gradient(parameter.detach().numpy(), count))
        optimizer.step()
        assert np.allclose(ours.p, parameter.detach().numpy(), rtol=1e-12, atol=1e-12)


def test_arguments_are_checked() -> None:
    p = np.ones(3)
    for kernel in (kernels.sgd_step, reference.sgd_step):
        with pytest.raises(TypeError, match="lr"):
            kernel(p, p)
        with pytest.raises(ValueError, match=r"parameter \(3,\) and gradient \(4,\) differ"):
            kernel(p, np.ones(4), lr=0.1)


@pytest.mark.parametrize("isa", ISAS)
def test_norm_and_scale_of_many_arrays(isa: str) -> None:
    rng = np.random.default_rng(16)
    with instruction_set(isa):
        for dtype in FLOATS:
            arrays = [rng.normal(size=s).astype(dtype) for s in ((), (3,), (40, 50), (200_000,))]
            want = np.sqrt(sum(np.sum(a.astype(np.float64) ** 2) for a in arrays))
            assert kernels.multi_norm(arrays) == pytest.approx(want, rel=1e-14)
            kernels.multi_scale(arrays, 0.5)
            assert kernels.multi_norm(tuple(arrays)) == pytest.approx(want / 2, rel=1e-14)
    assert kernels.multi_norm([]) == 0.0
    assert kernels.multi_norm([np.float32([1e30, 1e30])]) == pytest.approx(2**0.5 * 1e30, rel=1e-7)


def test_what_has_decayed_below_the_normal_range_counts_as_zero() -> None:
    """A dead unit's momentum would stay subnormal for ever, each operation a hundredfold price."""
    tiny = np.finfo(np.float32).smallest_normal
    p, g, buf = np.ones(40, np.float32), np.zeros(40, np.float32), np.full(40, tiny)
    kernels.sgd_step.call_native(p, g, buf, lr=0.1, momentum=0.9)
    assert not buf.any()
    assert np.float32(tiny) / np.float32(2) > 0  # only there
