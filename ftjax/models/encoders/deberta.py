"""DeBERTa V2 and V3 (He et al. 2021, 2023): attention to content and to positions apart."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from ftjax.errors import UserError, check_name
from ftjax.models.encoders.bert import BERT
from ftjax.models.layers.disentangled_attention import DisentangledAttention
from ftjax.models.layers.mlp import Mlp, activation, layer_norm
from ftjax.models.shared_leaves import shared_leaf
from ftjax.models.stages import Mode

VECTORS = ('embed', 'relative_embed', 'embedding')
NORM = ('embed', 'relative_norm')
KINDS = ('c2p', 'p2c')


class DeBERTa(BERT):
    """Stages `embed, block_00 .., pooler, head`; the defaults are V3's base.

    A vector for each distance is a leaf of `embed` that all blocks read. `kinds` says which
    scores positions add: 'c2p', how a token's content looks for a distance, and 'p2c', how a
    distance looks for content. V2 has a convolution over tokens beside its first block.

    >>> DeBERTa(depth=1, width=32, heads=2).stages
    ('embed', 'block_00', 'pooler', 'head')
    """

    vocab_size: int = 128100
    token_types: int = 0
    epsilon: float = 1e-7
    absolute_positions: bool = False
    relative: bool = True
    """Whether there are vectors for distances."""
    kinds: tuple[str, ...] = ('p2c', 'c2p')
    buckets: int = 256
    """Distances up to half of it count one by one, farther ones in steps; 0 for all one by one."""
    farthest: int = 0
    """The largest distance that is told from larger ones; 0 for `max_positions`."""
    share_keys: bool = True
    """Whether distances pass through the projections of queries and keys of content."""
    relative_norm: bool = True
    conv_size: int = 0
    """Tokens that the convolution beside the first block sees; 0 for none."""
    conv_act: str = 'tanh'
    conv_groups: int = 1
    pooler_act: str = 'gelu'
    pooler_dropout: float = 0.0

    def __post_init__(self):
        super().__post_init__()
        for kind in self.kinds:
            check_name(kind, KINDS, 'DeBERTa kind')
        if self.conv_size and not self.conv_size % 2:
            raise UserError(f'DeBERTa: conv_size {self.conv_size} is not odd')

    @property
    def reach(self) -> int:
        """Half of the vectors for distances: those in one direction."""
        return self.buckets or self.largest

    @property
    def largest(self) -> int:
        """The largest distance that is told from larger ones."""
        return self.farthest or self.max_positions

    @property
    def ties(self) -> dict[str, str | tuple[str, ...]]:  # pyrefly: ignore
        if not self.relative or not self.kinds:
            return dict(super().ties)
        leaves = (VECTORS, *((*NORM, leaf) for leaf in ('scale', 'bias') if self.relative_norm))
        return {**super().ties, **dict.fromkeys(self.blocks, tuple(map('/'.join, leaves)))}

    def make_stage(self, name: str) -> Callable[..., nn.Module]:
        stage = super().make_stage(name)
        if name == 'embed':
            assert isinstance(stage, partial)  # of TokenEmbed
            shared = {k: v for k, v in stage.keywords.items() if k != 'pad_id'}
            return partial(
                DistanceEmbed,
                **shared,
                positions=self.absolute_positions,
                vectors=2 * self.reach if self.relative else 0,
                vector_norm=self.relative_norm,
            )
        if name == 'pooler':
            return partial(ContextPooler, self.pooler_act, self.pooler_dropout, self.dtype)
        if not name.startswith('block'):
            return stage
        attention = partial(
            DisentangledAttention,
            heads=self.heads,
            relative=self.relative,
            kinds=self.kinds,
            buckets=self.buckets,
            largest=self.largest,
            share_keys=self.share_keys,
            dropout=self.dropout,
            weight_dropout=self.attention_dropout,
            dtype=self.dtype,
        )
        return partial(
            Block,
            make_attention=attention,
            norm_vectors=self.relative_norm,
            mlp_dim=self.mlp_dim,
            act=self.act,
            epsilon=self.epsilon,
            dropout=self.dropout,
            conv_size=self.conv_size if name == self.blocks[0] else 0,
            conv_act=self.conv_act,
            conv_groups=self.conv_groups,
            dtype=self.dtype,
        )


class DistanceEmbed(nn.Module):
    """Words, perhaps positions and token types, and the vectors for distances.

    Takes {'input_ids': int (batch, time)} and, optionally, 'attention_mask' and
    'token_type_ids'. Returns `hidden` (batch, time, width), zero for padding, and `mask`.
    """

    vocab_size: int
    width: int
    max_positions: int
    token_types: int
    embedding_size: int | None
    epsilon: float
    dropout: float
    dtype: DTypeLike
    positions: bool
    """Whether there is a table of positions."""
    vectors: int
    """Vectors for distances; 0 for none."""
    vector_norm: bool
    project: bool

    @nn.compact
    def __call__(self, inputs, mode: Mode):
        if not isinstance(inputs, dict) or 'input_ids' not in inputs:
            raise UserError("a text network takes {'input_ids': (batch, time), ..}")
        ids, mask = inputs['input_ids'], inputs.get('attention_mask')
        mask = jnp.ones(ids.shape, bool) if mask is None else jnp.asarray(mask, bool)
        size = self.embedding_size or self.width
        x = self.table('word_embed', self.vocab_size, size)(ids)
        if self.positions:
            if ids.shape[1] > self.max_positions:
                raise UserError(
                    f'{ids.shape[1]} tokens where the network has positions for '
                    f'{self.max_positions}: truncate the text'
                )
            places = jnp.arange(ids.shape[1])[None]
            x = x + self.table('position_embed', self.max_positions, size)(places)
        types = inputs.get('token_type_ids')
        if self.token_types:
            types = jnp.zeros_like(ids) if types is None else types
            x = x + self.table('type_embed', self.token_types, size)(types)
        elif types is not None:
            raise UserError('token_type_ids: this network has no token types')
        if self.project:
            x = nn.Dense(self.width, use_bias=False, dtype=self.dtype, name='project')(x)
        x = layer_norm('norm', self.epsilon, self.dtype)(x)
        if self.vectors:
            self.table('relative_embed', self.vectors, self.width)(jnp.zeros((1,), int))
            if self.vector_norm:
                VectorNorm(name='relative_norm')(self.width)
        x = jnp.where(mask[..., None], x, 0)
        return {
            'hidden': nn.Dropout(self.dropout)(x, deterministic=mode.deterministic),
            'mask': mask,
        }

    def table(self, name, rows, size):
        init = nn.initializers.normal(0.02)
        return nn.Embed(rows, size, embedding_init=init, dtype=self.dtype, name=name)


class VectorNorm(nn.Module):
    """The leaves of the norm of the vectors. The blocks apply it, and read no output here."""

    @nn.compact
    def __call__(self, width: int) -> None:
        self.param('scale', nn.initializers.ones, (width,))
        self.param('bias', nn.initializers.zeros, (width,))


class Block(nn.Module):
    """A post-norm block whose attention knows distances: {'hidden', 'mask'} in and out."""

    make_attention: Callable[..., nn.Module]
    norm_vectors: bool
    mlp_dim: int
    act: str
    epsilon: float
    dropout: float
    conv_size: int
    conv_act: str
    conv_groups: int
    dtype: DTypeLike

    @nn.compact
    def __call__(self, state, mode: Mode):
        x, mask = state['hidden'], state['mask']
        attention = self.make_attention(name='attn')
        vectors = self.vectors() if attention.sees_distances else None
        y = x + attention(x, mode, mask, vectors)
        y = layer_norm('norm1', self.epsilon, self.dtype)(y)
        y = y + Mlp(self.mlp_dim, self.act, self.dropout, self.dtype, name='mlp')(y, mode)
        y = layer_norm('norm2', self.epsilon, self.dtype)(y)
        if self.conv_size:
            conv = nn.Conv(
                x.shape[-1],
                (self.conv_size,),
                feature_group_count=self.conv_groups,
                dtype=self.dtype,
                name='conv',
            )
            near = jnp.where(mask[..., None], conv(x), 0)
            near = nn.Dropout(self.dropout)(near, deterministic=mode.deterministic)
            y = y + activation(self.conv_act)(near)
            y = layer_norm('conv_norm', self.epsilon, self.dtype)(y)
            y = jnp.where(mask[..., None], y, 0)
        return {**state, 'hidden': y}

    def vectors(self):
        """The vectors for distances, normalised: (2 reach, width)."""
        found = shared_leaf(self, *VECTORS).astype(self.dtype)
        if not self.norm_vectors:
            return found
        scale, bias = (shared_leaf(self, *NORM, leaf) for leaf in ('scale', 'bias'))
        x = found.astype(jnp.float32)
        x = x - x.mean(-1, keepdims=True)
        x = x * jax.lax.rsqrt(jnp.square(x).mean(-1, keepdims=True) + self.epsilon)
        return (x * scale + bias).astype(self.dtype)


class ContextPooler(nn.Module):
    """Act(dense(first token)): (batch, time, width) -> (batch, width)."""

    act: str
    dropout: float
    dtype: DTypeLike

    @nn.compact
    def __call__(self, state, mode: Mode):
        x = state['hidden'][:, 0]
        x = nn.Dropout(self.dropout)(x, deterministic=mode.deterministic)
        x = nn.Dense(x.shape[-1], dtype=self.dtype, name='dense')(x)
        return {'hidden': activation(self.act)(x)}
