"""Causal attention with rotary positions, whose heads share keys and values in groups."""

from __future__ import annotations

from collections.abc import Callable

import flax.linen as nn
from jax.typing import DTypeLike

from ftjax.models.decoders.text_decoder_stages import positions
from ftjax.models.layers.attention import attend, weight_dropout
from ftjax.models.layers.key_value_cache import attend_cached, from_place
from ftjax.models.layers.rotary import attention_factor, frequencies, rotate
from ftjax.models.stages import Mode


class RotaryAttention(nn.Module):
    """Attention with rotary positions, heads grouped: (batch, time, width) in and out."""

    heads: int
    kv_heads: int
    head_dim: int
    rotary_dim: int
    """The first channels of each head, which are turned."""
    causal: bool
    rope_theta: float
    rope_scaling: tuple[str | float, ...] | None
    qkv_bias: bool
    out_bias: bool
    make_norm: Callable[..., nn.Module] | None
    """Of queries and keys; None for no norm."""
    norm_whole: bool
    """Whether that norm is over all heads at once."""
    query_scale: float | None
    """Scores are divided by its root; None for `head_dim`."""
    cap: float | None
    """Scores stay below it; None for no bound."""
    window: int | None
    weight_dropout: float
    """Of the attention weights."""
    dtype: DTypeLike

    @nn.compact
    def __call__(self, x, mask, mode: Mode, place=None):
        """`place` of tokens whose keys and values are kept: see `attend_cached`."""
        batch, time, width = x.shape
        steps = positions(mask) if place is None else from_place(positions(mask), place, time)
        scaling = self.rope_scaling
        angle = frequencies(self.rotary_dim, self.rope_theta, scaling, mask.shape[1])

        def project(name, heads):
            size = heads * self.head_dim
            y = nn.Dense(size, use_bias=self.qkv_bias, dtype=self.dtype, name=name)(x)
            if self.norm_whole and name != 'value':
                y = self.normed(name, y)
            return y.reshape(batch, time, heads, self.head_dim)

        def turned(name, heads):
            y = project(name, heads)
            y = y if self.norm_whole else self.normed(name, y)
            return rotate(y, steps, angle, attention_factor(scaling))

        query, key = turned('query', self.heads), turned('key', self.kv_heads)
        if self.query_scale is not None:
            query = query * (self.head_dim / self.query_scale) ** 0.5
        value = project('value', self.kv_heads)
        seen = {'valid': mask, 'window': self.window, 'cap': self.cap}
        if place is not None:
            out = attend_cached(self, query, key, value, place=place, **seen)
        else:
            drop = weight_dropout(self.weight_dropout, mode)
            out = attend(query, key, value, causal=self.causal, drop=drop, **seen)
        out = out.reshape(batch, time, self.heads * self.head_dim)
        return nn.Dense(width, use_bias=self.out_bias, dtype=self.dtype, name='out')(out)

    def normed(self, name, y):
        return y if self.make_norm is None else self.make_norm(name=f'{name}_norm')(y)
