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

    Masked tokens have one each, (batch, time), of which those that are asked for count.
    Of several labels an example it is the mean over the classes of the binary cross-entropy.

    Args:
      outputs: (batch, classes) or (batch, time, vocabulary) logits, or (batch, 1) predictions.
      labels: (batch,) int32 classes, (batch,) float32 targets, (batch, classes) 0 and 1, or
        (batch, time) int32 tokens.
      task: 'classification', 'regression', 'multilabel' or 'masked_tokens'.
      label_smoothing: mass spread evenly over all classes, or over yes and no of each.
    """
    if task == 'regression':
        return jnp.square(outputs[:, 0] - labels)
    if task == 'multilabel':
        targets = labels * (1 - label_smoothing) + label_smoothing / 2
        return optax.sigmoid_binary_cross_entropy(outputs, targets).mean(axis=-1)
    targets = optax.smooth_labels(jax.nn.one_hot(labels, outputs.shape[-1]), label_smoothing)
    return optax.softmax_cross_entropy(outputs, targets)
