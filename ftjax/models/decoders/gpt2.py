"""GPT-2 (Radford et al. 2019)."""

from __future__ import annotations

from functools import partial

import flax.linen as nn
from jax.typing import DTypeLike

from ftjax.errors import UserError
from ftjax.models.decoders.text_decoder import Decoder
from ftjax.models.decoders.text_decoder_stages import DecoderEmbed
from ftjax.models.layers.attention import SelfAttention
from ftjax.models.layers.key_value_cache import attend_cached
from ftjax.models.layers.mlp import Mlp, layer_norm
from ftjax.models.stages import Mode


class GPT2(Decoder):
    """Stages `embed, block_00 .., norm[, head]`: pre-norm blocks, learned positions.

    Input, pooling and heads are Decoder's.

    >>> GPT2(depth=1, width=32, heads=2, num_classes=3).stages
    ('embed', 'block_00', 'norm', 'head')
    """

    mlp_dim: int | None = None
    """None for four times the width."""
    act: str = 'gelu_tanh'
    dropout: float = 0.1
    attention_dropout: float = 0.0
    """Of the attention weights."""

    def __post_init__(self):
        super().__post_init__()
        if self.width % self.heads:
            raise UserError(f'gpt2: width {self.width} is not a multiple of heads {self.heads}')

    def make_embed(self):
        return partial(
            DecoderEmbed,
            vocab_size=self.vocab_size,
            width=self.width,
            max_positions=self.max_positions,
            dropout=self.dropout,
            dtype=self.dtype,
        )

    def make_block(self, index: int):
        del index  # all alike
        return partial(
            Block,
            heads=self.heads,
            causal=self.causal,
            mlp_dim=self.mlp_dim or 4 * self.width,
            act=self.act,
            epsilon=self.epsilon,
            dropout=self.dropout,
            attention_dropout=self.attention_dropout,
            dtype=self.dtype,
        )

    def make_norm(self):
        return partial(layer_norm, epsilon=self.epsilon, dtype=self.dtype)


class Block(nn.Module):
    """A pre-norm block: {'hidden' (batch, time, width), 'mask'} in and out."""

    heads: int
    causal: bool
    mlp_dim: int
    act: str
    epsilon: float
    dropout: float
    attention_dropout: float
    dtype: DTypeLike

    @nn.compact
    def __call__(self, state, mode: Mode):
        x, mask = state['hidden'], state['mask']
        attn = SelfAttention(
            self.heads,
            causal=self.causal,
            dropout=self.dropout,
            weight_dropout=self.attention_dropout,
            dtype=self.dtype,
            name='attn',
        )
        keeps = partial(attend_cached, place=state['place']) if 'place' in state else None
        y = layer_norm('norm1', self.epsilon, self.dtype)(x)
        x = x + attn(y, mode, valid=mask, attended=keeps)
        mlp = Mlp(self.mlp_dim, self.act, self.dropout, self.dtype, name='mlp')
        x = x + mlp(layer_norm('norm2', self.epsilon, self.dtype)(x), mode)
        return {**state, 'hidden': x}
