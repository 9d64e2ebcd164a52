"""Losses that several tasks share."""

from __future__ import annotations

import jax
import numpy as np
import optax

Array = jax.Array | np.ndarray


def cross_entropy(logits: Array, labels: Array, label_smoothing: float = 0.0) -> jax.Array:
    """Of int32 classes (..) under logits (.., classes), in nats.

    `label_smoothing` is the mass that is spread evenly over all classes.
    """
    targets = optax.smooth_labels(jax.nn.one_hot(labels, logits.shape[-1]), label_smoothing)
    return optax.softmax_cross_entropy(logits, targets)
