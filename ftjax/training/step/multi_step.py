"""Calls of the compiled program: several steps in one, and none that takes up a bad number."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp

from ftjax.pytrees import Batch
from ftjax.training.step.state import Frozen, TrainState
from ftjax.training.step.train_step import TrainStep


@dataclasses.dataclass(frozen=True)
class MultiStep:
    """A step, scanned over a leading axis of batches and rates.

    `run(state, frozen, batches, rates, skips) -> (state, metrics)`. A step whose loss or
    gradient norm is not finite changes nothing but the step count, as long as there are skips
    left (an int32 scalar); without one it stops the call: the state that comes back is the one
    before it. `metrics` have an entry a step, those after such a stop mean nothing.
    """

    step: TrainStep

    def __call__(
        self, state: TrainState, frozen: Frozen, batches: Batch, rates: jax.Array, skips: jax.Array
    ):
        def one(carry, inputs):
            state, skips = carry
            new, metrics = self.step(state, frozen, *inputs)
            finite = jnp.isfinite(metrics['loss']) & jnp.isfinite(metrics['grad_norm'])
            skips = skips - ~finite
            moves, goes_on = finite & (skips >= 0), skips >= 0
            kept = state.replace(step=jnp.where(goes_on, new.step, state.step))
            state = jax.tree.map(lambda old, after: jnp.where(moves, after, old), kept, new)
            return (state, skips), metrics

        if rates.shape[0] == 1:  # no loop: convolutions inside one are slow on a CPU
            first = jax.tree.map(lambda x: x[0], (batches, rates))
            (state, _), metrics = one((state, skips), first)
            return state, jax.tree.map(lambda x: x[None], metrics)
        (state, _), metrics = jax.lax.scan(one, (state, skips), (batches, rates))
        return state, metrics


def longest_chunk(every: int, most: int) -> int:
    """The largest divisor of `every` up to `most`: chunks that end where validation is due.

    >>> longest_chunk(12, 8), longest_chunk(7, 4)
    (6, 1)
    """
    return max(size for size in range(1, min(every, max(most, 1)) + 1) if every % size == 0)
