"""Losses that several tasks share, and those that `train.loss` names."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax

from ftjax.ranges import above, at_least
from ftjax.tasks.registry import loss
from ftjax.tasks.task import Batch

Array = jax.Array | np.ndarray


def cross_entropy(logits: Array, labels: Array, label_smoothing: float = 0.0) -> jax.Array:
    """Of int32 classes (..) under logits (.., classes), in nats.

    `label_smoothing` is the mass that is spread evenly over all classes.
    """
    targets = optax.smooth_labels(jax.nn.one_hot(labels, logits.shape[-1]), label_smoothing)
    return optax.softmax_cross_entropy(logits, targets)


@loss('focal', 'classification', source='arXiv:1708.02002', ranges={'gamma': at_least(0)})
def focal(outputs: Array, batch: Batch, gamma: float = 2.0) -> jax.Array:
    """Cross-entropy times (1 - p)^gamma, p the probability of the right class: (B,)."""
    losses = cross_entropy(outputs, batch['labels'])
    return losses * (-jnp.expm1(-losses)) ** gamma


@loss('huber', 'regression', source='10.1214/aoms/1177703732', ranges={'delta': above(0)})
def huber(outputs: Array, batch: Batch, delta: float = 1.0) -> jax.Array:
    """Half the squared error up to delta, linear beyond it: (B,)."""
    return optax.huber_loss(outputs[:, 0], batch['labels'], delta=delta)


@loss('absolute_error', 'regression')
def absolute_error(outputs: Array, batch: Batch) -> jax.Array:
    """The absolute error: (B,)."""
    return jnp.abs(outputs[:, 0] - batch['labels'])
