"""Adadelta and Adamax: steps of a scale that the gradients set; in NumPy alone."""

from __future__ import annotations

from typing import Any

import numpy as np

from tilegrad.optim.optimizer import (
    Optimizer,
    advance,
    at_least,
    below_one,
    new_step,
    number,
    with_gradients,
    zeros_like,
)


class Adadelta(Optimizer):
    """Zeiler, "ADADELTA: an adaptive learning rate method", 2012.

    Args:
        params: tensors or parameter groups.
        lr: scales the steps.
        rho: decay of the mean squares of gradients and steps, in [0, 1].
        eps: added to both under their roots.
        weight_decay: adds ``weight_decay p`` to the gradient.
        foreach, capturable, differentiable: accepted for torch's sake.
        maximize: ascend.
    """

    def __init__(
        self, params: Any, lr: float = 1.0, rho: float = 0.9, eps: float = 1e-6,
        weight_decay: float = 0, foreach: bool | None = None, *, capturable: bool = False,
        maximize: bool = False, differentiable: bool = False,
    ) -> None:  # fmt: skip
        at_least("Adadelta", 0.0, lr=lr, rho=rho, eps=eps, weight_decay=weight_decay)
        if number(rho) > 1:
            raise ValueError(f"Adadelta: rho must be at most 1, got {rho}")
        super().__init__(
            params,
            {
                "lr": lr, "rho": rho, "eps": eps, "weight_decay": weight_decay, "foreach": foreach,
                "capturable": capturable, "maximize": maximize, "differentiable": differentiable,
            },
        )  # fmt: skip

    def _update(self, group: dict[str, Any]) -> None:
        lr, rho, eps = (number(group[name]) for name in ("lr", "rho", "eps"))
        for param, given in with_gradients(group["params"]):
            state = self.state[param]
            if not state:
                state["step"] = new_step()
                state["square_avg"] = zeros_like(param)
                state["acc_delta"] = zeros_like(param)
            advance(state)
            g = _descent(group, param, given)
            squares, deltas = state["square_avg"]._array, state["acc_delta"]._array
            squares *= rho
            squares += (1 - rho) * g * g
            delta = np.sqrt(deltas + eps) / np.sqrt(squares + eps) * g
            deltas *= rho
            deltas += (1 - rho) * delta * delta
            param._array -= lr * delta
            param._bump_version()


class Adamax(Optimizer):
    """Kingma, Ba, "Adam: a method for stochastic optimization", 2015, section 7.1.

    Args:
        params: tensors or parameter groups.
        lr: the learning rate.
        betas: decays of the mean and of the largest magnitude.
        eps: added to the magnitudes.
        weight_decay: adds ``weight_decay p`` to the gradient.
        foreach, differentiable, capturable: accepted for torch's sake.
        maximize: ascend.
    """

    def __init__(
        self, params: Any, lr: float = 2e-3, betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8, weight_decay: float = 0, foreach: bool | None = None, *,
        maximize: bool = False, differentiable: bool = False, capturable: bool = False,
    ) -> None:  # fmt: skip
        at_least("Adamax", 0.0, lr=lr, eps=eps, weight_decay=weight_decay)
        below_one("Adamax", beta1=betas[0], beta2=betas[1])
        super().__init__(
            params,
            {
                "lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay,
                "foreach": foreach, "maximize": maximize, "differentiable": differentiable,
                "capturable": capturable,
            },
        )  # fmt: skip

    def _update(self, group: dict[str, Any]) -> None:
        beta1, beta2 = (number(beta) for beta in group["betas"])
        for param, given in with_gradients(group["params"]):
            state = self.state[param]
            if not state:
                state["step"] = new_step()
                state["exp_avg"] = zeros_like(param)
                state["exp_inf"] = zeros_like(param)
            rate = number(group["lr"]) / (1 - beta1 ** advance(state))
            g = _descent(group, param, given)
            mean, largest = state["exp_avg"]._array, state["exp_inf"]._array
            mean += (1 - beta1) * (g - mean)
            np.maximum(beta2 * largest, np.abs(g) + number(group["eps"]), out=largest)
            param._array -= rate * (mean / largest)
            param._bump_version()


def _descent(group: dict[str, Any], param: Any, g: Any) -> Any:
    """The gradient to descend along: of the right sign, weight decay included."""
    signed = -g if group["maximize"] else g
    decay = number(group["weight_decay"])
    return signed + decay * param._array if decay else signed
