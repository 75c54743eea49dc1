"""Scores: one gradient of the log-likelihood per observation, and what their products estimate."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tilegrad import func
from tilegrad.autograd.tensor import Array
from tilegrad.func.pytree import flatten


def scores(log_likelihood: Callable[..., Any], parameters: Any, *data: Any) -> Array:
    """The gradient of each observation's log-likelihood, one row per observation.

    Args:
        log_likelihood: ``log_likelihood(parameters, *observation)``, a scalar.
        parameters: a tensor, or a tree of them: flattened in the order of its leaves.
        data: arrays with the observations along axis 0.

    Returns:
        An array of shape (observations, parameters).

    >>> import numpy as np, tilegrad as tg
    >>> normal = lambda mean, x: -0.5 * (x - mean) ** 2
    >>> tg.calculus.scores(normal, tg.tensor(np.array(1.0)), np.array([2.0, 3.0]))
    array([[1.],
           [2.]])
    """
    gradients = func.per_sample_grad(log_likelihood)(parameters, *data)
    leaves = [np.asarray(leaf.detach()) for leaf in flatten(gradients)[0]]
    rows = [leaf.reshape(leaf.shape[0], -1) for leaf in leaves]
    return np.ascontiguousarray(np.concatenate(rows, axis=1))


def opg_covariance(log_likelihood: Callable[..., Any], parameters: Any, *data: Any) -> Array:
    """The covariance of maximum-likelihood estimates by the outer product of gradients.

    The inverse of the sum over observations of s s^T, s the score: at the true parameters that sum
    estimates the information matrix.

    Berndt, Hall, Hall, Hausman, "Estimation and inference in nonlinear structural models", Annals
    of Economic and Social Measurement 3 (1974); statsmodels' ``cov_type="opg"``.

    Args: as for :func:`scores`.

    Raises:
        ValueError: the scores do not determine all parameters.
    """
    s = scores(log_likelihood, parameters, *data)
    return _inverse_gram(s)


def _inverse_gram(s: Array) -> Array:
    """(S^T S)^-1 from the triangular factor of S: half the digits of the product are not lost."""
    observations, count = s.shape
    triangle = np.linalg.qr(s, mode="r")
    diagonal = np.abs(np.diag(triangle))
    limit = np.finfo(s.dtype).eps * max(s.shape) * diagonal.max(initial=0.0)
    if observations < count or (diagonal <= limit).any():
        raise ValueError(
            f"the scores of {observations} observations do not determine {count} parameters: "
            "their outer products add up to a singular matrix"
        )
    inverse = np.linalg.inv(triangle)
    covariance: Array = inverse @ inverse.T
    return covariance
