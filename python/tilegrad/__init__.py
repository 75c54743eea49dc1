"""tilegrad: matrix kernels, autograd and matrix calculus for small networks on a CPU."""

from tilegrad import kernels

__all__ = ["kernels"]
