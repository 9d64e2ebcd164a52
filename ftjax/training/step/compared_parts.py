"""A batch in parts, where a loss compares all of its examples: twice through the network.

First the outputs of all parts, without gradients; then the loss of the whole batch and its
gradients by the outputs; then each part again, with these. Memory is that of a part, and the
gradients are those of the batch at once. Source: Gao et al. 2021, arXiv:2101.06983.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp

from ftjax.pytrees import Batch
from ftjax.training.step.state import Frozen, TrainState

if TYPE_CHECKING:
    from ftjax.training.step.train_step import Found, TrainStep


def of_compared(
    step: TrainStep,
    state: TrainState,
    frozen: Frozen,
    batch: Batch,
    split: Batch,
    key: jax.Array,
    wanted: Mapping[str, jax.Array] | None,
) -> Found:
    """Loss, statistics and gradients of a batch whose parts are `split` (parts, examples, ..)."""
    parts = len(split['mask'])
    numbers = jnp.arange(parts)

    def outputs_of(_, part):
        number, piece = part
        key_of = jax.random.fold_in(key, number)
        run, _, _, weights = step.entered(state, state.stats, frozen, piece, key_of, wanted)
        return None, run(weights)[0]

    _, outputs = jax.lax.scan(outputs_of, None, (numbers, split))

    def loss_of(outputs):
        together = outputs.reshape(-1, *outputs.shape[2:])
        total, weight = step.task.loss(together, batch, step.loss)
        return total / weight

    loss, cotangents = jax.value_and_grad(loss_of)(outputs)

    def add(carry, part):
        stats, penalties, grads = carry
        number, piece, each = part
        key_of = jax.random.fold_in(key, number)
        # Penalties are of the weights: each part brings its share of them.
        (found, stats), new = step.of_part(
            state, stats, frozen, piece, key_of, wanted, each * parts
        )
        penalty = found - parts * jnp.vdot(outputs[number], each)
        grads = jax.tree.map(lambda a, b: a + b / parts, grads, new)
        return (stats, penalties + penalty / parts, grads), None

    zeros = step.sharding.spread(jax.tree.map(jnp.zeros_like, state.trainable))
    start = state.stats, jnp.zeros(()), zeros
    (stats, penalties, grads), _ = jax.lax.scan(add, start, (numbers, split, cotangents))
    return (loss + penalties, stats), grads
