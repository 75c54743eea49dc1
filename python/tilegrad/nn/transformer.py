"""Attention layers and the transformer built of them."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np

from tilegrad.autograd.tensor import Tensor
from tilegrad.nn import functional as F
from tilegrad.nn import init
from tilegrad.nn.activation import ReLU
from tilegrad.nn.containers import ModuleList
from tilegrad.nn.dropout import Dropout
from tilegrad.nn.functional.attention import (
    additive_mask,
    causal_mask,
    multi_head_attention_forward,
)
from tilegrad.nn.linear import Linear, check_device, empty
from tilegrad.nn.module import Module
from tilegrad.nn.normalization import LayerNorm
from tilegrad.ops.arithmetic import add
from tilegrad.ops.linear import linear_relu
from tilegrad.ops.shape import permute


class NonDynamicallyQuantizableLinear(Linear):
    """A linear layer under the name that torch gives the output projection of attention."""


class MultiheadAttention(Module):
    """Attention in several subspaces at once: Vaswani et al., "Attention is all you need", 2017.

    Args:
        embed_dim: features of the query and the result.
        num_heads: divides ``embed_dim``.
        dropout: of the weights, in training.
        bias: whether the projections have biases.
        add_bias_kv: one learned key and value more.
        add_zero_attn: one key and value of zeros more.
        kdim, vdim: features of keys and values, ``embed_dim`` by default.
        batch_first: (N, L, E) instead of (L, N, E).
        device: accepted where it means the CPU.
        dtype: of the parameters, float32 by default.
    """

    in_proj_weight: Any
    in_proj_bias: Any
    q_proj_weight: Any
    k_proj_weight: Any
    v_proj_weight: Any
    bias_k: Any
    bias_v: Any

    def __init__(
        self, embed_dim: int, num_heads: int, dropout: float = 0.0, bias: bool = True,
        add_bias_kv: bool = False, add_zero_attn: bool = False, kdim: int | None = None,
        vdim: int | None = None, batch_first: bool = False, device: Any = None,
        dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__()
        check_device("MultiheadAttention", device)
        if embed_dim <= 0 or num_heads <= 0:
            raise ValueError(
                f"MultiheadAttention: embed_dim {embed_dim} and num_heads {num_heads} must be "
                "positive"
            )
        if embed_dim % num_heads:
            raise ValueError(
                f"MultiheadAttention: embed_dim {embed_dim} must be divisible by num_heads "
                f"{num_heads}"
            )
        self.embed_dim = embed_dim
        self.kdim = embed_dim if kdim is None else kdim
        self.vdim = embed_dim if vdim is None else vdim
        self._qkv_same_embed_dim = self.kdim == embed_dim and self.vdim == embed_dim
        self.num_heads = num_heads
        self.dropout = dropout
        self.batch_first = batch_first
        self.head_dim = embed_dim // num_heads
        same = self._qkv_same_embed_dim
        for name, shape in (
            ("q_proj_weight", None if same else (embed_dim, embed_dim)),
            ("k_proj_weight", None if same else (embed_dim, self.kdim)),
            ("v_proj_weight", None if same else (embed_dim, self.vdim)),
            ("in_proj_weight", (3 * embed_dim, embed_dim) if same else None),
            ("in_proj_bias", (3 * embed_dim,) if bias else None),
        ):
            self.register_parameter(name, None if shape is None else empty(shape, dtype))
        self.out_proj = NonDynamicallyQuantizableLinear(embed_dim, embed_dim, bias, dtype=dtype)
        for name in ("bias_k", "bias_v"):
            self.register_parameter(name, empty((1, 1, embed_dim), dtype) if add_bias_kv else None)
        self.add_zero_attn = add_zero_attn
        self._reset_parameters()

    def _reset_parameters(self) -> None:
        for weight in (
            self.in_proj_weight, self.q_proj_weight, self.k_proj_weight, self.v_proj_weight
        ):  # fmt: skip
            if weight is not None:
                init.xavier_uniform_(weight)
        if self.in_proj_bias is not None:
            init.zeros_(self.in_proj_bias)
            init.zeros_(self.out_proj.bias)
        for extra in (self.bias_k, self.bias_v):
            if extra is not None:
                init.xavier_normal_(extra)

    def forward(
        self, query: Any, key: Any, value: Any, key_padding_mask: Any = None,
        need_weights: bool = True, attn_mask: Any = None, average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Any, Any]:  # fmt: skip
        """``(result, weights)``; the weights are None unless ``need_weights``."""
        if query.ndim not in (2, 3) or not query.ndim == key.ndim == value.ndim:
            raise ValueError(
                f"MultiheadAttention: query {query.shape}, key {key.shape} and value "
                f"{value.shape} must all have 3 axes, or 2 without a batch"
            )
        turned = self.batch_first and query.ndim == 3
        if turned:
            if query is key and key is value:
                query = key = value = permute(query, (1, 0, 2))
            else:
                query, key, value = (permute(t, (1, 0, 2)) for t in (query, key, value))
        y, weights = multi_head_attention_forward(
            query, key, value, self.embed_dim, self.num_heads, self.in_proj_weight,
            self.in_proj_bias, self.bias_k, self.bias_v, self.add_zero_attn, self.dropout,
            self.out_proj.weight, self.out_proj.bias, self.training, key_padding_mask,
            need_weights, attn_mask, not self._qkv_same_embed_dim, self.q_proj_weight,
            self.k_proj_weight, self.v_proj_weight, average_attn_weights=average_attn_weights,
            is_causal=is_causal,
        )  # fmt: skip
        return (permute(y, (1, 0, 2)) if turned else y), weights


def _activation(activation: str | Callable[[Any], Any]) -> Callable[[Any], Any]:
    if activation == "relu":
        return F.relu
    if activation == "gelu":
        return F.gelu
    if isinstance(activation, str):
        raise RuntimeError(f"activation should be relu/gelu, not {activation}")
    return activation


class _FeedForward(Module):
    """The part that encoder and decoder layers share."""

    self_attn: Any
    linear1: Any
    linear2: Any
    dropout: Any
    activation: Any

    def _build(
        self, d_model: int, nhead: int, dim_feedforward: int, dropout: float, activation: Any,
        eps: float, batch_first: bool, bias: bool, dtype: Any, norms: int, cross: bool,
    ) -> None:  # fmt: skip
        def attention() -> MultiheadAttention:
            return MultiheadAttention(
                d_model, nhead, dropout, bias, batch_first=batch_first, dtype=dtype
            )

        self.self_attn = attention()
        if cross:
            self.multihead_attn = attention()
        self.linear1 = Linear(d_model, dim_feedforward, bias, dtype=dtype)
        self.dropout = Dropout(dropout)
        self.linear2 = Linear(dim_feedforward, d_model, bias, dtype=dtype)
        for i in range(norms):
            setattr(self, f"norm{i + 1}", LayerNorm(d_model, eps, bias=bias, dtype=dtype))
        for i in range(norms):
            setattr(self, f"dropout{i + 1}", Dropout(dropout))
        self.activation = _activation(activation)

    def _wide(self, x: Any) -> Any:
        """The first linear layer and the activation."""
        layer, activation = self.linear1, self.activation
        plain = type(layer) is Linear and not layer._hooked
        if plain and (
            activation is F.relu or (type(activation) is ReLU and not activation._hooked)
        ):
            return linear_relu(x, layer.weight, layer.bias)
        return activation(layer(x))

    def _feed_forward(self, x: Any) -> Any:
        return self.linear2(self.dropout(self._wide(x)))

    def __setstate__(self, entries: dict[str, Any]) -> None:
        super().__setstate__(entries)
        if "activation" not in entries and "activation" not in self._modules:
            self.activation = F.relu


class TransformerEncoderLayer(_FeedForward):
    """Self-attention and a feed-forward network, each with a residual and a norm.

    Args:
        d_model, nhead: features and heads.
        dim_feedforward: features between the two linear layers.
        dropout: of weights, activations and residuals.
        activation: "relu", "gelu" or a function.
        layer_norm_eps: of both norms.
        batch_first: (N, T, E) instead of (T, N, E).
        norm_first: normalise before attention and feed-forward, not after.
        bias: whether linear layers and norms have biases.
        device: accepted where it means the CPU.
        dtype: of the parameters, float32 by default.
    """

    def __init__(
        self, d_model: int, nhead: int, dim_feedforward: int = 2048, dropout: float = 0.1,
        activation: Any = F.relu, layer_norm_eps: float = 1e-5, batch_first: bool = False,
        norm_first: bool = False, bias: bool = True, device: Any = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__()
        check_device("TransformerEncoderLayer", device)
        self.norm_first = norm_first
        self._build(
            d_model, nhead, dim_feedforward, dropout, activation, layer_norm_eps, batch_first,
            bias, dtype, 2, False,
        )  # fmt: skip

    def _attend(self, x: Any, mask: Any, padding: Any, is_causal: bool) -> Any:
        y, _ = self.self_attn(
            x, x, x, key_padding_mask=padding, need_weights=False, attn_mask=mask,
            is_causal=is_causal,
        )  # fmt: skip
        return self.dropout1(y)

    def forward(
        self, src: Any, src_mask: Any = None, src_key_padding_mask: Any = None,
        is_causal: bool = False,
    ) -> Any:  # fmt: skip
        args = (src_mask, src_key_padding_mask, is_causal)
        x = src
        if self.norm_first:
            x = add(x, self._attend(self.norm1(x), *args))
            return add(x, self.dropout2(self._feed_forward(self.norm2(x))))
        x = self.norm1(add(x, self._attend(x, *args)))
        return self.norm2(add(x, self.dropout2(self._feed_forward(x))))


class TransformerDecoderLayer(_FeedForward):
    """Self-attention, attention to an encoder's memory, and a feed-forward network."""

    def __init__(
        self, d_model: int, nhead: int, dim_feedforward: int = 2048, dropout: float = 0.1,
        activation: Any = F.relu, layer_norm_eps: float = 1e-5, batch_first: bool = False,
        norm_first: bool = False, bias: bool = True, device: Any = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__()
        check_device("TransformerDecoderLayer", device)
        self.norm_first = norm_first
        self._build(
            d_model, nhead, dim_feedforward, dropout, activation, layer_norm_eps, batch_first,
            bias, dtype, 3, True,
        )  # fmt: skip

    def _attend(self, x: Any, mask: Any, padding: Any, is_causal: bool) -> Any:
        y, _ = self.self_attn(
            x, x, x, key_padding_mask=padding, need_weights=False, attn_mask=mask,
            is_causal=is_causal,
        )  # fmt: skip
        return self.dropout1(y)

    def _look(self, x: Any, memory: Any, mask: Any, padding: Any, is_causal: bool) -> Any:
        y, _ = self.multihead_attn(
            x, memory, memory, key_padding_mask=padding, need_weights=False, attn_mask=mask,
            is_causal=is_causal,
        )  # fmt: skip
        return self.dropout2(y)

    def forward(
        self, tgt: Any, memory: Any, tgt_mask: Any = None, memory_mask: Any = None,
        tgt_key_padding_mask: Any = None, memory_key_padding_mask: Any = None,
        tgt_is_causal: bool = False, memory_is_causal: bool = False,
    ) -> Any:  # fmt: skip
        own = (tgt_mask, tgt_key_padding_mask, tgt_is_causal)
        other = (memory, memory_mask, memory_key_padding_mask, memory_is_causal)
        x = tgt
        if self.norm_first:
            x = add(x, self._attend(self.norm1(x), *own))
            x = add(x, self._look(self.norm2(x), *other))
            return add(x, self.dropout3(self._feed_forward(self.norm3(x))))
        x = self.norm1(add(x, self._attend(x, *own)))
        x = self.norm2(add(x, self._look(x, *other)))
        return self.norm3(add(x, self.dropout3(self._feed_forward(x))))


def _copies(module: Module, count: int) -> ModuleList:
    return ModuleList([copy.deepcopy(module) for _ in range(count)])


def _is_causal(mask: Any, given: bool | None, size: int) -> bool:
    """Whether a mask hides exactly what is later, if nobody says so."""
    if given is not None:
        return given
    if mask is None or mask.ndim != 2 or mask.shape != (size, size):
        return False
    added = additive_mask(mask, np.float32)
    values = added._array if isinstance(added, Tensor) else added
    return bool(np.array_equal(values, causal_mask(size, size, values.dtype)))


class TransformerEncoder(Module):
    """``num_layers`` copies of an encoder layer, and a norm."""

    def __init__(
        self, encoder_layer: Module, num_layers: int, norm: Module | None = None,
        enable_nested_tensor: bool = True, mask_check: bool = True,
    ) -> None:  # fmt: skip
        super().__init__()
        self.layers = _copies(encoder_layer, num_layers)
        self.num_layers = num_layers
        self.norm = norm
        self.enable_nested_tensor = enable_nested_tensor
        self.mask_check = mask_check

    def forward(
        self, src: Any, mask: Any = None, src_key_padding_mask: Any = None,
        is_causal: bool | None = None,
    ) -> Any:  # fmt: skip
        first = self.layers[0].self_attn
        size = src.shape[1] if first.batch_first and src.ndim == 3 else src.shape[0]
        causal = _is_causal(mask, is_causal, size)
        x = src
        for layer in self.layers:
            x = layer(
                x, src_mask=mask, is_causal=causal, src_key_padding_mask=src_key_padding_mask
            )
        return x if self.norm is None else self.norm(x)


class TransformerDecoder(Module):
    """``num_layers`` copies of a decoder layer, and a norm."""

    def __init__(
        self, decoder_layer: Module, num_layers: int, norm: Module | None = None
    ) -> None:
        super().__init__()
        self.layers = _copies(decoder_layer, num_layers)
        self.num_layers = num_layers
        self.norm = norm

    def forward(
        self, tgt: Any, memory: Any, tgt_mask: Any = None, memory_mask: Any = None,
        tgt_key_padding_mask: Any = None, memory_key_padding_mask: Any = None,
        tgt_is_causal: bool | None = None, memory_is_causal: bool = False,
    ) -> Any:  # fmt: skip
        first = self.layers[0].self_attn
        size = tgt.shape[1] if first.batch_first and tgt.ndim == 3 else tgt.shape[0]
        causal = _is_causal(tgt_mask, tgt_is_causal, size)
        x = tgt
        for layer in self.layers:
            x = layer(
                x, memory, tgt_mask=tgt_mask, memory_mask=memory_mask,
                tgt_key_padding_mask=tgt_key_padding_mask,
                memory_key_padding_mask=memory_key_padding_mask, tgt_is_causal=causal,
                memory_is_causal=memory_is_causal,
            )  # fmt: skip
        return x if self.norm is None else self.norm(x)


class Transformer(Module):
    """An encoder and a decoder."""

    def __init__(
        self, d_model: int = 512, nhead: int = 8, num_encoder_layers: int = 6,
        num_decoder_layers: int = 6, dim_feedforward: int = 2048, dropout: float = 0.1,
        activation: Any = F.relu, custom_encoder: Any = None, custom_decoder: Any = None,
        layer_norm_eps: float = 1e-5, batch_first: bool = False, norm_first: bool = False,
        bias: bool = True, device: Any = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__()
        args = (
            d_model, nhead, dim_feedforward, dropout, activation, layer_norm_eps, batch_first,
            norm_first, bias, device, dtype,
        )  # fmt: skip

        def norm() -> LayerNorm:
            return LayerNorm(d_model, eps=layer_norm_eps, bias=bias, dtype=dtype)

        self.encoder = custom_encoder or TransformerEncoder(
            TransformerEncoderLayer(*args), num_encoder_layers, norm()
        )
        self.decoder = custom_decoder or TransformerDecoder(
            TransformerDecoderLayer(*args), num_decoder_layers, norm()
        )
        self.d_model = d_model
        self.nhead = nhead
        self.batch_first = batch_first
        for parameter in self.parameters():
            if parameter.ndim > 1:
                init.xavier_uniform_(parameter)

    def forward(
        self, src: Any, tgt: Any, src_mask: Any = None, tgt_mask: Any = None,
        memory_mask: Any = None, src_key_padding_mask: Any = None,
        tgt_key_padding_mask: Any = None, memory_key_padding_mask: Any = None,
        src_is_causal: bool | None = None, tgt_is_causal: bool | None = None,
        memory_is_causal: bool = False,
    ) -> Any:  # fmt: skip
        batched = src.ndim == 3
        axis = 0 if self.batch_first else 1
        if batched and src.shape[axis] != tgt.shape[axis]:
            raise RuntimeError(
                f"Transformer: src {src.shape} and tgt {tgt.shape} must have one batch size"
            )
        if src.shape[-1] != self.d_model or tgt.shape[-1] != self.d_model:
            raise RuntimeError(
                f"Transformer: src {src.shape} and tgt {tgt.shape} must have {self.d_model} "
                "features"
            )
        memory = self.encoder(
            src, mask=src_mask, src_key_padding_mask=src_key_padding_mask, is_causal=src_is_causal
        )
        return self.decoder(
            tgt, memory, tgt_mask=tgt_mask, memory_mask=memory_mask,
            tgt_key_padding_mask=tgt_key_padding_mask,
            memory_key_padding_mask=memory_key_padding_mask, tgt_is_causal=tgt_is_causal,
            memory_is_causal=memory_is_causal,
        )  # fmt: skip

    @staticmethod
    def generate_square_subsequent_mask(sz: int, device: Any = None, dtype: Any = None) -> Tensor:
        """Minus infinity above the diagonal."""
        return Tensor(causal_mask(sz, sz, dtype or np.float32))
