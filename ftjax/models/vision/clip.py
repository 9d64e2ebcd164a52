"""The vision tower of CLIP (Radford et al. 2021)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import ClassVar

import flax.linen as nn

from ftjax.models.stages import Mode
from ftjax.models.vision.vit import ViT


class CLIPVision(ViT):
    """Stages `embed, block_00 .., norm[, pooler][, head]`; a norm follows the positions.

    `pool` 'cls' is the normalised class token, CLIP's own feature; `projection` adds the stage
    `pooler`, the linear map into the space shared with text. `pool` 'mean' is what image
    classifiers on CLIP use in transformers: the mean of the patches, not normalised (the stage
    is called `pool` then, and has no parameters).

    >>> CLIPVision(depth=1, width=32, heads=2, num_classes=0, projection=16).stages
    ('embed', 'block_00', 'norm', 'pooler')
    """

    answers_positions: ClassVar[bool] = False
    act: str = 'quick_gelu'
    epsilon: float = 1e-5
    projection: int = 0
    """Width of the space shared with text; 0 for no projection."""

    @property
    def prefix_tokens(self) -> tuple[str, ...]:
        return ('cls_token',)

    @property
    def stages(self) -> tuple[str, ...]:
        blocks = tuple(f'block_{i:02d}' for i in range(self.depth))
        last = ('norm',) if self.pool == 'cls' else ('pool',)
        last += ('pooler',) if self.projection else ()
        return ('embed', *blocks, *last, *(('head',) if self.num_classes else ()))

    def make_stage(self, name: str) -> Callable[..., nn.Module]:
        if name == 'pool':
            return PatchMean
        if name == 'pooler':
            return partial(Projection, self.projection, self.dtype)
        stage = super().make_stage(name)
        if name == 'embed':
            return partial(stage, patch_bias=False, norm_epsilon=self.epsilon)
        return stage


class PatchMean(nn.Module):
    """The mean of the patches: (batch, 1 + patches, width) -> (batch, width)."""

    @nn.compact
    def __call__(self, state, mode: Mode):
        return {'hidden': state['hidden'][:, 1:].mean(axis=1)}


class Projection(nn.Module):
    """A linear map without bias: (batch, width) -> (batch, features)."""

    features: int
    dtype: str

    @nn.compact
    def __call__(self, state, mode: Mode):
        dense = nn.Dense(self.features, use_bias=False, dtype=self.dtype, name='dense')
        return {'hidden': dense(state['hidden'])}
