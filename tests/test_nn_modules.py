"""Modules: registration, hooks, modes, conversion, copies, text, and what bad input says."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

import tilegrad as tg
from tilegrad import nn


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(3, 4)
        self.rest = nn.ModuleList([nn.ReLU(), nn.Linear(4, 2, bias=False)])
        self.scale = nn.Parameter(tg.ones(1))
        self.register_buffer("seen", tg.zeros(1))
        self.register_buffer("hidden", tg.zeros(1), persistent=False)

    def forward(self, x: Any) -> Any:
        x = self.first(x)
        for layer in self.rest:
            x = layer(x)
        return x * self.scale


def test_members_are_registered_in_order():
    net = Net()
    names = ["scale", "first.weight", "first.bias", "rest.1.weight"]
    assert [name for name, _ in net.named_parameters()] == names
    assert [name for name, _ in net.named_buffers()] == ["seen", "hidden"]
    assert list(net.state_dict()) == [
        "scale", "seen", "first.weight", "first.bias", "rest.1.weight"
    ]  # fmt: skip
    assert [name for name, _ in net.named_modules()] == ["", "first", "rest", "rest.0", "rest.1"]
    assert net.get_submodule("rest.1") is net.rest[1]
    assert net.get_parameter("first.bias") is net.first.bias
    del net.scale
    assert "scale" not in net.state_dict()
    with pytest.raises(TypeError, match="registered"):
        net.first = 3
    with pytest.raises(AttributeError, match="super"):
        type("Early", (nn.Module,), {"__init__": lambda self: setattr(self, "a", nn.ReLU())})()


def test_shared_parameters_are_listed_once():
    net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    net[1].weight = net[0].weight
    assert len(list(net.parameters())) == 3
    assert len(net.state_dict()) == 4


def test_text_is_torchs():
    torch = pytest.importorskip("torch")

    def build(n: Any) -> Any:
        return n.Sequential(
            n.Conv2d(3, 8, 3, padding=1, bias=False), n.BatchNorm2d(8), n.ReLU(inplace=True),
            n.MaxPool2d(2), n.ConvTranspose2d(8, 4, 3, stride=2, output_padding=1), n.Dropout(0.2),
            n.Flatten(), n.Linear(3, 4), n.LeakyReLU(0.2), n.LayerNorm(4), n.GroupNorm(2, 4),
            n.LSTM(3, 4, num_layers=2, bidirectional=True), n.Embedding(5, 3, padding_idx=1),
            n.AdaptiveAvgPool2d((1, None)), n.GELU("tanh"), n.Softmax(dim=1), n.RNNCell(2, 3),
            n.MultiheadAttention(8, 2), n.ModuleList([n.Tanh()]), n.PReLU(3), n.Unfold(3),
        )  # fmt: skip

    assert repr(build(nn)) == repr(build(torch.nn))


def test_forward_hooks():
    layer = nn.Linear(2, 2)
    seen = []
    handles = [
        layer.register_forward_pre_hook(lambda m, args: (args[0] * 2,)),
        layer.register_forward_hook(lambda m, args, out: seen.append(args[0].shape)),
        layer.register_forward_hook(lambda m, args, out: out + 1),
    ]
    x = tg.ones(3, 2)
    plain = nn.functional.linear(x * 2, layer.weight, layer.bias) + 1
    assert np.array_equal(layer(x).detach().numpy(), plain.detach().numpy())
    assert seen == [(3, 2)]
    for handle in handles:
        handle.remove()
    wanted = nn.functional.linear(x, layer.weight, layer.bias)
    assert np.array_equal(layer(x).detach().numpy(), wanted.detach().numpy())


def test_backward_hooks():
    layer = nn.Linear(2, 3)
    seen: dict[str, Any] = {}

    def hook(module: Any, grad_input: Any, grad_output: Any) -> Any:
        seen["in"], seen["out"] = grad_input[0].shape, grad_output[0].shape
        return (grad_input[0] * 2,)

    layer.register_full_backward_hook(hook)
    x = tg.ones(4, 2).requires_grad_()
    layer(x).sum().backward()
    assert seen == {"in": (4, 2), "out": (4, 3)}
    wanted = 2 * np.tile(layer.weight.detach().numpy().sum(axis=0), (4, 1))
    np.testing.assert_allclose(x.grad.numpy(), wanted, rtol=1e-6)


def test_hooks_keep_neighbours_apart():
    """A hook between two fused neighbours still sees what passes there."""
    net = nn.Sequential(nn.Linear(2, 3), nn.ReLU())
    x = tg.randn(5, 2)
    fused = net(x).detach().numpy()
    seen = []
    net[0].register_forward_hook(lambda m, args, out: seen.append(out.detach().numpy().min()))
    assert np.array_equal(net(x).detach().numpy(), fused)
    assert len(seen) == 1


def test_modes_and_conversion():
    net = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.Dropout())
    assert net.eval() is net
    assert not any(m.training for m in net.modules())
    net.train()
    assert all(m.training for m in net.modules())
    net.double()
    assert net[0].weight.dtype == net[1].running_mean.dtype == np.float64
    assert net[1].num_batches_tracked.dtype == np.int64
    net.to(dtype=np.float32)
    assert net[0].weight.dtype == np.float32
    net.to("cpu").to(tg.ones(1, dtype=np.float64))
    assert net[0].weight.dtype == np.float64
    with pytest.raises(ValueError, match="cuda"):
        net.to("cuda")
    net.requires_grad_(False)
    assert not any(p.requires_grad for p in net.parameters())


def test_copies_are_independent():
    net = Net()
    twin = copy.deepcopy(net)
    twin.first.weight._array[...] = 0
    assert net.first.weight.detach().numpy().any()
    assert twin.rest[1].weight is not net.rest[1].weight


def test_containers():
    net = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1))
    assert len(net) == 3
    assert len(net[:2]) == 2
    net.append(nn.Tanh()).insert(1, nn.Sigmoid())
    assert [type(m).__name__ for m in net] == ["Linear", "Sigmoid", "ReLU", "Linear", "Tanh"]
    del net[1]
    assert list(net._modules) == ["0", "1", "2", "3"]
    with pytest.raises(IndexError):
        net[9]
    table = nn.ModuleDict({"a": nn.ReLU()})
    table["b"] = nn.Tanh()
    assert list(table) == ["a", "b"]
    values = nn.ParameterList([tg.ones(2), tg.zeros(1)])
    assert len(list(values.parameters())) == 2


@pytest.mark.parametrize(("layer", "shape"), [
    (lambda: nn.Linear(3, 4), (0, 3)),
    (lambda: nn.Conv2d(3, 4, 3), (0, 3, 5, 5)),
    (lambda: nn.MaxPool2d(2), (0, 3, 4, 4)),
    (lambda: nn.AvgPool2d(2), (0, 3, 4, 4)),
    (lambda: nn.LayerNorm(3), (0, 3)),
    (lambda: nn.LSTM(3, 4), (5, 0, 3)),
    (lambda: nn.TransformerEncoderLayer(4, 2, 8), (5, 0, 4)),
])  # fmt: skip
def test_empty_batches(layer: Any, shape: tuple[int, ...]):
    net = layer()
    x = tg.zeros(*shape).requires_grad_()
    y = net(x)
    y = y[0] if isinstance(y, tuple) else y
    y.sum().backward()
    assert 0 in y.shape
    assert x.grad.shape == shape
    for p in net.parameters():
        assert p.grad is None or not p.grad.numpy().any()


@pytest.mark.parametrize(("call", "error", "words"), [
    (lambda: nn.Linear(3, 4)(tg.ones(2, 5)), ValueError, ("linear", "(2, 5)", "(4, 3)", "3")),
    (lambda: nn.Linear(3, 4)(tg.ones(2, 3).double()), TypeError, ("linear", "float64", "float32")),
    (lambda: nn.Conv2d(3, 4, 3)(tg.ones(1, 2, 5, 5)), ValueError, ("(1, 2, 5, 5)", "3", "2")),
    (lambda: nn.Conv2d(3, 4, 3)(tg.ones(3, 5)), ValueError, ("conv2d", "(3, 5)", "4 axes")),
    (lambda: nn.Conv2d(3, 4, 7)(tg.ones(1, 3, 5, 5)), ValueError, ("7", "5")),
    (lambda: nn.Conv2d(3, 4, 3, stride=0), ValueError, ("Conv2d", "stride", "1")),
    (lambda: nn.Conv2d(3, 4, 3, groups=2), ValueError, ("Conv2d", "groups=2")),
    (lambda: nn.Conv2d(3, 4, 3, padding_mode="odd"), ValueError, ("padding_mode", "'odd'")),
    (lambda: nn.MaxPool2d(2, padding=2)(tg.ones(1, 1, 4, 4)), ValueError, ("max_pool", "half")),
    (lambda: nn.BatchNorm2d(3)(tg.ones(2, 3)), ValueError, ("BatchNorm2d", "(2, 3)", "4")),
    (lambda: nn.LayerNorm(4)(tg.ones(2, 3)), ValueError, ("layer_norm", "(4,)", "(2, 3)")),
    (lambda: nn.GroupNorm(2, 3), ValueError, ("GroupNorm", "3", "2")),
    (lambda: nn.Embedding(5, 2)(tg.tensor([5])), IndexError, ("embedding", "5", "0..4")),
    (lambda: nn.Embedding(5, 2)(tg.ones(2)), TypeError, ("embedding", "integers")),
    (lambda: nn.Dropout(1.5), ValueError, ("Dropout", "1.5")),
    (lambda: nn.LSTM(3, 4)(tg.ones(2, 2, 5)), ValueError, ("LSTM", "5 features", "3")),
    (lambda: nn.MultiheadAttention(5, 2), ValueError, ("embed_dim", "5", "2")),
    (
        lambda: nn.CrossEntropyLoss()(tg.ones(2, 3), tg.tensor([0, 3])),
        ValueError, ("cross_entropy", "label 3", "row 1", "0..2"),
    ),
    (
        lambda: nn.CrossEntropyLoss()(tg.ones(2, 3), tg.tensor([0, 1, 2])),
        ValueError, ("cross_entropy", "(2, 3)", "(2,)", "(3,)"),
    ),
    (
        lambda: nn.CrossEntropyLoss()(tg.ones(2, 3), tg.tensor([0.0, 1.0])),
        TypeError, ("cross_entropy", "float32", "long"),
    ),
    (
        lambda: nn.BCELoss()(tg.tensor([2.0]), tg.tensor([1.0])),
        ValueError, ("binary_cross_entropy", "between 0 and 1"),
    ),
    (lambda: nn.MSELoss()(tg.ones(2), tg.ones(3)), ValueError, ("mse_loss", "(2,)", "(3,)")),
    (lambda: nn.Linear(3, 4, colour="red"), TypeError, ("colour",)),
    (lambda: nn.Linear(3, 4, device="cuda"), ValueError, ("Linear", "cuda")),
])  # fmt: skip
def test_bad_input_says_what_and_where(call: Any, error: type, words: tuple[str, ...]):
    with pytest.raises(error) as caught:
        call()
    for word in words:
        assert word in str(caught.value)


def test_in_place_activations():
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(inplace=True))
    plain = copy.deepcopy(net)
    plain[2].inplace = False
    x = tg.randn(2, 1, 5, 5)
    grads = []
    for model in (net, plain):
        model(x).sum().backward()
        grads.append([p.grad.numpy() for p in model.parameters()])
    for a, b in zip(*grads, strict=True):
        np.testing.assert_array_equal(a, b)
    y = tg.tensor([-1.0, 2.0])
    assert nn.functional.relu_(y) is y
    assert y.numpy().tolist() == [0.0, 2.0]
    with pytest.raises(RuntimeError, match="leaf"):
        nn.functional.relu_(tg.ones(2).requires_grad_())


def test_initial_values():
    tg.manual_seed(0)
    layer = nn.Linear(400, 300)
    bound = 1 / 20
    weight = layer.weight.detach().numpy()
    assert np.abs(weight).max() <= bound
    assert weight.std() == pytest.approx(bound / 3**0.5, rel=0.02)
    q = nn.init.orthogonal_(nn.Parameter(tg.zeros(5, 8))).detach().numpy()
    np.testing.assert_allclose(q @ q.T, np.eye(5), atol=1e-6)
    t = nn.init.trunc_normal_(nn.Parameter(tg.zeros(200, 50)), std=2.0, a=-1.0, b=3.0)
    assert -1 <= t.detach().numpy().min() <= t.detach().numpy().max() <= 3
    assert nn.init.kaiming_normal_(
        nn.Parameter(tg.zeros(300, 200)), nonlinearity="relu"
    ).detach().numpy().std() == pytest.approx((2 / 200) ** 0.5, rel=0.02)


def test_a_state_dict_that_does_not_fit_changes_nothing():
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    before = {key: np.array(value) for key, value in model.state_dict().items()}
    wrong = {key: value + 1 for key, value in before.items()}
    wrong["1.running_mean"] = np.zeros(5, np.float32)
    for assign in (False, True):
        with pytest.raises(RuntimeError, match="running_mean"):
            model.load_state_dict(wrong, assign=assign)
        for key, value in model.state_dict().items():
            np.testing.assert_array_equal(np.array(value), before[key], err_msg=key)


def test_embedding_of_no_indices():
    layer = nn.Embedding(3, 4)
    layer(tg.zeros(0, dtype=tg.int64)).sum().backward()
    assert not np.any(layer.weight.grad.numpy())
