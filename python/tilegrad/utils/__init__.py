"""Tools around training."""

from tilegrad.autograd.checkpoint import checkpoint

__all__ = ["checkpoint"]
