"""Normalisation layers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from tilegrad.autograd.recording import leaving, opaque
from tilegrad.autograd.tensor import Tensor
from tilegrad.nn import functional as F
from tilegrad.nn.linear import check_device, check_sizes, empty
from tilegrad.nn.module import Module


@opaque
def _count_batch(counter: Tensor) -> None:
    counter._array += 1
    counter._bump_version()


def _last_axes(layer: str, normalized_shape: Any) -> tuple[int, ...]:
    """The sizes of the axes to normalise, given as one number or one per axis."""
    several = isinstance(normalized_shape, Iterable)
    sizes = tuple(normalized_shape) if several else (normalized_shape,)
    for size in sizes:
        check_sizes(layer, normalized_shape=size)
    return sizes


class _Affine(Module):
    """A layer whose results are multiplied by a weight and shifted by a bias, where it has them."""

    weight: Any
    bias: Any

    def _register_affine(self, shape: Any, weight: bool, bias: bool, dtype: Any) -> None:
        self.register_parameter("weight", empty(shape, dtype) if weight else None)
        self.register_parameter("bias", empty(shape, dtype) if weight and bias else None)

    def reset_parameters(self) -> None:
        """Set weight to 1 and bias to 0."""
        for name, value in (("weight", 1), ("bias", 0)):
            parameter = self._parameters.get(name)
            if parameter is not None:
                parameter._array[...] = value


class _Running(_Affine):
    """Batch and instance normalisation: affine parameters and running statistics."""

    _version = 2  # since 2 the state dict holds num_batches_tracked
    ranks: tuple[int, ...]
    running_mean: Any
    running_var: Any
    num_batches_tracked: Any

    def __init__(
        self, num_features: int, eps: float, momentum: float | None, affine: bool,
        track_running_stats: bool, device: Any, dtype: Any, bias: bool,
    ) -> None:  # fmt: skip
        super().__init__()
        check_device(type(self).__name__, device)
        check_sizes(type(self).__name__, num_features=num_features)
        self.num_features = num_features
        self.eps = eps
        self.momentum = momentum
        self.affine = affine
        self.track_running_stats = track_running_stats
        self._register_affine(num_features, affine, bias, dtype)
        kind = np.float32 if dtype is None else dtype
        for name, start in (
            ("running_mean", np.zeros(num_features, kind)),
            ("running_var", np.ones(num_features, kind)),
            ("num_batches_tracked", np.zeros((), np.int64)),
        ):
            self.register_buffer(name, Tensor(start) if track_running_stats else None)
        self.reset_parameters()

    def reset_running_stats(self) -> None:
        """Forget the running statistics."""
        if self.track_running_stats:
            for buffer, value in (
                (self.running_mean, 0), (self.running_var, 1), (self.num_batches_tracked, 0)
            ):  # fmt: skip
                buffer._array[...] = value
                buffer._bump_version()

    def reset_parameters(self) -> None:
        """Set weight to 1 and bias to 0, and forget the running statistics."""
        self.reset_running_stats()
        super().reset_parameters()

    def _check_input(self, input: Any) -> None:
        if input.ndim not in self.ranks:
            wanted = " or ".join(map(str, self.ranks))
            raise ValueError(
                f"{type(self).__name__}: input of shape {input.shape} must have {wanted} axes"
            )

    def _load_from_state_dict(
        self, state_dict: Any, prefix: str, local_metadata: Any, *args: Any
    ) -> None:
        key = prefix + "num_batches_tracked"
        old = local_metadata.get("version") is None or local_metadata["version"] < 2
        if old and self.track_running_stats and key not in state_dict:
            state_dict[key] = self.num_batches_tracked.detach()
        super()._load_from_state_dict(state_dict, prefix, local_metadata, *args)

    def extra_repr(self) -> str:
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, "
            f"affine={self.affine}, bias={self.bias is not None}, "
            f"track_running_stats={self.track_running_stats}"
        )


class _BatchNorm(_Running):
    def __init__(
        self, num_features: int, eps: float = 1e-5, momentum: float | None = 0.1,
        affine: bool = True, track_running_stats: bool = True, device: Any = None,
        dtype: Any = None, *, bias: bool = True,
    ) -> None:  # fmt: skip
        super().__init__(
            num_features, eps, momentum, affine, track_running_stats, device, dtype, bias
        )

    def forward(self, input: Any) -> Any:
        self._check_input(input)
        factor = 0.0 if self.momentum is None else self.momentum
        if self.training and self.track_running_stats and self.num_batches_tracked is not None:
            _count_batch(self.num_batches_tracked)
            if self.momentum is None:  # the plain average of all batches
                leaving("the average of all batches")
                factor = 1.0 / float(self.num_batches_tracked._array)
        by_batch = self.training or (self.running_mean is None and self.running_var is None)
        tracked = not self.training or self.track_running_stats
        return F.batch_norm(
            input,
            self.running_mean if tracked else None,
            self.running_var if tracked else None,
            self.weight, self.bias, by_batch, factor, self.eps,
        )  # fmt: skip


class BatchNorm1d(_BatchNorm):
    """Batch normalisation of (N, C) or (N, C, L)."""

    ranks = (2, 3)


class BatchNorm2d(_BatchNorm):
    """Batch normalisation of (N, C, H, W).

    Args:
        num_features: C.
        eps: added to the variance.
        momentum: how much of a batch enters the running statistics; None averages all batches.
        affine: whether ``weight`` and ``bias`` (C,) are learned.
        track_running_stats: whether running statistics are kept and used in evaluation.
        device: accepted where it means the CPU.
        dtype: of the parameters, float32 by default.
    """

    ranks = (4,)


class BatchNorm3d(_BatchNorm):
    """Batch normalisation of (N, C, D, H, W)."""

    ranks = (5,)


class _InstanceNorm(_Running):
    def __init__(
        self, num_features: int, eps: float = 1e-5, momentum: float = 0.1, affine: bool = False,
        track_running_stats: bool = False, device: Any = None, dtype: Any = None, *,
        bias: bool = True,
    ) -> None:  # fmt: skip
        super().__init__(
            num_features, eps, momentum, affine, track_running_stats, device, dtype, bias
        )

    def forward(self, input: Any) -> Any:
        self._check_input(input)
        full = max(self.ranks)
        axis = input.ndim - full + 1
        if input.shape[axis] != self.num_features:
            message = (
                f"{type(self).__name__}: input of shape {input.shape} has {input.shape[axis]} "
                f"channels, num_features is {self.num_features}"
            )
            if self.affine:
                raise ValueError(message)
        single = input.ndim < full
        x = input.reshape((1, *input.shape)) if single else input
        y = F.instance_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias,
            self.training or not self.track_running_stats,
            0.0 if self.momentum is None else self.momentum, self.eps,
        )  # fmt: skip
        return y.reshape(input.shape) if single else y


class InstanceNorm1d(_InstanceNorm):
    """Instance normalisation of (N, C, L) or (C, L)."""

    ranks = (2, 3)


class InstanceNorm2d(_InstanceNorm):
    """Instance normalisation of (N, C, H, W) or (C, H, W)."""

    ranks = (3, 4)


class InstanceNorm3d(_InstanceNorm):
    """Instance normalisation of (N, C, D, H, W) or (C, D, H, W)."""

    ranks = (4, 5)


class LayerNorm(_Affine):
    """Normalisation over the last axes, of the sizes ``normalized_shape``."""

    def __init__(
        self, normalized_shape: Any, eps: float = 1e-5, elementwise_affine: bool = True,
        bias: bool = True, device: Any = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__()
        check_device("LayerNorm", device)
        self.normalized_shape = _last_axes(type(self).__name__, normalized_shape)
        self.eps = eps
        self.elementwise_affine = elementwise_affine
        self._register_affine(self.normalized_shape, elementwise_affine, bias, dtype)
        self.reset_parameters()

    def forward(self, input: Any) -> Any:
        return F.layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return (
            f"{self.normalized_shape}, eps={self.eps}, "
            f"elementwise_affine={self.elementwise_affine}, bias={self.bias is not None}"
        )


class RMSNorm(_Affine):
    """Division by the root mean square over the last axes."""

    def __init__(
        self, normalized_shape: Any, eps: float | None = None, elementwise_affine: bool = True,
        device: Any = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__()
        check_device("RMSNorm", device)
        self.normalized_shape = _last_axes(type(self).__name__, normalized_shape)
        self.eps = eps
        self.elementwise_affine = elementwise_affine
        self.register_parameter(
            "weight", empty(self.normalized_shape, dtype) if elementwise_affine else None
        )
        self.reset_parameters()

    def forward(self, input: Any) -> Any:
        return F.rms_norm(input, self.normalized_shape, self.weight, self.eps)

    def extra_repr(self) -> str:
        return (
            f"{self.normalized_shape}, eps={self.eps}, "
            f"elementwise_affine={self.elementwise_affine}"
        )


class GroupNorm(_Affine):
    """Normalisation of groups of channels of each image of (N, C, *S)."""

    def __init__(
        self, num_groups: int, num_channels: int, eps: float = 1e-5, affine: bool = True,
        device: Any = None, dtype: Any = None, *, bias: bool = True,
    ) -> None:  # fmt: skip
        super().__init__()
        check_device("GroupNorm", device)
        check_sizes("GroupNorm", num_groups=num_groups, num_channels=num_channels)
        if num_groups < 1 or num_channels % num_groups:
            raise ValueError(
                f"GroupNorm: num_channels {num_channels} must be divisible by num_groups "
                f"{num_groups}"
            )
        self.num_groups = num_groups
        self.num_channels = num_channels
        self.eps = eps
        self.affine = affine
        self._register_affine(num_channels, affine, bias, dtype)
        self.reset_parameters()

    def forward(self, input: Any) -> Any:
        return F.group_norm(input, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return (
            f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.affine}, "
            f"bias={self.bias is not None}"
        )


class LocalResponseNorm(Module):
    """Division by a power of the mean square of neighbouring channels."""

    def __init__(
        self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0
    ) -> None:
        super().__init__()
        self.size = size
        self.alpha = alpha
        self.beta = beta
        self.k = k

    def forward(self, input: Any) -> Any:
        return F.local_response_norm(input, self.size, self.alpha, self.beta, self.k)

    def extra_repr(self) -> str:
        return f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"
