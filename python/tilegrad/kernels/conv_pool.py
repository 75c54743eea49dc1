"""A convolution and the maxima of its output's windows in one pass over memory.

The convolution's output is as large as an image with as many channels, and pooling keeps a quarter
of it. Here blocks of it are pooled while they are in the cache: it is never written.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tilegrad.kernels.geometry import Padding, Sizes
from tilegrad.kernels.registry import kernel, reference

Array = NDArray[Any]


@kernel
def conv_max_pool(
    x: ArrayLike,
    w: ArrayLike,
    bias: ArrayLike | None = None,
    stride: Sizes = 1,
    padding: Padding = 0,
    dilation: Sizes = 1,
    groups: int = 1,
    activation: str | None = None,
    kernel_size: Sizes = 2,
    pool_stride: Sizes | None = None,
    pool_padding: Padding = 0,
    pool_dilation: Sizes = 1,
    ceil_mode: bool = False,
) -> tuple[Array, NDArray[np.int64]]:
    """The :func:`max_pool` of a :func:`conv`, bit for bit.

    Args:
        x, w, bias, stride, padding, dilation, groups, activation: as in :func:`conv`.
        kernel_size, pool_stride, pool_padding, pool_dilation, ceil_mode: as in :func:`max_pool`.

    Returns:
        ``(y, indices)``: the maxima, and where in its plane of the convolution's output each was.

    Raises:
        ValueError: as :func:`conv` or :func:`max_pool`.

    >>> x = np.arange(6.0).reshape(1, 1, 6)
    >>> conv_max_pool(x, [[[1.0, -1.0]]], [5.0], padding=(1,), kernel_size=(2,))
    (array([[[5., 4., 4.]]]), array([[[0, 2, 4]]]))
    """
    y = reference.conv(x, w, bias, stride, padding, dilation, groups, activation)
    pooled: tuple[Array, NDArray[np.int64]] = reference.max_pool(
        y, kernel_size, pool_stride, pool_padding, pool_dilation, ceil_mode
    )
    return pooled
