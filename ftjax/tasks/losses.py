"""Losses that several tasks share, and those that `train.loss` names."""

from __future__ import annotations

from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np
import optax

from ftjax.ranges import above, at_least
from ftjax.tasks.registry import loss
from ftjax.tasks.training_loss import Array, Batch

if TYPE_CHECKING:
    from jaxtyping import Float, Int


def cross_entropy(
    logits: Float[Array, '*axes classes'],
    labels: Int[Array, '*axes'],
    label_smoothing: float = 0.0,
) -> Float[Array, '*axes']:
    """Of classes under logits, in nats.

    `label_smoothing` is the mass that is spread evenly over all classes.
    """
    targets = optax.smooth_labels(jax.nn.one_hot(labels, logits.shape[-1]), label_smoothing)
    return optax.softmax_cross_entropy(logits, targets)


@loss('focal', 'classification', source='arXiv:1708.02002', ranges={'gamma': at_least(0)})
def focal(
    outputs: Float[Array, 'batch classes'], batch: Batch, gamma: float = 2.0
) -> Float[Array, ' batch']:
    """Cross-entropy times (1 - p)^gamma, p the probability of the right class."""
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
    outputs: Float[Array, 'batch classes'],
    batch: Batch,
    tau: float = 1.0,
    *,
    class_counts: tuple[int, ...],
) -> Float[Array, ' batch']:
    """Cross-entropy of logits + tau log p, p the share of each class in training.

    Trained so, the logits alone rank classes as if all were equally frequent: equation 10 of the
    source, which makes the balanced error small.
    """
    counts = np.asarray(class_counts, np.float64)
    shift = jnp.asarray(tau * np.log(counts / counts.sum()), outputs.dtype)
    return cross_entropy(outputs + shift, batch['labels'])


@loss('entropy', 'classification', source='arXiv:2006.10726')
def entropy(outputs: Float[Array, 'batch classes'], batch: Batch) -> Float[Array, ' batch']:
    """The entropy of the predicted classes in nats, whatever the labels."""
    logs = jax.nn.log_softmax(outputs)
    return -(jnp.exp(logs) * logs).sum(axis=-1)


@loss('huber', 'regression', source='10.1214/aoms/1177703732', ranges={'delta': above(0)})
def huber(
    outputs: Float[Array, 'batch 1'], batch: Batch, delta: float = 1.0
) -> Float[Array, ' batch']:
    """Half the squared error up to delta, linear beyond it."""
    return optax.huber_loss(outputs[:, 0], batch['labels'], delta=delta)


@loss('absolute_error', 'regression')
def absolute_error(outputs: Float[Array, 'batch 1'], batch: Batch) -> Float[Array, ' batch']:
    """The absolute error."""
    return jnp.abs(outputs[:, 0] - batch['labels'])
