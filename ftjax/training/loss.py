"""Losses and the quick metrics that training itself needs."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax

Array = jax.Array | np.ndarray


def example_losses(
    outputs: Array, labels: Array, task: str, label_smoothing: float = 0.0
) -> jax.Array:
    """Loss of each example: cross-entropy in nats, or the squared error; (batch,) float32.

    Of several labels an example it is the mean over the classes of the binary cross-entropy.

    Args:
      outputs: (batch, classes) logits, or (batch, 1) predictions.
      labels: (batch,) int32 classes, (batch,) float32 targets, or (batch, classes) 0 and 1.
      task: 'classification', 'regression' or 'multilabel'.
      label_smoothing: mass spread evenly over all classes, or over yes and no of each.
    """
    if task == 'regression':
        return jnp.square(outputs[:, 0] - labels)
    if task == 'multilabel':
        targets = labels * (1 - label_smoothing) + label_smoothing / 2
        return optax.sigmoid_binary_cross_entropy(outputs, targets).mean(axis=-1)
    targets = optax.smooth_labels(jax.nn.one_hot(labels, outputs.shape[-1]), label_smoothing)
    return optax.softmax_cross_entropy(outputs, targets)
