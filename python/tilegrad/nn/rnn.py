"""Recurrent layers: plain, LSTM and GRU."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tilegrad.autograd.recording import constant
from tilegrad.autograd.tensor import Tensor
from tilegrad.nn import init
from tilegrad.nn.functional.convolution import same_dtype
from tilegrad.nn.functional.dropout import dropout
from tilegrad.nn.linear import check_device, check_sizes, empty
from tilegrad.nn.module import Module
from tilegrad.nn.utils.rnn import Order, PackedSequence
from tilegrad.ops import recurrent as ops
from tilegrad.ops.arithmetic import add
from tilegrad.ops.linear import linear
from tilegrad.ops.shape import concatenate, getitem, permute, reshape


class _Recurrent(Module):
    """What RNN, LSTM and GRU share: parameters by layer and direction, axes, states."""

    gates: int
    mode: str

    def __init__(
        self, input_size: int, hidden_size: int, num_layers: int = 1, bias: bool = True,
        batch_first: bool = False, dropout: float = 0.0, bidirectional: bool = False,
        proj_size: int = 0, device: Any = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__()
        name = type(self).__name__
        check_device(name, device)
        check_sizes(name, input_size=input_size, hidden_size=hidden_size, num_layers=num_layers)
        if 0 in (input_size, hidden_size, num_layers):
            raise ValueError(f"{name}: input_size, hidden_size and num_layers must be at least 1")
        for option, given in (("bias", bias), ("batch_first", batch_first)):
            if not isinstance(given, bool):
                raise TypeError(f"{name}: {option} must be True or False, got {given!r}")
        if isinstance(dropout, bool) or not 0 <= dropout <= 1:
            raise ValueError(f"{name}: dropout must be between 0 and 1, got {dropout}")
        if not 0 <= proj_size < hidden_size:
            raise ValueError(f"{name}: proj_size must be from 0 to below hidden_size")
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.bias = bias
        self.batch_first = batch_first
        self.dropout = float(dropout)
        self.bidirectional = bidirectional
        self.proj_size = proj_size
        directions = 2 if bidirectional else 1
        out_size = proj_size or hidden_size
        for layer in range(num_layers):
            size = input_size if layer == 0 else out_size * directions
            for suffix in self._suffixes(layer):
                shapes: dict[str, tuple[int, ...]] = {
                    "weight_ih": (self.gates * hidden_size, size),
                    "weight_hh": (self.gates * hidden_size, out_size),
                }
                if bias:
                    shapes["bias_ih"] = shapes["bias_hh"] = (self.gates * hidden_size,)
                if proj_size:
                    shapes["weight_hr"] = (proj_size, hidden_size)
                for kind, shape in shapes.items():
                    setattr(self, f"{kind}_{suffix}", empty(shape, dtype))
        self.reset_parameters()

    def _suffixes(self, layer: int) -> list[str]:
        return [f"l{layer}", f"l{layer}_reverse"] if self.bidirectional else [f"l{layer}"]

    def reset_parameters(self) -> None:
        """Draw the parameters again, uniform within ``1 / sqrt(hidden_size)``."""
        bound = 1 / math.sqrt(self.hidden_size)
        for weight in self.parameters():
            init.uniform_(weight, -bound, bound)

    def flatten_parameters(self) -> None:
        """Nothing: parameters need no common block here."""

    @property
    def all_weights(self) -> list[list[Any]]:
        """The parameters of each layer and direction."""
        kinds = ["weight_ih", "weight_hh"]
        if self.bias:
            kinds += ["bias_ih", "bias_hh"]
        if self.proj_size:
            kinds.append("weight_hr")
        return [
            [getattr(self, f"{kind}_{suffix}") for kind in kinds]
            for layer in range(self.num_layers)
            for suffix in self._suffixes(layer)
        ]

    def _parameters_of(self, suffix: str) -> tuple[Any, Any, Any, Any]:
        own = self._parameters
        return (
            own[f"weight_ih_{suffix}"], own[f"weight_hh_{suffix}"],
            own.get(f"bias_ih_{suffix}"), own.get(f"bias_hh_{suffix}"),
        )  # fmt: skip

    # ---- shapes -----------------------------------------------------------------------------
    def _time_first(self, input: Any) -> tuple[Any, bool]:
        """(T, N, I), and whether a batch axis was added."""
        name = type(self).__name__
        if not isinstance(input, (Tensor, np.ndarray)):
            raise TypeError(f"{name}: input must be a tensor, got {type(input).__name__}")
        if input.ndim not in (2, 3):
            raise ValueError(
                f"{name}: input of shape {input.shape} must have 3 axes, or 2 without a batch"
            )
        self._check_features(input)
        if input.ndim == 2:
            return reshape(input, (input.shape[0], 1, input.shape[1])), True
        return (permute(input, (1, 0, 2)) if self.batch_first else input), False

    def _check_features(self, input: Any) -> None:
        name = type(self).__name__
        if input.shape[-1] != self.input_size:
            raise ValueError(
                f"{name}: input of shape {input.shape} has {input.shape[-1]} features, input_size "
                f"is {self.input_size}"
            )
        same_dtype(name, input, weight=self._parameters["weight_ih_l0"])

    def _state(self, hx: Any, what: str, batch: int, size: int, dtype: Any, single: bool) -> Any:
        """A start state (layers * directions, N, size): ``hx`` checked, or zeros."""
        layers = self.num_layers * (2 if self.bidirectional else 1)
        if hx is None:
            return constant(np.zeros((layers, batch, size), dtype))
        wanted = (layers, size) if single else (layers, batch, size)
        if tuple(hx.shape) != wanted:
            raise ValueError(
                f"{type(self).__name__}: {what} of shape {tuple(hx.shape)} must have shape {wanted}"
            )
        return reshape(hx, (layers, 1, size)) if single else hx

    # ---- running ----------------------------------------------------------------------------
    def _layer(self, x: Any, suffix: str, states: tuple[Any, ...]) -> tuple[Any, ...]:
        """One layer in one direction: each state after every step (T, N, H), y first."""
        raise NotImplementedError

    def _run(self, x: Any, states: tuple[Any, ...], order: Order) -> tuple[Any, tuple[Any, ...]]:
        """All layers: y, and each state (layers * directions, N, H)."""
        finals: list[list[Any]] = []
        for layer in range(self.num_layers):
            outs = []
            for direction, suffix in enumerate(self._suffixes(layer)):
                start = tuple(getitem(s, len(finals)) for s in states)
                steps = self._layer(order.turned(x) if direction else x, suffix, start)
                outs.append(order.turned(steps[0]) if direction else steps[0])
                finals.append([order.last(y, h) for y, h in zip(steps, start, strict=True)])
            x = outs[0] if len(outs) == 1 else concatenate(*outs, axis=2)
            if self.dropout and self.training and layer + 1 < self.num_layers:
                x = dropout(x, self.dropout, True)
        return x, tuple(_stacked([last[k] for last in finals]) for k in range(len(states)))

    def _start(self, hx: Any, batch: int, dtype: Any, single: bool) -> tuple[Any, ...]:
        """The start states."""
        size = self.proj_size or self.hidden_size
        return (self._state(hx, "hx", batch, size, dtype, single),)

    def forward(self, input: Any, hx: Any = None) -> Any:
        if isinstance(input, PackedSequence):
            return self._packed(input, hx)
        x, single = self._time_first(input)
        y, states = self._run(x, self._start(hx, x.shape[1], x.dtype, single), Order())
        if single:
            y = reshape(y, (y.shape[0], y.shape[2]))
            states = tuple(reshape(s, (s.shape[0], s.shape[2])) for s in states)
        elif self.batch_first:
            y = permute(y, (1, 0, 2))
        return y, states if len(states) > 1 else states[0]

    def _packed(self, packed: PackedSequence, hx: Any) -> Any:
        """Sequences of several lengths, and their states where each ends."""
        x = packed.rows_by_step()  # the longest sequence first
        self._check_features(x)
        given = self._start(hx, x.shape[1], x.dtype, False)
        given = tuple(packed.by_length(state) for state in given)
        y, states = self._run(x, given, Order(packed.lengths()))
        states = tuple(packed.as_given(state) for state in states)
        return packed.like(y), states if len(states) > 1 else states[0]

    def extra_repr(self) -> str:
        text = f"{self.input_size}, {self.hidden_size}"
        if self.proj_size:
            text += f", proj_size={self.proj_size}"
        if self.num_layers != 1:
            text += f", num_layers={self.num_layers}"
        if not self.bias:
            text += f", bias={self.bias}"
        if self.batch_first:
            text += f", batch_first={self.batch_first}"
        if self.dropout:
            text += f", dropout={self.dropout}"
        if self.bidirectional:
            text += f", bidirectional={self.bidirectional}"
        return text


def _stacked(states: list[Any]) -> Any:
    """States (N, H) as one array (layers * directions, N, H)."""
    rows = [reshape(h, (1, *h.shape)) for h in states]
    return rows[0] if len(rows) == 1 else concatenate(*rows, axis=0)


class RNN(_Recurrent):
    """``h = tanh(x W_ih^T + b_ih + h W_hh^T + b_hh)``, or ReLU, over (T, N, input_size)."""

    gates = 1
    mode = "RNN_TANH"

    def __init__(
        self, input_size: int, hidden_size: int, num_layers: int = 1, nonlinearity: str = "tanh",
        bias: bool = True, batch_first: bool = False, dropout: float = 0.0,
        bidirectional: bool = False, device: Any = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        if nonlinearity not in ("tanh", "relu"):
            raise ValueError(f"RNN: nonlinearity must be 'tanh' or 'relu', not {nonlinearity!r}")
        super().__init__(
            input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, 0,
            device, dtype,
        )  # fmt: skip
        self.nonlinearity = nonlinearity
        self.mode = f"RNN_{nonlinearity.upper()}"

    def _layer(self, x: Any, suffix: str, states: tuple[Any, ...]) -> tuple[Any, ...]:
        w_ih, w_hh, b_ih, b_hh = self._parameters_of(suffix)
        bias = b_ih if b_hh is None else add(b_ih, b_hh)
        return (ops.rnn(x, states[0], w_ih, w_hh, bias, self.nonlinearity),)


class GRU(_Recurrent):
    """Gated recurrent units over (T, N, input_size).

    Args:
        input_size, hidden_size: sizes of the last axes.
        num_layers: stacked layers.
        bias: whether there are biases.
        batch_first: (N, T, ...) instead.
        dropout: between layers, in training.
        bidirectional: also from the end; results side by side.
        device: accepted where it means the CPU.
        dtype: of the parameters, float32 by default.
    """

    gates = 3
    mode = "GRU"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if "proj_size" in kwargs:
            raise ValueError("GRU: proj_size is for LSTM only")
        super().__init__(*args, **kwargs)

    def _layer(self, x: Any, suffix: str, states: tuple[Any, ...]) -> tuple[Any, ...]:
        w_ih, w_hh, b_ih, b_hh = self._parameters_of(suffix)
        y, _ = ops.gru(x, states[0], w_ih, w_hh, b_ih, b_hh)
        return (y,)


class LSTM(_Recurrent):
    """Long short-term memory over (T, N, input_size); states are ``(h, c)``.

    Arguments as for :class:`GRU`, and ``proj_size``: project h to this size.

    >>> import tilegrad as tg
    >>> y, (h, c) = tg.nn.LSTM(3, 5)(tg.ones(7, 2, 3))
    >>> y.shape, h.shape
    ((7, 2, 5), (1, 2, 5))
    """

    gates = 4
    mode = "LSTM"

    def _layer(self, x: Any, suffix: str, states: tuple[Any, ...]) -> tuple[Any, ...]:
        w_ih, w_hh, b_ih, b_hh = self._parameters_of(suffix)
        bias = b_ih if b_hh is None else add(b_ih, b_hh)
        h, c = states
        if self.proj_size:
            projection = self._parameters[f"weight_hr_{suffix}"]
            return self._projected(linear(x, w_ih, bias), w_hh, projection, h, c)
        y, cells, _ = ops.lstm(x, h, c, w_ih, w_hh, bias)
        return y, cells

    def _projected(self, x: Any, w: Any, projection: Any, h: Any, c: Any) -> tuple[Any, ...]:
        ys, cells = [], []
        for t in range(x.shape[0]):
            h, c, _ = ops.lstm_cell(add(getitem(x, t), linear(h, w, None)), c)
            h = linear(h, projection, None)
            ys.append(h)
            cells.append(c)
        return tuple(
            ops.stack(steps, np.zeros((0, *state.shape), state.dtype))
            for steps, state in ((ys, h), (cells, c))
        )

    def _start(self, hx: Any, batch: int, dtype: Any, single: bool) -> tuple[Any, ...]:
        h0, c0 = (None, None) if hx is None else hx
        return (
            *super()._start(h0, batch, dtype, single),
            self._state(c0, "c_0", batch, self.hidden_size, dtype, single),
        )
