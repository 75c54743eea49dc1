"""Losses as modules."""

from __future__ import annotations

import math
from typing import Any

from tilegrad.autograd.tensor import Tensor
from tilegrad.nn import functional as F
from tilegrad.nn.functional.loss_rules import chosen
from tilegrad.nn.linear import Linear
from tilegrad.nn.module import Module


class _Loss(Module):
    """A loss with a reduction: "none", "mean" or "sum"."""

    function: Any
    #: Attributes that the function takes as arguments of the same names.
    settings: tuple[str, ...] = ("reduction",)

    def __init__(
        self, size_average: bool | None = None, reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:  # fmt: skip
        super().__init__()
        self.reduction = chosen(size_average, reduce, reduction)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        settings = {name: getattr(self, name) for name in self.settings}
        return type(self).function(*args, **kwargs, **settings)


class _WeightedLoss(_Loss):
    weight: Any
    settings: tuple[str, ...] = ("weight", "reduction")

    def __init__(
        self, weight: Any = None, size_average: bool | None = None, reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:  # fmt: skip
        super().__init__(size_average, reduce, reduction)
        self.register_buffer("weight", as_tensor(weight))


def as_tensor(value: Any) -> Any:
    """A tensor from a tensor, array or list; None stays None."""
    if value is None or isinstance(value, Tensor):
        return value
    from tilegrad.functions.creation import tensor

    return tensor(value)


class L1Loss(_Loss):
    """The absolute difference."""

    function = staticmethod(F.l1_loss)


class MSELoss(_Loss):
    """The square of the difference."""

    function = staticmethod(F.mse_loss)


class SmoothL1Loss(_Loss):
    """Quadratic below ``beta``, linear above."""

    function = staticmethod(F.smooth_l1_loss)
    settings = ("beta", "reduction")

    def __init__(
        self, size_average: bool | None = None, reduce: bool | None = None,
        reduction: str = "mean", beta: float = 1.0,
    ) -> None:  # fmt: skip
        super().__init__(size_average, reduce, reduction)
        self.beta = beta


class HuberLoss(_Loss):
    """Quadratic up to ``delta``, linear beyond."""

    function = staticmethod(F.huber_loss)
    settings = ("delta", "reduction")

    def __init__(self, reduction: str = "mean", delta: float = 1.0) -> None:
        super().__init__(reduction=reduction)
        self.delta = delta


class CrossEntropyLoss(_WeightedLoss):
    """Cross-entropy of labels, or of class probabilities, under the softmax of logits.

    Args:
        weight: (C,) class weights.
        ignore_index: a label that counts nothing.
        reduction: "none", "mean" or "sum".
        label_smoothing: this share of every target is spread over all classes.
    """

    function = staticmethod(F.cross_entropy)
    settings = ("weight", "ignore_index", "reduction", "label_smoothing")

    def __init__(
        self, weight: Any = None, size_average: bool | None = None, ignore_index: int = -100,
        reduce: bool | None = None, reduction: str = "mean", label_smoothing: float = 0.0,
    ) -> None:  # fmt: skip
        super().__init__(weight, size_average, reduce, reduction)
        self.ignore_index = ignore_index
        self.label_smoothing = label_smoothing


class NLLLoss(_WeightedLoss):
    """The negative log probability of labels."""

    function = staticmethod(F.nll_loss)
    settings = ("weight", "ignore_index", "reduction")

    def __init__(
        self, weight: Any = None, size_average: bool | None = None, ignore_index: int = -100,
        reduce: bool | None = None, reduction: str = "mean",
    ) -> None:  # fmt: skip
        super().__init__(weight, size_average, reduce, reduction)
        self.ignore_index = ignore_index


class BCELoss(_WeightedLoss):
    """Binary cross-entropy of probabilities."""

    function = staticmethod(F.binary_cross_entropy)


class BCEWithLogitsLoss(_WeightedLoss):
    """Binary cross-entropy under the sigmoid of logits."""

    function = staticmethod(F.binary_cross_entropy_with_logits)
    settings = ("weight", "pos_weight", "reduction")

    pos_weight: Any

    def __init__(
        self, weight: Any = None, size_average: bool | None = None, reduce: bool | None = None,
        reduction: str = "mean", pos_weight: Any = None,
    ) -> None:  # fmt: skip
        super().__init__(weight, size_average, reduce, reduction)
        self.register_buffer("pos_weight", as_tensor(pos_weight))


class KLDivLoss(_Loss):
    """``t (log t - x)`` of log probabilities x; reduction may also be "batchmean"."""

    function = staticmethod(F.kl_div)
    settings = ("log_target", "reduction")

    def __init__(
        self, size_average: bool | None = None, reduce: bool | None = None,
        reduction: str = "mean", log_target: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(size_average, reduce, reduction)
        self.log_target = log_target


class PoissonNLLLoss(_Loss):
    """The negative log likelihood of counts."""

    function = staticmethod(F.poisson_nll_loss)
    settings = ("log_input", "full", "eps", "reduction")

    def __init__(
        self, log_input: bool = True, full: bool = False, size_average: bool | None = None,
        eps: float = 1e-8, reduce: bool | None = None, reduction: str = "mean",
    ) -> None:  # fmt: skip
        super().__init__(size_average, reduce, reduction)
        self.log_input = log_input
        self.full = full
        self.eps = eps

    def forward(self, log_input: Any, target: Any) -> Any:
        return super().forward(log_input, target)


class GaussianNLLLoss(_Loss):
    """The negative log likelihood of targets under normal distributions."""

    function = staticmethod(F.gaussian_nll_loss)
    settings = ("full", "eps", "reduction")

    def __init__(self, *, full: bool = False, eps: float = 1e-6, reduction: str = "mean") -> None:
        super().__init__(reduction=reduction)
        self.full = full
        self.eps = eps


class SoftMarginLoss(_Loss):
    """``log(1 + exp(-t x))``."""

    function = staticmethod(F.soft_margin_loss)


class MultiLabelMarginLoss(_Loss):
    """Margins between labels and other classes."""

    function = staticmethod(F.multilabel_margin_loss)


class MultiLabelSoftMarginLoss(_WeightedLoss):
    """The mean over classes of binary cross-entropies of logits."""

    function = staticmethod(F.multilabel_soft_margin_loss)


class _MarginLoss(_Loss):
    margin: float

    def __init__(
        self, margin: float = 0.0, size_average: bool | None = None, reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:  # fmt: skip
        super().__init__(size_average, reduce, reduction)
        self.margin = margin


class HingeEmbeddingLoss(_MarginLoss):
    """Distances where the target is 1, ``max(0, margin - x)`` where it is -1."""

    function = staticmethod(F.hinge_embedding_loss)
    settings = ("margin", "reduction")

    def __init__(
        self, margin: float = 1.0, size_average: bool | None = None, reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:  # fmt: skip
        super().__init__(margin, size_average, reduce, reduction)


class MarginRankingLoss(_MarginLoss):
    """``max(0, -t (x1 - x2) + margin)``."""

    function = staticmethod(F.margin_ranking_loss)
    settings = ("margin", "reduction")


class CosineEmbeddingLoss(_MarginLoss):
    """``1 - cos`` where the target is 1, ``max(0, cos - margin)`` where it is -1."""

    function = staticmethod(F.cosine_embedding_loss)
    settings = ("margin", "reduction")


class MultiMarginLoss(_WeightedLoss):
    """Margins between the label and all other classes."""

    function = staticmethod(F.multi_margin_loss)
    settings = ("p", "margin", "weight", "reduction")

    def __init__(
        self, p: int = 1, margin: float = 1.0, weight: Any = None,
        size_average: bool | None = None, reduce: bool | None = None, reduction: str = "mean",
    ) -> None:  # fmt: skip
        super().__init__(weight, size_average, reduce, reduction)
        if p not in (1, 2):
            raise ValueError(f"MultiMarginLoss: p must be 1 or 2, got {p}")
        self.p = p
        self.margin = margin


class TripletMarginLoss(_Loss):
    """``max(0, margin + |a - p| - |a - n|)``."""

    function = staticmethod(F.triplet_margin_loss)
    settings = ("margin", "p", "eps", "swap", "reduction")

    def __init__(
        self, margin: float = 1.0, p: float = 2.0, eps: float = 1e-6, swap: bool = False,
        size_average: bool | None = None, reduce: bool | None = None, reduction: str = "mean",
    ) -> None:  # fmt: skip
        super().__init__(size_average, reduce, reduction)
        if margin <= 0:
            raise ValueError(f"TripletMarginLoss: margin must be positive, got {margin}")
        self.margin = margin
        self.p = p
        self.eps = eps
        self.swap = swap


class TripletMarginWithDistanceLoss(_Loss):
    """:class:`TripletMarginLoss` with any distance."""

    function = staticmethod(F.triplet_margin_with_distance_loss)
    settings = ("distance_function", "margin", "swap", "reduction")

    def __init__(
        self, *, distance_function: Any = None, margin: float = 1.0, swap: bool = False,
        reduction: str = "mean",
    ) -> None:  # fmt: skip
        super().__init__(reduction=reduction)
        self.distance_function = distance_function or F.pairwise_distance
        self.margin = margin
        self.swap = swap


class CosineSimilarity(Module):
    """The cosine of the angle between vectors along ``dim``."""

    def __init__(self, dim: int = 1, eps: float = 1e-8) -> None:
        super().__init__()
        self.dim = dim
        self.eps = eps

    def forward(self, x1: Any, x2: Any) -> Any:
        return F.cosine_similarity(x1, x2, self.dim, self.eps)


class PairwiseDistance(Module):
    """The p-norm of differences along the last axis."""

    def __init__(self, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> None:
        super().__init__()
        self.norm = p
        self.eps = eps
        self.keepdim = keepdim

    def forward(self, x1: Any, x2: Any) -> Any:
        return F.pairwise_distance(x1, x2, self.norm, self.eps, self.keepdim)


class CTCLoss(_Loss):
    """Connectionist temporal classification; see :func:`tilegrad.nn.functional.ctc_loss`."""

    function = staticmethod(F.ctc_loss)
    settings = ("blank", "reduction", "zero_infinity")

    def __init__(
        self, blank: int = 0, reduction: str = "mean", zero_infinity: bool = False
    ) -> None:
        super().__init__(reduction=reduction)
        self.blank = blank
        self.zero_infinity = zero_infinity


class LinearCrossEntropyLoss(_WeightedLoss):
    """A linear layer and the cross-entropy of its logits.

    Args:
        in_features: size of the last axis of the input.
        num_classes: C.
        out_features: further axes of the logits, (N, C, *out_features).
        bias: whether the layer has one.
        device, dtype: as for :class:`tilegrad.nn.Linear`.
        weight, reduction, ignore_index, label_smoothing: as for :class:`CrossEntropyLoss`.
        options: accepted.
    """

    def __init__(
        self, in_features: int, num_classes: int, *, out_features: tuple[int, ...] = (),
        bias: bool = False, device: Any = None, dtype: Any = None, reduction: str = "mean",
        weight: Any = None, ignore_index: int | None = None, label_smoothing: float = 0.0,
        options: Any = None,
    ) -> None:  # fmt: skip
        super().__init__(weight, reduction=reduction)
        self.num_classes = num_classes
        self.out_features = tuple(out_features)
        self.ignore_index = ignore_index
        self.label_smoothing = label_smoothing
        self.linear = Linear(
            in_features, num_classes * math.prod(self.out_features), bias, device, dtype
        )
        self.options = options

    def forward(self, input: Any, target: Any) -> Any:
        shape = (self.num_classes, *self.out_features)
        bias = self.linear.bias
        return F.linear_cross_entropy(
            input, self.linear.weight.reshape((*shape, self.linear.in_features)), target,
            linear_bias=None if bias is None else bias.reshape(shape), weight=self.weight,
            reduction=self.reduction, ignore_index=self.ignore_index,
            label_smoothing=self.label_smoothing,
        )  # fmt: skip
