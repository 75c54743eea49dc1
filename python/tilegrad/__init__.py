"""tilegrad: matrix kernels, autograd and matrix calculus for small networks on a CPU."""

from tilegrad import kernels
from tilegrad._native import __version__
from tilegrad.config import show_config
from tilegrad.kernels.dispatch import backend, verify

__all__ = ["__version__", "backend", "kernels", "show_config", "verify"]
