"""Multi-head attention."""

from __future__ import annotations

from typing import Any

from tilegrad.nn import init
from tilegrad.nn.functional.attention import attend_to_self, multi_head_attention_forward
from tilegrad.nn.linear import Linear, check_device, empty
from tilegrad.nn.module import Module
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
        own = query is key and key is value and query.ndim == 3
        if own and not need_weights and self._plain:
            return self._to_self(query, key_padding_mask, attn_mask, is_causal), None
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

    @property
    def _plain(self) -> bool:
        """Whether keys and values are those of the input, projected by one matrix."""
        return self._qkv_same_embed_dim and self.bias_k is None and not self.add_zero_attn

    def _to_self(self, x: Any, padding: Any, mask: Any, is_causal: bool) -> Any:
        """Attention of x to itself, with its heads where the projection put them."""
        if x.shape[2] != self.embed_dim:
            raise ValueError(
                f"MultiheadAttention: query of shape {x.shape} has {x.shape[2]} features, "
                f"embed_dim is {self.embed_dim}"
            )
        if is_causal and mask is None:
            raise ValueError("MultiheadAttention: is_causal is a hint and needs an attn_mask")
        causal = is_causal and padding is None  # then the mask says nothing more
        y = attend_to_self(
            x, self.in_proj_weight, self.in_proj_bias, self.num_heads, padding,
            None if causal else mask, self.dropout if self.training else 0.0, causal,
            self.batch_first,
        )  # fmt: skip
        return self.out_proj(y)
