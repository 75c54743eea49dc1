"""The transformer: encoder and decoder layers, their stacks, and both together."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np

from tilegrad.autograd.tensor import Tensor
from tilegrad.nn import functional as F
from tilegrad.nn import init
from tilegrad.nn.activation import ReLU
from tilegrad.nn.attention import MultiheadAttention
from tilegrad.nn.containers import ModuleList
from tilegrad.nn.dropout import Dropout
from tilegrad.nn.functional.attention import additive_mask, causal_mask
from tilegrad.nn.linear import Linear, check_device
from tilegrad.nn.module import Module
from tilegrad.nn.normalization import LayerNorm
from tilegrad.ops.arithmetic import add
from tilegrad.ops.linear import linear_relu


def _activation(activation: str | Callable[[Any], Any]) -> Callable[[Any], Any]:
    if activation == "relu":
        return F.relu
    if activation == "gelu":
        return F.gelu
    if isinstance(activation, str):
        raise RuntimeError(f"activation should be relu/gelu, not {activation}")
    return activation


class _Layer(Module):
    """What encoder and decoder layers share: each block has a norm and a residual."""

    self_attn: Any
    linear1: Any
    linear2: Any
    dropout: Any
    activation: Any
    #: Attention to itself, to a memory, and the two linear layers: those that the layer has.
    blocks: int

    def __init__(
        self, d_model: int, nhead: int, dim_feedforward: int = 2048, dropout: float = 0.1,
        activation: Any = F.relu, layer_norm_eps: float = 1e-5, batch_first: bool = False,
        norm_first: bool = False, bias: bool = True, device: Any = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__()
        check_device(type(self).__name__, device)
        self.norm_first = norm_first

        def attention() -> MultiheadAttention:
            return MultiheadAttention(
                d_model, nhead, dropout, bias, batch_first=batch_first, dtype=dtype
            )

        self.self_attn = attention()
        if self.blocks == 3:
            self.multihead_attn = attention()
        self.linear1 = Linear(d_model, dim_feedforward, bias, dtype=dtype)
        self.dropout = Dropout(dropout)
        self.linear2 = Linear(dim_feedforward, d_model, bias, dtype=dtype)
        for i in range(self.blocks):
            norm = LayerNorm(d_model, layer_norm_eps, bias=bias, dtype=dtype)
            setattr(self, f"norm{i + 1}", norm)
        for i in range(self.blocks):
            setattr(self, f"dropout{i + 1}", Dropout(dropout))
        self.activation = _activation(activation)

    def _through(self, x: Any, *blocks: Callable[[Any], Any]) -> Any:
        """Each block in turn, with its dropout, its residual, and its norm before or after."""
        for i, block in enumerate(blocks, 1):
            norm, dropout = self._modules[f"norm{i}"], self._modules[f"dropout{i}"]
            if self.norm_first:
                x = add(x, dropout(block(norm(x))))  # type: ignore[misc]
            else:
                x = norm(add(x, dropout(block(x))))  # type: ignore[misc]
        return x

    def _to_self(self, mask: Any, padding: Any, is_causal: bool) -> Callable[[Any], Any]:
        def block(x: Any) -> Any:
            return self.self_attn(
                x, x, x, key_padding_mask=padding, need_weights=False, attn_mask=mask,
                is_causal=is_causal,
            )[0]  # fmt: skip

        return block

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


class TransformerEncoderLayer(_Layer):
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

    >>> import tilegrad as tg
    >>> tg.nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)(tg.ones(3, 5, 8)).shape
    (3, 5, 8)
    """

    blocks = 2

    def forward(
        self, src: Any, src_mask: Any = None, src_key_padding_mask: Any = None,
        is_causal: bool = False,
    ) -> Any:  # fmt: skip
        attend = self._to_self(src_mask, src_key_padding_mask, is_causal)
        return self._through(src, attend, self._feed_forward)


class TransformerDecoderLayer(_Layer):
    """Self-attention, attention to an encoder's memory, and a feed-forward network.

    Arguments as for :class:`TransformerEncoderLayer`.
    """

    blocks = 3

    def forward(
        self, tgt: Any, memory: Any, tgt_mask: Any = None, memory_mask: Any = None,
        tgt_key_padding_mask: Any = None, memory_key_padding_mask: Any = None,
        tgt_is_causal: bool = False, memory_is_causal: bool = False,
    ) -> Any:  # fmt: skip
        def look(x: Any) -> Any:
            return self.multihead_attn(
                x, memory, memory, key_padding_mask=memory_key_padding_mask, need_weights=False,
                attn_mask=memory_mask, is_causal=memory_is_causal,
            )[0]  # fmt: skip

        attend = self._to_self(tgt_mask, tgt_key_padding_mask, tgt_is_causal)
        return self._through(tgt, attend, look, self._feed_forward)


def _is_causal(mask: Any, given: bool | None, size: int) -> bool:
    """Whether a mask hides exactly what is later, if nobody says so."""
    if given is not None:
        return given
    if mask is None or mask.ndim != 2 or mask.shape != (size, size):
        return False
    added = additive_mask(mask, np.float32)
    values = added._array if isinstance(added, Tensor) else added
    return bool(np.array_equal(values, causal_mask(size, size, values.dtype)))


class _Stack(Module):
    """``num_layers`` copies of a layer, and a norm."""

    def __init__(self, layer: Module, num_layers: int, norm: Module | None) -> None:
        super().__init__()
        self.layers = ModuleList([copy.deepcopy(layer) for _ in range(num_layers)])
        self.num_layers = num_layers
        self.norm = norm

    def _causal(self, x: Any, mask: Any, given: bool | None) -> bool:
        batch_first = self.layers[0].self_attn.batch_first and x.ndim == 3
        return _is_causal(mask, given, x.shape[1 if batch_first else 0])

    def _run(self, x: Any, *args: Any, **masks: Any) -> Any:
        for layer in self.layers:
            x = layer(x, *args, **masks)
        return x if self.norm is None else self.norm(x)


class TransformerEncoder(_Stack):
    """``num_layers`` copies of an encoder layer, and a norm."""

    def __init__(
        self, encoder_layer: Module, num_layers: int, norm: Module | None = None,
        enable_nested_tensor: bool = True, mask_check: bool = True,
    ) -> None:  # fmt: skip
        super().__init__(encoder_layer, num_layers, norm)
        self.enable_nested_tensor = enable_nested_tensor
        self.mask_check = mask_check

    def forward(
        self, src: Any, mask: Any = None, src_key_padding_mask: Any = None,
        is_causal: bool | None = None,
    ) -> Any:  # fmt: skip
        return self._run(
            src, src_mask=mask, is_causal=self._causal(src, mask, is_causal),
            src_key_padding_mask=src_key_padding_mask,
        )  # fmt: skip


class TransformerDecoder(_Stack):
    """``num_layers`` copies of a decoder layer, and a norm."""

    def __init__(
        self, decoder_layer: Module, num_layers: int, norm: Module | None = None
    ) -> None:
        super().__init__(decoder_layer, num_layers, norm)

    def forward(
        self, tgt: Any, memory: Any, tgt_mask: Any = None, memory_mask: Any = None,
        tgt_key_padding_mask: Any = None, memory_key_padding_mask: Any = None,
        tgt_is_causal: bool | None = None, memory_is_causal: bool = False,
    ) -> Any:  # fmt: skip
        return self._run(
            tgt, memory, tgt_mask=tgt_mask, memory_mask=memory_mask,
            tgt_key_padding_mask=tgt_key_padding_mask,
            memory_key_padding_mask=memory_key_padding_mask,
            tgt_is_causal=self._causal(tgt, tgt_mask, tgt_is_causal),
            memory_is_causal=memory_is_causal,
        )  # fmt: skip


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
