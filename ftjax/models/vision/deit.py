"""DeiT: a ViT with a second token that was trained on a teacher's labels (Touvron et al. 2021)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike

from ftjax.models.layers.mlp import layer_norm
from ftjax.models.stages import Mode
from ftjax.models.vision.vit import ViT


class DeiT(ViT):
    """Stages `embed, block_00 .., norm, head`; the distillation token follows the class token.

    With `distilled_head` the logits are the mean of two classifiers, one on each token; without
    it, as when a DeiT is fine-tuned on labels alone, one on the class token.

    >>> DeiT(depth=1, width=32, heads=2, num_classes=10).stages
    ('embed', 'block_00', 'norm', 'head')
    """

    distilled_head: bool = True
    """Whether there are two classifiers (or, without classes, whether both tokens are kept)."""

    @property
    def pools(self) -> tuple[str, ...]:
        return ('cls',)

    @property
    def prefix_tokens(self) -> tuple[str, ...]:
        return ('cls_token', 'dist_token')

    def make_stage(self, name: str) -> Callable[..., nn.Module]:
        if self.is_dense:
            return super().make_stage(name)
        if self.distilled_head and name == 'norm':
            return partial(NormBoth, self.epsilon, self.dtype)
        if self.distilled_head and name == 'head':
            return partial(MeanOfHeads, self.num_classes)
        return super().make_stage(name)


class NormBoth(nn.Module):
    """Final norm of both tokens: (batch, tokens, width) -> `hidden`, `distilled` (batch, width)."""

    epsilon: float
    dtype: DTypeLike

    @nn.compact
    def __call__(self, state, mode: Mode):
        x = layer_norm('norm', self.epsilon, self.dtype)(state['hidden'][:, :2])
        return {'hidden': x[:, 0], 'distilled': x[:, 1]}


class MeanOfHeads(nn.Module):
    """The mean of the logits from both tokens: (batch, num_classes), float32."""

    num_classes: int

    @nn.compact
    def __call__(self, state, mode: Mode):
        def classify(name, token):
            init = nn.initializers.normal(0.01)
            dense = nn.Dense(self.num_classes, kernel_init=init, name=name)
            return dense(state[token].astype(jnp.float32))

        return (classify('dense', 'hidden') + classify('distilled', 'distilled')) / 2
