"""RMSprop and Adagrad: steps scaled by accumulated squares of gradients."""

from __future__ import annotations

from typing import Any

import numpy as np

from tilegrad import _native, kernels
from tilegrad.autograd.tensor import Tensor
from tilegrad.optim.optimizer import (
    Optimizer,
    advance,
    at_least,
    new_step,
    number,
    with_gradients,
    zeros_like,
)


class RMSprop(Optimizer):
    """Hinton, lecture 6 of "Neural networks for machine learning", 2012.

    Args:
        params: tensors or parameter groups.
        lr: the learning rate.
        alpha: decay of the mean square.
        eps: added to its root.
        weight_decay: adds ``weight_decay p`` to the gradient.
        momentum: of the scaled steps.
        centered: subtract the squared mean (Graves, 2013).
        capturable, foreach, differentiable: accepted for torch's sake.
        maximize: ascend.
    """

    def __init__(
        self, params: Any, lr: float = 1e-2, alpha: float = 0.99, eps: float = 1e-8,
        weight_decay: float = 0, momentum: float = 0, centered: bool = False,
        capturable: bool = False, foreach: bool | None = None, maximize: bool = False,
        differentiable: bool = False,
    ) -> None:  # fmt: skip
        at_least(
            "RMSprop", 0.0, lr=lr, eps=eps, weight_decay=weight_decay, momentum=momentum,
            alpha=alpha,
        )  # fmt: skip
        super().__init__(
            params,
            {
                "lr": lr, "momentum": momentum, "alpha": alpha, "eps": eps, "centered": centered,
                "weight_decay": weight_decay, "capturable": capturable, "foreach": foreach,
                "maximize": maximize, "differentiable": differentiable,
            },
        )  # fmt: skip

    _step_group = staticmethod(_native.step_rmsprop)

    def _update(self, group: dict[str, Any]) -> None:
        momentum = number(group["momentum"])
        for param, g in with_gradients(group["params"]):
            state = self.state[param]
            if not state:
                state["step"] = new_step()
                state["square_avg"] = zeros_like(param)
                if momentum > 0:
                    state["momentum_buffer"] = zeros_like(param)
                if group["centered"]:
                    state["grad_avg"] = zeros_like(param)
            advance(state)
            kernels.rmsprop_step(
                param._array, g, state["square_avg"]._array,
                state["momentum_buffer"]._array if momentum > 0 else None,
                state["grad_avg"]._array if group["centered"] else None,
                lr=number(group["lr"]), alpha=number(group["alpha"]), eps=number(group["eps"]),
                weight_decay=number(group["weight_decay"]), momentum=momentum,
                maximize=bool(group["maximize"]),
            )  # fmt: skip
            param._bump_version()


class Adagrad(Optimizer):
    """Duchi, Hazan, Singer, "Adaptive subgradient methods", 2011.

    Args:
        params: tensors or parameter groups.
        lr: the learning rate.
        lr_decay: the rate is ``lr / (1 + (step - 1) lr_decay)``.
        weight_decay: adds ``weight_decay p`` to the gradient.
        initial_accumulator_value: where the sums of squares start.
        eps: added to their root.
        foreach, differentiable, fused: accepted for torch's sake.
        maximize: ascend.
    """

    def __init__(
        self, params: Any, lr: float = 1e-2, lr_decay: float = 0, weight_decay: float = 0,
        initial_accumulator_value: float = 0, eps: float = 1e-10, foreach: bool | None = None, *,
        maximize: bool = False, differentiable: bool = False, fused: bool | None = None,
    ) -> None:  # fmt: skip
        at_least(
            "Adagrad", 0.0, lr=lr, lr_decay=lr_decay, weight_decay=weight_decay,
            initial_accumulator_value=initial_accumulator_value, eps=eps,
        )  # fmt: skip
        super().__init__(
            params,
            {
                "lr": lr, "lr_decay": lr_decay, "eps": eps, "weight_decay": weight_decay,
                "initial_accumulator_value": initial_accumulator_value, "foreach": foreach,
                "maximize": maximize, "differentiable": differentiable, "fused": fused,
            },
        )  # fmt: skip
        for group in self.param_groups:
            for param in group["params"]:
                state = self.state[param]
                state["step"] = new_step()
                state["sum"] = Tensor(
                    np.full(param.shape, group["initial_accumulator_value"], param.dtype)
                )

    _step_group = staticmethod(_native.step_adagrad)

    def _update(self, group: dict[str, Any]) -> None:
        for param, g in with_gradients(group["params"]):
            state = self.state[param]
            if not state:  # of a group that was added later
                state["step"] = new_step()
                state["sum"] = Tensor(
                    np.full(param.shape, group["initial_accumulator_value"], param.dtype)
                )
            kernels.adagrad_step(
                param._array, g, state["sum"]._array, step=advance(state), lr=number(group["lr"]),
                lr_decay=number(group["lr_decay"]), eps=number(group["eps"]),
                weight_decay=number(group["weight_decay"]), maximize=bool(group["maximize"]),
            )  # fmt: skip
            param._bump_version()
