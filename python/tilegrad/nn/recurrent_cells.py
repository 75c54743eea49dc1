"""One step of a recurrent layer: plain, LSTM and GRU cells."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tilegrad.autograd.recording import constant
from tilegrad.nn import init
from tilegrad.nn.linear import check_device, check_sizes, empty
from tilegrad.nn.module import Module
from tilegrad.ops import recurrent as ops
from tilegrad.ops.activation import relu
from tilegrad.ops.arithmetic import add
from tilegrad.ops.exponential import tanh
from tilegrad.ops.linear import linear
from tilegrad.ops.shape import reshape


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
