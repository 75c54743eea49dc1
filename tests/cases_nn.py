"""Rows of the network operations; oracles are plain NumPy, written from the definitions."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.special
from cases import Case, between, normal
from numpy.lib.stride_tricks import sliding_window_view


def integers(high: int, *shape: int) -> Any:
    """Integers below ``high``."""
    return lambda rng: rng.integers(0, high, shape)


def given(value: Any) -> Any:
    """The same value every time."""
    return lambda rng: value


def sigmoid(x: np.ndarray) -> np.ndarray:
    return scipy.special.expit(x)


def adjoint(linear: Any, shape: tuple[int, ...], g: np.ndarray) -> np.ndarray:
    """The adjoint of a linear function of arrays of ``shape``, column by column."""
    result = np.zeros(shape)
    for index in np.ndindex(*shape):
        unit = np.zeros(shape)
        unit[index] = 1
        result[index] = np.sum(linear(unit) * g)
    return result


# ---- convolution ---------------------------------------------------------------------------------


def _pads(padding: Any, ndim: int) -> list[tuple[int, int]]:
    if isinstance(padding, int):
        return [(padding, padding)] * ndim
    return [(p, p) if isinstance(p, int) else tuple(p) for p in padding]


def _tuple(value: Any, ndim: int) -> tuple[int, ...]:
    return (value,) * ndim if isinstance(value, int) else tuple(value)


def windows(
    x: np.ndarray, kernel: Any, stride: Any, padding: Any, dilation: Any, fill: float = 0.0
) -> np.ndarray:
    """(N, C, *P, *K): what each window sees of x (N, C, *S)."""
    ndim = x.ndim - 2
    kernel, stride, dilation = (_tuple(v, ndim) for v in (kernel, stride, dilation))
    padded = np.pad(x, [(0, 0), (0, 0), *_pads(padding, ndim)], constant_values=fill)
    spans = tuple(d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True))
    view = sliding_window_view(padded, spans, axis=tuple(range(2, x.ndim)))
    steps = tuple(slice(None, None, s) for s in stride)
    taps = tuple(slice(None, None, d) for d in dilation)
    return view[(slice(None), slice(None), *steps, *taps)]


def conv(
    x: np.ndarray, w: np.ndarray, stride: Any, padding: Any, dilation: Any, groups: int
) -> np.ndarray:
    ndim = x.ndim - 2
    seen = windows(x, w.shape[2:], stride, padding, dilation)
    parts = []
    for group in range(groups):
        c, o = x.shape[1] // groups, w.shape[0] // groups
        part = seen[:, group * c : (group + 1) * c]
        axes = [1, *range(2 + ndim, 2 + 2 * ndim)], list(range(1, 2 + ndim))
        parts.append(np.tensordot(part, w[group * o : (group + 1) * o], axes))
    return np.moveaxis(np.concatenate(parts, axis=-1), -1, 1)


def _per_channel(b: np.ndarray, ndim: int) -> np.ndarray:
    return b.reshape(-1, *[1] * ndim)


CONV = {"stride": 2, "padding": ((1, 0), (2, 1)), "dilation": (1, 2), "groups": 2}
PLAIN = {"stride": 1, "padding": 1, "dilation": 1, "groups": 1}


def _conv_input_grad(y: np.ndarray, w: np.ndarray, input_shape: Any, **attrs: Any) -> np.ndarray:
    return adjoint(lambda x: conv(x, w, **attrs), input_shape, y)


def _conv_weight_grad(y: np.ndarray, x: np.ndarray, kernel_shape: Any, **attrs: Any) -> np.ndarray:
    return adjoint(lambda w: conv(x, w, **attrs), kernel_shape, y)


def _conv_bias(x: np.ndarray, w: np.ndarray, b: np.ndarray, **attrs: Any) -> np.ndarray:
    return conv(x, w, **attrs) + _per_channel(b, x.ndim - 2)


def _conv_relu(x: np.ndarray, w: np.ndarray, b: np.ndarray, **attrs: Any) -> np.ndarray:
    return np.maximum(_conv_bias(x, w, b, **attrs), 0)


def _conv_max_pool(
    x: np.ndarray, w: np.ndarray, b: np.ndarray, how: Any, relu: bool, window: Any
) -> tuple[np.ndarray, np.ndarray]:
    names = ("stride", "padding", "dilation", "groups")
    y = (_conv_relu if relu else _conv_bias)(x, w, b, **dict(zip(names, how, strict=True)))
    return max_pool(y, *window)


def _conv_rows() -> list[Case]:
    rows = []
    for attrs, x, w in (
        (CONV, (2, 4, 5, 6), (6, 2, 3, 2)),
        (PLAIN, (2, 3, 5), (4, 3, 3)),
        (PLAIN, (1, 2, 3, 4, 3), (2, 2, 3, 2, 1)),
    ):
        y = normal(*conv(np.zeros(x), np.zeros(w), **attrs).shape)
        image, kernel, bias = normal(*x), normal(*w), normal(w[0])
        rows += [
            Case("conv", conv, (image, kernel), attrs),
            Case("conv_bias", _conv_bias, (image, kernel, bias), attrs),
            Case("conv_relu", _conv_relu, (image, kernel, bias), attrs),
            *[
                Case("conv_max_pool", _conv_max_pool, (image, kernel, bias),
                     {"how": tuple(attrs.values()), "relu": relu,
                      "window": (2, 1, 0, 1, False)})
                for relu in (False, True)
            ],
            Case("conv_input_grad", _conv_input_grad, (y, kernel), {"input_shape": x, **attrs}),
            Case("conv_weight_grad", _conv_weight_grad, (y, image), {"kernel_shape": w, **attrs}),
        ]
    return rows


def unfold(
    x: np.ndarray, kernel_size: Any, dilation: Any, padding: Any, stride: Any
) -> np.ndarray:
    ndim = x.ndim - 2
    seen = windows(x, kernel_size, stride, padding, dilation)
    moved = np.moveaxis(seen, range(2, 2 + ndim), range(-ndim, 0))
    taps = int(np.prod(_tuple(kernel_size, ndim)))
    return moved.reshape(x.shape[0], x.shape[1] * taps, -1)


UNFOLD = {"kernel_size": (2, 3), "dilation": (1, 2), "padding": 1, "stride": (2, 1)}


# ---- pooling -------------------------------------------------------------------------------------


def max_pool(
    x: np.ndarray, kernel_size: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool
) -> tuple[np.ndarray, np.ndarray]:
    assert not ceil_mode
    ndim = x.ndim - 2
    seen = windows(x, kernel_size, stride, padding, dilation, -np.inf)
    flat = np.arange(np.prod(x.shape[2:])).reshape(1, 1, *x.shape[2:])
    places = windows(flat, kernel_size, stride, padding, dilation, -1)
    taps = int(np.prod(seen.shape[2 + ndim :]))
    rows = seen.reshape(*seen.shape[: 2 + ndim], taps)
    best = rows.argmax(axis=-1)[..., None]
    spots = np.broadcast_to(places.reshape(1, 1, *places.shape[2 : 2 + ndim], taps), rows.shape)
    return (
        np.take_along_axis(rows, best, -1)[..., 0],
        np.take_along_axis(spots, best, -1)[..., 0],
    )


MAX_POOL = {"kernel_size": (2, 3), "stride": (1, 2), "padding": 1, "dilation": 1,
            "ceil_mode": False}  # fmt: skip


def avg_pool(
    x: np.ndarray, kernel_size: Any, stride: Any, padding: Any, ceil_mode: bool,
    count_include_pad: bool, divisor_override: int | None,
) -> np.ndarray:  # fmt: skip
    assert not ceil_mode
    ndim = x.ndim - 2
    axes = tuple(range(-ndim, 0))
    total = windows(x, kernel_size, stride, padding, 1).sum(axis=axes)
    if divisor_override:
        return total / divisor_override
    inside = np.ones((1, 1, *x.shape[2:]))
    count = windows(inside, kernel_size, stride, padding, 1, float(count_include_pad))
    return total / count.sum(axis=axes)


AVG_POOL = {"kernel_size": (2, 3), "stride": (1, 2), "padding": 1, "ceil_mode": False,
            "count_include_pad": False, "divisor_override": None}  # fmt: skip


def _bounds(size: int, count: int) -> list[slice]:
    return [slice(i * size // count, -(-(i + 1) * size // count)) for i in range(count)]


def adaptive_avg_pool(x: np.ndarray, output_size: tuple[int, int]) -> np.ndarray:
    rows = [
        [x[:, :, a, b].mean(axis=(2, 3)) for b in _bounds(x.shape[3], output_size[1])]
        for a in _bounds(x.shape[2], output_size[0])
    ]
    return np.moveaxis(np.array(rows), (0, 1), (2, 3))


def adaptive_max_pool(
    x: np.ndarray, output_size: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    y = np.empty((*x.shape[:2], *output_size))
    indices = np.empty(y.shape, int)
    flat = np.arange(x.shape[2] * x.shape[3]).reshape(x.shape[2:])
    for i, a in enumerate(_bounds(x.shape[2], output_size[0])):
        for j, b in enumerate(_bounds(x.shape[3], output_size[1])):
            part = x[:, :, a, b].reshape(*x.shape[:2], -1)
            y[:, :, i, j] = part.max(axis=-1)
            indices[:, :, i, j] = flat[a, b].ravel()[part.argmax(axis=-1)]
    return y, indices


def pool_gather(x: np.ndarray, indices: np.ndarray) -> np.ndarray:
    flat = x.reshape(*x.shape[:2], -1)
    rows = indices.reshape(*indices.shape[:2], -1)
    return np.take_along_axis(flat, rows, -1).reshape(indices.shape)


# ---- normalisation -------------------------------------------------------------------------------


def _normal(x: np.ndarray, axes: tuple[int, ...], eps: float) -> tuple[np.ndarray, ...]:
    mean = x.mean(axis=axes, keepdims=True)
    var = x.var(axis=axes, keepdims=True)
    return (x - mean) / np.sqrt(var + eps), mean, 1 / np.sqrt(var + eps), var


def layer_norm(x: np.ndarray, w: Any, b: Any, ndim: int, eps: float) -> tuple[np.ndarray, ...]:
    xhat, mean, rstd, _ = _normal(x, tuple(range(x.ndim - ndim, x.ndim)), eps)
    return (xhat if w is None else xhat * w + b), mean, rstd


def batch_norm(x: np.ndarray, w: Any, b: Any, eps: float) -> tuple[np.ndarray, ...]:
    xhat, *rest = _normal(x, (0, *range(2, x.ndim)), eps)
    ndim = x.ndim - 2
    y = xhat if w is None else xhat * _per_channel(w, ndim) + _per_channel(b, ndim)
    return (y, *(part.ravel() for part in rest))


def group_norm(x: np.ndarray, w: Any, b: Any, groups: int, eps: float) -> tuple[np.ndarray, ...]:
    rows = x.reshape(x.shape[0], groups, -1)
    xhat, mean, rstd, _ = _normal(rows, (2,), eps)
    ndim = x.ndim - 2
    y = xhat.reshape(x.shape)
    y = y if w is None else y * _per_channel(w, ndim) + _per_channel(b, ndim)
    return y, mean[..., 0], rstd[..., 0]


def rms_norm(x: np.ndarray, w: Any, ndim: int, eps: float) -> tuple[np.ndarray, ...]:
    axes = tuple(range(x.ndim - ndim, x.ndim))
    rrms = 1 / np.sqrt(np.mean(x * x, axis=axes, keepdims=True) + eps)
    return (x * rrms if w is None else x * rrms * w), rrms


def norm_grad(forward: Any) -> Any:
    """The gradients of a normalisation by the definition: central differences, extrapolated."""

    def oracle(d: np.ndarray, x: np.ndarray, w: Any, **attrs: Any) -> tuple[np.ndarray, ...]:
        weight = np.ones(attrs.pop("_shape")) if w is None else w
        bias = np.zeros_like(weight)
        inputs = [x, weight] if forward is rms_norm else [x, weight, bias]
        grads = []
        for position in range(len(inputs)):
            grad = np.zeros(inputs[position].shape)
            for index in np.ndindex(*grad.shape):
                slopes = []
                for h in (1e-3, 5e-4):
                    moved = [np.array(v, np.longdouble) for v in inputs]
                    moved[position][index] += h
                    up = forward(*moved, **attrs)[0]
                    moved[position][index] -= 2 * h
                    slopes.append(np.sum(d * (up - forward(*moved, **attrs)[0])) / (2 * h))
                grad[index] = (4 * slopes[1] - slopes[0]) / 3
            grads.append(grad)
        return tuple(grads)

    return oracle


EPS = 0.1

# ---- losses --------------------------------------------------------------------------------------

LABELS = np.array([0, 2, -100, 1, 2])
WEIGHT = np.array([1.0, 2.0, 0.5])


def _target(classes: int, weight: Any, ignore: int, smoothing: float, labels: Any) -> Any:
    w = np.ones(classes) if weight is None else weight
    q = np.zeros((len(labels), classes))
    total = np.zeros(len(labels))
    for row, label in enumerate(labels):
        if label != ignore:
            q[row] = smoothing / classes * w
            q[row, label] += (1 - smoothing) * w[label]
            total[row] = w[label]
    return q, total


def cross_entropy(
    x: np.ndarray, labels: Any, weight: Any, ignore_index: int, label_smoothing: float,
    reduction: str,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    q, total = _target(x.shape[1], weight, ignore_index, label_smoothing, labels)
    loss = -(q * scipy.special.log_softmax(x, axis=1)).sum(axis=1)
    by = {"none": loss, "sum": loss.sum(), "mean": loss.sum() / total.sum()}
    return by[reduction], scipy.special.softmax(x, axis=1)


def cross_entropy_grad(
    d: np.ndarray, p: np.ndarray, labels: Any, weight: Any, ignore_index: int,
    label_smoothing: float, reduction: str,
) -> np.ndarray:  # fmt: skip
    q, total = _target(p.shape[1], weight, ignore_index, label_smoothing, labels)
    rows = p * q.sum(axis=1, keepdims=True) - q
    scale = d / total.sum() if reduction == "mean" else d
    return rows * (scale[:, None] if reduction == "none" else scale)


def _loss_rows() -> list[Case]:
    rows = []
    for reduction in ("none", "sum", "mean"):
        for weight, smoothing in ((None, 0.0), (WEIGHT, 0.2)):
            attrs = {"ignore_index": -100, "label_smoothing": smoothing, "reduction": reduction}
            shape = (5,) if reduction == "none" else ()
            rows += [
                Case(
                    "cross_entropy", cross_entropy,
                    (normal(5, 3), given(LABELS), given(weight)), attrs,
                ),
                Case(
                    "cross_entropy_grad", cross_entropy_grad,
                    (normal(*shape), between(0.1, 0.9, 5, 3), given(LABELS), given(weight)), attrs,
                ),
            ]  # fmt: skip
    return rows


def _density(x: np.ndarray) -> np.ndarray:
    return np.exp(-x * x / 2) / np.sqrt(2 * np.pi)


def _gelu(x: np.ndarray, approximate: str) -> np.ndarray:
    if approximate == "none":
        return x * scipy.special.ndtr(x)
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def _gelu_grad(d: np.ndarray, x: np.ndarray, approximate: str) -> np.ndarray:
    if approximate == "none":
        return d * (scipy.special.ndtr(x) + x * _density(x))
    t = np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))
    slope = np.sqrt(2 / np.pi) * (1 + 3 * 0.044715 * x**2)
    return d * (0.5 * (1 + t) + 0.5 * x * (1 - t**2) * slope)


def _embedding_grad(y: np.ndarray, indices: np.ndarray, rows: int, padding_idx: Any) -> Any:
    result = np.zeros((rows, y.shape[-1]))
    np.add.at(result, indices, y)
    return result


# ---- recurrence ----------------------------------------------------------------------------------


def lstm(x: Any, h: Any, c: Any, w: Any, u: Any, b: Any) -> tuple[np.ndarray, ...]:
    ys, cells, gates = [], [], []
    for step in x:
        i, f, g, o = np.split(step @ w.T + h @ u.T + b, 4, axis=1)
        i, f, g, o = sigmoid(i), sigmoid(f), np.tanh(g), sigmoid(o)
        c = f * c + i * g
        h = o * np.tanh(c)
        ys.append(h)
        cells.append(c)
        gates.append(np.hstack([i, f, g, o]))
    return np.array(ys), np.array(cells), np.array(gates)


def gru(x: Any, h: Any, w: Any, u: Any, b: Any, c: Any) -> tuple[np.ndarray, ...]:
    ys, gates = [], []
    for step in x:
        xr, xz, xn = np.split(step @ w.T + b, 3, axis=1)
        hr, hz, hn = np.split(h @ u.T + c, 3, axis=1)
        r, z = sigmoid(xr + hr), sigmoid(xz + hz)
        n = np.tanh(xn + r * hn)
        h = (1 - z) * n + z * h
        ys.append(h)
        gates.append(np.hstack([r, z, n, hn]))
    return np.array(ys), np.array(gates)


def rnn(x: Any, h: Any, w: Any, u: Any, b: Any, activation: str) -> np.ndarray:
    ys = []
    for step in x:
        z = step @ w.T + h @ u.T + b
        h = np.tanh(z) if activation == "tanh" else np.maximum(z, 0)
        ys.append(h)
    return np.array(ys)


def weights(gates: int, biases: int = 1) -> tuple[Any, ...]:
    """Those of a recurrent layer from 3 inputs to 2 hidden units."""
    rows = gates * 2
    return normal(rows, 3), normal(rows, 2), *(normal(rows) for _ in range(biases))


def attention(
    q: Any, k: Any, v: Any, mask: Any, seed: Any, causal: bool, scale: float
) -> tuple[np.ndarray, np.ndarray]:
    scores = scale * np.einsum("hid,hjd->hij", q, np.repeat(k, len(q) // len(k), 0))
    if mask is not None:
        scores = np.where(mask, scores, -np.inf) if mask.dtype == bool else scores + mask
    if causal:
        scores = np.where(np.tri(*scores.shape[1:], dtype=bool), scores, -np.inf)
    log_sum = scipy.special.logsumexp(scores, axis=-1)
    p = np.exp(scores - log_sum[..., None])
    return np.einsum("hij,hje->hie", p, np.repeat(v, len(q) // len(v), 0)), log_sum


def self_attention(
    qkv: Any, mask: Any, seed: Any, heads: int, batch_first: bool, causal: bool, scale: float
) -> tuple[np.ndarray, np.ndarray]:
    rows = qkv if batch_first else qkv.swapaxes(0, 1)
    ys, sums = [], []
    for sample in rows:
        q, k, v = (np.stack(np.split(t, heads, axis=1)) for t in np.split(sample, 3, axis=1))
        y, log_sum = attention(q, k, v, mask, seed, causal, scale)
        ys.append(np.concatenate(list(y), axis=1))
        sums.append(log_sum)
    return np.stack(ys, 0 if batch_first else 1), np.stack(sums)


HEADS = (normal(2, 3, 2), normal(1, 4, 2), normal(1, 4, 3))
X = normal(4, 3)
D = normal(4, 3)
CASES = [
    Case("attention", attention, (*HEADS, normal(3, 4), given(None)), {"causal": False, "scale": 0.7}),
    Case("attention", attention, (*HEADS, given(None), given(None)), {"causal": True, "scale": 0.7}),
    *[
        Case(
            "self_attention",
            self_attention,
            (normal(3, 2, 12), mask, given(None)),
            {"heads": 2, "batch_first": first, "causal": first, "scale": 0.7},
        )
        for first, mask in ((True, given(None)), (False, normal(3, 3)))
    ],
    Case("lstm", lstm, (normal(3, 2, 3), normal(2, 2), normal(2, 2), *weights(4))),
    Case("gru", gru, (normal(3, 2, 3), normal(2, 2), *weights(3, biases=2))),
    *[
        Case("rnn", rnn, (normal(3, 2, 3), normal(2, 2), *weights(1)), {"activation": activation})
        for activation in ("tanh", "relu")
    ],
    Case("relu", lambda x: x * (x > 0), (X,)),
    Case("relu_grad", lambda d, y: d * (y > 0), (D, X)),
    Case("leaky_relu", lambda x, slope: np.where(x > 0, x, slope * x), (X,), {"slope": 0.2}),
    Case(
        "leaky_relu_grad", lambda d, x, slope: d * np.where(x > 0, 1, slope), (D, X), {"slope": 0.2}
    ),
    Case("elu", lambda x, alpha: np.where(x > 0, x, alpha * (np.exp(x) - 1)), (X,), {"alpha": 0.7}),
    Case(
        "elu_grad",
        lambda d, x, alpha: d * np.where(x > 0, 1, alpha * np.exp(x)),
        (D, X),
        {"alpha": 0.7},
    ),
    Case("log_sigmoid", lambda x: np.log(sigmoid(x)), (X,)),
    Case("log_sigmoid_grad", lambda d, x: d * sigmoid(-x), (D, X)),
    Case(
        "softplus",
        lambda x, beta, threshold: np.where(
            beta * x > threshold, x, np.log(1 + np.exp(beta * x)) / beta
        ),
        (X,),
        {"beta": 1.5, "threshold": 1.3},
    ),
    Case(
        "softplus_grad",
        lambda d, x, beta, threshold: d * np.where(beta * x > threshold, 1, sigmoid(beta * x)),
        (D, X),
        {"beta": 1.5, "threshold": 1.3},
    ),
    Case("silu", lambda x: x * sigmoid(x), (X,)),
    Case("silu_grad", lambda d, x: d * sigmoid(x) * (1 + x * (1 - sigmoid(x))), (D, X)),
    *[
        Case(name, oracle, inputs, {"approximate": approximate})
        for approximate in ("none", "tanh")
        for name, oracle, inputs in (("gelu", _gelu, (X,)), ("gelu_grad", _gelu_grad, (D, X)))
    ],
    Case("linear", lambda x, w, b: x @ w.T + b, (normal(2, 4, 3), normal(5, 3), normal(5))),
    Case("linear", lambda x, w, b: x @ w.T, (normal(4, 3), normal(5, 3), given(None))),
    Case(
        "linear_relu",
        lambda x, w, b: np.maximum(x @ w.T + b, 0),
        (normal(4, 3), normal(5, 3), normal(5)),
    ),
    *_conv_rows(),
    Case("unfold", unfold, (normal(2, 3, 4, 5),), UNFOLD),
    Case(
        "fold",
        lambda c, output_size, **a: adjoint(lambda x: unfold(x, **a), (2, 3, *output_size), c),
        (normal(2, 18, 9),),
        {"output_size": (4, 5), **UNFOLD},
    ),
    Case("max_pool", max_pool, (normal(2, 3, 4, 5),), MAX_POOL),
    Case("adaptive_max_pool", adaptive_max_pool, (normal(2, 3, 5, 4),), {"output_size": (3, 2)}),
    Case("pool_gather", pool_gather, (normal(2, 3, 4, 5), integers(20, 2, 3, 3, 2))),
    Case(
        "pool_scatter",
        lambda y, indices, input_shape: adjoint(lambda x: pool_gather(x, indices), input_shape, y),
        (normal(2, 3, 3, 2), integers(20, 2, 3, 3, 2)),
        {"input_shape": (2, 3, 4, 5)},
    ),
    Case("avg_pool", avg_pool, (normal(2, 3, 4, 5),), AVG_POOL),
    Case(
        "avg_pool_grad",
        lambda y, input_shape, **a: adjoint(lambda x: avg_pool(x, **a), input_shape, y),
        (normal(2, 3, 5, 3),),
        {"input_shape": (2, 3, 4, 5), **AVG_POOL},
    ),
    Case("adaptive_avg_pool", adaptive_avg_pool, (normal(2, 3, 5, 4),), {"output_size": (3, 2)}),
    Case(
        "adaptive_avg_pool_grad",
        lambda y, input_shape: adjoint(
            lambda x: adaptive_avg_pool(x, y.shape[2:]), input_shape, y
        ),
        (normal(2, 3, 3, 2),),
        {"input_shape": (2, 3, 5, 4)},
    ),
    *_loss_rows(),
    Case(
        "binary_cross_entropy",
        lambda x, t: -(t * np.log(x) + (1 - t) * np.log(1 - x)),
        (between(0.1, 0.9, 4, 3), between(0.1, 0.9, 4, 3)),
    ),
    Case(
        "embedding",
        lambda w, i, padding_idx: w[i],
        (normal(5, 3), integers(5, 2, 4)),
        {"padding_idx": None},
    ),
    Case(
        "embedding_grad",
        _embedding_grad,
        (normal(2, 4, 3), integers(5, 2, 4)),
        {"rows": 5, "padding_idx": None},
    ),
    Case(
        "layer_norm", layer_norm, (normal(3, 2, 4), normal(2, 4), normal(2, 4)),
        {"ndim": 2, "eps": EPS},
    ),
    Case(
        "layer_norm", layer_norm, (normal(3, 4), given(None), given(None)), {"ndim": 1, "eps": EPS}
    ),
    Case(
        "layer_norm_grad", norm_grad(layer_norm), (normal(3, 4), normal(3, 4), normal(4)),
        {"ndim": 1, "eps": EPS}, rtol=1e-10,
    ),
    Case("batch_norm", batch_norm, (normal(3, 2, 4), normal(2), normal(2)), {"eps": EPS}),
    Case(
        "batch_norm_grad", norm_grad(batch_norm), (normal(3, 2, 2), normal(3, 2, 2), normal(2)),
        {"eps": EPS}, rtol=1e-10,
    ),
    Case(
        "batch_norm_apply",
        lambda x, w, b, mean, rstd: (x - _per_channel(mean, 1)) * _per_channel(rstd * w, 1)
        + _per_channel(b, 1),
        (normal(3, 2, 4), normal(2), normal(2), normal(2), between(0.5, 2, 2)),
    ),
    Case(
        "group_norm", group_norm, (normal(2, 4, 3), normal(4), normal(4)),
        {"groups": 2, "eps": EPS},
    ),
    Case(
        "group_norm_grad", norm_grad(group_norm), (normal(2, 4, 2), normal(2, 4, 2), normal(4)),
        {"groups": 2, "eps": EPS}, rtol=1e-10,
    ),
    Case("rms_norm", rms_norm, (normal(3, 4), normal(4)), {"ndim": 1, "eps": EPS}),
    Case(
        "rms_norm_grad", norm_grad(rms_norm), (normal(3, 4), normal(3, 4), normal(4)),
        {"ndim": 1, "eps": EPS}, rtol=1e-10,
    ),
]  # fmt: skip
