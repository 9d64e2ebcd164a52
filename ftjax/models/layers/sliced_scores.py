"""`token_scores` where the vocabulary's kernel lies in parts on devices: slice by slice.

A gradient of the whole kernel, made anew for each chunk of tokens, would be summed over the devices
as often as there are chunks. Here all tokens meet one slice of the vocabulary after the other, so
that a slice's gradient is made, and summed over the devices, once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp

from ftjax.models.layers.vocabulary_slices import LEAST, Slices

if TYPE_CHECKING:
    from jaxtyping import Array, Float, Float32, Int

ROWS = 128
"""Tokens of a device whose logits over a whole vocabulary would take as much as those of a slice,
at most."""


def sliced_scores(
    product: Callable[[Array, Array], Array],
    table: Float[Array, 'rows columns'],
    hidden: Float[Array, 'batch time width'],
    targets: Int[Array, 'batch time'],
    slices: Slices,
) -> Float32[Array, 'batch time scores']:
    """As `token_scores`, with a written gradient.

    Args:
      product: `(hidden (tokens, width), slice of the table) -> logits` (tokens, some), float32.
      table: what lies in parts.
      hidden: what the head takes.
      targets: ids; below 0 where none is asked.
      slices: how the table is cut.
    """
    vocabulary = table.shape[slices.axis]
    tokens = targets.size
    count, size = slices.counts(table, max(LEAST, -(-tokens // (slices.devices * ROWS))))
    # Where slices fill the vocabulary, no mask: a compiler keeps its constants all the while.
    overlap = count * size * slices.groups != vocabulary

    def forward(table: Array, x: Array, targets: Array) -> tuple[Array, tuple[Array, ...]]:
        parts = slices.split(table)

        def one(carry: tuple[Array, ...], number: Array) -> tuple[tuple[Array, ...], None]:
            highest, total, summed, picked, guess = carry
            some, ids, new = slices.take(parts, number, size)
            logits = product(x, some)
            logits = jnp.where(new, logits, -jnp.inf) if overlap else logits
            best = logits.max(axis=-1)
            # Of equal logits the first of the vocabulary.
            own = jnp.where(logits >= best[:, None], ids, vocabulary).min(axis=-1)
            better = (best > highest) | ((best == highest) & (own < guess))
            top = jnp.maximum(highest, best)
            total = total * jnp.exp(highest - top) + jnp.exp(logits - top[:, None]).sum(axis=-1)
            summed += (jnp.where(new, logits, 0) if overlap else logits).sum(axis=-1)
            places, here = slices.places(targets, vocabulary, number, size)
            own_target = jnp.where(here, places, 0)[:, None]
            picked += jnp.where(here, jnp.take_along_axis(logits, own_target, axis=-1)[:, 0], 0)
            return (top, total, summed, picked, jnp.where(better, own, guess)), None

        nothing = jnp.zeros(tokens, jnp.float32)
        start = (nothing - jnp.inf, nothing, nothing, nothing, jnp.full(tokens, vocabulary))
        (top, total, summed, picked, guess), _ = jax.lax.scan(one, start, jnp.arange(count))
        total = top + jnp.log(total)
        right = (guess == targets).astype(jnp.float32)
        found = jnp.stack([total - picked, total - summed / vocabulary, right], axis=-1)
        return found, (table, x, targets, total)

    @jax.custom_vjp
    def run(table: Array, x: Array, targets: Array) -> Array:
        return forward(table, x, targets)[0]

    def backward(saved: tuple[Array, ...], cotangent: Array) -> tuple[Array, Array, None]:
        table, x, targets, total = saved
        parts = slices.split(table)
        nats, even = cotangent[:, 0, None], cotangent[:, 1, None]

        def one(carry: tuple[Array, Array], number: Array) -> tuple[tuple[Array, Array], None]:
            passed, trained = carry
            some, ids, new = slices.take(parts, number, size)
            logits, pullback = jax.vjp(product, x, some)
            probable = jnp.exp(logits - total[:, None])
            arriving = probable * (nats + even) - jnp.where(ids == targets[:, None], nats, 0)
            arriving -= even / vocabulary
            arriving = jnp.where(new, arriving, 0) if overlap else arriving
            back, own = pullback(arriving)
            return (passed + back, slices.add(trained, number, own)), None

        start = jnp.zeros(x.shape, jnp.float32), slices.split(jnp.zeros_like(table))
        (passed, trained), _ = jax.lax.scan(one, start, jnp.arange(count))
        return slices.joined(trained), passed.astype(x.dtype), None

    run.defvjp(forward, backward)
    found = run(table, hidden.reshape(tokens, -1), targets.reshape(tokens))
    return found.reshape(*targets.shape, -1)
