"""How well a language model's head guesses given tokens, in chunks of tokens.

Logits of a whole batch, (tokens, vocabulary) in float32, are the largest array of a causal language
model's step. Here they are made for some tokens at a time, and again in the backward pass.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import flax.linen as nn
import jax
import jax.numpy as jnp

if TYPE_CHECKING:
    from jaxtyping import Array, Float, Float32, Int

CHUNK = 1024
"""Tokens whose logits there are at once, at most; but one of each example at least."""
SCORES = 3
"""Numbers a token: nats, nats under an even target, whether the target is the guess."""


def token_scores(
    module: nn.Module,
    logits_of: Callable[[Any, Array], Array],
    hidden: Float[Array, 'batch time width'],
    targets: Int[Array, 'batch time'],
    chunk: int = CHUNK,
) -> Float32[Array, 'batch time scores']:
    """Scores of the targets: (nats, nats of an even target, 1 where the target is the guess).

    Nats are the cross-entropy -log p(target); those of an even target, the mean of -log p over the
    vocabulary, are what label smoothing takes. The guess is the token with the highest logit, of
    equal ones the first.

    Args:
      module: whose parameters the product reads.
      logits_of: `(module, hidden) -> logits` (batch, some, vocabulary), float32.
      hidden: what the head takes.
      targets: ids; below 0 where none is asked, and the scores mean nothing.
      chunk: tokens at once.
    """
    batch, time, width = hidden.shape
    size = chunk_length(batch, time, chunk)
    if size == time:
        return scores(logits_of(module, hidden), targets)
    parts = (
        hidden.reshape(batch, -1, size, width).swapaxes(0, 1),
        targets.reshape(batch, -1, size).swapaxes(0, 1),
    )

    def one(module: nn.Module, carry: None, part: Any) -> tuple[None, Array]:
        return carry, scores(logits_of(module, part[0]), part[1])

    # A loop keeps the compiler from making the logits of all chunks at once, forward or backward.
    again = nn.remat(one, prevent_cse=False)
    run = nn.scan(again, variable_broadcast='params', split_rngs={'params': False})
    _, found = run(module, None, parts)
    return found.swapaxes(0, 1).reshape(batch, time, SCORES)


def chunk_length(batch: int, time: int, chunk: int = CHUNK) -> int:
    """The most positions, a divisor of `time`, of which a batch has at most `chunk` tokens.

    >>> chunk_length(8, 512), chunk_length(2, 16), chunk_length(4096, 6)
    (128, 16, 1)
    """
    return max(d for d in range(1, time + 1) if time % d == 0 and (d == 1 or batch * d <= chunk))


@jax.custom_vjp
def scores(
    logits: Float32[Array, 'batch time vocabulary'], targets: Int[Array, 'batch time']
) -> Float32[Array, 'batch time scores']:
    """`token_scores` from logits, with a written gradient; none by forward mode (`jax.jvp`).

    The gradient of `jnp` would keep the exponentials, as large as the logits, for the backward
    pass, and on a CPU make them again for each product that reads it.
    """
    return _forward(logits, targets)[0]


def _forward(logits: Array, targets: Array) -> tuple[Array, tuple[Array, Array, Array]]:
    highest = logits.max(axis=-1)
    total = highest + jnp.log(jnp.exp(logits - highest[..., None]).sum(axis=-1))
    # Of a target below 0 any entry: its scores mean nothing.
    places = jnp.maximum(targets, 0)[..., None]
    picked = jnp.take_along_axis(logits, places, axis=-1)[..., 0]
    # The guess is the first of equal logits, as of greedy decoding.
    numbers = jnp.arange(logits.shape[-1])
    guess = jnp.where(logits >= highest[..., None], numbers, logits.shape[-1]).min(axis=-1)
    right = (guess == targets).astype(jnp.float32)
    found = jnp.stack([total - picked, total - logits.mean(axis=-1), right], axis=-1)
    return found, (logits, targets, total)


def _backward(saved: tuple[Array, Array, Array], cotangent: Array) -> tuple[Array, None]:
    logits, targets, total = saved
    nats, even = cotangent[..., 0, None], cotangent[..., 1, None]
    probable = jnp.exp(logits - total[..., None])
    here = jnp.arange(logits.shape[-1]) == targets[..., None]
    return probable * (nats + even) - jnp.where(here, nats, 0) - even / logits.shape[-1], None


scores.defvjp(_forward, _backward)
