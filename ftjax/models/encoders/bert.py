"""BERT and its relatives: text encoders that differ in embeddings, pooling and classifier."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import ClassVar

import flax.linen as nn
import jax.numpy as jnp

from ftjax.errors import UserError, check_name
from ftjax.models.decoders.text_decoder import TABLE
from ftjax.models.decoders.text_decoder_stages import TiedHead
from ftjax.models.encoders.text_encoder import (
    Pool,
    Pooler,
    PostNormBlock,
    TextHead,
    TokenEmbed,
    VectorHead,
)
from ftjax.models.stages import Network


class BERT(Network):
    """Stages `embed, block_00 .., pooler, head` (Devlin et al. 2019; MiniLM has the same form).

    Input {'input_ids', 'attention_mask', 'token_type_ids'}: int (batch, time), the last two
    optional. With `pool` 'cls' or 'mean' the stage after the blocks is `pool` and has no
    parameters; with 'none' there is no such stage: the output is one vector a token, or, with
    classes, logits of every token, (batch, time, num_classes) float32. Without classes, `head`
    'lm' follows the blocks: logits of every token, (batch, time, vocab_size) float32, for masked
    tokens; 'vector' follows the pool: vectors of length 1, (batch, width) float32.

    >>> BERT(depth=2, width=32, heads=2, num_classes=3).stages
    ('embed', 'block_00', 'block_01', 'pooler', 'head')
    """

    head_act: ClassVar[str | None] = None
    """Activation of the head's hidden layer; None for none."""
    head_drops_first: ClassVar[bool] = True
    """Whether there is dropout before the head's hidden layer."""
    vocab_size: int = 30522
    width: int = 768
    depth: int = 12
    heads: int = 12
    mlp_dim: int = 3072
    max_positions: int = 512
    token_types: int = 2
    num_classes: int = 2
    pool: str = 'pooler'
    """'pooler' (dense and tanh on the first token), 'cls' (the first token), 'mean' (over real
    tokens) or 'none'."""
    act: str = 'gelu'
    epsilon: float = 1e-12
    dropout: float = 0.1
    attention_dropout: float = 0.0
    """Of the attention weights."""
    head_dropout: float = 0.1
    embedding_size: int | None = None
    """Of the embedding tables, where a dense layer widens them to the blocks' width."""
    pad_id: int | None = None
    """Positions count the tokens that are not this one, from `pad_id` + 1, so that the first
    rows of the table serve no token; None counts all from 0."""
    dtype: str = 'float32'
    head: str = 'none'
    """What follows where there are no classes: 'none', 'vector', or 'lm', products with the table
    of words. BERT's own has a layer more before them, which goes when the classes come."""
    vector_dim: int = 0
    """Numbers of the vectors of head 'vector', by a linear layer; 0 for `width`, without one."""

    def __post_init__(self):
        super().__post_init__()
        name = type(self).__name__
        check_name(self.head, ('none', 'lm', 'vector'), f'{name} head')
        if self.is_lm and self.projects:
            raise UserError(f"{name}: head 'lm' needs embeddings as wide as the blocks")
        if self.width % self.heads:
            raise UserError(f'{name}: width {self.width} is not a multiple of heads {self.heads}')
        if self.pad_id is not None and not 0 <= self.pad_id < self.max_positions - 1:
            raise UserError(
                f'{name}: pad_id {self.pad_id} leaves no positions of {self.max_positions}'
            )
        check_name(self.pool, ('pooler', 'cls', 'mean', 'none'), f'{name} pool')
        if self.head_kind == 'vector' and self.pool == 'none':
            raise UserError(f"{name}: head 'vector' needs pool 'pooler', 'cls' or 'mean'")

    @property
    def is_lm(self) -> bool:
        return self.head == 'lm' and not self.num_classes

    @property
    def takes_tags(self) -> bool:
        return True

    @property
    def head_kind(self) -> str:
        if self.num_classes:
            return 'tags' if self.pool == 'none' else ''
        return '' if self.head == 'none' else self.head

    @property
    def projects(self) -> bool:
        """Whether a dense layer follows the embeddings."""
        return self.embedding_size not in (None, self.width)

    @property
    def longest_text(self) -> int:
        return self.max_positions - (0 if self.pad_id is None else self.pad_id + 1)

    @property
    def ties(self) -> dict[str, str]:
        return {'head': '/'.join(TABLE)} if self.is_lm else {}

    @property
    def stages(self) -> tuple[str, ...]:
        blocks = tuple(f'block_{i:02d}' for i in range(self.depth))
        if self.is_lm:
            return ('embed', *blocks, 'head')
        pools = {'pooler': ('pooler',), 'none': ()}.get(self.pool, ('pool',))
        has_head = self.num_classes or self.head_kind == 'vector'
        return ('embed', *blocks, *pools, *(('head',) if has_head else ()))

    def make_stage(self, name: str) -> Callable[..., nn.Module]:
        if name == 'embed':
            return partial(
                TokenEmbed,
                vocab_size=self.vocab_size,
                width=self.width,
                max_positions=self.max_positions,
                token_types=self.token_types,
                pad_id=self.pad_id,
                embedding_size=self.embedding_size,
                epsilon=self.epsilon,
                dropout=self.dropout,
                dtype=self.dtype,
                project=self.projects,
            )
        if name == 'pool':
            return partial(Pool, self.pool)
        if name == 'pooler':
            return partial(Pooler, self.dtype)
        if name == 'head' and self.is_lm:
            return partial(TiedHead, TABLE)
        if name == 'head' and self.head_kind == 'vector':
            return partial(VectorHead, self.vector_dim)
        if name == 'head':
            return partial(
                TextHead,
                num_classes=self.num_classes,
                # As of transformers, whose heads for tokens have no hidden layer.
                hidden_act=None if self.head_kind == 'tags' else self.head_act,
                dropout=self.head_dropout,
                first_dropout=self.head_drops_first,
            )
        return partial(
            PostNormBlock,
            heads=self.heads,
            mlp_dim=self.mlp_dim,
            act=self.act,
            epsilon=self.epsilon,
            dropout=self.dropout,
            attention_dropout=self.attention_dropout,
            dtype=self.dtype,
        )

    def example_input(self, batch_size: int = 1):
        places = self.max_positions - (0 if self.pad_id is None else self.pad_id + 1)
        tokens = jnp.zeros((batch_size, min(8, places)), jnp.int32)
        example = {'input_ids': tokens, 'attention_mask': jnp.ones_like(tokens)}
        return {**example, **({'token_type_ids': tokens} if self.token_types else {})}


class RoBERTa(BERT):
    """Stages `embed, block_00 .., pool, head`; the head has a hidden layer (Liu et al. 2019).

    >>> RoBERTa(depth=1, width=32, heads=2).stages
    ('embed', 'block_00', 'pool', 'head')
    """

    head_act: ClassVar[str | None] = 'tanh'
    vocab_size: int = 50265
    max_positions: int = 514
    token_types: int = 1
    pool: str = 'cls'
    epsilon: float = 1e-5
    pad_id: int | None = 1


class ELECTRA(BERT):
    """Stages `embed, block_00 .., pool, head`; narrow embedding tables (Clark et al. 2020).

    >>> ELECTRA(depth=1).stages
    ('embed', 'block_00', 'pool', 'head')
    """

    head_act: ClassVar[str | None] = 'gelu'
    width: int = 256
    heads: int = 4
    mlp_dim: int = 1024
    pool: str = 'cls'
    embedding_size: int | None = 128


class DistilBERT(BERT):
    """Stages `embed, block_00 .., pool, head`; no token types (Sanh et al. 2019).

    >>> DistilBERT(depth=1).stages
    ('embed', 'block_00', 'pool', 'head')
    """

    head_act: ClassVar[str | None] = 'relu'
    head_drops_first: ClassVar[bool] = False
    depth: int = 6
    token_types: int = 0
    pool: str = 'cls'
    head_dropout: float = 0.2

    def make_stage(self, name: str) -> Callable[..., nn.Module]:
        stage = super().make_stage(name)
        # Its attention drops weights, and nothing of what it answers.
        return partial(stage, attention_out_dropout=0.0) if name.startswith('block') else stage


class XLMRoBERTa(RoBERTa):
    """Stages `embed, block_00 .., pool, head`: RoBERTa in 100 languages (Conneau et al. 2020).

    >>> XLMRoBERTa(depth=1, width=32, heads=2).stages
    ('embed', 'block_00', 'pool', 'head')
    """

    vocab_size: int = 250002


class ALBERT(BERT):
    """Stages `embed, block_00 .., pooler, head`: blocks run several times (Lan et al. 2020).

    There are `groups` blocks, usually one, which together run `depth` times. What trains in a
    block trains in all its runs; a part of the depth cannot be frozen alone.

    >>> ALBERT(depth=12, width=32, heads=2, embedding_size=8).stages
    ('embed', 'block_00', 'pooler', 'head')
    """

    vocab_size: int = 30000
    act: str = 'gelu_tanh'
    dropout: float = 0.0
    embedding_size: int | None = 128
    groups: int = 1

    def __post_init__(self):
        super().__post_init__()
        if not 1 <= self.groups <= self.depth:
            raise UserError(f'ALBERT: {self.groups} groups of {self.depth} runs of blocks')

    @property
    def projects(self) -> bool:
        return True  # whatever their size

    @property
    def runs(self) -> dict[str, int]:
        groups = [int(i / (self.depth / self.groups)) for i in range(self.depth)]
        return {f'block_{group:02d}': groups.count(group) for group in range(self.groups)}

    @property
    def stages(self) -> tuple[str, ...]:
        around = [name for name in super().stages if not name.startswith('block')]
        return (around[0], *self.runs, *around[1:])

    def make_stage(self, name: str) -> Callable[..., nn.Module]:
        stage = super().make_stage(name)
        if not name.startswith('block'):
            return stage
        return partial(stage, mlp_dropout=0.0, times=self.runs[name])
