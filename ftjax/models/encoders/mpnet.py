"""MPNet (Song et al. 2020): BERT's form with scores for distances, shared by all blocks."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import flax.linen as nn
import numpy as np

from ftjax.models.encoders.bert import RoBERTa
from ftjax.models.encoders.text_encoder import PostNormBlock, TokenEmbed
from ftjax.models.layers.score_table import ScoreTable
from ftjax.models.shared_leaves import shared_leaf
from ftjax.models.stages import Mode

TABLE = ('embed', 'attn_bias', 'table')
BUCKETS, FARTHEST = 32, 128


class MPNet(RoBERTa):
    """Stages `embed, block_00 .., pool, head`; the head has a hidden layer.

    >>> MPNet(depth=1, width=32, heads=2).stages
    ('embed', 'block_00', 'pool', 'head')
    """

    vocab_size: int = 30527
    max_positions: int = 514
    token_types: int = 0
    epsilon: float = 1e-12

    @property
    def ties(self) -> dict[str, str]:
        return {**super().ties, **dict.fromkeys(self.blocks, '/'.join(TABLE))}

    def make_stage(self, name: str) -> Callable[..., nn.Module]:
        stage = super().make_stage(name)
        if name == 'embed':
            assert isinstance(stage, partial)  # of TokenEmbed
            return partial(ScoringEmbed, **stage.keywords, heads=self.heads)
        if name.startswith('block'):
            assert isinstance(stage, partial)  # of PostNormBlock
            return partial(DistanceBlock, **stage.keywords)
        return stage


class ScoringEmbed(TokenEmbed):
    """Embeddings that hold the table of scores."""

    heads: int

    @nn.compact
    def __call__(self, inputs, mode: Mode):
        ScoreTable(BUCKETS, self.heads, name='attn_bias')()
        return super().__call__(inputs, mode)


class DistanceBlock(PostNormBlock):
    """A block that adds the scores of distances."""

    def attention_bias(self, state):
        rows = distance_buckets(state['hidden'].shape[1])
        return shared_leaf(self, *TABLE)[rows].transpose(2, 0, 1)[None]


def distance_buckets(time: int) -> np.ndarray:
    """(time, time) int: near distances one by one, far ones in steps that grow (T5's).

    Half of the buckets are for tokens after the one that looks.
    """
    half = BUCKETS // 2
    near = half // 2
    back = np.arange(time)[:, None] - np.arange(time)[None]
    far = np.abs(back).astype(np.float32)
    steps = np.log(np.maximum(far, 1) / near) / np.float32(math.log(FARTHEST / near))
    grown = np.minimum(near + (steps * (half - near)).astype(int), half - 1)
    return np.where(np.abs(back) < near, np.abs(back), grown) + half * (back < 0)
