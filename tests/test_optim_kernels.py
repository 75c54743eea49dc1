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
        with pytest.raises(ValueError, match=r"^sgd_step: p \(3,\) and g \(4,\) differ"):
            kernel(p, np.ones(4), lr=0.1)


#: The arrays of each step, and what else it must be given.
STEPS: dict[str, tuple[tuple[str, ...], dict[str, Any]]] = {
    "sgd_step": (("p", "g", "buf"), {"lr": 0.1, "momentum": 0.9}),
    "adam_step": (("p", "g", "m", "v", "v_max"), {"lr": 0.1, "step": 1, "weight_decay": 0.1}),
    "rmsprop_step": (("p", "g", "square", "buf", "average"), {"lr": 0.1, "momentum": 0.9}),
    "adagrad_step": (("p", "g", "total"), {"lr": 0.1, "step": 1}),
}


def read_only(a: np.ndarray) -> np.ndarray:
    a = a.copy()
    a.flags.writeable = False
    return a


#: What is wrong with an array, the kind of error and what it says after the array's name.
DAMAGES = (
    (read_only, ValueError, "is read-only"),
    (lambda a: np.ones(4), ValueError, r"\(4,\) differ"),
    (lambda a: np.ones((3, 1)), ValueError, r"\(3, 1\) differ"),
    (lambda a: a.astype(np.float32), TypeError, "float32 differ"),
    (lambda a: a.tolist(), TypeError, "must be an array, not list"),
)


def raises_and_writes_nothing(
    kernel: Any, arrays: dict[str, Any], numbers: dict[str, Any], kind: type, text: str
) -> None:
    before = {name: np.copy(a) for name, a in arrays.items()}
    with pytest.raises(kind, match=text):
        kernel(**arrays, **numbers)
    for name, a in arrays.items():
        assert np.array_equal(a, before[name]), f"{name} was written"


@pytest.mark.parametrize("kernels_of", [kernels, reference], ids=["kernel", "twin"])
@pytest.mark.parametrize("name", STEPS)
def test_a_refused_step_writes_nothing(name: str, kernels_of: Any) -> None:
    names, numbers = STEPS[name]
    kernel = getattr(kernels_of, name)
    for wrong, (damage, kind, text) in itertools.product(names, DAMAGES):
        if damage is read_only and wrong == "g":
            continue  # is only read
        arrays: dict[str, Any] = {each: np.full(3, 2.0) for each in names}
        arrays[wrong] = damage(arrays[wrong])
        # the others are held against p: whoever differs from a wrong p is named
        said = "" if wrong == "p" and " differ" in text else f"{wrong} {text}"
        raises_and_writes_nothing(kernel, arrays, numbers, kind, f"^{name}: .*{said}")
    whole = {each: np.full(3, 2) for each in names}
    raises_and_writes_nothing(kernel, whole, numbers, TypeError, f"^{name}: p .*int64")
    whole = {each: np.full(3, 2.0) for each in names}
    raises_and_writes_nothing(kernel, whole, {**numbers, "lr": "a"}, TypeError, f"{name}: lr")
    kernel(**{**whole, "g": read_only(whole["g"])}, **numbers)


@pytest.mark.parametrize("kernels_of", [kernels, reference], ids=["kernel", "twin"])
@pytest.mark.parametrize("name", ["adam_step", "adagrad_step"])
def test_steps_count_from_one(name: str, kernels_of: Any) -> None:
    names, numbers = STEPS[name]
    for step in (0, -1, 0.5, float("nan")):
        arrays = {each: np.full(3, 2.0) for each in names}
        text = f"^{name}: step .* counts from 1"
        raises_and_writes_nothing(
            getattr(kernels_of, name), arrays, {**numbers, "step": step}, ValueError, text
        )


@pytest.mark.parametrize("scale", [kernels.multi_scale, reference.multi_scale])
def test_a_refused_scaling_writes_nothing(scale: Any) -> None:
    for damage, kind, text in DAMAGES:
        if "differ" in text:
            continue  # each array has a shape and dtype of its own
        arrays = [np.ones(3), damage(np.ones(3))]
        with pytest.raises(kind, match=rf"^multi_scale: arrays\[1\] {text}"):
            scale(arrays, 0.5)
        assert arrays[0].tolist() == [1, 1, 1]


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
