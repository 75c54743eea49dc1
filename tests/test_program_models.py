"""Training steps of whole networks: a hundred replays equal a hundred eager steps, to the bit."""

from __future__ import annotations

import copy

import numpy as np
import pytest

import tilegrad as tg
from tilegrad import nn, optim
from tilegrad.bench import train

STEPS = 100


def mlp():
    return nn.Sequential(
        nn.Linear(12, 32), nn.ReLU(), nn.Linear(32, 16), nn.Tanh(), nn.Linear(16, 4)
    )


def cnn():
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(4, 8, 3), nn.GELU(), nn.AvgPool2d(2), nn.Flatten(), nn.Dropout(0.3),
        nn.Linear(8, 4),
    )  # fmt: skip


def normed():
    return nn.Sequential(nn.Linear(12, 24), nn.LayerNorm(24), nn.SiLU(), nn.Linear(24, 4))


MODELS = {
    "mlp": (mlp, (6, 12)),
    "cnn": (cnn, (5, 1, 8, 8)),
    "normed": (normed, (6, 12)),
}
OPTIMIZERS = {
    "sgd": lambda p: optim.SGD(p, lr=0.05, momentum=0.9, weight_decay=1e-4),
    "adam": lambda p: optim.AdamW(p, lr=1e-2),
}


def run(name, optimizer_name, compiled):
    tg.manual_seed(7)
    make, shape = MODELS[name]
    model = make()
    optimizer = OPTIMIZERS[optimizer_name](model.parameters())
    loss_function = nn.CrossEntropyLoss()

    def step(x, y):
        optimizer.zero_grad()
        loss = loss_function(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    if compiled:
        step = tg.compile(step)
    rng = np.random.default_rng(3)
    losses = []
    for k in range(STEPS):
        if k == STEPS // 2:
            for group in optimizer.param_groups:  # the rate is live
                group["lr"] *= 0.5
        x = tg.tensor(rng.standard_normal(shape).astype(np.float32))
        y = tg.tensor(rng.integers(0, 4, shape[0]))
        losses.append(step(x, y).detach().numpy().copy())
    state = {key: np.array(value) for key, value in model.state_dict().items()}
    return np.array(losses), state, step


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("model", MODELS)
def test_replay_is_eager_training(model, optimizer):
    losses, state, _ = run(model, optimizer, compiled=False)
    found, found_state, step = run(model, optimizer, compiled=True)
    assert step.replays >= STEPS - 5, step.report()
    np.testing.assert_array_equal(found, losses)
    for key, value in state.items():
        np.testing.assert_array_equal(found_state[key], value, err_msg=key)


#: One of each kind of the training bench, on few rows.
BENCHED = [
    train.Workload("mlp", train.mlp, 3),
    train.Workload("cnn", train.cnn, 2),
    train.Workload("policy", train.policy, 16),
    train.Workload("narrow", train.narrow(32), 32),
    train.Workload("lstm", train.lstm, 2, train.gradients),
    train.Workload("block", train.block, 1, train.gradients),
    train.Workload("chain", train.chain, 3, train.gradients),
    train.Workload("inference", train.mlp, 1, train.inference),
]


@pytest.mark.parametrize("work", BENCHED, ids=lambda work: work.name)
def test_bench_steps_replay_to_the_bit(work):
    def gradients(model):
        return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}

    eager, model = built(work, None)
    step, other = built(work, model)
    step = tg.compile(step)
    rng = np.random.default_rng(11)
    _, _, x, y = work.build(tg, work.batch)
    for _ in range(STEPS):
        batch = tg.tensor(rng.standard_normal(x.shape).astype(np.float32)), tg.tensor(y)
        assert step(*batch).detach().numpy().tobytes() == eager(*batch).detach().numpy().tobytes()
        found = gradients(other)
        for name, wanted in gradients(model).items():
            assert found[name].numpy().tobytes() == wanted.numpy().tobytes(), name
    assert step.replays >= STEPS - 5, step.report()
    for key, value in model.state_dict().items():
        np.testing.assert_array_equal(other.state_dict()[key], value, err_msg=key)


def built(work, like):
    """The step of ``work`` and its model, which starts as ``like`` is."""
    model, optimizer, _, _ = work.build(tg, work.batch)
    if like is not None:
        model.load_state_dict(like.state_dict())
    return work.steps(tg, model, optimizer), model


def test_evaluation_mode_is_another_program():
    tg.manual_seed(0)
    model = cnn()
    predict = tg.compile(model)
    x = tg.tensor(np.random.default_rng(0).standard_normal((5, 1, 8, 8)).astype(np.float32))
    model.eval()
    with tg.no_grad():
        expected = np.array(model(x))
        for _ in range(5):
            np.testing.assert_array_equal(np.array(predict(x)), expected)
        assert predict.replays == 3, predict.report()
        model[0].weight.mul_(2.0)
        np.testing.assert_array_equal(np.array(predict(x)), np.array(model(x)))
        model.train()
        different = np.array(predict(x))
        assert not np.array_equal(different, expected)


def test_loaded_weights_are_used():
    model = mlp()
    other = copy.deepcopy(model.state_dict())
    predict = tg.compile(model)
    x = tg.tensor(np.ones((2, 12), np.float32))
    with tg.no_grad():
        for _ in range(4):
            predict(x)
        for value in other.values():
            value *= 0.5
        model.load_state_dict(other)
        np.testing.assert_array_equal(np.array(predict(x)), np.array(model(x)))
