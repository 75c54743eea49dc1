"""BHHH: maximum likelihood by the outer product of gradients in place of the Hessian."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tilegrad import func
from tilegrad.autograd.modes import no_grad
from tilegrad.autograd.tensor import Array, Tensor
from tilegrad.calculus.scores import opg_covariance, scores
from tilegrad.func.pytree import tensors, unflatten

#: Halvings of a step before the search gives up: the step is then at rounding level.
_HALVINGS = 50

#: The gain still promised at which :func:`bhhh` is done, by the bytes of a number: a log-likelihood
#: near 1 in single precision cannot show smaller ones.
_TOLERANCE = {4: 1e-6, 8: 1e-12}

#: The share of the predicted gain that a step must bring. Armijo's usual 1e-4.
_SUFFICIENT = 1e-4


@dataclass(frozen=True)
class BHHHResult:
    """What :func:`bhhh` found.

    Attributes:
        parameters: the estimates, in the structure they were given in.
        log_likelihood: the sum over observations there.
        covariance: of the estimates (flat), by the outer product of gradients; None if it is
            singular.
        iterations: how many steps were taken.
        converged: whether the gradient vanished, in the metric of the estimated information.
    """

    parameters: Any
    log_likelihood: float
    covariance: Array | None
    iterations: int
    converged: bool

    @property
    def standard_errors(self) -> Array | None:
        """Square roots of the variances."""
        return None if self.covariance is None else np.sqrt(np.diag(self.covariance))


def bhhh(
    log_likelihood: Callable[..., Any],
    parameters: Any,
    *data: Any,
    max_iterations: int = 200,
    tolerance: float | None = None,
) -> BHHHResult:
    """Maximise the sum of ``log_likelihood(parameters, *observation)`` over the observations.

    With the scores as rows of S, the step is (S^T S)^-1 S^T 1: the coefficients of a least-squares
    regression of ones on the scores. It needs first derivatives only and always points uphill. The
    step is halved until the likelihood rises by a share of what the slope promises.

    Berndt, Hall, Hall, Hausman, "Estimation and inference in nonlinear structural models", Annals
    of Economic and Social Measurement 3 (1974), 653-665.

    Args:
        log_likelihood: of one observation, a scalar tensor.
        parameters: where to start: a tensor or a tree of them.
        data: arrays with the observations along axis 0.
        max_iterations: at most so many steps.
        tolerance: done when gradient^T (S^T S)^-1 gradient falls below it; by default 1e-12,
            in single precision 1e-6.

    >>> import numpy as np, tilegrad as tg
    >>> poisson = lambda rate, x: x * rate.log() - rate
    >>> found = tg.optim.bhhh(poisson, np.array(1.0), np.array([1.0, 2.0, 6.0]))
    >>> round(found.parameters.item(), 4)
    3.0
    """
    leaves, structure = tensors(parameters, "bhhh: the parameters")
    each = func.vmap(log_likelihood, (None, *(0 for _ in data)))

    def total(values: list[Tensor]) -> float:
        with no_grad(), np.errstate(all="ignore"):
            return float(np.sum(np.asarray(each(unflatten(structure, values), *data).detach())))

    current, converged, iteration = total(leaves), False, 0
    if not np.isfinite(current):
        raise ValueError(f"bhhh: the log-likelihood is {current} at the start")
    for iteration in range(max_iterations + 1):
        s = scores(log_likelihood, unflatten(structure, leaves), *data)
        step = np.linalg.lstsq(s, np.ones(len(s), s.dtype), rcond=None)[0]
        promised = float(s.sum(axis=0) @ step)
        converged = promised < (_TOLERANCE[s.dtype.itemsize] if tolerance is None else tolerance)
        if converged or iteration == max_iterations:
            break
        found = _search(leaves, step, promised, current, total)
        if found is None:
            break
        leaves, current = found
    result = unflatten(structure, leaves)
    try:
        covariance = opg_covariance(log_likelihood, result, *data)
    except ValueError:
        covariance = None
    return BHHHResult(result, current, covariance, iteration, converged)


def _search(
    leaves: list[Tensor],
    step: Array,
    promised: float,
    current: float,
    total: Callable[[list[Tensor]], float],
) -> tuple[list[Tensor], float] | None:
    """The first of the steps 1, 1/2, 1/4, ... that brings its share; None if none does."""
    length = 1.0
    for _ in range(_HALVINGS):
        moved, start = [], 0
        for leaf in leaves:
            size = leaf._array.size
            change = step[start : start + size].reshape(leaf.shape)
            moved.append(Tensor(np.asarray(leaf._array + length * change, leaf.dtype)))
            start += size
        reached = total(moved)
        if reached >= current + _SUFFICIENT * length * promised:
            return moved, reached
        length /= 2
    return None
