"""Llama and its relatives: Mistral, Qwen2 and 3, OLMo 2, Phi-3 (Touvron et al. 2023)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import ClassVar

import flax.linen as nn

from ftjax.errors import UserError, check_name
from ftjax.models.decoders.text_decoder import Decoder
from ftjax.models.decoders.text_decoder_stages import DecoderEmbed
from ftjax.models.layers.mlp import GatedMlp
from ftjax.models.layers.rms_norm import rms_norm
from ftjax.models.layers.rotary import check_scaling
from ftjax.models.layers.rotary_attention import RotaryAttention
from ftjax.models.stages import Mode


class Llama(Decoder):
    """Stages `embed, block_00 .., norm[, head]`: RMSNorm, rotary positions, gated perceptron.

    Queries share keys and values in groups (Ainslie et al. 2023). Input, pooling and heads are
    Decoder's.

    >>> Llama(depth=1, width=32, heads=4, kv_heads=2, num_classes=3).stages
    ('embed', 'block_00', 'norm', 'head')
    """

    norms: ClassVar[str] = 'pre'
    """Where a block has norms: before each of its two branches, 'post' (after) or 'both'."""
    norms_from_one: ClassVar[bool] = False
    """Whether norms multiply by 1 + scale."""
    qk_norm_whole: ClassVar[bool] = False
    """Whether the norm on queries and keys is over all heads at once."""
    embed_scale: ClassVar[float] = 1.0
    query_scale: ClassVar[float | None] = None
    """Scores are divided by its root; None for the channels of a head."""
    attention_cap: ClassVar[float | None] = None
    """Scores stay below it; None for no bound."""
    rotary_part: ClassVar[float] = 1.0
    """The share of each head's channels, the first, that positions turn."""
    dropout: ClassVar[float] = 0.0
    """On what each branch of a block adds."""
    vocab_size: int = 32000
    max_positions: int = 2048
    """How long a text it was trained on; nothing stops at it."""
    kv_heads: int | None = None
    """Heads of keys and values; None for as many as there are queries."""
    head_dim: int | None = None
    """None for width / heads."""
    mlp_dim: int | None = None
    """None for the multiple of 256 from 8/3 of the width on."""
    act: str = 'silu'
    tied: bool = False
    epsilon: float = 1e-6
    rope_theta: float = 10000.0
    rope_scaling: tuple[str | float, ...] | None = None
    """As `rotary.frequencies` takes it."""
    qkv_bias: bool = False
    out_bias: bool = False
    mlp_bias: bool = False
    qk_norm: bool = False
    """RMSNorm on each query and key head."""
    window: int | None = None
    """How many tokens a token sees, itself included; None for all before it. Without `causal`,
    how far it sees on either side."""
    window_from: int = 0
    """The first block that has the window."""
    attention_dropout: float = 0.0
    """Of the attention weights."""
    model_type: str = 'llama'
    """What transformers calls it; here only the fields above count."""

    def __post_init__(self):
        super().__post_init__()
        if self.head_dim is None and self.width % self.heads:
            raise UserError(f'llama: width {self.width} is not a multiple of heads {self.heads}')
        if self.heads % (self.kv_heads or self.heads):
            raise UserError(
                f'llama: heads {self.heads} is not a multiple of kv_heads {self.kv_heads}'
            )
        check_name(self.norms, ('pre', 'post', 'both'), 'llama norms')
        if self.rotary_dim % 2 or not self.rotary_dim:
            raise UserError(f'llama: rotary positions need even heads, not {self.rotary_dim}')
        check_scaling(self.rope_scaling, self.rotary_dim)

    @property
    def depth_of_head(self) -> int:
        """Channels of a head."""
        return self.head_dim or self.width // self.heads

    @property
    def rotary_dim(self) -> int:
        """Channels of a head that positions turn."""
        return int(self.depth_of_head * self.rotary_part)

    @property
    def mlp_width(self) -> int:
        """Channels within the perceptron."""
        return self.mlp_dim or 256 * -(-self.width * 8 // (3 * 256))

    def window_of(self, index: int) -> int | None:
        """The window of one block."""
        return self.window if index >= self.window_from else None

    def theta_of(self, index: int) -> float:
        """The base of one block's rotary positions."""
        del index  # all alike
        return self.rope_theta

    def scaling_of(self, index: int) -> tuple[str | float, ...] | None:
        """The scaling of one block's rotary positions."""
        del index  # all alike
        return self.rope_scaling

    def make_embed(self):
        return partial(
            DecoderEmbed,
            vocab_size=self.vocab_size,
            width=self.width,
            max_positions=None,
            dropout=0.0,
            dtype=self.dtype,
            scale=self.embed_scale,
        )

    def make_block(self, index: int):
        attention = partial(
            RotaryAttention,
            heads=self.heads,
            kv_heads=self.kv_heads or self.heads,
            head_dim=self.depth_of_head,
            rotary_dim=self.rotary_dim,
            causal=self.causal,
            rope_theta=self.theta_of(index),
            rope_scaling=self.scaling_of(index),
            qkv_bias=self.qkv_bias,
            out_bias=self.out_bias,
            make_norm=self.make_norm() if self.qk_norm else None,
            norm_whole=self.qk_norm_whole,
            query_scale=self.query_scale,
            cap=self.attention_cap,
            window=self.window_of(index),
            weight_dropout=self.attention_dropout,
            dtype=self.dtype,
        )
        mlp = partial(GatedMlp, self.mlp_width, self.act, self.mlp_bias, self.dtype)
        return partial(Block, attention, mlp, self.make_norm(), self.norms, self.dropout)

    def make_norm(self):
        return partial(
            rms_norm, epsilon=self.epsilon, dtype=self.dtype, from_one=self.norms_from_one
        )


class OLMo2(Llama):
    """Stages `embed, block_00 .., norm[, head]`; norms after each branch (OLMo et al. 2025).

    >>> OLMo2(depth=1, width=32, heads=4).stages
    ('embed', 'block_00', 'norm')
    """

    norms: ClassVar[str] = 'post'
    qk_norm_whole: ClassVar[bool] = True
    vocab_size: int = 50304
    epsilon: float = 1e-5
    qk_norm: bool = True
    model_type: str = 'olmo2'


class Phi3(Llama):
    """Stages `embed, block_00 .., norm[, head]`; Llama's form (Abdin et al. 2024; Phi-4 too).

    >>> Phi3(depth=1, width=32, heads=4, num_classes=2).stages
    ('embed', 'block_00', 'norm', 'head')
    """

    vocab_size: int = 32064
    epsilon: float = 1e-5
    rotary_part: float = 1.0  # pyrefly: ignore
    dropout: float = 0.0  # pyrefly: ignore
    model_type: str = 'phi3'


class Block(nn.Module):
    """Attention, then a perceptron: {'hidden' (batch, time, width), 'mask'} in and out."""

    make_attention: Callable[..., nn.Module]
    make_mlp: Callable[..., nn.Module]
    make_norm: Callable[..., nn.Module]
    norms: str
    dropout: float

    @nn.compact
    def __call__(self, state, mode: Mode):
        x = state['hidden']
        for index, branch in enumerate((self.attention, self.mlp), start=1):
            y = x if self.norms == 'post' else self.make_norm(name=f'norm{index}')(x)
            y = branch(y, state, mode)
            y = y if self.norms == 'pre' else self.make_norm(name=f'post_norm{index}')(y)
            x = x + nn.Dropout(self.dropout)(y, deterministic=mode.deterministic)
        return {**state, 'hidden': x}

    def attention(self, x, state, mode):
        return self.make_attention(name='attn')(x, state['mask'], mode, state.get('place'))

    def mlp(self, x, state, mode):
        del state
        return self.make_mlp(name='mlp')(x, mode)
