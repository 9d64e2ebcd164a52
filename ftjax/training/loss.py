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

    Args:
      outputs: (batch, classes) logits, or (batch, 1) predictions.
      labels: (batch,) int32 classes or float32 targets.
      task: 'classification' or 'regression'.
      label_smoothing: mass spread evenly over all classes.
    """
    if task == 'regression':
        return jnp.square(outputs[:, 0] - labels)
    targets = optax.smooth_labels(jax.nn.one_hot(labels, outputs.shape[-1]), label_smoothing)
    return optax.softmax_cross_entropy(outputs, targets)
