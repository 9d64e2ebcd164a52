"""DINOv2 (Oquab et al. 2024), with registers (Darcet et al. 2024): a ViT with LayerScale."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike

from ftjax.models.layers.mlp import GatedMlp, layer_norm
from ftjax.models.stages import Mode
from ftjax.models.vision.vit import Block, ViT


class DINOv2(ViT):
    """Stages `embed, block_00 .., norm, head`.

    `pool` is 'cls_mean' (class token and mean of the patches, side by side: what reaches the
    head is (batch, 2 width)) or 'cls'. Registers follow the class token. All blocks have the same
    rate of stochastic depth, as in transformers.

    >>> DINOv2(depth=1, width=32, heads=2, patch_size=14, num_classes=10).stages
    ('embed', 'block_00', 'norm', 'head')
    """

    patch_size: int | tuple[int, int] = 14
    pool: str = 'cls_mean'
    layer_scale: float | None = 1.0
    registers: int = 0
    gated: bool = False
    """SwiGLU in place of the perceptron, as in the giant: `mlp_dim` is then its inner width."""

    @property
    def pools(self) -> tuple[str, ...]:
        return ('cls', 'cls_mean')

    @property
    def prefix_tokens(self) -> tuple[str, ...]:
        return ('cls_token',)

    def make_stage(self, name: str) -> Callable[..., nn.Module]:
        stage = super().make_stage(name)
        if name == 'embed':
            return partial(stage, registers=self.registers)
        if name == 'norm' and self.pool == 'cls_mean' and not self.is_dense:
            return partial(NormClassAndMean, 1 + self.registers, self.epsilon, self.dtype)
        if not name.startswith('block'):
            return stage
        assert isinstance(stage, partial)  # of Block: the fields are the same
        return partial(
            GatedBlock if self.gated else Block, **{**stage.keywords, 'drop_path': self.drop_path}
        )


class GatedBlock(Block):
    """A block whose perceptron is SwiGLU."""

    def mlp(self, x, mode):
        return GatedMlp(self.mlp_dim, dtype=self.dtype, name='mlp')(x, mode)


class NormClassAndMean(nn.Module):
    """Final norm: (batch, tokens, width) -> class token and patch mean, (batch, 2 width)."""

    prefix: int
    epsilon: float
    dtype: DTypeLike

    @nn.compact
    def __call__(self, state, mode: Mode):
        x = layer_norm('norm', self.epsilon, self.dtype)(state['hidden'])
        return {'hidden': jnp.concatenate([x[:, 0], x[:, self.prefix :].mean(axis=1)], axis=-1)}
