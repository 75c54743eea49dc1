"""Matrix products."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tilegrad.kernels.registry import kernel


@kernel
def matmul(a: NDArray, b: NDArray, out: NDArray | None = None) -> NDArray:
    """Return the matrix product of ``a`` and ``b``, with the semantics of :func:`numpy.matmul`.

    >>> import numpy as np
    >>> matmul(np.eye(2), np.array([[1.0, 2.0], [3.0, 4.0]]))
    array([[1., 2.],
           [3., 4.]])
    """
    return np.matmul(a, b, out=out)
