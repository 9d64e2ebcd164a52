"""The vision tower of SigLIP (Zhai et al. 2023)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import ClassVar

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike

from ftjax.models.layers.attention import attend
from ftjax.models.layers.mlp import Mlp, layer_norm
from ftjax.models.stages import Mode
from ftjax.models.vision.vit import ViT


class SigLIPVision(ViT):
    """Stages `embed, block_00 .., norm[, pooler][, head]`; there is no class token.

    `pool` 'map' adds the stage `pooler`: a learned probe that attends to all patches (Zhai et
    al. 2022), SigLIP's own feature. `pool` 'mean' is what image classifiers on SigLIP use in
    transformers.

    >>> SigLIPVision(depth=1, width=32, heads=2, num_classes=0).stages
    ('embed', 'block_00', 'norm', 'pooler')
    """

    answers_positions: ClassVar[bool] = False
    pool: str = 'map'
    act: str = 'gelu_tanh'

    @property
    def pools(self) -> tuple[str, ...]:
        return ('map', 'mean')

    @property
    def prefix_tokens(self) -> tuple[str, ...]:
        return ()

    @property
    def stages(self) -> tuple[str, ...]:
        stages = super().stages
        if self.pool == 'mean':
            return stages
        after = stages.index('norm') + 1
        return (*stages[:after], 'pooler', *stages[after:])

    def make_stage(self, name: str) -> Callable[..., nn.Module]:
        if name == 'norm' and self.pool == 'map':
            return partial(NormTokens, self.epsilon, self.dtype)
        if name == 'pooler':
            mlp_dim = self.mlp_dim or 4 * self.width
            return partial(AttentionPool, self.heads, mlp_dim, self.act, self.epsilon, self.dtype)
        return super().make_stage(name)


class NormTokens(nn.Module):
    """Final norm of every token: (batch, tokens, width) in and out."""

    epsilon: float
    dtype: DTypeLike

    @nn.compact
    def __call__(self, state, mode: Mode):
        return {'hidden': layer_norm('norm', self.epsilon, self.dtype)(state['hidden'])}


class AttentionPool(nn.Module):
    """A learned probe attends to the tokens: (batch, tokens, width) -> (batch, width)."""

    heads: int
    mlp_dim: int
    act: str
    epsilon: float
    dtype: DTypeLike

    @nn.compact
    def __call__(self, state, mode: Mode):
        tokens = state['hidden']
        batch, _, width = tokens.shape
        probe = self.param('probe', nn.initializers.normal(0.02), (1, 1, width))
        probe = jnp.broadcast_to(probe.astype(tokens.dtype), (batch, 1, width))
        x = CrossAttention(self.heads, self.dtype, name='attn')(probe, tokens)
        y = layer_norm('norm', self.epsilon, self.dtype)(x)
        x = x + Mlp(self.mlp_dim, self.act, dtype=self.dtype, name='mlp')(y, mode)
        return {'hidden': x[:, 0]}


class CrossAttention(nn.Module):
    """Queries (batch, q, width) attend to tokens (batch, t, width) -> (batch, q, width)."""

    heads: int
    dtype: DTypeLike

    @nn.compact
    def __call__(self, queries, tokens):
        width = tokens.shape[-1]

        def project(name, x):
            dense = nn.Dense(width, dtype=self.dtype, name=name)
            return dense(x).reshape(*x.shape[:2], self.heads, width // self.heads)

        key, value = project('key', tokens), project('value', tokens)
        out = attend(project('query', queries), key, value).reshape(queries.shape)
        return nn.Dense(width, dtype=self.dtype, name='out')(out)
