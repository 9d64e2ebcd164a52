"""The parts of post-norm text encoders: embeddings, blocks, pooling and classifiers."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from ftjax.errors import UserError
from ftjax.models.layers.attention import SelfAttention
from ftjax.models.layers.mlp import Mlp, activation, layer_norm
from ftjax.models.stages import Mode


class TokenEmbed(nn.Module):
    """Words, positions and token types, summed and normalised.

    Takes {'input_ids': int (batch, time)} and, optionally, 'attention_mask' (all ones if left
    out) and 'token_type_ids' (all zeros), of the same shape. Returns `hidden` (batch, time,
    width) and `mask` (batch, time) bool, True for real tokens.
    """

    vocab_size: int
    width: int
    max_positions: int
    token_types: int
    """0 for a network without them."""
    pad_id: int | None
    """Positions count from here over the other tokens, as RoBERTa's; None counts from 0."""
    embedding_size: int | None
    """Of the tables, where they are narrower than the blocks (ELECTRA)."""
    epsilon: float
    dropout: float
    dtype: DTypeLike
    project: bool
    """Whether a dense layer takes what was summed to `width`."""

    @nn.compact
    def __call__(self, inputs, mode: Mode):
        if not isinstance(inputs, dict) or 'input_ids' not in inputs:
            raise UserError("a text network takes {'input_ids': (batch, time), ..}")
        ids = inputs['input_ids']
        mask = inputs.get('attention_mask')
        mask = jnp.ones(ids.shape, bool) if mask is None else jnp.asarray(mask, bool)
        x = self.table('word_embed', self.vocab_size)(ids)
        if self.token_types:
            types = inputs.get('token_type_ids')
            types = jnp.zeros_like(ids) if types is None else types
            x = x + self.table('type_embed', self.token_types)(types)
        elif inputs.get('token_type_ids') is not None:
            raise UserError('token_type_ids: this network has no token types')
        x = x + self.table('position_embed', self.max_positions)(self.positions(ids))
        x = layer_norm('norm', self.epsilon, self.dtype)(x)
        x = nn.Dropout(self.dropout)(x, deterministic=mode.deterministic)
        if self.project:
            x = nn.Dense(self.width, dtype=self.dtype, name='project')(x)
        return {'hidden': x, 'mask': mask}

    def table(self, name, rows):
        init = nn.initializers.normal(0.02)
        size = self.embedding_size or self.width
        return nn.Embed(rows, size, embedding_init=init, dtype=self.dtype, name=name)

    def positions(self, ids):
        """Rows of the position table: (1, time) or (batch, time)."""
        first = 0 if self.pad_id is None else self.pad_id + 1
        if ids.shape[1] > self.max_positions - first:
            raise UserError(
                f'{ids.shape[1]} tokens where the network has positions for '
                f'{self.max_positions - first}: truncate the text'
            )
        if self.pad_id is None:
            return jnp.arange(ids.shape[1])[None]
        real = (ids != self.pad_id).astype(jnp.int32)
        return jnp.cumsum(real, axis=1) * real + self.pad_id


class PostNormBlock(nn.Module):
    """A block that normalises after each residual sum: {'hidden', 'mask'} in and out."""

    heads: int
    mlp_dim: int
    act: str
    epsilon: float
    dropout: float
    attention_dropout: float
    dtype: DTypeLike
    mlp_dropout: float | None = None
    """Of the perceptron, where it is not `dropout`."""
    attention_out_dropout: float | None = None
    """Of what attention answers, where it is not `dropout`."""
    times: int = 1
    """How often the block runs, with the same weights."""

    @nn.compact
    def __call__(self, state, mode: Mode):
        x, bias = state['hidden'], self.attention_bias(state)
        of_attention, of_mlp = (
            self.dropout if rate is None else rate
            for rate in (self.attention_out_dropout, self.mlp_dropout)
        )
        attn = SelfAttention(
            self.heads,
            dropout=of_attention,
            weight_dropout=self.attention_dropout,
            dtype=self.dtype,
            name='attn',
        )
        mlp = Mlp(self.mlp_dim, self.act, of_mlp, self.dtype, name='mlp')
        norm1, norm2 = (layer_norm(name, self.epsilon, self.dtype) for name in ('norm1', 'norm2'))
        for _ in range(self.times):
            x = norm1(x + attn(x, mode, valid=state['mask'], bias=bias))
            x = norm2(x + mlp(x, mode))
        return {**state, 'hidden': x}

    def attention_bias(self, state) -> jax.Array | None:
        """What is added to the scores, (1, heads, time, time); None for nothing."""
        del state


class Pool(nn.Module):
    """The first token, or the mean over real tokens: (batch, time, width) -> (batch, width)."""

    how: str
    """'cls' or 'mean'."""

    def __call__(self, state, mode: Mode):
        del mode
        x = state['hidden']
        if self.how == 'cls':
            return {'hidden': x[:, 0]}
        real = state['mask'][..., None]
        total = jnp.where(real, x, 0).sum(axis=1, dtype=jnp.float32)
        return {'hidden': (total / jnp.maximum(real.sum(axis=1), 1)).astype(x.dtype)}


class Pooler(nn.Module):
    """BERT's sentence vector, tanh(dense(first token)): (batch, time, width) -> (batch, width)."""

    dtype: DTypeLike

    @nn.compact
    def __call__(self, state, mode: Mode):
        x = state['hidden'][:, 0]
        return {'hidden': jnp.tanh(nn.Dense(x.shape[-1], dtype=self.dtype, name='dense')(x))}


class VectorHead(nn.Module):
    """Vectors of length 1: (batch, width) -> (batch, dim or width), float32."""

    dim: int
    """Numbers of a vector, by a linear layer; 0 for those that come in."""

    @nn.compact
    def __call__(self, state, mode: Mode):
        del mode
        x = state['hidden'].astype(jnp.float32)
        if self.dim:
            x = nn.Dense(self.dim, kernel_init=nn.initializers.normal(0.02), name='dense')(x)
        # Below this length, which no vector of a network has, the gradient would be no number.
        return x * jax.lax.rsqrt(jnp.maximum(jnp.square(x).sum(-1, keepdims=True), 1e-24))


class TextHead(nn.Module):
    """The classifier: (.., width) -> logits (.., num_classes), float32."""

    num_classes: int
    hidden_act: str | None
    """Activation of a hidden layer before the last; None for no such layer."""
    dropout: float
    first_dropout: bool
    """Whether there is dropout before the hidden layer as well."""

    @nn.compact
    def __call__(self, state, mode: Mode):
        x = state['hidden'].astype(jnp.float32)
        init = nn.initializers.normal(0.02)

        def drop(x):
            return nn.Dropout(self.dropout)(x, deterministic=mode.deterministic)

        if self.hidden_act is not None:
            x = drop(x) if self.first_dropout else x
            x = nn.Dense(x.shape[-1], kernel_init=init, name='hidden')(x)
            x = activation(self.hidden_act)(x)
        return nn.Dense(self.num_classes, kernel_init=init, name='dense')(drop(x))
