"""BEiT (Bao et al. 2022): a ViT with learned scores for the offsets between patches."""

from __future__ import annotations

import functools
from collections.abc import Callable
from functools import partial
from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from ftjax.models.layers.mlp import layer_norm
from ftjax.models.layers.score_table import ScoreTable
from ftjax.models.shared_leaves import shared_leaf
from ftjax.models.stages import Mode
from ftjax.models.vision.vit import Block, Embed, ViT

TABLE = ('embed', 'attn_bias', 'table')


class BEiT(ViT):
    """Stages `embed, block_00 .., norm, head`.

    `pool` 'mean' is the mean of the patches, normalised after it was taken; 'cls' the normalised
    class token. Scores for offsets are in each block, or shared by all (then they are a leaf of
    `embed`), or both. Keys have no bias.

    >>> BEiT(depth=1, width=32, heads=2, num_classes=10).stages
    ('embed', 'block_00', 'norm', 'head')
    """

    answers_positions: ClassVar[bool] = False
    pool: str = 'mean'
    layer_scale: float | None = 0.1
    epsilon: float = 1e-12
    absolute_positions: bool = False
    relative_bias: bool = True
    """Whether each block has scores for offsets."""
    shared_bias: bool = False
    """Whether there are scores for offsets that all blocks share."""

    @property
    def prefix_tokens(self) -> tuple[str, ...]:
        return ('cls_token',)

    @property
    def grid(self) -> tuple[int, int] | None:  # pyrefly: ignore
        return self.patch_grid if self.absolute_positions else None

    @property
    def offset_grid(self) -> tuple[int, int] | None:
        return self.patch_grid if self.relative_bias or self.shared_bias else None

    @property
    def ties(self) -> dict[str, str]:
        return dict.fromkeys(self.blocks, '/'.join(TABLE)) if self.shared_bias else {}

    def make_stage(self, name: str) -> Callable[..., nn.Module]:
        stage = super().make_stage(name)
        if name == 'head':
            return stage
        if name == 'norm':
            return partial(PoolNorm, self.pool, self.epsilon, self.dtype)
        assert isinstance(stage, partial)  # of Embed or Block
        if name == 'embed':
            fields = {**stage.keywords, 'positions': self.absolute_positions}
            grid = self.patch_grid if self.shared_bias else None
            return partial(SharingEmbed, **fields, bias_grid=grid, bias_heads=self.heads)
        fields = {**stage.keywords, 'qkv_bias': (self.qkv_bias, False, self.qkv_bias)}
        return partial(
            OffsetBlock,
            **fields,
            grid=self.patch_grid,
            own=self.relative_bias,
            shared=self.shared_bias,
        )


class SharingEmbed(Embed):
    """Embeddings that hold the table of scores which all blocks share."""

    bias_grid: tuple[int, int] | None = None
    """Patches down and across; None for no such table."""
    bias_heads: int = 1

    @nn.compact
    def __call__(self, images, mode: Mode):
        if self.bias_grid is not None:
            ScoreTable(rows_of(self.bias_grid), self.bias_heads, name='attn_bias')()
        return super().__call__(images, mode)


def rows_of(grid: tuple[int, int]) -> int:
    """Rows of a table of offsets between patches, and with the class token."""
    down, across = grid
    return (2 * down - 1) * (2 * across - 1) + 3


def offsets(grid: tuple[int, int]) -> np.ndarray:
    """(tokens, tokens) int: the row of the table for each pair, the class token first.

    The last three rows are from the class token to patches, from patches to it, and to itself.
    """
    down, across = grid
    places = np.stack(np.divmod(np.arange(down * across), across))
    rows, columns = places[:, :, None] - places[:, None, :]
    between = (rows + down - 1) * (2 * across - 1) + columns + across - 1
    last = (2 * down - 1) * (2 * across - 1)
    found = np.full((1 + len(between),) * 2, last)
    found[1:, 1:], found[1:, 0], found[0, 0] = between, last + 1, last + 2
    return found


def scores(table: jax.Array, grid: tuple[int, int], tokens: int) -> jax.Array:
    """(1, heads, tokens, tokens): the table's scores of all pairs.

    Prompts of an adapter follow the class token; they have no offset, and scores of 0.
    """
    rows = offsets(grid)
    places = np.r_[0, 1 + tokens - len(rows) : tokens]
    found = table[rows].transpose(2, 0, 1)
    if len(places) < tokens:
        whole = jnp.zeros((found.shape[0], tokens, tokens), found.dtype)
        found = whole.at[:, places[:, None], places].set(found)
    return found[None]


class OffsetBlock(Block):
    """A block with scores for offsets, its own, those shared by all, or both."""

    grid: tuple[int, int]
    own: bool
    shared: bool

    def attention(self, x, mode):
        tables = []
        if self.own:
            tables.append(ScoreTable(rows_of(self.grid), self.heads, name='attn_bias')())
        if self.shared:
            tables.append(shared_leaf(self, *TABLE))
        bias = None
        if tables:
            bias = scores(functools.reduce(jnp.add, tables), self.grid, x.shape[1])
        return self.self_attention()(x, mode, bias=bias)


class PoolNorm(nn.Module):
    """Pooling, then the norm: (batch, tokens, width) -> (batch, width)."""

    pool: str
    epsilon: float
    dtype: str

    @nn.compact
    def __call__(self, state, mode: Mode):
        x = state['hidden']
        x = x[:, 0] if self.pool == 'cls' else x[:, 1:].mean(axis=1)
        return {'hidden': layer_norm('norm', self.epsilon, self.dtype)(x)}
