"""Llama and its relatives: Mistral, Qwen2, Qwen3 (Touvron et al. 2023; Jiang et al. 2023)."""

from __future__ import annotations

from functools import partial

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike

from ftjax.errors import UserError
from ftjax.models.layers.attention import attend
from ftjax.models.layers.mlp import GatedMlp
from ftjax.models.layers.rotary import check_scaling, frequencies, rotate
from ftjax.models.stages import Mode
from ftjax.models.text_decoder import Decoder
from ftjax.models.text_decoder_stages import DecoderEmbed, positions


class Llama(Decoder):
    """Stages `embed, block_00 .., norm[, head]`: RMSNorm, rotary positions, gated perceptron.

    Queries share keys and values in groups (Ainslie et al. 2023). Input, pooling and heads are
    Decoder's.

    >>> Llama(depth=1, width=32, heads=4, kv_heads=2, num_classes=3).stages
    ('embed', 'block_00', 'norm', 'head')
    """

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
        if self.depth_of_head % 2:
            raise UserError(f'llama: rotary positions need even heads, not {self.depth_of_head}')
        check_scaling(self.rope_scaling)

    @property
    def depth_of_head(self) -> int:
        """Channels of a head."""
        return self.head_dim or self.width // self.heads

    @property
    def mlp_width(self) -> int:
        """Channels within the perceptron."""
        return self.mlp_dim or 256 * -(-self.width * 8 // (3 * 256))

    def make_embed(self):
        return partial(
            DecoderEmbed,
            vocab_size=self.vocab_size,
            width=self.width,
            max_positions=None,
            dropout=0.0,
            dtype=self.dtype,
        )

    def make_block(self, index: int):
        return partial(
            Block,
            heads=self.heads,
            kv_heads=self.kv_heads or self.heads,
            head_dim=self.depth_of_head,
            causal=self.causal,
            mlp_dim=self.mlp_width,
            act=self.act,
            epsilon=self.epsilon,
            rope_theta=self.rope_theta,
            rope_scaling=self.rope_scaling,
            qkv_bias=self.qkv_bias,
            out_bias=self.out_bias,
            mlp_bias=self.mlp_bias,
            qk_norm=self.qk_norm,
            window=self.window if index >= self.window_from else None,
            dtype=self.dtype,
        )

    def make_norm(self):
        return partial(rms_norm, epsilon=self.epsilon, dtype=self.dtype)


def rms_norm(name: str, epsilon: float, dtype: DTypeLike = jnp.float32) -> nn.RMSNorm:
    """Division by the root of the mean square, and a scale (Zhang & Sennrich 2019)."""
    return nn.RMSNorm(epsilon=epsilon, dtype=dtype, name=name)


class Block(nn.Module):
    """A pre-norm block: {'hidden' (batch, time, width), 'mask'} in and out."""

    heads: int
    kv_heads: int
    head_dim: int
    causal: bool
    mlp_dim: int
    act: str
    epsilon: float
    rope_theta: float
    rope_scaling: tuple[str | float, ...] | None
    qkv_bias: bool
    out_bias: bool
    mlp_bias: bool
    qk_norm: bool
    window: int | None
    dtype: DTypeLike

    @nn.compact
    def __call__(self, state, mode: Mode):
        x = state['hidden']
        attn = RotaryAttention(
            heads=self.heads,
            kv_heads=self.kv_heads,
            head_dim=self.head_dim,
            causal=self.causal,
            rope_theta=self.rope_theta,
            rope_scaling=self.rope_scaling,
            qkv_bias=self.qkv_bias,
            out_bias=self.out_bias,
            norm_epsilon=self.epsilon if self.qk_norm else None,
            window=self.window,
            dtype=self.dtype,
            name='attn',
        )
        x = x + attn(rms_norm('norm1', self.epsilon, self.dtype)(x), state['mask'])
        mlp = GatedMlp(self.mlp_dim, self.act, self.mlp_bias, self.dtype, name='mlp')
        x = x + mlp(rms_norm('norm2', self.epsilon, self.dtype)(x), mode)
        return {**state, 'hidden': x}


class RotaryAttention(nn.Module):
    """Attention with rotary positions, heads grouped: (batch, time, width) in and out."""

    heads: int
    kv_heads: int
    head_dim: int
    causal: bool
    rope_theta: float
    rope_scaling: tuple[str | float, ...] | None
    qkv_bias: bool
    out_bias: bool
    norm_epsilon: float | None
    """Of a norm on each query and key head; None for none."""
    window: int | None
    dtype: DTypeLike

    @nn.compact
    def __call__(self, x, mask):
        batch, time, width = x.shape
        angle = frequencies(self.head_dim, self.rope_theta, self.rope_scaling)

        def project(name, heads):
            size = heads * self.head_dim
            dense = nn.Dense(size, use_bias=self.qkv_bias, dtype=self.dtype, name=name)
            return dense(x).reshape(batch, time, heads, self.head_dim)

        def turned(name, heads):
            y = project(name, heads)
            if self.norm_epsilon is not None:
                y = rms_norm(f'{name}_norm', self.norm_epsilon, self.dtype)(y)
            return rotate(y, positions(mask), angle)

        query, key = turned('query', self.heads), turned('key', self.kv_heads)
        value = project('value', self.kv_heads)
        out = attend(query, key, value, valid=mask, causal=self.causal, window=self.window)
        out = out.reshape(batch, time, self.heads * self.head_dim)
        return nn.Dense(width, use_bias=self.out_bias, dtype=self.dtype, name='out')(out)
