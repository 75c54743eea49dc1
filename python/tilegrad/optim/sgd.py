"""Stochastic gradient descent."""

from __future__ import annotations

from typing import Any

from tilegrad import _native, kernels
from tilegrad.optim.optimizer import Optimizer, at_least, number, with_gradients, zeros_like


class SGD(Optimizer):
    """Gradient descent with momentum.

    Args:
        params: tensors or parameter groups.
        lr: the learning rate.
        momentum: ``buf = momentum buf + (1 - dampening) g``; 0 keeps no buffer.
        dampening: see there.
        weight_decay: adds ``weight_decay p`` to the gradient.
        nesterov: step along ``g + momentum buf`` (asks for momentum without dampening).
        maximize: ascend.
        foreach, differentiable, fused: accepted for torch's sake; one native pass per parameter.

    >>> import tilegrad as tg
    >>> p = tg.nn.Parameter(tg.tensor([1.0]))
    >>> (p * p).sum().backward()
    >>> tg.optim.SGD([p], lr=0.25).step()
    >>> p.item()
    0.5
    """

    def __init__(
        self, params: Any, lr: float = 1e-3, momentum: float = 0, dampening: float = 0,
        weight_decay: float = 0, nesterov: bool = False, *, maximize: bool = False,
        foreach: bool | None = None, differentiable: bool = False, fused: bool | None = None,
    ) -> None:  # fmt: skip
        at_least("SGD", 0.0, lr=lr, momentum=momentum, weight_decay=weight_decay)
        if nesterov and (momentum <= 0 or dampening != 0):
            raise ValueError("SGD: nesterov asks for momentum above 0 and dampening 0")
        super().__init__(
            params,
            {
                "lr": lr, "momentum": momentum, "dampening": dampening,
                "weight_decay": weight_decay, "nesterov": nesterov, "maximize": maximize,
                "foreach": foreach, "differentiable": differentiable, "fused": fused,
            },
        )  # fmt: skip

    _step_group = staticmethod(_native.step_sgd)

    def _update(self, group: dict[str, Any]) -> None:
        momentum = number(group["momentum"])
        for param, g in with_gradients(group["params"]):
            state = self.state[param]
            first = bool(momentum) and state.get("momentum_buffer") is None
            if first:
                state["momentum_buffer"] = zeros_like(param)
            kernels.sgd_step(
                param._array, g, state["momentum_buffer"]._array if momentum else None,
                lr=number(group["lr"]), momentum=momentum, dampening=number(group["dampening"]),
                weight_decay=number(group["weight_decay"]), nesterov=bool(group["nesterov"]),
                maximize=bool(group["maximize"]), first=first,
            )  # fmt: skip
            param._bump_version()
