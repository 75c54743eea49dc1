"""Reverse- and forward-mode differentiation of recorded operations."""

from tilegrad.autograd.api import backward, grad
from tilegrad.autograd.modes import enable_grad, is_grad_enabled, no_grad, set_grad_enabled

__all__ = [
    "backward",
    "enable_grad",
    "grad",
    "is_grad_enabled",
    "no_grad",
    "set_grad_enabled",
]
