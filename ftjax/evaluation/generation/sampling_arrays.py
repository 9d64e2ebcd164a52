"""Sampling whose numbers are arrays: each text of a batch is drawn in its own way."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp

if TYPE_CHECKING:
    from jaxtyping import Array, Float, Int, Key


@dataclasses.dataclass(frozen=True)
class SamplingArrays:
    """As `Sampling`, with (batch,) of each number: one program serves all requests."""

    temperature: Float[Array, ' batch']
    top_k: Int[Array, ' batch']
    top_p: Float[Array, ' batch']

    def chosen(
        self, logits: Float[Array, 'batch vocabulary'], keys: Key[Array, ' batch']
    ) -> Int[Array, ' batch']:
        """The token of each row. Nothing is sorted while every text is greedy."""
        greedy = logits.argmax(axis=-1)

        def drawn() -> Array:
            tokens = jax.vmap(jax.random.categorical)(keys, self.kept(logits))
            return jnp.where(self.temperature > 0, tokens, greedy)

        return jax.lax.cond((self.temperature > 0).any(), drawn, lambda: greedy)

    def kept(self, logits: Float[Array, 'batch vocabulary']) -> Float[Array, 'batch vocabulary']:
        """Logits to draw from: minus infinity of what is left out."""
        size = logits.shape[-1]
        temperature = jnp.where(self.temperature > 0, self.temperature, 1)
        logits = logits / temperature[:, None]
        falling = -jnp.sort(-logits, axis=-1)
        cut = (self.top_k > 0) & (self.top_k < size)
        last = jnp.clip(self.top_k - 1, 0, size - 1)[:, None]
        least = jnp.where(cut[:, None], jnp.take_along_axis(falling, last, axis=-1), -jnp.inf)
        logits, falling = (jnp.where(x < least, -jnp.inf, x) for x in (logits, falling))
        shares = jax.nn.softmax(falling, axis=-1)
        before = jnp.cumsum(shares, axis=-1) - shares
        count = (before < self.top_p[:, None]).sum(axis=-1, keepdims=True)
        count = jnp.where(self.top_p[:, None] < 1, count, size)
        least = jnp.take_along_axis(falling, count - 1, axis=-1)
        return jnp.where(logits < least, -jnp.inf, logits)
