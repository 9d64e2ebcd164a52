"""The stages around the blocks of a causal text network: embeddings, norm and pool, heads."""

from __future__ import annotations

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from ftjax.errors import UserError
from ftjax.models.layers.attention import capped
from ftjax.models.layers.key_value_cache import from_place
from ftjax.models.layers.row_products import on_rows
from ftjax.models.layers.sliced_scores import sliced_scores
from ftjax.models.layers.token_scores import token_scores
from ftjax.models.layers.vocabulary_slices import slices_of
from ftjax.models.shared_leaves import shared_leaf
from ftjax.models.stages import Mode


class DecoderEmbed(nn.Module):
    """Words, and learned positions if there are any: `hidden` (batch, time, width), `mask`.

    `segments`, where inputs have them, are the mask; `targets` and `place` go on: see `Decoder`.
    """

    vocab_size: int
    width: int
    max_positions: int | None
    """Rows of the position table; None for no table."""
    dropout: float
    dtype: DTypeLike
    scale: float = 1.0
    """Of the words."""

    @nn.compact
    def __call__(self, inputs, mode: Mode):
        if not isinstance(inputs, dict) or 'input_ids' not in inputs:
            raise UserError("a text network takes {'input_ids': (batch, time), ..}")
        if inputs.get('token_type_ids') is not None:
            raise UserError('token_type_ids: this network has no token types')
        ids, mask = inputs['input_ids'], inputs.get('attention_mask')
        mask = jnp.ones(ids.shape, bool) if mask is None else jnp.asarray(mask, bool)
        mask = inputs.get('segments', mask)

        def table(name, rows):
            init = nn.initializers.normal(0.02)
            return nn.Embed(rows, self.width, embedding_init=init, dtype=self.dtype, name=name)

        x = table('word_embed', self.vocab_size)(ids)
        if self.scale != 1:
            x = x * jnp.asarray(self.scale, x.dtype)
        if self.max_positions is not None:
            if mask.shape[1] > self.max_positions:
                raise UserError(
                    f'{mask.shape[1]} tokens where the network has positions for '
                    f'{self.max_positions}: truncate the text'
                )
            steps = positions(mask)
            if 'place' in inputs:
                steps = from_place(steps, inputs['place'], ids.shape[1])
            x = x + table('position_embed', self.max_positions)(steps)
        more = {name: inputs[name] for name in ('targets', 'place') if name in inputs}
        return {
            'hidden': nn.Dropout(self.dropout)(x, deterministic=mode.deterministic),
            'mask': mask,
            **more,
        }


def positions(mask: jax.Array) -> jax.Array:
    """Real tokens before each token, so that padding on the left shifts nothing: int32.

    Of segments, int (batch, time): tokens of the same segment before each.
    """
    if mask.dtype != bool:
        place = jnp.arange(mask.shape[1], dtype=jnp.int32)
        first = jnp.pad(mask[:, 1:] != mask[:, :-1], ((0, 0), (1, 0)), constant_values=True)
        return place - jax.lax.cummax(jnp.where(first, place, 0), axis=1)
    return jnp.maximum(jnp.cumsum(mask.astype(jnp.int32), axis=1) - 1, 0)


class NormPool(nn.Module):
    """Final norm, and one vector an example: (batch, time, width) -> (batch, width).

    With pool 'none' there remains one a token, and the mask goes on.
    """

    make_norm: Callable[..., nn.Module]
    pool: str

    @nn.compact
    def __call__(self, state, mode: Mode):
        del mode
        x, mask = state['hidden'], state['mask']
        norm = self.make_norm(name='norm')
        if 'place' in state:  # of what is written, the last token alone asks for the next
            x = x[:, -1:]
        if self.pool == 'none':
            return {**state, 'hidden': norm(x)}
        if self.pool == 'last':  # the norm is a token's own affair: normalise the one kept
            last = jnp.max(jnp.where(mask, jnp.arange(mask.shape[1]), 0), axis=1)
            return {'hidden': norm(jnp.take_along_axis(x, last[:, None, None], axis=1)[:, 0])}
        total = jnp.where(mask[..., None], norm(x), 0).sum(axis=1, dtype=jnp.float32)
        count = jnp.maximum(mask.sum(axis=1, keepdims=True), 1)
        return {'hidden': (total / count).astype(x.dtype)}


class LinearHead(nn.Module):
    """A linear map without bias: (.., width) -> (.., features), float32.

    Of `targets` in the state, the `token_scores` instead.
    """

    features: int
    dtype: DTypeLike
    cap: float | None = None
    """Logits stay below it; None for no bound."""

    @nn.compact
    def __call__(self, state, mode: Mode):
        del mode
        init = nn.initializers.normal(0.02)
        dense = nn.Dense(self.features, False, self.dtype, kernel_init=init, name='dense')

        def logits(dense, x):
            return capped(dense(x).astype(jnp.float32), self.cap)

        if 'targets' not in state:
            return logits(dense, state['hidden'])
        found = slices_of(self, (*self.path, 'dense', 'kernel'), axis=1)
        if found is None:
            return token_scores(dense, logits, state['hidden'], state['targets'])

        def product(x, kernel):
            out = x.astype(self.dtype) @ kernel.astype(self.dtype)
            return capped(out.astype(jnp.float32), self.cap)

        return sliced_scores(product, found[0], state['hidden'], state['targets'], found[1])


class TiedHead(nn.Module):
    """Products with the word embeddings: (batch, time, width) -> (batch, time, vocab), float32.

    Of `targets` in the state, the `token_scores` instead.
    """

    table_path: tuple[str, ...]
    """Of the table among the network's params."""
    cap: float | None = None
    """Logits stay below it; None for no bound."""

    def __call__(self, state, mode: Mode):
        del mode
        x = state['hidden']

        def product(x, table):
            wide = jnp.float32
            return jnp.einsum(
                '...w,vw->...v', x, table.astype(x.dtype), preferred_element_type=wide
            )

        found = slices_of(self, self.table_path, axis=0) if 'targets' in state else None
        if found is not None:

            def capped_product(x, some):
                return capped(product(x, some), self.cap)

            return sliced_scores(capped_product, found[0], x, state['targets'], found[1])
        table = shared_leaf(self, *self.table_path)
        table = table.astype(x.dtype)

        def logits(_, x):
            return capped(on_rows(lambda x: product(x, table), x), self.cap)

        if 'targets' in state:
            return token_scores(self, logits, x, state['targets'])
        return logits(self, x)
