"""Modules as functions of their parameters; dual numbers by hand."""

from __future__ import annotations

import numpy as np
import pytest

import tilegrad as tg
from tilegrad import func, nn
from tilegrad.autograd import forward_ad as fwad
from tilegrad.func import functional_call


def network():
    tg.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()


def test_other_parameters_for_one_call():
    net, x = network(), tg.tensor(np.ones((5, 3)))
    own = {name: p.detach() for name, p in net.named_parameters()}
    before = net(x).detach().numpy()
    doubled = {name: 2 * p for name, p in own.items()}
    out = functional_call(net, doubled, (x,))
    w = {name: p.numpy() for name, p in doubled.items()}
    hidden = np.tanh(x.numpy() @ w["0.weight"].T + w["0.bias"])
    np.testing.assert_allclose(out.detach().numpy(), hidden @ w["2.weight"].T + w["2.bias"])
    np.testing.assert_array_equal(net(x).detach().numpy(), before)
    part = functional_call(net, {"2.bias": tg.zeros(2, dtype=tg.float64)}, x)
    np.testing.assert_allclose(part.detach().numpy(), before - own["2.bias"].numpy())


def test_parameters_come_back_after_an_error():
    net = network()
    own = dict(net.named_parameters())
    with pytest.raises(ValueError, match="Linear"):
        functional_call(net, {n: p * 0 for n, p in own.items()}, (tg.zeros(5, 7),))
    assert all(dict(net.named_parameters())[name] is p for name, p in own.items())


def test_gradients_and_per_sample_gradients_of_a_module():
    net = network()
    parameters = {name: p.detach() for name, p in net.named_parameters()}
    x, y = (tg.tensor(np.random.default_rng(k).standard_normal(s)) for k, s in
            ((1, (6, 3)), (2, (6, 2))))  # fmt: skip

    def loss(p, x, y):
        return ((functional_call(net, p, (x,)) - y) ** 2).sum()

    whole = func.grad(loss)(parameters, x, y)
    each = func.per_sample_grad(loss)(parameters, x, y)
    loss(dict(net.named_parameters()), x, y).backward()
    for name, p in net.named_parameters():
        np.testing.assert_allclose(whole[name].numpy(), p.grad.numpy(), rtol=1e-12)
        np.testing.assert_allclose(each[name].numpy().sum(0), p.grad.numpy(), rtol=1e-10)


def test_shared_weights_buffers_and_names():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False)
            self.second.weight = self.first.weight
            self.register_buffer("shift", tg.zeros(2))

        def forward(self, x, scale=1.0):
            return self.second(self.first(x)) * scale + self.shift

    model, x = Tied(), tg.ones(1, 2)
    new = {"first.weight": 2 * tg.eye(2)}
    out = functional_call(model, (new, {"shift": tg.ones(2)}), (x,), {"scale": 10.0})
    np.testing.assert_array_equal(out.detach().numpy(), [[41, 41]])
    with pytest.raises(KeyError, match=r"no parameter or buffer 'third\.weight'.*first\.weight"):
        functional_call(model, {"third.weight": tg.eye(2)}, (x,))
    with pytest.raises(KeyError, match="in several dicts"):
        functional_call(model, (new, new), (x,))
    with pytest.raises(RuntimeError, match="strict, but shift"):
        functional_call(model, new, (x,), strict=True)


def test_an_ensemble_in_one_batch():
    layers = [nn.Linear(3, 2) for _ in range(4)]
    parameters, buffers = func.stack_module_state(layers)
    x = tg.randn(5, 3)
    out = func.vmap(lambda p, b: functional_call(layers[0], (p, b), (x,)))(parameters, buffers)
    for i, layer in enumerate(layers):
        np.testing.assert_allclose(out[i].numpy(), layer(x).detach().numpy(), rtol=1e-6)


def test_dual_numbers():
    x, t = tg.tensor(np.array([0.3, 2.0])), tg.tensor(np.array([1.0, -1.0]))
    with fwad.dual_level():
        value, tangent = fwad.unpack_dual(tg.sin(fwad.make_dual(x, t)) * x)
        np.testing.assert_allclose(value.numpy(), np.sin(x.numpy()) * x.numpy())
        np.testing.assert_allclose(tangent.numpy(), np.cos(x.numpy()) * t.numpy() * x.numpy())
        assert fwad.unpack_dual(x).tangent is None
        with fwad.dual_level():  # the second derivative
            inner = fwad.make_dual(fwad.make_dual(x, t, level=None), t)
            outer = fwad.unpack_dual(inner * inner).tangent
            np.testing.assert_allclose(outer.numpy(), 2 * x.numpy() * t.numpy())
    with pytest.raises(RuntimeError, match="outside of dual_level"):
        fwad.make_dual(x, t)
    with fwad.dual_level(), pytest.raises(ValueError, match=r"\(3,\) for \(2,\)"):
        fwad.make_dual(x, tg.zeros(3))
    with fwad.dual_level(), pytest.raises(TypeError, match="int64"):
        fwad.make_dual(tg.tensor(np.arange(2)), t)


def test_dual_numbers_through_a_graph():
    x = tg.tensor(np.array(2.0), requires_grad=True)
    with fwad.dual_level():
        tangent = fwad.unpack_dual(fwad.make_dual(x, tg.tensor(np.array(1.0))) ** 3).tangent
        (second,) = tg.autograd.grad(tangent, x)
    assert second.item() == 12.0
