"""Stochastic gradient descent."""

from __future__ import annotations

from typing import Any

from tilegrad import _native, kernels
from tilegrad.optim.optimizer import Optimizer, at_least, gathered, number, zeros_like


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

    def _update(self, group: dict[str, Any]) -> None:
        momentum = number(group["momentum"])
        options: dict[str, Any] = {
            "lr": number(group["lr"]), "momentum": momentum,
            "dampening": number(group["dampening"]),
            "weight_decay": number(group["weight_decay"]), "nesterov": bool(group["nesterov"]),
            "maximize": bool(group["maximize"]),
        }  # fmt: skip
        params, arrays, gradients = gathered(group["params"])
        if not momentum:
            kernels.sgd_step(arrays, gradients, **options)
        else:
            states = [self.state[param] for param in params]
            begun = [state.get("momentum_buffer") is not None for state in states]
            for param, state, old in zip(params, states, begun, strict=True):
                if not old:
                    state["momentum_buffer"] = zeros_like(param)
            buffers = [state["momentum_buffer"]._array for state in states]
            if all(begun):
                kernels.sgd_step(arrays, gradients, buffers, **options)
            else:
                for p, g, buffer, old in zip(arrays, gradients, buffers, begun, strict=True):
                    kernels.sgd_step(p, g, buffer, first=not old, **options)
        _native.bump_versions(params)
