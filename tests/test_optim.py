"""Optimizers and schedules: trajectories beside torch's, states, groups, hooks, errors."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import pytest

import tilegrad as tg
from tilegrad import nn

OPTIMIZERS = [
    ("SGD", {"lr": 0.01}),
    ("SGD", {"lr": 0.01, "momentum": 0.9}),
    ("SGD", {"lr": 0.01, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1}),
    ("SGD", {"lr": 0.01, "momentum": 0.8, "dampening": 0.3, "maximize": True}),
    ("Adam", {"lr": 0.02}),
    ("Adam", {"lr": 0.02, "weight_decay": 0.1, "amsgrad": True}),
    ("Adam", {"lr": 0.02, "betas": (0.5, 0.7), "eps": 1e-3, "maximize": True}),
    ("AdamW", {"lr": 0.02}),
    ("AdamW", {"lr": 0.02, "weight_decay": 0.3, "amsgrad": True}),
    ("RMSprop", {"lr": 0.01}),
    ("RMSprop", {"lr": 0.01, "centered": True, "momentum": 0.9, "weight_decay": 0.1}),
    ("RMSprop", {"lr": 0.01, "alpha": 0.9, "maximize": True}),
    ("Adagrad", {"lr": 0.1}),
    ("Adagrad", {"lr": 0.1, "lr_decay": 0.1, "weight_decay": 0.1,
                 "initial_accumulator_value": 0.2}),
    ("Adadelta", {}),
    ("Adadelta", {"lr": 0.5, "rho": 0.8, "eps": 1e-4, "weight_decay": 0.1}),
    ("Adadelta", {"lr": 0.5, "maximize": True}),
    ("Adamax", {"lr": 0.02}),
    # a magnitude forgotten fast (beta2 of 0.7) makes the steps jump and amplifies rounding
    ("Adamax", {"lr": 0.02, "betas": (0.8, 0.99), "eps": 1e-3, "weight_decay": 0.1,
                "maximize": True}),
    ("LBFGS", {"lr": 0.3, "max_iter": 3, "history_size": 4}),
    ("LBFGS", {"lr": 1.0, "max_iter": 4, "line_search_fn": "strong_wolfe"}),
]  # fmt: skip

X = np.random.default_rng(0).standard_normal((20, 3))
Y = np.sin(X.sum(axis=1, keepdims=True))
SHAPES = [(4, 3), (4,), (1, 4)]
START = [np.random.default_rng(i + 1).standard_normal(s) for i, s in enumerate(SHAPES)]


def _train(library: Any, params: list[Any], optimizer: Any, x: Any, y: Any, steps: int) -> None:
    def closure() -> Any:
        optimizer.zero_grad()
        hidden = library.tanh(x @ params[0].T + params[1])
        if isinstance(optimizer, (tg.optim.LBFGS, library.optim.LBFGS)):
            # convex: quasi-Newton steps on a rugged loss amplify rounding without bound
            loss = ((x @ params[0].T + params[1] - y) ** 2).mean() + (params[2] ** 2).sum()
            loss = loss + 0.5 * (params[0] ** 2).sum() + 0.1 * (params[2] ** 4).sum()
            loss.backward()
            return loss
        # bounded, so that it can also be maximised
        loss = library.tanh((hidden @ params[2].T - y) ** 2).mean() + library.sin(params[2]).sum()
        loss.backward()
        return loss

    for _ in range(steps):
        optimizer.step(closure)


def _ours() -> list[Any]:
    return [nn.Parameter(tg.tensor(p.copy())) for p in START]


@pytest.mark.parametrize(("name", "options"), OPTIMIZERS, ids=str)
def test_trajectory_is_torchs(name: str, options: dict[str, Any]):
    torch = pytest.importorskip("torch")
    ours = _ours()
    theirs = [torch.nn.Parameter(torch.tensor(p)) for p in START]
    mine = getattr(tg.optim, name)(ours, **options)
    other = getattr(torch.optim, name)(theirs, **options)
    for _ in range(10):
        _train(tg, ours, mine, tg.tensor(X), tg.tensor(Y), 10)
        _train(torch, theirs, other, torch.tensor(X), torch.tensor(Y), 10)
        for a, b in zip(ours, theirs, strict=True):
            scale = max(1.0, float(b.detach().abs().max()))
            assert np.abs(a.detach().numpy() - b.detach().numpy()).max() <= 1e-12 * scale
    assert set(mine.state_dict()["param_groups"][0]) >= {"lr", "params"}
    assert mine.state_dict()["state"].keys() == other.state_dict()["state"].keys()
    for key, entries in other.state_dict()["state"].items():
        assert set(mine.state_dict()["state"][key]) >= {
            k for k, v in entries.items() if v is not None and k != "al"
        }


@pytest.mark.parametrize(("name", "options"), OPTIMIZERS, ids=str)
def test_resuming_is_exact(name: str, options: dict[str, Any]):
    x, y = tg.tensor(X), tg.tensor(Y)
    straight = _ours()
    _train(tg, straight, getattr(tg.optim, name)(straight, **options), x, y, 12)
    params = _ours()
    optimizer = getattr(tg.optim, name)(params, **options)
    _train(tg, params, optimizer, x, y, 5)
    state = copy.deepcopy(optimizer.state_dict())
    again = [nn.Parameter(tg.tensor(p.detach().numpy().copy())) for p in params]
    resumed = getattr(tg.optim, name)(again, **options)
    resumed.load_state_dict(state)
    _train(tg, params, optimizer, x, y, 3)  # must not disturb the loaded state
    _train(tg, again, resumed, x, y, 7)
    for a, b in zip(again, straight, strict=True):
        assert np.array_equal(a.detach().numpy(), b.detach().numpy())


@pytest.mark.parametrize(("name", "options"), OPTIMIZERS, ids=str)
def test_state_of_torch_is_understood(name: str, options: dict[str, Any]):
    torch = pytest.importorskip("torch")
    theirs = [torch.nn.Parameter(torch.tensor(p)) for p in START]
    other = getattr(torch.optim, name)(theirs, **options)
    _train(torch, theirs, other, torch.tensor(X), torch.tensor(Y), 5)
    ours = [nn.Parameter(tg.tensor(p.detach().numpy().copy())) for p in theirs]
    mine = getattr(tg.optim, name)(ours, **options)
    mine.load_state_dict(other.state_dict())
    _train(torch, theirs, other, torch.tensor(X), torch.tensor(Y), 5)
    _train(tg, ours, mine, tg.tensor(X), tg.tensor(Y), 5)
    for a, b in zip(ours, theirs, strict=True):
        assert np.abs(a.detach().numpy() - b.detach().numpy()).max() <= 1e-12


def test_groups_have_their_own_options():
    a, b = (nn.Parameter(tg.ones(2)) for _ in range(2))
    optimizer = tg.optim.SGD([{"params": [a]}, {"params": b, "lr": 0.5}], lr=0.1)
    (a.sum() + b.sum()).backward()
    optimizer.step()
    assert np.allclose(a.detach().numpy(), 0.9)
    assert np.allclose(b.detach().numpy(), 0.5)
    c = nn.Parameter(tg.ones(1))
    optimizer.add_param_group({"params": c})
    assert optimizer.param_groups[2]["lr"] == 0.1


def test_options_are_read_at_every_step_whatever_holds_them():
    """A rate in a tensor goes the way through Python, one in a float the native way: both count."""
    for optimizer in (tg.optim.SGD, tg.optim.Adam, tg.optim.RMSprop, tg.optim.Adagrad):
        ends = []
        for wrap in (float, lambda rate: tg.tensor(rate, dtype=tg.float64)):
            p = tg.tensor(np.ones(5), requires_grad=True)
            tuned = optimizer([p], lr=wrap(0.5))
            for rate in (0.5, 0.25, 0.125):
                tuned.param_groups[0]["lr"] = wrap(rate)
                p.grad = tg.tensor(np.arange(5.0))
                tuned.step()
            ends.append(p.detach().numpy())
        assert np.array_equal(*ends)
        assert len(set(ends[0])) > 1


def test_parameters_without_gradient_stay():
    a, b = (nn.Parameter(tg.ones(2)) for _ in range(2))
    optimizer = tg.optim.Adam([a, b], lr=0.1)
    a.sum().backward()
    optimizer.step()
    assert np.array_equal(b.detach().numpy(), np.ones(2, np.float32))
    assert b not in optimizer.state


def test_hooks_run_around_a_step():
    p = nn.Parameter(tg.ones(1))
    optimizer = tg.optim.SGD([p], lr=0.1)
    seen = []
    before = optimizer.register_step_pre_hook(lambda o, a, k: seen.append("before"))
    optimizer.register_step_post_hook(lambda o, a, k: seen.append("after"))
    p.sum().backward()
    optimizer.step()
    before.remove()
    optimizer.step()
    assert seen == ["before", "after", "after"]


@pytest.mark.parametrize(("make", "error"), [
    (lambda: tg.optim.SGD([], lr=0.1), "empty"),
    (lambda: tg.optim.SGD(nn.Parameter(tg.ones(1)), lr=0.1), "iterable"),
    (lambda: tg.optim.SGD([nn.Parameter(tg.ones(1))], lr=-1), "lr"),
    (lambda: tg.optim.SGD([nn.Parameter(tg.ones(1))], nesterov=True), "nesterov"),
    (lambda: tg.optim.Adam([nn.Parameter(tg.ones(1))], betas=(1.0, 0.9)), "betas"),
    (lambda: tg.optim.Adam([nn.Parameter(tg.ones(1)) * 2]), "leaf"),
    (lambda: tg.optim.Adam([np.ones(2)]), "tensors"),
    (lambda: tg.optim.LBFGS([nn.Parameter(tg.ones(1))]).step(), "closure"),
    (lambda: tg.optim.LBFGS([nn.Parameter(tg.ones(1))], line_search_fn="armijo"), "strong_wolfe"),
])  # fmt: skip
def test_bad_arguments(make: Any, error: str):
    with pytest.raises((ValueError, TypeError), match=error):
        make()


def test_same_parameter_twice():
    p = nn.Parameter(tg.ones(1))
    with pytest.raises(ValueError, match="more than one"):
        tg.optim.SGD([{"params": [p]}, {"params": [p]}], lr=0.1)


SCHEDULES = {
    "StepLR": {"step_size": 3, "gamma": 0.5},
    "MultiStepLR": {"milestones": [2, 5, 5], "gamma": 0.3},
    "ConstantLR": {"factor": 0.4, "total_iters": 4},
    "LinearLR": {"start_factor": 0.2, "end_factor": 0.9, "total_iters": 6},
    "ExponentialLR": {"gamma": 0.9},
    "PolynomialLR": {"total_iters": 8, "power": 2.0},
    "CosineAnnealingLR": {"T_max": 7, "eta_min": 0.01},
    "CosineAnnealingWarmRestarts": {"T_0": 3, "T_mult": 2, "eta_min": 0.01},
    "LambdaLR": {"lr_lambda": lambda epoch: 0.95**epoch},
    "MultiplicativeLR": {"lr_lambda": lambda epoch: 0.9},
    "CyclicLR": {"base_lr": 0.1, "max_lr": 0.5, "step_size_up": 4, "mode": "triangular2"},
    "OneCycleLR": {"max_lr": 0.5, "total_steps": 30, "three_phase": True},
}
CHANGES = {
    "CyclicLR exp": ("CyclicLR", {"base_lr": 0.1, "max_lr": 0.5, "step_size_up": 2,
                                  "step_size_down": 5, "mode": "exp_range", "gamma": 0.9}),
    "OneCycleLR linear": ("OneCycleLR", {"max_lr": 0.5, "epochs": 5, "steps_per_epoch": 6,
                                         "anneal_strategy": "linear"}),
}  # fmt: skip
ALL = {**{name: (name, options) for name, options in SCHEDULES.items()}, **CHANGES}


@pytest.mark.parametrize("key", ALL)
def test_schedule_is_torchs(key: str):
    torch = pytest.importorskip("torch")
    name, options = ALL[key]
    mine = tg.optim.SGD([nn.Parameter(tg.ones(1))], lr=0.3, momentum=0.9)
    theirs = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.3, momentum=0.9)
    ours = getattr(tg.optim.lr_scheduler, name)(mine, **options)
    other = getattr(torch.optim.lr_scheduler, name)(theirs, **options)
    for _ in range(29):
        for group, wanted in zip(mine.param_groups, theirs.param_groups, strict=True):
            assert group["lr"] == pytest.approx(wanted["lr"], rel=1e-13)
            assert group["momentum"] == pytest.approx(wanted["momentum"], rel=1e-13)
        assert ours.get_last_lr() == pytest.approx(other.get_last_lr(), rel=1e-13)
        theirs.step()
        ours.step()
        other.step()


@pytest.mark.parametrize("key", ALL)
def test_schedule_resumes(key: str):
    name, options = ALL[key]

    def make() -> Any:
        optimizer = tg.optim.SGD([nn.Parameter(tg.ones(1))], lr=0.3, momentum=0.9)
        return optimizer, getattr(tg.optim.lr_scheduler, name)(optimizer, **options)

    first, schedule = make()
    for _ in range(7):
        schedule.step()
    second, other = make()
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    other.load_state_dict(copy.deepcopy(schedule.state_dict()))
    for _ in range(9):
        schedule.step()
        other.step()
        assert first.param_groups[0]["lr"] == second.param_groups[0]["lr"]


def test_combined_schedules_are_torchs():
    torch = pytest.importorskip("torch")

    def build(optim: Any, parameter: Any) -> Any:
        optimizer = optim.SGD([parameter], lr=0.3)
        s = optim.lr_scheduler
        first = s.ConstantLR(optimizer, factor=0.1, total_iters=2)
        second = s.ExponentialLR(optimizer, gamma=0.9)
        return optimizer, s.SequentialLR(optimizer, [first, second], milestones=[4])

    mine, ours = build(tg.optim, nn.Parameter(tg.ones(1)))
    theirs, other = build(torch.optim, torch.nn.Parameter(torch.ones(1)))
    for _ in range(12):
        assert mine.param_groups[0]["lr"] == pytest.approx(theirs.param_groups[0]["lr"], rel=1e-13)
        theirs.step()
        ours.step()
        other.step()


def test_plateau_is_torchs():
    torch = pytest.importorskip("torch")
    options = {"factor": 0.5, "patience": 2, "cooldown": 1, "min_lr": 0.02}
    mine = tg.optim.SGD([nn.Parameter(tg.ones(1))], lr=0.3)
    theirs = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.3)
    ours = tg.optim.lr_scheduler.ReduceLROnPlateau(mine, **options)
    other = torch.optim.lr_scheduler.ReduceLROnPlateau(theirs, **options)
    for i in range(40):
        metric = math.cos(i / 5) + 1
        ours.step(metric)
        other.step(metric)
        assert mine.param_groups[0]["lr"] == pytest.approx(theirs.param_groups[0]["lr"], rel=1e-13)


def test_clipping():
    params = [nn.Parameter(tg.tensor(np.ones(s))) for s in ((3,), (2, 2))]
    for p in params:
        p.grad = tg.tensor(np.full(p.shape, 2.0))
    total = nn.utils.clip_grad_norm_(params, 1.0)
    assert total.item() == pytest.approx(math.sqrt(7 * 4))
    left = math.sqrt(sum(float((p.grad.numpy() ** 2).sum()) for p in params))
    assert left == pytest.approx(1.0, rel=1e-6)
    nn.utils.clip_grad_value_(params, 0.1)
    assert all((p.grad.numpy() <= 0.1).all() for p in params)
    params[0].grad = tg.tensor(np.array([np.nan, 0, 0]))
    with pytest.raises(RuntimeError, match="finite"):
        nn.utils.clip_grad_norm_(params, 1.0, error_if_nonfinite=True)


def test_vectors_of_parameters():
    net = nn.Linear(3, 2)
    vector = nn.utils.parameters_to_vector(net.parameters())
    assert vector.shape == (8,)
    nn.utils.vector_to_parameters(vector.detach() * 2, net.parameters())
    assert np.array_equal(net.bias.detach().numpy(), vector.detach().numpy()[6:] * 2)
    with pytest.raises(ValueError, match="8 entries"):
        nn.utils.vector_to_parameters(tg.zeros(7), net.parameters())
