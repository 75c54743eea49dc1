"""Sample arguments of every kernel: what ``tilegrad check`` and the tests call them with.

A new kernel needs one row here. Rows make their arrays with a :class:`Maker`, which decides dtype
and memory layout, so that one row serves float32 and float64, contiguous, transposed, strided,
reversed and unaligned arguments. Sizes are small and odd: tails of every tile and vector matter
more than volume.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tilegrad.kernels.registry import reference

Array = NDArray[Any]

DTYPES = ("float32", "float64")
LAYOUTS = ("contiguous", "transposed", "strided", "reversed", "unaligned")


@dataclass(frozen=True)
class Sample:
    """The arguments of one kernel call."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]


def call(*args: Any, **kwargs: Any) -> Sample:
    """Arguments written as in a call."""
    return Sample(args, kwargs)


class Maker:
    """Makes arrays of one dtype and memory layout, the same ones every time."""

    def __init__(self, dtype: str, layout: str = "contiguous") -> None:
        if layout not in LAYOUTS:
            raise ValueError(f"Maker: layout must be one of {LAYOUTS}, not {layout!r}")
        self.dtype = np.dtype(dtype)
        self.layout = layout
        self._rng = np.random.default_rng(2)

    def __call__(self, *shape: int) -> Array:
        """Standard normal numbers."""
        return self.lay(self._rng.standard_normal(shape).astype(self.dtype))

    def within(self, low: float, high: float, *shape: int) -> Array:
        """Numbers spread evenly over [low, high)."""
        return self.lay(self._rng.uniform(low, high, shape).astype(self.dtype))

    def labels(self, classes: int, *shape: int) -> Array:
        """Integers from 0 to ``classes - 1``."""
        return self._rng.integers(0, classes, shape)

    def flags(self, *shape: int) -> Array:
        """Booleans."""
        return self._rng.random(shape) < 0.5

    def lay(self, values: Array) -> Array:
        """The same numbers in this maker's memory layout."""
        if self.layout == "transposed":
            return np.asarray(values, order="F")
        if self.layout == "strided":
            return np.repeat(values, 2, axis=-1)[..., ::2] if values.ndim else values
        if self.layout == "reversed":
            return np.flip(np.flip(values).copy())
        if self.layout == "unaligned":
            room = np.zeros(values.nbytes + 1, np.uint8)
            shifted = room[1:].view(values.dtype).reshape(values.shape)
            shifted[...] = values
            return shifted
        return values


Rows = Callable[[Maker], list[Sample]]

#: Steps, batch, inputs and hidden size of recurrent layers.
_SEQUENCES = ((1, 1, 1, 1), (5, 3, 4, 7), (4, 6, 2, 33), (3, 17, 5, 3))
_CELLS = ("tanh", "relu")

#: Sizes that leave tails of every vector length, and one that fills some.
ODD = ((1,), (67,), (5, 33), (3, 1, 130))


def _unary(low: float, high: float) -> Rows:
    return lambda x: [call(x.within(low, high, *shape)) for shape in ODD]


def _binary(low: float = -4.0, high: float = 4.0) -> Rows:
    def rows(x: Maker) -> list[Sample]:
        pairs = [((67,), (67,)), ((5, 33), (33,)), ((5, 33), (5, 1)), ((5, 1), (1, 33))]
        samples = [call(x.within(low, high, *a), x.within(low, high, *b)) for a, b in pairs]
        return [*samples, call(x.within(low, high, 4, 19), 1.5)]

    return rows


def _powers(x: Maker) -> list[Sample]:
    """The exponents that native code takes, and one that it leaves."""
    return [call(x.within(0.25, 4, 5, 33), exponent) for exponent in (1, 2.0, -1, 2.5)]


def _gradient(*extra: Any, of: Callable[[Array], Array] | None = None) -> Rows:
    """``g`` and the input ``x``, or the result ``y = of(x)``, of the same shape."""

    def rows(x: Maker) -> list[Sample]:
        samples = []
        for shape in ODD:
            value = x.within(-4, 4, *shape)
            if of is not None:
                value = x.lay(np.asarray(of(value)))
            samples.append(call(x(*shape), value, *extra))
        return samples

    return rows


def _both(*rows: Rows) -> Rows:
    return lambda x: [sample for row in rows for sample in row(x)]


# ---- products and convolution --------------------------------------------------------------------


def _matmul(x: Maker) -> list[Sample]:
    shapes = [
        ((1, 1), (1, 1)),
        ((37, 65), (65, 50)),
        ((8, 300), (300, 8)),  # several blocks along k in float64
        ((130, 17), (17, 131)),
        ((1, 70), (70, 33)),
        ((33, 70), (70, 1)),
        ((33, 1), (1, 35)),
        ((70,), (70, 9)),
        ((9, 70), (70,)),
        ((70,), (70,)),
        ((3, 1, 7, 5), (4, 5, 6)),
        ((5, 0), (0, 4)),
        ((0, 5), (5, 4)),
    ]
    return [call(x(*a), x(*b)) for a, b in shapes]


def _gemm(x: Maker) -> list[Sample]:
    a, b, c = x(37, 65), x(65, 50), x(37, 50)
    return [
        call(a, b),
        call(a, b, c, alpha=-0.5, beta=2.0),
        call(a, b, x(37, 50), alpha=0.0, beta=1.0),
        call(x(65, 37), b, transpose_a=True),
        call(a, x(50, 65), transpose_b=True),
        call(x(65, 37), x(50, 65), transpose_a=True, transpose_b=True),
        call(a, b, bias=x(50)),
        call(a, b, bias=x(50), activation="relu"),
    ]


_CONV_CASES: list[tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = [
    ((2, 3, 11), (4, 3, 3), {"padding": 1}),
    ((2, 1, 9, 10), (5, 1, 5, 5), {"padding": 2}),
    ((2, 6, 9, 7), (4, 3, 3, 3), {"padding": 1, "groups": 2}),
    ((3, 5, 8, 8), (7, 5, 1, 1), {}),
    ((1, 4, 13, 12), (4, 1, 3, 3), {"padding": 1, "groups": 4}),
    ((2, 3, 13, 14), (6, 3, 3, 2), {"stride": (2, 3), "padding": ((1, 0), (2, 1))}),
    ((1, 2, 12, 11), (3, 2, 3, 3), {"dilation": 2}),
    ((1, 2, 5, 6, 7), (3, 2, 2, 3, 2), {"stride": (1, 2, 1), "padding": 1}),
]


def _conv(x: Maker) -> list[Sample]:
    plain = [call(x(*image), x(*kernel), **how) for image, kernel, how in _CONV_CASES]
    image, kernel = x(2, 3, 9, 10), x(5, 3, 3, 3)
    return [
        *plain,
        call(image, kernel, x(5), padding=1),
        call(image, kernel, x(5), padding=1, activation="relu"),
    ]


def _conv_max_pool(x: Maker) -> list[Sample]:
    image, kernel = x(2, 3, 9, 10), x(5, 3, 3, 3)
    return [
        call(image, kernel),
        call(image, kernel, x(5), padding=1, activation="relu"),
        call(image, kernel, x(5), kernel_size=3, pool_stride=2, pool_padding=1, ceil_mode=True),
        call(x(2, 6, 9, 7), x(4, 3, 3, 3), groups=2, padding=1),
        call(x(2, 3, 13), x(4, 3, 3), kernel_size=(3,), pool_dilation=2),
    ]


def _conv_gradient(wanted: str) -> Rows:
    def rows(x: Maker) -> list[Sample]:
        samples = []
        for image, kernel, how in _CONV_CASES:
            g = x(*reference.conv(np.zeros(image), np.zeros(kernel), **how).shape)
            if wanted == "input":
                samples.append(call(g, x(*kernel), image, **how))
            else:
                samples.append(call(g, x(*image), kernel, **how))
        return samples

    return rows


def _fold(x: Maker) -> list[Sample]:
    plane, row = x(2, 3 * 6, 6 * 4), x(1, 2 * 3, 6)
    return [call(plane, (7, 8), (2, 3), 1, (0, 1), (1, 2)), call(row, (8,), 3)]


# ---- pooling -------------------------------------------------------------------------------------

_POOL_CASES: list[tuple[tuple[int, ...], dict[str, Any]]] = [
    ((2, 3, 8, 10), {"kernel_size": 2}),
    ((2, 3, 9, 11), {"kernel_size": 3, "stride": 2, "padding": 1}),
    ((1, 5, 13), {"kernel_size": 4, "stride": 3, "ceil_mode": True}),
    ((1, 2, 6, 7, 5), {"kernel_size": (2, 3, 2), "stride": (2, 1, 2)}),
]


def _max_pool(x: Maker) -> list[Sample]:
    dilated = call(x(1, 2, 11, 12), 3, stride=1, dilation=2)
    return [*[call(x(*shape), **how) for shape, how in _POOL_CASES], dilated]


def _pool_indices(fetch: bool) -> Rows:
    def rows(x: Maker) -> list[Sample]:
        samples = []
        for shape, how in _POOL_CASES:
            y, indices = reference.max_pool(x(*shape), **how)
            g = x(*(shape if fetch else y.shape))
            samples.append(call(g, indices) if fetch else call(g, indices, shape))
        return samples

    return rows


def _avg_pool(x: Maker) -> list[Sample]:
    edge = call(x(1, 2, 9, 9), 3, stride=2, padding=1, count_include_pad=False)
    other = call(x(1, 2, 8, 8), 2, divisor_override=3)
    return [*[call(x(*shape), **how) for shape, how in _POOL_CASES], edge, other]


def _avg_pool_grad(x: Maker) -> list[Sample]:
    samples = []
    for shape, how in _POOL_CASES:
        g = x(*reference.avg_pool(np.zeros(shape), **how).shape)
        samples.append(call(g, shape, **how))
    return samples


def _adaptive(x: Maker) -> list[Sample]:
    return [call(x(2, 3, 9, 11), (4, 3)), call(x(2, 3, 8, 8), 1), call(x(1, 2, 10), 4)]


# ---- normalisation -------------------------------------------------------------------------------


def _layer_norm(x: Maker) -> list[Sample]:
    return [
        call(x(7, 33), 1),
        call(x(7, 33), 1, x(33), x(33)),
        call(x(3, 4, 5, 6), 2, x(5, 6), x(5, 6), 1e-3),
    ]


def _layer_norm_grad(x: Maker) -> list[Sample]:
    samples = []
    for shape, ndim, weight in [((7, 33), 1, None), ((7, 33), 1, x(33)), ((3, 4, 5), 2, x(4, 5))]:
        value = x(*shape)
        _, mean, rstd = reference.layer_norm(value, ndim)
        samples.append(call(x(*shape), value, mean, rstd, weight, ndim))
    return samples


def _rms_norm(x: Maker) -> list[Sample]:
    return [call(x(7, 33), 1), call(x(3, 4, 5), 2, x(4, 5))]


def _rms_norm_grad(x: Maker) -> list[Sample]:
    value = x(7, 33)
    _, rrms = reference.rms_norm(value, 1)
    return [call(x(7, 33), value, rrms, None, 1), call(x(7, 33), value, rrms, x(33), 1)]


def _group_norm(x: Maker) -> list[Sample]:
    return [call(x(2, 6, 5, 7), 3), call(x(2, 6, 35), 2, x(6), x(6))]


def _group_norm_grad(x: Maker) -> list[Sample]:
    value = x(2, 6, 5, 7)
    _, mean, rstd = reference.group_norm(value, 3)
    return [call(x(2, 6, 5, 7), value, mean, rstd, weight, 3) for weight in (None, x(6))]


def _batch_norm_train(x: Maker) -> list[Sample]:
    return [call(x(9, 5)), call(x(4, 3, 5, 7), x(3), x(3))]


def _batch_norm_grad(x: Maker) -> list[Sample]:
    value = x(4, 3, 5, 7)
    _, mean, rstd, _ = reference.batch_norm_train(value)
    return [call(x(4, 3, 5, 7), value, mean, rstd, weight) for weight in (None, x(3))]


def _batch_norm_apply(x: Maker) -> list[Sample]:
    rstd = x.within(0.5, 2, 3)
    return [call(x(4, 3, 5, 7), x(3), rstd), call(x(4, 3, 35), x(3), rstd, x(3), x(3))]


# ---- softmax and losses --------------------------------------------------------------------------


def _softmax(x: Maker) -> list[Sample]:
    return [call(x(5, 10)), call(x(4, 67)), call(x(3, 5, 7), 1), call(x.within(-80, 80, 6, 9), 0)]


def _softmax_grad(of: Callable[[Array, int], Array]) -> Rows:
    def rows(x: Maker) -> list[Sample]:
        cases = [((5, 10), -1), ((4, 67), -1), ((3, 5, 7), 1), ((6, 9), 0)]
        return [call(x(*shape), x.lay(of(x(*shape), axis)), axis) for shape, axis in cases]

    return rows


def _logsumexp(x: Maker) -> list[Sample]:
    return [
        call(x(5, 10)),
        call(x(4, 67), -1, True),
        call(x(3, 5, 7), (0, 2)),
        call(x(5, 6), None),
    ]


_LOSS_OPTIONS: list[dict[str, Any]] = [
    {},
    {"reduction": "mean"},
    {"reduction": "sum", "label_smoothing": 0.1},
    {"reduction": "mean", "ignore_index": 2},
]


def _cross_entropy(x: Maker) -> list[Sample]:
    samples = [call(x(9, 10), x.labels(10, 9), **how) for how in _LOSS_OPTIONS]
    weighted = call(x(5, 67), x.labels(67, 5), x.within(0.5, 2, 67), reduction="mean")
    return [*samples, weighted]


def _cross_entropy_grad(x: Maker) -> list[Sample]:
    samples = []
    for how in _LOSS_OPTIONS:
        p, labels = reference.softmax(x(9, 10)), x.labels(10, 9)
        g = x(9) if how.get("reduction", "none") == "none" else x()
        samples.append(call(g, x.lay(p), labels, **how))
    return samples


# ---- reductions, choices, optimizers -------------------------------------------------------------


def _reduction(x: Maker) -> list[Sample]:
    value = x(6, 5, 33)
    axes: list[Any] = [None, 0, -1, (0, 2), (1,)]
    whole = [call(value, axis, keepdims) for axis in axes for keepdims in (False, True)]
    return [*whole, call(x(1000)), call(x(3, 300), 1)]


def _argument(x: Maker) -> list[Sample]:
    return [call(x(6, 5, 33), axis) for axis in (None, 0, 1, -1)] + [call(x(70), 0, True)]


def _sum_to(x: Maker) -> list[Sample]:
    shapes = [((5, 33), (33,)), ((5, 33), (5, 1)), ((4, 5, 6), (5, 1)), ((4, 5), (4, 5))]
    return [call(x(*have), want) for have, want in shapes] + [call(x(4, 5), ())]


def _where(x: Maker) -> list[Sample]:
    return [
        call(x.flags(5, 33), x(5, 33), x(5, 33)),
        call(x.flags(5, 1), x(33), x(1)),
        call(x.flags(67), x(67), 0.0),
    ]


def _clip(x: Maker) -> list[Sample]:
    return [call(x(5, 33), -0.5, 1.0), call(x(67), None, 0.5), call(x(5, 33), x(33), None)]


def _sgd_step(x: Maker) -> list[Sample]:
    return [
        call(x(67), x(67), lr=0.1),
        call(x(67), x(67), x(67), lr=0.1, momentum=0.9, first=True),
        call(x(5, 33), x(5, 33), x(5, 33), lr=0.1, momentum=0.9, weight_decay=0.01, nesterov=True),
        call(x(67), x(67), x(67), lr=0.1, momentum=0.9, dampening=0.5, maximize=True),
    ]


def _adam_step(x: Maker) -> list[Sample]:
    def state() -> list[Array]:
        return [x(67), x(67), x(67), x.within(0.1, 2, 67)]

    return [
        call(*state(), step=1, lr=1e-2),
        call(*state(), step=7, lr=1e-2, weight_decay=0.1),
        call(*state(), step=7, lr=1e-2, weight_decay=0.1, decoupled=True),
        call(*state(), x.within(0.1, 2, 67), step=7, lr=1e-2, maximize=True),
    ]


def _rmsprop_step(x: Maker) -> list[Sample]:
    square = x.within(1, 2, 67)
    return [
        call(x(67), x(67), square, lr=1e-2),
        call(x(67), x(67), x.within(1, 2, 67), x(67), lr=1e-2, momentum=0.9, weight_decay=0.1),
        call(x(67), x(67), x.within(1, 2, 67), None, x.within(-0.1, 0.1, 67), lr=1e-2),
    ]


def _adagrad_step(x: Maker) -> list[Sample]:
    return [call(x(67), x(67), x.within(0, 2, 67), step=3, lr=0.1, lr_decay=0.1, weight_decay=0.1)]


_WIDE = _unary(-4, 4)
_HALVES = _unary(-5.5, 5.5)

# ---- recurrent layers ----------------------------------------------------------------------------


def _recurrent(x: Maker, gates: int, sizes: tuple[int, ...], states: int) -> list[Array]:
    """x, the states and both weights."""
    steps, batch, inputs, hidden = sizes
    weights = [x.within(-0.3, 0.3, gates * hidden, width) for width in (inputs, hidden)]
    return [x(steps, batch, inputs), *(x(batch, hidden) for _ in range(states)), *weights]


def _lstm(x: Maker) -> list[Sample]:
    samples = [call(*_recurrent(x, 4, sizes, 2), x(4 * sizes[3])) for sizes in _SEQUENCES]
    return [*samples, call(*_recurrent(x, 4, (3, 2, 3, 5), 2))]


def _lstm_grad(x: Maker) -> list[Sample]:
    samples = []
    for sizes in _SEQUENCES:
        inputs = _recurrent(x, 4, sizes, 2)
        saved = list(map(x.lay, reference.lstm(*inputs)))
        gy, gc = x(*saved[0].shape), x(*saved[0].shape)
        samples.append(call(gy, gc, inputs[0], *saved, *inputs[1:]))
        samples.append(call(gy, None, inputs[0], *saved, *inputs[1:], False))
    return samples


def _gru(x: Maker) -> list[Sample]:
    samples = []
    for sizes in _SEQUENCES:
        biases = x(3 * sizes[3]), x(3 * sizes[3])
        samples.append(call(*_recurrent(x, 3, sizes, 1), *biases))
    return [*samples, call(*_recurrent(x, 3, (3, 2, 3, 5), 1))]


def _gru_grad(x: Maker) -> list[Sample]:
    samples = []
    for sizes in _SEQUENCES:
        inputs = _recurrent(x, 3, sizes, 1)
        y, gates = map(x.lay, reference.gru(*inputs, x(3 * sizes[3]), x(3 * sizes[3])))
        given = (x(*y.shape), inputs[0], y, gates, *inputs[1:])
        samples += [call(*given, wanted) for wanted in (True, False)]
    return samples


def _rnn(x: Maker) -> list[Sample]:
    return [
        call(*_recurrent(x, 1, sizes, 1), bias, how)
        for sizes in _SEQUENCES
        for how in _CELLS
        for bias in (x(sizes[3]), None)
    ]


def _rnn_grad(x: Maker) -> list[Sample]:
    samples = []
    for sizes in _SEQUENCES:
        inputs = _recurrent(x, 1, sizes, 1)
        for how in _CELLS:
            y = x.lay(reference.rnn(*inputs, None, how))
            samples.append(call(x(*y.shape), inputs[0], y, *inputs[1:], how, how == "tanh"))
    return samples


# ---- attention -----------------------------------------------------------------------------------


def _attention(x: Maker) -> list[Sample]:
    """Query and key lengths below, at and above a block; every kind of mask; dropout."""
    seed = np.array([7])
    long = x(1, 2, 70, 5), x(1, 2, 150, 5), x(1, 2, 150, 3)
    small = x(2, 4, 6, 8), x(2, 2, 9, 8), x(2, 2, 9, 8)
    rows = x.flags(6, 9)
    rows[1] = False  # a query that sees nothing
    return [
        call(x(3, 4), x(5, 4), x(5, 2), scale=0.5),
        call(*long, scale=0.4),
        call(*long, causal=True, scale=0.4),
        call(*long, x(70, 150), scale=0.4),
        call(*small, x.flags(2, 1, 1, 9), causal=True),
        call(*small, rows),
        call(*small, None, seed, False, 0.3, 0.25),
    ]


def _attention_grad(x: Maker) -> list[Sample]:
    samples = []
    for sample in _attention(x):
        q, k, v, mask, seed = (*sample.args, None, None)[:5]
        y, log_sum = reference.attention(*sample.args, **sample.kwargs)
        given = (x(*y.shape), q, k, v, mask, seed, x.lay(y), log_sum)
        samples.append(Sample((*given, *sample.args[5:]), sample.kwargs))
    return samples


def _self_attention(x: Maker) -> list[Sample]:
    seed = np.array([7])
    return [
        call(x(9, 2, 24), heads=2, scale=0.5),
        call(x(2, 9, 24), heads=4, batch_first=True, causal=True, scale=0.5),
        call(x(9, 2, 24), x.flags(2, 1, 1, 9), seed, 2, dropout=0.25),
    ]


def _self_attention_grad(x: Maker) -> list[Sample]:
    samples = []
    for sample in _self_attention(x):
        qkv, mask, seed = (*sample.args, None, None)[:3]
        y, log_sum = reference.self_attention(*sample.args, **sample.kwargs)
        given = (x(*y.shape), qkv, mask, seed, x.lay(y), log_sum)
        samples.append(Sample((*given, *sample.args[3:]), sample.kwargs))
    return samples


def _solve_triangular(x: Maker) -> list[Sample]:
    samples = []
    for stack, n, k in (((), 5, 3), ((), 37, 41), ((), 97, 70), ((2, 3), 9, 1)):
        a, b = x(*stack, n, n), x(*stack, n, k)
        a[..., range(n), range(n)] += 2 * n**0.5
        for upper in (False, True):
            samples.append(call(a, b, upper=upper))
            samples.append(call(np.swapaxes(a / n, -1, -2), b, upper=upper, unitriangular=True))
    return samples


def _factors(x: Maker, *shape: int) -> Any:
    n = shape[-1]
    return reference.eliminate(x(*shape, n) + 2 * n**0.5 * np.eye(n, dtype=x.dtype))


def _solve_factored(x: Maker) -> list[Sample]:
    samples = []
    for shape, k in (((5,), 3), ((37,), 41), ((97,), 1), ((2, 3, 4), 2)):
        for transposed in (False, True):
            b = x(*shape[:-1], shape[-1], k)
            samples.append(call(*_factors(x, *shape), b, transposed=transposed))
    return samples


#: Kernel name -> its sample calls.
ROWS: dict[str, Rows] = {
    "matmul": _matmul,
    "gemm": _gemm,
    "syrk": lambda x: [call(x(37, 65)), call(x(37, 65), transpose=True, alpha=-0.5)],
    "solve_triangular": _solve_triangular,
    "solve_factored": _solve_factored,
    "invert_factored": lambda x: [call(*_factors(x, n)) for n in (1, 5, 37, 97)],
    "eliminate": lambda x: [
        call(x(5, 5)), call(x(37, 41)), call(x(70, 33)), call(x(2, 3, 4, 4)), call(x(97, 97))
    ],
    "outer": lambda x: [call(x(37), x(65)), call(x(1), x(67))],
    "conv": _conv,
    "conv_max_pool": _conv_max_pool,
    "conv_input_grad": _conv_gradient("input"),
    "conv_weight_grad": _conv_gradient("weight"),
    "unfold": lambda x: [
        call(x(2, 3, 7, 8), (2, 3), 1, (0, 1), (1, 2)),
        call(x(1, 2, 8), 3, dilation=2),
    ],
    "fold": _fold,
    "max_pool": _max_pool,
    "pool_scatter": _pool_indices(fetch=False),
    "pool_gather": _pool_indices(fetch=True),
    "avg_pool": _avg_pool,
    "avg_pool_grad": _avg_pool_grad,
    "adaptive_avg_pool": _adaptive,
    "adaptive_avg_pool_grad": lambda x: [
        call(x(2, 3, 4, 3), (2, 3, 9, 11)),
        call(x(1, 2, 4), (1, 2, 10)),
    ],
    "adaptive_max_pool": _adaptive,
    "layer_norm": _layer_norm,
    "layer_norm_grad": _layer_norm_grad,
    "rms_norm": _rms_norm,
    "rms_norm_grad": _rms_norm_grad,
    "group_norm": _group_norm,
    "group_norm_grad": _group_norm_grad,
    "batch_norm_train": _batch_norm_train,
    "batch_norm_grad": _batch_norm_grad,
    "batch_norm_apply": _batch_norm_apply,
    "softmax": _softmax,
    "log_softmax": _softmax,
    "softmax_grad": _softmax_grad(reference.softmax),
    "log_softmax_grad": _softmax_grad(reference.log_softmax),
    "logsumexp": _logsumexp,
    "cross_entropy": _cross_entropy,
    "cross_entropy_grad": _cross_entropy_grad,
    "sum": _reduction,
    "mean": _reduction,
    "amax": _reduction,
    "amin": _reduction,
    "prod": _reduction,
    "argmax": _argument,
    "argmin": _argument,
    "sum_to": _sum_to,
    "where": _where,
    "clip": _clip,
    "sgd_step": _sgd_step,
    "adam_step": _adam_step,
    "rmsprop_step": _rmsprop_step,
    "adagrad_step": _adagrad_step,
    "attention": _attention,
    "attention_grad": _attention_grad,
    "self_attention": _self_attention,
    "self_attention_grad": _self_attention_grad,
    "lstm": _lstm,
    "lstm_grad": _lstm_grad,
    "gru": _gru,
    "gru_grad": _gru_grad,
    "rnn": _rnn,
    "rnn_grad": _rnn_grad,
    "multi_norm": lambda x: [call([x(67), x(5, 33), x(1)]), call([])],
    "multi_scale": lambda x: [call([x(67), x(5, 33)], 0.5)],
    # two arguments
    **dict.fromkeys(["add", "subtract", "multiply", "absorb", "divide"], _binary()),
    **dict.fromkeys(["maximum", "minimum"], _binary()),
    **dict.fromkeys(["atan2", "hypot", "logaddexp", "copysign"], _binary()),
    **dict.fromkeys(["remainder", "fmod", "floor_divide"], _binary(0.25, 4)),
    "power": _both(_binary(0.25, 4), _powers),
    # one argument
    **dict.fromkeys(["negative", "positive", "absolute", "sign", "square"], _WIDE),
    **dict.fromkeys(["floor", "ceil", "trunc", "round"], _HALVES),
    **dict.fromkeys(["sqrt", "rsqrt", "reciprocal"], _unary(0.1, 9)),
    **dict.fromkeys(["log", "log2", "log10"], _both(_unary(0.01, 9), _unary(0.9, 1.1))),
    "log1p": _both(_unary(-0.9, 9), _unary(-1e-3, 1e-3)),
    **dict.fromkeys(["exp", "exp2", "expm1"], _both(_unary(-60, 60), _unary(-0.1, 0.1))),
    **dict.fromkeys(["sin", "cos", "tan"], _both(_unary(-1.5, 1.5), _unary(-100, 100))),
    **dict.fromkeys(["sinh", "cosh", "tanh"], _both(_unary(-9, 9), _unary(-0.1, 0.1))),
    **dict.fromkeys(["asin", "acos", "atanh"], _unary(-0.95, 0.95)),
    **dict.fromkeys(["atan", "asinh"], _unary(-9, 9)),
    "acosh": _unary(1.1, 9),
    **dict.fromkeys(["erf", "erfc"], _unary(-5, 5)),
    # activations and their derivatives
    **dict.fromkeys(["sigmoid", "log_sigmoid", "relu", "silu"], _unary(-20, 20)),
    **dict.fromkeys(["leaky_relu", "elu", "softplus"], _unary(-20, 20)),
    "gelu": lambda x: [call(x.within(-6, 6, 67), how) for how in ("none", "tanh")],
    "sigmoid_grad": _gradient(of=reference.sigmoid),
    "tanh_grad": _gradient(of=np.tanh),
    "relu_grad": _gradient(of=reference.relu),
    **dict.fromkeys(["log_sigmoid_grad", "silu_grad", "softplus_grad"], _gradient()),
    **dict.fromkeys(["leaky_relu_grad", "elu_grad"], _gradient()),
    "gelu_grad": _both(_gradient("none"), _gradient("tanh")),
}


def samples(kernel: str, dtype: str, layout: str = "contiguous") -> list[Sample]:
    """The sample calls of a kernel in one dtype and memory layout.

    Raises:
        KeyError: the kernel has no row, and says what to do.
    """
    if kernel not in ROWS:
        raise KeyError(f"kernel {kernel!r} has no sample arguments: add a row to {__name__}.ROWS")
    return ROWS[kernel](Maker(dtype, layout))
