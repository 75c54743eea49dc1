"""Convolution: one trilinear form, three operations, each the derivative of the other two.

    <g, conv(x, w)> = <x, conv_input_grad(g, w)> = <w, conv_weight_grad(g, x)>

so fixing two of g, x, w gives the gradient by the third, and the family is closed: every order of
derivative is there. The transposed convolution is ``conv_input_grad``. ``unfold`` and ``fold`` are
linear and each other's adjoint.
"""

from __future__ import annotations

from typing import Any

from tilegrad import kernels
from tilegrad.autograd.op import Op
from tilegrad.kernels.geometry import conv_geometry
from tilegrad.ops.activation import relu_grad
from tilegrad.ops.arithmetic import total
from tilegrad.ops.define import linear, multilinear
from tilegrad.ops.pooling import pool_gather, pool_scatter
from tilegrad.ops.reduction import sum as sum_over
from tilegrad.ops.shape import expand, reshape


def _conv(x: Any, w: Any, stride: Any, padding: Any, dilation: Any, groups: int) -> Any:
    return kernels.conv(x, w, None, stride, padding, dilation, groups)


conv = multilinear(
    "conv", _conv, "x w",
    x=lambda g, w, x_shape, stride, padding, dilation, groups: conv_input_grad(
        g, w, x_shape, stride, padding, dilation, groups
    ),
    w=lambda g, x, w_shape, stride, padding, dilation, groups: conv_weight_grad(
        g, x, w_shape, stride, padding, dilation, groups
    ),
    batch="samples",
)  # fmt: skip

#: The adjoint of ``conv`` in x, of ``y`` shaped like its result.
conv_input_grad = multilinear(
    "conv_input_grad", kernels.conv_input_grad, "y w",
    y=lambda g, w, stride, padding, dilation, groups: conv(
        g, w, stride, padding, dilation, groups
    ),
    w=lambda g, y, w_shape, stride, padding, dilation, groups: conv_weight_grad(
        y, g, w_shape, stride, padding, dilation, groups
    ),
    batch="samples",
)  # fmt: skip

#: The adjoint of ``conv`` in w, of ``y`` shaped like its result.
conv_weight_grad = multilinear(
    "conv_weight_grad", kernels.conv_weight_grad, "y x",
    y=lambda g, x, stride, padding, dilation, groups: conv(
        x, g, stride, padding, dilation, groups
    ),
    x=lambda g, y, x_shape, stride, padding, dilation, groups: conv_input_grad(
        y, g, x_shape, stride, padding, dilation, groups
    ),
    batch="each",
)  # fmt: skip


def per_channel(t: Any, shape: tuple[int, ...]) -> Any:
    """(C,) broadcast to ``shape`` (N, C, *S)."""
    return expand(reshape(t, (-1, *[1] * (len(shape) - 2))), shape)


def channel_sums(g: Any) -> Any:
    """(N, C, *S) summed to (C,)."""
    return sum_over(g, (0, *range(2, g.ndim)))


def _pull(
    g: Any, x: Any, w: Any, needs: tuple[bool, ...],
    stride: Any, padding: Any, dilation: Any, groups: int,
) -> tuple[Any, ...]:  # fmt: skip
    return (
        conv_input_grad(g, w, x.shape, stride, padding, dilation, groups) if needs[0] else None,
        conv_weight_grad(g, x, w.shape, stride, padding, dilation, groups) if needs[1] else None,
        channel_sums(g) if needs[2] else None,
    )


def _pull_relu(
    g: Any, x: Any, w: Any, out: Any, needs: tuple[bool, ...],
    stride: Any, padding: Any, dilation: Any, groups: int,
) -> tuple[Any, ...]:  # fmt: skip
    return _pull(relu_grad(g, out), x, w, needs, stride, padding, dilation, groups)


def _conv_relu(
    x: Any, w: Any, bias: Any, stride: Any, padding: Any, dilation: Any, groups: int
) -> Any:
    return kernels.conv(x, w, bias, stride, padding, dilation, groups, "relu")


def _conv_bias(
    x: Any, w: Any, bias: Any, stride: Any, padding: Any, dilation: Any, groups: int
) -> Any:
    return kernels.conv(x, w, bias, stride, padding, dilation, groups)


#: ``conv(x, w) + bias`` in one pass.
conv_bias = Op(
    "conv_bias", _conv_bias, inputs=["x", "w", "bias"],
    vjp={"x w bias": _pull},
    jvp={
        "x": lambda t, w, stride, padding, dilation, groups: conv(
            t, w, stride, padding, dilation, groups
        ),
        "w": lambda t, x, stride, padding, dilation, groups: conv(
            x, t, stride, padding, dilation, groups
        ),
        "bias": lambda t, out: per_channel(t, out.shape),
    },
    batch="samples",
)  # fmt: skip

#: ``relu(conv(x, w) + bias)`` in one pass; bias may be None.
conv_relu = Op(
    "conv_relu", _conv_relu, inputs=["x", "w", "bias"],
    vjp={"x w bias": _pull_relu},
    jvp={
        "x": lambda t, w, out, stride, padding, dilation, groups: relu_grad(
            conv(t, w, stride, padding, dilation, groups), out
        ),
        "w": lambda t, x, out, stride, padding, dilation, groups: relu_grad(
            conv(x, t, stride, padding, dilation, groups), out
        ),
        "bias": lambda t, out: relu_grad(per_channel(t, out.shape), out),
    },
    batch="samples",
)  # fmt: skip


def _window_of_output(x: Any, w: Any, how: tuple[Any, ...]) -> tuple[int, ...]:
    return conv_geometry("conv", x.shape, w.shape, *how).output_shape


def _conv_max_pool(
    x: Any, w: Any, bias: Any, how: tuple[Any, ...], relu: bool, window: tuple[Any, ...]
) -> Any:
    stride, padding, dilation, groups = how
    return kernels.conv_max_pool(
        x, w, bias, stride, padding, dilation, groups, "relu" if relu else None, *window
    )


def _pull_pooled(
    g: tuple[Any, Any], x: Any, w: Any, y: Any, indices: Any, needs: tuple[bool, ...],
    how: tuple[Any, ...], relu: bool,
) -> tuple[Any, ...]:  # fmt: skip
    if g[0] is None:
        return None, None, None
    kept = relu_grad(g[0], y) if relu else g[0]
    whole = pool_scatter(kept, indices, _window_of_output(x, w, how))
    return _pull(whole, x, w, needs, *how)


def _push_pooled(
    t: tuple[Any, ...], x: Any, w: Any, y: Any, indices: Any, how: tuple[Any, ...], relu: bool
) -> tuple[Any, None]:
    tx, tw, tb = t
    whole = total(
        None if tx is None else conv(tx, w, *how),
        None if tw is None else conv(x, tw, *how),
        None if tb is None else per_channel(tb, _window_of_output(x, w, how)),
    )
    kept = pool_gather(whole, indices)
    return relu_grad(kept, y) if relu else kept, None


#: ``max_pool(conv(x, w) + bias)``, and of its relu, without the convolution's output; bias may be
#: None. ``how`` is (stride, padding, dilation, groups), ``window`` what max_pool takes.
conv_max_pool = Op(
    "conv_max_pool", _conv_max_pool, inputs=["x", "w", "bias"], outputs=["y", "indices"],
    vjp={"x w bias": _pull_pooled},
    jvp={"x w bias": _push_pooled},
    batch="samples",
)  # fmt: skip

unfold = linear(
    "unfold", kernels.unfold, "x",
    x=lambda g, x_shape, kernel_size, dilation, padding, stride: fold(
        g, x_shape[2:], kernel_size, dilation, padding, stride
    ),
    batch="samples",
)  # fmt: skip

fold = linear(
    "fold", kernels.fold, "c",
    c=lambda g, kernel_size, dilation, padding, stride: unfold(
        g, kernel_size, dilation, padding, stride
    ),
    batch="samples",
)  # fmt: skip
