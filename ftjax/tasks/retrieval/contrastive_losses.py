"""Losses of vectors against the others of their batch, and against a number.

The batch is the whole one, over all devices: each example is compared with all of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp

from ftjax.errors import UserError
from ftjax.evaluation.unit_vectors import unit
from ftjax.ranges import above
from ftjax.tasks.registry import loss
from ftjax.tasks.training_loss import Array, Batch

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int

_FAR = -1e30  # of what does not count: its exponential is 0, and no gradient is NaN


def cosines(a: Float[Array, 'n dim'], b: Float[Array, 'm dim']) -> Float[Array, 'n m']:
    """Of each vector with each."""
    return jnp.einsum('nd,md->nm', unit(a), unit(b), precision='highest')


@loss(
    'multiple_negatives',
    'embedding',
    source='arXiv:1705.00652',
    ranges={'scale': above(0)},
)
def multiple_negatives(
    outputs: Float[Array, 'batch texts dim'], batch: Batch, scale: float = 20.0
) -> Float[Array, ' batch']:
    """Cross-entropy of scale x cosine of an anchor with all positives and negatives of the batch.

    The right answer is its own positive. Copies of that text or of the anchor elsewhere in the
    batch, and other positives of an equal anchor, are no wrong answers and are left out.
    """
    if outputs.ndim != 3:
        raise UserError(
            'train.loss multiple_negatives compares texts that belong together, and the examples '
            'are single texts of classes: expected supervised_contrastive'
        )
    numbers, real = batch['labels'][:, :-1], batch['mask'] > 0
    count, texts = numbers.shape
    others = outputs[:, 1:].swapaxes(0, 1).reshape(-1, outputs.shape[-1])  # positives come first
    scores = scale * cosines(outputs[:, 0], others)
    candidates = numbers[:, 1:].T.reshape(-1)
    copies = (candidates[None] == numbers[:, 1, None]) | (candidates[None] == numbers[:, 0, None])
    siblings = numbers[:, 0, None] == numbers[None, :, 0]
    siblings = jnp.pad(siblings, ((0, 0), (0, count * (texts - 2))))
    own = jnp.eye(count, len(candidates), dtype=bool)
    out = (copies | siblings | ~jnp.tile(real, texts - 1)[None]) & ~own
    logits = jnp.where(out, _FAR, scores)
    return jax.nn.logsumexp(logits, axis=1) - jnp.diagonal(scores)


@loss(
    'supervised_contrastive',
    'embedding',
    source='arXiv:2004.11362',
    ranges={'temperature': above(0)},
)
def supervised_contrastive(
    outputs: Float[Array, 'batch dim'], batch: Batch, temperature: float = 0.07
) -> Float[Array, ' batch']:
    """The mean over the texts of its class of -log softmax of cosines, among all other texts.

    Equation 2 of the source. 0 for a text that is alone with its class in the batch.
    """
    if outputs.ndim != 2:
        raise UserError(
            'train.loss supervised_contrastive compares single texts of classes, and an example '
            f'has {outputs.shape[1]} texts: expected multiple_negatives'
        )
    classes, real = batch['labels'][:, -1], batch['mask'] > 0
    return class_contrast(outputs, classes, real, temperature)[0]


def class_contrast(
    vectors: Float[Array, 'batch dim'],
    classes: Int[Array, ' batch'],
    real: Bool[Array, ' batch'],
    temperature: float,
) -> tuple[Float[Array, ' batch'], Int[Array, ' batch']]:
    """(loss of each vector against the others of the batch, how many of those are of its class).

    The loss is 0 for a vector that is alone with its class.
    """
    alone = jnp.eye(len(classes), dtype=bool)
    counts = real[None] & ~alone
    same = (classes[:, None] == classes[None]) & counts
    logits = jnp.where(counts, cosines(vectors, vectors) / temperature, _FAR)
    logs = logits - jax.nn.logsumexp(logits, axis=1, keepdims=True)
    total, mates = jnp.where(same, logs, 0).sum(axis=1), same.sum(axis=1)
    return -total / jnp.maximum(mates, 1), mates


@loss('cosine_regression', 'text_similarity')
def cosine_regression(outputs: Float[Array, 'batch 2 dim'], batch: Batch) -> Float[Array, ' batch']:
    """The squared error of the cosine of two texts."""
    cosine = (unit(outputs[:, 0]) * unit(outputs[:, 1])).sum(axis=-1)
    return jnp.square(cosine - batch['labels'])
