"""A batch in parts, where a loss compares all of its examples: twice through the network.

First the outputs of all parts, without gradients; then the loss of the whole batch and its
gradients by the outputs; then each part again, with these. Memory is that of a part, and the
gradients are those of the batch at once. Source: Gao et al. 2021, arXiv:2101.06983.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from ftjax.pytrees import Batch, Flat
from ftjax.training.step.state import Found


def of_compared(
    split: Batch,
    stats: Flat,
    zeros: Flat,
    outputs_of: Callable[[jax.Array, Batch], jax.Array],
    loss_of: Callable[[jax.Array], jax.Array],
    part_of: Callable[[Flat, jax.Array, Batch, jax.Array], Found],
) -> Found:
    """Loss, statistics and gradients of a batch whose parts are `split` (parts, examples, ..).

    Args:
      split: the parts.
      stats: running statistics before.
      zeros: as the gradients.
      outputs_of: (number of a part, part) -> its outputs.
      loss_of: outputs of the whole batch -> its loss.
      part_of: (statistics, number, part, gradients by its outputs) -> the product of outputs and
        these with its penalties, statistics, and gradients.
    """
    parts = len(split['mask'])
    numbers = jnp.arange(parts)
    _, outputs = jax.lax.scan(lambda _, part: (None, outputs_of(*part)), None, (numbers, split))
    loss, cotangents = jax.value_and_grad(lambda each: loss_of(each.reshape(-1, *each.shape[2:])))(
        outputs
    )

    def add(carry, part):
        stats, penalties, grads = carry
        number, piece, each = part
        # Penalties are of the weights: each part brings its share of them.
        (found, stats), new = part_of(stats, number, piece, each * parts)
        penalty = found - parts * jnp.vdot(outputs[number], each)
        grads = jax.tree.map(lambda a, b: a + b / parts, grads, new)
        return (stats, penalties + penalty / parts, grads), None

    start = stats, jnp.zeros(()), zeros
    (stats, penalties, grads), _ = jax.lax.scan(add, start, (numbers, split, cotangents))
    return (loss + penalties, stats), grads
