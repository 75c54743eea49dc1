"""Kernels on plain NumPy arrays: each is native where it can be, with a NumPy twin beside it."""

from tilegrad.kernels.conv import conv, conv_input_grad, conv_weight_grad, fold, unfold
from tilegrad.kernels.gemm import matmul
from tilegrad.kernels.norm import (
    batch_norm_apply,
    batch_norm_grad,
    batch_norm_train,
    group_norm,
    group_norm_grad,
    layer_norm,
    layer_norm_grad,
    rms_norm,
    rms_norm_grad,
)
from tilegrad.kernels.pool import (
    adaptive_avg_pool,
    adaptive_avg_pool_grad,
    adaptive_max_pool,
    avg_pool,
    avg_pool_grad,
    max_pool,
    pool_gather,
    pool_scatter,
)
from tilegrad.kernels.registry import KERNELS, kernel, reference

__all__ = [
    "KERNELS",
    "adaptive_avg_pool",
    "adaptive_avg_pool_grad",
    "adaptive_max_pool",
    "avg_pool",
    "avg_pool_grad",
    "batch_norm_apply",
    "batch_norm_grad",
    "batch_norm_train",
    "conv",
    "conv_input_grad",
    "conv_weight_grad",
    "fold",
    "group_norm",
    "group_norm_grad",
    "kernel",
    "layer_norm",
    "layer_norm_grad",
    "matmul",
    "max_pool",
    "pool_gather",
    "pool_scatter",
    "reference",
    "rms_norm",
    "rms_norm_grad",
    "unfold",
]
