"""Kernels on plain NumPy arrays: each is native where it can be, with a NumPy twin beside it."""

from tilegrad.kernels.gemm import matmul
from tilegrad.kernels.registry import KERNELS, kernel, reference

__all__ = ["KERNELS", "kernel", "matmul", "reference"]
