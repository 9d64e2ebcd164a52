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


@loss(
    'logit_adjusted',
    'classification',
    source='arXiv:2007.07314',
    ranges={'tau': at_least(0)},
    counts=True,
)
def logit_adjusted(
    outputs: Array, batch: Batch, tau: float = 1.0, *, class_counts: tuple[int, ...]
) -> jax.Array:
    """Cross-entropy of logits + tau log p, p the share of each class in training: (B,).

    Trained so, the logits alone rank classes as if all were equally frequent: equation 10 of the
    source, which makes the balanced error small.
    """
    counts = np.asarray(class_counts, np.float64)
    shift = jnp.asarray(tau * np.log(counts / counts.sum()), outputs.dtype)
    return cross_entropy(outputs + shift, batch['labels'])


@loss('entropy', 'classification', source='arXiv:2006.10726')
def entropy(outputs: Array, batch: Batch) -> jax.Array:
    """The entropy of the predicted classes in nats, whatever the labels: (B,)."""
    logs = jax.nn.log_softmax(outputs)
    return -(jnp.exp(logs) * logs).sum(axis=-1)


@loss('huber', 'regression', source='10.1214/aoms/1177703732', ranges={'delta': above(0)})
def huber(outputs: Array, batch: Batch, delta: float = 1.0) -> jax.Array:
    """Half the squared error up to delta, linear beyond it: (B,)."""
    return optax.huber_loss(outputs[:, 0], batch['labels'], delta=delta)


@loss('absolute_error', 'regression')
def absolute_error(outputs: Array, batch: Batch) -> jax.Array:
    """The absolute error: (B,)."""
    return jnp.abs(outputs[:, 0] - batch['labels'])
