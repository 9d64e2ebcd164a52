"""A residual perceptron for rows of tables: stages `embed, block_00 .., head`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import flax.linen as nn
import jax.numpy as jnp

from ftjax.models.layers.heads import Head
from ftjax.models.layers.mlp import Mlp
from ftjax.models.stages import Mode, Network


class MLP(Network):
    """Blocks x + fc2(relu(fc1(LayerNorm(x)))) between a linear embedding and a linear head.

    Source: the ResNet of Gorishniy et al. 2021, arXiv:2106.11959, section 3.2, with LayerNorm in
    place of BatchNorm, so that an example does not depend on its batch.

    Inputs are `features` float32 (batch, features) and, where there are categories with codes,
    `codes` int32 (batch, categories). With `reconstruct`, and no classes, the head answers with the
    features.
    """

    features: int = 1
    codes: tuple[int, ...] = ()
    """Codes of each category that has an embedding of its own."""
    code_width: int = 8
    """Of these embeddings."""
    width: int = 64
    depth: int = 3
    mlp_ratio: float = 2.0
    dropout: float = 0.0
    num_classes: int = 2
    reconstruct: bool = False
    target_mean: float = 0.0
    target_scale: float = 1.0
    """Of the values that a regression learns: the head answers with mean + scale x what it
    computes, so that its weights are those of standardised values."""
    dtype: str = 'float32'

    @property
    def takes(self) -> str:
        return 'table'

    @property
    def table_codes(self) -> tuple[int, ...]:
        return tuple(self.codes)

    @property
    def noiseless(self) -> bool:
        return self.dropout == 0

    @property
    def is_reconstruction(self) -> bool:
        return self.reconstruct and not self.num_classes

    @property
    def stages(self) -> tuple[str, ...]:
        head = ('head',) if self.num_classes or self.reconstruct else ()
        return ('embed', *(f'block_{n:02d}' for n in range(self.depth)), *head)

    def make_stage(self, name: str) -> Callable[..., nn.Module]:
        if name == 'embed':
            return partial(Embed, self.width, tuple(self.codes), self.code_width, self.dtype)
        if name == 'head':
            outputs = self.features if self.is_reconstruction else self.num_classes
            if self.target_mean == 0 and self.target_scale == 1:
                return partial(Head, outputs)
            return partial(ScaledHead, outputs, self.target_mean, self.target_scale)
        return partial(Block, int(self.width * self.mlp_ratio), self.dropout, self.dtype)

    def example_input(self, batch_size: int = 1):
        inputs = {'features': jnp.zeros((batch_size, self.features), jnp.float32)}
        if self.codes:
            inputs['codes'] = jnp.zeros((batch_size, len(self.codes)), jnp.int32)
        return inputs


class Embed(nn.Module):
    """Features, and the embeddings of codes, to the width: a dict -> (batch, width)."""

    width: int
    codes: tuple[int, ...]
    code_width: int
    dtype: str

    @nn.compact
    def __call__(self, inputs, mode: Mode):
        parts = [inputs['features'].astype(self.dtype)]
        for number, count in enumerate(self.codes):
            table = nn.Embed(count, self.code_width, name=f'codes_{number}')
            parts.append(table(inputs['codes'][:, number]).astype(self.dtype))
        x = jnp.concatenate(parts, axis=-1)
        return {'hidden': nn.Dense(self.width, dtype=self.dtype, name='dense')(x)}


class Block(nn.Module):
    """LayerNorm, linear, relu, linear, and the shortcut."""

    hidden: int
    dropout: float
    dtype: str

    @nn.compact
    def __call__(self, state, mode: Mode):
        x = state['hidden']
        y = nn.LayerNorm(dtype=self.dtype, name='norm')(x)
        y = Mlp(self.hidden, 'relu', self.dropout, self.dtype, name='mlp')(y, mode)
        return {**state, 'hidden': x + y}


class ScaledHead(Head):
    """The head of a regression, in the unit of its values: mean + scale x the linear answer."""

    mean: float = 0.0
    scale: float = 1.0

    @nn.compact
    def __call__(self, state, mode: Mode):
        return self.mean + self.scale * super().__call__(state, mode)
