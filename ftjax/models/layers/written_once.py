"""An array that is computed once, however many operations read it, on a CPU."""

from __future__ import annotations

import jax
import jax.numpy as jnp


def stored(x: jax.Array) -> jax.Array:
    """The array, bit for bit, written once and not computed again by each of its readers.

    For CPUs, whose compiler takes cheap operations into every operation that reads them, and drops
    an `optimization_barrier` before it does. A sum with zeros over an axis of two does it too, and
    took 8 % of a step of a ViT of 12 blocks.
    """
    # What a conditional answers is stored. The barrier hides from the compiler that the first
    # branch is never taken; were it taken, it would answer the same numbers.
    never = jax.lax.optimization_barrier(jnp.zeros((), bool))
    return jax.lax.cond(never, lambda x: jnp.minimum(x, jnp.inf), lambda x: x, x)
