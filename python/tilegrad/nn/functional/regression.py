"""Losses of numbers: differences, and likelihoods of counts and of normal variables."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tilegrad.nn.functional.loss_rules import check_pair, chosen, reduced, values_of, weighted
from tilegrad.ops.arithmetic import absolute, add, divide, multiply, square, subtract
from tilegrad.ops.exponential import exp, log
from tilegrad.ops.promotion import result_dtype
from tilegrad.ops.selection import where
from tilegrad.ops.shape import cast, reshape


def mse_loss(
    input: Any, target: Any, size_average: bool | None = None, reduce: bool | None = None,
    reduction: str = "mean", weight: Any = None,
) -> Any:  # fmt: skip
    """The square of the difference."""
    check_pair("mse_loss", input, target)
    reduction = chosen(size_average, reduce, reduction)
    return weighted(square(subtract(input, target)), weight, reduction, "mse_loss")


def l1_loss(
    input: Any, target: Any, size_average: bool | None = None, reduce: bool | None = None,
    reduction: str = "mean", weight: Any = None,
) -> Any:  # fmt: skip
    """The absolute difference."""
    check_pair("l1_loss", input, target)
    reduction = chosen(size_average, reduce, reduction)
    return weighted(absolute(subtract(input, target)), weight, reduction, "l1_loss")


def smooth_l1_loss(
    input: Any, target: Any, size_average: bool | None = None, reduce: bool | None = None,
    reduction: str = "mean", beta: float = 1.0,
) -> Any:  # fmt: skip
    """``d^2 / (2 beta)`` where ``|d| < beta``, else ``|d| - beta / 2``."""
    if beta < 0:
        raise ValueError(f"smooth_l1_loss: beta must not be negative, got {beta}")
    if beta == 0:
        return l1_loss(input, target, size_average, reduce, reduction)
    check_pair("smooth_l1_loss", input, target)
    d = subtract(input, target)
    near = np.abs(values_of(d)) < beta
    loss = where(near, multiply(square(d), 0.5 / beta), subtract(absolute(d), 0.5 * beta))
    return reduced("smooth_l1_loss", loss, chosen(size_average, reduce, reduction))


def huber_loss(
    input: Any, target: Any, reduction: str = "mean", delta: float = 1.0, weight: Any = None
) -> Any:
    """``d^2 / 2`` where ``|d| <= delta``, else ``delta (|d| - delta / 2)``."""
    if delta <= 0:
        raise ValueError(f"huber_loss: delta must be positive, got {delta}")
    check_pair("huber_loss", input, target)
    d = subtract(input, target)
    near = np.abs(values_of(d)) <= delta
    far = multiply(subtract(absolute(d), 0.5 * delta), delta)
    loss = where(near, multiply(square(d), 0.5), far)
    return weighted(loss, weight, reduction, "huber_loss")


def poisson_nll_loss(
    input: Any, target: Any, log_input: bool = True, full: bool = False,
    size_average: bool | None = None, eps: float = 1e-8, reduce: bool | None = None,
    reduction: str = "mean",
) -> Any:  # fmt: skip
    """The negative log likelihood of counts under a Poisson rate, or under its logarithm."""
    check_pair("poisson_nll_loss", input, target)
    if target.dtype.kind != "f" and full:
        target = cast(target, result_dtype(input, 1.0))
    if log_input:
        loss = subtract(exp(input), multiply(target, input))
    else:
        loss = subtract(input, multiply(target, log(add(input, eps))))
    if full:  # Stirling's approximation of log t!, above 1
        large = values_of(target) > 1
        t = where(large, target, 1.0)
        stirling = add(
            subtract(multiply(t, log(t)), t), multiply(log(multiply(t, 2 * math.pi)), 0.5)
        )
        loss = add(loss, where(large, stirling, 0.0))
    return reduced("poisson_nll_loss", loss, chosen(size_average, reduce, reduction))


def gaussian_nll_loss(
    input: Any, target: Any, var: Any, full: bool = False, eps: float = 1e-6,
    reduction: str = "mean",
) -> Any:  # fmt: skip
    """The negative log likelihood of targets under normal distributions."""
    if isinstance(var, (int, float)):
        var = multiply(np.ones(input.shape, input.dtype), var)
    if var.shape != input.shape:
        if input.shape[:-1] == var.shape:
            var = reshape(var, (*var.shape, 1))
        elif input.ndim != var.ndim or any(
            v not in (1, x) for x, v in zip(input.shape, var.shape, strict=True)
        ):
            raise ValueError(
                f"gaussian_nll_loss: var of shape {var.shape} does not fit the input of shape "
                f"{input.shape}: give one variance per entry, or per entry of all axes but the last"
            )
    values = values_of(var)
    if (values < 0).any():
        raise ValueError("gaussian_nll_loss: var has negative entries")
    # the bound moves the value, and the gradient passes as if it did not
    var = add(var, np.maximum(values, values.dtype.type(eps)) - values)
    loss = multiply(add(log(var), divide(square(subtract(input, target)), var)), 0.5)
    if full:
        loss = add(loss, 0.5 * math.log(2 * math.pi))
    return reduced("gaussian_nll_loss", loss, reduction)


__all__ = [
    "gaussian_nll_loss", "huber_loss", "l1_loss", "mse_loss", "poisson_nll_loss", "smooth_l1_loss",
]  # fmt: skip
