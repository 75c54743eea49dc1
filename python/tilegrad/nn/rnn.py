"""Recurrent layers and cells: plain, LSTM and GRU."""

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
from tilegrad.ops import recurrent as ops
from tilegrad.ops.activation import relu
from tilegrad.ops.arithmetic import add
from tilegrad.ops.exponential import tanh
from tilegrad.ops.linear import linear
from tilegrad.ops.shape import concatenate, flip, getitem, permute, reshape


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
        if hidden_size == 0 or num_layers == 0:
            raise ValueError(f"{name}: hidden_size and num_layers must be at least 1")
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
        if input.shape[-1] != self.input_size:
            raise ValueError(
                f"{name}: input of shape {input.shape} has {input.shape[-1]} features, input_size "
                f"is {self.input_size}"
            )
        same_dtype(name, input, weight=self._parameters["weight_ih_l0"])
        if input.ndim == 2:
            return reshape(input, (input.shape[0], 1, input.shape[1])), True
        return (permute(input, (1, 0, 2)) if self.batch_first else input), False

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
    def _layer(self, x: Any, suffix: str, states: tuple[Any, ...]) -> tuple[Any, tuple[Any, ...]]:
        """One layer in one direction: y (T, N, H) and its last states."""
        raise NotImplementedError

    def _run(self, x: Any, states: tuple[Any, ...]) -> tuple[Any, tuple[Any, ...]]:
        """All layers: y, and each state (layers * directions, N, H)."""
        finals: list[tuple[Any, ...]] = []
        for layer in range(self.num_layers):
            outs = []
            for direction, suffix in enumerate(self._suffixes(layer)):
                start = tuple(getitem(s, len(finals)) for s in states)
                y, last = self._layer(flip(x, (0,)) if direction else x, suffix, start)
                outs.append(flip(y, (0,)) if direction else y)
                finals.append(last)
            x = outs[0] if len(outs) == 1 else concatenate(*outs, axis=2)
            if self.dropout and self.training and layer + 1 < self.num_layers:
                x = dropout(x, self.dropout, True)
        stacked = tuple(
            concatenate(*(reshape(last[k], (1, *last[k].shape)) for last in finals), axis=0)
            for k in range(len(states))
        )
        return x, stacked

    def _finish(self, y: Any, states: tuple[Any, ...], single: bool) -> tuple[Any, Any]:
        if single:
            y = reshape(y, (y.shape[0], y.shape[2]))
            states = tuple(reshape(s, (s.shape[0], s.shape[2])) for s in states)
        elif self.batch_first:
            y = permute(y, (1, 0, 2))
        return y, states if len(states) > 1 else states[0]

    def forward(self, input: Any, hx: Any = None) -> Any:
        x, single = self._time_first(input)
        size = self.proj_size or self.hidden_size
        h0 = self._state(hx, "hx", x.shape[1], size, x.dtype, single)
        return self._finish(*self._run(x, (h0,)), single)

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


def _last(y: Any, start: Any) -> Any:
    """The last step of (T, N, H), or the start where there is none."""
    return getitem(y, -1) if y.shape[0] else start


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

    def _layer(self, x: Any, suffix: str, states: tuple[Any, ...]) -> tuple[Any, tuple[Any, ...]]:
        w_ih, w_hh, b_ih, b_hh = self._parameters_of(suffix)
        bias = b_ih if b_hh is None else add(b_ih, b_hh)
        y = ops.rnn(x, states[0], w_ih, w_hh, bias, self.nonlinearity)
        return y, (_last(y, states[0]),)


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

    def _layer(self, x: Any, suffix: str, states: tuple[Any, ...]) -> tuple[Any, tuple[Any, ...]]:
        w_ih, w_hh, b_ih, b_hh = self._parameters_of(suffix)
        y, _ = ops.gru(x, states[0], w_ih, w_hh, b_ih, b_hh)
        return y, (_last(y, states[0]),)


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

    def _layer(self, x: Any, suffix: str, states: tuple[Any, ...]) -> tuple[Any, tuple[Any, ...]]:
        w_ih, w_hh, b_ih, b_hh = self._parameters_of(suffix)
        bias = b_ih if b_hh is None else add(b_ih, b_hh)
        h, c = states
        if self.proj_size:
            projection = self._parameters[f"weight_hr_{suffix}"]
            return self._projected(linear(x, w_ih, bias), w_hh, projection, h, c)
        y, cells, _ = ops.lstm(x, h, c, w_ih, w_hh, bias)
        return y, (_last(y, h), _last(cells, c))

    def _projected(
        self, x: Any, w: Any, projection: Any, h: Any, c: Any
    ) -> tuple[Any, tuple[Any, ...]]:
        ys = []
        for t in range(x.shape[0]):
            h, c, _ = ops.lstm_cell(add(getitem(x, t), linear(h, w, None)), c)
            h = linear(h, projection, None)
            ys.append(h)
        return ops.stack(ys, np.zeros((0, *h.shape), h.dtype)), (h, c)

    def forward(self, input: Any, hx: Any = None) -> Any:
        x, single = self._time_first(input)
        h0, c0 = (None, None) if hx is None else hx
        batch = x.shape[1]
        size = self.proj_size or self.hidden_size
        h0 = self._state(h0, "h_0", batch, size, x.dtype, single)
        c0 = self._state(c0, "c_0", batch, self.hidden_size, x.dtype, single)
        return self._finish(*self._run(x, (h0, c0)), single)


class _Cell(Module):
    """One step of a recurrent layer."""

    gates: int
    bias_ih: Any
    bias_hh: Any

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, device: Any = None,
        dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__()
        check_device(type(self).__name__, device)
        check_sizes(type(self).__name__, input_size=input_size, hidden_size=hidden_size)
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.bias = bias
        wide = self.gates * hidden_size
        self.weight_ih = empty((wide, input_size), dtype)
        self.weight_hh = empty((wide, hidden_size), dtype)
        for name in ("bias_ih", "bias_hh"):
            self.register_parameter(name, empty(wide, dtype) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the parameters again, uniform within ``1 / sqrt(hidden_size)``."""
        bound = 1 / math.sqrt(self.hidden_size) if self.hidden_size else 0.0
        for weight in self.parameters():
            init.uniform_(weight, -bound, bound)

    def _rows(self, input: Any, *states: Any) -> tuple[bool, Any, list[Any]]:
        """Whether the input has no batch axis; the input and the states as matrices."""
        name = type(self).__name__
        if input.ndim not in (1, 2):
            raise ValueError(f"{name}: input of shape {input.shape} must have 1 or 2 axes")
        if input.shape[-1] != self.input_size:
            raise ValueError(
                f"{name}: input of shape {input.shape} has {input.shape[-1]} features, input_size "
                f"is {self.input_size}"
            )
        single = input.ndim == 1
        x = reshape(input, (1, -1)) if single else input
        rows = []
        for state in states:
            if state is None:
                state = constant(np.zeros((x.shape[0], self.hidden_size), x.dtype))
            elif single:
                state = reshape(state, (1, -1))
            if state.shape != (x.shape[0], self.hidden_size):
                raise ValueError(
                    f"{name}: state of shape {state.shape} must have shape "
                    f"({x.shape[0]}, {self.hidden_size})"
                )
            rows.append(state)
        return single, x, rows

    def extra_repr(self) -> str:
        text = f"{self.input_size}, {self.hidden_size}"
        return text if self.bias else f"{text}, bias={self.bias}"


def _alone(value: Any, single: bool) -> Any:
    return reshape(value, (-1,)) if single else value


class RNNCell(_Cell):
    """One step of :class:`RNN`."""

    gates = 1

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, nonlinearity: str = "tanh",
        device: Any = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__(input_size, hidden_size, bias, device, dtype)
        self.nonlinearity = nonlinearity

    def forward(self, input: Any, hx: Any = None) -> Any:
        if self.nonlinearity not in ("tanh", "relu"):
            raise RuntimeError(f"RNNCell: unknown nonlinearity {self.nonlinearity!r}")
        single, x, (h,) = self._rows(input, hx)
        z = add(linear(x, self.weight_ih, self.bias_ih), linear(h, self.weight_hh, self.bias_hh))
        return _alone(tanh(z) if self.nonlinearity == "tanh" else relu(z), single)

    def extra_repr(self) -> str:
        text = super().extra_repr()
        return text if self.nonlinearity == "tanh" else f"{text}, nonlinearity={self.nonlinearity}"


class GRUCell(_Cell):
    """One step of :class:`GRU`."""

    gates = 3

    def forward(self, input: Any, hx: Any = None) -> Any:
        single, x, (h,) = self._rows(input, hx)
        share = linear(h, self.weight_hh, self.bias_hh)
        y, _ = ops.gru_cell(linear(x, self.weight_ih, self.bias_ih), share, h)
        return _alone(y, single)


class LSTMCell(_Cell):
    """One step of :class:`LSTM`; states and results are ``(h, c)``."""

    gates = 4

    def forward(self, input: Any, hx: Any = None) -> Any:
        single, x, (h, c) = self._rows(input, *((None, None) if hx is None else hx))
        z = add(linear(x, self.weight_ih, self.bias_ih), linear(h, self.weight_hh, self.bias_hh))
        h, c, _ = ops.lstm_cell(z, c)
        return _alone(h, single), _alone(c, single)
