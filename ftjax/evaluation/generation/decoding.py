"""The loop that writes texts: one compiled program for a batch, with keys and values kept."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp

from ftjax.evaluation.generation.sampling import Sampling
from ftjax.evaluation.generation.sampling_arrays import SamplingArrays
from ftjax.evaluation.generation.text_ends import BROKEN
from ftjax.models.stages import Network
from ftjax.pytrees import Variables
from ftjax.xla.late_products import late_products

if TYPE_CHECKING:
    from jaxtyping import Array, Bool, Int, Key


class Written(NamedTuple):
    """What came of some beginnings."""

    tokens: Array
    """int32 (batch, new); BROKEN where the network's numbers are not finite."""
    logits: Array
    """float32 (batch, vocabulary): of the first new token."""
    states: Any
    """What a stage made of the beginnings; None where none was asked for."""


@dataclasses.dataclass(frozen=True)
class Decoding:
    """`run(variables, ids, mask, keys) -> tokens`: a value, and the key of its program.

    Shapes do not change as texts grow: the cache holds the beginning and all new tokens. The loop
    ends early where every text has.
    """

    network: Network
    new_tokens: int
    """Written at most."""
    sampling: Sampling | SamplingArrays
    ends: tuple[int, ...] = ()
    """Tokens that end a text; they are the last that is written of it."""
    pad_id: int = 0
    """What follows the end."""

    def __call__(
        self,
        variables: Variables,
        ids: Int[Array, 'batch time'],
        mask: Bool[Array, 'batch time'],
        keys: Key[Array, ' batch'],
    ) -> Int[Array, 'batch new']:
        """New tokens of texts that begin with `ids`, padded on the left; see `written`."""
        return self.written(variables, ids, mask, keys).tokens

    def written(
        self,
        variables: Variables,
        ids: Int[Array, 'batch time'],
        mask: Bool[Array, 'batch time'],
        keys: Key[Array, ' batch'],
        limits: Int[Array, ' batch'] | None = None,
        stage: str | None = None,
    ) -> Written:
        """New tokens, and what the network made of the beginnings.

        Args:
          variables: of the network.
          ids: the beginnings.
          mask: False for padding.
          keys: of each text.
          limits: tokens that are written of each at most, from 1; None for `new_tokens`.
          stage: whose states of the beginnings are wanted; None for none.
        """
        batch, time = ids.shape
        room = jnp.concatenate([mask, jnp.ones((batch, self.new_tokens), bool)], axis=1)

        def logits_of(
            cache: Any, tokens: Array, place: Array, taps: tuple[str, ...] = ()
        ) -> tuple[Array, Any, Any]:
            inputs = {'input_ids': tokens, 'attention_mask': room}
            inputs['place'] = jnp.broadcast_to(place, (batch,))
            with late_products(variables):
                found, moved = self.network.apply(
                    {**variables, **cache}, inputs, mutable=['cache'], taps=taps
                )
            logits, states = found if taps else (found, None)
            return logits[:, -1], moved, states

        def chosen(logits: Array, done: Array, number: Array) -> tuple[Array, Array]:
            drawn = jax.vmap(jax.random.fold_in, (0, None))(keys, number)
            finite = jnp.isfinite(logits).all(axis=-1)
            tokens = jnp.where(finite, self.sampling.chosen(logits, drawn), BROKEN)
            tokens = jnp.where(done, self.pad_id, tokens)
            ended = jnp.isin(tokens, jnp.array((*self.ends, BROKEN), tokens.dtype))
            ended = ended if limits is None else ended | (number + 1 >= limits)
            return tokens, done | ended

        taps = () if stage is None else (stage,)
        logits, cache, states = logits_of({}, ids, jnp.int32(0), taps)
        first, done = chosen(logits, jnp.zeros(batch, bool), jnp.int32(0))
        tokens = jnp.full((batch, self.new_tokens), self.pad_id, first.dtype).at[:, 0].set(first)

        def more(state: Any) -> Array:
            number, _, done, _, _ = state
            return (number < self.new_tokens) & ~done.all()

        def step(state: Any) -> Any:
            number, tokens, done, written, cache = state
            logits, cache, _ = logits_of(cache, tokens[:, None], time + number - 1)
            tokens, done = chosen(logits, done, number)
            return number + 1, tokens, done, written.at[:, number].set(tokens), cache

        start = jnp.int32(1), first, done, tokens, cache
        tokens = jax.lax.while_loop(more, step, start)[3]
        return Written(tokens, logits, None if states is None else states[stage])
