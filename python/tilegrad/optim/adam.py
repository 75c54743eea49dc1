"""Adam and AdamW."""

from __future__ import annotations

from typing import Any

from tilegrad import _native, kernels
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


class Adam(Optimizer):
    """Kingma and Ba, "Adam: a method for stochastic optimization", 2015.

    Args:
        params: tensors or parameter groups.
        lr: the learning rate.
        betas: decay of the first and second moments.
        eps: added to the root of the second moment.
        weight_decay: adds ``weight_decay p`` to the gradient.
        amsgrad: keep the largest second moment (Reddi, Kale, Kumar, 2018).
        maximize: ascend.
        decoupled_weight_decay: decay the parameter instead, as AdamW does.
        foreach, capturable, differentiable, fused: accepted for torch's sake; one native pass per
            parameter.
    """

    def __init__(
        self, params: Any, lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8, weight_decay: float = 0, amsgrad: bool = False, *,
        foreach: bool | None = None, maximize: bool = False, capturable: bool = False,
        differentiable: bool = False, fused: bool | None = None,
        decoupled_weight_decay: bool = False,
    ) -> None:  # fmt: skip
        name = type(self).__name__
        at_least(name, 0.0, lr=lr, eps=eps, weight_decay=weight_decay)
        if not isinstance(betas, (tuple, list)) or len(betas) != 2:
            raise TypeError(f"{name}: betas must be two numbers, got {betas!r}")
        below_one(name, **{"betas[0]": betas[0], "betas[1]": betas[1]})
        super().__init__(
            params,
            {
                "lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay,
                "amsgrad": amsgrad, "maximize": maximize, "foreach": foreach,
                "capturable": capturable, "differentiable": differentiable, "fused": fused,
                "decoupled_weight_decay": decoupled_weight_decay,
            },
        )  # fmt: skip

    _step_group = staticmethod(_native.step_adam)

    def _update(self, group: dict[str, Any]) -> None:
        beta1, beta2 = group["betas"]
        for param, g in with_gradients(group["params"]):
            state = self.state[param]
            if not state:
                state["step"] = new_step()
                state["exp_avg"] = zeros_like(param)
                state["exp_avg_sq"] = zeros_like(param)
                if group["amsgrad"]:
                    state["max_exp_avg_sq"] = zeros_like(param)
            kernels.adam_step(
                param._array, g, state["exp_avg"]._array, state["exp_avg_sq"]._array,
                state["max_exp_avg_sq"]._array if group["amsgrad"] else None,
                step=advance(state), lr=number(group["lr"]), beta1=number(beta1),
                beta2=number(beta2), eps=number(group["eps"]),
                weight_decay=number(group["weight_decay"]),
                decoupled=bool(group.get("decoupled_weight_decay", False)),
                maximize=bool(group["maximize"]),
            )  # fmt: skip
            param._bump_version()


class AdamW(Adam):
    """Adam with decoupled weight decay: Loshchilov and Hutter, 2019."""

    def __init__(
        self, params: Any, lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8, weight_decay: float = 1e-2, amsgrad: bool = False, *,
        maximize: bool = False, foreach: bool | None = None, capturable: bool = False,
        differentiable: bool = False, fused: bool | None = None,
    ) -> None:  # fmt: skip
        super().__init__(
            params, lr, betas, eps, weight_decay, amsgrad, foreach=foreach, maximize=maximize,
            capturable=capturable, differentiable=differentiable, fused=fused,
            decoupled_weight_decay=True,
        )  # fmt: skip
