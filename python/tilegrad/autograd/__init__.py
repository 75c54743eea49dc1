"""Reverse- and forward-mode differentiation of recorded operations."""

from tilegrad.autograd import forward_ad
from tilegrad.autograd.api import backward, grad
from tilegrad.autograd.checkpoint import checkpoint
from tilegrad.autograd.function import Function, once_differentiable
from tilegrad.autograd.gradcheck import GradcheckError, gradcheck, gradgradcheck
from tilegrad.autograd.modes import (
    enable_grad,
    inference_mode,
    is_grad_enabled,
    no_grad,
    set_grad_enabled,
)

__all__ = [
    "Function",
    "GradcheckError",
    "backward",
    "checkpoint",
    "enable_grad",
    "forward_ad",
    "grad",
    "gradcheck",
    "gradgradcheck",
    "inference_mode",
    "is_grad_enabled",
    "no_grad",
    "once_differentiable",
    "set_grad_enabled",
]
