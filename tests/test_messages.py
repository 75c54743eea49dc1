"""What bad input says: the kind of error, the operation or layer, the sizes, the likely mend."""

from __future__ import annotations

import re

import numpy as np
import pytest

import tilegrad as tg
import tilegrad.nn.functional as F
from tilegrad import kernels, nn, optim

X = np.ones((3, 4), np.float32)
T = tg.ones(3, 4)
TALL = np.broadcast_to(np.float32(1), (2**40, 1))  # four terabytes, of one number
WIDE = np.broadcast_to(np.float32(1), (1, 2**40))
P = tg.ones(2, requires_grad=True)
NONE, LABELS = tg.zeros(2, 0), tg.tensor([0, 0])
READ_ONLY = np.broadcast_to(np.float32(1), 3)

#: A call, the kind of error, and what its text must say.
ROWS = [
    (lambda: kernels.matmul(TALL, WIDE), OverflowError, r"^matmul: .*\(1099511627776, 1\)"),
    (lambda: kernels.add(TALL, WIDE), OverflowError, r"^add: .*more bytes .*\(1, 1099511627776\)"),
    (lambda: kernels.outer(TALL[:, 0], WIDE[0]), OverflowError, r"^outer: .*\(1099511627776,\)"),
    (lambda: tg.tensor(TALL) @ tg.tensor(WIDE), OverflowError, "^matmul: "),
    (lambda: tg.tensor(TALL) + tg.tensor(WIDE), OverflowError, "^add: "),
    (lambda: tg.zeros(2**40, 2**40), OverflowError, "^zeros: .*1099511627776"),
    (lambda: tg.ones(2**40, 2**40), OverflowError, "^ones: "),
    (lambda: tg.full((2**40, 2**40), 1.0), OverflowError, "^full: "),
    (lambda: tg.empty(2**40, 2**40), OverflowError, "^empty: "),
    (lambda: tg.rand(2**40, 2**40), OverflowError, "^rand: "),
    (lambda: tg.eye(2**40), OverflowError, "^eye: "),
    (lambda: tg.arange(2**62), OverflowError, "^arange: "),
    (lambda: tg.zeros(2**22, 2**22), MemoryError, "^zeros: .*TiB"),
    (lambda: tg.zeros(-1), ValueError, "^zeros: negative"),
    (lambda: tg.zeros(2.5), TypeError, "^zeros: sizes must be whole numbers"),
    (lambda: tg.zeros("a"), TypeError, "^zeros: sizes must be whole numbers"),
    (lambda: tg.linspace(0, 1, -1), ValueError, "^linspace: .*-1"),
    (lambda: tg.manual_seed("a"), TypeError, "manual_seed: .*'a'"),
    (lambda: nn.Linear(2**40, 2**40), OverflowError, "^Linear: in_features=1099511627776 and out_"),
    (lambda: nn.Embedding(2**40, 2**40), OverflowError, "^Embedding: "),
    (lambda: nn.Conv2d(2**40, 2**40, 3), OverflowError, "^Conv2d: "),
    (lambda: T.softmax(dim=5), IndexError, r"^softmax: axis 5 .*\(3, 4\)"),
    (lambda: kernels.softmax(X, 5), ValueError, "^softmax: axis 5"),
    (lambda: T.sum(5), IndexError, "^sum: axis 5"),
    (lambda: tg.max(T, 9), IndexError, "^max: axis 9"),
    (lambda: tg.roll(T, 1, 9), IndexError, "^roll: axis 9"),
    (lambda: tg.ones(3)[5], IndexError, r"^getitem: index 5 .*\(3,\)"),
    (lambda: tg.ones(3)[0, 0], IndexError, "^getitem: too many indices"),
    (lambda: tg.ones(3)["a"], IndexError, "^getitem: "),
    (lambda: tg.ones(3)[tg.tensor([5])], IndexError, "^getitem: index 5"),
    (lambda: tg.tensor([[1, 2], [3]]), ValueError, "^tensor: nested sequences of different"),
    (lambda: tg.tensor([1, None]), TypeError, "^tensor: "),
    (lambda: tg.zeros(0, 3).amax(0), ValueError, r"^amax: .*empty .*\(0, 3\)"),
    (lambda: tg.zeros(0).argmin(), ValueError, "^argmin: .*empty"),
    (lambda: tg.chunk(T, 0), ValueError, "^chunk: .*positive, not 0"),
    (lambda: kernels.matmul(X.astype(int), X.T, out=np.zeros((2, 2))), ValueError, "^matmul: out "),
    (lambda: kernels.matmul(X, X.T, out="a"), TypeError, "^matmul: out must be an array"),
    (lambda: kernels.matmul("a", X), TypeError, r"^matmul: .*dtypes .*'a', float32 \(3, 4\)"),
    (lambda: kernels.add(X, "a"), TypeError, "^add: .*dtypes"),
    (lambda: kernels.exp(None), TypeError, "^exp: .*None"),
    (lambda: kernels.sgd_step(READ_ONLY, READ_ONLY, lr=0.1), ValueError, "^sgd_step: .*read-only"),
    (lambda: nn.Linear(3, 4)("abc"), TypeError, "^Linear: input must be a tensor, got str 'abc'"),
    (lambda: nn.Linear(3, 4)(input=None), TypeError, "^Linear: input .* got None"),
    (lambda: nn.Conv2d(1, 2, 3)([1.0]), TypeError, r"^Conv2d: input .* got list \[1\.0\]"),
    (lambda: nn.MaxPool2d(2)(1.5), TypeError, r"^MaxPool2d: input .* got float 1\.5"),
    (lambda: nn.AvgPool2d(2)("a"), TypeError, "^AvgPool2d: input .* got str"),
    (lambda: nn.BatchNorm2d(2)(None), TypeError, "^BatchNorm2d: input .* got None"),
    (lambda: nn.LayerNorm(3)("a"), TypeError, "^LayerNorm: input .* got str"),
    (lambda: nn.Dropout()([1.0]), TypeError, "^Dropout: input .* got list"),
    (lambda: nn.Flatten()(1.5), TypeError, "^Flatten: input .* got float"),
    (lambda: nn.Softmax(1)("a"), TypeError, "^Softmax: input .* got str"),
    (lambda: nn.LogSoftmax(1)(None), TypeError, "^LogSoftmax: input .* got None"),
    (lambda: nn.ReLU()("a"), TypeError, "^ReLU: input .* got str"),
    (lambda: nn.MSELoss()("a", T), TypeError, "^MSELoss: input .* got str"),
    (lambda: nn.MSELoss()(T, [1.0]), TypeError, "^MSELoss: target .* got list"),
    (lambda: nn.CrossEntropyLoss()(T, "a"), TypeError, "^CrossEntropyLoss: target .* got str"),
    (lambda: nn.BCEWithLogitsLoss()(None, T), TypeError, "^BCEWithLogitsLoss: input .* got None"),
    (
        lambda: nn.Sequential(nn.Linear(3, 4), nn.ReLU())("a"),
        TypeError,
        r"^Linear: input .* got str 'a' \(in Sequential\[0\], Linear",
    ),
    (lambda: nn.LayerNorm("a"), TypeError, "^LayerNorm: normalized_shape .*integer, got 'a'"),
    (lambda: nn.LayerNorm((2, -1)), ValueError, "^LayerNorm: normalized_shape .*negative, got -1"),
    (lambda: nn.RMSNorm(-1), ValueError, "^RMSNorm: normalized_shape .*negative"),
    (lambda: nn.BatchNorm2d(-1), ValueError, "^BatchNorm2d: num_features .*negative"),
    (lambda: nn.InstanceNorm2d("a"), TypeError, "^InstanceNorm2d: num_features .*integer"),
    (lambda: nn.GroupNorm(1, "a"), TypeError, "^GroupNorm: num_channels .*integer"),
    (lambda: nn.Dropout("a"), TypeError, "^Dropout: the probability p must be a number, got 'a'"),
    (lambda: nn.MaxPool2d(0), ValueError, "^MaxPool2d: kernel_size must be at least 1, got 0"),
    (lambda: nn.MaxPool2d(2, (1, 0)), ValueError, "^MaxPool2d: stride must be at least 1"),
    (lambda: nn.AvgPool1d("a"), TypeError, "^AvgPool1d: kernel_size must be an integer"),
    (lambda: nn.AvgPool2d(2, padding=-1), ValueError, "^AvgPool2d: padding must be at least 0"),
    (lambda: optim.SGD([P], lr="x"), TypeError, "^SGD: lr must be a number, got 'x'"),
    (lambda: optim.Adam([P], lr=None), TypeError, "^Adam: lr must be a number, got None"),
    (lambda: optim.Adam([P], betas=5), TypeError, "^Adam: betas must be two numbers, got 5"),
    (lambda: optim.SGD([{"params": [P], "lr": "x"}]), TypeError, "^SGD: lr must be a number"),
    (lambda: optim.SGD([{"lr": 1}]), TypeError, r"^SGD: .*'params'.* the keys \['lr'\] only"),
    (lambda: optim.SGD(5), TypeError, "^SGD: params must be a list of tensors .*got 5"),
    (lambda: optim.SGD([P]).load_state_dict("a"), TypeError, "^SGD: .* takes a dict, got 'a'"),
    (lambda: optim.SGD([P]).load_state_dict({}), ValueError, "^SGD: the state dict has no 'state'"),
    (lambda: tg.save("x.npz", {}), TypeError, r"^save: .*got dict; the order is save\(state, path"),
    (lambda: tg.save({}, None), TypeError, "^save: the path .*got NoneType"),
    (lambda: tg.load(5), TypeError, "^load: the path .*got int"),
    (lambda: F.cross_entropy(NONE, LABELS), ValueError, "^cross_entropy: .* there are no classes"),
    (lambda: F.nll_loss(NONE, LABELS), ValueError, "^nll_loss: .* there are no classes"),
    (lambda: F.softmax(T, dim=-3), IndexError, "^softmax: axis -3"),
    (lambda: nn.Softmax(5)(T), IndexError, r"^softmax: axis 5 .*\(in Softmax\(dim=5\)\)"),
]


@pytest.mark.parametrize(("call", "kind", "text"), ROWS, ids=[row[2] for row in ROWS])
def test_bad_input_says_what_and_where(call, kind, text):
    with pytest.raises(kind) as caught:
        call()
    assert re.search(text, str(caught.value), re.DOTALL), str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_tensor_of_torch_is_called_so():
    torch = pytest.importorskip("torch")
    x = torch.ones(2, 3)
    text = r"^Linear: input must be a tensor, got a torch tensor, torch\.float32 \(2, 3\)"
    with pytest.raises(TypeError, match=text):
        nn.Linear(3, 4)(x)
    with pytest.raises(TypeError, match=r"^Dropout: input .* a torch tensor"):
        nn.Dropout()(x)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.ReLU(), nn.Linear(4, 3), nn.Linear(4, 2), nn.ReLU())

    def forward(self, x):
        return self.encoder(x)


def test_an_error_in_a_network_names_the_layer_and_the_way_to_it():
    linear = r"Linear\(in_features=4, out_features=2, bias=True\)"
    fused, plain = Net(), Net()
    plain.encoder[2].register_forward_hook(lambda *_: None)
    for net in (fused, plain):
        with pytest.raises(ValueError, match=rf"\(in Net\.encoder\[2\], {linear}\)$"):
            net(T)
        with pytest.raises(ValueError, match=rf"\(in Sequential\[2\], {linear}\)$"):
            net.encoder(T)
    with pytest.raises(ValueError, match=rf"has 5 features, .*\(in {linear}\)$"):
        fused.encoder[2](tg.ones(2, 5))


def test_an_error_of_the_users_own_code_is_not_blamed_on_the_argument():
    class Reads(nn.Module):
        def forward(self, words):
            return self.missing(words)

    with pytest.raises(AttributeError, match="no attribute 'missing'"):
        nn.Sequential(Reads())("abc")


def test_errors_of_other_kinds_leave_a_network_as_they_are():
    class OddError(Exception):
        pass

    class Raises(nn.Module):
        def __init__(self, error):
            super().__init__()
            self.error = error

        def forward(self, x):
            raise self.error

    odd = OddError("mine")
    with pytest.raises(OddError, match=r"^mine$"):
        nn.Sequential(Raises(odd))(T)
    pair = ValueError("one", 2)
    with pytest.raises(ValueError, match="one") as caught:
        nn.Sequential(Raises(pair))(T)
    assert caught.value.args == ("one", 2)


def test_errors_of_linear_algebra_keep_their_kind():
    with pytest.raises(np.linalg.LinAlgError):
        tg.linalg.inv(tg.zeros(2, 2))


def test_a_gradient_must_fit():
    x = tg.ones(3, requires_grad=True)
    with pytest.raises(ValueError, match=r"shape \(3,\) cannot take a gradient of \(4,\)"):
        x.grad = tg.ones(4)
    with pytest.raises(TypeError, match="float32 cannot take a gradient of dtype float64"):
        x.grad = tg.ones(3).double()
    with pytest.raises(TypeError, match="expected a tensor or None, got list"):
        x.grad = [1, 2, 3]
    assert x.grad is None
    x.grad = tg.ones(3)
    del x.grad
    assert x.grad is None


@pytest.mark.parametrize("kind", [optim.SGD, optim.Adam, optim.RMSprop])
def test_an_optimizer_names_the_parameter_that_changed(kind):
    params = [tg.ones(2, requires_grad=True), tg.ones(3, requires_grad=True)]
    for p in params:
        p.grad = tg.ones_like(p)
    params[1]._array = np.ones(4, np.float32)
    text = rf"{kind.__name__}: parameter 1 of group 0: .*\(4,\).*\(3,\)"
    with pytest.raises(RuntimeError, match=text):
        kind(params, lr=0.1).step()
